//! Keeps the record of commissioning: follows the journal, takes confirmations, writes `commissioning.json`.
//!
//! ```text
//! commissioning.json ─► record ◄── events of the journal, what of it is delivered, confirmations
//!                         │ └────► list, for the endpoint
//!                         └──────► commissioning.json (fsync, rename)
//! ```
//! Invariants:
//! - What is on the disk is of one moment: what was seen, and how far the journal was read for it. After a crash it is
//!   gone on from there, and the same is seen again.
//! - A disk that takes nothing costs nothing that was seen: it is kept in memory, and tried again.
//! - Where nothing happens, nothing is done; a backlog is read in pieces, with pauses for others.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    base::Base,
    units::{Beat, Part, Units},
};
use crate::{
    api::{Commissioning, Confirmation},
    commissioning::{FittedPanel, Fittings, Item, Record},
    config::{Config, SecureChannel},
    store::Journal,
    sys::{self, files::write_private},
};

/// File of the record in the state directory.
pub const COMMISSIONING: &str = "commissioning.json";

/// Events that are read at once.
const BATCH: usize = 200;
/// Between two batches of a backlog.
const PAUSE: Duration = Duration::from_millis(20);
/// From an event to the look at it, so that several are read together.
const GATHER: Duration = Duration::from_millis(200);
/// From what was seen to its being written down, so that several things are written together.
const WRITE: Duration = Duration::from_secs(1);
/// Between attempts where the disk fails.
const RETRY: Duration = Duration::from_secs(10);
/// Events that may be read again after a crash: for what proves nothing, nothing is written.
const UNSAVED: usize = 1000;
/// Confirmations that may wait. One more is refused.
const WAITING: usize = 16;

/// Starts to keep the record; `trouble` tells health what is wrong with its file.
pub fn start(units: &Units, base: &Base, trouble: watch::Sender<Option<String>>) -> Commissioning {
    let (list, shown) = watch::channel(None);
    let (confirm, confirmations) = mpsc::channel(WAITING);
    let config = base.config.watch();
    let path = base.config.now().gateway.state_dir.join(COMMISSIONING);
    let journal = base.store.journal();
    units.spawn(Part::Commissioning, |beat| async move {
        let record = load_in_the_end(&path, &trouble, &beat).await;
        let keeper = Keeper {
            fittings: fittings(&config.borrow()),
            record,
            list,
            path,
            trouble,
            beat,
            read_at: Some(Instant::now()),
            write_at: None,
            unsaved: 0,
        };
        keeper.keep(journal, config, confirmations).await;
    });
    Commissioning { list: shown, confirm }
}

/// Returns what there is to be tried out.
fn fittings(config: &Config) -> Fittings {
    let panels = config.panels.iter().map(|panel| {
        let (modbus, door) = (panel.modbus.as_ref(), panel.door.as_ref());
        FittedPanel {
            name: panel.name.clone(),
            intercom: panel.intercom,
            can_blink: modbus.is_none(),
            has_secure_channel: modbus.is_none() && panel.secure_channel != SecureChannel::Off,
            // An OSDP panel is one at a door.
            has_reader: modbus.is_none_or(|modbus| modbus.profile.keys.is_some()),
            has_lock: panel.lock.is_some(),
            has_contact: door.is_some_and(|door| door.input.is_some()),
            exit: door.and_then(|door| door.exit_input),
            flats: modbus
                .map(|modbus| modbus.lines.iter().map(|(_, flat)| *flat).collect())
                .unwrap_or_default(),
        }
    });
    Fittings { panels: panels.collect(), has_cloud: config.mqtt.is_some() }
}

/// Reads the record, as soon as it can be read.
async fn load_in_the_end(path: &Path, trouble: &watch::Sender<Option<String>>, beat: &Beat) -> Record {
    loop {
        let file = path.to_owned();
        let loading = sys::finished(sys::blocking(move || load(&file)));
        match beat.wait(loading).await {
            Ok(record) => {
                tell(trouble, None);
                return record;
            }
            Err(error) => {
                let file = path.display();
                tell(trouble, Some(format!("the record of commissioning, {file}, cannot be read: {error}")));
            }
        }
        beat.wait(sleep(RETRY)).await;
    }
}

/// Reads the record. A damaged one is set aside, and what the journal still has is seen again. Blocks on the disk.
fn load(path: &Path) -> io::Result<Record> {
    let content = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        content => content?,
    };
    Record::of_file(&content).or_else(|damaged| {
        let aside = path.with_extension("json.damaged");
        fs::rename(path, &aside)?;
        tracing::error!(
            "{}: {damaged}; it was moved to {}, and the list begins with what is in the journal: what was confirmed by hand has to be confirmed again",
            path.display(),
            aside.display()
        );
        Ok(Record::default())
    })
}

/// Tells what is wrong, each time in health and once in the log.
fn tell(trouble: &watch::Sender<Option<String>>, now: Option<String>) {
    if trouble.borrow().is_none()
        && let Some(message) = &now
    {
        tracing::error!("{message}; it is tried again every {} s", RETRY.as_secs());
    }
    trouble.send_if_modified(|told| {
        let is_news = *told != now;
        *told = now;
        is_news
    });
}

struct Keeper {
    record: Record,
    fittings: Fittings,
    list: watch::Sender<Option<Arc<[Item]>>>,
    path: PathBuf,
    trouble: watch::Sender<Option<String>>,
    beat: Beat,
    /// When the journal is to be read.
    read_at: Option<Instant>,
    /// When the record is to be written.
    write_at: Option<Instant>,
    /// Events that were read since it was written.
    unsaved: usize,
}

/// Why the keeper wakes.
enum News {
    Configuration,
    Journal,
    Confirmation(Confirmation),
    Time,
}

impl Keeper {
    async fn keep(
        mut self,
        journal: Journal,
        mut config: watch::Receiver<Arc<Config>>,
        mut confirmations: mpsc::Receiver<Confirmation>,
    ) {
        let mut position = journal.position();
        self.show();
        loop {
            let next = self.read_at.into_iter().chain(self.write_at).min();
            let news = async {
                tokio::select! {
                    Ok(()) = config.changed() => News::Configuration,
                    Ok(()) = position.changed() => News::Journal,
                    Some(confirmation) = confirmations.recv() => News::Confirmation(confirmation),
                    () = until(next) => News::Time,
                }
            };
            match self.beat.wait(news).await {
                News::Configuration => {
                    self.fittings = fittings(&config.borrow_and_update());
                    self.record.make_room(&self.fittings);
                    self.show();
                }
                News::Journal => {
                    self.read_at.get_or_insert_with(|| Instant::now() + GATHER);
                }
                News::Confirmation(confirmation) => self.confirm(confirmation).await,
                News::Time => {}
            }
            if is_due(self.read_at) {
                position.mark_unchanged();
                self.read(&journal).await;
            }
            if is_due(self.write_at) {
                self.write().await;
            }
        }
    }

    /// Reads what the journal has more, a piece of it.
    async fn read(&mut self, journal: &Journal) {
        self.read_at = None;
        let position = journal.position().borrow().clone();
        if !position.is_open() {
            return;
        }
        let from = self.record.next(&position.journal, position.last);
        let mut is_news = false;
        if from <= position.last {
            let Ok(events) = self.beat.wait(journal.read_async(from, BATCH)).await else {
                // Health tells why.
                self.read_at = Some(Instant::now() + RETRY);
                return;
            };
            for event in &events {
                is_news |= self.record.apply(event, &self.fittings);
            }
            self.unsaved += events.len();
            self.read_at = (events.len() == BATCH).then(|| Instant::now() + PAUSE);
        }
        is_news |= self.record.delivered(&position.journal, position.delivered);
        if is_news {
            self.show();
        }
        if is_news || self.unsaved >= UNSAVED {
            self.write_at.get_or_insert_with(|| Instant::now() + WRITE);
        }
    }

    /// Takes a confirmation. Who confirms hears of it when it is on the disk, or the disk has refused it; health tells of
    /// that, and it is tried again.
    async fn confirm(&mut self, Confirmation { item, token, at, reply }: Confirmation) {
        let before = self.record.clone();
        let confirmed = self.record.confirm(&item, at, &token, &self.fittings);
        if self.record != before {
            tracing::info!(%item, %token, "confirmed");
            self.show();
            self.write().await;
        }
        // Who asked may have gone.
        let _ = reply.send(confirmed);
    }

    async fn write(&mut self) {
        let (path, content) = (self.path.clone(), self.record.to_file());
        let writing = sys::blocking(move || write_private(&path, &content));
        let written = self.beat.wait(sys::finished(writing)).await;
        match written {
            Ok(()) => {
                (self.write_at, self.unsaved) = (None, 0);
                tell(&self.trouble, None);
            }
            Err(error) => {
                self.write_at = Some(Instant::now() + RETRY);
                let file = self.path.display();
                let message = format!("the record of commissioning cannot be written to {file}: {error}");
                tell(&self.trouble, Some(message));
            }
        }
    }

    fn show(&self) {
        self.list.send_replace(Some(self.record.list(&self.fittings).into()));
    }
}

fn is_due(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

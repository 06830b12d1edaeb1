//! The writers of the panels' records, one task a panel.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{RecordFile, Records};
use crate::{
    bus::{BusHandle, Buses, NewestRecord, PanelHandle},
    domain::Name,
    gateway::units::{Beat, Kind, Part, Units},
    panel::osdp::{CurrentKey, KeyRecord},
    sys,
};

/// Between attempts to write what could not be written. What is newer by then is tried at once.
const RETRY: Duration = Duration::from_secs(10);

/// The writers of all panels; cheap to clone.
#[derive(Clone)]
pub struct Writers {
    units: Units,
    records: Records,
    /// When each has ended: its receiver fails then.
    running: Arc<Mutex<HashMap<Name, watch::Receiver<()>>>>,
}

impl Writers {
    /// Starts one for each panel of each bus.
    pub fn start(units: &Units, records: &Records, buses: &Buses) -> Self {
        let writers = Self { units: units.clone(), records: records.clone(), running: Arc::default() };
        for bus in buses.handles().iter() {
            bus.panels().iter().for_each(|panel| writers.add(bus, panel.clone()));
        }
        writers
    }

    /// Starts one for a panel of a bus. It ends when it has written what the bus published last.
    pub fn add(&self, bus: &Arc<BusHandle>, panel: PanelHandle) {
        let kind = Kind::named(Part::KeyWriter, format!("the writer of the keys of panel {}", panel.name));
        let (runs, ended) = watch::channel(());
        self.running().insert(panel.name.clone(), ended);
        let (records, bus) = (self.records.clone(), bus.clone());
        self.units.spawn(kind, |beat| async move {
            let _runs = runs;
            let (name, newest) = (panel.name.clone(), panel.record.clone());
            let finding = sys::blocking(move || records.file(&name));
            let file = beat.wait(sys::finished(finding)).await;
            let told = |version| {
                let (bus, panel) = (bus.clone(), panel.clone());
                async move { bus.record_stored(&panel, version).await }
            };
            write_newest(&panel.name, file, newest, told, &beat).await;
        });
    }

    /// Waits until the writer of a panel that has ended has ended, too: only then is its file another's.
    pub async fn ended(&self, panel: &Name) {
        let running = self.running().get(panel).cloned();
        if let Some(mut running) = running {
            while running.changed().await.is_ok() {}
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Name, watch::Receiver<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the newest record whenever there is a newer one, until its sender is gone and the last one is written or has
/// been tried once more. `told` hears of each version that is on the disk.
async fn write_newest<F: Future<Output = ()>>(
    panel: &Name,
    mut file: RecordFile,
    mut newest: watch::Receiver<Arc<NewestRecord>>,
    told: impl Fn(u64) -> F,
    beat: &Beat,
) {
    let mut before = newest.borrow().clone();
    let mut is_failing = false;
    let mut has_ended = false;
    while !has_ended {
        // An error: the bus has ended, and what it said last has been seen.
        if beat.wait(newest.changed()).await.is_err() {
            return;
        }
        loop {
            let wanted = newest.borrow_and_update().clone();
            let writing = wanted.clone();
            let writing = sys::blocking(move || {
                let written = file.write(&writing.record);
                (file, written)
            });
            let (back, written) = beat.wait(sys::finished(writing)).await;
            file = back;
            match written {
                Ok(()) => {
                    is_failing = false;
                    log_stored(panel, &before.record, &wanted.record);
                    beat.wait(told(wanted.version)).await;
                    before = wanted;
                    break;
                }
                Err(error) if has_ended => {
                    tracing::error!(%panel, %error, "what was learnt of the panel last is not written down");
                    break;
                }
                Err(error) if !std::mem::replace(&mut is_failing, true) => {
                    let seconds = RETRY.as_secs();
                    tracing::error!(
                        %panel, %error,
                        "what is known of the panel cannot be written down; it is tried again every {seconds} s"
                    );
                }
                Err(_) => {}
            }
            let again = tokio::time::timeout(RETRY, newest.changed());
            // Nothing newer, or the bus has ended.
            has_ended = beat.wait(again).await.is_ok_and(|changed| changed.is_err());
        }
    }
}

/// Says what is new of a panel's keys, never the keys.
fn log_stored(panel: &Name, before: &KeyRecord, now: &KeyRecord) {
    if now.pending.is_some() && now.pending != before.pending {
        tracing::info!(%panel, "a new key is stored; the panel gets it now");
    }
    if matches!(now.current, Some(CurrentKey::Known(_))) && now.current != before.current {
        tracing::info!(%panel, "the panel has proven its key");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Mutex};

    use super::*;
    use crate::{panel::osdp::PanelKey, wire::osdp::Scbk};

    fn newest(version: u64, byte: u8) -> Arc<NewestRecord> {
        let current = Some(CurrentKey::Known(PanelKey::new(Scbk::new([byte; 16])).unwrap()));
        Arc::new(NewestRecord { record: KeyRecord { current, ..KeyRecord::default() }, version })
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_could_not_be_written_never_follows_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let panel = Name::new("entrance-1").unwrap();
        let records = Records::at(dir.path());
        let path = records.path(&panel);
        // A directory in the way of the new file.
        let in_the_way = dir.path().join("panels/entrance-1.json.new");
        fs::create_dir(&in_the_way).unwrap();
        let (sender, receiver) = watch::channel(newest(0, 9));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (file, stored) = (records.file(&panel), told.clone());
        let name = panel.clone();
        let writing = tokio::spawn(async move {
            let told = |version| {
                stored.lock().unwrap().push(version);
                std::future::ready(())
            };
            write_newest(&name, file, receiver, told, &Beat::new("a writer")).await;
        });
        sender.send_replace(newest(1, 1));
        tokio::time::sleep(RETRY / 2).await;
        sender.send_replace(newest(2, 2));
        tokio::time::sleep(RETRY / 2).await;
        assert!(told.lock().unwrap().is_empty() && !path.exists());
        fs::remove_dir(&in_the_way).unwrap();
        tokio::time::sleep(RETRY * 3).await;
        assert_eq!(*told.lock().unwrap(), [2]);
        assert!(fs::read_to_string(&path).unwrap().contains(&"02".repeat(16)));
        // What came last is written after the bus has ended.
        sender.send_replace(newest(3, 3));
        drop(sender);
        writing.await.unwrap();
        assert_eq!(*told.lock().unwrap(), [2, 3]);
        assert!(fs::read_to_string(&path).unwrap().contains(&"03".repeat(16)));
    }
}

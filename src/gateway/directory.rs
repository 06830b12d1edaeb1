//! Keeps what buses need of the cache equal to it: the directory that doors are decided by, and the lines of flats.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use tokio::sync::{oneshot, watch};

use super::{
    lines::{self, Flats},
    rates,
    units::{Beat, Part, Units},
};
use crate::{
    access::{DirectoryBuilder, DirectoryCode, DirectoryEntry},
    bus::{InForce, KeptLines, KeptRates},
    lines::{FlatLine, FlatLines},
    store::{Cache, CacheState, Loaded, StoreError},
    sys,
};

/// How long the buses wait for the keys (contract §5).
const RECALL: Duration = Duration::from_secs(2);
/// How long a whole building's worth of keys may take to load, behind all other threads.
const LOADING: Duration = Duration::from_secs(120);
/// How often a directory that could not be loaded is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// By then the threads that took part in a change have ended, and the allocator has back what it kept for them.
const SETTLED: Duration = Duration::from_secs(15);

/// What [`Keys::follow`] waits for.
enum News {
    /// Keys to bring into force.
    Keys,
    /// Nothing has changed for a while.
    Settled,
    /// The store has ended.
    Over,
}

/// Starts the recall of the keys, which the buses wait for, and what follows their changes.
pub fn start(units: &Units, keys: &Keys, recalled: watch::Sender<Option<Arc<KeptLines>>>) {
    units.spawn(Part::Recall, |beat| keys.clone().recall(recalled, beat));
    units.spawn(Part::Directory, |beat| keys.clone().follow(beat));
}

/// What keys and lines are read by.
struct Building {
    /// In which the cloud's zoneless dates are meant.
    zone: TimeZone,
    /// The flats that have a line here.
    with_line: Flats,
}

/// The directory in force and where it comes from; cheap to clone.
#[derive(Clone)]
pub struct Keys {
    in_force: Arc<ArcSwap<InForce>>,
    cache: Cache,
    building: Arc<ArcSwap<Building>>,
    loaded: Arc<Mutex<Option<CacheState>>>,
    /// The rates at which lines were left.
    rates: Arc<ArcSwap<KeptRates>>,
    /// Why what the cache holds could not be loaded.
    trouble: watch::Sender<Option<String>>,
}

impl Keys {
    /// Returns an empty directory. `zone`: in which the cloud's zoneless dates are meant; `with_line`: the flats that have a
    /// line here.
    pub fn new(cache: Cache, zone: TimeZone, with_line: Flats) -> Self {
        Self {
            in_force: Arc::default(),
            cache,
            building: Arc::new(ArcSwap::from_pointee(Building { zone, with_line })),
            loaded: Arc::default(),
            rates: Arc::default(),
            trouble: watch::Sender::new(None),
        }
    }

    /// Takes another zone and other lines, where they are others: what the cache holds is to be loaded anew then
    /// ([`Keys::refresh`]).
    pub fn set_building(&self, zone: TimeZone, with_line: Flats) {
        let now = self.building.load();
        if now.zone != zone || now.with_line != with_line {
            self.building.store(Arc::new(Building { zone, with_line }));
            *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Reads the keys and the states of lines as they were left, and tells the buses, which poll nothing before; where that
    /// takes long, they begin without. What cannot be read is tried again by [`Keys::follow`].
    async fn recall(self, recalled: watch::Sender<Option<Arc<KeptLines>>>, beat: Beat) {
        beat.turn().await;
        let cache = self.cache.clone();
        let known = self.rates.clone();
        let read = async {
            self.cache.opened().await.map_err(|error| error.to_string())?;
            let reading = sys::blocking(move || {
                if let Err(error) = self.refresh() {
                    tracing::error!("the keys cannot be loaded, so none opens until they can: {error}");
                }
                // Loading takes three times what the directory does.
                sys::give_memory_back();
                known.store(Arc::new(rates::recall(&cache)));
                lines::recall(&cache)
            });
            Ok::<_, String>(sys::finished(reading).await)
        };
        let kept = match tokio::time::timeout(RECALL, read).await {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => {
                tracing::error!(error, "the keys cannot be loaded");
                KeptLines::new()
            }
            Err(_) => {
                tracing::error!(
                    "the disk takes long to read the keys: panels are polled without any until it has"
                );
                KeptLines::new()
            }
        };
        recalled.send_replace(Some(Arc::new(kept)));
    }

    /// The rates at which lines were left, as far as they were recalled or are written down since.
    pub fn rates(&self) -> Arc<ArcSwap<KeptRates>> {
        self.rates.clone()
    }

    /// The directory that swipes are decided by, and what the cloud says of lines.
    pub fn in_force(&self) -> Arc<ArcSwap<InForce>> {
        self.in_force.clone()
    }

    /// Brings what the cache holds into force, unless it is so already. Blocks for as long as the keys take to
    /// load; swipes go on being decided by the old ones until the swap.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let refreshed = self.load();
        self.trouble.send_replace(refreshed.as_ref().err().map(ToString::to_string));
        refreshed
    }

    /// Returns why the keys in force are not what the cache holds, and a notice of every change of that.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    fn load(&self) -> Result<(), StoreError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.cache.state().borrow().clone();
        if loaded.as_ref() == Some(&current) {
            return Ok(());
        }
        let building = self.building.load_full();
        let mut builder = DirectoryBuilder::with_capacity(
            building.zone.clone(),
            usize::try_from(current.flats).unwrap_or(0),
            usize::try_from(current.keys).unwrap_or(0),
        );
        let mut lines = Vec::new();
        let state = self.cache.load(|loaded| match loaded {
            Loaded::Flat(flat) => {
                builder.add_flat(flat.intercom, flat.flat_id, flat.flat);
                if building.with_line.contains(&(flat.intercom, flat.flat)) {
                    let line = FlatLine {
                        flat_id: flat.flat_id,
                        enabled: flat.analog_line,
                        own_resistances: flat.own_thresholds,
                        answer: flat.answer_resistance,
                        quiescent: flat.quiescent_resistance,
                    };
                    lines.push((flat.intercom, flat.flat, line));
                }
            }
            Loaded::Key(key) => builder.add(&DirectoryEntry {
                intercom: key.intercom,
                flat_id: key.flat_id,
                flat: key.flat,
                key_id: key.key_id,
                code: key.code,
                user_id: key.user_id,
                expired_at: key.expired_at,
                permitted: key.permitted,
            }),
            Loaded::Code(code) => builder.add_code(&DirectoryCode {
                intercom: code.intercom,
                flat_id: code.flat_id,
                flat: code.flat,
                code_id: code.code_id,
                code: code.code,
                expired_at: code.expired_at,
                user_expired_at: code.user_expired_at,
                permitted: code.permitted,
            }),
            Loaded::Keypad(keypad) => builder.had_codes(keypad.intercom, keypad.until),
        })?;
        let lines: FlatLines = lines.into_iter().collect();
        let before = self.in_force.load().lines.clone();
        let lines = if *before == lines { before } else { Arc::new(lines) };
        let directory = builder.build(state.revision);
        self.in_force.store(Arc::new(InForce { directory, lines }));
        *loaded = Some(state);
        Ok(())
    }

    /// Follows the cache until the store ends, or loading has panicked: a key that was taken back must not stay in force.
    async fn follow(self, beat: Beat) {
        let mut state = self.cache.state();
        // After what [`Keys::recall`] loads.
        let mut settling = true;
        loop {
            let in_force = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_in_force = in_force.is_some_and(|loaded| loaded == *state.borrow());
            let news = async {
                tokio::select! {
                    changed = state.changed() => changed.map_or(News::Over, |()| News::Keys),
                    () = tokio::time::sleep(RETRY), if !is_in_force => News::Keys,
                    () = tokio::time::sleep(SETTLED), if settling => News::Settled,
                }
            };
            match beat.wait(news).await {
                News::Keys => settling = true,
                News::Settled => {
                    settling = false;
                    drop(sys::blocking(sys::give_memory_back));
                    continue;
                }
                News::Over => return,
            }
            beat.grant(LOADING);
            let keys = self.clone();
            // A caller that has changed the cache waits for its own refresh; this one is for changes that nobody waits
            // for.
            let (done, refreshed) = oneshot::channel();
            let started = std::thread::Builder::new().name("directory".into()).spawn(move || {
                if let Err(error) = sys::run_behind() {
                    tracing::debug!("the directory is loaded by an ordinary thread: {error}");
                }
                // The daemon may have ended meanwhile.
                let _ = done.send(keys.refresh().map_err(|error| error.to_string()));
            });
            let refreshed = match started {
                Err(error) => Err(format!("no thread for it: {error}")),
                Ok(_) => match refreshed.await {
                    Ok(refreshed) => refreshed,
                    // It has panicked, which is told.
                    Err(_) => return,
                },
            };
            // The change and the loading took it, on any thread. It is not given back by a thread that runs behind all
            // others, nor by one that such a thread starts: while that waited for a core, so would all that want memory.
            drop(sys::blocking(sys::give_memory_back));
            if let Err(error) = refreshed {
                tracing::error!(
                    error,
                    "new keys could not be loaded; the old ones stay in force until they can"
                );
            }
        }
    }
}

#[cfg(test)]
mod oracle;

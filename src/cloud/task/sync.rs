//! The shell around the copy of the cloud's flats: reads, keeps and applies beside the loop, one message at a time.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Came, Done, Uplink, worker::Worker};
use crate::{
    cloud::{
        client::{Message, Received},
        message::to_json,
        signature::{self, Signatures},
        sync::{self, Content, Download, Effect, Failure, Ours, Request, Spool, State, Sync, Verdict},
        topic::Topic,
    },
    domain::{EventBody, Mono, Occurrence, SyncCode, SyncError, SyncStatus},
    doors::Flats,
    store::CacheState,
};

/// Bytes of messages that wait to be read, above which the connection is not read: a few parts of a snapshot. What
/// else is on the line waits for some milliseconds.
const HELD: usize = 1 << 20;

/// Bytes of messages that wait while a change is applied, for then commands must not wait. Above it they are dropped,
/// and the cloud is asked afterwards.
const HELD_WHILE_APPLYING: usize = 8 << 20;

/// The state of it.
pub(super) struct Syncing {
    pub(super) core: Sync,
    pub(super) worker: Worker,
    spool: Arc<Mutex<Spool>>,
    /// Messages that nobody has looked at.
    waiting: VecDeque<Vec<u8>>,
    held: usize,
    /// A job is under way.
    working: bool,
    applying: bool,
    /// What the doors are decided by.
    state: CacheState,
    online: bool,
    /// Times that `sync/state` was to be shown.
    shown: u64,
}

/// What was done apart from the loop.
pub(super) enum SyncDone {
    Read(Result<Download, SyncError>),
    Kept(Result<(), SyncError>),
    Applied(Result<CacheState, SyncError>),
    InForce(CacheState),
}

impl Syncing {
    pub(super) fn new(state: CacheState, parts_file: PathBuf, seed: u64, worker: Worker) -> Self {
        Self {
            worker,
            core: Sync::new(ours(&state), seed),
            spool: Arc::new(Mutex::new(Spool::new(parts_file))),
            waiting: VecDeque::new(),
            held: 0,
            working: false,
            applying: false,
            state,
            online: false,
            shown: 0,
        }
    }

    /// Whether another message may come.
    pub(super) fn has_room(&self) -> bool {
        self.applying || self.held < HELD
    }

    pub(super) fn deadline(&self) -> Mono {
        self.core.deadline()
    }

    fn status(&self) -> SyncStatus {
        let counts = self.core.counts();
        SyncStatus {
            error: self.core.error().cloned(),
            silence: self.core.silence(),
            requests: counts.requests,
            applied: counts.applied,
            rejected: counts.rejected,
        }
    }
}

impl Uplink {
    /// A message on `sync/flats`.
    pub(super) fn flats_received(&mut self, received: Received, now: Mono) {
        let syncing = &mut self.syncing;
        if received.retain {
            // An empty one is how a retained message is cleared.
            if !received.payload.is_empty() {
                let message = "it is retained, and a broker would deliver it again years later";
                syncing.core.refused(SyncError::new(SyncCode::Retained, message), now);
            }
            return;
        }
        if !self.session.is_online() {
            return;
        }
        if syncing.held + received.payload.len() > HELD_WHILE_APPLYING {
            syncing.core.missed(now);
            return;
        }
        syncing.held += received.payload.len();
        syncing.waiting.push_back(received.payload);
    }

    /// Everything that is to be done now.
    pub(super) fn sync_turn(&mut self, now: Mono) {
        let online = self.session.is_online();
        if std::mem::replace(&mut self.syncing.online, online) != online {
            if online {
                self.syncing.core.online(now);
            } else {
                self.syncing.core.offline();
                self.syncing.waiting.clear();
                self.syncing.held = 0;
            }
        }
        while let Some(effect) = self.syncing.core.poll(now) {
            self.sync_effect(effect);
        }
        self.next_job();
        let status = self.syncing.status();
        self.handles.sync.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
    }

    pub(super) fn sync_done(&mut self, done: SyncDone, now: Mono) {
        self.syncing.working = false;
        match done {
            SyncDone::Read(Err(error)) => self.syncing.core.refused(error, now),
            SyncDone::Read(Ok(Download { header, content })) => {
                let verdict = self.syncing.core.received(&header, now);
                self.carry_out(verdict, content);
            }
            SyncDone::Kept(Ok(())) => self.syncing.core.kept(now),
            SyncDone::Kept(Err(error)) => self.syncing.core.failed(Failure(error), now),
            SyncDone::Applied(applied) => {
                self.syncing.applying = false;
                match applied {
                    Ok(state) => {
                        self.syncing.core.applied(ours(&state), now);
                        self.syncing.state = state;
                    }
                    Err(error) => self.syncing.core.failed(Failure(error), now),
                }
            }
            SyncDone::InForce(state) => {
                self.syncing.core.in_force(ours(&state), now);
                self.syncing.state = state;
                self.show_sync_state();
            }
        }
    }

    /// Puts `sync/state` on the board; published even where it says what it said before.
    pub(super) fn show_sync_state(&mut self) {
        let syncing = &mut self.syncing;
        syncing.shown += 1;
        let payload = to_json(&State::new(&syncing.state, syncing.core.error()));
        self.board.set(Topic::SyncState, payload, syncing.shown.to_string());
    }

    /// What has changed the cache beside us comes first, then the next message.
    fn next_job(&mut self) {
        if self.syncing.working || self.syncing.core.is_busy() {
            return;
        }
        let state = self.handles.cache.state().borrow().clone();
        if state != self.syncing.state {
            let flats = self.handles.flats.clone();
            self.sync_job(move || SyncDone::InForce(brought_into_force(state, &flats)));
        } else if let Some(payload) = self.syncing.waiting.pop_front() {
            self.syncing.held -= payload.len();
            let (signatures, intercoms) = (self.signatures.clone(), self.intercoms());
            self.sync_job(move || SyncDone::Read(open(&payload, &signatures, &intercoms)));
        }
    }

    /// Returns the ids of the configured intercoms.
    fn intercoms(&self) -> Vec<u64> {
        self.handles.building.borrow().intercoms.iter().map(|intercom| intercom.id).collect()
    }

    fn carry_out(&mut self, verdict: Verdict, content: Content) {
        match (verdict, content) {
            (Verdict::Keep { fresh }, Content::Flats(flats)) => {
                let spool = Arc::clone(&self.syncing.spool);
                self.sync_job(move || {
                    let kept = lock(&spool).keep(&flats, fresh);
                    SyncDone::Kept(kept.map_err(|error| sync::not_kept(&error)))
                });
            }
            (Verdict::Apply { base, target }, content) => {
                let flats = self.handles.flats.clone();
                self.syncing.applying = true;
                self.sync_job(move || {
                    let applied = sync::apply_delta(&flats, base, content, target);
                    SyncDone::Applied(applied.map(|state| brought_into_force(state, &flats)))
                });
            }
            (Verdict::Keep { .. } | Verdict::Drop, _) => {}
        }
    }

    fn sync_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Ask { id, reason } => {
                let ours = &self.syncing.state;
                let request = Request {
                    request: id,
                    revision: ours.revision,
                    digest: ours.applied_at.map(|_| ours.digest.as_str()),
                    reason,
                };
                let message = Message {
                    topic: self.root.full(&Topic::SyncRequest),
                    payload: to_json(&request),
                    retain: false,
                    content_type: Some("application/json"),
                };
                tracing::debug!(reason = reason.as_str(), "the cloud is asked for its flats");
                self.publish(message, Came::Asked);
            }
            Effect::ApplySnapshot(target) => {
                let flats = self.handles.flats.clone();
                let spool = Arc::clone(&self.syncing.spool);
                self.syncing.applying = true;
                self.sync_job(move || {
                    let applied = sync::apply_snapshot(&flats, &mut lock(&spool), target);
                    let applied = applied.map(|state| brought_into_force(state, &flats));
                    SyncDone::Applied(applied)
                });
            }
            Effect::Clear => lock(&self.syncing.spool).clear(),
            Effect::Show => self.show_sync_state(),
            Effect::Record(body) => self.record(body),
        }
    }

    pub(super) fn record(&self, body: EventBody) {
        if let EventBody::SyncApplied(applied) = &body {
            tracing::info!(revision = applied.revision, "flats from the cloud are in force");
        }
        let occurrence = Occurrence { stamp: self.handles.clock.stamp(), body };
        if let Err(error) = self.handles.journal.append(occurrence) {
            tracing::error!(%error, "an event of the uplink is not recorded");
        }
    }

    fn sync_job(&mut self, work: impl FnOnce() -> SyncDone + Send + 'static) {
        self.syncing.working = true;
        let done = self.syncing.worker.run(work);
        self.jobs.push(Box::pin(async {
            let failed = |_| {
                SyncDone::Applied(Err(SyncError::new(SyncCode::Storage, "the thread of the sync has failed")))
            };
            Done::Sync(done.await.unwrap_or_else(failed))
        }));
    }
}

/// Reads a payload of `sync/flats`, where it is the cloud's.
fn open(payload: &[u8], signatures: &Signatures, intercoms: &[u64]) -> Result<Download, SyncError> {
    let payload = signatures.open(payload).map_err(|refused| {
        let code = match refused {
            signature::Refused::Unsigned => SyncCode::Unsigned,
            signature::Refused::WrongGateway => SyncCode::WrongGateway,
        };
        SyncError::new(code, refused.to_string())
    })?;
    sync::read(&payload, intercoms)
}

fn ours(state: &CacheState) -> Ours {
    Ours { revision: state.revision, digest: state.digest.clone() }
}

/// The next swipe is decided by `state` from here on; where that fails, by what was loaded before.
fn brought_into_force(state: CacheState, flats: &Flats) -> CacheState {
    if let Err(error) = flats.bring_into_force() {
        tracing::error!(%error, "new keys could not be loaded; the old ones stay in force");
    }
    state
}

/// A panic has left at worst parts that the digest will not agree with.
fn lock(spool: &Mutex<Spool>) -> std::sync::MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

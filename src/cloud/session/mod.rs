//! The uplink's state: when to connect, what may be published when, and what is delivered. Deterministic: it reads
//! no clock and touches neither network nor disk; time comes with every input, and what is to be done comes out of
//! [`Session::poll`].
//!
//! ```text
//! Waiting ─► Connecting ─► Subscribing ─► Settling ─► Online ─► Closing ─► Done
//!    ▲           │              │            │ └► Renewing │       │
//!    └───────────┴──── lost ────┴────────────┴──────┴──────┴───────┘
//! ```
//! Invariants:
//! - Nothing is published outside of Online and Closing. Settling ends when the broker has shown the `status` and
//!   `events/committed` that it retained, or a second after the SUBACK.
//! - Whatever is lost, the journal's cursor never passes an event that was not delivered.
//! - Where a retained `status` or `events/committed` that came before we were online knows a later sequence of our
//!   journal than we do, an old copy of the disk is running: a new journal is begun, once a day at most, and the
//!   connection begun again, so that the will names it too. Anything else that is ahead of us is its sender's mistake: it is
//!   reported, and changes nothing.

mod backoff;
mod delivery;
#[cfg(test)]
mod herd;
mod reader;
mod replay;
mod rivals;
#[cfg(test)]
mod rivals_simulation;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::VecDeque, sync::Arc, time::Duration};

pub use backoff::Backoff;
pub use delivery::Counts;
use delivery::Delivery;
pub use reader::ReadId;
pub use replay::{Kept, ReplayEnd, ReplayId, ReplayRefused};
pub use rivals::Rival;
use rivals::Rivals;
pub use words::{Ack, Confirm, Effect, End, Event, Token, Trouble};

use super::message::{Committed, StatusSeen};
use crate::domain::Mono;

/// How long the broker may take to show what it retained, from the SUBACK on (contract §4).
const SETTLE: Duration = Duration::from_secs(1);

/// Longest wait for a SUBACK.
const SUBSCRIBE: Duration = Duration::from_secs(30);

/// First and longest wait after an attempt that failed.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// A connection that was online and is lost is made again within this time, evenly over all gateways: a broker that
/// restarts loses all of them at once.
const SPREAD: Duration = Duration::from_secs(10);

/// Doublings of the wait where that fails too (4 s): those that come before a broker is back would else crowd together
/// when it is.
const RESUMED: u32 = 3;

/// A connection that held for so long is lost, whatever the broker said at its end.
const GOOD: Duration = Duration::from_secs(60);

/// Another session's `status` is answered at most so often; that of another client, which answers ours in turn, ever
/// more seldom.
const REPAIR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Wait before a new journal is tried again to be begun.
const RENEW: Duration = Duration::from_secs(5);

/// A new journal is begun at most this often.
const RENEWALS: Duration = Duration::from_secs(86_400);

/// What was ahead of us and ignored is told at most this often, with its count.
const IGNORED_TOLD: Duration = Duration::from_secs(60);

/// Longest wait for acknowledgements at the end.
const CLOSE: Duration = Duration::from_millis(1500);

/// Most events in flight: at 50 ms round trip that is some 1,000 a second (measured); more does not help.
pub const WINDOW: usize = 100;

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting {
        until: Mono,
    },
    Connecting,
    Subscribing {
        until: Mono,
    },
    Settling {
        until: Mono,
    },
    Renewing {
        begun: Mono,
        again: Mono,
    },
    Online,
    Closing {
        until: Mono,
    },
    /// The connection is being given up; `renewed`: to make it anew at once.
    Dropping {
        renewed: bool,
    },
    Done,
}

/// One gateway's uplink.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    delivery: Delivery,
    reconnect: Backoff,
    window: usize,
    /// Effects that do not depend on the present.
    effects: VecDeque<Effect>,
    seen_status: bool,
    seen_committed: bool,
    /// Our own session, as text.
    identity: String,
    rivals: Rivals,
    online_since: Option<Mono>,
    last_status: Mono,
    repair: bool,
    repair_after: Duration,
    /// Publishes of `status` that are not acknowledged.
    status_open: u32,
    /// No more than this can the cloud know of our journal: its last sequence when we started, what we published
    /// since, and what we said of it. What happened since but was not told does not count: an old copy that ran for
    /// a while without a network is found out too.
    told: u64,
    ahead: Option<String>,
    /// The journal by which the broker knew us, where it is not one of ours.
    known_as: Option<String>,
    /// The journal of ours that the last `events/committed` named.
    named: Option<Arc<str>>,
    /// When a new journal was last begun.
    renewed: Option<Mono>,
    /// What was ahead of us and is not told yet: the highest sequence, and how many messages.
    ignored: Option<(u64, u64)>,
    ignored_told: Option<Mono>,
    closing: bool,
}

impl Session {
    /// A session that wants to connect at `now`. The journal is `journal`, delivered up to `delivered`, and its last
    /// sequence is `last`; `seed` is for jitter.
    pub fn new(confirm: Confirm, journal: Arc<str>, delivered: u64, last: u64, seed: u64, now: Mono) -> Self {
        Self {
            phase: Phase::Waiting { until: now },
            delivery: Delivery::new(confirm, journal, delivered, last, seed),
            reconnect: Backoff::new(RECONNECT.0, RECONNECT.1, seed.wrapping_add(2)),
            window: WINDOW,
            effects: VecDeque::new(),
            seen_status: false,
            seen_committed: false,
            identity: String::new(),
            rivals: Rivals::new(seed.wrapping_add(3)),
            online_since: None,
            last_status: Mono::ZERO,
            repair: false,
            repair_after: REPAIR.0,
            status_open: 0,
            told: last,
            ahead: None,
            known_as: None,
            named: None,
            renewed: None,
            ignored: None,
            ignored_told: None,
            closing: false,
        }
    }

    /// A connection is being made that goes by `identity`.
    pub fn connecting(&mut self, identity: &str) {
        self.rivals.trying(identity);
    }

    /// The broker has accepted the connection that goes by `identity`, and takes `receive_maximum` publishes at once.
    pub fn connected(&mut self, identity: &str, receive_maximum: u16, now: Mono) {
        if self.phase == Phase::Connecting {
            identity.clone_into(&mut self.identity);
            self.rivals.connected(identity);
            self.window = usize::from(receive_maximum).clamp(1, WINDOW);
            (self.seen_status, self.seen_committed, self.ahead) = (false, false, None);
            self.phase = Phase::Subscribing { until: now + SUBSCRIBE };
            self.effects.push_back(Effect::Subscribe);
        }
    }

    /// The SUBACK came, whatever it says: what cannot be subscribed to cannot be obeyed either.
    pub fn subscribed(&mut self, now: Mono) {
        if matches!(self.phase, Phase::Subscribing { .. }) {
            self.phase = Phase::Settling { until: now + SETTLE };
            self.settle(now);
        }
    }

    /// The connection could not be made, or is gone.
    pub fn disconnected(&mut self, end: End, now: Mono) {
        self.delivery.forget();
        self.effects.retain(|effect| matches!(effect, Effect::Delivered { .. }));
        self.effects.extend(self.delivery.poll_delivered());
        (self.repair, self.status_open) = (false, 0);
        let held = self.online_since.take().map(|since| now.since(since));
        if self.closing {
            self.phase = Phase::Done;
            return;
        }
        let wait = match self.phase {
            Phase::Done | Phase::Waiting { .. } => return,
            Phase::Dropping { renewed: true } => Duration::ZERO,
            _ => self.wait_after(end, held, now),
        };
        self.phase = Phase::Waiting { until: now + wait };
    }

    /// How long to stay away after a connection that was online for `held`; `None`: it never was.
    fn wait_after(&mut self, end: End, held: Option<Duration>, now: Mono) -> Duration {
        let ours = (self.length(), &**self.delivery.journal());
        if let Some(wait) = self.rivals.wait(end, held, ours, now) {
            return wait;
        }
        let is_lost = held.is_some_and(|held| held >= GOOD || end != End::Rejected);
        if !is_lost {
            return self.reconnect.wait();
        }
        self.reconnect.resume(RESUMED);
        self.reconnect.spread(SPREAD)
    }

    /// The broker shows a `status` of this gateway; `retained`: it had it before we subscribed.
    pub fn status_seen(&mut self, status: &StatusSeen, retained: bool, now: Mono) {
        self.seen_status = true;
        let ours = status.session.as_deref() == Some(self.identity.as_str());
        if let (false, Some(journal), Some(last)) = (ours, &status.journal, status.last) {
            self.look_ahead(journal, last, retained, now);
        }
        match self.phase {
            Phase::Online if !ours && !self.repair => {
                self.repair = true;
                let is_rival = !retained && self.rivals.seen(status, now);
                self.repair_after = if is_rival { (self.repair_after * 2).min(REPAIR.1) } else { REPAIR.0 };
            }
            Phase::Subscribing { .. } | Phase::Settling { .. } => {
                self.rivals.found(status, now);
                self.look_at_name(status.journal.as_deref(), retained);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// The cloud says what it has; `retained`: the broker had it before we subscribed.
    pub fn committed_seen(&mut self, committed: &Committed, retained: bool, now: Mono) {
        self.seen_committed = true;
        let is_ahead = self.look_ahead(&committed.journal, committed.through, retained, now);
        if !is_ahead && committed.journal == **self.delivery.journal() {
            self.named = Some(Arc::clone(self.delivery.journal()));
        }
        self.look_at_name(Some(&committed.journal), retained);
        if !is_ahead && self.ahead.is_none() && committed.journal == **self.delivery.journal() {
            self.delivery.committed(committed.through, now);
        }
        self.effects.extend(self.delivery.kept_committed(&committed.journal, committed.through));
        self.settle(now);
    }

    /// Where the journal stands; to be called before anything that came over the connection is looked at. `delivered`
    /// counts where it is another one than before.
    pub fn journal_is(&mut self, journal: &Arc<str>, delivered: u64, last: u64) {
        if journal != self.delivery.journal() {
            self.told = last;
            // `status` names the journal that events go into.
            self.repair = matches!(self.phase, Phase::Online);
        }
        self.delivery.journal_is(journal, delivered, last);
    }

    /// Which journals are kept and not continued: what is not delivered of them is published after what is new.
    pub fn kept_are(&mut self, kept: Vec<Kept>) {
        self.delivery.kept_are(kept);
    }

    /// A new journal was begun; its position comes by [`Session::journal_is`].
    pub fn renewed(&mut self) {
        if let Phase::Renewing { begun, .. } = self.phase {
            self.renewed = Some(begun);
            self.drop_connection(true);
        }
    }

    /// Events that [`Effect::Read`] asked for, in order of sequence.
    pub fn read(&mut self, id: ReadId, events: Vec<Event>) {
        self.delivery.read(id, events);
    }

    /// They could not be read.
    pub fn read_failed(&mut self, id: ReadId, reason: String, now: Mono) {
        self.delivery.read_failed(id, reason, now + RENEW);
    }

    /// The broker answered for an event.
    pub fn acknowledged(&mut self, token: Token, ack: Ack, now: Mono) {
        self.delivery.acknowledged(token, ack, now);
        self.close(now);
    }

    /// The broker answered for an [`Effect::Status`], whatever it said.
    pub fn status_acknowledged(&mut self, now: Mono) {
        self.status_open = self.status_open.saturating_sub(1);
        self.close(now);
    }

    /// The cloud wants the events `from..=to` of `journal` once more; they are published after those that it has never
    /// seen, on whatever connection there is, and [`Effect::Replayed`] tells the end.
    ///
    /// # Errors
    /// [`ReplayRefused`].
    pub fn replay(&mut self, journal: &str, from: u64, to: u64) -> Result<ReplayId, ReplayRefused> {
        self.delivery.replay(journal, from, to)
    }

    /// Returns whether events of this journal can be sent again.
    ///
    /// # Errors
    /// [`ReplayRefused::UnknownJournal`].
    pub fn knows(&self, journal: &str) -> Result<(), ReplayRefused> {
        self.delivery.find(journal).map(drop)
    }

    /// Say good-bye: no event is sent any more, and what is in flight is waited for, for 1.5 s at most.
    pub fn shut_down(&mut self, now: Mono) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        match self.phase {
            Phase::Online => {
                self.phase = Phase::Closing { until: now + CLOSE };
                self.status(false);
            }
            Phase::Waiting { .. } | Phase::Done => self.phase = Phase::Done,
            _ => self.drop_connection(false),
        }
    }

    /// What to do now; to be called until it has nothing to say, after every input and at [`Session::deadline`].
    pub fn poll(&mut self, now: Mono) -> Option<Effect> {
        self.time_passes(now);
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if self.ignored_told_at() <= now
            && let Some((through, count)) = self.ignored.take()
        {
            self.ignored_told = Some(now);
            return Some(Effect::Ignored { journal: self.delivery.journal().clone(), through, count });
        }
        let effect = self.poll_online(now);
        self.told = self.told.max(self.delivery.published());
        effect
    }

    fn ignored_told_at(&self) -> Mono {
        self.ignored_told.map_or(Mono::ZERO, |at| at + IGNORED_TOLD)
    }

    fn poll_online(&mut self, now: Mono) -> Option<Effect> {
        match self.phase {
            Phase::Online if self.repair && now >= self.last_status + self.repair_after => {
                self.repair = false;
                self.last_status = now;
                self.status(true);
                self.effects.pop_front()
            }
            Phase::Online => self.delivery.poll(now),
            Phase::Closing { .. } => self.delivery.poll_delivered(),
            _ => None,
        }
    }

    /// When [`Session::poll`] is to be called although nothing came.
    pub fn deadline(&self, now: Mono) -> Mono {
        let ignored = if self.ignored.is_some() { self.ignored_told_at() } else { Mono::NEVER };
        ignored.min(self.phase_deadline(now))
    }

    fn phase_deadline(&self, now: Mono) -> Mono {
        match self.phase {
            Phase::Waiting { until }
            | Phase::Subscribing { until }
            | Phase::Settling { until }
            | Phase::Renewing { again: until, .. }
            | Phase::Closing { until } => until,
            Phase::Online => {
                let repair = if self.repair { self.last_status + self.repair_after } else { Mono::NEVER };
                self.delivery.deadline(now).min(repair)
            }
            Phase::Connecting | Phase::Dropping { .. } | Phase::Done => Mono::NEVER,
        }
    }

    /// Whether `status` online is published: what comes from below is obeyed.
    pub fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online)
    }

    /// Whether all is said and done after [`Session::shut_down`].
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Every event up to this one is delivered.
    pub fn cursor(&self) -> u64 {
        self.delivery.cursor()
    }

    /// What happened since the start.
    pub fn counts(&self) -> Counts {
        self.delivery.counts()
    }

    /// The journal by which the broker knew this gateway before anything of ours was delivered, where it is not one
    /// of ours.
    pub fn known_as(&self) -> Option<&str> {
        self.known_as.as_deref()
    }

    /// The journal of ours that the cloud's last `events/committed` names, and does not know more of than there is.
    pub fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// Another client that uses this gateway's id: the two throw each other out.
    pub fn rival(&self, now: Mono) -> Option<Rival> {
        self.rivals.known((self.length(), self.delivery.journal()), now)
    }

    /// Why events are not delivered although the broker is connected.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.delivery.trouble()
    }

    fn time_passes(&mut self, now: Mono) {
        match self.phase {
            Phase::Waiting { until } if now >= until => {
                self.phase = Phase::Connecting;
                self.effects.push_back(Effect::Connect { last: self.told });
            }
            Phase::Subscribing { until } if now >= until => self.drop_connection(false),
            Phase::Settling { until } if now >= until => self.go_online(now),
            Phase::Renewing { again, .. } if now >= again => self.renew(now),
            Phase::Online if now >= self.delivery.stalled_at() => self.drop_connection(false),
            Phase::Closing { until } if now >= until => self.drop_connection(false),
            _ => {}
        }
    }

    /// Returns whether this is more than anybody can know of our journal.
    fn look_ahead(&mut self, journal: &str, last: u64, retained: bool, now: Mono) -> bool {
        if journal != &**self.delivery.journal() || last <= self.told {
            return false;
        }
        let is_early = matches!(self.phase, Phase::Subscribing { .. } | Phase::Settling { .. });
        let is_due = self.renewed.is_none_or(|at| now >= at + RENEWALS);
        if retained && is_early && is_due {
            self.ahead = Some(format!(
                "the cloud knows journal {journal} up to sequence {last}, and this copy of it told {} at most",
                self.told
            ));
        } else {
            let (highest, count) = self.ignored.unwrap_or_default();
            self.ignored = Some((highest.max(last), count + 1));
        }
        true
    }

    /// Notes under which journal the broker has us, before anything of ours was delivered: a disk that was replaced.
    fn look_at_name(&mut self, journal: Option<&str>, retained: bool) {
        let is_early = matches!(self.phase, Phase::Subscribing { .. } | Phase::Settling { .. });
        if let Some(journal) = journal
            && retained
            && is_early
            && self.delivery.cursor() == 0
            && self.delivery.find(journal).is_err()
        {
            self.known_as = Some(journal.to_owned());
        }
    }

    fn settle(&mut self, now: Mono) {
        if matches!(self.phase, Phase::Settling { .. }) && self.seen_status && self.seen_committed {
            self.go_online(now);
        }
    }

    fn go_online(&mut self, now: Mono) {
        if self.ahead.is_some() {
            self.renew(now);
            return;
        }
        self.phase = Phase::Online;
        self.online_since = Some(now);
        (self.last_status, self.repair_after) = (now, REPAIR.0);
        self.status(true);
        self.effects.push_back(Effect::Announce);
        self.delivery.begin(self.window);
    }

    fn renew(&mut self, now: Mono) {
        self.phase = Phase::Renewing { begun: now, again: now + RENEW };
        let reason = self.ahead.clone().unwrap_or_default();
        self.effects.push_back(Effect::BeginNewJournal { reason });
    }

    fn status(&mut self, online: bool) {
        self.status_open += 1;
        self.told = self.told.max(self.delivery.last());
        self.effects.push_back(Effect::Status { online, last: self.told });
    }

    /// The length of our journal as `status` tells it, or more.
    fn length(&self) -> u64 {
        self.told.max(self.delivery.last())
    }

    fn close(&mut self, now: Mono) {
        if matches!(self.phase, Phase::Closing { .. })
            && self.status_open == 0
            && self.delivery.unacknowledged() == 0
        {
            self.phase = Phase::Closing { until: now };
        }
    }

    fn drop_connection(&mut self, renewed: bool) {
        self.phase = Phase::Dropping { renewed };
        self.effects.clear();
        self.effects.extend(self.delivery.poll_delivered());
        self.effects.push_back(Effect::Disconnect);
    }
}

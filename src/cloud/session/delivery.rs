//! Which events are sent, and which are delivered (contract §4, "Delivery").
//!
//! ```text
//!   … delivered │ sent, acknowledged │ open: sent, not acknowledged │ read, not sent │ in the journal …
//!               cursor               floor                          live.next        last
//! ```
//! Invariants:
//! - `cursor ≤ floor < live.next`, and with `confirm = "broker"` the cursor is the floor.
//! - Every event up to the floor was acknowledged with 0x00 on this connection, or was delivered before it.
//! - No more than `window` publishes are open.
//! - After a refusal nothing is sent until all that is open came back; then everything from the first refused event
//!   on is sent again, one event at a time until one is accepted.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    Ack, Backoff, Confirm, Effect, Event, Token, Trouble,
    reader::{ReadId, Reader},
    replay::{Ended, Kept, ReplayId, ReplayRefused, Replays},
};
use crate::domain::{Durations, Mono};

/// How long an event may lack the cloud's confirmation before it is sent again, and the longest wait between two
/// such rounds (contract §4).
const CONFIRM: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// First and longest wait before refused events are sent again.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A broker that owes an acknowledgement for so long has lost it: the connection is given up.
const ACKNOWLEDGE: Duration = Duration::from_secs(60);

/// Sent events are stamped by groups of this length, for the cloud's confirmation comes by ranges too.
const STAMP: Duration = Duration::from_secs(1);

/// Most groups; a cloud that does not confirm for longer than this many seconds of traffic is no reason for more memory.
const STAMPS: usize = 1024;

/// Least time between two rounds of resending while the cloud confirms something, but not all of it.
const ROUND: Duration = Duration::from_secs(1);

/// A publish that was handed to the client.
#[derive(Debug)]
struct Open {
    sequence: u64,
    purpose: Purpose,
    sent: Mono,
    acknowledged: bool,
}

/// Why an event is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It is the next one.
    Live,
    /// For want of the cloud's confirmation; says nothing about the floor.
    Again,
    /// The cloud wants it once more; nor does this.
    Replay,
}

/// Decides what to publish next, and how far the journal is delivered.
#[derive(Debug)]
pub(super) struct Delivery {
    confirm: Confirm,
    journal: Arc<str>,
    last: u64,
    cursor: u64,
    /// As of the last [`Effect::Delivered`].
    told: u64,
    /// The cloud has confirmed something of this journal.
    is_confirmed: bool,
    floor: u64,
    window: usize,
    live: Reader,
    again: Reader,
    replays: Replays,
    /// Journals that are kept and not continued.
    kept: Vec<Kept>,
    /// Requests made of the store.
    reads: u64,
    open: VecDeque<Open>,
    /// Token of the first of `open`.
    first_token: u64,
    unacknowledged: usize,
    refused_from: Option<u64>,
    hold: Mono,
    refusals: Backoff,
    trouble: Option<Trouble>,
    /// Sent but not confirmed by the cloud, in groups: the last sequence, and when it was sent at the latest.
    stamps: VecDeque<(u64, Mono)>,
    again_not_before: Mono,
    again_through: u64,
    rounds: Backoff,
    counts: Counts,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events handed to the client, resends included.
    pub published: u64,
    /// Events delivered.
    pub confirmed: u64,
    /// Acknowledgements that said that nobody is subscribed, or no.
    pub refused: u64,
    /// From the handing over to the client to the broker's acknowledgement, whatever it said.
    pub acknowledged_after: Durations,
}

impl Delivery {
    pub(super) fn new(confirm: Confirm, journal: Arc<str>, delivered: u64, last: u64, seed: u64) -> Self {
        Self {
            confirm,
            journal,
            last,
            cursor: delivered,
            told: delivered,
            is_confirmed: false,
            floor: delivered,
            window: 0,
            live: Reader::new(delivered + 1),
            again: Reader::idle(),
            replays: Replays::new(),
            kept: Vec::new(),
            reads: 0,
            open: VecDeque::new(),
            first_token: 0,
            unacknowledged: 0,
            refused_from: None,
            hold: Mono::ZERO,
            refusals: Backoff::new(REFUSED.0, REFUSED.1, seed),
            trouble: None,
            stamps: VecDeque::new(),
            again_not_before: Mono::ZERO,
            again_through: 0,
            rounds: Backoff::new(CONFIRM.0, CONFIRM.1, seed.wrapping_add(1)),
            counts: Counts::default(),
        }
    }

    pub(super) fn journal(&self) -> &Arc<str> {
        &self.journal
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Publishes that the client has not answered for.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// The journal grew, or is another one, delivered up to `delivered`.
    pub(super) fn journal_is(&mut self, journal: &Arc<str>, delivered: u64, last: u64) {
        if self.journal == *journal {
            self.last = self.last.max(last);
            return;
        }
        let window = self.window;
        self.forget();
        // What is in flight is the other journal's; its acknowledgements are nobody's.
        self.window = window;
        (self.journal, self.last) = (Arc::clone(journal), last);
        (self.cursor, self.told, self.floor) = (delivered, delivered, delivered);
        self.is_confirmed = false;
        self.live.rewind(delivered + 1);
        self.replays.end_continued();
    }

    /// These journals are kept and not continued. What is not delivered of them is sent when nothing newer waits.
    pub(super) fn kept_are(&mut self, kept: Vec<Kept>) {
        self.kept = kept;
        if self.window > 0 {
            self.add_undelivered();
        }
    }

    /// The cloud has everything of a kept journal up to `through`; whether that is news.
    pub(super) fn kept_committed(&mut self, journal: &str, through: u64) -> Option<Effect> {
        let kept = self.kept.iter_mut().find(|kept| *kept.journal == *journal)?;
        let through = through.min(kept.last);
        if self.confirm != Confirm::Cloud || through <= kept.delivered {
            return None;
        }
        kept.delivered = through;
        Some(Effect::Delivered { journal: Arc::clone(&kept.journal), through })
    }

    fn add_undelivered(&mut self) {
        for kept in &self.kept {
            self.replays.add_undelivered(kept);
        }
    }

    /// Returns the last sequence that was published of the journal that is continued.
    pub(super) fn published(&self) -> u64 {
        self.live.next() - 1
    }

    /// Finds a journal whose events can be sent again; `None`: it is the one that is continued.
    pub(super) fn find(&self, journal: &str) -> Result<Option<&Kept>, ReplayRefused> {
        if *journal == *self.journal {
            return Ok(None);
        }
        let kept = self.kept.iter().find(|kept| *kept.journal == *journal);
        kept.map(Some).ok_or_else(|| ReplayRefused::UnknownJournal(self.journal.to_string()))
    }

    /// The cloud wants these events of `journal` once more.
    pub(super) fn replay(&mut self, journal: &str, from: u64, to: u64) -> Result<ReplayId, ReplayRefused> {
        let (kept, to) = match self.find(journal)? {
            Some(kept) => (Some(Arc::clone(&kept.journal)), to.min(kept.last)),
            None => (None, to),
        };
        self.replays.add(kept, from, to)
    }

    /// A connection is up: everything undelivered is sent, `window` at a time.
    pub(super) fn begin(&mut self, window: usize) {
        self.forget();
        self.window = window.max(1);
        self.replays.drop_undelivered();
        self.add_undelivered();
    }

    /// The connection is gone, and with it everything in flight.
    pub(super) fn forget(&mut self) {
        self.first_token += self.open.len() as u64;
        self.open.clear();
        self.unacknowledged = 0;
        self.refused_from = None;
        self.window = 0;
        self.floor = self.cursor;
        self.live.rewind(self.cursor + 1);
        self.again.stop();
        self.replays.again();
        self.stamps.clear();
        self.again_not_before = Mono::ZERO;
        self.rounds.reset();
    }

    /// The cloud has everything up to `through`; with `confirm = "broker"` of no effect.
    pub(super) fn committed(&mut self, through: u64, now: Mono) {
        self.is_confirmed = true;
        if self.confirm != Confirm::Cloud || through <= self.cursor {
            return;
        }
        self.move_cursor(through);
        self.floor = self.floor.max(through);
        self.live.skip_through(through);
        self.again.skip_through(through);
        while self.stamps.front().is_some_and(|(last, _)| *last <= through) {
            self.stamps.pop_front();
        }
        self.rounds.reset();
        // It took the whole round and no more: it lives, and wants the next one.
        self.again_not_before = if through == self.again_through { now } else { now + ROUND };
        if matches!(self.trouble, Some(Trouble::Unconfirmed { .. })) {
            self.trouble = None;
        }
    }

    /// The client answered for a publish.
    pub(super) fn acknowledged(&mut self, token: Token, ack: Ack, now: Mono) {
        let index = token.0.checked_sub(self.first_token).and_then(|index| usize::try_from(index).ok());
        let Some(open) = index.and_then(|index| self.open.get_mut(index)) else { return };
        if std::mem::replace(&mut open.acknowledged, true) {
            return;
        }
        self.unacknowledged -= 1;
        self.counts.acknowledged_after.observe(now.since(open.sent));
        let purpose = open.purpose;
        let refusal = match ack {
            Ack::Accepted => None,
            Ack::NoSubscribers => Some(Trouble::NoSubscribers),
            Ack::Refused(reason) => Some(Trouble::Refused { reason }),
            Ack::TooLarge { bytes, limit } => {
                Some(Trouble::TooLarge { sequence: open.sequence, bytes, limit })
            }
        };
        if refusal.is_some() {
            self.counts.refused += 1;
            let refused = self.refused_from.get_or_insert(open.sequence);
            *refused = (*refused).min(open.sequence);
            self.trouble = refusal;
        } else {
            if purpose == Purpose::Replay {
                self.replays.acknowledged();
            }
            if self.refused_from.is_none() && !matches!(self.trouble, Some(Trouble::Unconfirmed { .. })) {
                self.trouble = None;
                self.refusals.reset();
            }
        }
        self.close_acknowledged();
        if self.unacknowledged == 0 && self.refused_from.take().is_some() {
            self.hold = now + self.refusals.wait();
            self.live.rewind(self.floor + 1);
            self.again.stop();
            self.replays.again();
            self.again_not_before = now;
        }
    }

    /// Events that were asked for.
    pub(super) fn read(&mut self, id: ReadId, events: Vec<Event>) {
        let events = self.live.got(id, events).and_then(|events| self.again.got(id, events));
        if let Some(events) = events {
            self.replays.got(id, events);
        }
    }

    /// They could not be read: tried again after `wait`.
    pub(super) fn read_failed(&mut self, id: ReadId, reason: String, until: Mono) {
        self.live.failed(id);
        self.again.failed(id);
        self.replays.failed(id);
        self.hold = self.hold.max(until);
        self.trouble = Some(Trouble::Unreadable { reason });
    }

    /// What to do now; `None`: nothing until the next input or [`Delivery::deadline`].
    pub(super) fn poll(&mut self, now: Mono) -> Option<Effect> {
        if let Some(delivered) = self.poll_delivered() {
            return Some(delivered);
        }
        match self.replays.poll_ended(self.last) {
            Some(Ended::Asked(id, end)) => return Some(Effect::Replayed { id, end }),
            // What the cloud has to confirm is sent again on the next connection.
            Some(Ended::Kept(journal, through)) if self.confirm == Confirm::Broker => {
                if let Some(kept) = self.kept.iter_mut().find(|kept| kept.journal == journal) {
                    kept.delivered = through;
                }
                return Some(Effect::Delivered { journal, through });
            }
            Some(Ended::Kept(..)) | None => {}
        }
        if self.window == 0 || now < self.hold || self.refused_from.is_some() {
            return None;
        }
        if self.confirm == Confirm::Cloud && now >= self.again_due() {
            self.begin_round(now);
        }
        if self.unacknowledged < self.width() {
            let next = self.again.take().map(|event| (event, Purpose::Again));
            let next = next.or_else(|| Some((self.live.take()?, Purpose::Live)));
            let next = next.or_else(|| Some((self.replay_next()?, Purpose::Replay)));
            if let Some((event, purpose)) = next {
                return Some(self.publish(event, purpose, now));
            }
        }
        let again = self.again.ask(self.live.next() - 1, &mut self.reads);
        let ask = again.or_else(|| self.live.ask(self.last, &mut self.reads));
        if let Some((id, from, limit)) = ask {
            return Some(Effect::Read { id, journal: Arc::clone(&self.journal), from, limit });
        }
        let (id, from, limit) = self.replays.ask(self.last, &mut self.reads)?;
        let journal = Arc::clone(self.replays.journal().unwrap_or(&self.journal));
        Some(Effect::Read { id, journal, from, limit })
    }

    /// Whether the cursor is to be kept.
    pub(super) fn poll_delivered(&mut self) -> Option<Effect> {
        let moved = std::mem::replace(&mut self.told, self.cursor) < self.cursor;
        moved.then(|| Effect::Delivered { journal: Arc::clone(&self.journal), through: self.cursor })
    }

    /// When [`Delivery::poll`] has something to say without an input.
    pub(super) fn deadline(&self, now: Mono) -> Mono {
        if self.window == 0 {
            return Mono::NEVER;
        }
        if self.refused_from.is_some() {
            return self.stalled_at();
        }
        let hold = if now < self.hold { self.hold } else { Mono::NEVER };
        let again =
            if self.confirm == Confirm::Cloud { self.again_due().max(self.hold) } else { Mono::NEVER };
        hold.min(again).min(self.stalled_at())
    }

    /// When the oldest open publish is too old for the connection to be any good.
    pub(super) fn stalled_at(&self) -> Mono {
        self.open.front().map_or(Mono::NEVER, |open| open.sent + ACKNOWLEDGE)
    }

    /// Half of the window is left to live events, which would else wait behind a replay.
    fn replay_next(&mut self) -> Option<Event> {
        let caught_up = self.live.next() > self.last;
        let room = self.unacknowledged < self.width().div_ceil(2);
        if caught_up && room { self.replays.take() } else { None }
    }

    fn publish(&mut self, event: Event, purpose: Purpose, now: Mono) -> Effect {
        if purpose == Purpose::Live {
            self.stamp(event.sequence, now);
        }
        self.open.push_back(Open { sequence: event.sequence, purpose, sent: now, acknowledged: false });
        self.unacknowledged += 1;
        self.counts.published += 1;
        Effect::Publish { token: Token(self.first_token + self.open.len() as u64 - 1), event }
    }

    /// Publishes that may be open: one while the last answer was a refusal.
    fn width(&self) -> usize {
        match &self.trouble {
            None | Some(Trouble::Unconfirmed { .. }) => self.window,
            Some(_) => 1,
        }
    }

    fn close_acknowledged(&mut self) {
        while self.open.front().is_some_and(|open| open.acknowledged) {
            let Some(open) = self.open.pop_front() else { return };
            self.first_token += 1;
            let live = open.purpose == Purpose::Live;
            if live && self.refused_from.is_none_or(|refused| open.sequence < refused) {
                self.floor = self.floor.max(open.sequence);
            }
        }
        if self.confirm == Confirm::Broker && self.floor > self.cursor {
            self.move_cursor(self.floor);
        }
    }

    fn move_cursor(&mut self, through: u64) {
        self.counts.confirmed += through.saturating_sub(self.cursor);
        self.cursor = through;
    }

    fn stamp(&mut self, sequence: u64, now: Mono) {
        if self.confirm == Confirm::Broker {
            return;
        }
        let full = self.stamps.len() >= STAMPS;
        match self.stamps.back_mut() {
            Some((last, at)) if full || now < *at => *last = (*last).max(sequence),
            _ => self.stamps.push_back((sequence, now + STAMP)),
        }
    }

    /// When the oldest window is to be sent again for want of a confirmation.
    fn again_due(&self) -> Mono {
        match self.stamps.front() {
            Some((_, sent)) if self.again.is_idle() => (*sent + CONFIRM.0).max(self.again_not_before),
            _ => Mono::NEVER,
        }
    }

    fn begin_round(&mut self, now: Mono) {
        self.again.begin(self.cursor + 1, self.window);
        self.again_through = self.cursor + self.window as u64;
        self.again_not_before = now + self.rounds.wait();
        if self.trouble.is_none() {
            self.trouble = Some(Trouble::Unconfirmed { from: self.cursor + 1, is_hole: self.is_confirmed });
        }
    }
}

//! When a panel wants a turn, of what kind, and what it says in it.

use std::time::Duration;

use super::{
    Panel, Security,
    link::Phase,
    rate::Whereabouts,
    work::{Comset, Work},
};
use crate::{
    domain::{Bucket, Mono, PanelState},
    panel::{Failure, Turn, TurnKind},
};

/// Timeouts in a row after which a panel gets probes instead of turns.
const PROBE_AFTER: u32 = 2;
/// How long a probe waits; every fifth waits for the whole reply timeout, for a slow panel. One that used to answer in
/// less needs that only where it was swapped.
const PROBE_WINDOW: Duration = Duration::from_millis(60);
const LONG_PROBE_EVERY: u32 = 5;
const LONG_PROBE_EVERY_IF_QUICK: u32 = 20;
/// A panel that is away is probed this often: with the set-up of its link it is back within 2 s.
const PROBE_INTERVAL: Duration = Duration::from_millis(1250);
/// With nobody answering on the line there is no one to disturb.
const PROBE_INTERVAL_ALONE: Duration = Duration::from_millis(250);
/// A panel that was well a moment ago, or was never heard and is to be asked another way, is not made to wait long.
const PROBE_SOON: Duration = Duration::from_millis(100);
/// An unlock at a panel that misses answers is tried again this often: it has two seconds.
const UNLOCK_INTERVAL: Duration = Duration::from_millis(250);
/// New links that are set up in haste: this many at once, and one more in this time. A panel that ends its links again
/// and again gets probes.
const HASTE: (u32, Duration) = (4, Duration::from_secs(4));

/// How long a panel is waited for that is looked for at more than one rate, and is known to answer quickly: the more often it
/// is asked, the sooner it hears one of many.
const SEEK_WINDOW: Duration = Duration::from_millis(30);
const SEEK_INTERVAL: Duration = Duration::from_millis(20);

/// Turns for an unlock, a light, a sound or a status that take nothing from the panel's polls: this many at once, and one
/// more in this time. A panel that reads at every POLL cannot take more from the others.
const EXTRA: (u32, Duration) = (6, Duration::from_millis(400));

/// The rhythm of a panel's turns.
#[derive(Debug)]
pub(super) struct Pacing {
    reply_timeout: Duration,
    /// When its last turn ended, either way.
    turned: Mono,
    /// From when on it has waited for a POLL, as the others see it.
    waits_since: Mono,
    extra: Bucket,
    /// When its last turn was not answered, and how many were probes in a row.
    missed: Mono,
    probes: u32,
    /// It answers in less than a short probe waits.
    quick: bool,
    /// It answers in less than one waits who looks for it.
    is_swift: bool,
    haste: Bucket,
    /// The link that is set up now may be set up in haste.
    hasty: bool,
    looked: Mono,
}

impl Pacing {
    pub(super) fn new(reply_timeout: Duration) -> Self {
        Self {
            reply_timeout,
            turned: Mono::ZERO,
            waits_since: Mono::ZERO,
            extra: Bucket::new(EXTRA.0, EXTRA.1),
            missed: Mono::ZERO,
            probes: 0,
            quick: false,
            is_swift: false,
            haste: Bucket::new(HASTE.0, HASTE.1),
            hasty: true,
            looked: Mono::ZERO,
        }
    }

    pub(super) fn look(&mut self, now: Mono) {
        self.looked = now;
    }

    pub(super) fn looked_at(&self) -> Mono {
        self.looked
    }

    /// Notes the end of a turn. `is_extra`: it came in addition to the polls.
    pub(super) fn answered(&mut self, now: Mono, is_extra: bool) {
        (self.turned, self.probes) = (now, 0);
        if !(is_extra && self.extra.take(now)) {
            self.waits_since = now;
        }
    }

    pub(super) fn missed(&mut self, now: Mono) {
        (self.turned, self.waits_since, self.missed) = (now, now, now);
    }

    pub(super) fn in_order(&mut self) {
        self.hasty = true;
    }

    /// A link has been opened: whether it may be set up in haste.
    pub(super) fn link_begins(&mut self, now: Mono) {
        self.hasty = self.haste.take(now);
    }

    fn probe_window(&self) -> Duration {
        let every = if self.quick { LONG_PROBE_EVERY_IF_QUICK } else { LONG_PROBE_EVERY };
        let is_long = self.probes.checked_rem(every) == Some(0);
        if is_long { self.reply_timeout } else { PROBE_WINDOW.min(self.reply_timeout) }
    }
}

impl Panel {
    /// See [`crate::panel::Driver::next`].
    pub fn next(&self, now: Mono) -> Option<Turn> {
        let unlock = match self.link.work() {
            Some(Work::Out(out)) => out.deadline(),
            _ => None,
        };
        // What waits behind an OUT lets a POLL go first: a flood of unlocks must not starve the reader beside the lock.
        let waiting = self.unlocks.deadline().filter(|_| self.stopping || !self.owes_poll);
        let unlock = unlock.into_iter().chain(waiting).min();
        if self.stopping && unlock.is_none() {
            return None;
        }
        let held = self.link.not_before();
        let misses = self.link.timeouts() >= PROBE_AFTER;
        if let Some(deadline) = unlock
            && self.standing(now).0 == PanelState::Online
        {
            let spaced = if misses { self.pacing.missed + UNLOCK_INTERVAL } else { Mono::ZERO };
            let window = self.pacing.reply_timeout;
            return Some(Turn {
                kind: TurnKind::Request,
                from: held.max(spaced),
                deadline,
                window,
                answer_characters: 0,
            });
        }
        // While it goes to another rate nothing else can be asked of it: a swipe must not wait for long.
        if self.mover.is_under_way() && !misses {
            let window = self.pacing.reply_timeout;
            let deadline = held.max(self.pacing.waits_since);
            return Some(Turn { kind: TurnKind::SetUp, from: held, deadline, window, answer_characters: 0 });
        }
        let starting = !self.link.is_running();
        let is_known = self.presence.is_heard(now);
        if misses || !is_known || (starting && !self.pacing.hasty) {
            return Some(self.probe(held));
        }
        let kind = if starting { TurnKind::SetUp } else { TurnKind::Poll };
        let window = self.pacing.reply_timeout;
        let deadline = held.max(self.pacing.waits_since);
        Some(Turn { kind, from: held, deadline, window, answer_characters: 0 })
    }

    fn probe(&self, held: Mono) -> Turn {
        let Pacing { turned, .. } = self.pacing;
        let soon = self.link.timeouts() == PROBE_AFTER || self.tries_other_check();
        let never = turned == Mono::ZERO;
        let is_sought = self.is_astray();
        let pause = match () {
            () if is_sought => SEEK_INTERVAL,
            () if never => Duration::ZERO,
            () if soon => PROBE_SOON,
            () => PROBE_INTERVAL,
        };
        let from = held.max(turned + pause.min(PROBE_INTERVAL_ALONE));
        let is_lost = self.whereabouts.as_ref().is_some_and(Whereabouts::is_lost);
        let window = match self.pacing.probe_window() {
            _ if is_sought && !is_lost => self.pacing.reply_timeout,
            window if is_sought && self.pacing.is_swift && window < self.pacing.reply_timeout => {
                window.min(SEEK_WINDOW)
            }
            window => window,
        };
        let deadline = held.max(turned + pause);
        Turn { kind: TurnKind::Probe, from, deadline, window, answer_characters: 0 }
    }

    /// See [`crate::panel::Driver::began`].
    pub fn began(&mut self, after: Duration) {
        self.pacing.quick = after <= PROBE_WINDOW;
        self.pacing.is_swift = after <= SEEK_WINDOW;
    }

    /// See [`crate::panel::Driver::poll_transmit`].
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.advance(now);
        let Some(turn) = self.next(now).filter(|turn| turn.from <= now) else { return false };
        if turn.kind == TurnKind::Probe {
            self.pacing.probes = self.pacing.probes.wrapping_add(1);
        }
        if self.link.work().is_none() {
            let Some(work) = self.next_work(now) else { return false };
            let other_check = self.tries_other_check();
            if matches!(work, Work::Comset(_))
                && self.link.held().is_some()
                && let Some(whereabouts) = &mut self.whereabouts
            {
                self.mover.begins(whereabouts);
            }
            if let Err(Work::Out(out)) = self.link.begin(work, other_check) {
                self.done(out.tokens(), Err(Failure::Refused));
                return false;
            }
        }
        if let Some(Work::Out(sent)) = self.link.work() {
            self.unlocks.runs(now, &sent.clone());
        }
        self.link.be_patient(self.is_astray());
        if let Some(whereabouts) = &mut self.whereabouts {
            whereabouts.choose();
        }
        self.link.transmit(now, out)
    }

    /// Whether it may be at another rate than its line.
    fn is_astray(&self) -> bool {
        self.whereabouts.as_ref().is_some_and(Whereabouts::is_astray)
    }

    /// COMSET in the clear, for a panel that was lost at another rate than its line's, where no session comes about any more.
    fn call_home(&self) -> Option<Work> {
        let baud = self.whereabouts.as_ref()?.call()?;
        Some(Work::Comset(Comset { address: self.link.address(), baud }))
    }

    /// Whether the next opening tries the check that the panel is not known for: often as long as nothing is known, rarely
    /// for one that has told who it is, which may have been swapped; after a refusal, in turn.
    fn tries_other_check(&self) -> bool {
        let openings = self.link.openings();
        let known = self.identity.is_some();
        let due = if known { openings % 16 == 15 } else { openings % 4 == 1 };
        (due || self.link.is_refused()) && matches!(self.link.phase(), Phase::Start)
    }

    /// A POLL at the start of a link may bring a card in plaintext, so ID is asked first; but some panels answer no ID
    /// before a POLL. Only where plaintext is configured (OSDP Verified 050-09-18).
    fn tries_poll_first(&self) -> bool {
        let openings = self.link.openings();
        let due = if self.identity.is_none() { matches!(openings % 8, 5 | 6) } else { openings % 16 == 13 };
        due && self.keyring.security() == Security::Off
    }

    fn next_work(&mut self, now: Mono) -> Option<Work> {
        match self.link.phase() {
            Phase::Start if self.call_home().is_some() => self.call_home(),
            Phase::Start if self.tries_poll_first() => Some(Work::Poll),
            Phase::Start | Phase::Id => Some(Work::Id),
            Phase::Cap => Some(Work::Cap),
            Phase::Challenge(..) => Some(Work::Challenge),
            Phase::Scrypt(..) => Some(Work::Scrypt),
            Phase::Running => match self.link.to_set() {
                Some(key) => Some(Work::Keyset(key.clone())),
                None => self.next_change(now).or_else(|| self.next_running(now)),
            },
        }
    }

    /// The key that is to take the place of the session's, where no unlock waits: the session ends with it.
    fn next_change(&mut self, now: Mono) -> Option<Work> {
        let is_free = !self.stopping && self.unlocks.deadline().is_none();
        let may_move = is_free && !self.unlocks.are_under_way(now) && self.link.held().is_some();
        if let Some(baud) = self.mover.due().filter(|_| may_move) {
            return Some(Work::Comset(Comset { address: self.link.address(), baud }));
        }
        let key = self.keyring.to_set().filter(|_| is_free)?.clone();
        self.keyring.changing(&key);
        Some(Work::Keyset(key))
    }

    fn next_running(&mut self, now: Mono) -> Option<Work> {
        if !self.owes_poll
            && !self.mover.goes_back()
            && let Some(out) = self.unlocks.take(now)
        {
            self.owes_poll = true;
            return Some(Work::Out(out));
        }
        if self.stopping {
            self.owes_poll = false;
            return None;
        }
        // Every other turn is a POLL, whatever else waits: a swipe must not wait for a queue.
        if !std::mem::replace(&mut self.poll_next, true) {
            // The present is asked for only when the past is told: what waited in the panel comes before its first empty
            // answer.
            if self.presence.is_fresh()
                && let Some(status) = self.status.pop_front()
            {
                return Some(Work::Status(status));
            }
            if let Some(feedback) = self.next_feedback() {
                return Some(Work::Feedback(feedback));
            }
        }
        (self.poll_next, self.owes_poll) = (false, false);
        Some(Work::Poll)
    }
}

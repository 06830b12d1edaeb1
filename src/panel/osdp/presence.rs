//! Whether a panel is there, and whether what it reads was read just now: a pure function of the clock and of four moments.
//!
//! ```text
//!  any frame of its address ─► heard          POLL answered in order ─► in order, settling ─► online
//!  a new link ─► nothing is fresh             POLL answered by ACK ───► fresh
//! ```
//! Nothing here is a state that could be left behind: to hold the panel's answers back makes `in_order` and `fresh` grow
//! old, and does no more.

use std::time::Duration;

use crate::domain::Mono;

/// Without a POLL answered in order, or a frame, for this long, a panel is not online, or not heard (OSDP 2.2, 5.7).
pub const OFFLINE_AFTER: Duration = Duration::from_secs(8);
/// A panel that answers each POLL with a report, so that no ACK comes, is online after this long all the same. What it
/// reads stays stale.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Frames that come within this time of the last POLL in order belong to it.
const BESIDE: Duration = Duration::from_millis(1500);

/// Why a panel is not online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// It has 8 s to come in order.
    NotYet,
    /// It was in order, or was heard, and has been silent for 8 s.
    Silent,
    /// It has not been in order since the start, 8 s ago or more; perhaps it is heard.
    NeverInOrder {
        /// Whether any frame came within 8 s.
        heard: bool,
    },
    /// It has been heard for 8 s or more, and all that time it was out of order.
    OutOfOrder,
}

/// When what was heard of a panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presence {
    stale_after: Duration,
    /// The first look at the clock.
    watched: Option<Mono>,
    /// A frame of its address came, of whatever kind.
    heard: Option<Mono>,
    /// The first of them since it was last silent.
    heard_since: Mono,
    /// A POLL was answered on a link as secure as configured.
    in_order: Option<Mono>,
    /// The first of them since it was last out of order.
    in_order_since: Mono,
    /// An ACK to a POLL has come since then.
    settled: bool,
    /// When a POLL was last answered in order after that.
    online: Option<Mono>,
    /// When the last POLL of this link that was answered by ACK was first sent.
    fresh: Option<Mono>,
}

impl Presence {
    /// Returns a presence without any sign of life. `stale_after`: how old the last empty answer may be.
    pub(super) fn new(stale_after: Duration) -> Self {
        Self {
            stale_after,
            watched: None,
            heard: None,
            heard_since: Mono::ZERO,
            in_order: None,
            in_order_since: Mono::ZERO,
            settled: false,
            online: None,
            fresh: None,
        }
    }

    /// Sets how old the last empty answer may be.
    pub(super) fn set_stale_after(&mut self, stale_after: Duration) {
        self.stale_after = stale_after;
    }

    /// Notes that time is looked at; the first time is the start.
    pub(super) fn watch(&mut self, now: Mono) {
        self.watched.get_or_insert(now);
    }

    /// Notes a frame of the panel's address.
    pub(super) fn heard(&mut self, now: Mono) {
        if !self.is_heard(now) {
            self.heard_since = now;
        }
        self.heard = Some(now);
    }

    /// Notes that a POLL, first sent at `sent`, was answered in order on a link as secure as configured; `empty`: by ACK.
    pub(super) fn polled(&mut self, now: Mono, sent: Mono, empty: bool) {
        if !self.is_in_order(now) {
            (self.in_order_since, self.settled) = (now, false);
        }
        self.in_order = Some(now);
        if empty {
            self.settled = true;
            self.fresh = Some(sent);
        }
        if self.settled || now >= self.in_order_since + SETTLED_AFTER {
            self.online = Some(now);
        }
    }

    /// Notes a new link: the panel may hand over what it read long before.
    pub(super) fn link_began(&mut self) {
        self.fresh = None;
    }

    /// Whether a read that comes now was perhaps not made just now (contract §5, `stale`).
    pub(super) fn is_stale(&self, now: Mono) -> bool {
        self.fresh.is_none_or(|sent| now > sent + self.stale_after)
    }

    /// Whether a POLL of this link was answered by ACK.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh.is_some()
    }

    /// Whether it answers POLLs as securely as configured.
    pub(super) fn is_online(&self, now: Mono) -> bool {
        self.online.is_some_and(|at| now < at + OFFLINE_AFTER)
    }

    /// Whether a frame came lately.
    pub(super) fn is_heard(&self, now: Mono) -> bool {
        self.heard.is_some_and(|heard| now < heard + OFFLINE_AFTER)
    }

    /// What there is to say of a panel that is not online.
    pub(super) fn absence(&self, now: Mono) -> Absence {
        let is_late = |since: Option<Mono>| since.is_some_and(|since| now >= since + OFFLINE_AFTER);
        let last_order = self.online.or(self.watched);
        // What was heard beside the last POLL is no sign of life after it.
        let goes_on = |heard: Mono| self.online.is_none_or(|at| heard >= at + BESIDE);
        match self.heard.filter(|heard| self.is_heard(now) && goes_on(*heard)) {
            Some(_) if is_late(last_order.max(Some(self.heard_since))) => Absence::OutOfOrder,
            _ if !is_late(last_order) => Absence::NotYet,
            _ if self.online.is_some() || (self.heard.is_some() && !self.is_heard(now)) => Absence::Silent,
            _ => Absence::NeverInOrder { heard: self.heard.is_some() },
        }
    }

    /// When a frame last came.
    pub(super) fn last_heard(&self) -> Option<Mono> {
        self.heard
    }

    /// When one of the answers above changes next by the passing of time alone.
    pub(super) fn next_change(&self, now: Mono) -> Mono {
        let heard = self.heard.filter(|_| !self.is_online(now)).map(|heard| [heard, self.heard_since]);
        let since = heard.into_iter().flatten().chain(self.online.or(self.watched));
        let changes = since.map(|since| since + OFFLINE_AFTER).filter(|at| *at > now);
        let next = changes.min().unwrap_or(Mono::NEVER);
        if self.watched.is_none() { Mono::ZERO } else { next }
    }

    fn is_in_order(&self, now: Mono) -> bool {
        self.in_order.is_some_and(|at| now < at + OFFLINE_AFTER)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(3);

    fn at(millis: u64) -> Mono {
        Mono::from_nanos((1_000_000 + millis) * 1_000_000)
    }

    #[test]
    fn a_panel_is_online_for_eight_seconds_after_a_poll_in_order_and_no_frame_but_that_counts() {
        let mut presence = Presence::new(STALE);
        presence.watch(at(0));
        presence.heard(at(50));
        presence.polled(at(100), at(90), true);
        for millis in (200..8_000).step_by(100) {
            presence.heard(at(millis));
        }
        assert!(presence.is_online(at(8_099)));
        assert!(!presence.is_online(at(8_100)));
        assert_eq!(presence.absence(at(8_100)), Absence::OutOfOrder);
        assert!(presence.is_heard(at(8_100)), "heard, and out of order");
        assert_eq!(presence.next_change(at(8_000)), at(8_100));
    }

    #[test]
    fn a_read_is_fresh_while_the_last_empty_poll_was_sent_within_the_limit() {
        let mut presence = Presence::new(STALE);
        assert!(presence.is_stale(at(0)) && !presence.is_fresh());
        presence.polled(at(500), at(100), true);
        assert!(presence.is_fresh());
        assert!(!presence.is_stale(at(3_100)), "counted from its first sending");
        assert!(presence.is_stale(Mono::from_nanos(at(3_100).as_nanos() + 1)));
        presence.polled(at(3_200), at(3_150), false);
        assert!(presence.is_stale(at(3_200)), "a report shows nothing of what waits behind it");
        presence.polled(at(3_300), at(3_250), true);
        presence.link_began();
        assert!(presence.is_stale(at(3_300)) && !presence.is_fresh(), "it may hand over what it read before");
    }

    #[test]
    fn a_panel_that_always_reports_settles_in_the_end_and_stays_stale() {
        let mut presence = Presence::new(STALE);
        for millis in (0..3_000).step_by(50) {
            presence.polled(at(millis), at(millis), false);
            assert!(!presence.is_online(at(millis)));
        }
        presence.polled(at(3_000), at(3_000), false);
        assert!(presence.is_online(at(3_000)) && presence.is_stale(at(3_000)));
    }

    #[test]
    fn without_any_frame_it_is_overdue_from_the_first_look_on() {
        let mut presence = Presence::new(STALE);
        presence.watch(at(0));
        presence.watch(at(5_000));
        assert_eq!(presence.absence(at(7_999)), Absence::NotYet);
        assert_eq!(presence.absence(at(8_000)), Absence::NeverInOrder { heard: false });
        assert_eq!(presence.last_heard(), None);
        presence.heard(at(9_000));
        assert_eq!(presence.last_heard(), Some(at(9_000)));
        assert_eq!(presence.absence(at(16_999)), Absence::NeverInOrder { heard: true }, "it is being set up");
        assert_eq!(presence.next_change(at(9_000)), at(17_000));
        assert_eq!(presence.absence(at(17_000)), Absence::Silent, "one frame, and nothing since");
        (10_000..17_000).step_by(500).for_each(|millis| presence.heard(at(millis)));
        assert_eq!(presence.absence(at(17_000)), Absence::OutOfOrder);
    }

    #[test]
    fn a_panel_that_vanishes_is_silent_though_its_last_word_was_no_answer_to_a_poll() {
        let mut presence = Presence::new(STALE);
        presence.watch(at(0));
        presence.heard(at(50));
        presence.polled(at(100), at(90), true);
        presence.heard(at(140));
        assert_eq!(presence.absence(at(8_100)), Absence::Silent);
        // It is back, and still silent as far as anybody can tell: its link takes a while.
        presence.heard(at(60_000));
        assert_eq!(presence.absence(at(60_100)), Absence::Silent);
        (60_500..68_500).step_by(500).for_each(|millis| presence.heard(at(millis)));
        assert_eq!(presence.absence(at(68_000)), Absence::OutOfOrder);
    }

    #[test]
    fn eight_seconds_between_two_polls_are_an_absence_and_it_settles_anew() {
        for (millis, online) in [(7_999, true), (8_000, false)] {
            let mut presence = Presence::new(STALE);
            presence.heard(at(0));
            presence.polled(at(0), at(0), true);
            assert_eq!((presence.is_heard(at(millis)), presence.is_online(at(millis))), (online, online));
            presence.polled(at(millis), at(millis), false);
            assert_eq!(presence.is_online(at(millis)), online, "a report alone settles nothing");
        }
    }

    #[test]
    fn nothing_changes_before_the_next_change() {
        let answers = |presence: &Presence, now| {
            (presence.is_online(now), presence.is_heard(now), presence.absence(now))
        };
        assert_eq!(Presence::new(STALE).next_change(at(0)), Mono::ZERO, "the first look is due at once");
        let histories: [&[fn(&mut Presence)]; 5] = [
            &[],
            &[|presence| presence.heard(at(3_000))],
            &[|presence| presence.heard(at(2_000)), |presence| presence.heard(at(9_000))],
            &[|presence| presence.heard(at(100)), |presence| presence.polled(at(100), at(90), true)],
            &[
                |presence| presence.heard(at(100)),
                |presence| presence.polled(at(100), at(90), true),
                |presence| presence.heard(at(5_000)),
                |presence| presence.heard(at(12_000)),
            ],
        ];
        for (number, history) in histories.iter().enumerate() {
            let mut presence = Presence::new(STALE);
            presence.watch(at(0));
            history.iter().for_each(|happens| happens(&mut presence));
            let mut now = presence.last_heard().unwrap_or(at(100));
            for _ in 0..4 {
                let (before, next) = (answers(&presence, now), presence.next_change(now));
                assert!(next > now);
                let end = next.min(now + Duration::from_secs(60));
                let mut look = now;
                while look < end {
                    assert_eq!(answers(&presence, look), before, "history {number}, {now:?} to {next:?}");
                    look = look + Duration::from_millis(10);
                }
                now = end;
            }
            assert_eq!(presence.next_change(now), Mono::NEVER, "history {number}");
        }
    }
}

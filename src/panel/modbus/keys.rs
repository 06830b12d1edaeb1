//! The queue of codes of a reader behind a panel.
//!
//! ```text
//!          count > 0, code: told                 `next` answered
//!   Idle ───────────────────────► Taken ────────────────────────► Idle
//!    ▲                             ▲  │ `next` not answered
//!    │ another head, or fewer:     │  ▼
//!    └─────── it was taken ───── Unsure ──► same head, no fewer: it was not taken, `next` again
//! ```
//! Invariant: a code is told when it is first seen at the head, and `next` is written for it until the head is known
//! to be another: nothing is lost, nothing is told twice, whichever answer is lost.

use std::time::Duration;

use crate::domain::Mono;

/// After `next` was refused, it is tried again this much later.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// A code as its registers have it.
type Code = Vec<u16>;

#[derive(Debug, PartialEq, Eq)]
enum State {
    Idle,
    Taken { code: Code, count: u16 },
    Unsure { code: Code, count: u16 },
}

/// What the queue wants of the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Nothing beyond being looked at in its period.
    Nothing,
    /// To be looked at now.
    Look,
    /// The code, which did not come with the count.
    Code,
    /// `next` to be written.
    Next,
}

/// A code to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) code: Code,
    /// Swiped while nobody looked.
    pub(super) stale: bool,
}

/// One queue.
#[derive(Debug)]
pub(super) struct Keys {
    state: State,
    looked: Option<Mono>,
    /// How many at the head were there before anybody looked.
    stale: u16,
    /// The count says that there is a code, which is not read yet.
    code_wanted: Option<u16>,
    look_now: bool,
    next_at: Mono,
    /// `next` was not answered, and has taken the head off.
    worked: bool,
    /// What waited while nobody looked for this long was swiped by somebody who may be gone.
    stale_after: Duration,
}

impl Keys {
    pub(super) fn new(stale_after: Duration) -> Self {
        Self {
            stale_after,
            state: State::Idle,
            looked: None,
            stale: 0,
            code_wanted: None,
            look_now: false,
            next_at: Mono::ZERO,
            worked: false,
        }
    }

    pub(super) fn want(&self, now: Mono) -> Want {
        match self.state {
            State::Taken { .. } if self.next_at <= now => Want::Next,
            State::Taken { .. } => Want::Nothing,
            _ if self.code_wanted.is_some() => Want::Code,
            State::Unsure { .. } => Want::Look,
            State::Idle if self.look_now => Want::Look,
            State::Idle => Want::Nothing,
        }
    }

    /// When `next` may be written again; `None`: nothing is put off.
    pub(super) fn next_at(&self) -> Option<Mono> {
        matches!(self.state, State::Taken { .. }).then_some(self.next_at)
    }

    /// The count was read, and perhaps the code with it.
    pub(super) fn looked(&mut self, now: Mono, count: u16, code: Option<Code>) -> Option<Told> {
        self.look_now = false;
        self.code_wanted = None;
        if self.looked.is_none_or(|last| now.since(last) >= self.stale_after) {
            self.stale = count;
        }
        self.looked = Some(now);
        if matches!(self.state, State::Taken { .. }) {
            return None;
        }
        if count == 0 {
            self.worked |= matches!(self.state, State::Unsure { .. });
            self.state = State::Idle;
            self.stale = 0;
            return None;
        }
        match code {
            Some(code) => self.head(count, code),
            None => {
                self.code_wanted = Some(count);
                None
            }
        }
    }

    /// The code was read by itself.
    pub(super) fn read(&mut self, code: Code) -> Option<Told> {
        let count = self.code_wanted.take()?;
        self.head(count, code)
    }

    fn head(&mut self, count: u16, code: Code) -> Option<Told> {
        let not_taken = matches!(&self.state, State::Unsure { code: known, count: before }
            if *known == code && count >= *before);
        self.worked |= matches!(self.state, State::Unsure { .. }) && !not_taken;
        let stale = self.stale > 0;
        self.stale = self.stale.saturating_sub(1);
        self.state = State::Taken { code: code.clone(), count };
        (!not_taken).then_some(Told { code, stale })
    }

    /// `next` was written.
    pub(super) fn taken(&mut self) {
        if let State::Taken { count, .. } = self.state {
            self.look_now = count > 1;
            self.state = State::Idle;
        }
    }

    /// Whether it was seen since the last call that a `next` which was not answered has worked. Some panels answer a pulse
    /// by the state of their coil, which is off again.
    pub(super) fn take_worked(&mut self) -> bool {
        std::mem::take(&mut self.worked)
    }

    /// `next` was refused, and is not to be written again before `at`.
    pub(super) fn refused(&mut self, now: Mono, at: Mono) {
        self.next_at = at.max(now + REFUSED_PAUSE);
    }

    /// `next` is not to be written again before `at`.
    pub(super) fn put_off(&mut self, at: Mono) {
        self.next_at = self.next_at.max(at);
    }

    /// `next` was not answered, or the panel was away: whether the head is still the same is unknown.
    pub(super) fn lost(&mut self) {
        self.code_wanted = None;
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Taken { code, count } | State::Unsure { code, count } => State::Unsure { code, count },
            State::Idle => State::Idle,
        };
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    use proptest::{collection::vec, prelude::*};

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn code(number: u16) -> Option<Code> {
        Some(vec![number])
    }

    fn fresh(number: u16) -> Option<Told> {
        Some(Told { code: vec![number], stale: false })
    }

    /// A queue that was seen to be empty.
    fn empty() -> Keys {
        let mut keys = Keys::new(Duration::from_secs(3));
        assert_eq!(keys.looked(at(0), 0, None), None);
        keys
    }

    #[test]
    fn a_code_is_told_once_and_taken_off() {
        let mut keys = empty();
        assert_eq!(keys.looked(at(100), 2, code(7)), fresh(7));
        assert_eq!(keys.want(at(100)), Want::Next);
        assert_eq!(keys.looked(at(150), 2, code(7)), None);
        keys.taken();
        assert_eq!(keys.want(at(150)), Want::Look, "another one waits");
        assert_eq!(keys.looked(at(200), 1, code(7)), fresh(7), "the same key again");
        keys.taken();
        assert_eq!(keys.want(at(200)), Want::Nothing);
    }

    #[test]
    fn a_next_that_is_not_answered_has_worked_when_the_head_is_another_or_gone() {
        let mut keys = empty();
        keys.looked(at(100), 2, code(7));
        keys.lost();
        keys.looked(at(110), 2, code(7));
        assert!(!keys.take_worked(), "nothing has happened");
        keys.lost();
        assert_eq!(keys.looked(at(120), 1, code(8)), fresh(8));
        assert!(keys.take_worked() && !keys.take_worked());
        keys.lost();
        keys.looked(at(130), 0, None);
        assert!(keys.take_worked());
        keys.looked(at(140), 0, None);
        assert!(!keys.take_worked());
    }

    #[test]
    fn a_code_that_does_not_come_with_its_count_is_asked_for() {
        let mut keys = empty();
        assert_eq!(keys.looked(at(100), 1, None), None);
        assert_eq!(keys.want(at(100)), Want::Code);
        assert_eq!(keys.read(vec![7]), fresh(7));
        assert_eq!(keys.want(at(100)), Want::Next);
    }

    #[test]
    fn what_waited_while_nobody_looked_is_stale_and_what_comes_after_is_not() {
        let mut keys = Keys::new(Duration::from_secs(3));
        assert_eq!(keys.looked(at(0), 2, code(1)), Some(Told { code: vec![1], stale: true }));
        keys.taken();
        assert_eq!(keys.looked(at(100), 2, code(2)), Some(Told { code: vec![2], stale: true }));
        keys.taken();
        assert_eq!(keys.looked(at(200), 1, code(3)), fresh(3));
        keys.lost();
        // Away for long: the head is known already, the one behind it is not.
        assert_eq!(keys.looked(at(9000), 2, code(3)), None);
        keys.taken();
        assert_eq!(keys.looked(at(9100), 1, code(4)), Some(Told { code: vec![4], stale: true }));
        keys.taken();
        assert_eq!(keys.looked(at(9200), 1, code(5)), fresh(5));
    }

    proptest! {
        /// A panel whose answers get lost, of reads and of `next` alike, after the panel has acted or before: every
        /// code is told, none twice, in their order.
        #[test]
        fn no_lost_answer_loses_or_doubles_a_code(
            swipes in vec(0..40_usize, 0..12),
            losses in vec((any::<bool>(), any::<bool>()), 200),
            merged in any::<bool>(),
        ) {
            let mut panel: VecDeque<u16> = VecDeque::new();
            let mut keys = empty();
            let mut told = Vec::new();
            let mut expected = Vec::new();
            for (step, (request_lost, answer_lost)) in losses.into_iter().chain([(false, false); 60]).enumerate() {
                let now = at(step as u64 * 20 + 20);
                for _ in swipes.iter().filter(|swipe| **swipe == step) {
                    // All different: two swipes of one key while an answer is lost cannot be told apart.
                    let number = expected.len() as u16 + 1;
                    panel.push_back(number);
                    expected.push(number);
                }
                match keys.want(now) {
                    Want::Next => {
                        if !request_lost {
                            panel.pop_front();
                        }
                        if request_lost || answer_lost { keys.lost() } else { keys.taken() }
                    }
                    Want::Code if !request_lost && !answer_lost => {
                        told.extend(keys.read(vec![panel[0]]));
                    }
                    Want::Code => {}
                    Want::Look | Want::Nothing if !request_lost && !answer_lost => {
                        let code = panel.front().filter(|_| merged).map(|code| vec![*code]);
                        told.extend(keys.looked(now, panel.len() as u16, code));
                    }
                    Want::Look | Want::Nothing => {}
                }
            }
            let codes: Vec<u16> = told.iter().map(|told| told.code[0]).collect();
            prop_assert_eq!(codes, expected);
            prop_assert!(panel.is_empty() && told.iter().all(|told| !told.stale));
        }
    }
}

//! Light and sound that wait for one panel: the answer to a person at the door, and what somebody finds the panel by.
//!
//! ```text
//!  waiting ─► light ─┬─ taken ──────► sound ─┬─ taken, or the light was ─► Ok
//!                    ├─ a search ─────┘      └─ neither ─────────────────► Refused
//!                    └─ refused ─────────────────────────────────────────► Refused
//! ```
//! Invariants: each ends once. An answer to a person goes before a search for the panel. What the panel has not taken
//! within its time is withdrawn; where it has taken the light by then, it blinks, and the sound alone is given up.

use std::{collections::VecDeque, num::NonZeroU16};

use super::Panel;
use crate::{
    domain::Mono,
    panel::{Failure, Token},
    wire::osdp::{
        Command,
        control::{Blink, BuzzerControl, Colour, LedControl, PermanentLed, TemporaryLed, Tone},
    },
};

/// Answers that may wait for one panel; further ones are refused as unconfirmed. A door needs one at a time.
const ANSWERS: usize = 16;
/// Requests to find the panel that may wait for it, likewise.
const SEARCHES: usize = 4;
/// The reader by which a panel is found, and its light.
const FIRST: u8 = 0;
/// A panel that is to be found is lit and sounds for the first part of every half second, and is dark and silent for the
/// second; units of 100 ms.
const ON: u8 = 2;
const OFF: u8 = 3;

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Show {
    /// To a person at the door: green and one beep, or red and three.
    Answer {
        reader: u8,
        granted: bool,
        /// Units of 100 ms.
        tenths: NonZeroU16,
    },
    /// To somebody who looks for the panel: it blinks and beeps.
    Search {
        /// Units of 100 ms.
        tenths: NonZeroU16,
    },
}

/// Light, and sound after it, that somebody asked for.
#[derive(Debug)]
pub(super) struct Feedback {
    /// `None`: its end has been told.
    token: Option<Token>,
    show: Show,
    expires: Mono,
    /// The light is over, one way or the other.
    sounds: bool,
    /// The panel has taken the light, or the sound.
    taken: bool,
}

/// How a request ended.
pub(super) type End = (Token, Result<(), Failure>);

impl Feedback {
    pub(super) fn new(token: Token, show: Show, expires: Mono) -> Self {
        Self { token: Some(token), show, expires, sounds: false, taken: false }
    }

    /// Whether somebody looks for the panel.
    pub(super) fn is_search(&self) -> bool {
        matches!(self.show, Show::Search { .. })
    }

    /// Whether the sound is next, and no longer the light.
    pub(super) fn sounds(&self) -> bool {
        self.sounds
    }

    /// Leaves the light out.
    pub(super) fn skip_light(&mut self) {
        self.sounds = true;
    }

    /// The command that is next.
    pub(super) fn command(&self) -> Command {
        match self.show {
            Show::Answer { reader, granted, .. } if self.sounds => Command::Buz(BuzzerControl {
                reader,
                tone: Tone::Default,
                on: if granted { 2 } else { 1 },
                off: 1,
                count: if granted { 1 } else { 3 },
            }),
            Show::Answer { reader, granted, tenths } => {
                light(reader, Blink::steady(if granted { Colour::Green } else { Colour::Red }), tenths)
            }
            Show::Search { tenths } if self.sounds => Command::Buz(beeps(tenths)),
            // Red and dark: the one light of a simple reader is red, and two colours in turn would not blink there.
            Show::Search { tenths } => {
                let blink = Blink { on: ON, off: OFF, on_colour: Colour::Red, off_colour: Colour::Off };
                light(FIRST, blink, tenths)
            }
        }
    }

    /// Takes the answer to the command; whether the sound is still to come.
    pub(super) fn answered(&mut self, taken: bool) -> bool {
        self.taken |= taken;
        let was_light = !std::mem::replace(&mut self.sounds, true);
        was_light && self.token.is_some() && (taken || self.is_search())
    }

    /// Ends it where it has not ended: well where the panel has taken any of it, else by `failure`.
    pub(super) fn end(&mut self, failure: Failure) -> Option<End> {
        let result = if self.taken { Ok(()) } else { Err(failure) };
        self.token.take().map(|token| (token, result))
    }

    /// Ends it where the panel has nothing more to show it by. A person at the door misses nothing then; those who look
    /// for a panel that has shown nothing do.
    pub(super) fn end_unshown(&mut self) -> Option<End> {
        self.taken |= !self.is_search();
        self.end(Failure::Refused)
    }

    /// Returns when it is to be given up; `None`: its end has been told.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.token.map(|_| self.expires)
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Feedbacks {
    waiting: VecDeque<Feedback>,
}

impl Feedbacks {
    /// Takes one more; `false`: too many wait.
    pub(super) fn push(&mut self, feedback: Feedback) -> bool {
        let most = if feedback.is_search() { SEARCHES } else { ANSWERS };
        let alike = self.waiting.iter().filter(|one| one.is_search() == feedback.is_search());
        let fits = alike.count() < most;
        if fits {
            self.waiting.push_back(feedback);
        }
        fits
    }

    /// Takes back one whose sound is still to come.
    pub(super) fn resume(&mut self, feedback: Feedback) {
        self.waiting.push_front(feedback);
    }

    /// Returns the next one.
    pub(super) fn take(&mut self) -> Option<Feedback> {
        let answer = self.waiting.iter().position(|feedback| !feedback.is_search());
        self.waiting.remove(answer.unwrap_or_default())
    }

    /// Returns when the first of those that wait is to be given up; `None`: none waits.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.waiting.iter().filter_map(Feedback::deadline).min()
    }

    /// Withdraws what has waited for too long.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<End> {
        let mut ends = Vec::new();
        self.waiting.retain_mut(|feedback| {
            let is_over = feedback.expires <= now;
            if is_over {
                ends.extend(feedback.end(Failure::Unconfirmed));
            }
            !is_over
        });
        ends
    }

    /// Gives up all that wait.
    pub(super) fn give_up(&mut self, failure: Failure) -> Vec<End> {
        self.waiting.drain(..).filter_map(|mut feedback| feedback.end(failure)).collect()
    }
}

impl Panel {
    /// The next light or sound that the panel has.
    pub(super) fn next_feedback(&mut self) -> Option<Feedback> {
        while let Some(mut feedback) = self.feedbacks.take() {
            if !self.can_show(&feedback) {
                feedback.skip_light();
            }
            if self.can_show(&feedback) {
                return Some(feedback);
            }
            let end = feedback.end_unshown();
            self.ended(end);
        }
        None
    }

    /// The panel has taken a light or a sound, or has refused it.
    pub(super) fn shown(&mut self, mut feedback: Feedback, taken: bool) {
        let failure = match feedback.answered(taken) {
            true if !self.stopping => return self.feedbacks.resume(feedback),
            true => Failure::Stopping,
            false => Failure::Refused,
        };
        let end = feedback.end(failure);
        self.ended(end);
    }
}

/// A light for a time, after which the reader shows by itself what it showed before.
fn light(reader: u8, blink: Blink, tenths: NonZeroU16) -> Command {
    Command::Led(vec![LedControl {
        reader,
        led: FIRST,
        temporary: TemporaryLed::Set,
        temporary_blink: blink,
        timer: tenths.get(),
        permanent: PermanentLed::Nop,
        permanent_blink: Blink::steady(Colour::Off),
    }])
}

/// As many beeps as end within the time, and one at least.
fn beeps(tenths: NonZeroU16) -> BuzzerControl {
    let on = u8::try_from(tenths.get()).unwrap_or(ON).min(ON);
    let after_first = tenths.get().saturating_sub(u16::from(on));
    let more = after_first.checked_div(u16::from(ON.saturating_add(OFF))).unwrap_or_default();
    let count = u8::try_from(more.saturating_add(1)).unwrap_or(u8::MAX);
    BuzzerControl { reader: FIRST, tone: Tone::Default, on, off: OFF, count }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn tenths(count: u16) -> NonZeroU16 {
        NonZeroU16::new(count).unwrap()
    }

    fn answer(token: u64) -> Feedback {
        let show = Show::Answer { reader: 0, granted: true, tenths: tenths(30) };
        Feedback::new(Token(token), show, at(2_000))
    }

    fn search(token: u64) -> Feedback {
        Feedback::new(Token(token), Show::Search { tenths: tenths(100) }, at(2_000))
    }

    #[test]
    fn beeps_end_within_their_time_and_a_minute_of_them_fits_the_byte() {
        for time in 1..=600 {
            let beeps = beeps(tenths(time));
            let (on, off) = (u16::from(beeps.on), u16::from(beeps.off));
            let last_ends = u16::from(beeps.count) * (on + off) - off;
            assert!(last_ends <= time && time < last_ends + on + off, "{time}: {beeps:?}");
        }
        assert_eq!(beeps(tenths(u16::MAX)).count, u8::MAX);
    }

    #[test]
    fn an_answer_goes_before_a_search_even_between_its_light_and_its_sound() {
        let mut feedbacks = Feedbacks::default();
        assert!(feedbacks.push(search(1)) && feedbacks.push(answer(2)) && feedbacks.push(search(3)));
        let taken = |feedbacks: &mut Feedbacks| feedbacks.take().unwrap();
        assert_eq!(taken(&mut feedbacks).token, Some(Token(2)));
        let mut first = taken(&mut feedbacks);
        assert!(first.answered(true));
        feedbacks.resume(first);
        assert!(feedbacks.push(answer(4)));
        assert_eq!(taken(&mut feedbacks).token, Some(Token(4)));
        let mut first = taken(&mut feedbacks);
        assert_eq!((first.token, first.sounds()), (Some(Token(1)), true));
        assert!(!first.answered(false));
        assert_eq!(first.end(Failure::Refused), Some((Token(1), Ok(()))), "it blinks");
        assert_eq!(first.end(Failure::Refused), None);
    }

    #[test]
    fn a_flood_of_searches_takes_no_place_from_answers() {
        let mut feedbacks = Feedbacks::default();
        assert_eq!((0..9).filter(|token| feedbacks.push(search(*token))).count(), SEARCHES);
        assert!(feedbacks.push(answer(9)));
    }

    #[test]
    fn what_was_not_taken_in_time_is_withdrawn_and_what_blinks_by_then_is_well() {
        let mut feedbacks = Feedbacks::default();
        let mut lit = search(1);
        assert!(lit.answered(true));
        feedbacks.resume(lit);
        assert!(feedbacks.push(search(2)));
        assert_eq!((feedbacks.deadline(), feedbacks.expired(at(1_999))), (Some(at(2_000)), vec![]));
        let ends = feedbacks.expired(at(2_000));
        assert_eq!(ends, [(Token(1), Ok(())), (Token(2), Err(Failure::Unconfirmed))]);
        assert_eq!(feedbacks.deadline(), None);
    }
}

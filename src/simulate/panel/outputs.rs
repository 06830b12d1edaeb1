//! Outputs with their timers (OSDP 2.2, OUT control codes).
//!
//! Invariant: an output shows its temporary state while it has one, else its permanent one; a temporary state with
//! an end is gone as soon as time has been advanced to that end.

use std::time::Duration;

use crate::{
    domain::Mono,
    wire::osdp::control::{OutputAction, OutputControl},
};

/// The unit of OUT's timer.
const TIMER_UNIT: Duration = Duration::from_millis(100);

/// All outputs of a panel.
#[derive(Clone, Debug)]
pub struct Outputs(Vec<Output>);

#[derive(Clone, Copy, Debug, Default)]
struct Output {
    permanent: bool,
    temporary: Option<Temporary>,
}

#[derive(Clone, Copy, Debug)]
struct Temporary {
    on: bool,
    until: Mono,
}

impl Outputs {
    /// `count` outputs, all off.
    pub fn new(count: u8) -> Self {
        Self(vec![Output::default(); usize::from(count)])
    }

    /// A byte an output: 0 off, 1 on.
    pub fn states(&self) -> Vec<u8> {
        self.0.iter().map(|output| u8::from(output.on())).collect()
    }

    /// Whether there is such an output.
    pub fn has(&self, output: u8) -> bool {
        usize::from(output) < self.0.len()
    }

    /// Sets all outputs for good, as by hand at the panel; timers end.
    pub fn set(&mut self, states: &[u8]) {
        for (output, &state) in self.0.iter_mut().zip(states) {
            *output = Output { permanent: state != 0, temporary: None };
        }
    }

    /// Carries out one record at `now`.
    pub fn control(&mut self, now: Mono, record: &OutputControl) {
        let Some(output) = self.0.get_mut(usize::from(record.output)) else { return };
        let until = match record.timer {
            0 => Mono::NEVER,
            timer => now + TIMER_UNIT * u32::from(timer),
        };
        match record.action {
            OutputAction::Nop => {}
            OutputAction::PermanentOff => *output = Output { permanent: false, temporary: None },
            OutputAction::PermanentOn => *output = Output { permanent: true, temporary: None },
            OutputAction::PermanentOffAfterTimer => output.permanent = false,
            OutputAction::PermanentOnAfterTimer => output.permanent = true,
            OutputAction::TemporaryOn => output.temporary = Some(Temporary { on: true, until }),
            OutputAction::TemporaryOff => output.temporary = Some(Temporary { on: false, until }),
        }
    }

    /// Ends what has run out by `now`.
    pub fn advance(&mut self, now: Mono) {
        for output in &mut self.0 {
            output.temporary = output.temporary.filter(|temporary| temporary.until > now);
        }
    }

    /// When the next timer runs out.
    pub fn next_timeout(&self) -> Option<Mono> {
        let ends = self.0.iter().filter_map(|output| output.temporary).map(|temporary| temporary.until);
        ends.filter(|until| *until != Mono::NEVER).min()
    }
}

impl Output {
    fn on(&self) -> bool {
        self.temporary.map_or(self.permanent, |temporary| temporary.on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(outputs: &mut Outputs, now: u64, action: OutputAction, timer: u16) -> u8 {
        outputs.control(seconds(now), &OutputControl { output: 0, action, timer });
        outputs.states()[0]
    }

    fn at(outputs: &mut Outputs, now: u64) -> u8 {
        outputs.advance(seconds(now));
        outputs.states()[0]
    }

    fn seconds(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_temporary_state_ends_in_the_permanent_one() {
        let mut outputs = Outputs::new(1);
        assert_eq!(after(&mut outputs, 0, OutputAction::TemporaryOn, 30), 1);
        assert_eq!(outputs.next_timeout(), Some(seconds(3)));
        assert_eq!((at(&mut outputs, 2), at(&mut outputs, 3)), (1, 0));
        assert_eq!(after(&mut outputs, 4, OutputAction::PermanentOn, 0), 1);
        assert_eq!(after(&mut outputs, 4, OutputAction::TemporaryOff, 10), 0);
        assert_eq!(at(&mut outputs, 5), 1);
        assert_eq!(outputs.next_timeout(), None);
    }

    #[test]
    fn permanent_at_once_aborts_a_timer_and_after_the_timer_waits_for_it() {
        let mut outputs = Outputs::new(1);
        after(&mut outputs, 0, OutputAction::TemporaryOn, 30);
        assert_eq!(after(&mut outputs, 1, OutputAction::PermanentOnAfterTimer, 0), 1);
        assert_eq!(after(&mut outputs, 1, OutputAction::PermanentOffAfterTimer, 0), 1);
        assert_eq!(after(&mut outputs, 1, OutputAction::Nop, 0), 1);
        assert_eq!(at(&mut outputs, 3), 0);
        after(&mut outputs, 4, OutputAction::TemporaryOn, 30);
        assert_eq!(after(&mut outputs, 5, OutputAction::PermanentOff, 0), 0);
        assert_eq!(outputs.next_timeout(), None);
    }

    #[test]
    fn a_timer_of_zero_never_ends_by_itself() {
        let mut outputs = Outputs::new(1);
        after(&mut outputs, 0, OutputAction::TemporaryOn, 0);
        assert_eq!(outputs.next_timeout(), None);
        assert_eq!(at(&mut outputs, 1_000_000), 1);
        assert_eq!(after(&mut outputs, 1_000_000, OutputAction::PermanentOff, 0), 0);
    }
}

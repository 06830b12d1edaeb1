//! What a panel wants of its line next. The line's schedule knows panels by this alone, whatever they speak.

use std::time::Duration;

use crate::domain::Mono;

/// Why a panel wants a turn. The order is the order of precedence, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TurnKind {
    /// Its ordinary questions: POLL, registers.
    Poll,
    /// Whether it is there at all, or comes to a link at last. All probes together get a quarter of the line's time.
    Probe,
    /// One of the few exchanges that bring a link about and should follow each other soon.
    SetUp,
    /// Somebody at the door waits for it: an unlock, and whatever stands between the unlock and the wire.
    Request,
}

/// One turn that a panel wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Why.
    pub kind: TurnKind,
    /// Not before this moment; where it lies ahead, there is nothing to say until then.
    pub from: Mono,
    /// When it is due. Among turns of one kind the earliest goes first. A probe waits for it while any panel of the line
    /// answers, and goes from [`Turn::from`] on where none does. A panel that is polled as often as the line allows gives
    /// the moment at which its last turn ended.
    pub deadline: Mono,
    /// How long the panel may take to begin its answer.
    pub window: Duration,
    /// How many characters the answer has, 0 where that is not known: a buffering adapter may hold it back until it is
    /// whole.
    pub answer_characters: u32,
}

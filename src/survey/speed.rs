//! How fast a line is, and how its characters end.

use std::{fmt, time::Duration};

use crate::domain::Parity;

/// The speed of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Bits a second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
}

impl Speed {
    /// Returns how long a character takes, start and stop bits included.
    pub fn character(&self) -> Duration {
        let bits = if self.parity == Parity::None { 10 } else { 11 };
        Duration::from_nanos(1_000_000_000_u64.saturating_mul(bits) / u64::from(self.baud.max(1)))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parity {
            Parity::None => write!(f, "{} baud", self.baud),
            parity => write!(f, "{} baud with {parity} parity", self.baud),
        }
    }
}

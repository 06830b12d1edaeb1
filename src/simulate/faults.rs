//! Faults of a panel that are the same for either protocol.

use std::time::Duration;

use super::{action::Fault, panel::Answer};

/// How a panel misbehaves just now.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) nak: bool,
    pub(super) unencrypted: bool,
    mute: bool,
    pub(super) gone: bool,
    drop: u32,
    corrupt: u32,
    busy: u32,
    delay: Duration,
    late: u32,
    late_by: Duration,
    shorten: u32,
    lengthen: u32,
    misaddress: u32,
}

impl Fault {
    /// Whether it makes sense only where a panel has registers.
    pub(super) fn is_of_registers(self) -> bool {
        matches!(self, Self::Shorten(_) | Self::Lengthen(_) | Self::Misaddress(_))
    }
}

impl Faults {
    pub(super) fn set(&mut self, fault: Fault) {
        match fault {
            Fault::Nak(on) => self.nak = on,
            Fault::Unencrypted(on) => self.unencrypted = on,
            Fault::Mute(on) => self.mute = on,
            Fault::Gone(on) => self.gone = on,
            Fault::Drop(count) => self.drop = count,
            Fault::Corrupt(count) => self.corrupt = count,
            Fault::Busy(count) => self.busy = count,
            Fault::Delay(delay) => self.delay = delay,
            Fault::Late { count, by } => (self.late, self.late_by) = (count, by),
            Fault::Shorten(count) => self.shorten = count,
            Fault::Lengthen(count) => self.lengthen = count,
            Fault::Misaddress(count) => self.misaddress = count,
        }
    }

    /// Whether this command finds the panel busy.
    pub(super) fn take_busy(&mut self) -> bool {
        take(&mut self.busy)
    }

    /// Whether this answer has one register too few.
    pub(super) fn take_shorten(&mut self) -> bool {
        take(&mut self.shorten)
    }

    /// Whether this answer has one register too many.
    pub(super) fn take_lengthen(&mut self) -> bool {
        take(&mut self.lengthen)
    }

    /// Whether this answer bears another's address.
    pub(super) fn take_misaddress(&mut self) -> bool {
        take(&mut self.misaddress)
    }

    /// What becomes of an answer; `None`: it is lost, or there was none.
    pub(super) fn put_on_line(&mut self, mut bytes: Vec<u8>) -> Option<Answer> {
        if self.mute || bytes.is_empty() || take(&mut self.drop) {
            return None;
        }
        if take(&mut self.corrupt)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 0x55;
        }
        let late = if take(&mut self.late) { self.late_by } else { Duration::ZERO };
        Some(Answer { bytes, delay: self.delay + late })
    }
}

/// Counts down.
fn take(count: &mut u32) -> bool {
    let any = *count > 0;
    *count = count.saturating_sub(1);
    any
}

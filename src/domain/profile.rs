//! What a Modbus panel's registers mean (contract §2, profile), validated: registers do not overlap, thresholds
//! ascend, every count and width fits. The `config` room reads it from a file.

use std::time::Duration;

use super::line::Thresholds;

/// The four tables of a Modbus device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegisterKind {
    /// Single bits, readable and writable.
    Coil,
    /// Single bits, read only.
    Discrete,
    /// Words, readable and writable.
    Holding,
    /// Words, read only.
    Input,
}

/// A place in a device, by the address that is on the line: from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register {
    /// The table.
    pub kind: RegisterKind,
    /// The first address.
    pub address: u16,
}

/// A whole profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// `name`.
    pub name: String,
    /// `[lines]`.
    pub lines: Option<LinesProfile>,
    /// `[keys]`.
    pub keys: Option<KeysProfile>,
    /// `[lock]`.
    pub lock: Option<LockProfile>,
    /// `[door]`.
    pub door: Option<DoorProfile>,
    /// `[identity]`.
    pub identity: Option<IdentityProfile>,
}

impl Profile {
    /// Returns how often keys and contacts are to be looked at, where it has any.
    pub fn fastest_period(&self) -> Option<Duration> {
        let keys = self.keys.as_ref().map(|keys| keys.period);
        let door = self.door.map(|door| door.period);
        [keys, door].into_iter().flatten().min()
    }
}

/// `[lines]`: one analog line a flat.
#[derive(Clone, Debug, PartialEq)]
pub struct LinesProfile {
    /// How many lines the panel has: as the profile says, else as many as fit before another register.
    pub count: u16,
    /// Of values after `scale`.
    pub unit: String,
    /// The register of line 1; the others follow.
    pub value: Register,
    /// Multiplies the register.
    pub scale: f64,
    /// The line-enable coil of line 1; the others follow.
    pub enable: Option<u16>,
    /// The raw value that says "no measurement possible".
    pub unsupported: Option<u16>,
    /// The raw value that says "in a call".
    pub busy: Option<u16>,
    /// In `unit`.
    pub thresholds: Thresholds,
    /// Values outside, in `unit`, are `unknown`.
    pub range: (f64, f64),
    /// Equal samples before a change, at least 1.
    pub debounce: u8,
    /// How often each line is read.
    pub period: Duration,
    /// How many lines lie side by side in the cabinet.
    pub columns: Option<u16>,
}

/// `[keys]`: a reader behind the panel, read as a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct KeysProfile {
    /// How many codes wait.
    pub count: Register,
    /// The first code that waits.
    pub code: Register,
    /// Words of a code, 1 to 4.
    pub words: u16,
    /// Significant bits of a code, right-aligned in its words.
    pub bits: u16,
    /// The least significant word comes first.
    pub little: bool,
    /// Written 1 to take the code off the queue; a coil or a holding register.
    pub next: Register,
    /// How often the queue is looked at.
    pub period: Duration,
}

/// `[lock]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockProfile {
    /// A holding register that takes the length of the pulse: the panel locks again by itself.
    Pulse {
        /// Its address.
        address: u16,
        /// What one of it means.
        unit: Duration,
    },
    /// A coil that the gateway switches on and off.
    Coil(u16),
}

/// `[door]`: contact and request-to-exit button. They are inputs 0 and 1 of the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorProfile {
    /// The door contact.
    pub contact: Option<Register>,
    /// The button.
    pub exit: Option<Register>,
    /// How often they are read.
    pub period: Duration,
}

impl DoorProfile {
    /// The number of the contact among the panel's inputs.
    pub const CONTACT: u8 = 0;
    /// The number of the button among the panel's inputs.
    pub const EXIT: u8 = 1;
}

/// `[identity]`: what the panel says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProfile {
    /// Where it says it.
    pub model: Register,
    /// How many words it has.
    pub words: u16,
    /// The words are characters, two each, the first one in the upper byte; else a number.
    pub text: bool,
    /// What it must say.
    pub is: Option<String>,
}

//! OSDP 2.2 (IEC 60839-11-5): frames, commands and replies, the secure channel, capture files.
//!
//! ```text
//!  bytes ── frame::parse ──► Frame ── (SCS_15…18: Session::open) ──► data ── Command/Reply::decode
//!  bytes ◄─ frame::emit / Session::seal ◄── data ◄── Command/Reply::encode_data
//! ```
//! What to send when, sequence numbers and time-outs belong to the caller; this room only knows how it is written.

pub mod capture;
pub mod code;
pub mod command;
pub mod control;
pub mod decoder;
pub mod describe;
pub mod frame;
pub mod reply;
pub mod secure;

pub use command::Command;
pub use frame::{Check, Frame, Header, Parsed, SecurityBlock, TooLong, emit, parse};
pub use reply::{NakCode, Reply};
pub use secure::{Scbk, Session};

pub use super::Sensitive;

/// Why the data of a command or a reply could not be understood. The frame itself was sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The data is longer or shorter than the code allows, or than a count inside it says.
    #[error("{name} with {got} bytes of data, where {expected} belong")]
    Length {
        /// The standard's name of the code.
        name: &'static str,
        /// How many bytes there are.
        got: usize,
        /// What would have been right, in words.
        expected: &'static str,
    },
    /// A field holds a value that OSDP 2.2 does not define.
    #[error("{name}: {field} {value} is not defined")]
    Value {
        /// The standard's name of the code.
        name: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u8,
    },
    /// TEXT holds something else than printable ASCII.
    #[error("TEXT with other characters than printable ASCII")]
    Text,
}

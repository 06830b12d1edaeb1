//! What a line carried, as recorders write it down: frames put together from the runs of bytes in which they came.
//!
//! ```text
//!  OSDPCAP line ─┐                              ┌─► Decoder, which opens secure channels
//!  pcap packet  ─┼─ (at, io, bytes) ─► Frames ──┼─► the trace of a bus
//!  a bus's tap  ─┘             or ModbusFrames  └─► a replay
//! ```
//! Where a frame begins is not lost when a recorder wrote it in two runs: what was put together has the place of its
//! first byte.

mod entry;
mod modbus_frames;
mod osdp_frames;
pub mod pcap;
mod redaction;

pub use entry::{Content, Entry, Form, Remark};
pub use modbus_frames::{Answered, ModbusFrames};
pub use osdp_frames::Frames;
pub use redaction::{KeyRegisters, ModbusRedactor, OsdpRedactor, Secret};

use super::osdp::{capture::Io, frame::Fault};

/// What a run of bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole frame whose check is right.
    Frame,
    /// A whole frame that is not to be believed.
    Broken(Fault),
    /// Bytes that belong to no frame.
    Noise,
    /// The beginning of a frame whose end never came.
    Unfinished {
        /// At least this many bytes are missing.
        missing: usize,
    },
}

/// A piece of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// Where its first byte was.
    pub at: T,
    /// Who sent it.
    pub io: Io,
    /// What it is.
    pub piece: Piece,
    /// How many marks (FF) were before it; OSDP.
    pub marks: usize,
    /// Its bytes, the marks not among them.
    pub bytes: Vec<u8>,
}

//! What the gateway itself records, in either form.

use std::fmt;

use super::pcap::{Event, Packet, REDACTED, file_header};
use crate::wire::osdp::capture::{CaptureLine, Io};

/// Who recorded it, in OSDPCAP.
const SOURCE: &str = "intercom-gateway";

/// The form of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For OSDP: a JSON object a line.
    Osdpcap,
    /// For Modbus: pcap, RTAC serial.
    Pcap,
}

impl Form {
    /// Returns how names of files in this form end.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Osdpcap => "osdpcap",
            Self::Pcap => "pcap",
        }
    }

    /// Returns what a file in this form begins with.
    #[must_use]
    pub fn header(self) -> Vec<u8> {
        match self {
            Self::Osdpcap => Vec::new(),
            Self::Pcap => file_header(),
        }
    }
}

/// A record of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Nanoseconds since 1970-01-01 UTC.
    pub nanos: u64,
    /// What it holds.
    pub content: Content,
}

/// What a record holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes of the line.
    Bytes {
        /// Who sent them.
        io: Io,
        /// The bytes.
        bytes: Vec<u8>,
        /// A code in them was made unreadable.
        redacted: bool,
    },
    /// What is to be said in place of bytes.
    Remark(Remark),
}

/// The bytes may be a key.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { io, bytes, redacted } => {
                write!(f, "Bytes {{ io: {io:?}, {} bytes, redacted: {redacted} }}", bytes.len())
            }
            Self::Remark(remark) => write!(f, "Remark({remark})"),
        }
    }
}

/// What is to be said in place of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// This many frames found the writer busy.
    Dropped(u64),
    /// Bytes that are no frame may hold parts of a key, and are left out.
    LeftOut {
        /// How many.
        bytes: usize,
        /// What they looked like.
        what: String,
    },
    /// Exchanges that were all the same are only counted.
    Counted(u64),
    /// A session under the default key begins at this address, whose frames anybody could open.
    Hidden(u8),
    /// It has ended, and this many frames are left out.
    Shown(u8, u64),
    /// Something else.
    Said(String),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped(frames) => write!(f, "dropped {frames} frames"),
            Self::LeftOut { bytes, what } => write!(f, "{bytes} bytes left out: {what}"),
            Self::Counted(exchanges) => write!(f, "{exchanges} exchanges without news, only counted"),
            Self::Hidden(address) => {
                write!(f, "panel {address}: a session under the default key begins, its frames are left out")
            }
            Self::Shown(address, frames) => {
                write!(
                    f,
                    "panel {address}: the session under the default key has ended, {frames} frames left out"
                )
            }
            Self::Said(text) => f.write_str(text),
        }
    }
}

impl Entry {
    /// Appends the record to a file of this form.
    pub fn emit(&self, form: Form, out: &mut Vec<u8>) {
        match form {
            Form::Osdpcap => self.emit_line(out),
            Form::Pcap => self.emit_packet(out),
        }
    }

    fn emit_line(&self, out: &mut Vec<u8>) {
        let (io, data, redacted, note) = match &self.content {
            Content::Bytes { io, bytes, redacted } => (*io, bytes.clone(), *redacted, None),
            Content::Remark(remark) => {
                let redacted = !matches!(remark, Remark::Dropped(_) | Remark::Said(_) | Remark::Counted(_));
                (Io::Trace, Vec::new(), redacted, Some(remark.to_string()))
            }
        };
        let seconds = self.nanos / NANOS;
        let nanos = u32::try_from(self.nanos % NANOS).unwrap_or_default();
        let line = CaptureLine { seconds, nanos, io, data, source: SOURCE.to_owned(), redacted, note };
        out.extend_from_slice(line.to_line().as_bytes());
        out.push(b'\n');
    }

    fn emit_packet(&self, out: &mut Vec<u8>) {
        let number = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
        let (event, footer, data) = match &self.content {
            Content::Bytes { io, bytes, redacted } => {
                let event = if *io == Io::Out { Event::Sent } else { Event::Received };
                (event, if *redacted { REDACTED } else { 0 }, bytes.clone())
            }
            Content::Remark(Remark::Dropped(frames)) => (Event::Lost, number(*frames), Vec::new()),
            Content::Remark(Remark::LeftOut { bytes, .. }) => {
                (Event::LeftOut, u16::try_from(*bytes).unwrap_or(u16::MAX), Vec::new())
            }
            Content::Remark(Remark::Counted(exchanges)) => (Event::Unchanged, number(*exchanges), Vec::new()),
            // Of sessions there are none, and for other words no place.
            Content::Remark(Remark::Hidden(_) | Remark::Shown(..) | Remark::Said(_)) => return,
        };
        let seconds = u32::try_from(self.nanos / NANOS).unwrap_or(u32::MAX);
        let micros = u32::try_from(self.nanos % NANOS / 1000).unwrap_or_default();
        Packet { seconds, micros, event, footer, data }.emit(out);
    }
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::recording::pcap::Packets;

    #[test]
    fn both_forms_hold_what_was_recorded() {
        let entry = |content| Entry { nanos: 1_693_167_786_033_907_099, content };
        let bytes = Content::Bytes { io: Io::Out, bytes: vec![0xff, 0x53, 0], redacted: true };
        let remarks = [
            Remark::Dropped(70_000),
            Remark::LeftOut { bytes: 9, what: "noise".to_owned() },
            Remark::Counted(12),
        ];
        let entries: Vec<_> = std::iter::once(bytes).chain(remarks.map(Content::Remark)).map(entry).collect();
        let (mut lines, mut packets) = (Vec::new(), Form::Pcap.header());
        for entry in &entries {
            entry.emit(Form::Osdpcap, &mut lines);
            entry.emit(Form::Pcap, &mut packets);
        }
        let lines = String::from_utf8(lines).unwrap();
        let read: Vec<_> = lines.lines().map(|line| CaptureLine::parse(line).unwrap()).collect();
        assert_eq!(
            (read[0].nanos, read[0].redacted, &read[0].data),
            (33_907_099, true, &vec![0xff, 0x53, 0])
        );
        assert_eq!(read[1].note.as_deref(), Some("dropped 70000 frames"));
        assert_eq!(read[2].note.as_deref(), Some("9 bytes left out: noise"));
        let read: Vec<_> =
            Packets::new(packets.as_slice()).unwrap().map(|(_, packet)| packet.unwrap()).collect();
        let shapes: Vec<_> = read.iter().map(|packet| (packet.micros, packet.event, packet.footer)).collect();
        let wanted = [(Event::Sent, 1), (Event::Lost, u16::MAX), (Event::LeftOut, 9), (Event::Unchanged, 12)];
        assert_eq!(shapes, wanted.map(|(event, footer)| (33_907, event, footer)));
    }
}

//! pcap files of link type 250, which is "RTAC serial": a serial line as Schweitzer's automation controllers record
//! it and Wireshark reads it (`-d rtacser.data,mbrtu` shows Modbus in it).
//!
//! ```text
//!  file    magic A1B2C3D4, version 2.4, 0, 0, longest packet, link type        24 bytes, in the writer's byte order
//!  packet  seconds, microseconds, bytes that follow, bytes there were          16 bytes, in the writer's byte order
//!          seconds, microseconds, event, control lines, footer                 12 bytes, big-endian
//!          what was on the line
//! ```
//! The footer is nobody's by the format. Here it says 1 where a key was made unreadable, and a number with events
//! that have one: frames that were dropped, exchanges that were only counted, bytes that were left out.

use std::io::{self, Read};

/// "RTAC serial" in the list of link types.
const LINK_TYPE: u32 = 250;
/// Magic of files whose fractions are microseconds, and nanoseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The section header of the newer format, which is another.
const PCAPNG: u32 = 0x0a0d_0d0a;
const RTAC_HEADER: usize = 12;
/// No packet of a serial line is longer: a larger length is damage.
const LONGEST: u32 = 65_535;

/// What a packet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes that the recorder sent.
    Sent,
    /// Bytes that the recorder received.
    Received,
    /// Frames that the recorder could not keep up with; the footer says how many.
    Lost,
    /// Exchanges that were all the same; the footer says how many.
    Unchanged,
    /// Bytes that were no frame and are left out; the footer says how many.
    LeftOut,
    /// Any other event of the line.
    Other(u8),
}

const EVENTS: [(u8, Event); 5] = [
    (0x00, Event::Unchanged),
    (0x01, Event::Sent),
    (0x02, Event::Received),
    (0x05, Event::Lost),
    (0x07, Event::LeftOut),
];
const SENT_END: u8 = 0x03;
const RECEIVED_END: u8 = 0x04;

impl Event {
    fn from_byte(byte: u8) -> Self {
        match byte {
            SENT_END => Self::Sent,
            RECEIVED_END => Self::Received,
            _ => {
                EVENTS.iter().find(|(known, _)| *known == byte).map_or(Self::Other(byte), |(_, event)| *event)
            }
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Other(byte) => byte,
            _ => EVENTS.iter().find(|(_, event)| *event == self).map_or(0, |(byte, _)| *byte),
        }
    }
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Seconds since 1970-01-01 UTC.
    pub seconds: u32,
    /// Microseconds beyond.
    pub micros: u32,
    /// What happened.
    pub event: Event,
    /// See the module.
    pub footer: u16,
    /// What was on the line.
    pub data: Vec<u8>,
}

/// The footer of bytes in which a key was made unreadable.
pub const REDACTED: u16 = 1;

/// Returns the beginning of a file.
#[must_use]
pub fn file_header() -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    out.extend_from_slice(&MICROSECONDS.to_le_bytes());
    out.extend_from_slice(&2_u16.to_le_bytes());
    out.extend_from_slice(&4_u16.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&LONGEST.to_le_bytes());
    out.extend_from_slice(&LINK_TYPE.to_le_bytes());
    out
}

impl Packet {
    /// Appends it, as a file with [`file_header`] has it.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.data.len().saturating_add(RTAC_HEADER)).unwrap_or(LONGEST);
        for word in [self.seconds, self.micros, length, length] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.seconds.to_be_bytes());
        out.extend_from_slice(&self.micros.to_be_bytes());
        out.extend_from_slice(&[self.event.byte(), 0]);
        out.extend_from_slice(&self.footer.to_be_bytes());
        out.extend_from_slice(&self.data);
    }
}

/// Why a file cannot be read, or not on.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The beginning is that of the newer format.
    #[error("this is a pcapng file; save it as pcap (editcap -F pcap FROM TO)")]
    Pcapng,
    /// The beginning is no pcap file's.
    #[error("this is no pcap file")]
    Magic,
    /// It records something else.
    #[error("the link type is {0}: only 250 (RTAC serial) is known")]
    LinkType(u32),
    /// It ends in the middle.
    #[error("the file is cut off in the middle of this packet")]
    Truncated,
    /// The length of a packet cannot be.
    #[error("the packet claims {0} bytes: the file is damaged from here on")]
    Length(u32),
    /// The header of the line's own is not whole.
    #[error("the packet has {0} bytes, and the header of RTAC serial alone has 12")]
    Header(usize),
    /// The file cannot be read on.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
}

/// Returns whether a file that begins so is a pcap file, of whatever kind.
#[must_use]
pub fn is_pcap(begin: [u8; 4]) -> bool {
    [u32::from_le_bytes(begin), u32::from_be_bytes(begin)]
        .iter()
        .any(|magic| matches!(*magic, MICROSECONDS | NANOSECONDS | PCAPNG))
}

/// The packets of a file with their numbers from 1, until the end or until it cannot be read on.
#[derive(Debug)]
pub struct Packets<R> {
    reader: R,
    is_big_endian: bool,
    nanos: bool,
    number: usize,
    ended: bool,
}

impl<R: Read> Packets<R> {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// [`PcapError`]: it is none, or of another link type.
    pub fn new(mut reader: R) -> Result<Self, PcapError> {
        let mut header = [0; 24];
        let length = fill(&mut reader, &mut header)?;
        let word = |at: usize, is_big: bool| {
            let bytes = header.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
            if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let is_magic = |magic: u32| matches!(magic, MICROSECONDS | NANOSECONDS);
        let is_big_endian = match (is_magic(word(0, false)), is_magic(word(0, true))) {
            (true, _) => false,
            (_, true) => true,
            _ if word(0, false) == PCAPNG => return Err(PcapError::Pcapng),
            _ => return Err(PcapError::Magic),
        };
        if length < header.len() {
            return Err(PcapError::Truncated);
        }
        let nanos = word(0, is_big_endian) == NANOSECONDS;
        // The upper bits tell of a check that serial lines have not.
        match word(20, is_big_endian) & 0xffff {
            LINK_TYPE => Ok(Self { reader, is_big_endian, nanos, number: 0, ended: false }),
            other => Err(PcapError::LinkType(other)),
        }
    }

    fn packet(&mut self) -> Result<Option<Packet>, PcapError> {
        let mut header = [0; 16];
        match fill(&mut self.reader, &mut header)? {
            0 => return Ok(None),
            16 => {}
            _ => return Err(PcapError::Truncated),
        }
        let word = |at: usize| {
            let bytes = header.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
            if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let (seconds, fraction, length) = (word(0), word(4), word(8));
        if length > LONGEST {
            return Err(PcapError::Length(length));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        if fill(&mut self.reader, &mut bytes)? < bytes.len() {
            return Err(PcapError::Truncated);
        }
        let Some((rtac, data)) = bytes.split_first_chunk::<RTAC_HEADER>() else {
            return Err(PcapError::Header(bytes.len()));
        };
        let &[_, _, _, _, _, _, _, _, event, _, high, low] = rtac;
        Ok(Some(Packet {
            seconds,
            micros: if self.nanos { fraction / 1000 } else { fraction },
            event: Event::from_byte(event),
            footer: u16::from_be_bytes([high, low]),
            data: data.to_vec(),
        }))
    }
}

impl<R: Read> Iterator for Packets<R> {
    type Item = (usize, Result<Packet, PcapError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let packet = self.packet().transpose()?;
        self.ended = matches!(&packet, Err(error) if !matches!(error, PcapError::Header(_)));
        Some((self.number, packet))
    }
}

/// Fills a buffer as far as the reader goes; returns how far.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, PcapError> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => length = length.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PcapError::Read(error)),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets() -> [Packet; 3] {
        let packet = |event, footer, data: &[u8]| Packet {
            seconds: 1_693_167_786,
            micros: 33_907,
            event,
            footer,
            data: data.to_vec(),
        };
        [
            packet(Event::Sent, 0, &[12, 4, 1, 0x90, 0, 1, 0xb1, 0x3a]),
            packet(Event::Received, REDACTED, &[12, 4, 2, 0, 7, 1, 2]),
            packet(Event::Lost, 300, &[]),
        ]
    }

    fn file() -> Vec<u8> {
        let mut file = file_header();
        packets().iter().for_each(|packet| packet.emit(&mut file));
        file
    }

    #[test]
    fn packets_come_back_as_they_were_written() {
        let read: Vec<_> =
            Packets::new(file().as_slice()).unwrap().map(|(n, packet)| (n, packet.unwrap())).collect();
        assert_eq!(read, (1..).zip(packets()).collect::<Vec<_>>());
        // The first packet, byte by byte: what is on the line stands behind 12 bytes of RTAC serial, big-endian.
        let wanted = "64ebb0aa0000847301000000";
        assert_eq!(hex::encode(&file()[40..52]), wanted);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_read_up_to_there() {
        let file = file();
        let borders = [24, 24 + 36, 24 + 36 + 35, file.len()];
        for end in 24..=file.len() {
            let read: Vec<_> = Packets::new(&file[..end]).unwrap().collect();
            let whole = borders.iter().filter(|border| **border <= end).count() - 1;
            assert_eq!(read.iter().filter(|(_, packet)| packet.is_ok()).count(), whole, "{end}");
            let cut = matches!(read.last(), Some((_, Err(PcapError::Truncated))));
            assert_eq!(cut, !borders.contains(&end), "{end}");
        }
        for end in 4..24 {
            assert!(matches!(Packets::new(&file[..end]), Err(PcapError::Truncated)), "{end}");
        }
    }

    #[test]
    fn other_files_are_named() {
        let mut other = file();
        other[20] = 147;
        let error = Packets::new(other.as_slice()).unwrap_err().to_string();
        assert!(error.contains("the link type is 147"), "{error}");
        let error = Packets::new(&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0][..]).unwrap_err().to_string();
        assert!(error.contains("editcap"), "{error}");
        assert!(matches!(Packets::new(&b"{}"[..]), Err(PcapError::Magic)));
        let mut long = file();
        long[24 + 8..24 + 12].copy_from_slice(&[0xff; 4]);
        let read: Vec<_> = Packets::new(long.as_slice()).unwrap().collect();
        assert!(matches!(read.as_slice(), [(1, Err(PcapError::Length(_)))]));
    }
}

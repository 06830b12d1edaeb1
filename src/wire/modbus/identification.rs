//! What a device says of itself: functions 43/14 (read device identification) and 17 (report server id).
//!
//! Their answers are as long as they say, so the only thing to know them by is address, function and CRC.

use super::{CRC, EXCEPTION, is_sound, push_crc};

const ENCAPSULATED: u8 = 0x2b;
const DEVICE_IDENTIFICATION: u8 = 0x0e;
const SERVER_ID: u8 = 0x11;
/// Of 43/14: the three objects that every device has which knows the function, from the first one on.
const BASIC: [u8; 2] = [0x01, 0x00];

/// How a device is asked what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identification {
    /// Function 43/14: maker, product code, revision.
    Device,
    /// Function 17: whatever the maker puts there.
    Server,
}

/// What a receive buffer begins with, while an identification is awaited. Every length is at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedIdentification {
    /// Nothing can be said before more bytes come, or the line falls silent.
    Incomplete,
    /// Texts by the numbers of their objects (0 maker, 1 product, 2 revision), 0 alone for function 17; and the length.
    Texts(Vec<(u8, String)>, usize),
    /// The device does not know the function; and the length.
    Exception(usize),
    /// This many leading bytes are exactly what was sent.
    Echo(usize),
    /// This many leading bytes look like the answer and are damaged.
    Broken(usize),
    /// This many leading bytes are nothing that was asked for.
    Noise(usize),
}

impl Identification {
    /// Returns the function code.
    #[must_use]
    pub const fn function(self) -> u8 {
        match self {
            Self::Device => ENCAPSULATED,
            Self::Server => SERVER_ID,
        }
    }

    /// Appends the request to the device `unit`.
    pub fn emit(self, unit: u8, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[unit, self.function()]);
        if self == Self::Device {
            out.push(DEVICE_IDENTIFICATION);
            out.extend_from_slice(&BASIC);
        }
        push_crc(out, begin);
    }

    /// Looks for the answer of the device `unit` at the beginning of a receive buffer. `own`: the frame that was sent, where
    /// bytes equal to it may be its echo.
    #[must_use]
    pub fn parse(self, unit: u8, own: Option<&[u8]>, buffer: &[u8]) -> ParsedIdentification {
        use ParsedIdentification::{Broken, Echo, Exception, Incomplete, Noise, Texts};
        const SHORTEST: usize = 3 + CRC;
        if buffer.is_empty() {
            return Incomplete;
        }
        if let Some(own) = own.filter(|own| !own.is_empty()) {
            if buffer.starts_with(own) {
                return Echo(own.len());
            }
            if own.starts_with(buffer) {
                return Incomplete;
            }
        }
        if buffer.first() != Some(&unit) {
            return Noise(1);
        }
        let Some(&function) = buffer.get(1) else { return Incomplete };
        if function == self.function() | EXCEPTION {
            return match buffer.get(..SHORTEST) {
                None => Incomplete,
                Some(frame) if is_sound(frame) => Exception(SHORTEST),
                Some(_) => Broken(1),
            };
        }
        if function != self.function() {
            return Noise(1);
        }
        let Some(length) = self.length(buffer) else { return Incomplete };
        match buffer.get(..length) {
            None => Incomplete,
            Some(frame) if is_sound(frame) => Texts(self.texts(frame), length),
            Some(_) => Broken(1),
        }
    }

    /// Returns how long the answer is that begins here, as soon as it can be told.
    fn length(self, buffer: &[u8]) -> Option<usize> {
        match self {
            Self::Server => Some(usize::from(*buffer.get(2)?).saturating_add(3 + CRC)),
            Self::Device => {
                let count = *buffer.get(7)?;
                let mut end = 8_usize;
                for _ in 0..count {
                    let length = usize::from(*buffer.get(end.saturating_add(1))?);
                    end = end.saturating_add(2).saturating_add(length);
                }
                Some(end.saturating_add(CRC))
            }
        }
    }

    fn texts(self, frame: &[u8]) -> Vec<(u8, String)> {
        let body = frame.get(..frame.len().saturating_sub(CRC)).unwrap_or_default();
        let mut texts = Vec::new();
        match self {
            Self::Server => texts.push((0, printable(body.get(3..).unwrap_or_default()))),
            Self::Device => {
                let mut rest = body.get(8..).unwrap_or_default();
                while let [object, length, text @ ..] = rest {
                    let length = usize::from(*length).min(text.len());
                    texts.push((*object, printable(text.get(..length).unwrap_or_default())));
                    rest = text.get(length..).unwrap_or_default();
                }
            }
        }
        texts
    }
}

/// The printable ASCII of a text, without spaces around it.
fn printable(text: &[u8]) -> String {
    let text: String =
        text.iter().filter(|byte| (0x20..0x7f).contains(*byte)).map(|byte| char::from(*byte)).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut frame = body.to_vec();
        push_crc(&mut frame, 0);
        frame
    }

    #[test]
    fn the_requests_are_those_of_the_specification() {
        let mut out = Vec::new();
        Identification::Device.emit(5, &mut out);
        assert_eq!(out, framed(&[5, 0x2b, 0x0e, 0x01, 0x00]));
        out.clear();
        Identification::Server.emit(5, &mut out);
        assert_eq!(out, framed(&[5, 0x11]));
    }

    #[test]
    fn texts_are_read_whole_and_byte_by_byte() {
        let mut body = vec![5, 0x2b, 0x0e, 0x01, 0x01, 0x00, 0x00, 0x03];
        for (object, text) in [(0, "ACME"), (1, "KM-100"), (2, "V2.1")] {
            body.extend_from_slice(&[object, text.len() as u8]);
            body.extend_from_slice(text.as_bytes());
        }
        let frame = framed(&body);
        let texts = vec![(0, "ACME".into()), (1, "KM-100".into()), (2, "V2.1".into())];
        let parse = |buffer: &[u8]| Identification::Device.parse(5, None, buffer);
        assert_eq!(parse(&frame), ParsedIdentification::Texts(texts, frame.len()));
        for length in 0..frame.len() {
            assert_eq!(parse(&frame[..length]), ParsedIdentification::Incomplete, "{length}");
        }
        let mut damaged = frame;
        damaged[10] ^= 1;
        assert_eq!(parse(&damaged), ParsedIdentification::Broken(1));
        assert_eq!(parse(&framed(&[5, 0xab, 0x01])), ParsedIdentification::Exception(5));
        let server = framed(&[7, 0x11, 4, 1, b'K', b'M', 0xff]);
        let expected = ParsedIdentification::Texts(vec![(0, "KM".into())], server.len());
        assert_eq!(Identification::Server.parse(7, None, &server), expected);
        assert_eq!(
            Identification::Server.parse(7, Some(&server), &server),
            ParsedIdentification::Echo(server.len())
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic_or_stand_still(bytes in proptest::collection::vec(any::<u8>(), 0..300), unit: u8) {
            for identification in [Identification::Device, Identification::Server] {
                let mut rest = &bytes[..];
                loop {
                    match identification.parse(unit, None, rest) {
                        ParsedIdentification::Incomplete => break,
                        ParsedIdentification::Texts(_, length)
                        | ParsedIdentification::Exception(length)
                        | ParsedIdentification::Echo(length)
                        | ParsedIdentification::Broken(length)
                        | ParsedIdentification::Noise(length) => {
                            prop_assert!((1..=rest.len()).contains(&length));
                            rest = &rest[length..];
                        }
                    }
                }
            }
        }
    }
}

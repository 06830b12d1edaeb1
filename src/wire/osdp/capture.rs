//! OSDPCAP files: one JSON object a line, as libosdp, the SIA's conformance kit and Wireshark's users write them.
//!
//! ```json
//! {"timeSec":"1693167786","timeNano":"033907099","io":"in","data":"ff 53 00 08 00 04 60 eb aa","osdpTraceVersion":"1","osdpSource":"…"}
//! ```

use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

/// The only edition of the format that there is.
const TRACE_VERSION: &str = "1";
/// Longer lines are no capture: a frame is at most 1440 bytes, and a recorder writes a few at most in a line.
const MAX_LINE: u64 = 1 << 20;

/// Who sent the bytes, seen from the recorder. Which of the two is the control panel is not said; frames know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Io {
    /// Received by the recorder.
    In,
    /// Sent by the recorder.
    Out,
    /// Overheard on the line.
    Trace,
}

/// One line of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureLine {
    /// Seconds since 1970-01-01 UTC.
    pub seconds: u64,
    /// Nanoseconds beyond, below 1 000 000 000.
    pub nanos: u32,
    /// Who sent the bytes.
    pub io: Io,
    /// The bytes, mostly one frame with its mark.
    pub data: Vec<u8>,
    /// The program that recorded them.
    pub source: String,
    /// Whether codes in it were made unreadable.
    pub redacted: bool,
    /// What the recorder has to say; there is nothing of the line in it then.
    pub note: Option<String>,
}

/// Why a line of a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Not JSON, or a field is missing or of another type.
    #[error("no OSDPCAP record (column {column}): {reason}")]
    Json {
        /// Where in the line, from 1.
        column: usize,
        /// What the JSON parser says.
        reason: String,
    },
    /// The last line ends in the middle.
    #[error("the file is cut off in the middle of this line")]
    Truncated,
    /// `io` is none of "in", "input", "out", "output", "trace".
    #[error("io is {0:?}: expected \"in\", \"out\" or \"trace\"")]
    Io(String),
    /// `data` is not pairs of hex digits.
    #[error("data is not pairs of hex digits, with spaces or dashes between them or without")]
    Hex,
    /// `timeSec` or `timeNano` is no number, or out of range.
    #[error("timeSec or timeNano is not a number of seconds or nanoseconds")]
    Time,
    /// `osdpTraceVersion` is not "1".
    #[error("osdpTraceVersion is {0:?}: only \"1\" is known")]
    Version(String),
    /// The line is longer than any capture's.
    #[error("the line is longer than 1 MiB: this is no OSDPCAP file")]
    TooLong,
    /// The file cannot be read on.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
}

impl CaptureLine {
    /// Reads one line.
    ///
    /// # Errors
    /// [`CaptureError`] says what is wrong with it; [`CaptureError::Truncated`] where it ends too early.
    pub fn parse(line: &str) -> Result<Self, CaptureError> {
        let record: Record = serde_json::from_str(line).map_err(|error| json_error(&error))?;
        if let Some(version) = record.version.filter(|version| version != TRACE_VERSION) {
            return Err(CaptureError::Version(version));
        }
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| CaptureError::Time);
        let nanos = u32::try_from(number(&record.nanos)?).ok().filter(|nanos| *nanos < 1_000_000_000);
        let digits: String =
            record.data.chars().filter(|char| !char.is_whitespace() && !matches!(char, '-' | ':')).collect();
        Ok(Self {
            seconds: number(&record.seconds)?,
            nanos: nanos.ok_or(CaptureError::Time)?,
            io: match record.io.as_str() {
                "in" | "input" => Io::In,
                "out" | "output" => Io::Out,
                "trace" => Io::Trace,
                _ => return Err(CaptureError::Io(record.io)),
            },
            data: hex::decode(digits).map_err(|_| CaptureError::Hex)?,
            source: record.source,
            redacted: record.redacted,
            note: record.note,
        })
    }

    /// The line as a capture has it, without the line feed.
    #[must_use]
    pub fn to_line(&self) -> String {
        let record = Record {
            seconds: self.seconds.to_string(),
            nanos: format!("{:09}", self.nanos),
            io: match self.io {
                Io::In => "in",
                Io::Out => "out",
                Io::Trace => "trace",
            }
            .to_owned(),
            data: spaced_hex(&self.data),
            version: Some(TRACE_VERSION.to_owned()),
            source: self.source.clone(),
            redacted: self.redacted,
            note: self.note.clone(),
        };
        serde_json::to_string(&record).unwrap_or_default()
    }
}

/// The lines of a capture with their numbers from 1, until the end or until the reader fails. Empty lines are
/// passed over; a bad line is an item of its own, and the next is tried.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    number: usize,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// From the beginning of a capture.
    pub const fn new(reader: R) -> Self {
        Self { reader, number: 0, ended: false }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = (usize, Result<CaptureLine, CaptureError>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        while !self.ended {
            line.clear();
            self.number = self.number.saturating_add(1);
            if let Err(error) = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                self.ended = true;
                return Some((self.number, Err(CaptureError::Read(error))));
            }
            let complete = line.ends_with(b"\n");
            self.ended = !complete;
            let too_long = !complete && u64::try_from(line.len()).is_ok_and(|length| length >= MAX_LINE);
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if too_long {
                return Some((self.number, Err(CaptureError::TooLong)));
            }
            if !text.is_empty() {
                let parsed = CaptureLine::parse(text).map_err(|error| match error {
                    CaptureError::Truncated if complete => CaptureError::Json {
                        column: text.len(),
                        reason: "the line ends too early".to_owned(),
                    },
                    error => error,
                });
                return Some((self.number, parsed));
            }
        }
        None
    }
}

/// Bytes as hex pairs with spaces between them.
#[must_use]
pub fn spaced_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[derive(Deserialize, Serialize)]
struct Record {
    #[serde(rename = "timeSec", deserialize_with = "text_or_number")]
    seconds: String,
    #[serde(rename = "timeNano", deserialize_with = "text_or_number")]
    nanos: String,
    io: String,
    data: String,
    #[serde(rename = "osdpTraceVersion", default)]
    version: Option<String>,
    #[serde(rename = "osdpSource", default)]
    source: String,
    #[serde(default, skip_serializing_if = "is_false")]
    redacted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Times are strings by the format, and numbers by some recorders.
fn text_or_number<'de, D: serde::Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Either::deserialize(input).map(|value| match value {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

fn json_error(error: &serde_json::Error) -> CaptureError {
    if error.is_eof() {
        return CaptureError::Truncated;
    }
    let text = error.to_string();
    // The parser's own position counts lines within this one line.
    let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
    CaptureError::Json { column: error.column(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, Result<Vec<u8>, String>)> {
        Lines::new(text.as_bytes())
            .map(|(n, line)| (n, line.map(|line| line.data).map_err(|error| error.to_string())))
            .collect()
    }

    const GOOD: &str = r#"{"timeSec":"1","timeNano":"000000002","io":"in","data":" ff-53 00","osdpTraceVersion":"1","osdpSource":"x"}"#;

    #[test]
    fn a_line_comes_back_as_it_was_written() {
        let line = CaptureLine {
            seconds: 1_693_167_786,
            nanos: 33_907_099,
            io: Io::Trace,
            data: vec![0xff, 0x53, 0x00],
            source: "a \"quoted\" name".to_owned(),
            redacted: true,
            note: Some("dropped 3 frames".to_owned()),
        };
        assert_eq!(CaptureLine::parse(&line.to_line()).unwrap(), line);
        assert!(line.to_line().contains(r#""timeNano":"033907099","io":"trace","data":"ff 53 00""#));
    }

    #[test]
    fn bad_lines_are_named_by_number_and_the_others_still_read() {
        let text = format!("{GOOD}\n\nnonsense\n{}\n{GOOD}", GOOD.replace("53 00", "5"));
        let read = lines(&text);
        assert_eq!(read.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(read[0].1, Ok(vec![0xff, 0x53, 0x00]));
        assert!(read[1].1.as_ref().unwrap_err().contains("column"), "{read:?}");
        assert!(read[2].1.as_ref().unwrap_err().contains("hex digits"), "{read:?}");
        assert_eq!(read[3].1, Ok(vec![0xff, 0x53, 0x00]));
    }

    #[test]
    fn a_file_that_is_cut_off_is_told_from_a_broken_line() {
        let cut = &GOOD[..40];
        let read = lines(&format!("{cut}\n{GOOD}\n{cut}"));
        assert!(!read[0].1.as_ref().unwrap_err().contains("cut off"), "{read:?}");
        assert!(read[2].1.as_ref().unwrap_err().contains("cut off"), "{read:?}");
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        for (from, to, expected) in [
            (r#""in""#, r#""sideways""#, "io is \"sideways\""),
            (r#""1","timeNano""#, r#""soon","timeNano""#, "timeSec"),
            ("000000002", "1000000000", "timeNano"),
            (r#"Version":"1""#, r#"Version":"2""#, "osdpTraceVersion is \"2\""),
            (r#""data""#, r#""bytes""#, "data"),
        ] {
            let error = CaptureLine::parse(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn endless_lines_and_bytes_that_are_no_text_end_in_an_error() {
        let endless = vec![b'x'; 3 << 20];
        let errors: Vec<_> = Lines::new(endless.as_slice()).collect();
        assert!(matches!(errors.as_slice(), [(1, Err(CaptureError::TooLong))]));
        let binary: Vec<_> = Lines::new(&[0xff, 0xfe, 0x00, b'\n'][..]).collect();
        assert!(matches!(binary.as_slice(), [(1, Err(CaptureError::Json { .. }))]));
    }

    #[test]
    fn times_may_be_numbers() {
        let line = GOOD.replace(r#""timeSec":"1""#, r#""timeSec":1"#);
        assert_eq!(CaptureLine::parse(&line).unwrap().seconds, 1);
    }
}

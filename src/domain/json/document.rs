//! A JSON document that is too large to be held, read one value after another.

use std::{
    io::{self, Read},
    str,
};

use serde::de::{DeserializeOwned, Error as _};
use serde_json::value::RawValue;

use super::super::BYTE_ORDER_MARK;

/// Bytes that are asked of a source at once.
const PIECE: usize = 64 << 10;

const CUT_OFF: &str = "the document ends here, before it is complete";

/// A document, read from its beginning to its end: the caller says what comes next.
///
/// ```text
/// source ─► bytes ─► text, from `at` on ─► object(), member(), array(), element(), value(), end()
/// ```
/// Invariant: the text ends where a number cannot go on, unless the source has ended; so a value that ends with the text
/// is whole.
pub struct Document<'a> {
    source: &'a mut dyn Read,
    /// Bytes that one value may have.
    most: usize,
    /// What has been read and is no text yet: part of a character, or of a number.
    bytes: Vec<u8>,
    text: String,
    /// Where in the text reading goes on.
    at: usize,
    place: Place,
    has_ended: bool,
    /// Nothing has been read yet of the object or array that reading is in.
    is_first: bool,
}

/// A place in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The byte in its line, from 1.
    pub column: usize,
}

/// Why a document cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Its source fails.
    #[error("{0}")]
    Read(io::Error),
    /// It says something else than it should.
    #[error("line {}, column {}: something else belongs there", place.line, place.column)]
    Wrong {
        /// Where.
        place: Place,
        /// What is wrong. It may repeat a value, and its own position counts from elsewhere.
        problem: serde_json::Error,
    },
    /// A value is larger than it may be.
    #[error("line {}, column {}: a value is too large", .0.line, .0.column)]
    TooLarge(Place),
}

impl<'a> Document<'a> {
    /// Reads a document from a source; a byte order mark before it is skipped. None of its values that are read whole may
    /// have more than `most` bytes, about which is the memory that it takes.
    pub fn new(source: &'a mut dyn Read, most: usize) -> Self {
        let place = Place { line: 1, column: 1 };
        let (bytes, text) = (Vec::new(), String::new());
        Self { source, most, bytes, text, at: 0, place, has_ended: false, is_first: true }
    }

    /// Steps into an object, which `expected` describes.
    ///
    /// # Errors
    /// Anything else comes.
    pub fn object(&mut self, expected: &str) -> Result<(), DocumentError> {
        self.step_into(b'{', expected)
    }

    /// Steps into an array, which `expected` describes.
    ///
    /// # Errors
    /// Anything else comes.
    pub fn array(&mut self, expected: &str) -> Result<(), DocumentError> {
        self.step_into(b'[', expected)
    }

    /// Returns the name of the object's next member, whose value comes next; without one, the object is left.
    ///
    /// # Errors
    /// Anything else comes.
    pub fn member(&mut self) -> Result<Option<String>, DocumentError> {
        if !self.goes_on(b'}', "expected `,` or `}`")? {
            return Ok(None);
        }
        if self.peek()? != Some(b'"') {
            return Err(self.wrong("key must be a string"));
        }
        let name = self.read()?;
        if self.peek()? != Some(b':') {
            return Err(self.wrong("expected `:`"));
        }
        self.pass(1);
        Ok(Some(name))
    }

    /// Whether the array has one more element, which comes next; without one, the array is left.
    ///
    /// # Errors
    /// Anything else comes.
    pub fn element(&mut self) -> Result<bool, DocumentError> {
        self.goes_on(b']', "expected `,` or `]`")
    }

    /// Returns the next value, as it is written.
    ///
    /// # Errors
    /// It is no value, or too large.
    pub fn value(&mut self) -> Result<&str, DocumentError> {
        self.peek()?;
        let length = loop {
            let mut values =
                serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<&RawValue>();
            match values.next() {
                Some(Ok(_)) => break values.byte_offset(),
                Some(Err(error)) if self.has_ended || !error.is_eof() => return Err(self.place.wrong(error)),
                None if self.has_ended => return Err(self.wrong(CUT_OFF)),
                _ => self.fill()?,
            }
        };
        if length > self.most {
            return Err(DocumentError::TooLarge(self.place));
        }
        let start = self.at;
        self.pass(length);
        Ok(&self.text[start..self.at])
    }

    /// Reads what the next value says.
    ///
    /// # Errors
    /// It is not what is wanted, no value, or too large.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T, DocumentError> {
        self.peek()?;
        let place = self.place;
        serde_json::from_str(self.value()?).map_err(|error| place.wrong(error))
    }

    /// Reads to the end of the source.
    ///
    /// # Errors
    /// There is more than blanks.
    pub fn end(&mut self) -> Result<(), DocumentError> {
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.wrong("trailing characters")),
        }
    }

    /// Returns an error for what comes next.
    pub fn wrong(&self, problem: &str) -> DocumentError {
        DocumentError::Wrong { place: self.place, problem: serde_json::Error::custom(problem) }
    }

    fn step_into(&mut self, bracket: u8, expected: &str) -> Result<(), DocumentError> {
        if self.peek()? != Some(bracket) {
            let wrong = self.wrong(&format!("wrong type, expected {expected}"));
            return Err(self.value().err().unwrap_or(wrong));
        }
        self.pass(1);
        self.is_first = true;
        Ok(())
    }

    /// Whether there is one more of what stands between the brackets; passes the comma, or the bracket.
    fn goes_on(&mut self, bracket: u8, expected: &str) -> Result<bool, DocumentError> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        match self.peek()? {
            Some(byte) if byte == bracket => {
                self.pass(1);
                Ok(false)
            }
            Some(_) if is_first => Ok(true),
            Some(b',') => {
                self.pass(1);
                if self.peek()? == Some(bracket) {
                    return Err(self.wrong("trailing comma"));
                }
                Ok(true)
            }
            Some(_) => Err(self.wrong(expected)),
            None => Err(self.wrong(CUT_OFF)),
        }
    }

    /// Returns the next byte that is no blank, which reading goes on with.
    fn peek(&mut self) -> Result<Option<u8>, DocumentError> {
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let blanks = rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
            let found = rest.get(blanks).copied();
            self.pass(blanks);
            if found.is_some() || self.has_ended {
                return Ok(found);
            }
            self.fill()?;
        }
    }

    fn pass(&mut self, length: usize) {
        self.place.pass(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    /// Reads on: as much again as is held, so that a long value is looked through a few times only.
    fn fill(&mut self) -> Result<(), DocumentError> {
        self.text.drain(..self.at);
        self.at = 0;
        let held = self.text.len() + self.bytes.len();
        if held > self.most {
            return Err(DocumentError::TooLarge(self.place));
        }
        let is_begin = self.place == Place { line: 1, column: 1 } && held == 0;
        let wanted = held.max(PIECE).min(self.most - held + PIECE);
        let source = &mut *self.source;
        let read = source.take(wanted as u64).read_to_end(&mut self.bytes).map_err(DocumentError::Read)?;
        self.has_ended = read < wanted;
        if is_begin && self.bytes.starts_with(BYTE_ORDER_MARK) {
            self.bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let text = match str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(error) => {
                let text = str::from_utf8(&self.bytes[..error.valid_up_to()]).unwrap_or_default();
                let is_cut = error.error_len().is_none() && !self.has_ended;
                if !is_cut {
                    self.place.pass(&self.text);
                    self.place.pass(text);
                    return Err(self.wrong("it is no text in UTF-8"));
                }
                text
            }
        };
        let of_number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let text = if self.has_ended { text } else { text.trim_end_matches(of_number) };
        let ready = text.len();
        self.text.push_str(text);
        self.bytes.drain(..ready);
        Ok(())
    }
}

impl Place {
    fn pass(&mut self, text: &str) {
        self.line += text.matches('\n').count();
        self.column = match text.rfind('\n') {
            Some(end) => text.len() - end,
            None => self.column + text.len(),
        };
    }

    /// Returns an error that serde_json has found in a text which begins here.
    fn wrong(self, problem: serde_json::Error) -> DocumentError {
        let (line, column) = (problem.line().saturating_sub(1), problem.column());
        let column = if line == 0 { (self.column + column).saturating_sub(1) } else { column };
        DocumentError::Wrong { place: Self { line: self.line + line, column }, problem }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ELEMENT: &str = "[-1.5e-7,\"é\\u00e9😀\",true,\n null , 1E5,{\"a\":12345678}]";

    fn elements(text: &str) -> Result<Vec<Value>, DocumentError> {
        let mut source = text.as_bytes();
        let mut document = Document::new(&mut source, 1000);
        let mut elements = Vec::new();
        document.object("an object")?;
        while let Some(name) = document.member()? {
            assert_eq!(name, "list");
            document.array("a list")?;
            while document.element()? {
                elements.push(document.read()?);
            }
        }
        document.end()?;
        Ok(elements)
    }

    /// Wherever the pieces of the source end: in a number, a character, an escape, a blank.
    #[test]
    fn values_are_whole_wherever_a_piece_ends() {
        let count = 2 * PIECE / ELEMENT.len();
        let list = vec![ELEMENT; count].join(" ,");
        let element: Value = serde_json::from_str(ELEMENT).unwrap();
        for shift in 0..ELEMENT.len() + 2 {
            let read = elements(&format!("{{ \"list\"{}:[{list}]}}\n", " ".repeat(shift))).unwrap();
            assert_eq!(read.len(), count);
            assert!(read.iter().all(|read| *read == element), "{shift} blanks");
        }
    }

    /// As serde_json says it of the whole text.
    #[test]
    fn errors_say_where() {
        let far = vec![ELEMENT; 2 * PIECE / ELEMENT.len()].join(",\n");
        let ends = [
            ",\n nul]}",
            ",\n[1,]]}",
            ",\n[1 2]]}",
            "\n,]}",
            "\n}",
            "]\n}x",
            "]\n,list",
            "]\n,\"list\" 1",
            "]\n,}",
            ",\n 12",
            "\n",
        ];
        for end in ends {
            let text = format!("{{\"list\":[{far}{end}");
            let expected = serde_json::from_str::<Value>(&text).unwrap_err();
            // What is missing is missing behind the last byte.
            let column = expected.column() + usize::from(expected.is_eof());
            match elements(&text).unwrap_err() {
                DocumentError::Wrong { place, .. } => {
                    assert_eq!(place, Place { line: expected.line(), column }, "{end:?}");
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_value_that_is_too_large_is_not_held() {
        let list = |bytes: usize| elements(&format!("{{\"list\":[\"{}\"]}}", "x".repeat(bytes - 2)));
        for bytes in [1001, 10 * PIECE] {
            let error = list(bytes).unwrap_err();
            assert!(matches!(error, DocumentError::TooLarge(Place { line: 1, column: 10 })), "{error}");
        }
        assert_eq!(list(1000).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for bytes in [&b"{\"list\":\n[\"\xff\"]}"[..], b"{\"list\":\n[\"\xc3"] {
            let mut source = bytes;
            let mut document = Document::new(&mut source, 1000);
            match document.object("an object").unwrap_err() {
                DocumentError::Wrong { place, .. } => assert_eq!(place, Place { line: 2, column: 3 }),
                other => panic!("{other}"),
            }
        }
    }
}

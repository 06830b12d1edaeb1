//! JSON by one copy of its reader and one of its writer: serde_json's are compiled again, with all that they read and write,
//! for text, for bytes and for values.

use std::{io, str};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Serializer, Value};

mod document;

pub use document::{Document, DocumentError, Place};

/// Writes what a value says.
///
/// # Panics
/// JSON cannot say it: it has a map whose keys are neither texts nor numbers, or its own `Serialize` fails.
pub fn text(value: &(impl Serialize + ?Sized)) -> String {
    let mut text = Text(Vec::with_capacity(256));
    value.serialize(&mut Serializer::new(&mut text)).expect("only JSON types");
    String::from_utf8(text.0).expect("JSON is text")
}

struct Text(Vec<u8>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    // Nearly all that serde_json writes is one character by itself: a quote, a colon, a comma.
    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match bytes {
            [character] => self.0.push(*character),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what bytes say.
///
/// # Errors
/// They are no text in UTF-8, or it is not what is wanted.
pub fn from_slice<'de, T: Deserialize<'de>>(json: &'de [u8]) -> serde_json::Result<T> {
    let json = str::from_utf8(json).map_err(|_| serde_json::Error::custom("it is no text in UTF-8"))?;
    serde_json::from_str(json)
}

/// Reads what a value says.
///
/// # Errors
/// It is not what is wanted.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
    serde_json::from_str(&value.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_what_serde_json_writes() {
        let texts = ["", "a", "\"", "\\\n\u{1}", "квартира 7", "🗝", &"x\"".repeat(1000)];
        for each in texts {
            assert_eq!(text(each), serde_json::to_string(each).unwrap());
        }
        let value = json!({"a": [1, -2, 3.5, null, true, {}], "б": {"": texts}});
        assert_eq!(text(&value), value.to_string());
        let raw = serde_json::value::RawValue::from_string("{ \"kept\":  1 }".to_owned()).unwrap();
        assert_eq!(text(&raw), raw.get());
    }
}

//! JSON by one copy of its reader: serde_json's is compiled again, with all that it reads, for text, for bytes and for values.

use std::str;

use serde::{
    Deserialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

mod document;

pub use document::{Document, DocumentError, Place};

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

//! Bytes that no log line may show.

use std::{fmt, ops::Deref};

/// Bytes that are a credential, typed digits, or may be: they compare and read like a `Vec<u8>`, but `Debug` shows
/// their number alone, so that no log line ever holds a key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive(pub Vec<u8>);

impl fmt::Debug for Sensitive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{} bytes]", self.0.len())
    }
}

impl Deref for Sensitive {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Sensitive {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Sensitive {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

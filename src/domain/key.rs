//! Key codes: the number of an RFID credential as the cloud writes it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The code of a key: 7 bytes, written as 14 upper-case hex digits, left-padded with zeros (contract §5).
///
/// A key number is personal data, so `Debug` does not show it; [`ToString::to_string`] does and is meant for
/// documents, events and the installer's own output, never for logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyCode(u64);

/// Why a text is no [`KeyCode`]. Does not repeat the text: it may be somebody's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key is 14 hex digits in upper case (7 bytes, left-padded with zeros), this text has {length} characters{hint}"
)]
pub struct InvalidKeyCode {
    length: usize,
    hint: &'static str,
}

impl KeyCode {
    /// Bytes of a code.
    pub const BYTES: usize = 7;

    /// A code from its 1 to 7 bytes, most significant first; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > Self::BYTES {
            return None;
        }
        Some(Self(bytes.iter().fold(0, |code, &byte| code << 8 | u64::from(byte))))
    }

    /// A code from its number; `None` above 56 bits.
    pub fn from_u64(code: u64) -> Option<Self> {
        (code < 1 << 56).then_some(Self(code))
    }

    /// The code as a number below 2^56.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for KeyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014X}", self.0)
    }
}

impl fmt::Debug for KeyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCode(redacted)")
    }
}

impl FromStr for KeyCode {
    type Err = InvalidKeyCode;

    fn from_str(text: &str) -> Result<Self, InvalidKeyCode> {
        let upper_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
        if text.len() == 14
            && text.bytes().all(upper_hex)
            && let Ok(code) = u64::from_str_radix(text, 16)
        {
            return Ok(Self(code));
        }
        let hint = if text.len() == 14 { ", not all of them 0-9 and A-F" } else { "" };
        Err(InvalidKeyCode { length: text.chars().count(), hint })
    }
}

impl Serialize for KeyCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = KeyCode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text of 14 upper-case hex digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<KeyCode, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let code: KeyCode = "0000003042CAAC".parse().unwrap();
        assert_eq!(Some(code), KeyCode::from_bytes(&[0x30, 0x42, 0xCA, 0xAC]));
        assert_eq!(code.to_string(), "0000003042CAAC");
        assert_eq!(KeyCode::from_bytes(&[0xFF; 7]).unwrap().to_string(), "FFFFFFFFFFFFFF");
        assert_eq!(KeyCode::from_bytes(&[]), None);
        assert_eq!(KeyCode::from_bytes(&[1; 8]), None);
    }

    #[test]
    fn wrong_texts_are_refused_without_repeating_them() {
        for bad in ["000003042CAAC", "0000003042caac", "0000003042CAAG", "", "+000003042CAAC"] {
            let error = bad.parse::<KeyCode>().unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn debug_hides_the_number() {
        let code: KeyCode = "0000003042CAAC".parse().unwrap();
        assert!(!format!("{code:?}").contains("3042"));
    }
}

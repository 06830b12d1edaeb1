//! Door codes: what a visitor or a resident types at a keypad.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The code of a door: 4 to 10 digits, leading zeros among them (contract §4).
///
/// It opens a door, so `Debug` does not show it; [`ToString::to_string`] does and is meant for documents alone, never
/// for events and logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DoorCode(
    /// The digits with a 1 before them, which keeps leading zeros.
    u64,
);

/// Why a text is no [`DoorCode`]. Does not repeat the text: it may be somebody's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code is a text of 4 to 10 digits, this text has {length} characters{hint}")]
pub struct InvalidDoorCode {
    length: usize,
    hint: &'static str,
}

impl DoorCode {
    const LENGTHS: std::ops::RangeInclusive<usize> = 4..=10;

    /// Returns the number that [`DoorCode::as_u64`] gave; `None`: it never gave that one.
    pub fn from_u64(number: u64) -> Option<Self> {
        number.to_string().strip_prefix('1')?.parse().ok()
    }

    /// Returns a number for this code and no other: its digits behind a 1.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DoorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.to_string();
        f.write_str(number.strip_prefix('1').unwrap_or_default())
    }
}

impl fmt::Debug for DoorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DoorCode(redacted)")
    }
}

impl FromStr for DoorCode {
    type Err = InvalidDoorCode;

    fn from_str(text: &str) -> Result<Self, InvalidDoorCode> {
        let is_code = Self::LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_code && let Ok(number) = format!("1{text}").parse() {
            return Ok(Self(number));
        }
        let length = text.chars().count();
        let hint = if Self::LENGTHS.contains(&length) { ", not all of them 0-9" } else { "" };
        Err(InvalidDoorCode { length, hint })
    }
}

impl Serialize for DoorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DoorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = DoorCode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text of 4 to 10 digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DoorCode, E> {
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
    fn leading_zeros_count() {
        let codes = ["0000", "00000", "0012", "12000", "9999999999", "0000000000"];
        let numbers = codes.map(|text| {
            let code: DoorCode = text.parse().unwrap();
            assert_eq!(code.to_string(), text);
            assert_eq!(DoorCode::from_u64(code.as_u64()), Some(code));
            code.as_u64()
        });
        assert!((1..codes.len()).all(|at| !numbers[..at].contains(&numbers[at])), "{numbers:?}");
        for number in [0, 1, 1234, 1_999, 20_000, 200_000_000_000, 199_999_999_999, u64::MAX] {
            let code = DoorCode::from_u64(number);
            assert!(code.is_none_or(|code| code.as_u64() == number), "{number}");
        }
        assert_eq!(DoorCode::from_u64(1_234), None, "three digits");
        assert_eq!(DoorCode::from_u64(20_000), None);
    }

    #[test]
    fn wrong_texts_are_refused_without_repeating_them() {
        for bad in ["123", "12345678901", "12a4", "12 34", "+1234", "-1234", "１２３４", ""] {
            let error = bad.parse::<DoorCode>().unwrap_err().to_string();
            assert!(error.starts_with("a code is a text of 4 to 10 digits, this text has "), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn debug_hides_the_digits() {
        let code: DoorCode = "93552".parse().unwrap();
        assert!(!format!("{code:?}").contains("93552"));
    }
}

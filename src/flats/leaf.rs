//! Single values of a flat document, each read from exactly one kind of JSON value.

use std::{fmt, marker::PhantomData};

use jiff::civil::{Date, Time};
use serde::{Deserialize, Deserializer, de};

use crate::domain::{KeyCode, MAX_INTEGER};

/// A value read from exactly one kind of JSON value. Everything else is refused without being repeated, for it
/// may be a key number or a name.
pub(super) trait Leaf: Sized {
    /// What would be right, for messages.
    const EXPECTED: &'static str;
    /// Whether that is a number.
    const NUMBER: bool = false;

    fn integer(_: u64) -> Option<Self> {
        None
    }
    fn boolean(_: bool) -> Option<Self> {
        None
    }
    fn null() -> Option<Self> {
        None
    }
    /// `None`: texts are not what is expected here; `Some(Err)`: this one is wrong.
    fn text(_: &str) -> Option<Result<Self, String>> {
        None
    }
}

/// Reads a [`Leaf`].
pub(super) struct Read<T>(pub(super) T);

impl<'de, T: Leaf> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `deserialize_any`, because a typed request would let serde_json word the refusal, with the value in it.
        deserializer.deserialize_any(LeafVisitor(PhantomData)).map(Self)
    }
}

struct LeafVisitor<T>(PhantomData<T>);

impl<T: Leaf> LeafVisitor<T> {
    fn or_refuse<E: de::Error>(value: Option<T>, found: &str) -> Result<T, E> {
        value.ok_or_else(|| refusal(T::EXPECTED, found))
    }
}

impl<'de, T: Leaf> de::Visitor<'de> for LeafVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        Self::or_refuse(T::integer(value), if T::NUMBER { "a larger or smaller one" } else { "a number" })
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
        Self::or_refuse(None, "a negative number")
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
        Self::or_refuse(None, if T::NUMBER { "one with a fraction or an exponent" } else { "a number" })
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        Self::or_refuse(T::boolean(value), "true or false")
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Self::or_refuse(T::null(), "null")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        match T::text(text) {
            Some(value) => value.map_err(E::custom),
            None => Self::or_refuse(None, "a text"),
        }
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Self::or_refuse(None, "an array")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Self::or_refuse(None, "an object")
    }
}

pub(super) fn refusal<E: de::Error>(expected: &str, found: &str) -> E {
    E::custom(format_args!("must be {expected}, found {found}"))
}

/// 0 to 2^53 − 1.
pub(super) struct Integer(pub(super) u64);

impl Leaf for Integer {
    const EXPECTED: &'static str = "an integer from 0 to 9007199254740991";
    const NUMBER: bool = true;

    fn integer(value: u64) -> Option<Self> {
        (value <= MAX_INTEGER).then_some(Self(value))
    }
}

/// 1 to 2^53 − 1.
pub(super) struct AtLeastOne(pub(super) u64);

impl Leaf for AtLeastOne {
    const EXPECTED: &'static str = "an integer from 1 to 9007199254740991";
    const NUMBER: bool = true;

    fn integer(value: u64) -> Option<Self> {
        (1..=MAX_INTEGER).contains(&value).then_some(Self(value))
    }
}

/// The cloud's zoneless date, kept as text.
pub(super) struct CloudDate(pub(super) String);

impl Leaf for CloudDate {
    const EXPECTED: &'static str = "a date that exists, \"YYYY-MM-DD hh:mm:ss\"";

    fn text(text: &str) -> Option<Result<Self, String>> {
        Some(if exists(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("must be {}, this text is none", Self::EXPECTED))
        })
    }
}

fn exists(text: &str) -> bool {
    let shape = b"dddd-dd-dd dd:dd:dd";
    let fits = text.len() == shape.len()
        && text
            .bytes()
            .zip(shape)
            .all(|(byte, &of)| if of == b'd' { byte.is_ascii_digit() } else { byte == of });
    let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<i16>().ok()).unwrap_or(-1);
    let small = |range| i8::try_from(number(range)).unwrap_or(-1);
    fits && Date::new(number(0..4), small(5..7), small(8..10)).is_ok()
        && Time::new(small(11..13), small(14..16), small(17..19), 0).is_ok()
}

impl Leaf for KeyCode {
    const EXPECTED: &'static str = "a text of 14 upper-case hex digits";

    fn text(text: &str) -> Option<Result<Self, String>> {
        Some(text.parse::<Self>().map_err(|error| error.to_string()))
    }
}

impl Leaf for String {
    const EXPECTED: &'static str = "a text";

    fn text(text: &str) -> Option<Result<Self, String>> {
        Some(Ok(text.to_owned()))
    }
}

impl Leaf for bool {
    const EXPECTED: &'static str = "true or false";

    fn boolean(value: bool) -> Option<Self> {
        Some(value)
    }
}

pub(super) type OrNull<T> = Option<T>;

impl<T: Leaf> Leaf for OrNull<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const NUMBER: bool = T::NUMBER;

    fn integer(value: u64) -> Option<Self> {
        T::integer(value).map(Some)
    }

    fn null() -> Option<Self> {
        Some(None)
    }

    fn text(text: &str) -> Option<Result<Self, String>> {
        T::text(text).map(|read| read.map(Some))
    }
}

#[cfg(test)]
mod tests {
    use super::exists;

    #[test]
    fn dates_must_exist() {
        for good in ["2022-11-11 14:46:16", "2024-02-29 00:00:00", "2122-12-31 23:59:59"] {
            assert!(exists(good), "{good}");
        }
        for bad in [
            "2023-02-29 00:00:00",
            "0000-00-00 00:00:00",
            "2022-11-11 24:00:00",
            "2022-11-11 14:46:60",
            "2022-11-11T14:46:16",
            "2022-11-11 14:46:16Z",
            "2022-11-11",
            "",
            "2022-11-1é 14:46:1",
        ] {
            assert!(!exists(bad), "{bad}");
        }
    }
}

//! How the fields of a flat document are read: what a derive would take and the contract does not is refused here.

use std::fmt;

use jiff::civil::{Date, Time};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use super::unique::Members;
use crate::domain::MAX_INTEGER;

/// An integer from 1 to 2^53 − 1.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Integer::<1>::deserialize(deserializer).map(|integer| integer.0)
}

/// An integer from 0 to 2^53 − 1.
pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Integer::<0>::deserialize(deserializer).map(|integer| integer.0)
}

pub(super) fn id_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Integer<1>>::deserialize(deserializer)?.map(|integer| integer.0))
}

pub(super) fn integer_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Integer<0>>::deserialize(deserializer)?.map(|integer| integer.0))
}

/// The cloud's zoneless date, kept as text.
pub(super) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    CloudDate::deserialize(deserializer).map(|date| date.0)
}

pub(super) fn date_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<CloudDate>::deserialize(deserializer)?.map(|date| date.0))
}

/// A struct from an object alone.
pub(super) fn object<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Object::deserialize(deserializer).map(|object| object.0)
}

pub(super) fn object_or_null<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|object| object.0))
}

/// Structs from an array of objects.
pub(super) fn objects<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

/// As [`objects`]; null is an empty array.
pub(super) fn objects_or_null<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects = Option::<Vec<Object<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(objects.into_iter().map(|object| object.0).collect())
}

/// Written without fraction and exponent, not below `LEAST` and not above 2^53 − 1.
struct Integer<const LEAST: u64>(u64);

impl<'de, const LEAST: u64> Deserialize<'de> for Integer<LEAST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected<const LEAST: u64>;
        impl<const LEAST: u64> Visitor<'_> for Expected<LEAST> {
            type Value = Integer<LEAST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an integer from {LEAST} to {MAX_INTEGER}")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                if (LEAST..=MAX_INTEGER).contains(&value) {
                    Ok(Integer(value))
                } else {
                    Err(E::invalid_value(Unexpected::Unsigned(value), &self))
                }
            }
        }
        deserializer.deserialize_u64(Expected)
    }
}

struct CloudDate(String);

impl<'de> Deserialize<'de> for CloudDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a date that exists, \"YYYY-MM-DD hh:mm:ss\"";
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = CloudDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CloudDate, E> {
                if exists(text) {
                    Ok(CloudDate(text.to_owned()))
                } else {
                    Err(E::custom(format_args!("must be {EXPECTED}, which this text is not")))
                }
            }
        }
        deserializer.deserialize_str(Expected)
    }
}

fn exists(text: &str) -> bool {
    let &[y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b' ', h1, h2, b':', m1, m2, b':', s1, s2] =
        text.as_bytes()
    else {
        return false;
    };
    let two = |tens: u8, ones: u8| -> Option<i8> {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        digits.then(|| (tens - b'0') as i8 * 10 + (ones - b'0') as i8)
    };
    let date = || {
        let year = i16::from(two(y1, y2)?) * 100 + i16::from(two(y3, y4)?);
        Date::new(year, two(o1, o2)?, two(d1, d2)?).ok()
    };
    let time = || Time::new(two(h1, h2)?, two(m1, m2)?, two(s1, s2)?, 0).ok();
    date().is_some() && time().is_some()
}

/// A struct from an object: a derive takes an array of the fields' values too, and passes over what no field takes.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(StructsAreMaps(deserializer)).map(Self)
    }
}

struct StructsAreMaps<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for StructsAreMaps<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Members { visitor, fields })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
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

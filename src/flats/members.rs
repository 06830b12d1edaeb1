//! Pieces of strict reading: objects without duplicate members, at every level, known or not.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{Deserialize, Deserializer, de};

/// A member's name, borrowed where it has no escapes.
struct MemberName<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = MemberName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<MemberName<'de>, E> {
                Ok(MemberName(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MemberName<'de>, E> {
                Ok(MemberName(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Names of unknown members seen in one object: they are ignored, but not twice.
#[derive(Default)]
pub struct NoDuplicates(HashSet<String>);

impl NoDuplicates {
    /// Reads and drops the value of the unknown member `name`, refusing duplicates at every level of it.
    pub fn skip<'de, A: de::MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        if !self.0.insert(name.to_owned()) {
            return Err(de::Error::custom("has a member twice"));
        }
        map.next_value::<Skipped>().map(drop)
    }
}

/// Any value, dropped once it is known to hold no duplicate member and no broken text.
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Skipped;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_str<E>(self, _: &str) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_unit<E>(self) -> Result<Skipped, E> {
                Ok(Skipped)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut array: A) -> Result<Skipped, A::Error> {
                while array.next_element::<Skipped>()?.is_some() {}
                Ok(Skipped)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Skipped, A::Error> {
                let mut seen = NoDuplicates::default();
                while let Some(MemberName(name)) = map.next_key()? {
                    seen.skip(&name, &mut map)?;
                }
                Ok(Skipped)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

//! The scan for what a derive cannot see: members that come twice, at every level, in what is read and in what is not.
//!
//! serde ignores the value of an unknown member without looking into it, so that a duplicate, half a surrogate pair, a
//! number out of range or nesting without end would pass there. This looks at every value.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed},
};

/// Any JSON value in which no object has a member twice; nothing of it is kept.
///
/// With `#[serde(flatten)]` it looks at the members that a struct does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scan(&mut Vec::new()).deserialize(deserializer)
    }
}

/// Looks at a value, with the names of the members of all objects around it.
struct Scan<'a, 'de>(&'a mut Vec<Cow<'de, str>>);

impl<'de> DeserializeSeed<'de> for Scan<'_, 'de> {
    type Value = Unique;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Unique, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Scan<'_, 'de> {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut array: A) -> Result<Unique, A::Error> {
        while array.next_element_seed(Scan(self.0))?.is_some() {}
        Ok(Unique)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let outer = self.0.len();
        while let Some(Name(name)) = map.next_key()? {
            self.0.push(name);
            map.next_value_seed(Scan(self.0))?;
        }
        let names = &mut self.0[outer..];
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(de::Error::custom("has a member twice"));
        }
        self.0.truncate(outer);
        Ok(Unique)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

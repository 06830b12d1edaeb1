//! The scan for what a derive does not see: members that come twice, at every level, in what is read and in what is not.
//!
//! serde ignores the value of an unknown member without looking into it, so that a duplicate, half a surrogate pair, a
//! number out of range or nesting without end would pass there. This looks at every value.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer},
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
        each_once(&mut self.0[outer..])?;
        self.0.truncate(outer);
        Ok(Unique)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn each_once<E: de::Error>(names: &mut [Cow<'_, str>]) -> Result<(), E> {
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(E::custom("has a member twice"));
    }
    Ok(())
}

/// What a derive makes of the members of an object that it has `fields` for; it sees itself which of those come twice. The
/// others are scanned, and it is not told of them.
pub(super) struct Members<V> {
    pub(super) visitor: V,
    pub(super) fields: &'static [&'static str],
}

impl<'de, V: de::Visitor<'de>> de::Visitor<'de> for Members<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Known { map, fields: self.fields, others: Vec::new() })
    }
}

struct Known<'de, A> {
    map: A,
    fields: &'static [&'static str],
    /// Names of members that no field takes.
    others: Vec<Cow<'de, str>>,
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for Known<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Name(name)) = self.map.next_key()? {
            if self.fields.contains(&&*name) {
                return seed.deserialize((&*name).into_deserializer()).map(Some);
            }
            self.others.push(name);
            self.map.next_value_seed(Scan(&mut Vec::new()))?;
        }
        each_once(&mut self.others)?;
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

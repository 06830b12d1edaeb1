//! Strict reading of flat documents (contract §4, "Digest"): every published field, once, of its type.
//!
//! Errors name the flat and the field and say what would be right; they never repeat the value, for it may be a
//! key number, a name or a login.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::{
    FlatDocument, FlatRecord, KeyRecord, Properties, UserRecord,
    leaf::{AtLeastOne, CloudDate, Integer, OrNull, Read, refusal},
    members::{MemberName, NoDuplicates},
    read::InvalidFlat,
    wording::message_of,
};
use crate::domain::KeyCode;

/// Reads one flat document with its `intercom`.
pub(super) fn parse_flat(json: &str) -> Result<FlatRecord, InvalidFlat> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let problem = match serde_path_to_error::deserialize::<_, Strict<FlatRecord>>(&mut deserializer) {
        Ok(Strict(flat)) => match (deserializer.end(), counts(&flat)) {
            (Ok(()), None) => return Ok(flat),
            (Err(error), _) => (String::new(), message_of(&error)),
            (Ok(()), Some((field, problem))) => (field.to_owned(), problem),
        },
        Err(error) => located(field_of(error.path()), message_of(error.inner())),
    };
    let (field, problem) = problem;
    let place: Place = serde_json::from_str(json).unwrap_or_default();
    Err(InvalidFlat { intercom: place.intercom, id: place.id, flat: place.flat, field, problem })
}

fn counts(flat: &FlatRecord) -> Option<(&'static str, String)> {
    let document = &flat.document;
    let differs = |count: u64, length: usize| u64::try_from(length) != Ok(count);
    if differs(document.key_count, document.keys.len()) {
        return Some(("key_count", format!("must equal the number of keys, {}", document.keys.len())));
    }
    if differs(document.users_count, document.users.len()) {
        return Some(("users_count", format!("must equal the number of users, {}", document.users.len())));
    }
    None
}

/// What serde cannot say: a missing member has a path of its own.
fn located(field: String, problem: String) -> (String, String) {
    match problem.strip_prefix(MISSING) {
        Some(member) if field.is_empty() => (member.to_owned(), "is missing".to_owned()),
        Some(member) => (format!("{field}.{member}"), "is missing".to_owned()),
        None => (field, problem),
    }
}

const MISSING: &str = "missing ";

/// The path in known names only: an unknown member's name is somebody's text.
fn field_of(path: &serde_path_to_error::Path) -> String {
    let known = |name: &str| [FLAT, KEY, USER, PROPERTIES].iter().any(|names| names.contains(&name));
    let mut text = String::new();
    for segment in path {
        match segment {
            serde_path_to_error::Segment::Seq { index } => text += &format!("[{index}]"),
            serde_path_to_error::Segment::Map { key } => {
                if !text.is_empty() {
                    text.push('.');
                }
                if !known(key) {
                    return text + "(unknown member)";
                }
                text += key;
            }
            _ => {}
        }
    }
    text
}

/// What names a flat, read leniently from a document that has been refused.
#[derive(Default)]
struct Place {
    intercom: Option<u64>,
    id: Option<u64>,
    flat: Option<u64>,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Place, A::Error> {
                let mut place = Place::default();
                while let Some(MemberName(name)) = map.next_key()? {
                    let slot = match &*name {
                        "intercom" => &mut place.intercom,
                        "id" => &mut place.id,
                        "flat" => &mut place.flat,
                        _ => {
                            map.next_value::<de::IgnoredAny>()?;
                            continue;
                        }
                    };
                    *slot = slot.or(map.next_value::<Lenient>()?.0);
                }
                Ok(place)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

struct Lenient(Option<u64>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_u64()))
    }
}

struct Strict<T>(T);

/// Implements reading of an object with the given members, all required but those of `optional`.
macro_rules! strict_object {
    ($type:ty, $what:literal, $names:ident, { $($field:ident: $read:ty,)* } optional { $($opt:ident: $opt_read:ty,)* } => $make:expr) => {
        const $names: &[&str] = &[$(stringify!($field),)* $(stringify!($opt),)*];

        impl<'de> Deserialize<'de> for Strict<$type> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl<'de> de::Visitor<'de> for Visitor {
                    type Value = Strict<$type>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                        Err(refusal($what, "a number"))
                    }

                    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                        Err(refusal($what, "a number"))
                    }

                    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                        Err(refusal($what, "a number"))
                    }

                    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
                        Err(refusal($what, "a text"))
                    }

                    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        $(let mut $field: Option<$read> = None;)*
                        $(let mut $opt: Option<$opt_read> = None;)*
                        let mut unknown = NoDuplicates::default();
                        while let Some(MemberName(name)) = map.next_key()? {
                            match &*name {
                                $(stringify!($field) => member(stringify!($field), &mut $field, &mut map)?,)*
                                $(stringify!($opt) => member(stringify!($opt), &mut $opt, &mut map)?,)*
                                _ => unknown.skip(&name, &mut map)?,
                            }
                        }
                        $(let $field = $field
                            .ok_or_else(|| de::Error::custom(format_args!("{MISSING}{}", stringify!($field))))?
                            .0;)*
                        $(let $opt = $opt.map_or(None, |value| value.0);)*
                        Ok(Strict($make))
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

strict_object!(FlatRecord, "a flat document, an object", FLAT, {
    intercom: Read<AtLeastOne>,
    id: Read<AtLeastOne>,
    flat: Read<AtLeastOne>,
    key_count: Read<Integer>,
    users_count: Read<Integer>,
    keys: List<KeyRecord>,
    users: List<UserRecord>,
    properties: Strict<Properties>,
} optional {
    answer_resistance: Read<OrNull<Integer>>,
    quiescent_resistance: Read<OrNull<Integer>>,
} => FlatRecord {
    intercom: intercom.0,
    document: FlatDocument {
        id: id.0,
        flat: flat.0,
        key_count: key_count.0,
        users_count: users_count.0,
        keys,
        users,
        properties,
    },
    answer_resistance: answer_resistance.map(|value| value.0),
    quiescent_resistance: quiescent_resistance.map(|value| value.0),
});

strict_object!(KeyRecord, "a key, an object", KEY, {
    id: Read<AtLeastOne>,
    key: Read<KeyCode>,
    created_at: Read<CloudDate>,
    updated_at: Read<CloudDate>,
} optional {
    user: Strict<Option<UserRecord>>,
} => KeyRecord { id: id.0, key, user, created_at: created_at.0, updated_at: updated_at.0 });

strict_object!(UserRecord, "a user, an object", USER, {
    id: Read<AtLeastOne>,
    name: Read<String>,
    login: Read<String>,
    created_at: Read<CloudDate>,
    updated_at: Read<CloudDate>,
    is_licence_limit_reached: Read<bool>,
    ptz_priority: Read<Integer>,
} optional {
    expired_at: Read<OrNull<CloudDate>>,
    access_token_id: Read<OrNull<Integer>>,
} => UserRecord {
    id: id.0,
    name,
    login,
    created_at: created_at.0,
    updated_at: updated_at.0,
    expired_at: expired_at.map(|date| date.0),
    is_licence_limit_reached,
    ptz_priority: ptz_priority.0,
    access_token_id: access_token_id.map(|id| id.0),
});

strict_object!(Properties, "the properties, an object", PROPERTIES, {
    is_analog_line_enable: Read<bool>,
    is_sip_line_enable: Read<bool>,
    is_can_manage_resistance: Read<bool>,
} optional {} => Properties { is_analog_line_enable, is_sip_line_enable, is_can_manage_resistance });

fn member<'de, T: Deserialize<'de>, A: de::MapAccess<'de>>(
    name: &str,
    slot: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(de::Error::custom(format_args!("has `{name}` twice")));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

impl<'de> Deserialize<'de> for Strict<Option<UserRecord>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let user = Option::<Strict<UserRecord>>::deserialize(deserializer)?;
        Ok(Self(user.map(|user| user.0)))
    }
}

/// An array of strict objects.
struct List<T>(Vec<T>);

impl<'de, T> Deserialize<'de> for List<T>
where
    Strict<T>: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<'de, T> de::Visitor<'de> for Visitor<T>
        where
            Strict<T>: Deserialize<'de>,
        {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                Err(refusal("an array", "a number"))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                Err(refusal("an array", "a number"))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                Err(refusal("an array", "a number"))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(refusal("an array", "a text"))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(Strict(one)) = array.next_element()? {
                    all.push(one);
                }
                Ok(List(all))
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

//! Strict reading of flat documents (contract §4, "Digest"): every published field, once, of its type.
//!
//! serde's derive reads the fields, and what no field takes is looked at on the way. Errors name the flat and the field and
//! say what would be right; they never repeat the value, for it may be a key number, a name or a login.

use std::{collections::HashMap, fmt};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    CodeRecord, FlatDocument, FlatRecord, KeyRecord, Permission, Properties, UserRecord,
    field::{self, Object},
    wording,
};

/// Why a text is no flat document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFlat {
    /// The flat's intercom, where that much could be read.
    pub intercom: Option<u64>,
    /// Its record id, where that much could be read.
    pub id: Option<u64>,
    /// The number on the door, where that much could be read.
    pub flat: Option<u64>,
    /// Path of the field, `keys[0].user.created_at`; empty where the document as a whole is wrong.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl std::error::Error for InvalidFlat {}

impl fmt::Display for InvalidFlat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, value) in [("intercom", self.intercom), ("id", self.id), ("flat", self.flat)] {
            if let Some(value) = value {
                write!(f, "{separator}{what} {value}")?;
                separator = ", ";
            }
        }
        if !separator.is_empty() {
            f.write_str(": ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

/// Reads one flat document with its `intercom`.
///
/// # Errors
/// The first fault in the text.
pub fn parse_flat(json: &str) -> Result<FlatRecord, InvalidFlat> {
    let (field, problem) = match flat(json) {
        Ok(flat) => match wrong_count(&flat).or_else(|| same_user(&flat)) {
            None => return Ok(flat),
            Some(fault) => fault,
        },
        Err(fault) => fault,
    };
    let [intercom, id, flat] = names(json);
    Err(InvalidFlat { intercom, id, flat, field, problem })
}

/// A flat document as it is written. What a [`FlatRecord`] nests for its writer lies side by side here.
#[derive(Deserialize)]
#[serde(expecting = "a flat document, an object")]
struct Written {
    #[serde(deserialize_with = "field::id")]
    intercom: u64,
    #[serde(deserialize_with = "field::id")]
    id: u64,
    #[serde(deserialize_with = "field::id")]
    flat: u64,
    #[serde(deserialize_with = "field::integer")]
    key_count: u64,
    #[serde(deserialize_with = "field::integer")]
    users_count: u64,
    #[serde(deserialize_with = "field::objects")]
    keys: Vec<KeyRecord>,
    #[serde(deserialize_with = "field::objects")]
    users: Vec<UserRecord>,
    #[serde(deserialize_with = "field::object")]
    properties: Properties,
    #[serde(default, deserialize_with = "field::integer_or_null")]
    answer_resistance: Option<u64>,
    #[serde(default, deserialize_with = "field::integer_or_null")]
    quiescent_resistance: Option<u64>,
    #[serde(default, deserialize_with = "field::objects_or_null")]
    codes: Vec<CodeRecord>,
    #[serde(default, deserialize_with = "field::objects_or_null")]
    permissions: Vec<Permission>,
}

impl From<Written> for FlatRecord {
    fn from(written: Written) -> Self {
        let Written { intercom, answer_resistance, quiescent_resistance, codes, permissions, .. } = written;
        let Written { id, flat, key_count, users_count, keys, users, properties, .. } = written;
        let document = FlatDocument { id, flat, key_count, users_count, keys, users, properties };
        Self { intercom, document, answer_resistance, quiescent_resistance, codes, permissions }
    }
}

fn flat(json: &str) -> Result<FlatRecord, (String, String)> {
    let Object(written) = read::<Object<Written>>(json)?;
    Ok(FlatRecord::from(written))
}

/// Reads a text; what is wrong with it is looked for in a second go, for to know the path costs time at each member.
fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, (String, String)> {
    serde_json::from_str(json).map_err(|error| {
        let found = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(json));
        match found {
            Err(located) => wording::located(located.path(), located.inner()),
            // What stands behind the document.
            Ok(_) => (String::new(), wording::message_of(&error)),
        }
    })
}

fn wrong_count(flat: &FlatRecord) -> Option<(String, String)> {
    let document = &flat.document;
    let differs = |count: u64, length: usize| u64::try_from(length) != Ok(count);
    if differs(document.key_count, document.keys.len()) {
        return Some((
            "key_count".to_owned(),
            format!("must equal the number of keys, {}", document.keys.len()),
        ));
    }
    if differs(document.users_count, document.users.len()) {
        return Some((
            "users_count".to_owned(),
            format!("must equal the number of users, {}", document.users.len()),
        ));
    }
    None
}

/// A user whom two permissions are of: they might say different things.
fn same_user(flat: &FlatRecord) -> Option<(String, String)> {
    let mut first = HashMap::new();
    flat.permissions.iter().enumerate().find_map(|(index, permission)| {
        let earlier = *first.entry(permission.user).or_insert(index);
        let problem =
            || format!("permissions[{earlier}] is of the same user, and each is there once in a flat");
        (earlier != index).then(|| (format!("permissions[{index}].user"), problem()))
    })
}

/// Intercom, record id and number of a flat that has been refused, as far as they can be read.
fn names(json: &str) -> [Option<u64>; 3] {
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
    ["intercom", "id", "flat"].map(|name| members.get(name)?.get().parse().ok())
}

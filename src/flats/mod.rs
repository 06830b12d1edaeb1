//! Flat documents: the cloud's record of a flat with its keys and users, in the published order of fields.
//!
//! The order of the struct fields is the order of the published page's sample, so that `serde_json::to_string`
//! of a [`FlatDocument`] is what the documented endpoint answers. [`parse_flat`] is the only way in: their own
//! derives let members pass that come twice. [`canonical_json`] and [`DigestBuilder`] are what two parties compare.
//! [`FlatSet`] says which flats go together: imports, parts and deltas all pass through one.

mod digest;
mod field;
#[cfg(test)]
pub(crate) mod generated;
mod read;
mod set;
#[cfg(test)]
mod tests;
mod unique;
mod wording;

pub use digest::{DigestBuilder, canonical_hash, canonical_json};
pub use read::{InvalidFlat, parse_flat};
pub use set::{FlatId, FlatProblem, FlatSet, MAX_FLAT_BYTES, RefusedFlat};
pub use unique::Unique;
pub use wording::message_of;

use serde::{Deserialize, Serialize};

#[cfg(test)]
use crate::domain::schema;
use crate::domain::{DoorCode, KeyCode};

/// A flat of one intercom as the cloud publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Flat"))]
pub struct FlatDocument {
    /// The cloud's record id, unique within its intercom, at least 1.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub id: u64,
    /// The number on the door, unique within its intercom, at least 1.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub flat: u64,
    /// Equals the length of `keys`.
    pub key_count: u64,
    /// Equals the length of `users`.
    pub users_count: u64,
    /// In the cloud's order.
    pub keys: Vec<KeyRecord>,
    /// In the cloud's order.
    pub users: Vec<UserRecord>,
    /// Switches of the flat.
    pub properties: Properties,
}

/// A flat document with its intercom and what the published shape has no place for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlatRecord {
    /// The intercom (entrance) that the flat belongs to, at least 1.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// The published part.
    #[serde(flatten)]
    pub document: FlatDocument,
    /// Raw register units; replaces `off_hook_below` of this flat's line (contract §4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_resistance: Option<u64>,
    /// Raw register units; replaces `on_hook_below` of this flat's line (contract §4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiescent_resistance: Option<u64>,
    /// What opens the intercom's doors when it is typed; in the cloud's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Option<Vec<CodeRecord>>"))]
    pub codes: Vec<CodeRecord>,
    /// What the platform allows users at this flat; whom it does not list may do both. In the cloud's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Option<Vec<Permission>>"))]
    pub permissions: Vec<Permission>,
}

impl FlatRecord {
    /// Returns what the platform allows a user at this flat, where that is said.
    pub fn permission_of(&self, user: u64) -> Option<&Permission> {
        self.permissions.iter().find(|permission| permission.user == user)
    }

    /// Returns the record of a user: from the flat's users, else from those of its keys (contract §5).
    pub fn user(&self, id: u64) -> Option<&UserRecord> {
        let of_keys = self.document.keys.iter().filter_map(|key| key.user.as_ref());
        self.document.users.iter().chain(of_keys).find(|user| user.id == id)
    }
}

/// A code of a flat (contract §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Code"))]
#[serde(expecting = "a code, an object")]
pub struct CodeRecord {
    /// The cloud's id of the code, unique within its intercom, at least 1.
    #[serde(deserialize_with = "field::id")]
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub id: u64,
    /// What is typed, unique within its intercom.
    pub code: DoorCode,
    /// Id of the user whose it is.
    #[serde(deserialize_with = "field::id_or_null")]
    #[cfg_attr(test, schemars(with = "schema::IdOrNull"))]
    pub user: Option<u64>,
    /// From this moment on (in `gateway.timezone`) the code opens nothing; null: never.
    #[serde(deserialize_with = "field::date_or_null")]
    #[cfg_attr(test, schemars(with = "schema::ZonelessTimeOrNull"))]
    pub expired_at: Option<String>,
}

/// What the platform allows a user at a flat (contract §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(expecting = "a permission, an object")]
pub struct Permission {
    /// Id of the user, each once in a flat; the flat need not list it.
    #[serde(deserialize_with = "field::id")]
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub user: u64,
    /// Whether the user's keys on this flat may open.
    pub is_open_door_key: bool,
    /// Whether the user's codes on this flat may open.
    pub is_open_door_code: bool,
}

/// One key of a flat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Key"))]
#[serde(expecting = "a key, an object")]
pub struct KeyRecord {
    /// The cloud's id of the key, at least 1.
    #[serde(deserialize_with = "field::id")]
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub id: u64,
    /// Its code.
    pub key: KeyCode,
    /// Whose it is; a key without a user opens (contract §5).
    #[serde(default, deserialize_with = "field::object_or_null")]
    pub user: Option<UserRecord>,
    /// The cloud's zoneless date, kept as text.
    #[serde(deserialize_with = "field::date")]
    #[cfg_attr(test, schemars(with = "schema::ZonelessTime"))]
    pub created_at: String,
    /// The cloud's zoneless date, kept as text.
    #[serde(deserialize_with = "field::date")]
    #[cfg_attr(test, schemars(with = "schema::ZonelessTime"))]
    pub updated_at: String,
}

/// A resident's account. Names and logins are personal data: `Debug` hides them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "User"))]
#[serde(expecting = "a user, an object")]
pub struct UserRecord {
    /// The cloud's id of the user, at least 1.
    #[serde(deserialize_with = "field::id")]
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub id: u64,
    /// Display name.
    pub name: String,
    /// Account name, usually a mail address.
    pub login: String,
    /// The cloud's zoneless date, kept as text.
    #[serde(deserialize_with = "field::date")]
    #[cfg_attr(test, schemars(with = "schema::ZonelessTime"))]
    pub created_at: String,
    /// The cloud's zoneless date, kept as text.
    #[serde(deserialize_with = "field::date")]
    #[cfg_attr(test, schemars(with = "schema::ZonelessTime"))]
    pub updated_at: String,
    /// From this moment on (in `gateway.timezone`) the user's keys open nothing; null: never.
    #[serde(default, deserialize_with = "field::date_or_null")]
    pub expired_at: Option<String>,
    /// The cloud's; no meaning for doors.
    pub is_licence_limit_reached: bool,
    /// The cloud's; no meaning for doors.
    #[serde(deserialize_with = "field::integer")]
    pub ptz_priority: u64,
    /// The cloud's; no meaning for doors.
    #[serde(default, deserialize_with = "field::integer_or_null")]
    #[cfg_attr(test, schemars(with = "Option<schema::Id>"))]
    pub access_token_id: Option<u64>,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Switches of a flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(expecting = "the properties, an object")]
pub struct Properties {
    /// Whether the handset line is in service.
    pub is_analog_line_enable: bool,
    /// The cloud's; no meaning for this gateway.
    pub is_sip_line_enable: bool,
    /// Whether the flat's own resistances replace the panel's thresholds.
    pub is_can_manage_resistance: bool,
}

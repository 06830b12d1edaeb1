//! The digest by which cloud and gateway prove that they hold the same flats (contract §4, "Digest").

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{CodeRecord, FlatRecord, KeyRecord, Permission, UserRecord};
use crate::domain::{DoorCode, KeyCode, json};

/// Canonical JSON (RFC 8785) of a flat: the published fields, `intercom`, and of the optional members those that are
/// neither null nor empty.
///
/// RFC 8785 sorts members by name, writes integers plainly and escapes only what JSON demands, in lower-case
/// hex; that is how `serde_json` writes the structs below, whose fields stand in sorted order.
pub fn canonical_json(flat: &FlatRecord) -> String {
    json::text(&Flat::from(flat))
}

/// SHA-256 of [`canonical_json`].
pub fn canonical_hash(flat: &FlatRecord) -> [u8; 32] {
    Sha256::digest(canonical_json(flat)).into()
}

/// Adds up the digest of a whole set of flats.
#[derive(Default)]
pub struct DigestBuilder(Sha256);

impl DigestBuilder {
    /// Adds a flat's [`canonical_hash`]. Flats come in numerical order of (intercom, id).
    pub fn add(&mut self, intercom: u64, id: u64, hash: &[u8; 32]) {
        self.0.update(format!("{intercom}/{id}:{}\n", hex::encode(hash)));
    }

    /// The digest, 64 lower-case hex digits.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

#[derive(Serialize)]
struct Flat<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_resistance: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    codes: Vec<Code<'a>>,
    flat: u64,
    id: u64,
    intercom: u64,
    key_count: u64,
    keys: Vec<Key<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<Allowed>,
    properties: Properties,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiescent_resistance: Option<u64>,
    users: Vec<User<'a>>,
    users_count: u64,
}

#[derive(Serialize)]
struct Code<'a> {
    code: DoorCode,
    expired_at: Option<&'a str>,
    id: u64,
    user: Option<u64>,
}

#[derive(Serialize)]
struct Allowed {
    is_open_door_code: bool,
    is_open_door_key: bool,
    user: u64,
}

#[derive(Serialize)]
struct Key<'a> {
    created_at: &'a str,
    id: u64,
    key: KeyCode,
    updated_at: &'a str,
    user: Option<User<'a>>,
}

#[derive(Serialize)]
struct Properties {
    is_analog_line_enable: bool,
    is_can_manage_resistance: bool,
    is_sip_line_enable: bool,
}

#[derive(Serialize)]
struct User<'a> {
    access_token_id: Option<u64>,
    created_at: &'a str,
    expired_at: Option<&'a str>,
    id: u64,
    is_licence_limit_reached: bool,
    login: &'a str,
    name: &'a str,
    ptz_priority: u64,
    updated_at: &'a str,
}

impl<'a> From<&'a FlatRecord> for Flat<'a> {
    fn from(record: &'a FlatRecord) -> Self {
        let document = &record.document;
        Self {
            answer_resistance: record.answer_resistance,
            codes: record.codes.iter().map(Code::from).collect(),
            flat: document.flat,
            id: document.id,
            intercom: record.intercom,
            key_count: document.key_count,
            keys: document.keys.iter().map(Key::from).collect(),
            permissions: record.permissions.iter().map(Allowed::from).collect(),
            properties: Properties {
                is_analog_line_enable: document.properties.is_analog_line_enable,
                is_can_manage_resistance: document.properties.is_can_manage_resistance,
                is_sip_line_enable: document.properties.is_sip_line_enable,
            },
            quiescent_resistance: record.quiescent_resistance,
            users: document.users.iter().map(User::from).collect(),
            users_count: document.users_count,
        }
    }
}

impl<'a> From<&'a CodeRecord> for Code<'a> {
    fn from(record: &'a CodeRecord) -> Self {
        let CodeRecord { id, code, user, expired_at } = record;
        Self { code: *code, expired_at: expired_at.as_deref(), id: *id, user: *user }
    }
}

impl From<&Permission> for Allowed {
    fn from(permission: &Permission) -> Self {
        let Permission { user, is_open_door_key, is_open_door_code } = *permission;
        Self { is_open_door_code, is_open_door_key, user }
    }
}

impl<'a> From<&'a KeyRecord> for Key<'a> {
    fn from(key: &'a KeyRecord) -> Self {
        Self {
            created_at: &key.created_at,
            id: key.id,
            key: key.key,
            updated_at: &key.updated_at,
            user: key.user.as_ref().map(User::from),
        }
    }
}

impl<'a> From<&'a UserRecord> for User<'a> {
    fn from(user: &'a UserRecord) -> Self {
        Self {
            access_token_id: user.access_token_id,
            created_at: &user.created_at,
            expired_at: user.expired_at.as_deref(),
            id: user.id,
            is_licence_limit_reached: user.is_licence_limit_reached,
            login: &user.login,
            name: &user.name,
            ptz_priority: user.ptz_priority,
            updated_at: &user.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flats::parse_flat;

    #[test]
    fn the_published_vector_holds() {
        let vector: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/digest-vector.json")).unwrap();
        let mut flats: Vec<FlatRecord> = vector["flats"]
            .as_array()
            .unwrap()
            .iter()
            .map(|flat| parse_flat(&flat.to_string()).unwrap())
            .collect();
        flats.sort_by_key(|flat| (flat.intercom, flat.document.id));

        let mut digest = DigestBuilder::default();
        let mut lines = String::new();
        for flat in &flats {
            let place = format!("{}/{}", flat.intercom, flat.document.id);
            assert_eq!(canonical_json(flat), vector["canonical"][&place].as_str().unwrap());
            let hash = canonical_hash(flat);
            lines += &format!("{place}:{}\n", hex::encode(hash));
            digest.add(flat.intercom, flat.document.id, &hash);
        }
        assert_eq!(lines, vector["lines"].as_str().unwrap());
        assert_eq!(digest.finish(), vector["digest"].as_str().unwrap());
        assert_eq!(DigestBuilder::default().finish(), vector["empty"].as_str().unwrap());
    }

    #[test]
    fn the_vector_with_codes_and_permissions_holds() {
        let vector: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/digest-vector-2.json")).unwrap();
        let mut flats: Vec<FlatRecord> = vector["flats"]
            .as_array()
            .unwrap()
            .iter()
            .map(|flat| parse_flat(&flat.to_string()).unwrap())
            .collect();
        flats.sort_by_key(|flat| (flat.intercom, flat.document.id));

        let mut digest = DigestBuilder::default();
        for (flat, at) in flats.iter().zip(0..) {
            assert_eq!(canonical_json(flat), vector["canonical"][at].as_str().unwrap());
            let hash = canonical_hash(flat);
            assert_eq!(hex::encode(hash), vector["sha256"][at].as_str().unwrap());
            digest.add(flat.intercom, flat.document.id, &hash);
        }
        assert_eq!(flats.len(), 2);
        assert_eq!(digest.finish(), vector["digest"].as_str().unwrap());
    }

    #[test]
    fn control_characters_are_escaped_as_rfc_8785_says() {
        let name = "\u{8}\t\n\u{c}\r\u{1f}\u{7f}\\\"/\u{2028}";
        let escaped = serde_json::to_string(name).unwrap();
        assert_eq!(escaped, "\"\\b\\t\\n\\f\\r\\u001f\u{7f}\\\\\\\"/\u{2028}\"");
    }
}

//! Flats as the cloud would send them.
#![allow(dead_code, reason = "each user takes its own part")]

use serde_json::{Value, json};

/// The card of the platform's own example, as a 32-bit reader sends it.
pub const KNOWN: &str = "3042CAAC";
/// The same as a key.
pub const KNOWN_KEY: &str = "0000003042CAAC";
/// A card that no test knows.
pub const UNKNOWN: &str = "DEADBEEF";

/// A flat with these keys: (id, code).
pub fn flat(intercom: u64, id: u64, number: u64, keys: &[(u64, &str)]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(id, key)| {
            json!({
                "id": id, "key": key, "user": null,
                "created_at": "2022-11-11 14:46:16", "updated_at": "2022-11-14 15:56:40",
            })
        })
        .collect();
    json!({
        "intercom": intercom, "id": id, "flat": number, "key_count": keys.len(), "users_count": 0,
        "keys": keys, "users": [],
        "properties": {
            "is_analog_line_enable": true, "is_sip_line_enable": true, "is_can_manage_resistance": true,
        },
    })
}

/// One flat of intercom 1 that the known card opens.
pub fn known() -> Value {
    flat(1, 11, 7, &[(101, KNOWN_KEY)])
}

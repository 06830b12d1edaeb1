//! The file of a panel's record: what is in it, and what it means.
//!
//! ```json
//! {"serial":7,"key":{"scbk":"…","sha256":"…","proven":true},"pending":{"scbk":"…","sha256":"…"},"rekeying":true,"keysets":1}
//! ```
//! `serial` and `key` are as version 0.1 wrote them: `key` is the proven key, or the pending one while none is proven, so
//! that a roll-back finds a key that opens. Version 0.1 ignores the members beside them and drops them when it writes.
//! `scbk` is null where the configuration gives the key. `rekeying` is there while that key is to replace the proven one.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    panel::osdp::{CurrentKey, KeyRecord, PanelKey},
    wire::osdp::Scbk,
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    #[serde(default)]
    serial: Option<u32>,
    #[serde(default)]
    key: Option<KeyNote>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<PendingNote>,
    /// Left out where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rekeying: bool,
    #[serde(default)]
    keysets: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyNote {
    /// 32 hex digits; null where the configuration gives the key.
    scbk: Option<String>,
    /// Lowercase hex.
    sha256: String,
    proven: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct PendingNote {
    /// As [`KeyNote::scbk`].
    scbk: Option<String>,
    /// As [`KeyNote::sha256`].
    sha256: String,
}

impl Note {
    pub(super) fn of(record: &KeyRecord) -> Self {
        let scbk = |key: &PanelKey| {
            let is_configured = record.from_config.as_ref() == Some(key);
            (!is_configured).then(|| key.scbk().to_hex())
        };
        let pending =
            record.pending.as_ref().map(|key| PendingNote { scbk: scbk(key), sha256: sha256(key.scbk()) });
        let key = match (&record.current, &pending) {
            (Some(CurrentKey::Known(key)), _) => {
                Some(KeyNote { scbk: scbk(key), sha256: sha256(key.scbk()), proven: true })
            }
            (Some(CurrentKey::HashOnly { sha256 }), _) => {
                Some(KeyNote { scbk: None, sha256: sha256.clone(), proven: true })
            }
            (None, Some(PendingNote { scbk, sha256 })) => {
                Some(KeyNote { scbk: scbk.clone(), sha256: sha256.clone(), proven: false })
            }
            (None, None) => None,
        };
        Self { serial: record.serial, key, pending, rekeying: record.rekeying, keysets: record.keysets }
    }

    /// Whether it holds a key, or knows one of the configuration's.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some() || self.pending.is_some()
    }

    /// The record, where the configuration gives this key.
    pub(super) fn into_record(self, from_config: Option<PanelKey>) -> KeyRecord {
        let known = |scbk: Option<&str>, hash: &str| {
            let configured = from_config.as_ref().filter(|key| sha256(key.scbk()) == hash);
            // SCBK-D and zeros are no keys, no matter who wrote them down.
            let written = || PanelKey::new(Scbk::from_hex(scbk?)?).ok();
            configured.cloned().or_else(written)
        };
        let (mut current, mut pending) = (None, None);
        if let Some(KeyNote { scbk, sha256, proven }) = self.key {
            match known(scbk.as_deref(), &sha256) {
                Some(key) if proven => current = Some(CurrentKey::Known(key)),
                Some(key) => pending = Some(key),
                None if proven => current = Some(CurrentKey::HashOnly { sha256 }),
                // Nobody knows whether the panel has it, and we have not.
                None => {}
            }
        }
        if let Some(PendingNote { scbk, sha256 }) = self.pending {
            pending = known(scbk.as_deref(), &sha256).or(pending);
        }
        let Self { serial, rekeying, keysets, .. } = self;
        KeyRecord { serial, current, pending, from_config, rekeying, keysets }
    }
}

fn sha256(key: &Scbk) -> String {
    hex::encode(Sha256::digest(key.expose()))
}

//! What is remembered of each panel: serial number and key, a small file each in `state_dir/panels`.
//!
//! Invariant: nobody is told that something is stored before it is synced. A key that comes from the configuration is noted by its
//! SHA-256 alone: the key itself is in a file of the installer's.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{bus::Keep, domain::Name, panel::osdp::KeptKey, sys::files, wire::osdp::Scbk};

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The panel's key.
    pub key: Option<KeptKey>,
    /// Its serial number.
    pub serial: Option<u32>,
}

/// The files of all panels.
pub struct PanelMemory {
    dir: PathBuf,
    /// Panels whose key the configuration gives, with that key's hash.
    fixed: Mutex<Vec<(Name, String)>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Note {
    #[serde(default)]
    serial: Option<u32>,
    #[serde(default)]
    key: Option<KeyNote>,
}

#[derive(Serialize, Deserialize)]
struct KeyNote {
    /// 32 hex digits; null where the configuration gives the key.
    scbk: Option<String>,
    /// Lowercase hex.
    sha256: String,
    proven: bool,
}

impl PanelMemory {
    /// Files in `state_dir/panels`, which is made where it does not exist.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join("panels");
        files::private_dir(&dir)?;
        Ok(Self { dir, fixed: Mutex::new(Vec::new()) })
    }

    /// What is known of a panel. `fixed`: the key that the configuration gives; another one noted before is a key
    /// that the panel may have, not one that may be used.
    pub fn recall(&self, panel: &Name, fixed: Option<&Scbk>) -> Remembered {
        let mut all_fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        all_fixed.retain(|(name, _)| name != panel);
        all_fixed.extend(fixed.map(|key| (panel.clone(), sha256(key))));
        drop(all_fixed);
        let note = self.read(panel);
        let key = note.key.and_then(|note| {
            let configured = fixed.filter(|key| sha256(key) == note.sha256).cloned();
            // Another key's note, and that key is not here: something that is proven, but not this.
            let scbk = configured.or_else(|| note.scbk.as_deref().and_then(Scbk::from_hex));
            let scbk = scbk.or_else(|| note.proven.then(|| Scbk::new([0; 16])))?;
            Some(KeptKey { scbk, proven: note.proven })
        });
        Remembered { key, serial: note.serial }
    }

    /// Writes down what a bus wants kept. Blocks for the length of two syncs.
    ///
    /// # Errors
    /// Nothing has changed, or (where only the directory could not be synced) a power cut may undo it.
    pub fn keep(&self, panel: &Name, keep: &Keep) -> io::Result<()> {
        let fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut note = self.read(panel);
        match keep {
            Keep::Serial(serial) if note.serial == Some(*serial) => return Ok(()),
            Keep::Serial(serial) => note.serial = Some(*serial),
            Keep::Key { key, serial, proven } => {
                let sha256 = sha256(key);
                let configured = fixed.iter().any(|(name, hash)| name == panel && *hash == sha256);
                let scbk = (!configured).then(|| key.to_hex());
                note.key = Some(KeyNote { scbk, sha256, proven: *proven });
                note.serial = serial.or(note.serial);
            }
        }
        let text = serde_json::to_vec(&note)?;
        files::write_private(&self.path(panel), &text)
    }

    fn path(&self, panel: &Name) -> PathBuf {
        self.dir.join(format!("{panel}.json"))
    }

    fn read(&self, panel: &Name) -> Note {
        let path = self.path(panel);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Note::default(),
            Err(error) => {
                tracing::error!(%panel, file = %path.display(), %error, "what is known of the panel cannot be read");
                return Note::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            let kept = path.with_extension("json.damaged");
            let moved = fs::rename(&path, &kept);
            tracing::error!(
                %panel, file = %kept.display(), %error, moved = moved.is_ok(),
                "what is known of the panel is damaged and was set aside: pair the panel again (`panel pair {panel}`)"
            );
            Note::default()
        })
    }
}

fn sha256(key: &Scbk) -> String {
    hex::encode(Sha256::digest(key.expose()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(byte: u8) -> Scbk {
        Scbk::new([byte; 16])
    }

    fn paired(byte: u8, proven: bool) -> Keep {
        Keep::Key { key: key(byte), serial: Some(7), proven }
    }

    #[test]
    fn what_is_kept_is_recalled_after_a_restart_in_a_file_of_its_owners_only() {
        let dir = tempfile::tempdir().unwrap();
        let panel = Name::new("entrance-1").unwrap();
        let memory = PanelMemory::open(dir.path()).unwrap();
        memory.keep(&panel, &Keep::Serial(5)).unwrap();
        memory.keep(&panel, &paired(1, false)).unwrap();
        let memory = PanelMemory::open(dir.path()).unwrap();
        let known = memory.recall(&panel, None);
        let kept = known.key.unwrap();
        assert_eq!((known.serial, kept.scbk == key(1), kept.proven), (Some(7), true, false));
        let mode = fs::metadata(memory.path(&panel)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_configured_key_is_noted_without_being_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let panel = Name::new("entrance-1").unwrap();
        let memory = PanelMemory::open(dir.path()).unwrap();
        memory.recall(&panel, Some(&key(0xAB)));
        memory.keep(&panel, &paired(0xAB, true)).unwrap();
        let text = fs::read_to_string(memory.path(&panel)).unwrap();
        assert!(!text.to_lowercase().contains("abab"), "{text}");
        let same = memory.recall(&panel, Some(&key(0xAB))).key.unwrap();
        assert!(same.proven && same.scbk == key(0xAB));
        let other = memory.recall(&panel, Some(&key(0xCD))).key.unwrap();
        assert!(other.proven && other.scbk != key(0xCD), "a changed file is no reason to pair again");
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let panel = Name::new("entrance-1").unwrap();
        let memory = PanelMemory::open(dir.path()).unwrap();
        fs::write(memory.path(&panel), "{\"serial\":").unwrap();
        assert!(memory.recall(&panel, None).key.is_none());
        memory.keep(&panel, &paired(1, true)).unwrap();
        assert!(memory.recall(&panel, None).key.is_some());
    }
}

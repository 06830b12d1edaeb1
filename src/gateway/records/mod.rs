//! What is remembered of each panel: serial number and keys, a small file each in `state_dir/panels`.
//!
//! ```text
//! start: file ─► Note ─► KeyRecord ─► panel
//! later: panel ─► (version, KeyRecord) ─► newest of each panel ─► writer, one a panel ─► file, synced ─► bus is told
//! ```
//! Invariants: a record is written whole, by one writer a panel, the newest that there is; an older one never follows
//! it. A version is reported as stored only once it is synced. A key that comes from the configuration is noted by
//! its SHA-256 alone. A file that cannot be read is not replaced until another key is proven, and is set aside then.

mod note;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

pub use writer::Writers;

use self::note::Note;
use crate::{
    config::{Config, Panel, SecretError, SecretFile, SecureChannel},
    domain::{KeyFault, Name, json, order},
    panel::osdp::{CurrentKey, KeyRecord, PanelKey},
    sys::files,
    wire::osdp::Scbk,
};

const FOLDER: &str = "panels";

/// Returns the panel keys that the configuration has, where they can be read, and those that are kept for any panel,
/// whether it is configured or not. Blocks on the disk.
pub fn known_panel_keys(config: &Config) -> Vec<PanelKey> {
    let configured = config.panels.iter().filter_map(Records::configured_key);
    configured.chain(kept_keys(&config.gateway.state_dir)).collect()
}

/// Returns the panel keys that are kept for any panel. Blocks on the disk.
pub fn kept_keys(state_dir: &Path) -> Vec<PanelKey> {
    let files = fs::read_dir(state_dir.join(FOLDER)).into_iter().flatten().flatten();
    let kept = |entry: fs::DirEntry| {
        let Found::Note(note) = read(&entry.path()) else { return Vec::new() };
        let KeyRecord { current, pending, .. } = note.into_record(None);
        let known = match current {
            Some(CurrentKey::Known(key)) => Some(key),
            Some(CurrentKey::HashOnly { .. }) | None => None,
        };
        known.into_iter().chain(pending).collect()
    };
    files.flat_map(kept).collect()
}

/// The files of all panels.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
}

/// What is known of a panel at the start.
#[derive(Debug, Default)]
pub struct Recalled {
    /// Its record.
    pub record: KeyRecord,
    /// Why the key of the configuration, or what was kept, cannot be used.
    pub fault: Option<KeyFault>,
    /// Records of names that the configuration does not have any more.
    pub strays: Vec<KeyRecord>,
}

/// The file of one panel's record. Only one writer has it.
#[derive(Debug)]
struct RecordFile {
    path: PathBuf,
    /// What is there could not be read.
    is_unread: bool,
}

/// What a file holds.
enum Found {
    Note(Note),
    Nothing,
    Unreadable(io::Error),
    Damaged(serde_json::Error),
}

impl Records {
    /// Takes the files in `state_dir/panels`. Where the directory cannot be made, it is tried again with every write.
    pub fn at(state_dir: &Path) -> Self {
        let dir = state_dir.join(FOLDER);
        if let Err(error) = files::private_dir(&dir) {
            tracing::error!(
                directory = %dir.display(), %error,
                "the directory for the panels' keys cannot be made: check state_dir; doors open with the keys that can be read"
            );
        }
        Self { dir }
    }

    /// Recalls what is known of an OSDP panel. `strays` are the names by [`Records::strays`]. Blocks on the disk.
    pub fn recall(&self, panel: &Panel, strays: &[Name]) -> Recalled {
        let name = &panel.name;
        let is_used = panel.secure_channel != SecureChannel::Off;
        let (from_config, mut fault) = match key_file(panel).map(read_key) {
            None => (None, None),
            Some(Ok(key)) => (Some(key), None),
            Some(Err((fault, error))) => {
                tracing::error!(
                    panel = %name,
                    "the key of the panel cannot be used ({error}): the panel is insecure, all others work; correct secure_key_file and restart the gateway"
                );
                (None, Some(fault))
            }
        };
        let note = match read(&self.path(name)) {
            Found::Note(note) => note,
            Found::Nothing => Note::default(),
            Found::Unreadable(error) => {
                tracing::error!(
                    panel = %name, file = %self.path(name).display(), %error,
                    "what is known of the panel cannot be read: check the disk and the file's owner, then restart the gateway"
                );
                if is_used && from_config.is_none() {
                    fault = fault.or(Some(KeyFault::RecordUnreadable));
                }
                Note::default()
            }
            Found::Damaged(error) => {
                self.set_damaged_aside(name, &error);
                Note::default()
            }
        };
        let record = note.into_record(from_config.clone());
        let stray = |name: &Name| match read(&self.path(name)) {
            Found::Note(note) => {
                let record = KeyRecord { from_config: None, ..note.into_record(from_config.clone()) };
                record.serial.is_some().then_some(record)
            }
            // Of no use, and nobody's loss.
            Found::Nothing | Found::Unreadable(_) | Found::Damaged(_) => None,
        };
        Recalled { record, fault, strays: strays.iter().filter_map(stray).collect() }
    }

    /// Returns the key that the configuration has for a panel, where it can be read. Blocks on the disk.
    pub fn configured_key(panel: &Panel) -> Option<PanelKey> {
        key_file(panel).and_then(|file| read_key(file).ok())
    }

    /// Returns the key that `panel rekey` is to set: the one of the panel's `secure_key_file` as it is now; `None`: the
    /// panel has no such file. Blocks on the disk.
    ///
    /// # Errors
    /// The key cannot be used: which file, why, and what would be right.
    pub fn key_to_set(panel: &Panel) -> Result<Option<PanelKey>, String> {
        key_file(panel).map(read_key).transpose().map_err(|(_, error)| error)
    }

    /// Returns the names that have a file and are not `configured` any more: the panels may have other names now.
    /// Blocks on the disk.
    pub fn strays(&self, configured: &[&Name]) -> Vec<Name> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let name = |entry: io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            let is_record = path.extension() == Some(OsStr::new("json"));
            Name::new(path.file_stem().filter(|_| is_record)?.to_str()?).ok()
        };
        let mut names: Vec<Name> =
            entries.filter_map(name).filter(|name| !configured.contains(&name)).collect();
        order::sort(&mut names);
        names
    }

    /// Whether a panel key lies in `state_dir/panels`, or a file that may hold one. Blocks on the disk.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn hold_keys(state_dir: &Path) -> io::Result<bool> {
        let entries = match fs::read_dir(state_dir.join(FOLDER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let may_hold = match path.extension().and_then(OsStr::to_str) {
                Some("json") => match read(&path) {
                    Found::Note(note) => note.has_key(),
                    Found::Nothing => false,
                    Found::Unreadable(_) | Found::Damaged(_) => true,
                },
                extension => extension == Some("unread"),
            };
            if may_hold {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn file(&self, panel: &Name) -> RecordFile {
        let path = self.path(panel);
        let is_unread = matches!(read(&path), Found::Unreadable(_));
        RecordFile { path, is_unread }
    }

    fn path(&self, panel: &Name) -> PathBuf {
        self.dir.join(format!("{panel}.json"))
    }

    fn set_damaged_aside(&self, panel: &Name, error: &serde_json::Error) {
        let path = self.path(panel);
        let kept = path.with_extension("json.damaged");
        let moved = fs::rename(&path, &kept);
        tracing::error!(
            %panel, file = %kept.display(), %error, moved = moved.is_ok(),
            "what is known of the panel is damaged and was set aside: pair the panel again (`panel pair {panel}`)"
        );
    }
}

impl RecordFile {
    /// Writes a record, synced. Blocks for the length of two syncs.
    ///
    /// # Errors
    /// Nothing has changed, or (where only the directory could not be synced) a power cut may undo it.
    fn write(&mut self, record: &KeyRecord) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            files::private_dir(dir)?;
        }
        if self.is_unread {
            // It may hold the key that the panel has, until the panel has proven another.
            if !matches!(record.current, Some(CurrentKey::Known(_))) {
                return Err(io::Error::other(
                    "there is an earlier record that could not be read: check its owner and the disk, then restart the gateway",
                ));
            }
            let aside = self.path.with_extension("json.unread");
            fs::rename(&self.path, &aside)?;
            self.is_unread = false;
        }
        files::write_private(&self.path, json::text(&Note::of(record)).as_bytes())
    }
}

fn read(path: &Path) -> Found {
    match fs::read(path) {
        Ok(text) => json::from_slice(&text).map_or_else(Found::Damaged, Found::Note),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Unreadable(error),
    }
}

/// Returns where the key of a panel is that has a secure channel.
fn key_file(panel: &Panel) -> Option<&SecretFile> {
    panel.secure_key_file.as_ref().filter(|_| panel.secure_channel != SecureChannel::Off)
}

/// Reads the key of a `secure_key_file`.
fn read_key(file: &SecretFile) -> Result<PanelKey, (KeyFault, String)> {
    let key = file.read_key().map_err(|error| {
        let fault = match &error {
            SecretError::Form { .. } | SecretError::Pem(_) => KeyFault::Malformed,
            SecretError::Read { .. }
            | SecretError::NoCredentials(_)
            | SecretError::NothingHandedOver(_)
            | SecretError::Missing { .. } => KeyFault::Unreadable,
        };
        (fault, error.to_string())
    })?;
    PanelKey::new(Scbk::new(*key)).map_err(|fault| (fault, format!("{file}: {fault}")))
}

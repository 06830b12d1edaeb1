//! What is in a backup, and in which order.
//!
//! ```text
//! backup.json                      the manifest
//! configuration/etc/…              files of the configuration and those that it names, each by its path
//! state/tokens.json, state/panels/entrance-1.json, state/tls/cert.pem, …
//! flats/000001.json, …             the document of `export`, cut into pieces: joined, `import` takes them
//! end.json                         what the flats are together
//! ```
//! Invariants: names are checked when they are read, so that nothing is written elsewhere than where backups come from.
//! An archive without its end is refused.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, Entries, Entry, Header};
use zeroize::Zeroizing;

use super::{
    configuration::Attributes,
    sealed::{Opener, SealError, Sealer},
};
use crate::{
    domain::{ClockQuality, Name, Stamp, json},
    store::CacheState,
};

/// The form that this program writes; it reads no newer one.
const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
const END: &str = "end.json";
const STATE: &str = "state";
const CONFIGURATION: &str = "configuration";
const FLATS: &str = "flats";
/// Files in the folder of the state directory itself, and its folders.
pub(super) const STATE_FILES: [&str; 3] = ["tokens.json", "retained.json", "commissioning.json"];
pub(super) const STATE_FOLDERS: [&str; 2] = ["panels", "tls"];
/// Bytes of one piece of the flats: the most that is in memory of them.
const PIECE: usize = 256 << 10;
/// Largest file but the flats, bytes: no configuration and no secret is as large.
pub(super) const LARGEST: u64 = 2 << 20;

/// The first entry: what the backup is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the archive.
    format: u32,
    /// The program's version.
    version: String,
    /// The gateway's id.
    pub gateway: Name,
    /// When it was made, RFC 3339, by the gateway's clock.
    pub made_at: String,
    /// The last moment at which the clock was known to be right.
    known_time: Option<KnownTime>,
    /// Ids of the configured intercoms.
    pub intercoms: Vec<u64>,
    /// `gateway.state_dir`.
    pub state_dir: PathBuf,
    /// The configuration's main file, where the configuration is in the backup.
    pub configuration: Option<PathBuf>,
    /// Folders of the configuration's files that are their owner's alone.
    pub private_folders: Vec<PathBuf>,
}

/// A [`Stamp`] of a clock that was right.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KnownTime {
    /// Milliseconds since the epoch.
    time_ms: i64,
    boot: String,
    uptime_ms: u64,
}

/// What the flats are together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlatsSummary {
    /// Their revision.
    pub revision: Option<u64>,
    /// Their digest.
    pub digest: String,
    /// How many.
    pub flats: u64,
    /// Their keys.
    pub keys: u64,
    /// Their users.
    pub users: u64,
}

/// The last entry.
#[derive(Serialize, Deserialize)]
struct End {
    flats: Option<FlatsSummary>,
}

/// Writes a backup.
pub struct Writer<W: Write>(Builder<Sealer<W>>);

/// Takes the flats' document; without [`FlatsWriter::finish`] the archive has no end.
pub struct FlatsWriter<W: Write> {
    writer: Writer<W>,
    piece: Zeroizing<Vec<u8>>,
    pieces: u32,
}

/// Takes what is in a backup, in this order. What it refuses ends the reading.
pub trait Receiver {
    /// What the backup is of.
    fn begin(&mut self, manifest: &Manifest) -> anyhow::Result<()>;
    /// A file of the configuration, or one that it names.
    fn configuration(&mut self, path: &Path, content: &[u8], attributes: &Attributes) -> anyhow::Result<()>;
    /// A file of the state directory, by its path from there.
    fn state(&mut self, path: &Path, content: &[u8]) -> anyhow::Result<()>;
    /// The flats' document, where there is one. Returns what came of it.
    fn flats(&mut self, document: &mut dyn Read) -> anyhow::Result<FlatsSummary>;
}

impl Manifest {
    /// Returns that of a backup made by this program now.
    pub fn new(gateway: Name, state_dir: PathBuf, now: jiff::Timestamp) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            gateway,
            made_at: crate::domain::time::rfc3339(now),
            known_time: None,
            intercoms: Vec::new(),
            state_dir,
            configuration: None,
            private_folders: Vec::new(),
        }
    }
}

impl Manifest {
    /// Notes the last moment at which the clock was known to be right.
    pub fn set_known_time(&mut self, stamp: Option<Stamp>) {
        self.known_time = stamp.map(KnownTime::from);
    }

    /// Returns the last moment at which the clock was known to be right; `None`: never.
    pub fn known_time(&self) -> Option<Stamp> {
        self.known_time.clone().map(Stamp::from)
    }
}

impl From<Stamp> for KnownTime {
    fn from(stamp: Stamp) -> Self {
        Self {
            time_ms: stamp.time.as_millisecond(),
            boot: stamp.boot.to_string(),
            uptime_ms: stamp.uptime_ms,
        }
    }
}

impl From<KnownTime> for Stamp {
    fn from(known: KnownTime) -> Self {
        let KnownTime { time_ms, boot, uptime_ms } = known;
        // What no calendar holds is long ago: a floor that holds nothing up.
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Self { time, boot: boot.into(), uptime_ms, clock: ClockQuality::Synchronized }
    }
}

impl From<&CacheState> for FlatsSummary {
    fn from(state: &CacheState) -> Self {
        let CacheState { revision, flats, keys, users, .. } = *state;
        Self { revision, digest: state.digest.clone(), flats, keys, users }
    }
}

impl fmt::Display for FlatsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} flats, {} keys, {} users", self.flats, self.keys, self.users)
    }
}

impl<W: Write> Writer<W> {
    /// Begins a backup. Takes some tenths of a second and 32 MiB while the key is derived.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(out: W, passphrase: &str, manifest: &Manifest) -> anyhow::Result<Self> {
        let mut writer = Self(Builder::new(Sealer::new(out, passphrase)?));
        writer.add(MANIFEST, &serde_json::to_vec_pretty(manifest)?, &Attributes::private())?;
        Ok(writer)
    }

    /// Adds a file of the state directory, by its path from there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn state(&mut self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        Ok(self.add(Path::new(STATE).join(path), content, &Attributes::private())?)
    }

    /// Adds a file of the configuration by its absolute path.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configuration(&mut self, path: &Path, content: &[u8], of: &Attributes) -> anyhow::Result<()> {
        let relative =
            path.strip_prefix("/").with_context(|| format!("{} is not absolute", path.display()))?;
        Ok(self.add(Path::new(CONFIGURATION).join(relative), content, of)?)
    }

    /// Goes on to the flats.
    pub fn flats(self) -> FlatsWriter<W> {
        FlatsWriter { writer: self, piece: Zeroizing::new(Vec::with_capacity(PIECE)), pieces: 0 }
    }

    fn add(&mut self, path: impl AsRef<Path>, content: &[u8], of: &Attributes) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(of.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_username(&of.user)?;
        header.set_groupname(&of.group)?;
        self.0.append_data(&mut header, path, content)
    }
}

impl<W: Write> FlatsWriter<W> {
    /// Ends the backup: `summary` is of what was written, `None` where there are no flats at all. Returns what it was
    /// written to, neither flushed nor synced.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self, summary: Option<FlatsSummary>) -> anyhow::Result<W> {
        self.write_piece()?;
        let end = json::text(&End { flats: summary });
        self.writer.add(END, end.as_bytes(), &Attributes::private())?;
        Ok(self.writer.0.into_inner()?.finish()?)
    }

    fn write_piece(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.pieces += 1;
            let name = format!("{FLATS}/{:06}.json", self.pieces);
            self.writer.add(name, &self.piece, &Attributes::private())?;
            self.piece.clear();
        }
        Ok(())
    }
}

impl<W: Write> Write for FlatsWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE {
            self.write_piece()?;
        }
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend(bytes.iter().take(length));
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a backup to its end. Takes some tenths of a second and 32 MiB while the key is derived.
///
/// # Errors
/// It cannot be opened, is damaged or of a newer version, or the receiver refused something. What the receiver was
/// given until then is not to be used.
pub fn read(source: impl Read, passphrase: &str, receiver: &mut impl Receiver) -> anyhow::Result<()> {
    let mut archive = Archive::new(Opener::new(source, passphrase)?);
    let mut entries = archive.entries()?;
    let first = next(&mut entries)?.filter(|entry| &*entry.path_bytes() == MANIFEST.as_bytes());
    receiver.begin(&manifest(&content(&mut first.context(SealError::Foreign)?)?)?)?;
    let (flats, end) = loop {
        let mut entry = next(&mut entries)?.context(SealError::Damaged)?;
        match place(&entry.path()?)? {
            Place::State(path) => receiver.state(&path, &content(&mut entry)?)?,
            Place::Configuration(path) => {
                let attributes = Attributes::of_header(entry.header())?;
                receiver.configuration(&path, &content(&mut entry)?, &attributes)?;
            }
            Place::Flats => {
                let mut document = Document { entries: &mut entries, piece: entry, end: None };
                let taken = receiver.flats(&mut document);
                // A backup that is damaged is the reason for whatever was made of its flats.
                let rest = io::copy(&mut document, &mut io::sink());
                let flats = rest.map_err(anyhow::Error::from).and(taken)?;
                break (Some(flats), document.end.context(SealError::Damaged)?);
            }
            Place::End => break (None, content(&mut entry)?),
        }
    };
    let end: End = json::from_slice(&end).map_err(|_| SealError::Damaged)?;
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    ensure!(flats == end.flats, "the flats in it are not those that it was made of: take another backup");
    Ok(())
}

/// The pieces of the flats, one after the other, and what comes behind them.
struct Document<'a, 'b, R: Read> {
    entries: &'b mut Entries<'a, R>,
    piece: Entry<'a, R>,
    end: Option<Zeroizing<Vec<u8>>>,
}

impl<R: Read> Read for Document<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.end.is_none() {
            let length = self.piece.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let damaged = || io::Error::from(SealError::Damaged);
            let mut entry = next(self.entries)?.ok_or_else(damaged)?;
            match place(&entry.path()?).map_err(io::Error::other)? {
                Place::Flats => self.piece = entry,
                Place::End => self.end = Some(content(&mut entry)?),
                Place::State(_) | Place::Configuration(_) => return Err(damaged()),
            }
        }
        Ok(0)
    }
}

/// What a name in the archive stands for.
enum Place {
    State(PathBuf),
    Configuration(PathBuf),
    Flats,
    End,
}

fn place(name: &Path) -> anyhow::Result<Place> {
    let unknown = || {
        format!(
            "it holds {}, which this version does not know: restore it with a newer version",
            name.display()
        )
    };
    let mut components = name.components();
    let is_plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(is_plain, unknown());
    let head = components.next().map(|head| head.as_os_str());
    let rest = components.as_path();
    let is_state = || {
        let parts: Vec<_> = rest.iter().filter_map(|part| part.to_str()).collect();
        match parts.as_slice() {
            [file] => STATE_FILES.contains(file),
            [folder, _] => STATE_FOLDERS.contains(folder),
            _ => false,
        }
    };
    Ok(match head.and_then(|head| head.to_str()) {
        Some(STATE) if is_state() => Place::State(rest.to_owned()),
        Some(CONFIGURATION) if !rest.as_os_str().is_empty() => {
            Place::Configuration(Path::new("/").join(rest))
        }
        Some(FLATS) => Place::Flats,
        Some(END) => Place::End,
        _ => bail!(unknown()),
    })
}

fn manifest(text: &[u8]) -> anyhow::Result<Manifest> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
        version: String,
    }
    let Format { format, version } = json::from_slice(text).map_err(|_| SealError::Foreign)?;
    ensure!(
        format <= FORMAT,
        "it was made by version {version}, whose backups this version does not know: install that version, or a newer one"
    );
    Ok(json::from_slice(text).map_err(|_| SealError::Damaged)?)
}

fn next<'a, R: Read>(entries: &mut Entries<'a, R>) -> io::Result<Option<Entry<'a, R>>> {
    entries.next().transpose()
}

fn content(entry: &mut Entry<'_, impl Read>) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = usize::try_from(entry.size().min(LARGEST)).unwrap_or_default();
    if entry.size() > LARGEST {
        return Err(SealError::Damaged.into());
    }
    // All at once: what a growing vector leaves behind in memory would not be wiped.
    let mut content = Zeroizing::new(Vec::with_capacity(size + 1));
    entry.read_to_end(&mut content)?;
    Ok(content)
}

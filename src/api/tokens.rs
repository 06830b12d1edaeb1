//! API tokens: who may ask (contract §3).
//!
//! ```text
//! add, revoke ─► tokens.json (fsync, rename) ─► list in memory, swapped whole ─► verify
//!                                            └► changes(): streams look whether their token is still in force
//! ```
//! Invariants:
//! - A token is shown once, by [`Tokens::add`]; only its SHA-256 is kept. 256 random bits need no salt and no slow
//!   hash: there is nothing to guess them from.
//! - A new token counts once it is on disk. A revoked one stops counting at once, even where the disk refuses.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::domain::{Name, json, name::InvalidName, time::rfc3339};
use crate::sys::files::write_private;

/// What tokens begin with, so that one that got out is recognised by people and by scanners for secrets.
const PREFIX: &str = "igw_";

/// Most tokens: every request is compared with all of them.
const MAX_TOKENS: usize = 256;

type Hash = [u8; 32];

/// A token as it is listed; the token itself is not known.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its name.
    pub name: Name,
    /// When it was made, by this gateway's clock.
    pub created: Timestamp,
    /// Whether it opens no doors.
    pub read_only: bool,
    hash: Hash,
}

impl fmt::Debug for TokenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenInfo").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why tokens could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file could not be read.
    #[error("cannot read the API tokens in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what this program wrote.
    #[error(
        "{} holds no API tokens ({problem}): restore it, or delete it and add the tokens again", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file could not be read when the daemon started, and what it holds is not to be lost.
    #[error("the API tokens in {} could not be read at the start ({cause}): set that right and restart the daemon", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file could not be written.
    #[error("cannot write the API tokens to {}: {source}{}", path.display(), until_restart(*.revoked))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// It was a revocation, which is in force all the same, until the next start.
        revoked: bool,
    },
    /// The name cannot be used.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// There is one of that name.
    #[error("there is a token {0} already: choose another name, or revoke that one first")]
    Exists(Name),
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens already, the most: revoke one that is not used any more")]
    TooMany,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

fn until_restart(revoked: bool) -> &'static str {
    if revoked {
        "; the token is revoked until the next start only: free some space and revoke it again"
    } else {
        ""
    }
}

/// All tokens; cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Why the file could not be read: nothing is written to it then.
    unread: Option<String>,
    list: ArcSwap<Vec<TokenInfo>>,
    /// Held for the length of a change.
    changing: Mutex<()>,
    generation: watch::Sender<u64>,
}

/// `tokens.json`.
#[derive(Serialize, Deserialize)]
struct File {
    tokens: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: Name,
    sha256: String,
    created: String,
    read_only: bool,
}

impl Tokens {
    /// Reads the tokens of `path`; no file: none. Blocks on the disk.
    ///
    /// # Errors
    /// [`TokensError::Read`], [`TokensError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let list = match fs::read(path) {
            Ok(content) => parse(&content)
                .map_err(|problem| TokensError::Damaged { path: path.to_path_buf(), problem })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TokensError::Read { path: path.to_path_buf(), source }),
        };
        Ok(Self::with(path, list, None))
    }

    /// Returns no tokens, and takes none, in place of those of a file that cannot be read.
    pub fn unread(path: &Path, cause: String) -> Self {
        Self::with(path, Vec::new(), Some(cause))
    }

    fn with(path: &Path, list: Vec<TokenInfo>, unread: Option<String>) -> Self {
        Self(Arc::new(Inner {
            path: path.to_path_buf(),
            unread,
            list: ArcSwap::from_pointee(list),
            changing: Mutex::new(()),
            generation: watch::Sender::new(0),
        }))
    }

    /// Makes a token and returns it: the only time that it can be seen. Blocks on the disk.
    ///
    /// # Errors
    /// The name is no [`Name`] or taken, or the file cannot be written, or could not be read; nothing has changed then.
    pub fn add(&self, name: &str, read_only: bool, now: Timestamp) -> Result<Zeroizing<String>, TokensError> {
        let name = Name::new(name)?;
        if let Some(cause) = self.0.unread.clone() {
            return Err(TokensError::Unread { path: self.0.path.clone(), cause });
        }
        let _alone = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = self.0.list.load().to_vec();
        if list.iter().any(|token| token.name == name) {
            return Err(TokensError::Exists(name));
        }
        if list.len() >= MAX_TOKENS {
            return Err(TokensError::TooMany);
        }
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut()).map_err(TokensError::Random)?;
        let token = Zeroizing::new(format!("{PREFIX}{}", hex::encode(secret.as_ref())));
        list.push(TokenInfo { name, created: now, read_only, hash: hash(&token) });
        self.write(&list).map_err(|source| self.write_error(source, false))?;
        self.bring_into_force(list);
        Ok(token)
    }

    /// The tokens, in the order in which they were made.
    pub fn list(&self) -> Vec<TokenInfo> {
        self.0.list.load().to_vec()
    }

    /// Revokes a token; `false`: there is none of that name. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be written: the token is in force no more, but would be again after a restart.
    pub fn revoke(&self, name: &str) -> Result<bool, TokensError> {
        let _alone = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.0.list.load();
        let list: Vec<_> = before.iter().filter(|token| token.name.as_str() != name).cloned().collect();
        let found = list.len() < before.len();
        if found {
            let written = self.write(&list);
            self.bring_into_force(list);
            written.map_err(|source| self.write_error(source, true))?;
        }
        Ok(found)
    }

    /// Whose token it is; `None`: nobody's. Takes the same time whichever token, or none, it is.
    pub fn verify(&self, bearer: &str) -> Option<TokenInfo> {
        let hash = hash(bearer);
        let list = self.0.list.load();
        let mut found = None;
        for token in list.iter() {
            if bool::from(token.hash.ct_eq(&hash)) {
                found = Some(token);
            }
        }
        found.cloned()
    }

    /// Whether a token that was verified earlier is still in force.
    pub fn in_force(&self, token: &TokenInfo) -> bool {
        self.0.list.load().iter().any(|known| known.hash == token.hash)
    }

    /// A notice of every change of the tokens.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }

    fn write(&self, list: &[TokenInfo]) -> io::Result<()> {
        let tokens = list.iter().map(|token| Entry {
            name: token.name.clone(),
            sha256: hex::encode(token.hash),
            created: rfc3339(token.created),
            read_only: token.read_only,
        });
        let mut content = serde_json::to_vec_pretty(&File { tokens: tokens.collect() })?;
        content.push(b'\n');
        write_private(&self.0.path, &content)
    }

    fn bring_into_force(&self, list: Vec<TokenInfo>) {
        self.0.list.store(Arc::new(list));
        self.0.generation.send_modify(|generation| *generation += 1);
    }

    fn write_error(&self, source: io::Error, revoked: bool) -> TokensError {
        TokensError::Write { path: self.0.path.clone(), source, revoked }
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

fn parse(content: &[u8]) -> Result<Vec<TokenInfo>, String> {
    let file: File = json::from_slice(content).map_err(|error| error.to_string())?;
    let token = |entry: Entry| {
        let mut hash = Hash::default();
        hex::decode_to_slice(&entry.sha256, &mut hash)
            .map_err(|_| format!("sha256 of {} is not 64 hex digits", entry.name))?;
        let created = entry.created.parse().map_err(|_| format!("created of {} is no time", entry.name))?;
        Ok(TokenInfo { name: entry.name, created, read_only: entry.read_only, hash })
    };
    file.tokens.into_iter().map(token).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_token_counts_at_once_and_after_a_restart_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let tokens = Tokens::open(&path).unwrap();
        let token = tokens.add("installer", true, NOW).unwrap();
        assert_eq!(token.len(), PREFIX.len() + 64, "256 bits");
        let info = tokens.verify(&token).unwrap();
        assert_eq!((info.name.as_str(), info.read_only), ("installer", true));
        assert!(tokens.verify(&token[..token.len() - 1]).is_none() && tokens.verify("").is_none());

        let mut changes = tokens.changes();
        let again = Tokens::open(&path).unwrap();
        assert_eq!(again.list(), tokens.list());
        assert!(again.verify(&token).is_some());
        assert!(tokens.revoke("installer").unwrap());
        assert!(!tokens.revoke("installer").unwrap(), "only once");
        assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == 2);
        assert!(tokens.verify(&token).is_none() && !tokens.in_force(&info));
        assert!(Tokens::open(&path).unwrap().list().is_empty());
    }

    #[test]
    fn a_file_that_could_not_be_read_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let token = Tokens::open(&path).unwrap().add("kept", false, NOW).unwrap();
        let unread = Tokens::unread(&path, "I/O error".into());
        assert!(unread.verify(&token).is_none());
        let refused = unread.add("new", false, NOW).unwrap_err().to_string();
        assert!(refused.contains("I/O error") && refused.contains("restart"), "{refused}");
        assert!(Tokens::open(&path).unwrap().verify(&token).is_some());
    }

    #[test]
    fn the_file_is_private_and_holds_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let token = Tokens::open(&path).unwrap().add("a", false, NOW).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let content = fs::read_to_string(&path).unwrap();
        assert!(!content.contains(&token[PREFIX.len()..]) && content.contains("\"created\": \"1970-"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no file is left behind");
    }

    #[test]
    fn names_are_checked_and_unique_and_a_new_token_of_an_old_name_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("tokens.json")).unwrap();
        assert!(matches!(tokens.add("No Name", false, NOW), Err(TokensError::Name(_))));
        let first = tokens.add("a", false, NOW).unwrap();
        let info = tokens.verify(&first).unwrap();
        assert!(matches!(tokens.add("a", false, NOW), Err(TokensError::Exists(_))));
        tokens.revoke("a").unwrap();
        tokens.add("a", false, NOW).unwrap();
        assert!(!tokens.in_force(&info));
    }

    #[test]
    fn a_disk_that_refuses_adds_nothing_but_revokes() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        let tokens = Tokens::open(&state.join("tokens.json")).unwrap();
        let token = tokens.add("a", false, NOW).unwrap();
        fs::remove_dir_all(&state).unwrap();
        assert!(matches!(tokens.add("b", false, NOW), Err(TokensError::Write { revoked: false, .. })));
        assert_eq!(tokens.list().len(), 1);
        let error = tokens.revoke("a").unwrap_err().to_string();
        assert!(error.contains("until the next start"), "{error}");
        assert!(tokens.verify(&token).is_none());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        for content in
            ["", "[]", r#"{"tokens":[{"name":"a","sha256":"00","created":"x","read_only":false}]}"#]
        {
            fs::write(&path, content).unwrap();
            let error = Tokens::open(&path).err().unwrap().to_string();
            assert!(error.contains("tokens.json") && error.contains("delete it"), "{error}");
        }
    }
}

//! The control socket: how commands reach a running daemon (contract §1).
//!
//! One request a connection: a line of JSON ([`Request`]), for `import` followed by the document to the end of the
//! stream. The answer is a line of JSON, `{"ok":…}` or `{"error":"a sentence"}`, for `export`, `backup` and `journal`
//! followed by what was asked for. Who may open the socket, in a directory of its owner's alone, may do everything.

mod certify;
mod client;
mod scan;
mod serve;

use std::{
    fs, io,
    num::NonZeroU16,
    os::unix::{fs::PermissionsExt, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

pub use client::{Answer, Client};
pub use serve::Control;

use crate::{
    api::TokenInfo,
    domain::{Name, time::rfc3339},
};

/// Longest request line, bytes.
const LONGEST_REQUEST: usize = 4096;

/// What may be asked of a running daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// The flat document; `flat` is the record id, or with `by_number` the number on the door.
    Flat {
        /// The intercom.
        intercom: u64,
        /// Record id or number.
        flat: u64,
        /// Which of the two.
        by_number: bool,
    },
    /// Replaces the cache by the document that follows.
    Import,
    /// The cache as a document.
    Export,
    /// As `Export`, and behind it a line that says what the flats are together ([`crate::backup::FlatsSummary`]).
    Backup,
    /// Events from a sequence on, one JSON object a line.
    Journal {
        /// First sequence.
        from: u64,
        /// Go on with new ones until the caller hangs up.
        follow: bool,
    },
    /// Re-arms pairing of a panel.
    Pair {
        /// The panel.
        panel: Name,
    },
    /// Has a panel blink and beep.
    Identify {
        /// The panel.
        panel: Name,
        /// How long, in units of 100 ms.
        tenths: NonZeroU16,
    },
    /// Finds what hangs on a bus besides its panels; lines follow, each an object of `scan`, or how far it is.
    Scan {
        /// The bus.
        bus: Name,
        /// Whether each address is asked a second time, and in another way.
        thorough: bool,
    },
    /// Measures a bus; how far it is and the certificate follow, a line each.
    Certify {
        /// The bus.
        bus: Name,
    },
    /// Applies the configuration of the file.
    Reload,
    /// Tries the configuration that follows.
    Apply {
        /// What the caller calls it.
        name: PathBuf,
        /// How long it is tried.
        seconds: u64,
    },
    /// What is on trial, to be confirmed: an [`OnTrial`](crate::gateway::reload::OnTrial), or null. It is not put back for
    /// half a minute.
    OnTrial,
    /// Puts back what was in force before the trial.
    Abort,
    /// Makes an API token; the answer is the token.
    TokenAdd {
        /// Its name.
        name: Name,
        /// Whether it opens no doors.
        read_only: bool,
    },
    /// Lists the API tokens.
    TokenList,
    /// Takes an API token back.
    TokenRevoke {
        /// Its name.
        name: Name,
    },
}

/// An API token as it is listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListedToken {
    /// Its name.
    pub name: Name,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Whether it opens no doors.
    pub read_only: bool,
}

impl From<TokenInfo> for ListedToken {
    fn from(token: TokenInfo) -> Self {
        Self { name: token.name, created: rfc3339(token.created), read_only: token.read_only }
    }
}

/// The line that answers a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Ok(serde_json::Value),
    Error(String),
}

/// Refuses to go on where a daemon answers.
///
/// # Errors
/// Another daemon runs on this state directory.
pub fn refuse_a_second(path: &Path) -> anyhow::Result<()> {
    if StdUnixStream::connect(path).is_ok() {
        anyhow::bail!("another daemon is running with this state_dir: it answers on {}", path.display());
    }
    Ok(())
}

/// Makes the socket. One left by a daemon that was killed is removed; one that answers is somebody's.
///
/// # Errors
/// Another daemon runs on this state directory, or the socket cannot be made.
pub fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    refuse_a_second(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the old socket {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot make the control socket {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect the control socket {}", path.display()))?;
    Ok(listener)
}

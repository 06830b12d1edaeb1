//! The control socket: how commands reach a running daemon (contract §1).
//!
//! One request a connection: a line of JSON ([`Request`]), for `import` followed by the document to the end of the
//! stream. The answer is a line of JSON, `{"ok":…}` or `{"error":"a sentence"}`, for `export`, `backup`, `journal`,
//! `lately` and `watch` followed by what was asked for. Who may open the socket, in a directory of its owner's alone, may do everything. Beside
//! it the service has a socket for a group, [`Sockets::status`], where nothing can be changed.

mod certify;
mod client;
mod journal;
mod lately;
mod scan;
mod serve;
mod watch;

use std::{
    fs, io,
    num::NonZeroU16,
    os::unix::{fs::PermissionsExt, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

pub(in crate::gateway) use certify::BASELINES;
pub use client::{Answer, Client};
pub use serve::Control;

use crate::{
    api::TokenInfo,
    domain::{EventFilter, Name, time::rfc3339},
    store::{JournalReader, StoreError},
};

/// Longest request line, bytes.
const LONGEST_REQUEST: usize = 4096;

/// What may be asked of a running daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Recorded events, one JSON object a line.
    Journal(JournalAsked),
    /// Examines the installation: a list of [`Check`](crate::domain::Check)s.
    Doctor,
    /// What `/metrics` says of all but the endpoint itself.
    Metrics,
    /// How everything is, the last events, and then what happens, an object a line as `monitor --json` prints them, and
    /// `gap` and `end` as over HTTP.
    Watch {
        /// How many events from before.
        events: u64,
    },
    /// What went over a bus in the last ten minutes, as far as it is in memory and without what opens doors: what the recording
    /// is called, and the recording.
    Lately {
        /// The bus.
        bus: Name,
    },
    /// Re-arms pairing of a panel.
    Pair {
        /// The panel.
        panel: Name,
    },
    /// Sets another key in a panel's session.
    Rekey {
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
        /// At the other rates as well.
        #[serde(default)]
        rates: bool,
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

/// Which of the recorded events are asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalAsked {
    /// First sequence; `None`: the first one, or what `limit` says.
    pub from: Option<u64>,
    /// Go on with new ones until the caller hangs up.
    pub follow: bool,
    /// Which of them.
    pub filter: EventFilter,
    /// How many: the first ones from `from` on; without it the newest ones, and with `follow` all that come after them.
    pub limit: Option<u64>,
}

/// Where to begin to read, and how many events there are to be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// First sequence to look at.
    pub from: u64,
    /// Most events.
    pub left: u64,
}

impl JournalAsked {
    /// Returns where to begin to read. Blocks for as long as it takes to look at all events.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn beginning(&self, reader: &JournalReader) -> Result<Beginning, StoreError> {
        let limit = self.limit.unwrap_or(u64::MAX);
        let (Some(count), None) = (self.limit, self.from) else {
            return Ok(Beginning { from: self.from.unwrap_or(1).max(1), left: limit });
        };
        let from = match reader.newest_from(&self.filter, count)? {
            Some(from) => from,
            None => reader.position_on_disk()?.last + 1,
        };
        Ok(Beginning { from, left: if self.follow { u64::MAX } else { limit } })
    }
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

/// Where the daemon serves commands.
pub struct Sockets {
    /// For the daemon's own user and root: everything.
    pub control: PathBuf,
    /// For the group of the service: what only reads. `None`: the daemon was started by hand.
    pub status: Option<PathBuf>,
}

impl Request {
    /// Returns whether it changes nothing, and tells what a group of people may see.
    fn only_looks(&self) -> bool {
        matches!(self, Self::Doctor | Self::Watch { .. } | Self::Lately { .. })
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Everything.
    Everything,
    /// What [`Request::only_looks`].
    Looking,
}

impl For {
    fn mode(self) -> u32 {
        match self {
            Self::Everything => 0o600,
            Self::Looking => 0o660,
        }
    }
}

/// Makes a socket. One left by a daemon that was killed is removed; one that answers is somebody's.
///
/// # Errors
/// Another daemon runs on this state directory, or the socket cannot be made.
fn listen(path: &Path, what_for: For) -> anyhow::Result<UnixListener> {
    refuse_a_second(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the old socket {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot make the control socket {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(what_for.mode()))
        .with_context(|| format!("cannot protect the control socket {}", path.display()))?;
    Ok(listener)
}

//! How the gateway is, for those who ask from outside.

use serde::Serialize;

/// The answer of `/healthz` (contract §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// A vital loop is dead: the process is about to be restarted.
    pub dead: bool,
    /// What is not as it should be, a sentence each; empty: all is well.
    pub reasons: Vec<String>,
}

/// How the connection to the cloud is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UplinkStatus {
    /// Whether the configuration has an `[mqtt]`.
    pub configured: bool,
    /// Whether the broker has accepted us.
    pub connected: bool,
    /// Why not, or why events are not delivered although it has: a sentence.
    pub error: Option<String>,
    /// Why a `status` or `events/committed` that claims more than there is was ignored lately: a sentence.
    pub ignored: Option<String>,
    /// Connections made since the start.
    pub connections: u64,
    /// Events published since the start, resends included.
    pub published: u64,
    /// Events confirmed since the start.
    pub confirmed: u64,
    /// Events sent back: nobody subscribed, or refused.
    pub refused: u64,
    /// Commands performed since the start.
    pub commands: u64,
    /// Messages on `commands` that were not obeyed since the start.
    pub commands_refused: u64,
}

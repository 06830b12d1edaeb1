//! Words for panels that more than one room uses.

use serde::{Deserialize, Serialize};

/// The state of a panel as outsiders see it (contract §4, `panels/{panel}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PanelState {
    /// It answers, and as securely as the configuration demands.
    Online,
    /// No valid reply for 8 s (OSDP), or none since the start.
    Offline,
    /// It answers, but not over the secure channel that the configuration demands: nothing opens.
    Insecure,
    /// No panel of the configuration.
    Unconfigured,
}

/// Which state of an output releases the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputActive {
    /// Energised: the door opens (a strike that needs current to open).
    #[default]
    On,
    /// De-energised: the door opens (a magnet that needs current to hold).
    Off,
}

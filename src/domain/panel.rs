//! Words for panels that more than one room uses.

use serde::{Deserialize, Serialize};

#[cfg(test)]
use super::schema;
use super::{
    Name, Trouble,
    time::{as_optional_rfc3339, as_rfc3339},
};

/// The state of a panel as outsiders see it (contract §4, `panels/{panel}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PanelState {
    /// It answers POLL, and as securely as the configuration demands.
    Online,
    /// Nothing was heard of it for 8 s, or in plaintext no POLL was answered in order for as long.
    Offline,
    /// It is heard, but answers no POLL in the secure channel that the configuration demands: nothing opens.
    Insecure,
    /// No panel of the configuration.
    Unconfigured,
}

/// Which state of an output releases the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputActive {
    /// Energised: the door opens (a strike that needs current to open).
    On,
    /// De-energised: the door opens (a magnet that needs current to hold).
    Off,
}

/// How a panel is (contract §4, `panels/{panel}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Panel"))]
pub struct PanelStatus {
    /// Its name.
    pub panel: Name,
    /// Its intercom.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// Its state.
    pub state: PanelState,
    /// Since when it has this state.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    pub since: jiff::Timestamp,
    /// When it last answered.
    #[serde(serialize_with = "as_optional_rfc3339")]
    #[cfg_attr(test, schemars(with = "Option<schema::Time>"))]
    pub last_seen: Option<jiff::Timestamp>,
    /// Whether its case (or a reader's) is open; `None`: not told.
    pub tamper: Option<bool>,
    /// Whether its power has failed; `None`: not told.
    pub power_failed: Option<bool>,
    /// Where its door is; `None`: it has no contact, or what the contact says is not known: the panel is not online, has
    /// not told yet, or the wire is short or cut.
    pub door: Option<DoorPosition>,
    /// Whether the door is open, and has been for longer than `held_after`.
    pub held: bool,
    /// What is wrong; `serde` writes it as `error`, a sentence, and `error_code`.
    #[serde(flatten, serialize_with = "as_error")]
    #[cfg_attr(test, schemars(with = "PanelError"))]
    pub trouble: Option<Trouble>,
    /// What the device says of itself.
    #[serde(skip)]
    pub device: Option<Device>,
    /// What the device says it has.
    #[serde(skip)]
    pub capabilities: Capabilities,
}

/// What a device says it has (PDCAP); `None`: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Inputs, numbered from 0.
    pub inputs: Option<u8>,
    /// Outputs, numbered from 0.
    pub outputs: Option<u8>,
    /// Readers, numbered from 0.
    pub readers: Option<u8>,
    /// Whether it has a light or a sound.
    pub shows: Option<bool>,
}

impl PanelStatus {
    /// Returns the status of a panel of which nothing else is known.
    pub fn new(panel: Name, intercom: u64, state: PanelState, since: jiff::Timestamp) -> Self {
        Self {
            panel,
            intercom,
            state,
            since,
            last_seen: None,
            tamper: None,
            power_failed: None,
            door: None,
            held: false,
            trouble: None,
            device: None,
            capabilities: Capabilities::default(),
        }
    }
}

/// Where a door is, by its contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum DoorPosition {
    Open,
    Closed,
}

/// A trouble as outsiders read it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PanelError {
    /// A sentence for the installer.
    error: Option<String>,
    /// The same as a word for programs; the README lists them.
    error_code: Option<&'static str>,
}

/// Writes the contract's two fields of a trouble, both null for a panel that is well.
fn as_error<S: serde::Serializer>(trouble: &Option<Trouble>, serializer: S) -> Result<S::Ok, S::Error> {
    let error = trouble.as_ref().map(ToString::to_string);
    PanelError { error, error_code: trouble.as_ref().map(Trouble::code) }.serialize(serializer)
}

/// What a device says of itself, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Device {
    /// Maker, model and version.
    pub model: String,
    /// Maker, as far as the device tells; part of `model`, too.
    #[serde(skip)]
    pub vendor: Option<String>,
    /// Firmware version; `None`: the device does not tell.
    pub firmware: Option<String>,
    /// Serial number, upper-case hex; `None`: the device does not tell.
    pub serial: Option<String>,
}

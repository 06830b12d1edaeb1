//! Events: what happened at the building, in the contract's words (contract §5).
//!
//! An [`Occurrence`] is an event that has no place in a journal yet; a [`StoredEvent`](super::StoredEvent) has one.

use serde::{Deserialize, Serialize};

#[cfg(test)]
use super::schema;
use super::{ErrorCode, KeyCode, LineState, Name, Stamp, SyncError, json};

/// One list of all types: the variant with its own data, and the type's name.
macro_rules! events {
    ($($(#[doc = $description:literal])+ $variant:ident($data:ident) = $kind:literal,)*) => {
        /// The type of an event and its own data; `serde` writes the data.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum EventBody {
            $($(#[doc = $description])+ $variant($data),)*
        }

        impl EventBody {
            /// The names of all types.
            pub const KINDS: &'static [&'static str] = &[$($kind,)*];

            /// The type's name, `intercom.key.swiped`, …
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// Adds the schemas of all types.
            #[cfg(test)]
            pub(crate) fn describe(schemas: &mut super::schema::Schemas) {
                $(super::schema::event::<$data>(schemas, $kind, concat!($($description,)+));)*
            }
        }
    };
}

events! {
    /// A credential was read and decided upon.
    KeySwiped(KeySwiped) = "intercom.key.swiped",
    /// Something was entered at a keypad of an intercom that has no codes.
    KeypadEntered(KeypadEntered) = "intercom.keypad.entered",
    /// Something was entered at a keypad of an intercom that has codes, and decided upon.
    CodeEntered(CodeEntered) = "intercom.code.entered",
    /// A panel took an unlock.
    DoorUnlocked(DoorUnlocked) = "intercom.door.unlocked",
    /// A panel did not take an unlock in time, or refused it.
    DoorUnlockFailed(DoorUnlockFailed) = "intercom.door.unlock_failed",
    /// The door contact opened after an unlock or within the grace of the exit button.
    DoorOpened(DoorMoved) = "intercom.door.opened",
    /// The door contact closed.
    DoorClosed(DoorMoved) = "intercom.door.closed",
    /// The door contact opened without an unlock.
    DoorForced(DoorMoved) = "intercom.door.forced",
    /// The door stood open for longer than `held_after`.
    DoorHeld(DoorMoved) = "intercom.door.held",
    /// A line's state changed.
    LineChanged(LineChanged) = "intercom.line.changed",
    /// A row or column of a matrix went wrong at once, or is well again.
    LineWiring(LineWiring) = "intercom.line.wiring",
    /// A supervised input changed.
    InputChanged(InputChanged) = "intercom.input.changed",
    /// A panel answers POLL again, or for the first time, and as securely as configured.
    PanelOnline(PanelAt) = "intercom.panel.online",
    /// A panel is no longer online, or was not at the first look after the start; the cause says what is wrong.
    PanelOffline(PanelCause) = "intercom.panel.offline",
    /// A panel's case or its reader was opened, or closed again.
    PanelTamper(PanelFlag) = "intercom.panel.tamper",
    /// A panel's power failed, or returned.
    PanelPower(PanelFlag) = "intercom.panel.power",
    /// A secure channel with the panel's own key was set up.
    PanelSecured(PanelAt) = "intercom.panel.secured",
    /// Another device answers at the panel's address: once an hour for a serial number, three times an hour at most;
    /// more is suspect.
    PanelReplaced(PanelSerial) = "intercom.panel.replaced",
    /// Something on the line pretends to be the panel, or guesses: once a minute at most for each cause.
    PanelSuspect(PanelSuspect) = "intercom.panel.suspect",
    /// The daemon has started.
    GatewayStarted(GatewayStarted) = "gateway.started",
    /// The daemon is about to end.
    GatewayStopping(GatewayStopping) = "gateway.stopping",
    /// The wall clock was set.
    ClockStepped(ClockStepped) = "gateway.clock.stepped",
    /// A new revision of flats, keys and users is in force.
    SyncApplied(SyncApplied) = "gateway.sync.applied",
    /// Flats from the cloud were refused; the last good revision stays in force.
    SyncRejected(SyncRejected) = "gateway.sync.rejected",
    /// Somebody claimed to know more of this journal than there is, and nothing followed from it: once a minute at most.
    CommittedIgnored(CommittedIgnored) = "gateway.committed.ignored",
    /// Undelivered events had to go (contract §5), or were lost before they could be written.
    JournalPruned(JournalPruned) = "gateway.journal.pruned",
}

/// Data of `intercom.key.swiped`. Contains a key number: not for logs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeySwiped {
    /// The panel.
    pub panel: Name,
    /// Its intercom.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// Reader number at the panel.
    pub reader: u8,
    /// The code as the cloud writes it; null where the credential is unreadable.
    pub key: Option<KeyCode>,
    /// What the reader sent, upper-case hex, byte order as read.
    pub raw: RawCredential,
    /// Significant bits of `raw`.
    pub bits: u16,
    /// Whether the door was told to open.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// All flats of the building that have a record of this key, in order of (intercom, id).
    pub flats: Vec<FlatRef>,
    /// Id of the key record that decided.
    #[cfg_attr(test, schemars(with = "Option<schema::Id>"))]
    pub key_id: Option<u64>,
    /// Id of that record's user.
    #[cfg_attr(test, schemars(with = "Option<schema::Id>"))]
    pub user_id: Option<u64>,
    /// The key is unknown, but its bytes in reverse order are a known key: `key_order` is probably wrong.
    pub reversed_known: bool,
    /// Revision of the flats that were in force; null where none was ever set.
    pub revision: Option<u64>,
}

/// What a reader sent, as upper-case hex; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RawCredential(pub String);

impl std::fmt::Debug for RawCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawCredential(redacted)")
    }
}

/// Whether a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The door was told to open.
    Granted,
    /// It was not.
    Denied,
}

/// Why a key was granted or denied (contract §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SwipeReason"))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A record of a flat of this intercom allows it.
    KeyKnown,
    /// No record has this code.
    KeyUnknown,
    /// No record of this intercom allows it, and the user of the lowest has expired.
    UserExpired,
    /// No record of this intercom allows it, and the user of the lowest may not open by key at its flat.
    NotPermitted,
    /// Known, but only on flats of other intercoms.
    OtherIntercom,
    /// No flats are in force at all.
    CacheEmpty,
    /// Parity or length is wrong.
    Unreadable,
    /// Not certainly read just now: before the first ACK to a POLL of a new link, or while the last POLL that was answered by
    /// ACK, on a link as secure as configured, was first sent more than 3 s ago (twice the bus's cycle where that is longer,
    /// 6 s at most).
    Stale,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::KeyKnown,
        Self::KeyUnknown,
        Self::UserExpired,
        Self::NotPermitted,
        Self::OtherIntercom,
        Self::CacheEmpty,
        Self::Unreadable,
        Self::Stale,
    ];
}

/// A flat that has a record of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlatRef {
    /// Record id.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub id: u64,
    /// Number on the door.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub flat: u64,
}

/// Data of `intercom.keypad.entered`.
#[derive(Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct KeypadEntered {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub reader: u8,
    /// The digits, without `*` and `#`, not for logs. Null while they may be a code: the flats cannot be read, or it
    /// is less than 30 days since the intercom had its last code.
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9]*$")))]
    pub digits: Option<String>,
}

impl std::fmt::Debug for KeypadEntered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeypadEntered").field("panel", &self.panel).finish_non_exhaustive()
    }
}

/// Data of `intercom.code.entered`: what was typed is in no event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CodeEntered {
    /// The panel.
    pub panel: Name,
    /// Its intercom.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// Reader number at the panel.
    pub reader: u8,
    /// Whether the door was told to open.
    pub decision: Decision,
    /// Why.
    pub reason: CodeReason,
    /// Id of the code; null where it is unknown, or was not looked at (`blocked`, `stale`).
    #[cfg_attr(test, schemars(with = "Option<schema::Id>"))]
    pub code_id: Option<u64>,
    /// The flat that has it; empty where `code_id` is null.
    pub flats: Vec<FlatRef>,
    /// Revision of the flats that were in force; null where none was ever set.
    pub revision: Option<u64>,
}

/// Why a code was granted or denied (contract §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CodeReason {
    /// A flat of this intercom has it, and it opens.
    CodeKnown,
    /// No flat of this intercom has it.
    CodeUnknown,
    /// The code or its user has expired.
    CodeExpired,
    /// Its user may not open by code at this flat.
    NotPermitted,
    /// It was not looked at: too many unknown codes were entered at this reader.
    Blocked,
    /// It has an expiry date, and the time was never known.
    Clock,
    /// It was not looked at: a part of it was not certainly typed just now, as in `intercom.key.swiped`.
    Stale,
}

impl CodeReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CodeKnown,
        Self::CodeUnknown,
        Self::CodeExpired,
        Self::NotPermitted,
        Self::Blocked,
        Self::Clock,
        Self::Stale,
    ];
}

/// Who asked for an unlock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnlockedBy {
    /// What kind of cause.
    pub kind: UnlockKind,
    /// Key record id, code id, command id or token name; null for the exit button.
    pub id: Option<UnlockId>,
}

/// What identifies the cause of an unlock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum UnlockId {
    /// Id of a key record or of a code.
    Number(u64),
    /// Id of a command, or the name of a token.
    Text(String),
}

/// The kinds of causes of an unlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnlockKind {
    /// A known key.
    Key,
    /// A known code.
    Code,
    /// An MQTT command.
    Command,
    /// The HTTP endpoint, with an API token.
    Token,
    /// The exit button.
    Exit,
}

/// Data of `intercom.door.unlocked`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct DoorUnlocked {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub by: UnlockedBy,
    /// Seconds that the output stays active.
    #[cfg_attr(test, schemars(range(min = 0.1)))]
    pub duration: f64,
}

/// Data of `intercom.door.unlock_failed`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct DoorUnlockFailed {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub by: UnlockedBy,
    /// Seconds that the output would have stayed active.
    #[cfg_attr(test, schemars(range(min = 0.1)))]
    pub duration: f64,
    /// `unconfirmed`, `panel_offline`, `insecure`, `refused` or `interrupted`.
    pub cause: ErrorCode,
}

/// Data of the door contact's events.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct DoorMoved {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// The unlock that it follows, or null.
    pub by: Option<UnlockedBy>,
}

/// Data of `intercom.line.changed`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct LineChanged {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// Number on the door.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub flat: u64,
    /// Record id; null where the cloud has no such flat.
    #[cfg_attr(test, schemars(with = "Option<schema::Id>"))]
    pub flat_id: Option<u64>,
    pub from: LineState,
    pub to: LineState,
    /// The register as read; null where it was not.
    pub raw: Option<u16>,
    /// Scaled, in `unit`; null where `raw` is no measurement.
    pub value: Option<f64>,
    pub unit: String,
}

/// Data of `intercom.line.wiring`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct LineWiring {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// The lines of the row or column, or all of the cabinet's, by their numbers at the panel. A fault told of before
    /// that has only lines of these goes on as part of this one and is not told of as cleared by itself.
    #[cfg_attr(test, schemars(inner(range(min = 1))))]
    pub lines: Vec<u16>,
    /// What they all became.
    pub state: LineState,
    /// They are well again, or no longer all of them wrong.
    pub cleared: bool,
}

/// State of a supervised input (OSDP 2.2.2, table 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum InputState {
    Inactive,
    Active,
    Short,
    Open,
    Fault,
    Unknown,
}

/// Data of `intercom.input.changed`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct InputChanged {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub input: u8,
    pub from: InputState,
    pub to: InputState,
}

/// A panel and its intercom.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct PanelAt {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
}

/// A panel and the cause of what happened to it, a sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct PanelCause {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub cause: String,
}

/// A panel and whether the condition is active.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct PanelFlag {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub active: bool,
}

/// A panel and the serial number that answers now, 8 upper-case hex digits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct PanelSerial {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub serial: String,
}

/// Data of `intercom.panel.suspect`: once a minute at most for each cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct PanelSuspect {
    pub panel: Name,
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    pub cause: SuspectCause,
    /// How often it happened since the last event of this cause.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub count: u64,
}

/// What on a line pretends or guesses (contract §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SuspectCause {
    /// A sealed reply whose MAC is wrong.
    WrongMac,
    /// Plaintext where only a sealed and encrypted reply counts.
    Plaintext,
    /// Replies numbered to end the link, again and again.
    Sequence,
    /// Serial numbers that change, again and again.
    Serial,
    /// More credentials than people can present.
    Flood,
    /// Unknown codes, one after another.
    Codes,
}

impl SuspectCause {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::WrongMac, Self::Plaintext, Self::Sequence, Self::Serial, Self::Flood, Self::Codes];
}

/// Data of `gateway.started`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct GatewayStarted {
    pub version: String,
}

/// Data of `gateway.stopping`: none beyond the common fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GatewayStopping {}

/// Data of `gateway.clock.stepped`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClockStepped {
    /// New time minus old time, milliseconds.
    pub offset_ms: i64,
}

/// Data of `gateway.sync.applied`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct SyncApplied {
    pub revision: u64,
    /// Lowercase hex (contract §4, "Digest").
    #[cfg_attr(test, schemars(with = "schema::Digest"))]
    pub digest: String,
}

/// Data of `gateway.sync.rejected`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct SyncRejected {
    pub error: SyncError,
}

/// Data of `gateway.journal.pruned`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JournalPruned {
    /// Journal that the sequences belong to.
    pub pruned_journal: String,
    /// First lost sequence; null where the events never had one.
    #[cfg_attr(test, schemars(with = "Option<schema::Sequence>"))]
    pub from: Option<u64>,
    /// Last lost sequence; null where the events never had one.
    #[cfg_attr(test, schemars(with = "Option<schema::Sequence>"))]
    pub to: Option<u64>,
    /// Why, a sentence.
    pub cause: String,
}

/// Data of `gateway.committed.ignored`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommittedIgnored {
    /// Journal that was claimed to go on.
    #[cfg_attr(test, schemars(with = "schema::Journal"))]
    pub committed_journal: String,
    /// The highest sequence that was claimed.
    #[cfg_attr(test, schemars(with = "schema::Sequence"))]
    pub through: u64,
    /// Messages that claimed one, since the last such event.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub count: u64,
}

/// Something that happened, not yet in a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// When.
    pub stamp: Stamp,
    /// What.
    pub body: EventBody,
}

impl EventBody {
    /// The panel that the event is about: the CloudEvents `subject`; `None` for `gateway.*`.
    pub fn subject(&self) -> Option<&Name> {
        match self {
            Self::KeySwiped(data) => Some(&data.panel),
            Self::KeypadEntered(data) => Some(&data.panel),
            Self::CodeEntered(data) => Some(&data.panel),
            Self::DoorUnlocked(data) => Some(&data.panel),
            Self::DoorUnlockFailed(data) => Some(&data.panel),
            Self::DoorOpened(data)
            | Self::DoorClosed(data)
            | Self::DoorForced(data)
            | Self::DoorHeld(data) => Some(&data.panel),
            Self::LineChanged(data) => Some(&data.panel),
            Self::LineWiring(data) => Some(&data.panel),
            Self::InputChanged(data) => Some(&data.panel),
            Self::PanelOnline(data) | Self::PanelSecured(data) => Some(&data.panel),
            Self::PanelOffline(data) => Some(&data.panel),
            Self::PanelTamper(data) | Self::PanelPower(data) => Some(&data.panel),
            Self::PanelReplaced(data) => Some(&data.panel),
            Self::PanelSuspect(data) => Some(&data.panel),
            Self::GatewayStarted(_)
            | Self::GatewayStopping(_)
            | Self::ClockStepped(_)
            | Self::SyncApplied(_)
            | Self::SyncRejected(_)
            | Self::CommittedIgnored(_)
            | Self::JournalPruned(_) => None,
        }
    }

    /// The type's name and its own data as a JSON object.
    pub fn to_parts(&self) -> (&'static str, String) {
        (self.kind(), json::text(self))
    }
}

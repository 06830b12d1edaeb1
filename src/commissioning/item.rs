//! The items of the list, as outsiders read them.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{Name, time::as_rfc3339};

/// What an item is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CommissioningGroup"))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Group {
    Panel,
    Lock,
    Door,
    Button,
    Key,
    Line,
    Cloud,
}

/// What has to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CommissioningKind"))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The panel has come online.
    Answered,
    /// The panel's secure channel has come up, by its own key.
    Secured,
    /// Somebody in front of the panel knows that it is this one: by hand.
    Identified,
    /// The panel has taken an unlock.
    Opened,
    /// The door's contact has told of an opening after an unlock.
    Contact,
    /// The exit button was pressed.
    Exit,
    /// A key that may not open the door was refused.
    Refused,
    /// The line was seen with its handset hung up.
    OnHook,
    /// The line was seen with its handset lifted.
    OffHook,
    /// It is the handset of the flat with this number: by hand.
    Number,
    /// The cloud was away, is back, and has everything that was recorded meanwhile.
    Back,
}

impl Kind {
    /// Whether only a person can see it.
    pub const fn is_by_hand(self) -> bool {
        matches!(self, Self::Identified | Self::Number)
    }

    /// Returns what the item is about.
    pub const fn group(self) -> Group {
        match self {
            Self::Answered | Self::Secured | Self::Identified => Group::Panel,
            Self::Opened => Group::Lock,
            Self::Contact => Group::Door,
            Self::Exit => Group::Button,
            Self::Refused => Group::Key,
            Self::OnHook | Self::OffHook | Self::Number => Group::Line,
            Self::Back => Group::Cloud,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Secured => "secured",
            Self::Identified => "identified",
            Self::Opened => "opened",
            Self::Contact => "contact",
            Self::Exit => "exit",
            Self::Refused => "refused",
            Self::OnHook => "on_hook",
            Self::OffHook => "off_hook",
            Self::Number => "number",
            Self::Back => "back",
        }
    }

    /// Returns what has to happen, as the end of a sentence that begins with `when`.
    pub(super) const fn happens(self) -> &'static str {
        match self {
            Self::Answered => "the panel comes online",
            Self::Secured => "the panel's secure channel comes up, by its own key",
            Self::Opened => "the panel takes an unlock",
            Self::Contact => "the door's contact tells of an opening after an unlock",
            Self::Exit => "the exit button is pressed",
            Self::Refused => "a key that may not open the door is refused",
            Self::OnHook => "the handset is seen hung up",
            Self::OffHook => "the handset is seen lifted",
            Self::Back => "the cloud was away, is back, and has everything that was recorded meanwhile",
            Self::Identified | Self::Number => "somebody confirms it",
        }
    }
}

/// One thing to be seen, and whether it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CommissioningItem"))]
pub struct Item {
    /// What to call it: `panel/entrance-1/answered`, `line/1/12/on_hook`, …
    pub id: String,
    /// What it is about.
    pub group: Group,
    /// What has to be seen.
    pub kind: Kind,
    /// Its panel, of a line the one that measures it.
    pub panel: Option<Name>,
    /// The panel's intercom.
    #[cfg_attr(test, schemars(with = "Option<crate::domain::schema::Id>"))]
    pub intercom: Option<u64>,
    /// The flat's number on the door, of a line.
    #[cfg_attr(test, schemars(with = "Option<crate::domain::schema::Id>"))]
    pub flat: Option<u64>,
    /// Only a person can see it, who confirms it.
    pub by_hand: bool,
    /// When it was seen, and what says so; null: not yet.
    pub done: Option<Done>,
}

/// When an item was seen, and what says so: an event of a journal, or who has confirmed it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CommissioningDone"))]
pub struct Done {
    /// When.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "crate::domain::schema::Time"))]
    pub at: Timestamp,
    /// The journal of the event.
    #[cfg_attr(test, schemars(with = "Option<crate::domain::schema::Journal>"))]
    pub journal: Option<String>,
    /// The event's sequence.
    #[cfg_attr(test, schemars(with = "Option<crate::domain::schema::Sequence>"))]
    pub sequence: Option<u64>,
    /// The name of the token by which it was confirmed.
    pub token: Option<Name>,
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.journal, self.sequence, &self.token) {
            (Some(journal), Some(sequence), _) => write!(f, "{journal}-{sequence}"),
            (.., Some(token)) => write!(f, "by {token}"),
            _ => f.write_str("done"),
        }
    }
}

/// Returns the id of an item of a panel.
pub(super) fn of_panel(panel: &str, kind: Kind) -> String {
    let group = match kind.group() {
        Group::Panel => "panel",
        Group::Lock => "lock",
        Group::Door => "door",
        Group::Button => "button",
        Group::Key => "key",
        Group::Line => "line",
        Group::Cloud => "cloud",
    };
    format!("{group}/{panel}/{}", kind.word())
}

/// Returns the id of an item of a line.
pub(super) fn of_line(intercom: u64, flat: u64, kind: Kind) -> String {
    format!("line/{intercom}/{flat}/{}", kind.word())
}

/// The id of the cloud's item.
pub(super) const OF_CLOUD: &str = "cloud/back";

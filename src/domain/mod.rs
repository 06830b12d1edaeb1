//! The vocabulary that every room shares: names, key codes, lines, events, time.
//!
//! Plain data. Nothing here reads a clock, opens a file or knows another room, so every core built on it
//! can be tested without either.

/// What some editors of Windows put before a text in UTF-8. It is no part of it.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The largest integer that every reader of JSON holds exactly, 2^53 − 1: no id or count is above it.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

pub mod asked;
pub mod bucket;
pub mod causes;
pub mod check;
pub mod door_code;
pub mod durations;
pub mod error_code;
pub mod event;
pub mod event_filter;
pub mod health;
pub mod json;
pub mod key;
pub mod line;
pub mod name;
pub mod order;
pub mod panel;
pub mod parity;
pub mod profile;
#[cfg(test)]
pub(crate) mod schema;
pub mod stored;
pub mod sync;
pub mod tally;
pub mod time;
pub mod trouble;

pub use asked::asked_tenths;
pub use bucket::Bucket;
pub use causes::with_causes;
pub use check::{Check, Verdict};
pub use door_code::DoorCode;
pub use durations::Durations;
pub use error_code::ErrorCode;
pub use event::{EventBody, Occurrence};
pub use event_filter::{EventFilter, event_groups};
pub use health::{Health, HealthCode, Reason, UplinkStatus};
pub use key::KeyCode;
pub use line::{LineState, LineStatus};
pub use name::Name;
pub use order::Ordered;
pub use panel::{Capabilities, Device, DoorPosition, OutputActive, PanelState, PanelStatus};
pub use parity::Parity;
pub use profile::Profile;
pub use stored::{Form, StoredEvent};
pub use sync::{Silence, SyncCode, SyncError, SyncStatus};
pub use tally::Tally;
pub use time::{ClockQuality, KnownTime, Mono, Stamp};
pub use trouble::{KeyFault, Trouble};

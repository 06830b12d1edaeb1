//! What support needs, in one archive, without secrets and without personal data (`doctor --bundle`).
//!
//! ```text
//!  events ───► events: what is known to be harmless, pseudonyms for the rest ─┐
//!  log, report, configuration ─► text: known words, digits, bytes ────────────┼─► Bundle (tar.gz)
//!  metrics ───────────────────────────────────────────────────────────────────┘
//! ```
//! Invariants:
//! - Of an event only those members come through that are listed as harmless; one that this version does not know is dropped.
//! - A pseudonym is an HMAC under a key of this bundle, which is gone with [`Pseudonyms`]: within a bundle the same stays the
//!   same, and nobody finds out what it was.

mod archive;
mod events;
mod pseudonyms;
mod text;

pub use self::{archive::Bundle, events::event, pseudonyms::Pseudonyms, text::Words};

//! The uplink: what the gateway knows reaches the cloud over MQTT 5, whatever breaks in between (contract §4).
//!
//! ```text
//! store::Journal ──► session (sans-IO: what may be sent, what is delivered) ──► client (MQTT) ──► broker
//! panels, building, health ──► retained (what the broker should show) ─────────────────┘        │
//!                        task: performs what the session asks, tells it what came ◄────────┘
//! ```
//! Invariants:
//! - Neither client nor broker is trusted to remember anything: every connection is a clean start on a client of its
//!   own, and the journal's cursor is the only truth about what is delivered. An error of the client forgets
//!   everything in flight.
//! - Nothing is published, and nothing from below is obeyed, before the broker had its chance to show what it
//!   retained of us: an old copy of the disk must not speak for the journal that it was copied from.
//! - `client` alone knows the MQTT library, so that it can be exchanged.

mod client;
pub mod command;
#[cfg(test)]
mod document;
mod health;
mod home_assistant;
pub mod message;
mod retained;
pub mod session;
mod settings;
pub mod signature;
pub mod sync;
mod task;
pub mod topic;

pub use client::{Secrets, probe};
pub use session::Confirm;
pub use settings::{Handles, PageAddress, SecretReader, Settings};
pub use task::run;

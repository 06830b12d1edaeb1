//! Commands from the cloud: each is obeyed once or not at all (contract §4, "Commands").
//!
//! ```text
//! message ─► request (what is asked) ─► Desk (whether to obey) ─► id committed ─► performed ─► result committed
//!                                                                                                    │
//!                                                          `results` ◄── outbox, until acknowledged ◄┘
//! ```
//! Invariants:
//! - Nothing is performed whose id is not committed, and nothing whose id was known before.
//! - A result is on the disk before it is published, so that a crash cannot contradict it; an id without a result
//!   after a restart is `interrupted`, and is not performed again.
//! - Everything is bounded: what is performed at once, what waits to be published, and how fast both grow. A flood
//!   ends here, before the disk and far from the buses.

mod desk;
#[cfg(test)]
mod document;
mod outbox;
mod outcome;
mod request;
#[cfg(test)]
mod tests;

use std::{future::Future, pin::Pin, sync::Arc};

pub use desk::{Believed, Counts, Desk, Effect, Incoming, Registered};
pub use outbox::Token;
pub use outcome::{Answer, Failure, Outcome};
pub use request::{Command, EventRange, KINDS, Rejected, Request, Unlock};

#[cfg(test)]
pub(super) use document::describe;

use crate::domain::Mono;

/// A command whose id is committed, to be performed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The command's id.
    pub id: uuid::Uuid,
    /// What is asked.
    pub command: Command,
    /// When it came: an unlock is withdrawn 2 s later.
    pub caused: Mono,
}

/// Performs what only the gateway can: `unlock`, `measure_line`, `report`, `log_level`.
pub type Performer = Arc<dyn Fn(Order) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

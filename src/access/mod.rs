//! The decision: does this credential open this door, now?
//!
//! A pure function of (directory, swipe, now): no clock, no disk, no network. The bus thread calls it inline
//! on an `Arc` snapshot of the [`Directory`], which is swapped whole when the flats change.

mod credential;
mod decision;
mod directory;

pub use credential::{Credential, CredentialFormat, KeyOrder, read_credential};
pub use decision::{Now, Verdict, decide};
pub use directory::{Directory, DirectoryBuilder, DirectoryEntry};

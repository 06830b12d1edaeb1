//! The decision: does this credential or this code open this door, now?
//!
//! A pure function of (directory, what was read or typed, now): no clock, no disk, no network. The bus thread calls it
//! inline on an `Arc` snapshot of the [`Directory`], which is swapped whole when the flats change.

mod code;
mod credential;
mod decision;
mod directory;

pub use code::{CodeVerdict, decide_code};
pub use credential::{Credential, CredentialFormat, KeyOrder, read_credential};
pub use decision::{Now, Verdict, decide};
pub use directory::{Directory, DirectoryBuilder, DirectoryCode, DirectoryEntry, Keypads};

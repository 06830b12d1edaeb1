//! From what the cloud sent to what is in force: the blocking work, and its failures in the contract's words.

use std::io;

use super::{read::Content, spool::Spool, words::Target};
use crate::{
    domain::{SyncCode, SyncError},
    flats::{self, FlatRecord},
    store::{Cache, CacheError, CacheState, Delta, Snapshot},
};

/// Replaces everything by the flats that `spool` keeps. Blocks for as long as the disk needs.
///
/// # Errors
/// Nothing has changed then.
pub fn apply_snapshot(cache: &Cache, spool: &mut Spool, target: Target) -> Result<CacheState, SyncError> {
    let Target { revision, digest, empty } = target;
    let snapshot = Snapshot { revision, digest, may_empty: empty };
    cache.apply_snapshot(snapshot, |put| spool.each(|json| Ok(put(valid(json)?)?))).map_err(Why::told)
}

/// Applies what a delta changes. Blocks for as long as the disk needs.
///
/// # Errors
/// Nothing has changed then.
pub fn apply_delta(
    cache: &Cache,
    base: u64,
    content: Content,
    target: Target,
) -> Result<CacheState, SyncError> {
    let Content::Changes { upsert, remove } = content else {
        return Err(SyncError::new(SyncCode::Invalid, "this changes nothing"));
    };
    let Target { revision, digest, empty } = target;
    let delta = Delta { base, revision, digest, upsert, remove, may_empty: empty };
    cache.apply_delta(delta).map_err(|error| Why::Cache(error).told())
}

/// The parts cannot be kept.
pub fn not_kept(error: &io::Error) -> SyncError {
    SyncError::new(SyncCode::Storage, format!("the snapshot's parts cannot be kept on the disk: {error}"))
}

/// Flats were validated when they came; they differ only where the disk has damaged them.
fn valid(json: &str) -> Result<FlatRecord, Why> {
    flats::parse_flat(json).map_err(|_| Why::Spool(io::ErrorKind::InvalidData.into()))
}

enum Why {
    Cache(CacheError),
    Spool(io::Error),
}

impl From<CacheError> for Why {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Spool(error)
    }
}

impl Why {
    fn told(self) -> SyncError {
        let error = match self {
            Self::Spool(error) => return not_kept(&error),
            Self::Cache(error) => error,
        };
        let message = error.to_string();
        let flat = |intercom, id, field: &str| SyncError {
            intercom: Some(intercom),
            id,
            ..SyncError::new(SyncCode::Invalid, message.clone()).at(field)
        };
        match error {
            CacheError::SameId { intercom, id } => flat(intercom, Some(id), "id"),
            CacheError::SameFlat { intercom, .. } => flat(intercom, None, "flat"),
            CacheError::Digest { .. } => SyncError::new(SyncCode::Digest, message).at("digest"),
            CacheError::Base { .. } => SyncError::new(SyncCode::Base, message).at("base"),
            CacheError::WouldEmpty { .. } => SyncError::new(SyncCode::Empty, message).at("empty"),
            CacheError::Storage(_) | CacheError::Stopped => SyncError::new(SyncCode::Storage, message),
        }
    }
}

//! From what the cloud sent to what is in force: the blocking work, and its failures in the contract's words.

use std::io;

use super::{
    read::{Content, refused},
    spool::Spool,
    words::Target,
};
use crate::{
    domain::{SyncCode, SyncError},
    doors::{Flats, Refusal},
    flats::FlatProblem,
    store::{CacheError, CacheState, Delta, ImportError, Snapshot},
};

/// Replaces everything by the flats that `spool` keeps. Blocks for as long as the disk needs.
///
/// # Errors
/// Nothing has changed then.
pub fn apply_snapshot(flats: &Flats, spool: &mut Spool, target: Target) -> Result<CacheState, SyncError> {
    let Target { revision, digest, empty } = target;
    let snapshot = Snapshot { revision, digest, may_empty: empty };
    flats
        .apply_snapshot(snapshot, |put| spool.each(|json| put(json).map_err(Why::Refused)))
        .map_err(Why::in_words)
}

/// Applies what a delta changes. Blocks for as long as the disk needs.
///
/// # Errors
/// Nothing has changed then.
pub fn apply_delta(
    flats: &Flats,
    base: u64,
    content: Content,
    target: Target,
) -> Result<CacheState, SyncError> {
    let Content::Changes { upsert, remove } = content else {
        return Err(SyncError::new(SyncCode::Invalid, "this changes nothing"));
    };
    let Target { revision, digest, empty } = target;
    let delta = Delta { base, revision, digest, upsert, remove, may_empty: empty };
    flats.apply_delta(delta).map_err(|refusal| Why::Refused(refusal).in_words())
}

/// The parts cannot be kept.
pub fn not_kept(error: &io::Error) -> SyncError {
    SyncError::new(SyncCode::Storage, format!("the snapshot's parts cannot be kept on the disk: {error}"))
}

enum Why {
    Refused(Refusal),
    Spool(io::Error),
}

impl From<Refusal> for Why {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Spool(error)
    }
}

impl Why {
    /// Returns the error in the contract's words.
    fn in_words(self) -> SyncError {
        let error = match self {
            Self::Spool(error) => return not_kept(&error),
            Self::Refused(Refusal::Document(ImportError::Cache(error)) | Refusal::NotWritten(error)) => error,
            Self::Refused(refusal) => return SyncError::new(SyncCode::Storage, refusal.to_string()),
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
            CacheError::SameCode { intercom, id, field, .. } => flat(intercom, Some(id), &field),
            CacheError::Digest { .. } => SyncError::new(SyncCode::Digest, message).at("digest"),
            CacheError::Base { .. } => SyncError::new(SyncCode::Base, message).at("base"),
            CacheError::WouldEmpty { .. } => SyncError::new(SyncCode::Empty, message).at("empty"),
            CacheError::Flat(flat) if flat.problem == FlatProblem::UnknownIntercom => {
                // The configuration is another one than when it came. Its index is one of no part.
                refused(&flat).at("intercom")
            }
            // It was read when it came: the disk has damaged it since.
            CacheError::Flat(_) => not_kept(&io::ErrorKind::InvalidData.into()),
            CacheError::Storage(_) | CacheError::Stopped => SyncError::new(SyncCode::Storage, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        cloud::sync::read,
        domain::{ClockQuality, Stamp},
        flats::generated::empty as flat,
        store::{Store, StoreOptions},
    };

    /// What becomes of a snapshot of these parts, each valid when it came.
    fn applied(parts: &[Vec<u8>], intercoms: &[u64]) -> Result<CacheState, SyncError> {
        let dir = tempfile::tempdir().unwrap();
        let stamp = Stamp {
            time: jiff::Timestamp::UNIX_EPOCH,
            boot: "b".into(),
            uptime_ms: 1,
            clock: ClockQuality::Synchronized,
        };
        let options = StoreOptions {
            dir: dir.path().into(),
            keep: std::time::Duration::ZERO,
            max_events: 64,
            max_journal_bytes: None,
            alone: true,
            now: Arc::new(move || stamp.clone()),
            clock_is_steady: Arc::new(|| true),
        };
        let (store, _) = Store::open(options).unwrap();
        let mut spool = Spool::new(dir.path().join("parts"));
        parts.iter().for_each(|flats| spool.keep(flats, false).unwrap());
        let target = Target { revision: 1, digest: "0".repeat(64), empty: false };
        let flats = Flats::new(store.cache(), intercoms, Arc::new(|| Ok(())));
        apply_snapshot(&flats, &mut spool, target)
    }

    fn part(flats: &[String]) -> Vec<u8> {
        let digest = "0".repeat(64);
        let message = format!(
            r#"{{"kind":"snapshot","revision":1,"part":1,"parts":2,"digest":"{digest}","flats":[{}]}}"#,
            flats.join(",")
        );
        match read(message.as_bytes(), &[1, 2]).unwrap().content {
            Content::Flats(flats) => flats,
            content => panic!("{content:?}"),
        }
    }

    #[test]
    fn what_no_part_says_alone_is_refused_when_all_are_there() {
        let first = part(&[flat(1, 7, 3), flat(2, 7, 3)]);
        let told = |second: Vec<u8>, intercoms: &[u64]| {
            let error = applied(&[first.clone(), second], intercoms).unwrap_err();
            (error.code, error.field.unwrap_or_default(), error.intercom, error.id)
        };
        let of = |code, field: &str, intercom, id| (code, field.to_owned(), intercom, id);
        assert_eq!(told(part(&[flat(1, 7, 9)]), &[1, 2]), of(SyncCode::Invalid, "id", Some(1), Some(7)));
        assert_eq!(told(part(&[flat(2, 9, 3)]), &[1, 2]), of(SyncCode::Invalid, "flat", Some(2), None));
        let coded = |id: u64, code: u64| {
            let code = format!(r#","codes":[{{"id":{id},"code":"{code}","user":null,"expired_at":null}}]}}"#);
            flat(2, id, id).strip_suffix('}').unwrap().to_owned() + &code
        };
        let first_of_codes = part(&[coded(40, 4711)]);
        let error = applied(&[first_of_codes, part(&[coded(41, 4711)])], &[1, 2]).unwrap_err();
        assert_eq!(error.message, "the flat with the id 41 of intercom 2 has a code that another one has");
        assert!(error.intercom == Some(2) && error.id == Some(41), "{error:?}");
        assert_eq!(error.field.as_deref(), Some("codes[0].code"));
        // The configuration has changed since the parts came.
        assert_eq!(told(part(&[]), &[1]), of(SyncCode::UnknownIntercom, "intercom", Some(2), Some(7)));
        // The disk has damaged a part.
        let mut damaged = part(&[flat(1, 9, 9)]);
        *damaged.last_mut().unwrap() = b' ';
        assert_eq!(told(damaged, &[1, 2]), of(SyncCode::Storage, "", None, None));
        // All else is as it should be: only the digest is not.
        assert_eq!(told(part(&[flat(1, 9, 9)]), &[1, 2]), of(SyncCode::Digest, "digest", None, None));
    }
}

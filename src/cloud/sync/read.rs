//! Strict reading of what comes on `sync/flats`: the whole message is right, or it is refused with the field at fault.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    domain::{MAX_INTEGER, SyncCode, SyncError},
    flats::{FlatId, FlatProblem, FlatRecord, FlatSet, RefusedFlat, Unique, message_of},
};

/// Most parts of a snapshot: at the contract's 512 KiB a part, 2 GiB.
const MAX_PARTS: u64 = 4096;

/// What every message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request that it answers.
    pub request: Option<Uuid>,
    /// The revision that it leads to.
    pub revision: u64,
    /// The digest of that revision, 64 lower-case hex digits.
    pub digest: String,
}

/// What a message is, without its flats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// A part of a snapshot.
    Part(Part),
    /// A change.
    Delta(Change),
    /// We are up to date.
    Current(Current),
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What every message says.
    pub head: Head,
    /// Number of this part, from 1.
    pub part: u32,
    /// How many there are, 1 to 4096.
    pub parts: u32,
    /// Whether the snapshot may leave no flats.
    pub empty: bool,
    /// Bytes of its flats.
    pub bytes: u64,
}

/// A change from one revision to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What every message says.
    pub head: Head,
    /// The revision that it builds on.
    pub base: u64,
    /// Whether it may leave no flats.
    pub empty: bool,
}

/// The revision that is the cloud's last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// What every message says; `request` is there.
    pub head: Head,
}

/// What a message has beside its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    None,
    /// Valid flats of a snapshot's part, as [`Spool`](super::Spool) keeps them.
    Flats(Vec<u8>),
    /// What a delta changes.
    Changes {
        /// New and changed flats.
        upsert: Vec<FlatRecord>,
        /// Flats that are no more, by intercom and record id.
        remove: Vec<FlatId>,
    },
}

/// A valid message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// What it is.
    pub header: Header,
    /// What it brings.
    pub content: Content,
}

/// Reads a payload of `sync/flats`; flats must belong to one of `intercoms`. Takes some milliseconds for a large one.
///
/// # Errors
/// Whatever is wrong, with the field; no value of the payload is repeated.
pub fn read(payload: &[u8], intercoms: &[u64]) -> Result<Download, SyncError> {
    let text = std::str::from_utf8(payload).map_err(|_| invalid("this is no text in UTF-8"))?;
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            invalid(message_of(&error))
        } else {
            invalid(format!("this is no JSON: {}", message_of(&error)))
        }
    })?;
    // Known before anything is refused, so that the refusal can name it.
    let revision = integer(members.revision, "revision", 0);
    let known = revision.as_ref().ok().copied();
    members.read(revision, intercoms).map_err(|error| error.of(known))
}

/// What a flat is refused for, as `sync/state` says it.
pub(super) fn refused(flat: &RefusedFlat) -> SyncError {
    let code = match flat.problem {
        FlatProblem::UnknownIntercom => SyncCode::UnknownIntercom,
        _ => SyncCode::Invalid,
    };
    let known = |id: Option<u64>| id.filter(|id| *id <= MAX_INTEGER);
    let message = match flat.problem {
        FlatProblem::UnknownIntercom => {
            format!("{}: it is another gateway's flat, or that is missing here", flat.problem)
        }
        _ => flat.problem.to_string(),
    };
    let error = SyncError::new(code, message).at(flat.path());
    SyncError { intercom: known(flat.intercom), id: known(flat.id), ..error }
}

fn invalid(message: impl Into<String>) -> SyncError {
    SyncError::new(SyncCode::Invalid, message)
}

/// The members of a message that mean something, as text; null counts as absent.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(expecting = "an object {\"kind\":…}")]
pub(super) struct Members<'a> {
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    #[serde(borrow)]
    revision: Option<&'a RawValue>,
    #[serde(borrow)]
    part: Option<&'a RawValue>,
    #[serde(borrow)]
    parts: Option<&'a RawValue>,
    #[serde(borrow)]
    digest: Option<&'a RawValue>,
    #[serde(borrow)]
    flats: Option<&'a RawValue>,
    #[serde(borrow)]
    base: Option<&'a RawValue>,
    #[serde(borrow)]
    upsert: Option<&'a RawValue>,
    #[serde(borrow)]
    remove: Option<&'a RawValue>,
    #[serde(borrow)]
    empty: Option<&'a RawValue>,
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    _others: Unique,
}

impl Members<'_> {
    fn read(&self, revision: Result<u64, SyncError>, intercoms: &[u64]) -> Result<Download, SyncError> {
        let kind: String = value(self.kind, "kind", "one of the texts snapshot, delta, current")?;
        let head =
            || Ok(Head { request: self.request()?, revision: revision.clone()?, digest: self.digest()? });
        match kind.as_str() {
            "snapshot" => self.snapshot(head()?, intercoms),
            "delta" => self.delta(head()?, intercoms),
            "current" => {
                let head = head()?;
                if head.request.is_none() {
                    return Err(invalid("is missing").at("request"));
                }
                Ok(Download { header: Header::Current(Current { head }), content: Content::None })
            }
            _ => Err(invalid("must be one of the texts snapshot, delta, current").at("kind")),
        }
    }

    fn snapshot(&self, head: Head, intercoms: &[u64]) -> Result<Download, SyncError> {
        let parts = integer(self.parts, "parts", 1)?;
        if parts > MAX_PARTS {
            return Err(invalid(format!("must be at most {MAX_PARTS}")).at("parts"));
        }
        let part = integer(self.part, "part", 1)?;
        if part > parts {
            return Err(invalid("must be at most `parts`").at("part"));
        }
        let empty = self.empty()?;
        let mut flats = Vec::new();
        let mut set = FlatSet::new("flats", intercoms);
        for flat in elements(needed(self.flats, "flats")?, "flats")? {
            set.read(flat.get()).map_err(|flat| refused(&flat))?;
            super::spool::append(&mut flats, flat.get());
        }
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let part = Part {
            head,
            part: number(part),
            parts: number(parts),
            empty,
            bytes: u64::try_from(flats.len()).unwrap_or(u64::MAX),
        };
        Ok(Download { header: Header::Part(part), content: Content::Flats(flats) })
    }

    fn delta(&self, head: Head, intercoms: &[u64]) -> Result<Download, SyncError> {
        let base = integer(self.base, "base", 0)?;
        let empty = self.empty()?;
        let all = |list: Option<_>, name| list.map_or(Ok(Vec::new()), |list| elements(list, name));
        let mut set = FlatSet::new("upsert", intercoms);
        let upsert: Result<Vec<FlatRecord>, SyncError> = all(self.upsert, "upsert")?
            .into_iter()
            .map(|flat| set.read(flat.get()).map_err(|flat| refused(&flat)))
            .collect();
        let upsert = upsert?;
        let remove: Result<Vec<FlatId>, SyncError> =
            (0..).zip(all(self.remove, "remove")?).map(|(index, flat)| removed(flat, index)).collect();
        let header = Header::Delta(Change { head, base, empty });
        Ok(Download { header, content: Content::Changes { upsert, remove: remove? } })
    }

    fn empty(&self) -> Result<bool, SyncError> {
        if self.empty.is_none() { Ok(false) } else { value(self.empty, "empty", "true or false") }
    }

    fn request(&self) -> Result<Option<Uuid>, SyncError> {
        if self.request.is_none() {
            return Ok(None);
        }
        let what = "the UUID of a sync/request, as text";
        let text: String = value(self.request, "request", what)?;
        let uuid = Uuid::try_parse(&text).map_err(|_| invalid(format!("must be {what}")).at("request"))?;
        Ok(Some(uuid))
    }

    fn digest(&self) -> Result<String, SyncError> {
        let what = "a text of 64 lower-case hex digits";
        let text: String = value(self.digest, "digest", what)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_digit) {
            Ok(text)
        } else {
            Err(invalid(format!("must be {what}")).at("digest"))
        }
    }
}

/// An element of `remove`; unknown members are ignored.
fn removed(flat: &RawValue, index: usize) -> Result<FlatId, SyncError> {
    #[derive(Deserialize)]
    #[serde(expecting = "an object {\"intercom\":…,\"id\":…}")]
    struct Place<'a> {
        #[serde(borrow)]
        intercom: Option<&'a RawValue>,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(flatten)]
        _others: Unique,
    }
    let place: Place<'_> = serde_json::from_str(flat.get())
        .map_err(|error| invalid(message_of(&error)).at(format!("remove[{index}]")))?;
    let id = |value, name| integer(value, &format!("remove[{index}].{name}"), 1);
    Ok((id(place.intercom, "intercom")?, id(place.id, "id")?))
}

fn needed<'a>(raw: Option<&'a RawValue>, name: &str) -> Result<&'a RawValue, SyncError> {
    raw.ok_or_else(|| invalid("is missing").at(name))
}

fn value<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, name: &str, what: &str) -> Result<T, SyncError> {
    serde_json::from_str(needed(raw, name)?.get()).map_err(|_| invalid(format!("must be {what}")).at(name))
}

fn integer(raw: Option<&RawValue>, name: &str, least: u64) -> Result<u64, SyncError> {
    match serde_json::from_str::<u64>(needed(raw, name)?.get()) {
        Ok(number) if (least..=MAX_INTEGER).contains(&number) => Ok(number),
        _ => Err(invalid(format!("must be an integer from {least} to {MAX_INTEGER}")).at(name)),
    }
}

/// The elements of an array, as text.
fn elements<'a>(array: &'a RawValue, name: &str) -> Result<Vec<&'a RawValue>, SyncError> {
    serde_json::from_str(array.get()).map_err(|error| invalid(message_of(&error)).at(name))
}

//! Strict reading of what comes on `sync/flats`: the whole message is right, or it is refused with the field at fault.

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    domain::{MAX_INTEGER, SyncCode, SyncError},
    flats::{self, FlatRecord, InvalidFlat, NoDuplicates},
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
        remove: Vec<(u64, u64)>,
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
            invalid(flats::message_of(&error))
        } else {
            invalid(format!("this is no JSON: {}", flats::message_of(&error)))
        }
    })?;
    // Known before anything is refused, so that the refusal can name it.
    let revision = members.integer("revision", 0);
    let known = revision.as_ref().ok().copied();
    members.read(revision, intercoms).map_err(|error| error.of(known))
}

fn invalid(message: impl Into<String>) -> SyncError {
    SyncError::new(SyncCode::Invalid, message)
}

/// The members of a message that mean something.
const KNOWN: [&str; 11] =
    ["kind", "request", "revision", "part", "parts", "digest", "flats", "base", "upsert", "remove", "empty"];

/// A message's members, as text; null counts as absent.
struct Members<'a>([Option<&'a RawValue>; KNOWN.len()]);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object {\"kind\":…}")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members(Default::default());
                let mut seen = [false; KNOWN.len()];
                let mut unknown = NoDuplicates::default();
                while let Some(name) = map.next_key::<String>()? {
                    let Some(index) = KNOWN.iter().position(|known| *known == name) else {
                        unknown.skip(&name, &mut map)?;
                        continue;
                    };
                    if std::mem::replace(&mut seen[index], true) {
                        return Err(de::Error::custom(format_args!("has `{name}` twice")));
                    }
                    members.0[index] = Some(map.next_value::<&RawValue>()?).filter(|raw| raw.get() != "null");
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl<'a> Members<'a> {
    fn read(&self, revision: Result<u64, SyncError>, intercoms: &[u64]) -> Result<Download, SyncError> {
        let kind: String = self.value("kind", "one of the texts snapshot, delta, current")?;
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
        let parts = self.integer("parts", 1)?;
        if parts > MAX_PARTS {
            return Err(invalid(format!("must be at most {MAX_PARTS}")).at("parts"));
        }
        let part = self.integer("part", 1)?;
        if part > parts {
            return Err(invalid("must be at most `parts`").at("part"));
        }
        let empty = self.flag("empty")?;
        let mut flats = Vec::new();
        let mut seen = Seen::new("flats", intercoms);
        each(self.needed("flats")?, "flats", |json| {
            seen.flat(json)?;
            super::spool::append(&mut flats, json);
            Ok(())
        })?;
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
        let base = self.integer("base", 0)?;
        let empty = self.flag("empty")?;
        let mut upsert = Vec::new();
        if let Some(flats) = self.get("upsert") {
            let mut seen = Seen::new("upsert", intercoms);
            each(flats, "upsert", |json| {
                upsert.push(seen.flat(json)?);
                Ok(())
            })?;
        }
        let mut remove = Vec::new();
        if let Some(flats) = self.get("remove") {
            each(flats, "remove", |json| {
                let at = |field: &str| format!("remove[{}]{field}", remove.len());
                let place: Place = serde_json::from_str(json)
                    .map_err(|error| invalid(flats::message_of(&error)).at(at("")))?;
                let id = |value: Option<&RawValue>, field: &str| {
                    integer(value, 1).map_err(|message| invalid(message).at(at(field)))
                };
                let flat = (id(place.intercom, ".intercom")?, id(place.id, ".id")?);
                remove.push(flat);
                Ok(())
            })?;
        }
        let header = Header::Delta(Change { head, base, empty });
        Ok(Download { header, content: Content::Changes { upsert, remove } })
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let index = KNOWN.iter().position(|known| *known == name)?;
        self.0[index]
    }

    fn needed(&self, name: &str) -> Result<&'a RawValue, SyncError> {
        self.get(name).ok_or_else(|| invalid("is missing").at(name))
    }

    fn value<T: Deserialize<'a>>(&self, name: &str, what: &str) -> Result<T, SyncError> {
        let raw = self.needed(name)?;
        serde_json::from_str(raw.get()).map_err(|_| invalid(format!("must be {what}")).at(name))
    }

    fn integer(&self, name: &str, least: u64) -> Result<u64, SyncError> {
        integer(self.get(name), least).map_err(|message| invalid(message).at(name))
    }

    fn flag(&self, name: &str) -> Result<bool, SyncError> {
        if self.get(name).is_none() { Ok(false) } else { self.value(name, "true or false") }
    }

    fn request(&self) -> Result<Option<Uuid>, SyncError> {
        if self.get("request").is_none() {
            return Ok(None);
        }
        let what = "the UUID of a sync/request, as text";
        let text: String = self.value("request", what)?;
        let uuid = Uuid::try_parse(&text).map_err(|_| invalid(format!("must be {what}")).at("request"))?;
        Ok(Some(uuid))
    }

    fn digest(&self) -> Result<String, SyncError> {
        let what = "a text of 64 lower-case hex digits";
        let text: String = self.value("digest", what)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_digit) {
            Ok(text)
        } else {
            Err(invalid(format!("must be {what}")).at("digest"))
        }
    }
}

/// An element of `remove`; unknown members are ignored.
#[derive(Default)]
struct Place<'a> {
    intercom: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Place<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Place<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object {\"intercom\":…,\"id\":…}")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut place = Place::default();
                let mut unknown = NoDuplicates::default();
                while let Some(name) = map.next_key::<String>()? {
                    let slot = match name.as_str() {
                        "intercom" => &mut place.intercom,
                        "id" => &mut place.id,
                        _ => {
                            unknown.skip(&name, &mut map)?;
                            continue;
                        }
                    };
                    if slot.replace(map.next_value()?).is_some() {
                        return Err(de::Error::custom(format_args!("has `{name}` twice")));
                    }
                }
                Ok(place)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

fn integer(raw: Option<&RawValue>, least: u64) -> Result<u64, String> {
    let raw = raw.ok_or("is missing")?;
    match serde_json::from_str::<u64>(raw.get()) {
        Ok(number) if (least..=MAX_INTEGER).contains(&number) => Ok(number),
        _ => Err(format!("must be an integer from {least} to {MAX_INTEGER}")),
    }
}

/// Looks at the flats of one message.
struct Seen<'a> {
    list: &'static str,
    intercoms: &'a [u64],
    count: usize,
    /// Index of each (intercom, record id) and of each (intercom, number).
    ids: HashMap<(u64, u64), usize>,
    numbers: HashMap<(u64, u64), usize>,
}

impl<'a> Seen<'a> {
    fn new(list: &'static str, intercoms: &'a [u64]) -> Self {
        Self { list, intercoms, count: 0, ids: HashMap::new(), numbers: HashMap::new() }
    }

    fn flat(&mut self, json: &str) -> Result<FlatRecord, SyncError> {
        let index = self.count;
        self.count += 1;
        let at = |field: &str| match field {
            "" => format!("{}[{index}]", self.list),
            field => format!("{}[{index}].{field}", self.list),
        };
        let record = flats::parse_flat(json).map_err(|flat| {
            let InvalidFlat { intercom, id, field, problem, .. } = flat;
            let known = |id: Option<u64>| id.filter(|id| *id <= MAX_INTEGER);
            SyncError { intercom: known(intercom), id: known(id), ..invalid(problem).at(at(&field)) }
        })?;
        let (intercom, id, flat) = (record.intercom, record.document.id, record.document.flat);
        let refuse = |code, field: &str, message: String| {
            let error = SyncError::new(code, message).at(at(field));
            Err(SyncError { intercom: Some(intercom), id: Some(id), ..error })
        };
        if !self.intercoms.contains(&intercom) {
            let message = "the gateway's configuration has no intercom with this id".to_owned();
            return refuse(SyncCode::UnknownIntercom, "intercom", message);
        }
        if let Some(earlier) = self.ids.insert((intercom, id), index) {
            let message = format!("{}[{earlier}] has the same id, and ids are unique", self.list);
            return refuse(SyncCode::Invalid, "id", message);
        }
        if let Some(earlier) = self.numbers.insert((intercom, flat), index) {
            let message = format!(
                "{}[{earlier}] has the same number, and numbers are unique in an intercom",
                self.list
            );
            return refuse(SyncCode::Invalid, "flat", message);
        }
        Ok(record)
    }
}

/// Hands each element of an array over as text.
fn each(
    array: &RawValue,
    name: &str,
    mut take: impl FnMut(&str) -> Result<(), SyncError>,
) -> Result<(), SyncError> {
    struct Visitor<'a, F> {
        take: &'a mut F,
        refused: &'a mut Option<SyncError>,
    }
    impl<'de, F: FnMut(&str) -> Result<(), SyncError>> de::Visitor<'de> for Visitor<'_, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
            while let Some(element) = array.next_element::<&RawValue>()? {
                if let Err(error) = (self.take)(element.get()) {
                    *self.refused = Some(error);
                    return Err(de::Error::custom("an element is refused"));
                }
            }
            Ok(())
        }
    }
    let mut refused = None;
    let mut json = serde_json::Deserializer::from_str(array.get());
    let read = json.deserialize_seq(Visitor { take: &mut take, refused: &mut refused });
    match (read, refused) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(invalid(flats::message_of(&error)).at(name)),
        (Ok(()), None) => Ok(()),
    }
}

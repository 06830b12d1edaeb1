//! Importing the whole cache from one JSON document, flat by flat (contract §1, `import`).

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    fmt,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use serde::{Deserializer, de};
use serde_json::value::RawValue;

use super::{
    Cache, CacheError, CacheState,
    change::{CacheChange, Finish},
};
use crate::{
    domain::{BYTE_ORDER_MARK, MAX_INTEGER},
    flats::{self, InvalidFlat, NoDuplicates},
};

/// Most bytes of one flat: twice what an MQTT message of the contract may have, so whatever the cloud can send can
/// be imported, and no file can demand more memory than that.
const MAX_FLAT_BYTES: usize = 2 << 20;

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// What is in force now.
    pub state: CacheState,
    /// Flats that are new or have changed.
    pub written: u64,
    /// Flats that were there and are no more.
    pub removed: u64,
}

/// Why an import was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source could not be read.
    #[error("cannot read the file to import: {0}")]
    Read(io::Error),
    /// It is not the JSON document that it should be.
    #[error("line {line}, column {column}: {problem}")]
    Document {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// A flat is wrong.
    #[error(transparent)]
    Flat(Box<RefusedFlat>),
    /// It is right, and could not be brought into force.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A flat that an import was refused for; no value of it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("flats[{index}]{}: {}{problem}", place(*intercom, *id, *flat), prefix(field))]
pub struct RefusedFlat {
    /// Index in `flats`, from 0.
    pub index: usize,
    /// Its intercom, where that could be read.
    pub intercom: Option<u64>,
    /// Its record id, where that could be read.
    pub id: Option<u64>,
    /// Its number on the door, where that could be read.
    pub flat: Option<u64>,
    /// Path of the field at fault, `keys[0].user.login`; empty where it is the flat as a whole.
    pub field: String,
    /// What is wrong with it.
    pub problem: FlatProblem,
}

/// What is wrong with a flat of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlatProblem {
    /// It fails validation, in these words.
    Invalid(String),
    /// It belongs to an intercom that the configuration does not have.
    UnknownIntercom,
    /// It has the record id of an earlier flat of the same intercom.
    SameId {
        /// Index of the earlier one.
        earlier: usize,
    },
    /// It has the number of an earlier flat of the same intercom.
    SameFlat {
        /// Index of the earlier one.
        earlier: usize,
    },
    /// It is larger than any message of the cloud.
    TooLarge,
}

impl fmt::Display for FlatProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problem) => f.write_str(problem),
            Self::UnknownIntercom => f.write_str("the configuration has no [[intercom]] with this id"),
            Self::SameId { earlier } => write!(f, "flats[{earlier}] has the same id, and ids are unique"),
            Self::SameFlat { earlier } => {
                write!(f, "flats[{earlier}] has the same number, and numbers are unique in an intercom")
            }
            Self::TooLarge => write!(f, "larger than {} MiB", MAX_FLAT_BYTES >> 20),
        }
    }
}

fn place(intercom: Option<u64>, id: Option<u64>, flat: Option<u64>) -> String {
    let known: Vec<String> = [("intercom", intercom), ("id", id), ("flat", flat)]
        .into_iter()
        .filter_map(|(what, value)| value.map(|value| format!("{what} {value}")))
        .collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

fn prefix(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

impl Cache {
    /// Replaces the whole cache by `{"revision":57,"flats":[…]}`, validated like a snapshot (contract §4) against the
    /// configured `intercoms`: all of it comes into force, or nothing. Memory is bounded by one flat and the
    /// identities of all.
    ///
    /// A revision that is null or absent leaves none in force, so that the cloud is asked for its own. A document
    /// without flats needs `"empty":true` where there are flats. Blocks: an async caller uses a blocking thread.
    pub fn import(&self, source: impl Read, intercoms: &[u64]) -> Result<ImportReport, ImportError> {
        let budget = Rc::new(Cell::new(MAX_FLAT_BYTES));
        let metered = Metered { source, budget: Rc::clone(&budget) };
        let mut import = Import {
            intercoms,
            budget: &budget,
            change: self.change()?,
            ids: HashMap::new(),
            numbers: HashMap::new(),
            index: 0,
            refused: None,
        };
        let mut source = BufReader::with_capacity(64 << 10, metered);
        skip_mark(&mut source).map_err(ImportError::Read)?;
        let mut json = serde_json::Deserializer::from_reader(source);
        let header =
            json.deserialize_any(Document(&mut import)).and_then(|header| json.end().map(|()| header));
        let Import { change, ids, index, refused, .. } = import;
        let header = header.map_err(|error| refused.unwrap_or_else(|| refusal(error, index)))?;
        let (state, written, removed) = change.commit(Finish {
            keep: Some(ids.into_keys().collect::<HashSet<_>>()),
            base: None,
            revision: header.revision,
            digest: None,
            may_empty: header.empty,
        })?;
        Ok(ImportReport { state, written, removed })
    }
}

/// Skips a byte order mark.
fn skip_mark(source: &mut impl BufRead) -> io::Result<()> {
    // A pipe may give its first bytes one by one; what has begun with another byte has no mark.
    if source.fill_buf()?.first() == BYTE_ORDER_MARK.first() {
        let mut mark = [0; BYTE_ORDER_MARK.len()];
        source.read_exact(&mut mark)?;
        if mark != BYTE_ORDER_MARK {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"));
        }
    }
    Ok(())
}

/// An import under way.
struct Import<'a> {
    intercoms: &'a [u64],
    budget: &'a Cell<usize>,
    change: CacheChange<'a>,
    /// Index of each (intercom, record id).
    ids: HashMap<(u64, u64), usize>,
    /// Index of each (intercom, number).
    numbers: HashMap<(u64, u64), usize>,
    /// Flats read so far.
    index: usize,
    /// The true reason where serde is only told to stop.
    refused: Option<ImportError>,
}

impl Import<'_> {
    fn take(&mut self, json: &str) -> Result<(), ImportError> {
        let index = self.index;
        let record = flats::parse_flat(json).map_err(|invalid| {
            let InvalidFlat { intercom, id, flat, field, problem } = invalid;
            let problem = FlatProblem::Invalid(problem);
            ImportError::Flat(Box::new(RefusedFlat { index, intercom, id, flat, field, problem }))
        })?;
        let (intercom, id, flat) = (record.intercom, record.document.id, record.document.flat);
        let refuse = |field: &str, problem| {
            let (intercom, id, flat, field) = (Some(intercom), Some(id), Some(flat), field.to_owned());
            ImportError::Flat(Box::new(RefusedFlat { index, intercom, id, flat, field, problem }))
        };
        if !self.intercoms.contains(&intercom) {
            return Err(refuse("intercom", FlatProblem::UnknownIntercom));
        }
        if let Some(earlier) = self.ids.insert((intercom, id), index) {
            return Err(refuse("id", FlatProblem::SameId { earlier }));
        }
        if let Some(earlier) = self.numbers.insert((intercom, flat), index) {
            return Err(refuse("flat", FlatProblem::SameFlat { earlier }));
        }
        self.change.put(record)?;
        self.index += 1;
        self.budget.set(MAX_FLAT_BYTES);
        Ok(())
    }
}

fn refusal(error: serde_json::Error, index: usize) -> ImportError {
    if !error.is_io() {
        let (line, column) = (error.line(), error.column());
        return ImportError::Document { line, column, problem: flats::message_of(&error) };
    }
    let error = io::Error::from(error);
    if error.kind() == io::ErrorKind::FileTooLarge {
        let (field, problem) = (String::new(), FlatProblem::TooLarge);
        let unnamed = RefusedFlat { index, intercom: None, id: None, flat: None, field, problem };
        return ImportError::Flat(Box::new(unnamed));
    }
    ImportError::Read(error)
}

/// What stands beside the flats.
#[derive(Default)]
struct Header {
    revision: Option<u64>,
    empty: bool,
}

/// Reads the document as a whole.
struct Document<'a, 'b>(&'a mut Import<'b>);

impl<'de> de::Visitor<'de> for Document<'_, '_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object {\"revision\":…,\"flats\":[…]}")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut revision = None;
        let mut empty = None;
        let mut flats = false;
        let mut unknown = NoDuplicates::default();
        let twice = |name: &str| de::Error::custom(format_args!("has `{name}` twice"));
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "flats" if flats => return Err(twice(&name)),
                "flats" => {
                    map.next_value_seed(Flats(self.0))?;
                    flats = true;
                }
                "revision" if revision.is_some() => return Err(twice(&name)),
                "revision" => revision = Some(self::revision(&map.next_value::<Box<RawValue>>()?)?),
                "empty" if empty.is_some() => return Err(twice(&name)),
                "empty" => empty = Some(map.next_value::<Option<bool>>()?),
                _ => unknown.skip(&name, &mut map)?,
            }
        }
        if !flats {
            return Err(de::Error::custom("the document has no `flats`"));
        }
        Ok(Header { revision: revision.flatten(), empty: empty.flatten().unwrap_or(false) })
    }
}

fn revision<E: de::Error>(json: &RawValue) -> Result<Option<u64>, E> {
    match serde_json::from_str(json.get()) {
        Ok(revision) if revision <= Some(MAX_INTEGER) => Ok(revision),
        _ => Err(E::custom(format_args!("`revision` must be an integer from 0 to {MAX_INTEGER}, or null"))),
    }
}

struct Flats<'a, 'b>(&'a mut Import<'b>);

impl<'de> de::DeserializeSeed<'de> for Flats<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> de::Visitor<'de> for Flats<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of flat documents")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(flat) = array.next_element::<Box<RawValue>>()? {
            if let Err(error) = self.0.take(flat.get()) {
                self.0.refused = Some(error);
                return Err(de::Error::custom("a flat is refused"));
            }
        }
        Ok(())
    }
}

/// Ends the source once one flat has taken more than its budget.
struct Metered<R> {
    source: R,
    budget: Rc<Cell<usize>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.get();
        if left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.source.read(buffer)?;
        self.budget.set(left.saturating_sub(read));
        Ok(read)
    }
}

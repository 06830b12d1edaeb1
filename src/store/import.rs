//! Importing the whole cache from one JSON document, flat by flat (contract §1, `import`).

use std::{
    cell::Cell,
    collections::HashSet,
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
    flats::{FlatSet, MAX_FLAT_BYTES, RefusedFlat, Unique, message_of},
};

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
    Flat(#[from] Box<RefusedFlat>),
    /// It is right, and could not be brought into force.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl Cache {
    /// Replaces the whole cache by `{"revision":57,"flats":[…]}`, validated like a snapshot (contract §4) against the
    /// configured `intercoms`: all of it comes into force, or nothing. Memory is bounded by one flat and the
    /// identities of all.
    ///
    /// A revision that is null or absent leaves none in force, so that the cloud is asked for its own. A document
    /// without flats needs `"empty":true` where there are flats. Blocks: an async caller uses a blocking thread.
    pub fn import(&self, mut source: impl Read, intercoms: &[u64]) -> Result<ImportReport, ImportError> {
        let budget = Rc::new(Cell::new(MAX_FLAT_BYTES));
        let mut metered = Metered { source: &mut source, budget: Rc::clone(&budget) };
        let mut import = Import {
            budget: &budget,
            change: self.change()?,
            set: FlatSet::new("flats", intercoms),
            refused: None,
        };
        // One copy of the reader for all that is read from a source.
        let metered: &mut dyn Read = &mut metered;
        let mut source = BufReader::with_capacity(64 << 10, metered);
        skip_mark(&mut source).map_err(ImportError::Read)?;
        let mut json = serde_json::Deserializer::from_reader(source);
        let header =
            json.deserialize_any(Document(&mut import)).and_then(|header| json.end().map(|()| header));
        let Import { change, set, refused, .. } = import;
        let header = header.map_err(|error| refused.unwrap_or_else(|| refusal(error, &set)))?;
        let (state, written, removed) = change.commit(Finish {
            keep: Some(set),
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
    budget: &'a Cell<usize>,
    change: CacheChange<'a>,
    set: FlatSet,
    /// The true reason where serde is only told to stop.
    refused: Option<ImportError>,
}

impl Import<'_> {
    fn take(&mut self, json: &str) -> Result<(), ImportError> {
        self.change.put(self.set.read(json).map_err(Box::new)?)?;
        self.budget.set(MAX_FLAT_BYTES);
        Ok(())
    }
}

fn refusal(error: serde_json::Error, set: &FlatSet) -> ImportError {
    if !error.is_io() {
        let (line, column) = (error.line(), error.column());
        return ImportError::Document { line, column, problem: message_of(&error) };
    }
    let error = io::Error::from(error);
    if error.kind() == io::ErrorKind::FileTooLarge {
        return Box::new(set.too_large()).into();
    }
    ImportError::Read(error)
}

/// What stands beside the flats.
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
        let (mut revision, mut empty) = (None, None);
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let again = seen.contains(&name);
            match name.as_str() {
                "flats" | "revision" | "empty" if again => {
                    return Err(de::Error::custom(format_args!("has `{name}` twice")));
                }
                _ if again => return Err(de::Error::custom("has a member twice")),
                "flats" => map.next_value_seed(Flats(self.0))?,
                "revision" => revision = self::revision(&map.next_value::<Box<RawValue>>()?)?,
                "empty" => empty = map.next_value::<Option<bool>>()?,
                _ => drop(map.next_value::<Unique>()?),
            }
            seen.insert(name);
        }
        if !seen.contains("flats") {
            return Err(de::Error::custom("the document has no `flats`"));
        }
        Ok(Header { revision, empty: empty.unwrap_or(false) })
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
struct Metered<'a> {
    source: &'a mut dyn Read,
    budget: Rc<Cell<usize>>,
}

impl Read for Metered<'_> {
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

//! Importing the whole cache from one JSON document, flat by flat (contract §1, `import`).

use std::{
    collections::HashSet,
    io::{self, Read},
};

use super::{
    Cache, CacheError, CacheState,
    change::{CacheChange, Finish},
};
use crate::{
    domain::{
        MAX_INTEGER,
        json::{Document, DocumentError},
    },
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

impl From<DocumentError> for ImportError {
    fn from(error: DocumentError) -> Self {
        let (place, problem) = match error {
            DocumentError::Read(error) => return Self::Read(error),
            DocumentError::Wrong { place, problem } => (place, message_of(&problem)),
            DocumentError::TooLarge(place) => (place, "a value is too large".to_owned()),
        };
        Self::Document { line: place.line, column: place.column, problem }
    }
}

impl Cache {
    /// Replaces the whole cache by `{"revision":57,"flats":[…]}`, validated like a snapshot (contract §4) against the
    /// configured `intercoms`: all of it comes into force, or nothing. Memory is bounded by one flat and the
    /// identities of all.
    ///
    /// A revision that is null or absent leaves none in force, so that the cloud is asked for its own. A document
    /// without flats needs `"empty":true` where there are flats. Blocks: an async caller uses a blocking thread.
    pub fn import(&self, mut source: impl Read, intercoms: &[u64]) -> Result<ImportReport, ImportError> {
        let mut import = Import {
            document: Document::new(&mut source, MAX_FLAT_BYTES),
            change: self.change()?,
            set: FlatSet::new("flats", intercoms),
        };
        let header = import.read()?;
        let Import { change, set, .. } = import;
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

/// An import under way.
struct Import<'a> {
    document: Document<'a>,
    change: CacheChange<'a>,
    set: FlatSet,
}

/// What stands beside the flats.
struct Header {
    revision: Option<u64>,
    empty: bool,
}

impl Import<'_> {
    fn read(&mut self) -> Result<Header, ImportError> {
        let (mut revision, mut empty) = (None, None);
        let mut seen = HashSet::new();
        self.document.object("an object {\"revision\":…,\"flats\":[…]}")?;
        while let Some(name) = self.document.member()? {
            let again = seen.contains(&name);
            match name.as_str() {
                "flats" | "revision" | "empty" if again => {
                    return Err(self.document.wrong(&format!("has `{name}` twice")).into());
                }
                _ if again => return Err(self.document.wrong("has a member twice").into()),
                "flats" => self.flats()?,
                "revision" => revision = self.revision()?,
                "empty" => empty = self.document.read::<Option<bool>>()?,
                _ => drop(self.document.read::<Unique>()?),
            }
            seen.insert(name);
        }
        if !seen.contains("flats") {
            return Err(self.document.wrong("the document has no `flats`").into());
        }
        self.document.end()?;
        Ok(Header { revision, empty: empty.unwrap_or(false) })
    }

    fn flats(&mut self) -> Result<(), ImportError> {
        self.document.array("an array of flat documents")?;
        while self.document.element()? {
            let flat = match self.document.value() {
                Err(DocumentError::TooLarge(_)) => return Err(Box::new(self.set.too_large()).into()),
                flat => self.set.read(flat?).map_err(Box::new)?,
            };
            self.change.put(flat)?;
        }
        Ok(())
    }

    fn revision(&mut self) -> Result<Option<u64>, ImportError> {
        let expected = format!("`revision` must be an integer from 0 to {MAX_INTEGER}, or null");
        let expected = self.document.wrong(&expected);
        match serde_json::from_str(self.document.value()?) {
            Ok(revision) if revision <= Some(MAX_INTEGER) => Ok(revision),
            _ => Err(expected.into()),
        }
    }
}

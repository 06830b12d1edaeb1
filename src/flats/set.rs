//! A set of flats, checked flat by flat: what is refused, why, and in which words.
//!
//! A set holds the identities of its flats and not the flats: 100,000 keys pass through it one by one.

use std::{collections::HashMap, fmt};

use super::{FlatRecord, InvalidFlat, parse_flat};

/// Most bytes of one flat: twice what an MQTT message of the contract may have, so that all that the cloud can send can
/// be imported, and no file can demand more memory than that.
pub const MAX_FLAT_BYTES: usize = 2 << 20;

/// Identity of a flat: intercom and record id.
pub type FlatId = (u64, u64);

/// Flats of configured intercoms, in which each id and each number is there once in its intercom.
pub struct FlatSet {
    list: &'static str,
    intercoms: Vec<u64>,
    /// Index of each flat.
    ids: HashMap<FlatId, usize>,
    /// Index of each (intercom, number on the door).
    numbers: HashMap<(u64, u64), usize>,
}

impl FlatSet {
    /// Returns an empty set for the flats of `list`, an array of the sender's; they must belong to one of `intercoms`.
    pub fn new(list: &'static str, intercoms: &[u64]) -> Self {
        Self { list, intercoms: intercoms.into(), ids: HashMap::new(), numbers: HashMap::new() }
    }

    /// Reads the next flat of the list.
    ///
    /// # Errors
    /// It is not valid, or does not go with the others. The set is of no use then.
    pub fn read(&mut self, json: &str) -> Result<FlatRecord, RefusedFlat> {
        let record = parse_flat(json).map_err(|invalid| {
            let InvalidFlat { intercom, id, flat, field, problem } = invalid;
            let problem = FlatProblem::Invalid(problem);
            RefusedFlat { intercom, id, flat, field, ..self.refused(problem) }
        })?;
        let (intercom, id, flat) = (record.intercom, record.document.id, record.document.flat);
        let refused = |set: &Self, field: &str, problem| {
            let (intercom, id, flat, field) = (Some(intercom), Some(id), Some(flat), field.to_owned());
            Err(RefusedFlat { intercom, id, flat, field, ..set.refused(problem) })
        };
        if !self.intercoms.contains(&intercom) {
            return refused(self, "intercom", FlatProblem::UnknownIntercom);
        }
        let earlier = |index: &usize| format!("{}[{index}]", self.list);
        if let Some(earlier) = self.ids.get(&(intercom, id)).map(earlier) {
            return refused(self, "id", FlatProblem::SameId { earlier });
        }
        if let Some(earlier) = self.numbers.get(&(intercom, flat)).map(earlier) {
            return refused(self, "flat", FlatProblem::SameFlat { earlier });
        }
        let index = self.ids.len();
        self.ids.insert((intercom, id), index);
        self.numbers.insert((intercom, flat), index);
        Ok(record)
    }

    /// Returns the refusal of the next flat, which nobody can read: it is larger than [`MAX_FLAT_BYTES`].
    pub fn too_large(&self) -> RefusedFlat {
        self.refused(FlatProblem::TooLarge)
    }

    /// Returns whether this flat is in the set.
    pub fn contains(&self, flat: FlatId) -> bool {
        self.ids.contains_key(&flat)
    }

    fn refused(&self, problem: FlatProblem) -> RefusedFlat {
        let (list, index, field) = (self.list, self.ids.len(), String::new());
        RefusedFlat { list, index, intercom: None, id: None, flat: None, field, problem }
    }
}

/// A flat for which all that came with it is refused; no value of it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{list}[{index}]{}: {}{problem}", place(*intercom, *id, *flat), prefix(field))]
pub struct RefusedFlat {
    /// The array that it is in.
    pub list: &'static str,
    /// Index in the array, from 0.
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

impl RefusedFlat {
    /// Returns the path of the field at fault from the array on, `flats[3].keys[0].user.login`.
    pub fn path(&self) -> String {
        let separator = if self.field.is_empty() { "" } else { "." };
        format!("{}[{}]{separator}{}", self.list, self.index, self.field)
    }
}

/// What is wrong with a flat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlatProblem {
    /// It fails validation, in these words.
    Invalid(String),
    /// It belongs to an intercom that the configuration does not have.
    UnknownIntercom,
    /// It has the record id of an earlier flat of the same intercom.
    SameId {
        /// The earlier one, `flats[3]`.
        earlier: String,
    },
    /// It has the number of an earlier flat of the same intercom.
    SameFlat {
        /// The earlier one, `flats[3]`.
        earlier: String,
    },
    /// It is larger than any message of the cloud.
    TooLarge,
}

impl fmt::Display for FlatProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problem) => f.write_str(problem),
            Self::UnknownIntercom => f.write_str("the configuration has no [[intercom]] with this id"),
            Self::SameId { earlier } => write!(f, "{earlier} has the same id, and ids are unique"),
            Self::SameFlat { earlier } => {
                write!(f, "{earlier} has the same number, and numbers are unique in an intercom")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flats::generated::empty as flat;

    #[test]
    fn an_id_and_a_number_are_there_once_in_an_intercom() {
        let taken = || {
            let mut set = FlatSet::new("upsert", &[1, 2]);
            for (intercom, id, number) in [(1, 7, 3), (2, 7, 3), (1, 3, 7)] {
                let record = set.read(&flat(intercom, id, number)).unwrap();
                assert_eq!(
                    (record.intercom, record.document.id, record.document.flat),
                    (intercom, id, number)
                );
            }
            set
        };
        assert!(taken().contains((1, 3)) && taken().contains((2, 7)) && !taken().contains((2, 3)));
        let cases = [
            (flat(1, 7, 9), "upsert[3].id", "upsert[0] has the same id, and ids are unique"),
            (
                flat(2, 9, 3),
                "upsert[3].flat",
                "upsert[1] has the same number, and numbers are unique in an intercom",
            ),
            (flat(3, 9, 9), "upsert[3].intercom", "the configuration has no [[intercom]] with this id"),
            (
                flat(1, 9, 0),
                "upsert[3].flat",
                "must be an integer from 1 to 9007199254740991, found a larger or smaller one",
            ),
            ("7".to_owned(), "upsert[3]", "must be a flat document, an object, found a number"),
        ];
        for (json, path, problem) in cases {
            let refused = taken().read(&json).unwrap_err();
            assert_eq!((refused.path().as_str(), refused.problem.to_string().as_str()), (path, problem));
        }
        let refused = taken().read(&flat(2, 9, 3)).unwrap_err().to_string();
        assert!(
            refused.starts_with("upsert[3] (intercom 2, id 9, flat 3): flat: upsert[1] has"),
            "{refused}"
        );
    }
}

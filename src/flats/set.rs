//! A set of flats, checked flat by flat: what is refused, why, and in which words.
//!
//! A set holds the identities of its flats and codes, and not the flats: 100,000 keys pass through it one by one.

use std::{collections::HashMap, fmt};

use super::{FlatRecord, InvalidFlat, parse_flat};
use crate::domain::DoorCode;

/// Most bytes of one flat: twice what an MQTT message of the contract may have, so that all that the cloud can send can
/// be imported, and no file can demand more memory than that.
pub const MAX_FLAT_BYTES: usize = 2 << 20;

/// Identity of a flat: intercom and record id.
pub type FlatId = (u64, u64);

/// Flats of configured intercoms, in which each id, each number and each code is there once in its intercom.
pub struct FlatSet {
    list: &'static str,
    intercoms: Vec<u64>,
    /// Index of each flat.
    ids: HashMap<FlatId, usize>,
    /// Index of each (intercom, number on the door).
    numbers: HashMap<(u64, u64), usize>,
    /// Flat and index of each (intercom, id of a code).
    code_ids: HashMap<(u64, u64), (usize, usize)>,
    /// Flat and index of each (intercom, code).
    codes: HashMap<(u64, DoorCode), (usize, usize)>,
}

impl FlatSet {
    /// Returns an empty set for the flats of `list`, an array of the sender's; they must belong to one of `intercoms`.
    pub fn new(list: &'static str, intercoms: &[u64]) -> Self {
        Self {
            list,
            intercoms: intercoms.into(),
            ids: HashMap::new(),
            numbers: HashMap::new(),
            code_ids: HashMap::new(),
            codes: HashMap::new(),
        }
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
        if let Some((field, problem)) = self.take_codes(&record, index) {
            return refused(self, &field, problem);
        }
        self.ids.insert((intercom, id), index);
        self.numbers.insert((intercom, flat), index);
        Ok(record)
    }

    /// Takes the codes of the flat with this index; returns the field at fault where one was taken before.
    fn take_codes(&mut self, record: &FlatRecord, flat: usize) -> Option<(String, FlatProblem)> {
        for (index, code) in record.codes.iter().enumerate() {
            let earlier_id = *self.code_ids.entry((record.intercom, code.id)).or_insert((flat, index));
            let earlier_code = *self.codes.entry((record.intercom, code.code)).or_insert((flat, index));
            let earlier = |(at, code): (usize, usize)| format!("{}[{at}].codes[{code}]", self.list);
            if earlier_id != (flat, index) {
                let problem = FlatProblem::SameCodeId { earlier: earlier(earlier_id) };
                return Some((format!("codes[{index}].id"), problem));
            }
            if earlier_code != (flat, index) {
                let problem = FlatProblem::SameCode { earlier: earlier(earlier_code) };
                return Some((format!("codes[{index}].code"), problem));
            }
        }
        None
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
    /// One of its codes has the id of an earlier one of the same intercom.
    SameCodeId {
        /// The earlier one, `flats[3].codes[0]`.
        earlier: String,
    },
    /// One of its codes is an earlier one of the same intercom.
    SameCode {
        /// The earlier one, `flats[3].codes[0]`.
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
            Self::SameCodeId { earlier } => {
                write!(f, "{earlier} has the same id, and ids of codes are unique in an intercom")
            }
            Self::SameCode { earlier } => {
                write!(f, "{earlier} is the same code, and codes are unique in an intercom")
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

    fn with_codes(intercom: u64, id: u64, codes: &[(u64, &str)]) -> String {
        let codes: Vec<String> = codes
            .iter()
            .map(|(id, code)| format!(r#"{{"id":{id},"code":"{code}","user":null,"expired_at":null}}"#))
            .collect();
        let flat = flat(intercom, id, id);
        format!(r#"{},"codes":[{}]}}"#, flat.strip_suffix('}').unwrap(), codes.join(","))
    }

    #[test]
    fn a_code_and_its_id_are_there_once_in_an_intercom() {
        let taken = || {
            let mut set = FlatSet::new("flats", &[1, 2]);
            set.read(&with_codes(1, 1, &[(1, "1234"), (2, "01234")])).unwrap();
            set.read(&with_codes(2, 1, &[(1, "1234"), (2, "01234")])).unwrap();
            set
        };
        taken().read(&with_codes(1, 2, &[(3, "4321")])).unwrap();
        for (codes, path, problem) in [
            (
                [(3, "4321"), (2, "9999")],
                "flats[2].codes[1].id",
                "flats[0].codes[1] has the same id, and ids of codes are unique in an intercom",
            ),
            (
                [(3, "4321"), (4, "1234")],
                "flats[2].codes[1].code",
                "flats[0].codes[0] is the same code, and codes are unique in an intercom",
            ),
            (
                [(3, "4321"), (4, "4321")],
                "flats[2].codes[1].code",
                "flats[2].codes[0] is the same code, and codes are unique in an intercom",
            ),
        ] {
            let refused = taken().read(&with_codes(1, 2, &codes)).unwrap_err();
            assert_eq!((refused.path().as_str(), refused.problem.to_string().as_str()), (path, problem));
            assert_eq!(refused.flat, Some(2));
        }
        for (code, problem) in [
            ("12a4", "a code is a text of 4 to 10 digits, this text has 4 characters, not all of them 0-9"),
            ("123", "a code is a text of 4 to 10 digits, this text has 3 characters"),
            ("12345678901", "a code is a text of 4 to 10 digits, this text has 11 characters"),
        ] {
            let refused = taken().read(&with_codes(1, 2, &[(3, "4321"), (4, code)])).unwrap_err();
            let path = "flats[2].codes[1].code";
            assert_eq!((refused.path().as_str(), refused.problem.to_string().as_str()), (path, problem));
            assert_eq!(refused.flat, Some(2));
        }
    }

    #[test]
    fn a_user_is_once_in_permissions_and_need_not_be_among_the_users() {
        let with = |users: [u64; 2]| {
            let permissions = users.map(|user| {
                format!(r#"{{"user":{user},"is_open_door_key":false,"is_open_door_code":true}}"#)
            });
            let flat = flat(1, 2, 3);
            format!(r#"{},"permissions":[{}]}}"#, flat.strip_suffix('}').unwrap(), permissions.join(","))
        };
        let record = FlatSet::new("upsert", &[1]).read(&with([6, 7])).unwrap();
        assert!(record.permission_of(7).is_some() && record.permission_of(8).is_none());
        let refused = FlatSet::new("upsert", &[1]).read(&with([6, 6])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "upsert[0] (intercom 1, id 2, flat 3): permissions[1].user: permissions[0] is of the same user, \
             and each is there once in a flat"
        );
    }

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

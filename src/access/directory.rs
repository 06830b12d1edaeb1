//! The in-memory directory of keys and codes: built once per revision, then only read.
//!
//! Invariant: `records` is sorted by (code, intercom, key id), so a look-up is a binary search and the first
//! record of an intercom is the one with the lowest id. 100,000 keys take about 3.5 MB. `codes` is sorted by
//! (intercom, code).

use std::{collections::HashMap, hash::Hash, num::NonZeroU64, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::Now;
use crate::domain::{DoorCode, KeyCode, event::FlatRef};

/// For how long what is typed is nobody's to read, after an intercom had its last code (contract §5).
const STILL_CODES: Duration = Duration::from_secs(30 * 24 * 3600);

/// One record of a key on a flat, as the cache stores it.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryEntry<'a> {
    /// The flat's intercom.
    pub intercom: u64,
    /// The flat's record id.
    pub flat_id: u64,
    /// The number on the door.
    pub flat: u64,
    /// The key record's id.
    pub key_id: u64,
    /// The key's code.
    pub code: KeyCode,
    /// Id of the record's user.
    pub user_id: Option<u64>,
    /// The user's zoneless expiry date, `YYYY-MM-DD hh:mm:ss`.
    pub expired_at: Option<&'a str>,
    /// Whether the flat's permissions let the user open by key.
    pub permitted: bool,
}

/// A code of a flat, as the cache stores it.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryCode<'a> {
    /// The flat's intercom.
    pub intercom: u64,
    /// The flat's record id.
    pub flat_id: u64,
    /// The number on the door.
    pub flat: u64,
    /// The code's id.
    pub code_id: u64,
    /// What is typed.
    pub code: DoorCode,
    /// The code's own zoneless expiry date.
    pub expired_at: Option<&'a str>,
    /// That of its user.
    pub user_expired_at: Option<&'a str>,
    /// Whether the flat's permissions let its user open by code.
    pub permitted: bool,
}

/// What is done with what is typed at an intercom's keypads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keypads {
    /// It is decided upon, for there are codes; nobody is told the digits.
    Codes,
    /// The digits are told.
    Digits,
    /// That something was typed is told, and no digits: they may be a code.
    Hidden,
}

/// All keys and codes of the building, in force as one revision. The default one is of a cache that was not read yet.
#[derive(Debug, Default)]
pub struct Directory {
    /// Whether it was made from what the cache holds.
    is_read: bool,
    revision: Option<u64>,
    flats: Box<[Flat]>,
    terms: Box<[Terms]>,
    records: Box<[Record]>,
    codes: Box<[Code]>,
    had_codes: Box<[HadCodes]>,
}

/// When a record opens. Seconds since the epoch; `i64::MAX` never expires.
#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
pub(super) struct Terms {
    pub(super) expires: i64,
    pub(super) user_expires: i64,
    pub(super) permitted: bool,
}

/// An intercom (`None`: any) that had codes until then (`None`: nobody knows).
#[derive(Debug, Clone, Copy)]
struct HadCodes {
    intercom: Option<u64>,
    until: Option<i64>,
}

#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
struct Flat {
    intercom: u64,
    flat_id: u64,
    flat: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) code: KeyCode,
    pub(super) key_id: u64,
    pub(super) user_id: Option<NonZeroU64>,
    flat: u32,
    /// Index of its terms; many keys share them.
    terms: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    intercom: u64,
    code: DoorCode,
    pub(super) code_id: u64,
    flat: u32,
    terms: u32,
}

impl Directory {
    /// The revision that is in force; `None` where none was ever set.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Number of key records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no flats at all.
    pub fn is_empty(&self) -> bool {
        self.flats.is_empty()
    }

    /// All records of a code, in order of (intercom, key id).
    pub(super) fn records(&self, code: KeyCode) -> &[Record] {
        let start = self.records.partition_point(|record| record.code < code);
        let found = self.records.get(start..).unwrap_or_default();
        let length = found.partition_point(|record| record.code == code);
        found.get(..length).unwrap_or_default()
    }

    /// When a record opens.
    pub(super) fn terms(&self, record: &Record) -> Terms {
        self.terms[record.terms as usize]
    }

    /// Returns an intercom's record of a code, with when it opens and its flat.
    pub(super) fn code(&self, intercom: u64, code: DoorCode) -> Option<(&Code, Terms, FlatRef)> {
        let found = self.codes.binary_search_by_key(&(intercom, code), |known| (known.intercom, known.code));
        let known = self.codes.get(found.ok()?)?;
        let flat = self.flats[known.flat as usize];
        let flat = FlatRef { id: flat.flat_id, flat: flat.flat };
        Some((known, self.terms[known.terms as usize], flat))
    }

    /// Returns what is done with what is typed at an intercom's keypads.
    pub fn keypads(&self, intercom: u64, now: Now) -> Keypads {
        let first = self.codes.partition_point(|code| code.intercom < intercom);
        if self.codes.get(first).is_some_and(|code| code.intercom == intercom) {
            return Keypads::Codes;
        }
        let still = i64::try_from(STILL_CODES.as_secs()).unwrap_or(i64::MAX);
        let is_recent = |had: &HadCodes| match (had.until, now) {
            (Some(until), Now::At(now)) => now < until.saturating_add(still),
            (None, _) | (_, Now::Unknown) => true,
        };
        let concerns = |had: &&HadCodes| had.intercom.is_none_or(|of| of == intercom);
        if !self.is_read || self.had_codes.iter().filter(concerns).any(is_recent) {
            Keypads::Hidden
        } else {
            Keypads::Digits
        }
    }

    /// Intercom and flat of a record.
    pub(super) fn flat_of(&self, record: &Record) -> (u64, FlatRef) {
        let flat = self.flats[record.flat as usize];
        (flat.intercom, FlatRef { id: flat.flat_id, flat: flat.flat })
    }
}

/// Collects entries in any order and sorts them once, in place: a building's worth of them takes megabytes.
pub struct DirectoryBuilder {
    zone: TimeZone,
    flats: Table<Flat>,
    terms: Table<Terms>,
    records: Vec<Record>,
    codes: Vec<Code>,
    had_codes: Vec<HadCodes>,
}

/// Different values, each with its index.
struct Table<T> {
    values: Vec<T>,
    indices: HashMap<T, u32>,
}

impl<T: Copy + Eq + Hash> Table<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), indices: HashMap::with_capacity(capacity) }
    }

    fn index_of(&mut self, value: T) -> u32 {
        *self.indices.entry(value).or_insert_with(|| {
            self.values.push(value);
            (self.values.len() - 1) as u32
        })
    }
}

impl DirectoryBuilder {
    /// `zone` is `gateway.timezone`: the zone in which the cloud's zoneless dates are meant.
    pub fn new(zone: TimeZone) -> Self {
        Self::with_capacity(zone, 0, 0)
    }

    /// As [`DirectoryBuilder::new`], for this many flats and keys.
    pub fn with_capacity(zone: TimeZone, flats: usize, keys: usize) -> Self {
        Self {
            zone,
            flats: Table::with_capacity(flats),
            terms: Table::with_capacity(0),
            records: Vec::with_capacity(keys),
            codes: Vec::new(),
            had_codes: Vec::new(),
        }
    }

    /// Notes that a flat exists, with or without keys: a building whose flats have no keys is not an empty
    /// cache.
    pub fn add_flat(&mut self, intercom: u64, flat_id: u64, flat: u64) {
        self.flats.index_of(Flat { intercom, flat_id, flat });
    }

    /// Adds one key record; its flat is noted too.
    pub fn add(&mut self, entry: &DirectoryEntry<'_>) {
        let user_expires = self.seconds(entry.expired_at);
        let terms = Terms { expires: i64::MAX, user_expires, permitted: entry.permitted };
        let flat = Flat { intercom: entry.intercom, flat_id: entry.flat_id, flat: entry.flat };
        self.records.push(Record {
            code: entry.code,
            key_id: entry.key_id,
            user_id: entry.user_id.and_then(NonZeroU64::new),
            flat: self.flats.index_of(flat),
            terms: self.terms.index_of(terms),
        });
    }

    /// Adds a code; its flat is noted too.
    pub fn add_code(&mut self, code: &DirectoryCode<'_>) {
        let terms = Terms {
            expires: self.seconds(code.expired_at),
            user_expires: self.seconds(code.user_expired_at),
            permitted: code.permitted,
        };
        let flat = Flat { intercom: code.intercom, flat_id: code.flat_id, flat: code.flat };
        self.codes.push(Code {
            intercom: code.intercom,
            code: code.code,
            code_id: code.code_id,
            flat: self.flats.index_of(flat),
            terms: self.terms.index_of(terms),
        });
    }

    /// Notes that an intercom (`None`: any) has codes, or had them until then (`None`: nobody knows).
    pub fn had_codes(&mut self, intercom: Option<u64>, until: Option<Timestamp>) {
        self.had_codes.push(HadCodes { intercom, until: until.map(Timestamp::as_second) });
    }

    /// Sorts and freezes. `revision`: the cloud's number of these flats.
    pub fn build(self, revision: Option<u64>) -> Directory {
        let Self { flats, terms, mut records, mut codes, had_codes, .. } = self;
        let (flats, terms) = (flats.values.into_boxed_slice(), terms.values.into_boxed_slice());
        records.sort_unstable_by_key(|record| {
            let flat = flats[record.flat as usize];
            (record.code, flat.intercom, record.key_id, flat.flat_id)
        });
        codes.sort_unstable_by_key(|code| (code.intercom, code.code, code.code_id));
        Directory {
            is_read: true,
            revision,
            flats,
            terms,
            records: records.into_boxed_slice(),
            codes: codes.into_boxed_slice(),
            had_codes: had_codes.into_boxed_slice(),
        }
    }

    /// A date that the zone skips or repeats (daylight saving) is taken as RFC 5545 does. The cache holds
    /// only dates that exist; one that cannot be read all the same expires at once rather than never.
    fn seconds(&self, date: Option<&str>) -> i64 {
        let Some(date) = date else { return i64::MAX };
        let parsed: Option<DateTime> = date.parse().ok();
        parsed
            .and_then(|date| self.zone.to_ambiguous_zoned_datetime(date).compatible().ok())
            .map_or(i64::MIN, |zoned| zoned.timestamp().as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_added_in_force_as_one_revision() {
        let code = |last: u8| KeyCode::from_bytes(&[1, 2, 3, last]).unwrap();
        let mut builder = DirectoryBuilder::new(TimeZone::UTC);
        builder.add_flat(1, 70, 7);
        for (intercom, flat_id, key_id, last) in [(2, 80, 5, 9), (1, 90, 6, 9), (1, 80, 4, 9), (1, 90, 3, 8)]
        {
            let flat = flat_id / 10;
            let code = code(last);
            builder.add(&DirectoryEntry {
                intercom,
                flat_id,
                flat,
                key_id,
                code,
                user_id: None,
                expired_at: None,
                permitted: true,
            });
        }
        let directory = builder.build(Some(57));
        assert_eq!((directory.revision(), directory.len(), directory.is_empty()), (Some(57), 4, false));
        let found: Vec<_> = directory
            .records(code(9))
            .iter()
            .map(|record| (record.key_id, directory.flat_of(record)))
            .collect();
        let expected = [
            (4, (1, FlatRef { id: 80, flat: 8 })),
            (6, (1, FlatRef { id: 90, flat: 9 })),
            (5, (2, FlatRef { id: 80, flat: 8 })),
        ];
        assert_eq!(found, expected, "in order of intercom and key id");
        assert!(directory.records(code(7)).is_empty());

        let nothing = Directory::default();
        assert_eq!((nothing.revision(), nothing.len(), nothing.is_empty()), (None, 0, true));
    }
}

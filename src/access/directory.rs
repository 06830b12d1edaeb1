//! The in-memory directory of keys: built once per revision, then only read.
//!
//! Invariant: `records` is sorted by (code, intercom, key id), so a look-up is a binary search and the first
//! record of an intercom is the one with the lowest id. 100,000 keys take about 3.5 MB.

use std::{collections::HashMap, hash::Hash, num::NonZeroU64};

use jiff::{civil::DateTime, tz::TimeZone};

use crate::domain::{KeyCode, event::FlatRef};

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
}

/// All keys of the building, in force as one revision.
#[derive(Debug, Default)]
pub struct Directory {
    revision: Option<u64>,
    flats: Box<[Flat]>,
    /// Seconds since the epoch; `i64::MAX` never expires.
    expiries: Box<[i64]>,
    records: Box<[Record]>,
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
    /// Index of its expiry; many keys share one.
    expiry: u32,
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

    /// When a record expires, seconds since the epoch; `i64::MAX`: never.
    pub(super) fn expires(&self, record: &Record) -> i64 {
        self.expiries[record.expiry as usize]
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
    expiries: Table<i64>,
    records: Vec<Record>,
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
            expiries: Table::with_capacity(0),
            records: Vec::with_capacity(keys),
        }
    }

    /// Notes that a flat exists, with or without keys: a building whose flats have no keys is not an empty
    /// cache.
    pub fn add_flat(&mut self, intercom: u64, flat_id: u64, flat: u64) {
        self.flats.index_of(Flat { intercom, flat_id, flat });
    }

    /// Adds one key record; its flat is noted too.
    pub fn add(&mut self, entry: &DirectoryEntry<'_>) {
        let expires = entry.expired_at.map_or(i64::MAX, |date| self.seconds(date));
        let flat = Flat { intercom: entry.intercom, flat_id: entry.flat_id, flat: entry.flat };
        self.records.push(Record {
            code: entry.code,
            key_id: entry.key_id,
            user_id: entry.user_id.and_then(NonZeroU64::new),
            flat: self.flats.index_of(flat),
            expiry: self.expiries.index_of(expires),
        });
    }

    /// Sorts and freezes. `revision`: the cloud's number of these flats.
    pub fn build(self, revision: Option<u64>) -> Directory {
        let Self { flats, expiries, mut records, .. } = self;
        let (flats, expiries) = (flats.values.into_boxed_slice(), expiries.values.into_boxed_slice());
        records.sort_unstable_by_key(|record| {
            let flat = flats[record.flat as usize];
            (record.code, flat.intercom, record.key_id, flat.flat_id)
        });
        Directory { revision, flats, expiries, records: records.into_boxed_slice() }
    }

    /// A date that the zone skips or repeats (daylight saving) is taken as RFC 5545 does. The cache holds
    /// only dates that exist; one that cannot be read all the same expires at once rather than never.
    fn seconds(&self, date: &str) -> i64 {
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

//! Which parts of a snapshot are there.

use super::read::Part;
use crate::domain::Mono;

/// How much a snapshot is wanted: a later revision before an earlier one, and before all of them the way back that was
/// asked for, the last asked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Not above ours, but an answer to this of our requests, from 1; else 0.
    pub(super) back: usize,
    pub(super) revision: u64,
}

/// An unfinished snapshot.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) rank: Rank,
    /// It answers a request that waits for an answer.
    pub(super) requested: bool,
    pub(super) digest: String,
    pub(super) empty: bool,
    have: Vec<bool>,
    missing: usize,
    bytes: u64,
    /// When the last part came.
    pub(super) progress: Mono,
}

impl Assembly {
    /// A snapshot of which nothing is there, `part` being the first that came.
    pub(super) fn new(part: &Part, rank: Rank, now: Mono) -> Self {
        let parts = usize::try_from(part.parts).unwrap_or(usize::MAX);
        Self {
            rank,
            requested: false,
            digest: part.head.digest.clone(),
            empty: false,
            have: vec![false; parts],
            missing: parts,
            bytes: 0,
            progress: now,
        }
    }

    /// Whether `part` is one of this snapshot's, whichever request it came for.
    pub(super) fn has_place_for(&self, part: &Part) -> bool {
        let parts = usize::try_from(part.parts).unwrap_or(usize::MAX);
        self.rank.revision == part.head.revision
            && self.digest == part.head.digest
            && self.have.len() == parts
    }

    /// Whether `part` is there.
    pub(super) fn has(&self, part: u32) -> bool {
        self.have.get(index(part)).copied().unwrap_or(true)
    }

    /// No request of ours waits for it any more.
    pub(super) fn forget_request(&mut self) {
        self.requested = false;
        self.rank.back = 0;
    }

    /// Whether nothing is there.
    pub(super) fn is_new(&self) -> bool {
        self.missing == self.have.len()
    }

    /// Bytes of the flats that are there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `part` is there now.
    pub(super) fn keep(&mut self, part: &Part, now: Mono) {
        if let Some(have @ false) = self.have.get_mut(index(part.part)) {
            *have = true;
            self.missing -= 1;
            self.bytes += part.bytes;
            self.empty |= part.empty;
            self.progress = now;
        }
    }

    /// Whether all parts are there.
    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }
}

fn index(part: u32) -> usize {
    usize::try_from(part).unwrap_or(usize::MAX).wrapping_sub(1)
}

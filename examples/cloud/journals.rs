//! How far each journal has come (contract §5): what is there without a hole, holes seen, asked for and filled. It knows
//! no network, no store and no clock.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use intercom_gateway::domain::Mono;

/// How often the wait for a hole doubles: what the gateway does not call gone is somewhere, with the broker or with a member
/// of a shared group.
const DOUBLINGS: u32 = 6;

/// A journal of a gateway: the gateway's id and the journal's.
pub type JournalId = (String, String);

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    New,
    /// It has come before.
    Known,
}

/// A range of sequences to be asked for by a `replay` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub journal: JournalId,
    pub range: RangeInclusive<u64>,
}

/// All journals that were ever heard of.
#[derive(Default)]
pub struct Journals {
    journals: BTreeMap<JournalId, Journal>,
    growths: u64,
}

/// Invariant: `through + 1` is not in `beyond`.
#[derive(Default)]
struct Journal {
    /// Everything up to here is there, or is known to be lost.
    through: u64,
    /// What is there after the first hole: first sequence → last.
    beyond: BTreeMap<u64, u64>,
    /// When the first hole was first seen or last asked for, and how often it was asked for.
    hole: Option<(Mono, u32)>,
    /// What its gateway has been told.
    told: u64,
    /// When it grew, among all growths.
    grown: u64,
    lost: u64,
}

impl Journals {
    /// An earlier run came as far as this.
    pub fn resume(&mut self, journal: JournalId, through: u64) {
        let journal = self.change(journal, |journal| journal.have(1..=through)).1;
        journal.told = journal.told.max(through);
    }

    /// An event was stored, now or before.
    pub fn take(&mut self, journal: JournalId, sequence: u64) -> Taken {
        self.have(journal, sequence..=sequence)
    }

    /// These were stored, now or before.
    pub fn have(&mut self, journal: JournalId, range: RangeInclusive<u64>) -> Taken {
        let first = *range.start();
        let (taken, journal) = self.change(journal, |journal| journal.have(range));
        if taken == Taken::Known && first <= journal.told {
            // Its gateway sends what it has been told of: it has not heard, for the broker forgot what it retained, or it was a
            // replay. Else it would send the same again for ever.
            journal.told = first.saturating_sub(1);
        }
        taken
    }

    /// The gateway says that these are not in its journal: `absent` of a replay's result, or a pruned range. Gives whether
    /// any of them was missing.
    pub fn gone(&mut self, journal: JournalId, range: RangeInclusive<u64>) -> bool {
        let had = |journal: &mut Journal| {
            let missing = journal.missing(&range);
            journal.lost += missing;
            journal.have(range);
            missing > 0
        };
        self.change(journal, had).0
    }

    fn change<T>(&mut self, id: JournalId, change: impl FnOnce(&mut Journal) -> T) -> (T, &mut Journal) {
        let journal = self.journals.entry(id).or_default();
        let before = journal.through;
        let result = change(journal);
        if journal.through > before {
            self.growths += 1;
            journal.grown = self.growths;
        }
        (result, journal)
    }

    /// Holes that are to be asked for now; to be called now and then. One is asked for when it has lasted for `patience`: until
    /// then a resend may fill it. Each time that it is still there afterwards the wait doubles, 64 times as long at most.
    pub fn replays(&mut self, now: Mono, patience: Duration) -> Vec<Replay> {
        let mut replays = Vec::new();
        for (id, journal) in &mut self.journals {
            let Some((&first, _)) = journal.beyond.first_key_value() else {
                journal.hole = None;
                continue;
            };
            let range = journal.through + 1..=first - 1;
            match &mut journal.hole {
                None => journal.hole = Some((now, 0)),
                Some((since, asked)) if now.since(*since) < patience * (1 << (*asked).min(DOUBLINGS)) => {}
                Some((since, asked)) => {
                    (*since, *asked) = (now, *asked + 1);
                    replays.push(Replay { journal: id.clone(), range });
                }
            }
        }
        replays
    }

    /// What gateways have not been told: to be published as `events/committed`, retained, once all of it is stored. Of two
    /// journals of a gateway the one that grew last comes last, and so is what the broker keeps.
    pub fn committed(&mut self) -> Vec<(JournalId, u64)> {
        let untold = self.journals.iter_mut().filter(|(_, journal)| journal.through > journal.told);
        let mut committed: Vec<_> = untold
            .map(|(id, journal)| {
                journal.told = journal.through;
                (journal.grown, (id.clone(), journal.through))
            })
            .collect();
        committed.sort_unstable();
        committed.into_iter().map(|(_, committed)| committed).collect()
    }

    /// The broker may have lost what it retained: everybody is to be told once more.
    pub fn forget_told(&mut self) {
        self.journals.values_mut().for_each(|journal| journal.told = 0);
    }

    /// How far a journal has come, and what is there after its first hole.
    pub fn place(&self, journal: &JournalId) -> Option<(u64, &BTreeMap<u64, u64>)> {
        self.journals.get(journal).map(|journal| (journal.through, &journal.beyond))
    }

    /// Events that are gone at their gateways, of all journals.
    pub fn lost(&self) -> u64 {
        self.journals.values().map(|journal| journal.lost).sum()
    }
}

impl Journal {
    fn missing(&self, range: &RangeInclusive<u64>) -> u64 {
        let (from, to) = ((*range.start()).max(self.through + 1), *range.end());
        let there: u64 = self
            .beyond
            .iter()
            .map(|(first, last)| (to.min(*last) + 1).saturating_sub(from.max(*first)))
            .sum();
        (to + 1).saturating_sub(from).saturating_sub(there)
    }

    /// Notes that these are there.
    fn have(&mut self, range: RangeInclusive<u64>) -> Taken {
        if self.missing(&range) == 0 {
            return Taken::Known;
        }
        let (mut from, mut to) = range.into_inner();
        // What touches it becomes one with it.
        let touching: Vec<u64> = self
            .beyond
            .range(..=to + 1)
            .filter(|(_, last)| **last + 1 >= from)
            .map(|(first, _)| *first)
            .collect();
        for first in touching {
            let last = self.beyond.remove(&first).unwrap_or(first);
            (from, to) = (from.min(first), to.max(last));
        }
        if from <= self.through + 1 {
            self.through = self.through.max(to);
            self.hole = None;
        } else {
            self.beyond.insert(from, to);
        }
        Taken::New
    }
}

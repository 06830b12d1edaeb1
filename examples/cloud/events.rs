//! A consumer's side of the journals (contract §5): every event once, holes seen, asked for and filled. It knows no
//! network and no clock; its user stores what is new, then publishes what it gives.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use anyhow::Context;
use intercom_gateway::domain::Mono;
use serde_json::Value;

/// A hole that lasts this long is asked for: until then a resend may fill it. Each time that it is still there afterwards
/// the wait doubles, up to 64 minutes: what the gateway does not call gone is somewhere, with the broker or with a member
/// of a shared group.
const PATIENCE: Duration = Duration::from_secs(60);
const DOUBLINGS: u32 = 6;

/// A journal of a gateway: the gateway's id and the journal's.
pub type JournalId = (String, String);

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Store it.
    New,
    /// It has come before.
    Known,
}

/// A range of sequences to be asked for by a `replay` command.
#[derive(Debug, PartialEq, Eq)]
pub struct Replay {
    pub journal: JournalId,
    pub range: RangeInclusive<u64>,
}

/// All journals that were ever heard of.
#[derive(Default)]
pub struct Consumer {
    journals: BTreeMap<JournalId, Journal>,
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
    /// As of the last [`Consumer::committed`].
    told: u64,
    lost: u64,
}

impl Consumer {
    /// The broker kept what an earlier consumer has confirmed.
    pub fn resume(&mut self, journal: JournalId, through: u64) {
        let journal = self.journals.entry(journal).or_default();
        journal.told = journal.told.max(through);
        journal.have(1..=through);
    }

    /// An event of `gateway` came.
    ///
    /// # Errors
    /// It is no event of a journal.
    pub fn take(&mut self, gateway: &str, event: &Value) -> anyhow::Result<Taken> {
        let id = event["id"].as_str().context("an event without id")?;
        // Version 0.2 has another journal in `data.journal` of a pruned one; the id names the journal that the event is in.
        let (journal, sequence) = id.rsplit_once('-').context("an id without journal")?;
        let sequence: u64 = sequence.parse().context("an id without sequence")?;
        let taken = self
            .journals
            .entry((gateway.to_owned(), journal.to_owned()))
            .or_default()
            .have(sequence..=sequence);
        let data = &event["data"];
        if event["type"] == "gateway.journal.pruned"
            && let (Some(of), Some(from), Some(to)) =
                (data["pruned_journal"].as_str(), data["from"].as_u64(), data["to"].as_u64())
        {
            self.gone((gateway.to_owned(), of.to_owned()), from..=to);
        }
        Ok(taken)
    }

    /// The gateway says that these are not in its journal: `absent` of a replay's result.
    pub fn gone(&mut self, journal: JournalId, range: RangeInclusive<u64>) {
        let journal = self.journals.entry(journal).or_default();
        journal.lost += journal.missing(range.clone());
        journal.have(range);
    }

    /// Holes that are to be asked for now; to be called now and then.
    pub fn replays(&mut self, now: Mono) -> Vec<Replay> {
        let mut replays = Vec::new();
        for (id, journal) in &mut self.journals {
            let Some((&first, _)) = journal.beyond.first_key_value() else {
                journal.hole = None;
                continue;
            };
            let range = journal.through + 1..=first - 1;
            match &mut journal.hole {
                None => journal.hole = Some((now, 0)),
                Some((since, asked)) if now.since(*since) < PATIENCE * (1 << (*asked).min(DOUBLINGS)) => {}
                Some((since, asked)) => {
                    (*since, *asked) = (now, *asked + 1);
                    replays.push(Replay { journal: id.clone(), range });
                }
            }
        }
        replays
    }

    /// What has grown since it was last called: to be published as `events/committed`, retained, once all of it is stored.
    pub fn committed(&mut self) -> Vec<(JournalId, u64)> {
        let grown = self.journals.iter_mut().filter(|(_, journal)| journal.through > journal.told);
        grown
            .map(|(id, journal)| {
                journal.told = journal.through;
                (id.clone(), journal.through)
            })
            .collect()
    }

    /// Events that are gone at their gateways, of all journals.
    pub fn lost(&self) -> u64 {
        self.journals.values().map(|journal| journal.lost).sum()
    }
}

impl Journal {
    fn missing(&self, range: RangeInclusive<u64>) -> u64 {
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
        if self.missing(range.clone()) == 0 {
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

//! What was seen so far, and how far the journal was read for it.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Done, Fittings, Item, Kind,
    item::{OF_CLOUD, of_line, of_panel},
};
use crate::domain::{LineState, Name, StoredEvent, event::InputState};

/// Most items that are kept done, of all configurations that there ever were: more lines than any building has, and a
/// file that a backup takes.
const MOST: usize = 16_000;
/// Most journals of which it is kept how far they were read.
const JOURNALS: usize = 8;
/// Why a key is refused that may not open the door. Other reasons are no proof: so is every key refused before there are
/// flats, and one that was not certainly read just now.
const WRONG: [&str; 4] = ["key_unknown", "other_intercom", "user_expired", "not_permitted"];

/// The record of commissioning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// By the ids of items, whether or not they are listed just now.
    pub(super) done: BTreeMap<String, Done>,
    pub(super) cloud: Cloud,
    /// Journals, and how far each was read, the last one last.
    pub(super) read: Vec<(String, u64)>,
}

/// How far it is with the cloud, which is to be lost and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Cloud {
    /// No event of this run was recorded while it was connected: that it is away says nothing.
    #[default]
    NotYet,
    /// It was connected.
    Connected,
    /// It was connected, and then an event was recorded while it was not.
    Lost,
    /// It was connected again when this event was recorded. What it lacks up to there is on its way.
    Back {
        /// The event's journal.
        journal: String,
        /// Its sequence.
        sequence: u64,
        /// Its time.
        at: Timestamp,
    },
}

/// Why an item was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// There is none of this id.
    #[error(
        "There is no such item in the list. By hand are confirmed panel/NAME/identified and line/INTERCOM/FLAT/number."
    )]
    Unknown,
    /// The gateway sees it by itself.
    #[error("The gateway ticks this itself, when {}.", .0.happens())]
    BySelf(Kind),
    /// There is no room for another.
    #[error("The record holds {MOST} items that are done, and takes no more.")]
    Full,
}

/// What an event tells beside its place, as far as it matters here.
#[derive(Default, Deserialize)]
struct Told {
    intercom: Option<u64>,
    flat: Option<u64>,
    input: Option<u8>,
    from: Option<String>,
    to: Option<String>,
    decision: Option<String>,
    reason: Option<String>,
}

impl Record {
    /// Returns from which sequence on this journal is to be read, whose newest event is `last`.
    pub fn next(&mut self, journal: &str, last: u64) -> u64 {
        match self.read.iter_mut().find(|(known, _)| known == journal) {
            Some((_, through)) => {
                // Where it is ahead, an earlier copy of the journal was put back.
                *through = last.min(*through);
                *through + 1
            }
            None => 1,
        }
    }

    /// Returns up to which sequence this journal was read.
    pub fn through(&self, journal: &str) -> u64 {
        self.read.iter().find(|(known, _)| known == journal).map_or(0, |(_, through)| *through)
    }

    /// Takes an event in, those of a journal in order; whether something is done by it.
    pub fn apply(&mut self, event: &StoredEvent, fittings: &Fittings) -> bool {
        let mut is_news = false;
        for id in seen(event, fittings) {
            let done = Done {
                at: event.stamp.time,
                journal: Some(event.journal.to_string()),
                sequence: Some(event.sequence),
                token: None,
            };
            is_news |= self.tick(id, done, fittings);
        }
        if event.sequence > self.through(&event.journal) {
            self.follow_cloud(event);
            self.read_to(&event.journal, event.sequence);
        }
        is_news
    }

    /// Takes in that the cloud has every event of `journal` up to `through`; whether something is done by it.
    pub fn delivered(&mut self, journal: &str, through: u64, fittings: &Fittings) -> bool {
        let Cloud::Back { journal: of, sequence, at } = &self.cloud else { return false };
        if of != journal || through < *sequence {
            return false;
        }
        let done = Done { at: *at, journal: Some(of.clone()), sequence: Some(*sequence), token: None };
        self.cloud = Cloud::NotYet;
        self.tick(OF_CLOUD.to_owned(), done, fittings)
    }

    /// Confirms an item by hand, and returns it. One that is confirmed already stays as it is.
    ///
    /// # Errors
    /// The item is not listed, is not seen by people, or there is no room.
    pub fn confirm(
        &mut self,
        id: &str,
        at: Timestamp,
        token: &Name,
        fittings: &Fittings,
    ) -> Result<Item, NotConfirmed> {
        let items = fittings.items();
        let mut item = items.into_iter().find(|item| item.id == id).ok_or(NotConfirmed::Unknown)?;
        if !item.by_hand {
            return Err(NotConfirmed::BySelf(item.kind));
        }
        // As it will be read from the file.
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        let done = Done { at, journal: None, sequence: None, token: Some(token.clone()) };
        self.tick(item.id.clone(), done, fittings);
        item.done = Some(self.done.get(id).cloned().ok_or(NotConfirmed::Full)?);
        Ok(item)
    }

    /// Returns the list.
    pub fn list(&self, fittings: &Fittings) -> Vec<Item> {
        let items = fittings.items().into_iter();
        items.map(|item| Item { done: self.done.get(&item.id).cloned(), ..item }).collect()
    }

    /// Notes what is done, unless it was before.
    fn tick(&mut self, id: String, done: Done, fittings: &Fittings) -> bool {
        if self.done.contains_key(&id) {
            return false;
        }
        if self.done.len() >= MOST {
            let listed: HashSet<String> = fittings.items().into_iter().map(|item| item.id).collect();
            self.done.retain(|id, _| listed.contains(id));
            if self.done.len() >= MOST {
                return false;
            }
        }
        self.done.insert(id, done);
        true
    }

    fn read_to(&mut self, journal: &str, sequence: u64) {
        match self.read.iter().position(|(known, _)| known == journal) {
            Some(last) if last + 1 == self.read.len() => self.read[last].1 = sequence,
            Some(earlier) => {
                self.read.remove(earlier);
                self.read.push((journal.to_owned(), sequence));
            }
            None => {
                self.read.push((journal.to_owned(), sequence));
                let old = self.read.len().saturating_sub(JOURNALS);
                self.read.drain(..old);
            }
        }
    }

    fn follow_cloud(&mut self, event: &StoredEvent) {
        if self.done.contains_key(OF_CLOUD) {
            return;
        }
        let is_edge = matches!(event.kind.as_str(), "gateway.started" | "gateway.stopping");
        let back = || Cloud::Back {
            journal: event.journal.to_string(),
            sequence: event.sequence,
            at: event.stamp.time,
        };
        self.cloud = match std::mem::take(&mut self.cloud) {
            // A gateway that starts, or ends in order, has lost nothing.
            Cloud::NotYet | Cloud::Connected if is_edge => Cloud::NotYet,
            Cloud::NotYet if event.online => Cloud::Connected,
            Cloud::Connected if !event.online => Cloud::Lost,
            Cloud::Lost if event.online => back(),
            // What it lacks was given other sequences: they come again, in the new journal.
            Cloud::Back { journal, .. } if journal != *event.journal => {
                if event.online {
                    back()
                } else {
                    Cloud::Lost
                }
            }
            unchanged => unchanged,
        };
    }
}

/// Returns the items that an event is the proof of.
fn seen(event: &StoredEvent, fittings: &Fittings) -> Vec<String> {
    let panel = event.subject.as_deref().unwrap_or_default();
    let told = || serde_json::from_str::<Told>(&event.data).unwrap_or_default();
    let kind = match event.kind.as_str() {
        "intercom.panel.online" => Some(Kind::Answered),
        "intercom.panel.secured" => Some(Kind::Secured),
        "intercom.door.unlocked" => Some(Kind::Opened),
        "intercom.door.opened" => Some(Kind::Contact),
        // Of a door that the gateway does not open, no opening follows an unlock.
        "intercom.door.forced" => {
            fittings.panel(panel).filter(|panel| !panel.has_lock).map(|_| Kind::Contact)
        }
        "intercom.input.changed" => fittings.panel(panel).and_then(|panel| {
            let Told { input, to, .. } = told();
            let is_pressed = input.is_some() && input == panel.exit && is(to.as_deref(), &InputState::Active);
            is_pressed.then_some(Kind::Exit)
        }),
        "intercom.key.swiped" => {
            let Told { decision, reason, .. } = told();
            let is_wrong = decision.as_deref() == Some("denied")
                && reason.is_some_and(|reason| WRONG.contains(&reason.as_str()));
            is_wrong.then_some(Kind::Refused)
        }
        "intercom.line.changed" => return seen_of_line(&told()),
        _ => None,
    };
    kind.filter(|_| !panel.is_empty()).map(|kind| of_panel(panel, kind)).into_iter().collect()
}

/// Returns what a change of a line is the proof of: what it is, and what it was before.
fn seen_of_line(told: &Told) -> Vec<String> {
    let (Some(intercom), Some(flat)) = (told.intercom, told.flat) else { return Vec::new() };
    let kind = |state: &Option<String>| match LineState::from_word(state.as_deref()?)? {
        LineState::OnHook => Some(Kind::OnHook),
        LineState::OffHook => Some(Kind::OffHook),
        _ => None,
    };
    let states = [&told.from, &told.to].into_iter();
    states.filter_map(kind).map(|kind| of_line(intercom, flat, kind)).collect()
}

/// Whether a word of an event means this state.
fn is(word: Option<&str>, state: &InputState) -> bool {
    word.is_some_and(|word| serde_json::to_value(state).is_ok_and(|state| state == word))
}

//! A store that ends with its process: what is new is printed in place of being written down.

use super::{
    super::{
        building::{Building, Flats, MESSAGE, documents, revision},
        events::Event,
        journals::{Journals, Taken},
    },
    State,
};

/// What all parts of the process share.
#[derive(Default)]
pub struct Memory {
    pub journals: Journals,
    /// Of the one gateway that has flats here.
    building: Option<(String, Building)>,
    pub changes: Vec<(String, Option<String>)>,
}

impl Memory {
    pub fn put(&mut self, events: &[Event]) {
        for event in events {
            let journal = (event.gateway.clone(), event.journal.clone());
            if self.journals.take(journal, event.sequence) == Taken::New {
                println!("{}: {}", event.gateway, in_words(event));
            }
            if let Some((journal, range)) = &event.pruned {
                self.journals.gone((event.gateway.clone(), journal.clone()), range.clone());
            }
        }
    }

    pub fn change(&mut self, gateway: &str, flats: Flats) {
        match &mut self.building {
            Some((_, building)) if building.flats() == &flats => {}
            Some((_, building)) => {
                let delta = building.become_these(flats);
                self.changes.push((gateway.to_owned(), (delta.len() <= MESSAGE).then_some(delta)));
            }
            // Its gateway has asked, or will.
            building => *building = Some((gateway.to_owned(), Building::new(revision(), flats))),
        }
    }

    pub fn state(&self, gateway: &str) -> Option<State> {
        let (_, building) = self.building.as_ref().filter(|(of, _)| of == gateway)?;
        let (revision, digest) = building.state();
        Some((revision, digest.to_owned()))
    }

    pub fn flats(&self, gateway: &str) -> Option<(State, Vec<String>)> {
        let (_, building) = self.building.as_ref().filter(|(of, _)| of == gateway)?;
        Some((self.state(gateway)?, documents(building.flats()).collect()))
    }
}

/// An event without what is personal.
fn in_words(event: &Event) -> String {
    let data = serde_json::from_str::<serde_json::Value>(&event.text).unwrap_or_default();
    let data = &data["data"];
    let words = [
        Some(event.time.as_str()),
        Some(event.kind.as_str()),
        event.subject.as_deref(),
        data["decision"].as_str(),
        data["reason"].as_str(),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

//! The record as it is kept: `commissioning.json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Done, Record, record::Cloud};
use crate::domain::{Name, Ordered, json, time::rfc3339};

/// The file is not what this program wrote.
#[derive(Debug, thiserror::Error)]
#[error("it holds no record of commissioning: {0}")]
pub struct Damaged(String);

#[derive(Serialize, Deserialize)]
struct File {
    /// How far each journal was read, the last one last.
    read: Vec<Read>,
    #[serde(default)]
    cloud: CloudNote,
    done: BTreeMap<String, DoneNote>,
}

#[derive(Serialize, Deserialize)]
struct Read {
    journal: String,
    through: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CloudNote {
    #[default]
    NotYet,
    Connected,
    Lost,
    Back {
        journal: String,
        sequence: u64,
        at: String,
    },
}

#[derive(Serialize, Deserialize)]
struct DoneNote {
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Name>,
}

impl Record {
    /// Reads what [`Record::to_file`] has written.
    ///
    /// # Errors
    /// It is something else.
    pub fn of_file(content: &[u8]) -> Result<Self, Damaged> {
        let File { read, cloud, done } =
            json::from_slice(content).map_err(|error| Damaged(error.to_string()))?;
        let cloud = match cloud {
            CloudNote::NotYet => Cloud::NotYet,
            CloudNote::Connected => Cloud::Connected,
            CloudNote::Lost => Cloud::Lost,
            CloudNote::Back { journal, sequence, at } => Cloud::Back { journal, sequence, at: time(&at)? },
        };
        let mut known = BTreeMap::new();
        for (id, DoneNote { at, journal, sequence, token }) in done {
            known.insert(id, Done { at: time(&at)?, journal, sequence, token });
        }
        Ok(Self {
            done: known,
            cloud,
            read: read.into_iter().map(|Read { journal, through }| (journal, through)).ordered(),
        })
    }

    /// Returns the record as it is kept.
    pub fn to_file(&self) -> Vec<u8> {
        let cloud = match &self.cloud {
            Cloud::NotYet => CloudNote::NotYet,
            Cloud::Connected => CloudNote::Connected,
            Cloud::Lost => CloudNote::Lost,
            Cloud::Back { journal, sequence, at } => {
                CloudNote::Back { journal: journal.clone(), sequence: *sequence, at: rfc3339(*at) }
            }
        };
        let read =
            self.read.iter().map(|(journal, through)| Read { journal: journal.clone(), through: *through });
        let done = self.done.iter().map(|(id, Done { at, journal, sequence, token })| {
            let (journal, token) = (journal.clone(), token.clone());
            (id.clone(), DoneNote { at: rfc3339(*at), journal, sequence: *sequence, token })
        });
        let file = File { read: read.collect(), cloud, done: done.ordered() };
        let mut content = json::text(&file);
        content.push('\n');
        content.into_bytes()
    }
}

fn time(text: &str) -> Result<Timestamp, Damaged> {
    text.parse().map_err(|_| Damaged(format!("{text} is no time")))
}

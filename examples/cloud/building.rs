//! A sync server's side of a building (contract §4): its flats, their digest, and the messages that bring them to the
//! gateway. It knows no network; its user publishes what it gives on `sync/flats`.

use std::collections::BTreeMap;

use intercom_gateway::flats::{DigestBuilder, FlatRecord, InvalidFlat, canonical_hash, parse_flat};
use serde_json::{Value, json};

/// Most bytes of flats in a part: with what is around them still below the contract's 512 KiB.
pub const PART: usize = 500 << 10;

/// Most bytes of a message: a gateway takes packets of 1 MiB (Maximum Packet Size), topic and headers included, and the
/// broker drops a larger one without a word to anybody.
pub const MESSAGE: usize = (1 << 20) - (4 << 10);

/// Flats by intercom and record id.
pub type Flats = BTreeMap<(u64, u64), FlatRecord>;

/// A building as the cloud has it.
pub struct Building {
    revision: u64,
    flats: Flats,
    digest: String,
}

impl Building {
    /// A building with these flats as its revision.
    pub fn new(revision: u64, flats: Flats) -> Self {
        let digest = digest(&flats);
        Self { revision, flats, digest }
    }

    /// What a gateway that has this revision says in `sync/state`: revision and digest.
    pub fn state(&self) -> (u64, &str) {
        (self.revision, &self.digest)
    }

    /// Its flats.
    pub fn flats(&self) -> &Flats {
        &self.flats
    }

    /// The answer to a `sync/request`: `current` to a gateway that has these very flats, else a snapshot.
    pub fn answer(&self, request: &Value) -> Vec<String> {
        let id = request["request"].as_str();
        if request["revision"] == self.revision && request["digest"] == *self.digest {
            let current =
                json!({"kind": "current", "request": id, "revision": self.revision, "digest": self.digest});
            return vec![current.to_string()];
        }
        self.snapshot(id, PART)
    }

    /// The whole building in parts of at most `most` bytes of flats; a larger flat has a part of its own.
    pub fn snapshot(&self, request: Option<&str>, most: usize) -> Vec<String> {
        snapshot(request, self.state(), documents(&self.flats), most)
    }

    /// The building becomes these flats as the next revision; gives the messages that tell a gateway so: a delta, or the
    /// whole building in parts where that is more than a message may have.
    pub fn change_to(&mut self, flats: Flats) -> Vec<String> {
        let delta = self.become_these(flats);
        if delta.len() <= MESSAGE { vec![delta] } else { self.snapshot(None, PART) }
    }

    /// The building becomes these flats as the next revision; gives the delta that tells a gateway so, however large.
    pub fn become_these(&mut self, flats: Flats) -> String {
        let base = self.revision;
        let before = std::mem::replace(self, Self::new(base + 1, flats)).flats;
        let changed = self.flats.iter().filter(|(place, flat)| before.get(place) != Some(flat));
        let upsert: Vec<String> = changed.map(|(_, flat)| to_json(flat)).collect();
        let gone = before.keys().filter(|place| !self.flats.contains_key(place));
        let remove: Vec<Value> = gone.map(|(intercom, id)| json!({"intercom": intercom, "id": id})).collect();
        format!(
            r#"{{"kind":"delta","base":{base},"revision":{},"digest":"{}","empty":{},"upsert":[{}],"remove":{}}}"#,
            self.revision,
            self.digest,
            self.flats.is_empty(),
            upsert.join(","),
            Value::from(remove)
        )
    }
}

/// A snapshot of flats that have this revision and digest, in parts of at most `most` bytes of flats; a larger flat has a
/// part of its own.
pub fn snapshot(
    request: Option<&str>,
    (revision, digest): (u64, &str),
    flats: impl IntoIterator<Item = String>,
    most: usize,
) -> Vec<String> {
    let mut parts = vec![String::new()];
    for flat in flats {
        match parts.last_mut() {
            Some(part) if part.is_empty() => *part = flat,
            Some(part) if part.len() + flat.len() < most => {
                part.push(',');
                part.push_str(&flat);
            }
            _ => parts.push(flat),
        }
    }
    let (count, empty) = (parts.len(), parts.first().is_none_or(String::is_empty));
    // As a gateway wrote it, who may have written anything.
    let request = request.map(|id| format!("\"request\":{},", Value::from(id))).unwrap_or_default();
    let message = |(part, flats): (usize, String)| {
        format!(
            r#"{{"kind":"snapshot",{request}"revision":{revision},"part":{part},"parts":{count},"digest":"{digest}","empty":{empty},"flats":[{flats}]}}"#
        )
    };
    (1..).zip(parts).map(message).collect()
}

/// Flats as the documents that are sent.
pub fn documents(flats: &Flats) -> impl Iterator<Item = String> {
    flats.values().map(to_json)
}

/// The revision of a building that is new here: seconds since 1970 leave room below for those of an earlier cloud, and above
/// for changes.
#[allow(clippy::disallowed_methods, reason = "a program of its own, on a machine with a clock")]
pub fn revision() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// Reads `{"flats":[{"intercom":1,…}]}`, the form of `intercom-gateway export`.
///
/// # Errors
/// The flat that is none, and why; a document without flats has none.
pub fn read_flats(document: &Value) -> Result<Flats, InvalidFlat> {
    let flats = document["flats"].as_array().map(Vec::as_slice).unwrap_or_default();
    flats.iter().map(|flat| read_flat(&flat.to_string())).collect()
}

/// Reads a flat, and its place.
///
/// # Errors
/// What is wrong with it.
pub fn read_flat(text: &str) -> Result<((u64, u64), FlatRecord), InvalidFlat> {
    let flat = parse_flat(text)?;
    Ok(((flat.intercom, flat.document.id), flat))
}

fn digest(flats: &Flats) -> String {
    let mut digest = DigestBuilder::default();
    for ((intercom, id), flat) in flats {
        digest.add(*intercom, *id, &canonical_hash(flat));
    }
    digest.finish()
}

fn to_json(flat: &FlatRecord) -> String {
    serde_json::to_string(flat).expect("flats have only JSON types")
}

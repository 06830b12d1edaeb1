//! docs/asyncapi.yaml as a judge of messages.
#![allow(dead_code, reason = "each test file uses its own part")]

#[path = "strict.rs"]
pub mod strict;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::Validator;
use serde_json::{Value, json};

/// Channels of the document by the last part of their addresses.
const CHANNELS: &[(&str, &str)] = &[
    ("status", "status"),
    ("info", "info"),
    ("health", "health"),
    ("panels/{panel}", "panel"),
    ("lines/{intercom}/{flat}", "line"),
    ("events", "event"),
    ("sync/request", "syncRequest"),
    ("sync/state", "syncState"),
    ("results", "result"),
    ("sync/flats", "flats"),
    ("commands", "command"),
    ("events/committed", "committed"),
];

/// Channels by which the gateway is told something. Of their messages it ignores what it does not know.
const DOWNWARD: &[&str] = &["sync/flats", "commands", "events/committed"];

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi.yaml");
    let published: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut strict = published.clone();
    strict::close(&mut strict);
    Document { published, strict, validators: Mutex::default() }
});

/// The document, as it is published and closed.
pub struct Document {
    pub published: Value,
    strict: Value,
    /// By message, and whether it is the closed one.
    validators: Mutex<HashMap<(&'static str, bool), Arc<Validator>>>,
}

impl Document {
    pub fn read() -> &'static Self {
        &DOCUMENT
    }

    /// Names of all channels, as topics below the root.
    pub fn topics(&self) -> Vec<String> {
        let channels = self.published["channels"].as_object().unwrap().values();
        let topic = |channel: &Value| {
            channel["address"].as_str().unwrap().strip_prefix("{prefix}/{gateway}/").unwrap().to_owned()
        };
        channels.map(topic).collect()
    }

    /// Whether the gateway publishes on the topic of this name, below the root.
    pub fn is_upward(topic: &str) -> bool {
        !DOWNWARD.contains(&topic)
    }

    /// What is wrong with a message on the topic of this name, below the root. What the gateway publishes may have
    /// nothing that is not described.
    pub fn judge(&self, topic: &str, message: &Value) -> Result<(), String> {
        self.judge_by(topic, message, Self::is_upward(topic))
    }

    #[track_caller]
    pub fn accepts(&self, topic: &str, message: &Value) {
        if let Err(wrong) = self.judge(topic, message) {
            panic!("{topic}: {message}\nis not what docs/asyncapi.yaml says: {wrong}");
        }
        let more = strict::with_more_members(message);
        if let Err(wrong) = self.judge_by(topic, &more, false) {
            panic!("{topic}: {more}\nhas members that docs/asyncapi.yaml does not leave room for: {wrong}");
        }
    }

    fn judge_by(&self, topic: &str, message: &Value, is_strict: bool) -> Result<(), String> {
        let parts = |topic: &str| topic.split('/').map(str::to_owned).collect::<Vec<_>>();
        let given = parts(topic);
        let fits = |address: &str| {
            let address = parts(address);
            let same = |(a, b): (&String, &String)| a == b || a.starts_with('{');
            address.len() == given.len() && address.iter().zip(&given).all(same)
        };
        let (_, name) = CHANNELS
            .iter()
            .find(|(address, _)| fits(address))
            .ok_or_else(|| format!("{topic} is not in the document"))?;
        strict::judge(&self.validator(name, is_strict), message)
    }

    fn validator(&self, name: &'static str, is_strict: bool) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry((name, is_strict)).or_insert_with(|| {
            let document = if is_strict { &self.strict } else { &self.published };
            let schema = json!({
                "$schema": "http://json-schema.org/draft-07/schema#",
                "allOf": [document["components"]["messages"][name]["payload"]],
                "components": document["components"],
            });
            Arc::new(jsonschema::validator_for(&schema).unwrap())
        });
        Arc::clone(validator)
    }
}

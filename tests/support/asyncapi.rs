//! docs/asyncapi.yaml as a judge of messages.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;

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

/// The document.
pub struct Document(pub Value);

impl Document {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        Self(serde_saphyr::from_str(&text).unwrap())
    }

    /// Names of all channels, as topics below the root.
    pub fn topics(&self) -> Vec<String> {
        let channels = self.0["channels"].as_object().unwrap().values();
        let topic = |channel: &Value| {
            channel["address"].as_str().unwrap().strip_prefix("{prefix}/{gateway}/").unwrap().to_owned()
        };
        channels.map(topic).collect()
    }

    /// What is wrong with a message on the topic of this name, below the root.
    pub fn judge(&self, topic: &str, message: &Value) -> Result<(), String> {
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
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "allOf": [self.0["components"]["messages"][name]["payload"]],
            "components": self.0["components"],
        });
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        let wrong: Vec<String> = validator
            .iter_errors(message)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    #[track_caller]
    pub fn accepts(&self, topic: &str, message: &Value) {
        if let Err(wrong) = self.judge(topic, message) {
            panic!("{topic}: {message}\nis not what docs/asyncapi.yaml says: {wrong}");
        }
    }
}

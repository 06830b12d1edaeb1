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

/// What every address begins with.
const ROOT: &str = "{prefix}/{gateway}/";

/// Members that tell the messages of a channel apart.
const KINDS: &[&str] = &["type", "command", "kind"];

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
    validators: Mutex<HashMap<(String, bool), Arc<Validator>>>,
}

impl Document {
    pub fn read() -> &'static Self {
        &DOCUMENT
    }

    /// Names of all channels, as topics below the root.
    pub fn topics(&self) -> Vec<String> {
        let channels = self.published["channels"].as_object().unwrap().values();
        let topic =
            |channel: &Value| channel["address"].as_str().unwrap().strip_prefix(ROOT).unwrap().to_owned();
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

    /// Asserts that the published document, which is not closed, has nothing against a message.
    #[track_caller]
    pub fn leaves_room_for(&self, topic: &str, message: &Value) {
        if let Err(wrong) = self.judge_by(topic, message, false) {
            panic!("{topic}: docs/asyncapi.yaml leaves no room for {message}: {wrong}");
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
        let mut channels = self.published["channels"].as_object().unwrap().values();
        let address =
            |channel: &Value| channel["address"].as_str().unwrap().strip_prefix(ROOT).unwrap().to_owned();
        let channel = channels
            .find(|channel| fits(&address(channel)))
            .ok_or_else(|| format!("{topic} is not in the document"))?;
        let names = channel["messages"].as_object().unwrap();
        let name = match names.len() {
            1 => names.keys().next().unwrap().clone(),
            _ => kind(message).ok_or("it does not say which message it is")?.to_owned(),
        };
        if !names.contains_key(&name) {
            return Err(format!("{topic} has no message {name}"));
        }
        strict::judge(&self.validator(&name, is_strict), message)
    }

    /// Returns the schema of a message's payload.
    pub fn schema_of(&self, message: &str) -> &Value {
        let reference =
            self.published["components"]["messages"][message]["payload"]["$ref"].as_str().unwrap();
        self.published.pointer(reference.strip_prefix('#').unwrap()).unwrap()
    }

    /// Returns the words of a list that may grow.
    pub fn known(&self, schema: &str) -> &Value {
        &self.published["components"]["schemas"][format!("Known{schema}")]["enum"]
    }

    fn validator(&self, name: &str, is_strict: bool) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry((name.to_owned(), is_strict)).or_insert_with(|| {
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

/// Which of its channel's messages this says that it is.
fn kind(message: &Value) -> Option<&str> {
    KINDS.iter().find_map(|member| message.get(member)?.as_str())
}

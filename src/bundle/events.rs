//! Events without what they say of people.

use serde_json::{Map, Value, json};

use super::{Pseudonyms, Words};

/// Members of an event's data that say nothing of anybody, numbers, truths and words of the contract.
const HARMLESS: [&str; 33] = [
    "journal",
    "boot",
    "uptime_ms",
    "clock",
    "online",
    "panel",
    "intercom",
    "reader",
    "bits",
    "decision",
    "reason",
    "reversed_known",
    "revision",
    "duration",
    "state",
    "from",
    "to",
    "value",
    "unit",
    "lines",
    "cleared",
    "input",
    "active",
    "count",
    "version",
    "offset_ms",
    "digest",
    "pruned_journal",
    "committed_journal",
    "through",
    "serial",
    "kind",
    "code",
];
/// Members that stand for somebody or something of somebody: a pseudonym takes their place.
const SOMEBODYS: [&str; 8] = ["key", "raw", "key_id", "user_id", "code_id", "flat", "flat_id", "id"];
/// Members that hold others.
const HOLDERS: [&str; 3] = ["by", "flats", "error"];
/// Sentences.
const SENTENCES: [&str; 2] = ["cause", "message"];
/// What is about a line is a measurement, not a credential.
const LINE: &str = "intercom.line.";

/// Returns an event object of the journal with pseudonyms, one line; null where the text holds no event.
pub fn event(text: &str, pseudonyms: &Pseudonyms, words: &Words) -> String {
    let Ok(Value::Object(mut event)) = serde_json::from_str(text) else { return Value::Null.to_string() };
    let is_of_line = event.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with(LINE));
    if let Some(Value::Object(data)) = event.get("data") {
        let data = Hiding { pseudonyms, words, is_of_line }.object(data);
        event.insert("data".to_owned(), data);
    }
    // Which building it is, support knows or asks.
    event.remove("source");
    Value::Object(event).to_string()
}

struct Hiding<'a> {
    pseudonyms: &'a Pseudonyms,
    words: &'a Words,
    is_of_line: bool,
}

impl Hiding<'_> {
    fn object(&self, members: &Map<String, Value>) -> Value {
        let mut shown = Map::new();
        for (name, value) in members {
            if let Some(value) = self.member(name, value) {
                shown.insert(name.clone(), value);
            }
        }
        Value::Object(shown)
    }

    fn member(&self, name: &str, value: &Value) -> Option<Value> {
        match value {
            _ if name == "digits" => Some(Value::Null),
            _ if name == "raw" && self.is_of_line => value.is_number().then(|| value.clone()),
            Value::Null
                if HARMLESS.contains(&name) || SOMEBODYS.contains(&name) || HOLDERS.contains(&name) =>
            {
                Some(Value::Null)
            }
            Value::String(text) if SENTENCES.contains(&name) => {
                Some(json!(self.words.hide(text, self.pseudonyms)))
            }
            Value::String(text) if SOMEBODYS.contains(&name) => Some(json!(self.pseudonyms.of(text))),
            Value::Number(number) if SOMEBODYS.contains(&name) => {
                Some(json!(self.pseudonyms.of(&format!("{name} {number}"))))
            }
            Value::Object(members) if HOLDERS.contains(&name) => Some(self.object(members)),
            Value::Array(items) if HOLDERS.contains(&name) => {
                let items = items.iter().filter_map(Value::as_object).map(|item| self.object(item));
                Some(items.collect())
            }
            Value::Object(_) => None,
            // Numbers of lines are the only list.
            Value::Array(items) => {
                (HARMLESS.contains(&name) && items.iter().all(Value::is_number)).then(|| value.clone())
            }
            _ => HARMLESS.contains(&name).then(|| value.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_names_anybody_comes_through_and_what_says_what_happened_does() {
        let pseudonyms = Pseudonyms::new().unwrap();
        let words = Words::default();
        let hide = |data: Value, kind: &str| -> Value {
            let text =
                json!({"type": kind, "source": "intercom-gateway/b", "subject": "entrance-1", "data": data});
            serde_json::from_str(&event(&text.to_string(), &pseudonyms, &words)).unwrap()
        };
        let swiped = hide(
            json!({"panel": "entrance-1", "key": "0000003042CAAC", "raw": "3042CAAC", "bits": 32, "decision": "granted",
                "flats": [{"id": 11, "flat": 7}], "key_id": 101, "user_id": 6, "revision": 57, "resident": "Anna"}),
            "intercom.key.swiped",
        );
        let data = &swiped["data"];
        assert_eq!(
            (&data["bits"], &data["decision"], &data["revision"]),
            (&json!(32), &json!("granted"), &json!(57))
        );
        assert_eq!(data["key"], pseudonyms.of("0000003042CAAC"));
        assert_eq!(data["flats"][0]["flat"], pseudonyms.of("flat 7"));
        let text = swiped.to_string();
        for canary in ["3042", "101", "Anna", "resident", "source", ":11", ":7", ":6"] {
            assert!(!text.contains(canary), "{canary}: {text}");
        }
        let again = hide(json!({"key": "0000003042CAAC"}), "intercom.key.swiped");
        assert_eq!(again["data"]["key"], data["key"]);

        let unlocked = hide(
            json!({"by": {"kind": "token", "id": "annas-phone"}, "duration": 3.0}),
            "intercom.door.unlocked",
        );
        assert_eq!(unlocked["data"]["by"], json!({"kind": "token", "id": pseudonyms.of("annas-phone")}));
        let entered = hide(json!({"digits": "93552", "reader": 0}), "intercom.keypad.entered");
        assert_eq!(entered["data"], json!({"digits": null, "reader": 0}));
        let line =
            hide(json!({"flat": 7, "raw": 78, "value": 7.8, "from": "on_hook"}), "intercom.line.changed");
        assert_eq!((&line["data"]["raw"], &line["data"]["value"]), (&json!(78), &json!(7.8)));
        assert_eq!(line["data"]["flat"], data["flats"][0]["flat"]);
        let offline = hide(json!({"cause": "no reply to 3042CAAC"}), "intercom.panel.offline");
        assert_eq!(offline["data"]["cause"], format!("no reply to {}", pseudonyms.of("3042CAAC")));
        assert_eq!(event("no JSON", &pseudonyms, &words), "null");
    }
}

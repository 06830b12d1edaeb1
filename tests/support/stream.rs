//! Messages of a stream of the gateway's: server-sent events, taken out of their lines.
#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::Value;

/// A message; a comment has neither a name nor data.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: Option<String>,
    pub event: String,
    pub data: Value,
}

impl Message {
    /// Reads the lines of one message.
    pub fn of(lines: &str) -> Self {
        let mut message = Self { id: None, event: String::new(), data: Value::Null };
        for line in lines.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => message.id = Some(id.to_owned()),
                Some(("event", name)) => message.event = name.to_owned(),
                Some(("data", data)) => {
                    message.data =
                        serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
                }
                _ => assert_eq!(line, ":", "a comment"),
            }
        }
        message
    }
}

//! The messages of a document, each with an example that its types have made.

use serde_json::{Map, Value, json};

use super::{document::Node, events::title};

/// A message: its name, which is that of its place in the document, and the schema of its payload.
pub(crate) struct Message {
    name: String,
    schema: String,
    content_type: Option<&'static str>,
    correlation: Option<&'static str>,
    examples: Vec<String>,
}

impl Message {
    /// Returns the message of this name and schema.
    pub(crate) fn new(name: &str, schema: &str) -> Self {
        let (name, schema) = (name.to_owned(), schema.to_owned());
        Self { name, schema, content_type: None, correlation: None, examples: Vec::new() }
    }

    /// Adds an example: one line of JSON, as it is on the wire.
    pub(crate) fn example(mut self, payload: String) -> Self {
        self.examples.push(payload);
        self
    }

    /// Says what it is besides JSON.
    pub(crate) fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// Says by which member a message and its answer know each other.
    pub(crate) fn correlated_by(mut self, member: &'static str) -> Self {
        self.correlation = Some(member);
        self
    }

    /// Returns its name, and what the document has under it.
    pub(super) fn node(&self, schemas: &Map<String, Value>) -> (String, Node) {
        let text = |text: &str| Node::Plain(json!(text));
        let reference = format!("#/components/schemas/{}", self.schema);
        let schema = schemas.get(&self.schema).unwrap_or_else(|| panic!("no schema {}", self.schema));
        let summary = schema["description"].as_str().expect("every message says what it is");
        let mut members = vec![
            ("name".to_owned(), text(&self.name)),
            ("title".to_owned(), text(&title(&self.name))),
            ("summary".to_owned(), text(summary)),
        ];
        if let Some(content_type) = self.content_type {
            members.push(("contentType".to_owned(), text(content_type)));
        }
        if let Some(member) = self.correlation {
            let location = Node::Plain(json!(format!("$message.payload#/{member}")));
            members.push(("correlationId".to_owned(), Node::Object(vec![("location".to_owned(), location)])));
        }
        members.push(("payload".to_owned(), Node::Object(vec![("$ref".to_owned(), text(&reference))])));
        assert!(!self.examples.is_empty(), "{} has no example", self.name);
        let example = |payload: &String| {
            let payload = serde_json::from_str(payload).expect("an example is JSON");
            Node::Object(vec![("payload".to_owned(), payload)])
        };
        members.push(("examples".to_owned(), Node::Array(self.examples.iter().map(example).collect())));
        (self.name.clone(), Node::Object(members))
    }
}

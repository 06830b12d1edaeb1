//! Schemas of what is published, made from the types that are published. Only in tests: the release has the documents
//! that these made, and nothing of this.
//!
//! A document (`src/api/openapi.json`, `docs/asyncapi.yaml`) is written by hand up to its schemas, which are its end.
//! [`agree`] holds that end to the types, or writes it where `BLESS` is set.

mod document;
mod events;
pub(crate) mod examples;
mod growing;
mod messages;

use std::borrow::Cow;

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
    json_schema,
};
use serde_json::{Map, Value, json};

pub(crate) use self::{
    document::{Format, agree},
    events::{AnyEvent, any_event, event, title},
    growing::known,
    messages::Message,
};
use super::{DoorCode, KeyCode, Name, event::RawCredential};

/// Names for plain values, so that every document says once what they look like.
macro_rules! plain {
    ($($name:ident = $schema:tt;)*) => {$(
        pub(crate) struct $name;
        plain!(impl $name = $schema);
    )*};
    (impl $name:ident = $schema:tt) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

plain! {
    Id = {"type": "integer", "minimum": 1};
    IdOrNull = {"type": ["integer", "null"], "minimum": 1};
    Sequence = {"type": "integer", "minimum": 1};
    Uuid = {"type": "string", "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"};
    Time = {
        "description": "RFC 3339 in UTC, with milliseconds.", "type": "string", "format": "date-time",
        "pattern": r"^[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z$"
    };
    ZonelessTime = {
        "description": "The cloud's own zoneless date, as text.", "type": "string", "examples": ["2022-11-11 14:45:58"]
    };
    ZonelessTimeOrNull = {
        "description": "The cloud's own zoneless date, as text, or null.", "type": ["string", "null"],
        "examples": ["2029-12-31 12:45:00"]
    };
    Journal = {"description": "The identity of a journal.", "type": "string", "pattern": "^[0-9a-f]{8}$"};
    Digest = {"description": "SHA-256 in hexadecimal digits.", "type": "string", "pattern": "^[0-9a-f]{64}$"};
    Protocol = {"description": "What a bus speaks.", "type": "string", "enum": ["osdp", "modbus"]};
    HealthWord = {"type": "string", "enum": ["ok", "degraded"]};
}
plain!(impl Name = {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"});
plain!(impl RawCredential = {"type": "string", "pattern": "^([0-9A-F]{2})*$"});
plain!(impl DoorCode = {"type": "string", "pattern": "^[0-9]{4,10}$"});
plain!(impl KeyCode = {"type": "string", "pattern": "^[0-9A-F]{14}$"});

/// The schemas of a document under way, by their names.
pub(crate) struct Schemas {
    serialized: SchemaGenerator,
    deserialized: SchemaGenerator,
}

impl Schemas {
    /// For AsyncAPI 3.0, whose schemas are those of JSON Schema's draft 7.
    pub(crate) fn of_draft_7() -> Self {
        Self::with(&SchemaSettings::draft07())
    }

    /// For OpenAPI 3.1.
    pub(crate) fn of_draft_2020_12() -> Self {
        Self::with(&SchemaSettings::draft2020_12())
    }

    fn with(settings: &SchemaSettings) -> Self {
        let generator = |contract| {
            let settings = settings.clone().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.contract = contract;
            });
            settings.into_generator()
        };
        Self { serialized: generator(Contract::Serialize), deserialized: generator(Contract::Deserialize) }
    }

    /// Adds a type as the gateway writes it, with the types that it has.
    pub(crate) fn written<T: JsonSchema>(&mut self) -> &mut Self {
        self.serialized.subschema_for::<T>();
        self
    }

    /// Adds a type as the gateway reads it: what may be null may be absent.
    pub(crate) fn read<T: JsonSchema>(&mut self) -> &mut Self {
        self.deserialized.subschema_for::<T>();
        self
    }

    /// Adds a type as the gateway writes it under a name of its own, once `change` has been made to its schema.
    pub(crate) fn written_as<T: JsonSchema>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Schema),
    ) -> &mut Self {
        add::<T>(&mut self.serialized, name, change);
        self
    }

    /// Adds a type as the gateway reads it under a name of its own, once `change` has been made to its schema.
    pub(crate) fn read_as<T: JsonSchema>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Schema),
    ) -> &mut Self {
        add::<T>(&mut self.deserialized, name, change);
        self
    }

    /// Returns all of them.
    fn finish(mut self) -> Map<String, Value> {
        let mut all = self.serialized.take_definitions(true);
        for (name, schema) in self.deserialized.take_definitions(true) {
            let earlier = all.insert(name.clone(), schema.clone());
            assert!(
                earlier.is_none_or(|earlier| earlier == schema),
                "{name} is read and written differently"
            );
        }
        let twice = all.keys().find(|name| name.ends_with(|last: char| last.is_ascii_digit()));
        assert_eq!(twice, None, "two types have this name, but for the digit");
        all.values_mut().for_each(publish);
        growing::open(&mut all);
        all
    }
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str, change: impl FnOnce(&mut Schema)) {
    let mut schema = T::json_schema(generator);
    change(&mut schema);
    let earlier = generator.definitions_mut().insert(name.to_owned(), schema.to_value());
    assert!(earlier.is_none(), "{name} twice");
}

/// Takes away what outsiders have no use for: the widths of numbers, pages that they do not have, Rust's words; and
/// makes a list of words of what has a schema for each.
fn publish(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let format = members.get("format").and_then(Value::as_str);
            if format
                .is_some_and(|format| ["uint", "int", "double"].iter().any(|kind| format.starts_with(kind)))
            {
                members.remove("format");
            }
            // What an absent member is read as.
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            if let Some(words) = members.get("oneOf").and_then(words) {
                members.remove("oneOf");
                members.insert("type".to_owned(), json!("string"));
                members.insert("enum".to_owned(), json!(words));
            }
            if let Some(Value::String(description)) = members.get_mut("description") {
                *description = description.replace("`None`", "null").replace('\n', " ");
                while let Some((before, rest)) = description.split_once(" (contract §") {
                    let (_, after) = rest.split_once(')').unwrap();
                    *description = format!("{before}{after}");
                }
                let is_ours = ["contract", "serde", "[`"].iter().any(|word| description.contains(word));
                assert!(!is_ours, "this is not for outsiders: {description}");
            }
            members.values_mut().for_each(publish);
        }
        Value::Array(items) => items.iter_mut().for_each(publish),
        _ => {}
    }
}

/// The words of schemas of which each has one or some.
fn words(schemas: &Value) -> Option<Vec<Value>> {
    let mut words = Vec::new();
    for schema in schemas.as_array()? {
        match (schema.get("const"), schema.get("enum")) {
            (Some(word), None) => words.push(word.clone()),
            (None, Some(some)) => words.extend(some.as_array()?.iter().cloned()),
            _ => return None,
        }
    }
    Some(words)
}

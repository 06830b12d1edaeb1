//! The schema of each type of event.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::Schemas;
use crate::domain::stored::{Data, Envelope};

/// Adds an event whose own data are `Own`: under a name that generators take for a type's, with its data beside it.
pub(crate) fn event<Own: JsonSchema>(schemas: &mut Schemas, kind: &str, description: &str) {
    let title = title(kind);
    let data = format!("{title}Data");
    schemas.written_as::<Data<'_, Own>>(&data, |schema| {
        let required = schema.pointer_mut("/required").unwrap().as_array_mut().unwrap();
        required.retain(|name| name != "journal");
        required.insert(0, json!("journal"));
        schema.remove("description");
    });
    schemas.written_as::<Envelope<'_, Value>>(&title, |schema| {
        schema.insert("title".to_owned(), json!(title));
        schema.insert("description".to_owned(), json!(description.trim()));
        let properties = schema.pointer_mut("/properties").unwrap().as_object_mut().unwrap();
        properties.insert("type".to_owned(), json!({"const": kind}));
        properties.insert("data".to_owned(), json!({"$ref": format!("#/components/schemas/{data}")}));
        if kind.starts_with("gateway.") {
            properties.remove("subject");
            return;
        }
        let required = schema.pointer_mut("/required").unwrap().as_array_mut().unwrap();
        let after_type = required.iter().position(|name| name == "type").unwrap() + 1;
        required.insert(after_type, json!("subject"));
    });
}

/// Adds what all events have in common, as `Event` and `EventData`: their own data are left open.
pub(crate) fn any_event(schemas: &mut Schemas) {
    #[derive(JsonSchema)]
    struct Nothing {}
    schemas.written_as::<Data<'_, Nothing>>("EventData", |schema| {
        schema.pointer_mut("/required").unwrap().as_array_mut().unwrap().insert(0, json!("journal"));
        let description = "What every event has; docs/asyncapi.yaml has the own members of each type.";
        schema.insert("description".to_owned(), json!(description));
        schema.insert("additionalProperties".to_owned(), json!(true));
    });
    schemas.written_as::<Envelope<'_, Value>>("Event", |schema| {
        let properties = schema.pointer_mut("/properties").unwrap();
        properties["data"] = json!({"$ref": "#/components/schemas/EventData"});
    });
}

/// An event of any type, as [`any_event`] adds it.
pub(crate) struct AnyEvent;

impl JsonSchema for AnyEvent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::new_ref("#/components/schemas/Event".to_owned())
    }
}

/// `IntercomKeySwiped` of `intercom.key.swiped`.
pub(crate) fn title(kind: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    kind.split(['.', '_']).map(capital).collect()
}

//! Words to which a later version may add others: the documents list those that there are, and leave room.

use serde_json::{Map, Value, json};

/// Schemas of words that may grow, and what a reader takes a word for that it does not know.
const GROWING: [(&str, &str); 15] = [
    ("CodeReason", "go by `decision`"),
    ("CommissioningGroup", "show it as it is"),
    ("CommissioningKind", "show the item as it is"),
    ("ErrorCode", "it is a failure that `message` explains"),
    ("HealthCode", "show its `message`"),
    ("InputState", "take it for `unknown`"),
    ("LineState", "take it for `unknown`"),
    ("PanelState", "take it for `offline`"),
    ("Protocol", "show it as it is"),
    ("SuspectCause", "something on the line is suspect"),
    ("SwipeReason", "go by `decision`"),
    ("SyncCode", "it is a refusal that `message` explains"),
    ("SyncReason", "answer as ever"),
    ("UnlockKind", "somebody or something else opened"),
    ("Why", "come back later"),
];

/// Leaves room for other words in those of the schemas that may grow.
pub(super) fn open(schemas: &mut Map<String, Value>) {
    for (name, unknown) in GROWING {
        let Some(Value::Object(mut schema)) = schemas.remove(name) else { continue };
        let words = schema.remove("enum").expect("a list of words");
        schema.remove("type");
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = format!(
            "{description} Later versions may have other words; of one that you do not know: {unknown}."
        );
        schema.insert("description".to_owned(), json!(description.trim()));
        let list = format!("Known{name}");
        schema.insert("anyOf".to_owned(), of_known(&list));
        schemas.insert(name.to_owned(), Value::Object(schema));
        let known = json!({"description": "Those that there are.", "type": "string", "enum": words});
        assert!(schemas.insert(list, known).is_none());
    }
}

/// Returns the schema of a member that has one of these words, or one of a later version.
pub(crate) fn known(description: &str, words: &Value) -> Value {
    json!({"description": description, "anyOf": [{"type": "string", "enum": words}, {"type": "string"}]})
}

fn of_known(list: &str) -> Value {
    json!([{"$ref": format!("#/components/schemas/{list}")}, {"type": "string"}])
}

//! The published schemas, closed: what we publish must have nothing that is not described, while those who read the
//! documents must take what a later version adds.
#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::{Value, json};

/// Closes the schemas of a document: no object may have members that are not described. One that says itself that it
/// may (`additionalProperties`) stays as it is.
pub fn close(document: &mut Value) {
    let schemas = document.pointer_mut("/components/schemas").unwrap();
    schemas.as_object_mut().unwrap().values_mut().for_each(close_schema);
}

fn close_schema(schema: &mut Value) {
    if let Some(known) = known_words(schema) {
        *schema = known;
    }
    let Some(members) = schema.as_object_mut() else { return };
    // What is one of several things is closed as each of them.
    let is_one_of = ["allOf", "anyOf", "oneOf"].iter().any(|word| members.contains_key(*word));
    if members.contains_key("properties") && !is_one_of {
        members.entry("additionalProperties").or_insert(json!(false));
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        members.get_mut(word).and_then(Value::as_array_mut).into_iter().flatten().for_each(close_schema);
    }
    for word in ["items", "additionalProperties"] {
        members.get_mut(word).into_iter().for_each(close_schema);
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(close_schema);
    }
}

/// Returns the list of a schema that leaves room for other words than it lists.
fn known_words(schema: &Value) -> Option<Value> {
    let [list, any] = schema.get("anyOf")?.as_array()?.as_slice() else { return None };
    (*any == json!({"type": "string"})).then(|| list.clone())
}

/// Returns the value with one more member in each of its objects.
pub fn with_more_members(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), with_more_members(value)));
            Value::Object(members.chain([("of_a_later_version".to_owned(), json!([{}]))]).collect())
        }
        Value::Array(items) => items.iter().map(with_more_members).collect(),
        plain => plain.clone(),
    }
}

/// What is wrong with a value by this schema, a line for each mistake.
pub fn judge(validator: &jsonschema::Validator, value: &Value) -> Result<(), String> {
    if validator.is_valid(value) {
        return Ok(());
    }
    let wrong = validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path()));
    Err(wrong.collect::<Vec<_>>().join("\n"))
}

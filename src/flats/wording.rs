//! What serde says, in words for people and without what it repeats.

use serde_path_to_error::{Path, Segment};

/// serde_json's message without the value that it repeats, which may be somebody's, and without its " at line 1
/// column 7", which counts from the start of one flat.
pub fn message_of(error: &serde_json::Error) -> String {
    match Said::by(error) {
        Said::WrongType { expected, .. } => format!("wrong type, expected {expected}"),
        Said::Missing(member) => format!("`{member}` is missing"),
        Said::Twice(member) => twice(&member),
        Said::Other(text) => text,
    }
}

/// The field and what is wrong with it.
pub(super) fn located(path: &Path, error: &serde_json::Error) -> (String, String) {
    let field = field_of(path);
    match Said::by(error) {
        Said::Missing(member) if field.is_empty() => (member, "is missing".to_owned()),
        Said::Missing(member) => (format!("{field}.{member}"), "is missing".to_owned()),
        Said::Twice(member) => (field, twice(&member)),
        Said::WrongType { found: Some(found), expected } => {
            (field, format!("must be {expected}, found {found}"))
        }
        Said::WrongType { found: None, expected } => (field, format!("wrong type, expected {expected}")),
        Said::Other(text) => (field, text),
    }
}

fn twice(member: &str) -> String {
    format!("has `{member}` twice")
}

enum Said {
    Missing(String),
    Twice(String),
    WrongType { found: Option<&'static str>, expected: String },
    Other(String),
}

impl Said {
    fn by(error: &serde_json::Error) -> Self {
        let mut text = error.to_string();
        if let Some(at) = text.rfind(" at line ") {
            text.truncate(at);
        }
        let member = |what| text.strip_prefix(what)?.strip_suffix('`').map(str::to_owned);
        if let Some(member) = member("missing field `") {
            return Self::Missing(member);
        }
        if let Some(member) = member("duplicate field `") {
            return Self::Twice(member);
        }
        let kind = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
        // The last one: the value before it is anybody's text.
        let Some((kind, expected)) = kind.and_then(|kind| kind.rsplit_once(", expected ")) else {
            return Self::Other(text);
        };
        let found = found(kind, expected, text.starts_with("invalid value"));
        let expected = match expected {
            "a string" => "a text",
            "a boolean" => "true or false",
            "a sequence" => ARRAY,
            expected => expected,
        };
        Self::WrongType { found, expected: expected.to_owned() }
    }
}

const ARRAY: &str = "an array";

/// `None`: `expected` says enough.
fn found(kind: &str, expected: &str, right_type: bool) -> Option<&'static str> {
    let number = expected.contains("integer");
    let nests = expected == "a sequence" || expected.ends_with("an object");
    let simple = [
        ("integer `-", if nests { "a number" } else { "a negative number" }),
        ("integer", if right_type { "a larger or smaller one" } else { "a number" }),
        ("floating point", if number { "one with a fraction or an exponent" } else { "a number" }),
        ("string", "a text"),
    ];
    let others = [("boolean", "true or false"), ("null", "null"), ("sequence", ARRAY), ("map", "an object")];
    let is_it = |(begin, _): &&(&str, _)| kind.starts_with(begin);
    let found = simple.iter().find(is_it).or_else(|| others.iter().filter(|_| !nests).find(is_it));
    found.map(|(_, found)| *found)
}

/// The path in known names only: an unknown member's name is somebody's text.
fn field_of(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text += &format!("[{index}]"),
            Segment::Map { key } => {
                if !text.is_empty() {
                    text.push('.');
                }
                if !KNOWN.contains(&key.as_str()) {
                    return text + "(unknown member)";
                }
                text += key;
            }
            _ => {}
        }
    }
    text
}

/// The members of flat documents, at every level, in order.
pub(super) const KNOWN: [&str; 28] = [
    "access_token_id",
    "answer_resistance",
    "code",
    "codes",
    "created_at",
    "expired_at",
    "flat",
    "id",
    "intercom",
    "is_analog_line_enable",
    "is_can_manage_resistance",
    "is_licence_limit_reached",
    "is_open_door_code",
    "is_open_door_key",
    "is_sip_line_enable",
    "key",
    "key_count",
    "keys",
    "login",
    "name",
    "permissions",
    "properties",
    "ptz_priority",
    "quiescent_resistance",
    "updated_at",
    "user",
    "users",
    "users_count",
];

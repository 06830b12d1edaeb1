//! Settings of the contract whose feature is not built yet: refused, never ignored. A feature that lands removes its
//! line here.

use config::{Value, ValueKind};

use super::{place::without_numbers, read::Reader};

/// A setting by its path without the numbers of lists, and the value that is refused; `None`: any.
const UNBUILT: &[(&str, Option<&str>)] = &[("bus.baud", Some("auto"))];

/// Refuses what is not built yet, anywhere below `value` at `path`.
pub(super) fn refuse(reader: &Reader<'_>, path: &str, value: &Value) {
    let plain = without_numbers(path);
    for (key, refused) in UNBUILT.iter().filter(|(key, _)| *key == plain) {
        let message = match refused {
            None => "not in this version; remove it".to_owned(),
            Some(word) if *word == word_of(&value.kind) => {
                format!("{word} is not in this version; {}", other(key))
            }
            Some(_) => continue,
        };
        reader.problem(path, message);
    }
    match &value.kind {
        ValueKind::Table(table) => {
            let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
            for (key, value) in table {
                refuse(reader, &format!("{prefix}{key}"), value);
            }
        }
        ValueKind::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                refuse(reader, &format!("{path}[{index}]"), value);
            }
        }
        _ => {}
    }
}

/// What to write instead.
fn other(key: &str) -> &'static str {
    match key {
        "bus.baud" => "write the rate that the panels are set to, like 9600",
        _ => "remove it",
    }
}

fn word_of(kind: &ValueKind) -> &str {
    match kind {
        ValueKind::String(text) => text,
        _ => "",
    }
}

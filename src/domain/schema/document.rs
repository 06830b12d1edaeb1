//! Documents that are written by hand up to their schemas, and those behind them.

use std::{fmt::Write as _, fs, path::Path};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};

use super::{Message, Schemas};

/// Longest line, where it can be broken.
const WIDTH: usize = 118;

/// How a document is written.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Json,
    Yaml,
}

impl Format {
    /// Where the schemas stand in their document.
    fn indentation(self) -> usize {
        match self {
            Self::Json => 4,
            Self::Yaml => 2,
        }
    }
}

/// Asserts that the document at this path, below the crate's root, ends with these messages, where it has any, and
/// schemas; writes them into it where the environment has `BLESS`.
pub(crate) fn agree(path: &str, format: Format, messages: &[Message], schemas: Schemas) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let found = fs::read_to_string(&file).unwrap();
    let mark = |section: &str| match format {
        Format::Json => format!("\n    \"{section}\": "),
        Format::Yaml => format!("\n  {section}:"),
    };
    let first = mark(if messages.is_empty() { "schemas" } else { "messages" });
    let (by_hand, _) = found.split_once(&first).expect("schemas in the document");
    let mut made = by_hand.to_owned();
    let schemas = schemas.finish();
    if !messages.is_empty() {
        made.push_str(&mark("messages"));
        let messages = Node::Object(messages.iter().map(|message| message.node(&schemas)).collect());
        messages.write(&mut made, format, format.indentation());
    }
    made.push_str(&mark("schemas"));
    let ordered = Node::ordered(&schemas, &[], |_, schema| Node::schema(schema));
    ordered.write(&mut made, format, format.indentation());
    made.push_str(match format {
        Format::Json => "\n  }\n}\n",
        Format::Yaml => "\n",
    });
    let read: Value = match format {
        Format::Json => serde_json::from_str(&made).unwrap(),
        Format::Yaml => serde_saphyr::from_str(&made).unwrap(),
    };
    assert_eq!(read["components"]["schemas"], Value::Object(schemas), "as it was meant");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, made).unwrap();
    } else {
        assert!(
            found == made,
            "{path} is not what the types say: BLESS=1 cargo test --lib published_documents writes it"
        );
    }
}

/// A value whose members are in the order in which people read them.
pub(super) enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Plain(Value),
}

impl Node {
    /// Returns a schema, or a part of one.
    fn schema(value: &Value) -> Self {
        const FIRST: [&str; 6] = ["title", "description", "type", "discriminator", "required", "properties"];
        match value {
            Value::Object(members) => Self::ordered(members, &FIRST, |name, value| {
                // Properties come in the order of the wire, which is that of `required`.
                let Some(properties) = value.as_object().filter(|_| name == "properties") else {
                    return Self::schema(value);
                };
                let required = members.get("required").and_then(Value::as_array).into_iter().flatten();
                let required: Vec<&str> = required.filter_map(Value::as_str).collect();
                Self::ordered(properties, &required, |_, property| Self::schema(property))
            }),
            Value::Array(items) => Self::Array(items.iter().map(Self::schema).collect()),
            plain => Self::Plain(plain.clone()),
        }
    }

    /// Returns members with those of `first` first.
    fn ordered(members: &Map<String, Value>, first: &[&str], of: impl Fn(&str, &Value) -> Self) -> Self {
        let rank = |name: &str| first.iter().position(|first| *first == name).unwrap_or(first.len());
        let mut members: Vec<(&String, &Value)> = members.iter().collect();
        members.sort_by_key(|(name, _)| rank(name));
        Self::Object(members.into_iter().map(|(name, value)| (name.clone(), of(name, value))).collect())
    }

    /// One line of JSON, which is YAML too.
    fn line(&self) -> String {
        match self {
            Self::Object(members) => {
                let member = |(name, node): &(String, Self)| format!("{}: {}", json!(name), node.line());
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
            }
            Self::Array(items) => {
                format!("[{}]", items.iter().map(Self::line).collect::<Vec<_>>().join(", "))
            }
            Self::Plain(value) => value.to_string(),
        }
    }

    /// Writes it behind `text`, whose last line is indented so far: on that line where it fits.
    fn write(&self, text: &mut String, format: Format, indentation: usize) {
        let column = text.chars().rev().take_while(|character| *character != '\n').count();
        let line = self.line();
        let fits = indentation > format.indentation() && column + line.chars().count() < WIDTH;
        let inner = indentation + 2;
        let (members, brackets): (Vec<(Option<&str>, &Self)>, _) = match self {
            Self::Object(members) if !fits => {
                (members.iter().map(|(name, node)| (Some(name.as_str()), node)).collect(), ['{', '}'])
            }
            Self::Array(items) if !fits => (items.iter().map(|item| (None, item)).collect(), ['[', ']']),
            _ => {
                let blank = if text.ends_with([':', '-']) { " " } else { "" };
                let _ = write!(text, "{blank}{line}");
                return;
            }
        };
        if let Format::Json = format {
            text.push(brackets[0]);
        }
        for (index, (name, node)) in members.into_iter().enumerate() {
            let comma = if index > 0 && matches!(format, Format::Json) { "," } else { "" };
            let name = match (format, name) {
                (Format::Json, Some(name)) => format!("{}: ", json!(name)),
                (Format::Json, None) => String::new(),
                (Format::Yaml, Some(name)) => format!("{name}:"),
                (Format::Yaml, None) => "-".to_owned(),
            };
            let _ = write!(text, "{comma}\n{:inner$}{name}", "");
            node.write(text, format, inner);
        }
        if let Format::Json = format {
            let _ = write!(text, "\n{:indentation$}{}", "", brackets[1]);
        }
    }
}

/// Reads JSON with its members in their order.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Node;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Plain(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Plain(json!(value)))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Plain(json!(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Plain(json!(value)))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Plain(json!(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Plain(json!(value)))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = items.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::Array(nodes))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(member) = members.next_entry()? {
                    nodes.push(member);
                }
                Ok(Node::Object(nodes))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

//! What is read of generated documents, beside what the contract's tables say of the same text.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::DateTime;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    DigestBuilder, canonical_hash, canonical_json,
    generated::{self, Generated, Node},
    parse_flat,
    wording::KNOWN,
};

/// Documents of a run: half of them valid.
const CASES: u64 = 4000;

#[test]
fn a_document_is_taken_where_the_contract_says_so_and_its_digest_is_that_of_its_canonical_form() {
    let mut taken = 0;
    for seed in 0..CASES {
        let document = generated::document(seed);
        let Generated { text, .. } = &document;
        let (read, expected) = (parse_flat(text), expected(&document));
        let Some(expected) = expected else {
            assert!(read.is_err(), "seed {seed} is taken: {text:.3000}");
            continue;
        };
        let flat = match read {
            Ok(flat) => flat,
            // Damage may make two names one, which no value of the text tells.
            Err(error) if !document.whole && error.problem.contains("twice") => continue,
            Err(error) => panic!("seed {seed} is refused, {error}: {text:.3000}"),
        };
        taken += 1;
        assert_eq!(canonical_json(&flat), expected, "seed {seed}: {text:.3000}");
        assert_eq!(canonical_hash(&flat), *Sha256::digest(&expected));
        let (intercom, id) = (flat.intercom, flat.document.id);
        let mut digest = DigestBuilder::default();
        digest.add(intercom, id, &canonical_hash(&flat));
        let line = format!("{intercom}/{id}:{}\n", hex::encode(Sha256::digest(&expected)));
        assert_eq!(digest.finish(), hex::encode(Sha256::digest(line)));

        // What is served and exported is the same flat.
        let exported = serde_json::to_string(&flat).unwrap();
        assert_eq!(parse_flat(&exported).unwrap(), flat, "seed {seed}");
        let mut published: Value = serde_json::from_str(&expected).unwrap();
        let members = published.as_object_mut().unwrap();
        let unpublished = ["intercom", "codes", "permissions"];
        members.retain(|name, _| !unpublished.contains(&name.as_str()) && !name.ends_with("_resistance"));
        let served = serde_json::to_string(&flat.document).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&served).unwrap(), published, "seed {seed}");
    }
    assert!((CASES / 2..CASES / 4 * 3).contains(&taken), "{taken} of {CASES} are taken");
}

#[test]
fn every_member_can_be_named_in_an_error() {
    fn names(of: &Of, found: &mut BTreeSet<&str>) {
        match of {
            Of::Object(members) => members.iter().for_each(|(name, _, of)| {
                found.insert(name);
                names(of, found);
            }),
            Of::Array(of) => names(of, found),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    names(&FLAT, &mut found);
    assert_eq!(Vec::from_iter(found), KNOWN);
}

/// What a value has to be.
enum Of {
    Id,
    Code,
    Integer,
    Key,
    Date,
    Text,
    Flag,
    Object(&'static [(&'static str, Presence, Of)]),
    Array(&'static Of),
}

#[derive(Clone, Copy)]
enum Presence {
    Needed,
    /// Absent and null are null.
    OrNull,
    /// Must be there, and may be null.
    Nullable,
    /// Absent, null and an empty array are no part of the canonical form.
    Optional,
}

use Presence::{Needed, Nullable, Optional, OrNull};

const FLAT: Of = Of::Object(&[
    ("intercom", Needed, Of::Id),
    ("id", Needed, Of::Id),
    ("flat", Needed, Of::Id),
    ("key_count", Needed, Of::Integer),
    ("users_count", Needed, Of::Integer),
    ("keys", Needed, Of::Array(&KEY)),
    ("users", Needed, Of::Array(&USER)),
    ("properties", Needed, PROPERTIES),
    ("answer_resistance", Optional, Of::Integer),
    ("quiescent_resistance", Optional, Of::Integer),
    ("codes", Optional, Of::Array(&CODE)),
    ("permissions", Optional, Of::Array(&PERMISSION)),
]);
const CODE: Of = Of::Object(&[
    ("id", Needed, Of::Id),
    ("code", Needed, Of::Code),
    ("user", Nullable, Of::Id),
    ("expired_at", Nullable, Of::Date),
]);
const PERMISSION: Of = Of::Object(&[
    ("user", Needed, Of::Id),
    ("is_open_door_key", Needed, Of::Flag),
    ("is_open_door_code", Needed, Of::Flag),
]);
const KEY: Of = Of::Object(&[
    ("id", Needed, Of::Id),
    ("key", Needed, Of::Key),
    ("user", OrNull, USER),
    ("created_at", Needed, Of::Date),
    ("updated_at", Needed, Of::Date),
]);
const USER: Of = Of::Object(&[
    ("id", Needed, Of::Id),
    ("name", Needed, Of::Text),
    ("login", Needed, Of::Text),
    ("created_at", Needed, Of::Date),
    ("updated_at", Needed, Of::Date),
    ("expired_at", OrNull, Of::Date),
    ("is_licence_limit_reached", Needed, Of::Flag),
    ("ptz_priority", Needed, Of::Integer),
    ("access_token_id", OrNull, Of::Integer),
]);
const PROPERTIES: Of = Of::Object(&[
    ("is_analog_line_enable", Needed, Of::Flag),
    ("is_sip_line_enable", Needed, Of::Flag),
    ("is_can_manage_resistance", Needed, Of::Flag),
]);

/// The canonical form of a document; `None`: it is to be refused.
fn expected(document: &Generated) -> Option<String> {
    let value: Value = serde_json::from_str(&document.text).ok()?;
    if document.whole && has_a_member_twice(&document.tree) {
        return None;
    }
    let length = |name: &str| Some(value.get(name)?.as_array()?.len());
    let counts =
        |count: &str, list: &str| value.get(count).and_then(Value::as_u64) == length(list).map(|n| n as u64);
    let form = canonical(&value, &FLAT)?;
    let mut users: Vec<u64> = value.get("permissions").and_then(Value::as_array).map_or(Vec::new(), |all| {
        all.iter().filter_map(|permission| permission.get("user")?.as_u64()).collect()
    });
    let all = users.len();
    users.sort_unstable();
    users.dedup();
    (counts("key_count", "keys") && counts("users_count", "users") && users.len() == all).then_some(form)
}

fn canonical(value: &Value, of: &Of) -> Option<String> {
    let integer =
        |least: u64| value.as_u64().filter(|value| (least..1 << 53).contains(value)).map(|n| n.to_string());
    let text = |is_it: fn(&str) -> bool| value.as_str().filter(|text| is_it(text)).map(|_| value.to_string());
    match of {
        Of::Id => integer(1),
        Of::Integer => integer(0),
        Of::Text => text(|_| true),
        Of::Key => text(|text| {
            text.len() == 14 && u64::from_str_radix(text, 16).is_ok_and(|code| format!("{code:014X}") == text)
        }),
        Of::Code => {
            text(|text| (4..=10).contains(&text.len()) && text.chars().all(|digit| digit.is_ascii_digit()))
        }
        Of::Date => text(|text| {
            let format = "%Y-%m-%d %H:%M:%S";
            DateTime::strptime(format, text).is_ok_and(|date| date.strftime(format).to_string() == text)
        }),
        Of::Flag => value.as_bool().map(|flag| flag.to_string()),
        Of::Array(of) => {
            let elements: Option<Vec<String>> =
                value.as_array()?.iter().map(|element| canonical(element, of)).collect();
            Some(format!("[{}]", elements?.join(",")))
        }
        Of::Object(members) => {
            let object = value.as_object()?;
            let mut sorted = BTreeMap::new();
            for (name, presence, of) in *members {
                let form = match (presence, object.get(*name)) {
                    (OrNull, None | Some(Value::Null)) => "null".to_owned(),
                    (Optional, None | Some(Value::Null)) => continue,
                    (Optional, Some(Value::Array(empty)))
                        if empty.is_empty() && matches!(of, Of::Array(_)) =>
                    {
                        continue;
                    }
                    (Nullable, Some(Value::Null)) => "null".to_owned(),
                    (_, value) => canonical(value?, of)?,
                };
                sorted.insert(*name, format!("\"{name}\":{form}"));
            }
            Some(format!("{{{}}}", sorted.into_values().collect::<Vec<_>>().join(",")))
        }
    }
}

fn has_a_member_twice(node: &Node) -> bool {
    match node {
        Node::Plain(_) | Node::Text(_) => false,
        Node::Array(elements) => elements.iter().any(has_a_member_twice),
        Node::Object(members) => {
            let mut names: Vec<String> =
                members.iter().map(|(name, _)| serde_json::from_str(name).expect("a name")).collect();
            names.sort();
            names.dedup();
            names.len() < members.len() || members.iter().any(|(_, value)| has_a_member_twice(value))
        }
    }
}

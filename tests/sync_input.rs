//! What comes on `sync/flats` may be anything: it is read whole, or refused with the field at fault, and never more.

use intercom_gateway::{
    cloud::sync::{Content, Header, read},
    domain::{MAX_INTEGER, SyncCode, SyncError},
};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "support/flats.rs"]
mod flats;

use flats::flat;

const INTERCOMS: &[u64] = &[1, 2];
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn snapshot() -> Value {
    json!({
        "kind": "snapshot", "request": "6f1c1c36-3b0a-4a52-9d2b-0c8f5a9f8a11", "revision": 57, "part": 1, "parts": 2,
        "digest": DIGEST,
        "flats": [flat(1, 11, 7, &[(101, flats::KNOWN_KEY)]), flat(2, 11, 7, &[])],
    })
}

fn delta() -> Value {
    json!({
        "kind": "delta", "base": 57, "revision": 58, "digest": DIGEST,
        "upsert": [flat(1, 11, 7, &[(101, flats::KNOWN_KEY)])], "remove": [{"intercom": 1, "id": 12}],
    })
}

fn current() -> Value {
    json!({"kind": "current", "request": "6f1c1c36-3b0a-4a52-9d2b-0c8f5a9f8a11", "revision": 57, "digest": DIGEST})
}

fn user() -> Value {
    json!({
        "id": 6, "name": "n", "login": "l", "created_at": "2022-11-11 14:45:58", "updated_at": "2022-11-11 14:45:58",
        "expired_at": null, "is_licence_limit_reached": false, "ptz_priority": 1, "access_token_id": null,
    })
}

/// `message` with the member at a JSON pointer replaced; a missing one is added, `None` removes it.
fn with(mut message: Value, pointer: &str, value: Option<Value>) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = message.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(members), Some(value)) => drop(members.insert(name.to_owned(), value)),
        (Value::Object(members), None) => drop(members.remove(name)),
        (Value::Array(elements), Some(value)) if name == "-" => elements.push(value),
        (Value::Array(elements), Some(value)) => elements[name.parse::<usize>().unwrap()] = value,
        other => panic!("{other:?}"),
    }
    message
}

fn refused(text: &str) -> SyncError {
    match read(text.as_bytes(), INTERCOMS) {
        Err(error) => error,
        Ok(download) => panic!("{text:.200} is taken: {:?}", download.header),
    }
}

#[test]
fn valid_messages_are_taken_as_they_are() {
    let part = read(snapshot().to_string().as_bytes(), INTERCOMS).unwrap();
    let Header::Part(part) = part.header else { panic!("{part:?}") };
    assert_eq!((part.part, part.parts, part.empty, part.head.revision), (1, 2, false, 57));
    assert_eq!(part.head.digest, DIGEST);

    let change = read(delta().to_string().as_bytes(), INTERCOMS).unwrap();
    let Content::Changes { upsert, remove } = change.content else { panic!() };
    assert_eq!((upsert.len(), upsert[0].document.keys.len(), remove), (1, 1, vec![(1, 12)]));

    assert!(matches!(
        read(current().to_string().as_bytes(), INTERCOMS).unwrap().header,
        Header::Current(current) if current.head.request.is_some()
    ));
    // Absent and null are the same, unknown members are ignored, an order of members there is none.
    for (pointer, value) in [
        ("/request", None),
        ("/request", Some(Value::Null)),
        ("/empty", Some(Value::Null)),
        ("/more", Some(json!({"deep": [1.5e300, "x"]}))),
        ("/flats/0/more", Some(json!("x"))),
        ("/flats/0/answer_resistance", Some(Value::Null)),
        ("/flats/0/quiescent_resistance", Some(json!(300))),
        ("/revision", Some(json!(0))),
        ("/revision", Some(json!(MAX_INTEGER))),
        ("/flats", Some(json!([]))),
    ] {
        let message = with(snapshot(), pointer, value).to_string();
        assert!(read(message.as_bytes(), INTERCOMS).is_ok(), "{message}");
    }
    for pointer in ["/upsert", "/remove"] {
        assert!(read(with(delta(), pointer, None).to_string().as_bytes(), INTERCOMS).is_ok());
    }
}

#[test]
fn every_fault_is_refused_with_its_field() {
    let huge = json!(9_007_199_254_740_992_u64);
    let cases: Vec<(Value, &str, Option<Value>, &str)> = vec![
        (snapshot(), "/kind", None, "kind"),
        (snapshot(), "/kind", Some(json!("dump")), "kind"),
        (snapshot(), "/kind", Some(json!(1)), "kind"),
        (snapshot(), "/request", Some(json!("not a uuid")), "request"),
        (snapshot(), "/request", Some(json!(5)), "request"),
        (snapshot(), "/revision", None, "revision"),
        (snapshot(), "/revision", Some(json!("57")), "revision"),
        (snapshot(), "/revision", Some(json!(57.0)), "revision"),
        (snapshot(), "/revision", Some(json!(-1)), "revision"),
        (snapshot(), "/revision", Some(huge.clone()), "revision"),
        (snapshot(), "/part", Some(json!(0)), "part"),
        (snapshot(), "/part", Some(json!(3)), "part"),
        (snapshot(), "/parts", None, "parts"),
        (snapshot(), "/parts", Some(json!(0)), "parts"),
        (snapshot(), "/parts", Some(json!(u64::MAX)), "parts"),
        (snapshot(), "/parts", Some(json!(4097)), "parts"),
        (snapshot(), "/digest", None, "digest"),
        (snapshot(), "/digest", Some(json!(DIGEST.to_uppercase())), "digest"),
        (snapshot(), "/digest", Some(json!(&DIGEST[1..])), "digest"),
        (snapshot(), "/empty", Some(json!("yes")), "empty"),
        (snapshot(), "/flats", None, "flats"),
        (snapshot(), "/flats", Some(json!({})), "flats"),
        (snapshot(), "/flats/0", Some(json!(7)), "flats[0]"),
        (snapshot(), "/flats/1/id", Some(json!(0)), "flats[1].id"),
        (snapshot(), "/flats/1/flat", None, "flats[1].flat"),
        (snapshot(), "/flats/0/flat", Some(huge.clone()), "flats[0].flat"),
        (snapshot(), "/flats/0/key_count", Some(json!(2)), "flats[0].key_count"),
        (snapshot(), "/flats/0/users", Some(json!([1])), "flats[0].users[0]"),
        (snapshot(), "/flats/0/properties", None, "flats[0].properties"),
        (snapshot(), "/flats/0/answer_resistance", Some(json!(1.5)), "flats[0].answer_resistance"),
        (snapshot(), "/flats/-", Some(flat(1, 11, 8, &[])), "flats[2].id"),
        (snapshot(), "/flats/-", Some(flat(1, 12, 7, &[])), "flats[2].flat"),
        (snapshot(), "/flats/0/keys/0/key", Some(json!("0003042CAAC12")), "flats[0].keys[0].key"),
        (snapshot(), "/flats/0/keys/0/key", Some(json!("0000003042caac")), "flats[0].keys[0].key"),
        (snapshot(), "/flats/0/keys/0/id", Some(json!(1e3)), "flats[0].keys[0].id"),
        (
            snapshot(),
            "/flats/0/keys/0/created_at",
            Some(json!("2023-02-29 00:00:00")),
            "flats[0].keys[0].created_at",
        ),
        (snapshot(), "/flats/0/keys/0/user", Some(json!([])), "flats[0].keys[0].user"),
        (
            snapshot(),
            "/flats/0/keys/0/user",
            Some(with(user(), "/expired_at", Some(json!("2022-11-14T15:56:40Z")))),
            "flats[0].keys[0].user.expired_at",
        ),
        (delta(), "/base", None, "base"),
        (delta(), "/base", Some(json!(-5)), "base"),
        (delta(), "/upsert", Some(json!("all")), "upsert"),
        (delta(), "/upsert/-", Some(flat(1, 11, 9, &[])), "upsert[1].id"),
        (delta(), "/remove", Some(json!(12)), "remove"),
        (delta(), "/remove/0", Some(json!(12)), "remove[0]"),
        (delta(), "/remove/0/id", Some(json!("12")), "remove[0].id"),
        (delta(), "/remove/0/intercom", None, "remove[0].intercom"),
        (current(), "/request", None, "request"),
        (current(), "/digest", Some(json!(0)), "digest"),
    ];
    for (message, pointer, value, field) in cases {
        let text = with(message, pointer, value).to_string();
        let error = refused(&text);
        assert_eq!((error.code, error.field.as_deref()), (SyncCode::Invalid, Some(field)), "{text} {error}");
        assert!(!error.to_string().contains("3042"), "a key number is repeated: {error}");
    }
}

#[test]
fn a_foreign_intercom_is_named() {
    let error = refused(&with(snapshot(), "/flats/1/intercom", Some(json!(9))).to_string());
    assert_eq!(
        (error.code, error.revision, error.intercom, error.id, error.field.as_deref()),
        (SyncCode::UnknownIntercom, Some(57), Some(9), Some(11), Some("flats[1].intercom"))
    );
    assert!(error.message.contains("another gateway's flat"), "{error}");
}

#[test]
fn what_no_value_can_say_is_refused_too() {
    let good = snapshot().to_string();
    let edited = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let name = r#""name":"\ud800","#;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let cases = [
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        "flats".into(),
        good[..good.len() - 1].into(),
        format!("{good}{good}"),
        format!("\u{feff}{good}"),
        edited("\"revision\":57", "\"revision\":57,\"revision\":57"),
        edited("\"revision\":57", "\"revision\":57,\"x\":1,\"x\":1"),
        edited("\"revision\":57", "\"revision\":57e0"),
        edited("\"revision\":57", "\"revision\":0x39"),
        edited("\"revision\":57", &format!("\"revision\":{}", "9".repeat(10_000))),
        edited("\"revision\":57", &format!("\"revision\":57,\"x\":{}", nested(100_000))),
        edited("\"flats\":[", &format!("\"flats\":[{},", nested(100_000))),
        edited("\"users\":[]", "\"users\":[],\"users\":[]"),
        edited("\"users\":[]", "\"users\":[],\"y\":{\"z\":1,\"z\":1}"),
        edited("\"users\":[]", &format!("\"users\":[{{{name}\"id\":1}}]")),
        edited("\"users\":[]", &format!("\"users\":[],\"x\":{}", nested(100_000))),
        edited("\"users\":[]", "\"users\":[],\"x\":\"\\ud800\""),
    ];
    for text in cases {
        assert_eq!(refused(&text).code, SyncCode::Invalid, "{text:.300}");
    }
    let mut bytes = good.clone().into_bytes();
    let at = good.find("snapshot").unwrap();
    bytes[at] = 0xFF;
    assert_eq!(read(&bytes, INTERCOMS).unwrap_err().code, SyncCode::Invalid);
}

#[test]
fn a_message_of_a_mebibyte_is_read() {
    let mut flats: Vec<Value> = Vec::new();
    let mut size = 0;
    for id in 1.. {
        let flat = flat(1, id, id, &[(id, flats::KNOWN_KEY)]);
        size += flat.to_string().len() + 1;
        if size > (1 << 20) - 1000 {
            break;
        }
        flats.push(flat);
    }
    let count = flats.len();
    let large = with(snapshot(), "/flats", Some(json!(flats)));
    let Content::Flats(kept) = read(large.to_string().as_bytes(), INTERCOMS).unwrap().content else {
        panic!()
    };
    assert!(kept.len() > 900_000);
    let wrong = with(large, &format!("/flats/{}/keys/0/id", count - 1), Some(json!(0)));
    assert_eq!(refused(&wrong.to_string()).field.unwrap(), format!("flats[{}].keys[0].id", count - 1));
}

/// Any JSON, with the names that mean something.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "kind", "request", "revision", "part", "parts", "digest", "flats", "base", "upsert", "remove",
        "empty", "intercom", "id", "flat", "keys", "users", "key", "user", "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["snapshot", "delta", "current", DIGEST, flats::KNOWN_KEY])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| Value::Object(
                members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

/// Pointers to everything in a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                found.push(format!("{at}/{name}"));
                pointers(inner, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                found.push(format!("{at}/{index}"));
                pointers(inner, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, INTERCOMS);
    }

    #[test]
    fn any_json_is_taken_or_refused(value in any_json()) {
        let _ = read(value.to_string().as_bytes(), INTERCOMS);
    }

    /// A valid message with one value replaced is refused, or says something else.
    #[test]
    fn one_wrong_value_is_found(which in 0..3_usize, place in any::<prop::sample::Index>(), value in any_json()) {
        let good = [snapshot(), delta(), current()][which].clone();
        let mut all = Vec::new();
        pointers(&good, "", &mut all);
        let pointer = place.get(&all);
        let message = with(good, pointer, Some(value.clone()));
        if let Ok(download) = read(message.to_string().as_bytes(), INTERCOMS) {
            // What was read is what stands there.
            let revision = match &download.header {
                Header::Part(part) => part.head.revision,
                Header::Delta(change) => change.head.revision,
                Header::Current(current) => current.head.revision,
            };
            prop_assert_eq!(&message["revision"], &json!(revision));
        }
    }

    /// Bytes flipped or cut anywhere.
    #[test]
    fn damage_is_survived(place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = snapshot().to_string().into_bytes();
        let at = place.index(bytes.len());
        if cut {
            bytes.truncate(at);
            prop_assert!(read(&bytes, INTERCOMS).is_err());
        } else {
            bytes[at] = byte;
            let _ = read(&bytes, INTERCOMS);
        }
    }
}

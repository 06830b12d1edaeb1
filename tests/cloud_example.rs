//! The pieces of `examples/cloud`: what is consumed, once; what is served, by the published digest.

#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../examples/cloud/main.rs"]
mod cloud;

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use cloud::{
    building::{Building, MESSAGE, read_flats},
    events::Event,
    journals::{Journals, Replay, Taken},
};
use intercom_gateway::{
    cloud::sync::{Content, Header, read},
    domain::Mono,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn id() -> (String, String) {
    ("g".to_owned(), "9f3c2a41".to_owned())
}

fn at(seconds: u64) -> Mono {
    Mono::ZERO + Duration::from_secs(seconds)
}

#[test]
fn a_hole_is_asked_for_ever_more_rarely_until_the_gateway_says_that_it_is_gone() {
    let mut journals = Journals::default();
    for sequence in [1, 2, 5, 6] {
        assert_eq!(journals.take(id(), sequence), Taken::New);
    }
    assert_eq!(journals.take(id(), 5), Taken::Known);
    assert_eq!(journals.committed(), [(id(), 2)]);
    assert_eq!(journals.committed(), []);
    assert_eq!(journals.replays(at(0), PATIENCE), []);
    assert_eq!(journals.replays(at(59), PATIENCE), []);
    let hole = || [Replay { journal: id(), range: 3..=4 }];
    assert_eq!(journals.replays(at(60), PATIENCE), hole());
    assert_eq!(journals.take(id(), 4), Taken::New);
    let rest = || [Replay { journal: id(), range: 3..=3 }];
    assert_eq!(journals.replays(at(179), PATIENCE), []);
    assert_eq!(journals.replays(at(180), PATIENCE), rest());
    assert_eq!(journals.replays(at(419), PATIENCE), []);
    assert_eq!(journals.replays(at(420), PATIENCE), rest());
    assert_eq!((journals.committed(), journals.lost()), (vec![], 0));
    assert!(journals.gone(id(), 1..=3));
    assert!(!journals.gone(id(), 1..=3));
    assert_eq!(journals.replays(at(9999), PATIENCE), []);
    assert_eq!((journals.committed(), journals.lost()), (vec![(id(), 6)], 1));
}

#[test]
fn a_gateway_that_sends_what_it_has_been_told_of_is_told_again() {
    let mut journals = Journals::default();
    journals.resume(id(), 40);
    assert_eq!(journals.committed(), []);
    // The broker forgot what it retained: the gateway sends its oldest window again, and would for ever.
    journals.take(id(), 30);
    assert_eq!(journals.committed(), [(id(), 40)]);
    assert_eq!(journals.committed(), []);
    // What comes twice on its way is no such sign.
    journals.take(id(), 41);
    journals.take(id(), 41);
    assert_eq!(journals.committed(), [(id(), 41)]);
    assert_eq!(journals.committed(), []);
}

#[test]
fn of_two_journals_the_one_that_grew_last_is_told_last() {
    let mut journals = Journals::default();
    let other = || ("g".to_owned(), "00000000".to_owned());
    journals.take(id(), 1);
    journals.take(other(), 1);
    assert_eq!(journals.committed(), [(id(), 1), (other(), 1)]);
    journals.take(id(), 2);
    journals.forget_told();
    assert_eq!(journals.committed(), [(other(), 1), (id(), 2)]);
}

fn event(more: &Value) -> Vec<u8> {
    let mut event = json!({
        "specversion": "1.0", "id": "9f3c2a41-9", "source": "intercom-gateway/g", "type": "intercom.key.swiped",
        "time": "2026-11-23T22:00:01.123Z", "sequence": "00000000000000000009", "data": {"journal": "9f3c2a41"},
    });
    let event = event.as_object_mut().unwrap();
    event.extend(more.as_object().unwrap().clone());
    serde_json::to_vec(event).unwrap()
}

#[test]
fn events_are_taken_of_the_gateway_whose_topic_it_is() {
    let read = |more: Value| Event::read("g", &event(&more)).map_err(|error| error.to_string());
    let taken = read(json!({"subject": "entrance-1"})).unwrap();
    assert_eq!((taken.journal.as_str(), taken.sequence, taken.pruned), ("9f3c2a41", 9, None));
    assert_eq!(taken.text.as_bytes(), event(&json!({"subject": "entrance-1"})));
    for (more, why) in [
        (json!({"source": "intercom-gateway/other"}), "another gateway"),
        (json!({"source": null}), "without source"),
        (json!({"sequence": 9}), "without sequence"),
        (json!({"sequence": "9007199254740992"}), "the sequence"),
        (json!({"time": "yesterday"}), "no time"),
        (json!({"data": {}}), "without journal"),
        (json!({"id": "a\u{0}b"}), "NUL"),
    ] {
        assert!(read(more.clone()).unwrap_err().contains(why), "{more}");
    }
    assert!(Event::read("g", b"nonsense").is_err());
    assert!(Event::read("g", b"\xff").is_err());
}

#[test]
fn a_pruned_event_says_what_is_gone_and_is_of_its_own_journal() {
    let read = |data: Value| {
        Event::read("g", &event(&json!({"type": "gateway.journal.pruned", "data": data}))).unwrap()
    };
    let pruned = read(json!({"journal": "9f3c2a41", "pruned_journal": "aaaaaaaa", "from": 1, "to": 8}));
    assert_eq!((pruned.journal.as_str(), pruned.pruned), ("9f3c2a41", Some(("aaaaaaaa".to_owned(), 1..=8))));
    // As version 0.2 has written them, whose bytes do not change.
    let pruned = read(json!({"journal": "aaaaaaaa", "from": 1, "to": 8}));
    assert_eq!((pruned.journal.as_str(), pruned.pruned), ("9f3c2a41", None));
}

proptest! {
    #[test]
    fn every_event_is_new_once_and_all_are_confirmed(sequences in prop::collection::vec(1..40_u64, 0..200)) {
        let mut journals = Journals::default();
        let mut seen = std::collections::BTreeSet::new();
        for sequence in sequences {
            let expected = if seen.insert(sequence) { Taken::New } else { Taken::Known };
            prop_assert_eq!(journals.take(id(), sequence), expected);
        }
        let through = (1..).find(|sequence| !seen.contains(sequence)).unwrap() - 1;
        let told = journals.committed().first().map_or(0, |(_, through)| *through);
        prop_assert_eq!(told, through);
    }
}

#[test]
fn the_server_has_the_published_digest_and_its_messages_are_valid() {
    let vector: Value = serde_json::from_str(include_str!("data/digest-vector.json")).unwrap();
    let flats = read_flats(&vector).unwrap();
    let intercoms: Vec<u64> = flats.keys().map(|(intercom, _)| *intercom).collect();
    let mut building = Building::new(57, flats.clone());
    assert_eq!(building.state(), (57, vector["digest"].as_str().unwrap()));
    assert_eq!(building.flats(), &flats);

    let id = "6f1c1c36-3b0a-4a52-9d2b-0c8f5a9f8a11";
    let header = |message: &str| read(message.as_bytes(), &intercoms).unwrap().header;
    let same = json!({"request": id, "revision": 57, "digest": building.state().1});
    assert!(
        matches!(building.answer(&same).as_slice(), [current] if matches!(header(current), Header::Current(_)))
    );
    let none = json!({"request": id, "revision": null, "digest": null});
    assert!(building.answer(&none).iter().all(|part| matches!(header(part), Header::Part(_))));
    let parts = building.snapshot(None, 1);
    assert_eq!(parts.len(), flats.len());

    let fewer = flats.into_iter().skip(1).collect();
    let delta = read(building.become_these(fewer).as_bytes(), &intercoms).unwrap();
    let Content::Changes { upsert, remove } = delta.content else { panic!() };
    assert_eq!((upsert.len(), remove.len(), building.state().0), (0, 1, 58));
}

#[test]
fn a_change_that_is_too_large_for_a_message_goes_as_a_snapshot_in_parts() {
    let key = |id: u64| {
        json!({"id": id, "key": format!("{id:014X}"), "user": null,
               "created_at": "2022-11-11 14:46:16", "updated_at": "2022-11-14 15:56:40"})
    };
    let flat = |id: u64, keys: u64| {
        let keys: Vec<Value> = (0..keys).map(|number| key(id * 1_000 + number)).collect();
        json!({"intercom": 1, "id": id, "flat": id, "key_count": keys.len(), "users_count": 0, "keys": keys, "users": [],
               "properties": {"is_analog_line_enable": true, "is_sip_line_enable": true, "is_can_manage_resistance": true}})
    };
    let house = |keys: u64| {
        read_flats(&json!({"flats": (1..=20).map(|id| flat(id, keys)).collect::<Vec<_>>()})).unwrap()
    };
    let kinds = |messages: &[String]| -> Vec<bool> {
        assert!(messages.iter().all(|message| message.len() <= MESSAGE));
        let is_part =
            |message: &String| matches!(read(message.as_bytes(), &[1]).unwrap().header, Header::Part(_));
        messages.iter().map(is_part).collect()
    };
    let mut building = Building::new(57, house(1));
    assert_eq!(kinds(&building.change_to(house(2))), [false]);
    let many = building.change_to(house(900));
    assert!(many.iter().map(String::len).sum::<usize>() > MESSAGE);
    assert!(kinds(&many).len() > 2 && kinds(&many).iter().all(|part| *part));
    assert!(many.iter().all(|part| part.len() <= 512 << 10), "the contract's limit of a part");
    assert_eq!(building.state().0, 59);
}

/// The Python of docs/cloud.md is run as it stands there: digest of the published vector, and valid messages.
#[test]
fn the_twenty_lines_of_the_documentation_work() {
    let document = include_str!("../docs/cloud.md");
    let code = document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for vector in [include_str!("data/digest-vector.json"), include_str!("data/digest-vector-2.json")] {
        runs(code, &serde_json::from_str(vector).unwrap());
    }
}

/// Runs the Python on the flats of a vector.
fn runs(code: &str, vector: &Value) {
    let mut flats = vector["flats"].clone();
    for flat in flats.as_array_mut().unwrap() {
        // As the text says: of the optional members those that are neither null nor empty.
        let optional = ["codes", "permissions"];
        flat.as_object_mut().unwrap().retain(|name, value| {
            let is_empty = optional.contains(&name.as_str()) && value == &serde_json::json!([]);
            !(value.is_null() || is_empty)
        });
    }
    let script = format!(
        "{code}\nimport sys\nflats = {{(f['intercom'], f['id']): f for f in json.load(sys.stdin)}}\n\
         request = {{'request': '6f1c1c36-3b0a-4a52-9d2b-0c8f5a9f8a11', 'revision': None, 'digest': None}}\n\
         for message in answer(request, 57, flats): print(json.dumps(message))\n\
         request.update(revision=57, digest=digest(flats))\n\
         for message in answer(request, 57, flats): print(json.dumps(message))\n"
    );
    let mut child = Command::new("python3")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed by this test");
    child.stdin.take().unwrap().write_all(flats.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let intercoms: Vec<u64> =
        vector["flats"].as_array().unwrap().iter().map(|flat| flat["intercom"].as_u64().unwrap()).collect();
    let text = String::from_utf8(output.stdout).unwrap();
    let headers: Vec<Header> =
        text.lines().map(|line| read(line.as_bytes(), &intercoms).unwrap().header).collect();
    let [Header::Part(part), Header::Current(current)] = headers.as_slice() else { panic!("{text}") };
    assert_eq!(part.head.digest, vector["digest"].as_str().unwrap());
    assert_eq!(current.head.digest, part.head.digest);
}

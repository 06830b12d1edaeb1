//! What proves what, and that neither a crash nor another configuration loses it.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::{ClockQuality, EventBody, Form, Name, Stamp, StoredEvent};

const JOURNAL: &str = "9f3c2a41";

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + i64::try_from(second).unwrap()).unwrap()
}

/// An entrance with everything, one that is open to all, and a cabinet.
fn fittings() -> Fittings {
    let panel = |panel| FittedPanel {
        name: name(panel),
        intercom: 1,
        can_blink: true,
        has_secure_channel: false,
        has_reader: false,
        has_lock: false,
        has_contact: false,
        exit: None,
        flats: Vec::new(),
    };
    let entrance = FittedPanel {
        has_secure_channel: true,
        has_reader: true,
        has_lock: true,
        has_contact: true,
        exit: Some(1),
        ..panel("entrance-1")
    };
    let gate = FittedPanel { has_reader: true, has_contact: true, ..panel("gate") };
    let risers = FittedPanel { can_blink: false, flats: vec![12, 14], ..panel("risers") };
    Fittings { panels: vec![entrance, gate, risers], has_cloud: true }
}

fn event_of(
    journal: &str,
    sequence: u64,
    kind: &str,
    panel: &str,
    data: &Value,
    online: bool,
) -> StoredEvent {
    assert!(EventBody::KINDS.contains(&kind), "{kind}");
    let stamp = Stamp {
        time: at(sequence),
        boot: "boot".into(),
        uptime_ms: sequence,
        clock: ClockQuality::Synchronized,
    };
    StoredEvent {
        sequence,
        journal: journal.into(),
        stamp,
        online,
        kind: kind.to_owned(),
        subject: (!panel.is_empty()).then(|| panel.to_owned()),
        data: data.to_string(),
        form: Form::CURRENT,
    }
}

fn event(sequence: u64, kind: &str, panel: &str, data: &Value) -> StoredEvent {
    event_of(JOURNAL, sequence, kind, panel, data, false)
}

fn swipe(reason: &str) -> Value {
    let decision = if reason == "key_known" { "granted" } else { "denied" };
    json!({"panel": "entrance-1", "intercom": 1, "key": "0000003042CAAC", "decision": decision, "reason": reason,
           "user_id": 6, "flats": [{"id": 1, "flat": 1}]})
}

fn line(flat: u64, from: &str, to: &str) -> Value {
    json!({"panel": "risers", "intercom": 1, "flat": flat, "flat_id": null, "from": from, "to": to, "raw": 7})
}

fn input(input: u8, to: &str) -> Value {
    json!({"panel": "entrance-1", "intercom": 1, "input": input, "from": "inactive", "to": to})
}

/// Items that are done after these events, each of another sequence.
fn done_by(events: &[(&str, &str, Value)]) -> Vec<String> {
    let mut record = Record::default();
    for (sequence, (kind, panel, data)) in (1..).zip(events) {
        record.apply(&event(sequence, kind, panel, data), &fittings());
    }
    done(&record)
}

fn done(record: &Record) -> Vec<String> {
    record.list(&fittings()).into_iter().filter(|item| item.done.is_some()).map(|item| item.id).collect()
}

#[test]
fn the_list_makes_itself_from_what_is_fitted() {
    let items = fittings().items();
    let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "panel/entrance-1/answered",
            "panel/entrance-1/secured",
            "panel/entrance-1/identified",
            "lock/entrance-1/opened",
            "door/entrance-1/contact",
            "button/entrance-1/exit",
            "key/entrance-1/refused",
            "panel/gate/answered",
            "panel/gate/identified",
            "door/gate/contact",
            "key/gate/refused",
            "panel/risers/answered",
            "line/1/12/on_hook",
            "line/1/12/off_hook",
            "line/1/12/number",
            "line/1/14/on_hook",
            "line/1/14/off_hook",
            "line/1/14/number",
            "cloud/back",
        ]
    );
    for item in &items {
        let group = serde_json::to_value(item.group).unwrap();
        let kind = serde_json::to_value(item.kind).unwrap();
        assert!(item.id.starts_with(&format!("{}/", group.as_str().unwrap())), "{item:?}");
        assert!(item.id.ends_with(&format!("/{}", kind.as_str().unwrap())), "{item:?}");
        assert_eq!(item.by_hand, matches!(kind.as_str(), Some("identified" | "number")), "{item:?}");
        assert!(item.done.is_none());
    }
    assert_eq!(
        serde_json::to_value(&items[15]).unwrap(),
        json!({
            "id": "line/1/14/on_hook", "group": "line", "kind": "on_hook", "panel": "risers", "intercom": 1, "flat": 14,
            "by_hand": false, "done": null,
        })
    );
    assert!(Fittings::default().items().is_empty());
}

#[test]
fn each_item_is_done_by_its_event_and_names_it() {
    let at_panel = json!({"panel": "entrance-1", "intercom": 1});
    let told = [
        ("intercom.panel.online", "entrance-1", at_panel.clone(), "panel/entrance-1/answered"),
        ("intercom.panel.secured", "entrance-1", at_panel.clone(), "panel/entrance-1/secured"),
        ("intercom.door.unlocked", "entrance-1", at_panel.clone(), "lock/entrance-1/opened"),
        ("intercom.door.opened", "entrance-1", at_panel.clone(), "door/entrance-1/contact"),
        ("intercom.door.forced", "gate", json!({"panel": "gate"}), "door/gate/contact"),
        ("intercom.input.changed", "entrance-1", input(1, "active"), "button/entrance-1/exit"),
        ("intercom.key.swiped", "entrance-1", swipe("key_unknown"), "key/entrance-1/refused"),
        ("intercom.line.changed", "risers", line(12, "unknown", "on_hook"), "line/1/12/on_hook"),
        ("intercom.line.changed", "risers", line(12, "on_hook", "off_hook"), "line/1/12/off_hook"),
    ];
    let mut record = Record::default();
    for (sequence, (kind, panel, data, id)) in (1..).zip(&told) {
        assert!(record.apply(&event(sequence, kind, panel, data), &fittings()), "{id}");
        let items = record.list(&fittings());
        let done = items.iter().find(|item| item.id == *id).unwrap().done.clone().unwrap();
        let expected =
            Done { at: at(sequence), journal: Some(JOURNAL.into()), sequence: Some(sequence), token: None };
        assert!(done == expected, "{id}: {done:?}");
    }
    let before = record.list(&fittings());
    // Once more, and later: what was first stays.
    for (sequence, (kind, panel, data, _)) in (100..).zip(&told) {
        assert!(!record.apply(&event(sequence, kind, panel, data), &fittings()));
    }
    assert_eq!(record.list(&fittings()), before);
    assert_eq!(record.next(JOURNAL, 1000), 109);
}

#[test]
fn a_line_that_was_on_hook_before_was_seen_so() {
    let lifted = ("intercom.line.changed", "risers", line(14, "on_hook", "off_hook"));
    assert_eq!(done_by(&[lifted]), ["line/1/14/on_hook", "line/1/14/off_hook"]);
}

#[test]
fn what_proves_nothing_does_nothing() {
    for (kind, panel, data) in [
        ("intercom.panel.offline", "entrance-1", json!({"panel": "entrance-1", "cause": "silent"})),
        ("intercom.door.unlock_failed", "entrance-1", json!({"panel": "entrance-1"})),
        ("intercom.door.forced", "entrance-1", json!({"panel": "entrance-1"})),
        ("intercom.door.closed", "entrance-1", json!({"panel": "entrance-1"})),
        ("intercom.input.changed", "entrance-1", input(0, "active")),
        ("intercom.input.changed", "entrance-1", input(1, "inactive")),
        ("intercom.input.changed", "entrance-1", input(1, "short")),
        ("intercom.input.changed", "gate", json!({"panel": "gate", "input": null, "to": "active"})),
        ("intercom.key.swiped", "entrance-1", swipe("key_known")),
        ("intercom.key.swiped", "entrance-1", swipe("stale")),
        ("intercom.key.swiped", "entrance-1", swipe("unreadable")),
        ("intercom.key.swiped", "entrance-1", swipe("cache_empty")),
        ("intercom.line.changed", "risers", line(12, "unknown", "break")),
        ("intercom.line.changed", "risers", line(12, "disabled", "door_button")),
        ("intercom.line.changed", "risers", line(13, "on_hook", "off_hook")),
        ("intercom.line.changed", "risers", json!({"flat": "12"})),
        ("intercom.panel.online", "", json!({})),
        ("intercom.panel.online", "elsewhere", json!({})),
        ("gateway.started", "", json!({"version": "0.2.0"})),
    ] {
        assert_eq!(done_by(&[(kind, panel, data.clone())]), [""; 0], "{kind} {data}");
    }
    // Of a key that is refused, why it is says whether that proves anything.
    for reason in ["key_unknown", "other_intercom", "user_expired", "not_permitted"] {
        let swiped = ("intercom.key.swiped", "gate", swipe(reason));
        assert_eq!(done_by(&[swiped]), ["key/gate/refused"], "{reason}");
    }
}

/// What the gateway recorded, in short: `+` while it was connected, `-` while it was not, `s` its start, `e` its end, which
/// is `E` while it was connected.
fn recorded(story: &str) -> Vec<StoredEvent> {
    let event = |(sequence, letter)| {
        let (kind, online) = match letter {
            's' => ("gateway.started", false),
            'e' | 'E' => ("gateway.stopping", letter == 'E'),
            _ => ("gateway.clock.stepped", letter == '+'),
        };
        event_of(JOURNAL, sequence, kind, "", &json!({}), online)
    };
    (1..).zip(story.chars()).map(event).collect()
}

#[test]
fn the_cloud_is_lost_and_back_when_it_has_what_was_recorded_meanwhile() {
    for (story, back) in [
        ("s+-+", Some(4)),
        ("s--++--+", Some(8)),
        // It was away when the gateway began, and is no more.
        ("s--+++", None),
        // A restart loses nothing.
        ("s+es+++", None),
        ("s+Es+++", None),
        ("s++es--++", None),
        ("s+s+", None),
        // Lost, and then restarted.
        ("s+-es-+", Some(7)),
        ("s+-s+", Some(5)),
        ("s+-E", Some(4)),
        // Not back yet.
        ("s+---", None),
        ("", None),
    ] {
        let mut record = Record::default();
        for event in recorded(story) {
            record.apply(&event, &fittings());
            assert!(!record.delivered(JOURNAL, event.sequence - 1), "{story}");
            assert_eq!(done(&record), [""; 0], "{story}");
        }
        let (last, all) = (story.len() as u64, fittings());
        if let Some(back) = back {
            assert!(!record.delivered("00000000", last), "another journal's");
            assert!(!record.delivered(JOURNAL, back - 1), "{story}: one waits");
        }
        assert_eq!(record.delivered(JOURNAL, last), back.is_some(), "{story}");
        let items = record.list(&all);
        let done = items.last().unwrap().done.as_ref();
        assert_eq!(done.and_then(|done| done.sequence), back, "{story}");
        // Whatever happens later.
        for event in recorded(&format!("{story}+-+")).into_iter().skip(story.len()) {
            record.apply(&event, &all);
        }
        if back.is_some() {
            assert!(!record.delivered(JOURNAL, last + 3));
            assert_eq!(record.list(&all), items, "{story}");
        }
    }
}

#[test]
fn what_waits_may_come_again_in_another_journal() {
    let mut record = Record::default();
    for event in recorded("s+-+") {
        record.apply(&event, &fittings());
    }
    let again =
        |sequence, online| event_of("0a0b0c0d", sequence, "gateway.clock.stepped", "", &json!({}), online);
    record.apply(&again(1, false), &fittings());
    assert!(!record.delivered(JOURNAL, 4), "that one has ended");
    record.apply(&again(2, true), &fittings());
    assert!(record.delivered("0a0b0c0d", 2));
}

#[test]
fn a_person_confirms_what_only_a_person_sees() {
    let mut record = Record::default();
    let token = name("installer");
    let second = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
    let item = record.confirm("line/1/12/number", second, &token, &fittings()).unwrap();
    let done =
        json!({"at": "2023-11-14T22:13:20.123Z", "journal": null, "sequence": null, "token": "installer"});
    assert_eq!(serde_json::to_value(&item).unwrap()["done"], done);
    // The first confirmation stays.
    let again = record.confirm("line/1/12/number", at(5), &name("other"), &fittings()).unwrap();
    assert_eq!(again, item);
    let mut refused = |id: &str| record.confirm(id, second, &token, &fittings()).unwrap_err();
    for id in
        ["", "panel/entrance-1", "line/1/13/number", "panel/elsewhere/identified", "PANEL/gate/identified"]
    {
        let sentence = refused(id).to_string();
        assert!(sentence.contains("no such item") && sentence.contains("/identified"), "{sentence}");
    }
    for item in fittings().items().into_iter().filter(|item| !item.by_hand) {
        let sentence = refused(&item.id).to_string();
        assert!(sentence.starts_with("The gateway ticks this itself, when "), "{sentence}");
    }
    assert_eq!(record.list(&fittings()).iter().filter(|item| item.done.is_some()).count(), 1);
}

#[test]
fn an_item_goes_with_its_panel_and_comes_back_as_it_was() {
    let mut record = Record::default();
    // It may have come before the configuration that has it is told.
    record.apply(&event(1, "intercom.panel.online", "gate", &json!({})), &Fittings::default());
    assert_eq!(done(&record), ["panel/gate/answered"]);
    let without = Fittings { panels: fittings().panels.into_iter().take(1).collect(), has_cloud: false };
    assert!(
        record
            .list(&without)
            .iter()
            .all(|item| item.done.is_none() && item.panel == Some(name("entrance-1")))
    );
    assert_eq!(done(&record), ["panel/gate/answered"]);
}

#[test]
fn an_earlier_copy_of_the_journal_is_read_from_where_it_ends() {
    let mut record = Record::default();
    record.apply(&event(50, "intercom.panel.online", "gate", &json!({})), &fittings());
    assert_eq!((record.next(JOURNAL, 60), record.next(JOURNAL, 50)), (51, 51));
    assert_eq!((record.next(JOURNAL, 20), record.next(JOURNAL, 60)), (21, 21));
    assert_eq!((record.next("00000000", 7), record.through(JOURNAL)), (1, 20));
    // Of many journals the last ones are remembered.
    for number in 0..20 {
        let journal = format!("{number:08x}");
        record.apply(&event_of(&journal, 3, "gateway.started", "", &json!({}), false), &fittings());
    }
    assert_eq!((record.through(JOURNAL), record.through("00000013")), (0, 3));
}

#[test]
fn the_file_holds_nothing_of_residents_and_is_small_enough_for_a_backup() {
    let mut record = Record::default();
    record.apply(&event(1, "intercom.key.swiped", "entrance-1", &swipe("key_unknown")), &fittings());
    let text = String::from_utf8(record.to_file()).unwrap();
    assert!(
        text.contains("key/entrance-1/refused") && !text.contains("3042CAAC") && !text.contains("user"),
        "{text}"
    );

    let cabinets = (0..400).map(|cabinet| FittedPanel {
        name: name(&format!("{cabinet:04}{}", "x".repeat(60))),
        flats: (1..=100).collect(),
        intercom: cabinet + 1,
        ..fittings().panels[2].clone()
    });
    let many = Fittings { panels: cabinets.collect(), has_cloud: false };
    let mut sequence = 0;
    for panel in &many.panels {
        for flat in &panel.flats {
            sequence += 1;
            let data = json!({"intercom": panel.intercom, "flat": flat, "from": "on_hook", "to": "off_hook"});
            record.apply(&event(sequence, "intercom.line.changed", panel.name.as_str(), &data), &many);
        }
    }
    let file = record.to_file();
    assert!(file.len() < 2 << 20, "{}", file.len());
    let full = record.confirm("line/400/100/number", at(1), &name("a"), &many).unwrap_err();
    assert!(full.to_string().contains("takes no more"), "{full}");
    // Items that are listed no more give their places to those that are.
    record.make_room(&fittings());
    assert!(record.confirm("panel/gate/identified", at(1), &name("a"), &fittings()).is_ok());
}

#[test]
fn what_is_no_record_is_refused() {
    let good = r#"{"read":[{"journal":"9f3c2a41","through":7}],"cloud":"lost","done":{}}"#;
    assert_eq!(Record::of_file(good.as_bytes()).unwrap().through(JOURNAL), 7);
    let later = r#"{"read":[],"done":{},"of_a_later_version":1}"#;
    assert_eq!(Record::of_file(later.as_bytes()).unwrap(), Record::default());
    for bad in [
        "",
        "[]",
        &good[..40],
        r#"{"read":[]}"#,
        r#"{"read":[],"done":{"a":{"at":"noon"}}}"#,
        r#"{"read":[],"done":{"a":{"at":"2026-11-29T12:00:00Z","token":"No Name"}}}"#,
    ] {
        let error = Record::of_file(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("it holds no record of commissioning"), "{error}");
    }
}

/// Events of any kind, in any order.
fn events() -> impl Strategy<Value = Vec<StoredEvent>> {
    let kinds = vec![
        ("intercom.panel.online", "gate", json!({})),
        ("intercom.panel.secured", "entrance-1", json!({})),
        ("intercom.door.unlocked", "entrance-1", json!({})),
        ("intercom.input.changed", "entrance-1", input(1, "active")),
        ("intercom.key.swiped", "entrance-1", swipe("key_unknown")),
        ("intercom.line.changed", "risers", line(12, "on_hook", "off_hook")),
        ("gateway.started", "", json!({})),
        ("gateway.stopping", "", json!({})),
        ("gateway.clock.stepped", "", json!({})),
    ];
    prop::collection::vec((prop::sample::select(kinds), any::<bool>()), 0..40).prop_map(|events| {
        let event = |(sequence, ((kind, panel, data), online)): (u64, ((&str, &str, Value), bool))| {
            event_of(JOURNAL, sequence, kind, panel, &data, online)
        };
        (1..).zip(events).map(event).collect()
    })
}

proptest! {
    /// Whenever the record was written last, and whenever the process was killed after that: in the end it is the same as
    /// if nothing had happened.
    #[test]
    fn no_crash_changes_what_is_seen(events in events(), kills in prop::collection::vec((0..40_usize, 0..40_usize), 0..4)) {
        let (all, last) = (fittings(), events.len() as u64);
        let read = |record: &mut Record, from: u64, to: u64| {
            for event in events.iter().filter(|event| (from..=to).contains(&event.sequence)) {
                record.apply(event, &all);
            }
        };
        let mut calm = Record::default();
        read(&mut calm, 1, last);
        calm.delivered(JOURNAL, last);

        let mut record = Record::default();
        for (written, killed) in kills {
            let from = record.next(JOURNAL, last);
            let written = last.min(from.saturating_sub(1) + written as u64);
            read(&mut record, from, written);
            let file = record.to_file();
            read(&mut record, written + 1, last.min(written + killed as u64));
            record = Record::of_file(&file).unwrap();
            prop_assert_eq!(record.to_file(), file);
        }
        let from = record.next(JOURNAL, last);
        read(&mut record, from, last);
        record.delivered(JOURNAL, last);
        prop_assert_eq!(&record, &calm);
        // And so where it begins again.
        read(&mut record, 1, last);
        prop_assert_eq!(record.list(&all), calm.list(&all));
    }
}

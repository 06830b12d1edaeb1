//! docs/asyncapi.yaml and the types: every message of every kind, in both directions.

#[path = "support/asyncapi.rs"]
mod asyncapi;

use std::collections::BTreeSet;

use asyncapi::Document;
use intercom_gateway::{
    cloud::{
        command::{Answer, KINDS, Outcome, Request},
        message::{Building, Bus, HealthShown, Info, Intercom, Place, Presence, Status, to_json},
        topic::Topic,
    },
    domain::{
        Capabilities, Check, ClockQuality, Device, DoorPosition, ErrorCode, EventBody, Form, Health,
        HealthCode, LineState, LineStatus, Name, PanelState, PanelStatus, Stamp, StoredEvent, SyncCode,
        SyncError, Trouble, Verdict, event::*, health, line::Thresholds,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn panel() -> Name {
    Name::new("entrance-1").unwrap()
}

fn time() -> jiff::Timestamp {
    "2026-11-23T22:00:01.123Z".parse().unwrap()
}

/// One of every type, and more where members may be null.
fn bodies() -> Vec<EventBody> {
    let (panel, intercom) = (panel(), 1);
    let by = |kind, id| UnlockedBy { kind, id };
    let swiped = KeySwiped {
        panel: panel.clone(),
        intercom,
        reader: 0,
        key: Some("0000003042CAAC".parse().unwrap()),
        raw: RawCredential("3042CAAC".into()),
        bits: 32,
        decision: Decision::Granted,
        reason: Reason::KeyKnown,
        flats: vec![FlatRef { id: 1, flat: 1 }],
        key_id: Some(1),
        user_id: Some(6),
        reversed_known: false,
        revision: Some(57),
    };
    let unknown = KeySwiped {
        key: None,
        decision: Decision::Denied,
        reason: Reason::Unreadable,
        flats: vec![],
        key_id: None,
        user_id: None,
        revision: None,
        ..swiped.clone()
    };
    let moved = |by| DoorMoved { panel: panel.clone(), intercom, by };
    let at = || PanelAt { panel: panel.clone(), intercom };
    let flag = || PanelFlag { panel: panel.clone(), intercom, active: true };
    let unlocked = |by| DoorUnlocked { panel: panel.clone(), intercom, by, duration: 3.0 };
    let line = |raw, value, flat_id| LineChanged {
        panel: panel.clone(),
        intercom,
        flat: 7,
        flat_id,
        from: LineState::Unknown,
        to: LineState::OffHook,
        raw,
        value,
        unit: "V".into(),
    };
    vec![
        EventBody::KeySwiped(swiped),
        EventBody::KeySwiped(unknown),
        EventBody::KeypadEntered(KeypadEntered {
            panel: panel.clone(),
            intercom,
            reader: 0,
            digits: Some("12".into()),
        }),
        EventBody::CodeEntered(CodeEntered {
            panel: panel.clone(),
            intercom: 1,
            reader: 0,
            decision: Decision::Granted,
            reason: CodeReason::CodeKnown,
            code_id: Some(7),
            flats: vec![FlatRef { id: 1, flat: 1 }],
            revision: Some(57),
        }),
        EventBody::DoorUnlocked(unlocked(by(UnlockKind::Key, Some(UnlockId::Number(1))))),
        EventBody::DoorUnlocked(unlocked(by(UnlockKind::Command, Some(UnlockId::Text(Uuid::nil().into()))))),
        EventBody::DoorUnlocked(unlocked(by(UnlockKind::Exit, None))),
        EventBody::DoorUnlockFailed(DoorUnlockFailed {
            panel: panel.clone(),
            intercom,
            by: by(UnlockKind::Token, Some(UnlockId::Text("office".into()))),
            duration: 0.1,
            cause: ErrorCode::PanelOffline,
        }),
        EventBody::DoorOpened(moved(Some(by(UnlockKind::Exit, None)))),
        EventBody::DoorClosed(moved(None)),
        EventBody::DoorForced(moved(None)),
        EventBody::DoorHeld(moved(None)),
        EventBody::LineChanged(line(Some(78), Some(7.8), Some(3))),
        EventBody::LineChanged(line(None, None, None)),
        EventBody::LineWiring(LineWiring {
            panel: panel.clone(),
            intercom,
            lines: vec![1, 11],
            state: LineState::Break,
            cleared: false,
        }),
        EventBody::InputChanged(InputChanged {
            panel: panel.clone(),
            intercom,
            input: 1,
            from: InputState::Inactive,
            to: InputState::Short,
        }),
        EventBody::PanelOnline(at()),
        EventBody::PanelOffline(PanelCause { panel: panel.clone(), intercom, cause: "it is silent".into() }),
        EventBody::PanelTamper(flag()),
        EventBody::PanelPower(flag()),
        EventBody::PanelSecured(at()),
        EventBody::PanelReplaced(PanelSerial { panel: panel.clone(), intercom, serial: "0A0B0C0D".into() }),
        EventBody::PanelSuspect(PanelSuspect {
            panel: panel.clone(),
            intercom,
            cause: SuspectCause::WrongMac,
            count: 41,
        }),
        EventBody::GatewayStarted(GatewayStarted { version: "0.1.0".into() }),
        EventBody::GatewayStopping(GatewayStopping {}),
        EventBody::ClockStepped(ClockStepped { offset_ms: -5 }),
        EventBody::SyncApplied(SyncApplied { revision: 57, digest: DIGEST.into() }),
        EventBody::CommittedIgnored(CommittedIgnored {
            committed_journal: "9f3c2a41".into(),
            through: 1_000_000,
            count: 3,
        }),
        EventBody::JournalPruned(JournalPruned {
            pruned_journal: "unknown".into(),
            from: None,
            to: None,
            cause: "the disk is full".into(),
        }),
    ]
}

fn sync_error(code: SyncCode) -> SyncError {
    let known = code == SyncCode::Invalid;
    SyncError {
        code,
        message: "why".into(),
        revision: known.then_some(57),
        intercom: known.then_some(1),
        id: known.then_some(12),
        field: known.then(|| "flats[3].keys[0].key".into()),
    }
}

fn published(body: &EventBody) -> Value {
    let (kind, data) = body.to_parts();
    let stored = StoredEvent {
        sequence: 184,
        journal: "9f3c2a41".into(),
        stamp: Stamp { time: time(), boot: "b".into(), uptime_ms: 1, clock: ClockQuality::Synchronized },
        online: true,
        kind: kind.to_owned(),
        subject: body.subject().map(ToString::to_string),
        data,
        form: Form::CURRENT,
    };
    serde_json::from_str(&stored.to_json(&Name::new("building-7").unwrap())).unwrap()
}

#[test]
fn events_of_every_type_are_as_documented_and_no_member_is_superfluous() {
    let document = Document::read();
    let rejected =
        SyncCode::ALL.map(|code| EventBody::SyncRejected(SyncRejected { error: sync_error(code) }));
    let bodies: Vec<EventBody> = bodies().into_iter().chain(rejected).collect();
    for body in &bodies {
        let event = published(body);
        document.accepts("events", &event);
        for place in ["/data", ""] {
            let mut more = event.clone();
            more.pointer_mut(place).unwrap()["surprise"] = json!(1);
            assert!(document.judge("events", &more).is_err(), "{} may have anything", body.kind());
        }
    }
    assert_eq!(*document.known("SuspectCause"), json!(SuspectCause::ALL));
    assert_eq!(*document.known("SwipeReason"), json!(Reason::ALL));
    let seen: BTreeSet<&str> = bodies.iter().map(EventBody::kind).collect();
    let known: BTreeSet<&str> = EventBody::KINDS.iter().copied().collect();
    assert_eq!(seen, known);
}

#[test]
fn health_of_every_code_is_as_documented_and_no_member_is_superfluous() {
    let document = Document::read();
    let reason = |code| health::Reason::new(code, "why");
    let named = [
        reason(HealthCode::PanelOffline).of_panel(&panel()),
        reason(HealthCode::Bus).of_bus(&Name::new("street").unwrap()),
    ];
    let reasons: Vec<health::Reason> = HealthCode::ALL.into_iter().map(reason).chain(named).collect();
    for reasons in [Vec::new(), reasons] {
        let health = Health { dead: false, reasons, since: time() };
        let shown = json_of(&HealthShown::from(&health));
        document.accepts("health", &shown);
        for place in ["", "/reasons/0"].into_iter().filter(|place| shown.pointer(place).is_some()) {
            let mut more = shown.clone();
            more.pointer_mut(place).unwrap()["surprise"] = json!(1);
            assert!(document.judge("health", &more).is_err(), "{place:?} may have anything");
        }
    }
    assert_eq!(*document.known("HealthCode"), json!(HealthCode::ALL));
}

fn json_of(payload: &impl serde::Serialize) -> Value {
    serde_json::from_str(&to_json(payload)).unwrap()
}

#[test]
fn what_is_retained_is_as_documented() {
    let document = Document::read();
    for (presence, last) in [(Presence::Online, 0), (Presence::Offline, 184)] {
        let status = Status {
            status: presence,
            session: Uuid::new_v4(),
            version: "0.1.0".into(),
            boot: "b".into(),
            since: time(),
            journal: "9f3c2a41".into(),
            last,
        };
        document.accepts("status", &json_of(&status));
    }
    let place = Place {
        panel: panel(),
        intercom: 1,
        bus: Name::new("street").unwrap(),
        address: 126,
        profile: None,
        has_reader: true,
        has_contact: true,
        lines: vec![7],
    };
    let building = Building {
        intercoms: vec![Intercom { id: 1, name: String::new() }],
        buses: vec![Bus {
            name: Name::new("street").unwrap(),
            protocol: "osdp".into(),
            port: "/dev/ttyS0".into(),
            baud: None,
        }],
        panels: vec![place],
    };
    let device =
        Device { model: "m".into(), vendor: None, firmware: Some("f".into()), serial: Some("s".into()) };
    let states = [PanelState::Online, PanelState::Offline, PanelState::Insecure, PanelState::Unconfigured];
    for (state, device) in states.into_iter().zip([Some(device), None, None, None]) {
        let status = PanelStatus {
            panel: panel(),
            intercom: 1,
            state,
            since: time(),
            last_seen: device.as_ref().map(|_| time()),
            tamper: device.as_ref().map(|_| true),
            power_failed: None,
            door: device.as_ref().map(|_| DoorPosition::Open),
            held: device.is_some(),
            trouble: device.is_none().then_some(Trouble::NoLink),
            device,
            capabilities: Capabilities::default(),
        };
        document.accepts("panels/entrance-1", &json_of(&status));
        let info = Info::new("0.1.0", &building, std::slice::from_ref(&status), ClockQuality::Unsynchronized);
        document.accepts("info", &json_of(&info));
    }
    for state in LineState::ALL {
        document.accepts("lines/1/7", &json_of(&line(state)));
    }
}

fn line(state: LineState) -> LineStatus {
    let known = state == LineState::OffHook;
    LineStatus {
        intercom: 1,
        flat: 7,
        flat_id: known.then_some(3),
        state,
        raw: known.then_some(78),
        value: known.then_some(7.8),
        unit: "V".into(),
        thresholds: Thresholds {
            short_below: known.then_some(1.0),
            on_hook_below: 6.5,
            off_hook_below: 9.2,
            door_button_below: known.then_some(9.8),
            hysteresis: 0.2,
        },
        since: time(),
        measured_at: known.then(time),
        panel: panel(),
        line: 7,
    }
}

/// The messages of a topic are told apart by a member whose value is the message's name.
#[test]
fn every_kind_of_message_is_one_of_its_own() {
    let document = Document::read();
    for (channel, member, kinds) in [
        ("events", "type", EventBody::KINDS),
        ("commands", "command", KINDS),
        ("syncFlats", "kind", &["snapshot", "delta", "current"]),
    ] {
        let names: BTreeSet<&str> = document.published["channels"][channel]["messages"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names, kinds.iter().copied().collect());
        for kind in kinds {
            let schema = document.schema_of(kind);
            assert_eq!(schema["properties"][member]["const"], *kind);
            assert!(schema["required"].as_array().unwrap().contains(&json!(member)), "{kind}");
        }
    }
}

/// Generators name their types by these, so each has its own; and what is shown is what the document says.
#[test]
fn every_message_has_a_title_a_channel_and_an_example_of_its_own() {
    let document = Document::read();
    let messages = document.published["components"]["messages"].as_object().unwrap();
    let titles: BTreeSet<&str> =
        messages.values().map(|message| message["title"].as_str().unwrap()).collect();
    assert_eq!(titles.len(), messages.len());
    let mut seen = BTreeSet::new();
    for (topic, channel) in
        document.topics().iter().zip(document.published["channels"].as_object().unwrap().values())
    {
        let topic = topic.replace("{panel}", "entrance-1").replace("{intercom}", "1").replace("{flat}", "7");
        for (name, reference) in channel["messages"].as_object().unwrap() {
            assert_eq!(reference["$ref"], format!("#/components/messages/{name}"));
            assert_eq!(messages[name]["name"], *name);
            let schema = format!("#/components/schemas/{}", messages[name]["title"].as_str().unwrap());
            assert_eq!(messages[name]["payload"]["$ref"], schema);
            let examples = messages[name]["examples"].as_array().unwrap();
            assert!(!examples.is_empty());
            for example in examples {
                document.accepts(&topic, &example["payload"]);
            }
            seen.insert(name);
        }
    }
    assert_eq!(seen.len(), messages.len(), "no message without a channel");
}

/// A consumer that was made from this document takes what a later version adds to its lists of words.
#[test]
fn words_of_a_later_version_are_left_room_for() {
    let document = Document::read();
    for (topic, place) in [
        ("events", "/data/reason"),
        ("health", "/reasons/0/code"),
        ("lines/1/7", "/state"),
        ("panels/entrance-1", "/state"),
    ] {
        let name = match topic {
            "events" => "intercom.key.swiped",
            "health" => "health",
            _ if topic.starts_with("lines") => "line",
            _ => "panel",
        };
        let mut example =
            document.published["components"]["messages"][name]["examples"][0]["payload"].clone();
        *example.pointer_mut(place).unwrap() = json!("of_a_later_version");
        assert!(document.judge(topic, &example).is_err(), "this version has no such word: {example}");
        document.leaves_room_for(topic, &example);
    }
}

#[test]
fn results_of_every_kind_are_as_documented() {
    let document = Document::read();
    let check = Check { check: "clock".into(), verdict: Verdict::Warn, detail: "not synchronised".into() };
    let answers = [
        Answer::Nothing,
        Answer::Unlocked { panel: panel() },
        Answer::Measured(line(LineState::OffHook)),
        Answer::Replayed { events: 3, absent: vec![(1, 7)] },
        Answer::Examined(vec![check]),
    ];
    let mut outcomes: Vec<Outcome> = answers.iter().map(Outcome::done).collect();
    let first = |outcome: &Outcome| {
        serde_json::from_str(&outcome.to_json(Some(Uuid::nil()), Some("unlock"))).unwrap()
    };
    outcomes.extend(outcomes.clone().iter().map(|outcome| Outcome::Duplicate(first(outcome))));
    outcomes.extend([Outcome::Expired, Outcome::Duplicate(Value::Null)]);
    for code in ErrorCode::ALL {
        outcomes.extend([Outcome::failed(code, "why"), Outcome::rejected(code, "why")]);
    }
    for outcome in outcomes {
        for (id, command) in [(None, None), (Some(Uuid::new_v4()), Some("unlock"))] {
            let result: Value = serde_json::from_str(&outcome.to_json(id, command)).unwrap();
            document.accepts("results", &result);
            for place in ["", "/data", "/data/0", "/data/first"] {
                let mut more = result.clone();
                let Some(Value::Object(members)) = more.pointer_mut(place) else { continue };
                members.insert("surprise".into(), json!(1));
                assert!(document.judge("results", &more).is_err(), "{place:?} of {result} may have anything");
            }
        }
    }
    assert_eq!(document.known("ErrorCode").as_array().unwrap().len(), ErrorCode::ALL.len());
}

/// The document and the gateway agree on what is a command.
#[test]
fn commands_that_the_document_allows_are_understood_and_others_are_not() {
    let document = Document::read();
    let good = [
        ("unlock", json!({"panel": "entrance-1"})),
        ("unlock", json!({"intercom": 1, "duration": 0.1})),
        ("unlock", json!({"intercom": 1, "panel": "x", "duration": 60, "more": {}})),
        ("measure_line", json!({"intercom": 1, "flat": 7})),
        ("resync", json!({})),
        ("report", json!({})),
        ("replay", json!({"journal": "9f3c2a41", "from": 1, "to": 1})),
        ("log_level", json!({"filter": "debug", "for": 60})),
        ("log_level", json!({"filter": "", "for": 0.5 + 0.5})),
    ];
    let bad = [
        ("unlock", json!({})),
        ("unlock", json!([])),
        ("unlock", json!({"panel": 1})),
        ("unlock", json!({"panel": "x", "duration": 0})),
        ("unlock", json!({"panel": "x", "duration": 61})),
        ("unlock", json!({"panel": "x", "duration": "3"})),
        ("measure_line", json!({"intercom": 1})),
        ("measure_line", json!({"intercom": 1, "flat": "7"})),
        ("measure_line", json!({"intercom": 1, "flat": -7})),
        ("replay", json!({"journal": "9f3c2a41", "from": 0, "to": 1})),
        ("replay", json!({"from": 1, "to": 1})),
        ("log_level", json!({"filter": "debug"})),
        ("log_level", json!({"filter": 1, "for": 60})),
        ("log_level", json!({"filter": "debug", "for": 0})),
        ("open_all", json!({})),
    ];
    let message = |command: &str, args: &Value| {
        json!({"id": Uuid::new_v4(), "command": command, "args": args, "expires_at": "2026-11-23T22:00:01Z",
               "session": Uuid::new_v4(), "gateway": "building-7", "more": null})
    };
    let understood = |message: &Value| Request::parse(message.to_string().as_bytes()).is_ok();
    for (command, args) in good {
        let message = message(command, &args);
        document.accepts("commands", &message);
        assert!(understood(&message), "{message}");
        for member in ["id", "command", "expires_at"] {
            let mut less = message.clone();
            less.as_object_mut().unwrap().remove(member);
            assert!(document.judge("commands", &less).is_err() && !understood(&less), "{less}");
        }
    }
    for (command, args) in bad {
        let message = message(command, &args);
        assert!(document.judge("commands", &message).is_err(), "the document allows {message}");
        assert!(!understood(&message), "{message}");
    }
    let schemas = document.published["components"]["schemas"].as_object().unwrap();
    let documented: BTreeSet<&str> = schemas
        .values()
        .filter(|schema| schema["properties"].get("expires_at").is_some())
        .filter_map(|schema| schema["properties"]["command"]["const"].as_str())
        .collect();
    assert_eq!(documented, KINDS.iter().copied().collect());
}

#[test]
fn the_platforms_own_document_is_a_flat_and_the_channels_are_the_topics() {
    let document = Document::read();
    let mut flat: Value = serde_json::from_str(include_str!("data/published-flat.json")).unwrap();
    flat["intercom"] = json!(1);
    let request = Uuid::new_v4();
    let snapshot = json!({"kind": "snapshot", "request": request, "revision": 57, "part": 1, "parts": 1,
                          "digest": DIGEST, "flats": [flat]});
    document.accepts("sync/flats", &snapshot);
    let delta = json!({"kind": "delta", "base": 57, "revision": 58, "digest": DIGEST, "upsert": [flat],
                       "remove": [{"intercom": 1, "id": 12}]});
    document.accepts("sync/flats", &delta);
    document.accepts(
        "sync/flats",
        &json!({"kind": "current", "request": request, "revision": 57, "digest": DIGEST}),
    );
    let mut short = snapshot;
    short["flats"][0]["keys"][0]["key"] = json!("0000003042CAA");
    assert!(document.judge("sync/flats", &short).is_err());
    document.accepts("events/committed", &json!({"journal": "9f3c2a41", "through": 184}));
    assert!(document.judge("events/committed", &json!({"journal": "9f3c2a41"})).is_err());

    let topics = [
        Topic::Status,
        Topic::Info,
        Topic::Health,
        Topic::Events,
        Topic::Committed,
        Topic::SyncRequest,
        Topic::SyncState,
        Topic::SyncFlats,
        Topic::Commands,
        Topic::Results,
    ];
    let known: BTreeSet<String> = topics
        .iter()
        .map(ToString::to_string)
        .chain(["panels/{panel}".to_owned(), "lines/{intercom}/{flat}".to_owned()])
        .collect();
    assert_eq!(document.topics().into_iter().collect::<BTreeSet<_>>(), known);
}

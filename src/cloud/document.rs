//! The messages and schemas of docs/asyncapi.yaml.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    command::{self, Answer, Outcome, Request},
    message::{
        Building, Bus, CONTRACT, Committed, HealthShown, Info, Intercom, Place, Presence, Status, to_json,
    },
    sync,
};
use crate::{
    domain::{
        Capabilities, ClockQuality, Device, DoorPosition, EventBody, Health, HealthCode, LineState,
        LineStatus, PanelState, PanelStatus, health,
        line::Thresholds,
        schema::{
            Format, Message, Schemas, agree,
            examples::{self, BOOT, DIGEST, JOURNAL, VERSION, panel, time},
            title,
        },
    },
    store::CacheState,
};

const REQUEST: Uuid = Uuid::from_u128(0x6f0d_1c7e_9b1a_4c55_8d3e_0a7b_5c2f_1e90);
const COMMAND: Uuid = Uuid::from_u128(0x0c2b_5a1f_3e4d_4f6a_9b8c_7d6e_5f4a_3b2c);
const SESSION: Uuid = Uuid::from_u128(0x5d9a_7f3b_2c1e_4d8f_a6b5_c4d3_e2f1_0a9b);

#[test]
fn the_published_documents_end_with_the_schemas_of_the_types() {
    let mut schemas = Schemas::of_draft_7();
    schemas
        .written::<Status>()
        .written::<Info<'_>>()
        .written::<HealthShown<'_>>()
        .written::<PanelStatus>()
        .written::<LineStatus>()
        .read::<Committed>();
    EventBody::describe(&mut schemas);
    command::describe(&mut schemas);
    sync::describe(&mut schemas);
    let messages = [shown(), events(), synchronised(), commanded()].into_iter().flatten();
    agree("docs/asyncapi.yaml", Format::Yaml, &messages.collect::<Vec<_>>(), schemas);
}

/// Returns what is retained, and the consumer's word.
fn shown() -> Vec<Message> {
    let status = Status {
        status: Presence::Online,
        session: SESSION,
        version: VERSION.into(),
        boot: BOOT.into(),
        since: time(),
        journal: JOURNAL.into(),
        last: 184,
    };
    let will = Status { status: Presence::Offline, ..status.clone() };
    let (building, panel_status) = (building(), panel_status());
    let info = Info::new(VERSION, &building, std::slice::from_ref(&panel_status), ClockQuality::Synchronized);
    let reason = health::Reason::new(HealthCode::PanelOffline, "entrance-1: nothing was heard of it for 8 s");
    let health = Health { dead: false, reasons: vec![reason.of_panel(&panel())], since: time() };
    let committed = json!({"journal": JOURNAL, "through": 184}).to_string();
    assert!(serde_json::from_str::<Committed>(&committed).is_ok());
    vec![
        Message::new("status", "Status").example(to_json(&status)).example(to_json(&will)),
        Message::new("info", "Info").example(to_json(&info)),
        Message::new("health", "Health").example(to_json(&HealthShown::from(&health))),
        Message::new("panel", "Panel").example(to_json(&panel_status)),
        Message::new("line", "Line").example(to_json(&line())),
        Message::new("committed", "Committed").example(committed),
    ]
}

fn building() -> Building {
    let street = crate::domain::Name::new("street").unwrap();
    Building {
        intercoms: vec![Intercom { id: 1, name: "Entrance 1".into() }],
        buses: vec![Bus {
            name: street.clone(),
            protocol: "osdp".into(),
            port: "/dev/ttyAMA0".into(),
            baud: Some(38400),
        }],
        panels: vec![Place {
            panel: panel(),
            intercom: 1,
            bus: street,
            address: 0,
            profile: None,
            has_reader: true,
            has_contact: true,
            lines: vec![],
        }],
    }
}

fn panel_status() -> PanelStatus {
    let device = Device {
        model: "0A0B0C 1.2".into(),
        vendor: None,
        firmware: Some("1.2.3".into()),
        serial: Some("0A0B0C0D".into()),
    };
    PanelStatus {
        panel: panel(),
        intercom: 1,
        state: PanelState::Online,
        since: time(),
        last_seen: Some(time()),
        tamper: Some(false),
        power_failed: Some(false),
        door: Some(DoorPosition::Closed),
        held: false,
        trouble: None,
        device: Some(device),
        capabilities: Capabilities::default(),
    }
}

fn line() -> LineStatus {
    LineStatus {
        intercom: 1,
        flat: 7,
        flat_id: Some(3),
        state: LineState::OffHook,
        raw: Some(78),
        value: Some(7.8),
        unit: "V".into(),
        thresholds: Thresholds {
            short_below: Some(1.0),
            on_hook_below: 6.5,
            off_hook_below: 9.2,
            door_button_below: Some(9.8),
            hysteresis: 0.2,
        },
        since: time(),
        measured_at: Some(time()),
        panel: panel(),
        line: 7,
    }
}

/// Returns a message for each type of event.
fn events() -> Vec<Message> {
    let bodies = examples::bodies();
    let kinds: Vec<&str> = bodies.iter().map(EventBody::kind).collect();
    assert_eq!(kinds, EventBody::KINDS);
    let message = |(body, sequence): (&EventBody, u64)| {
        Message::new(body.kind(), &title(body.kind()))
            .content_type("application/cloudevents+json")
            .example(examples::event(body, sequence))
    };
    bodies.iter().zip(184..).map(message).collect()
}

/// Returns what is asked for, what comes, and what is in force.
fn synchronised() -> Vec<Message> {
    let request = sync::Request {
        request: REQUEST,
        revision: Some(57),
        digest: Some(DIGEST),
        reason: sync::Reason::Connected,
    };
    let in_force = CacheState {
        revision: Some(57),
        digest: DIGEST.into(),
        flats: 0,
        keys: 0,
        users: 0,
        applied_at: Some(time()),
    };
    let mut flat: Value = serde_json::from_str(include_str!("../../tests/data/published-flat.json")).unwrap();
    flat["intercom"] = json!(1);
    let snapshot = json!({"kind": "snapshot", "request": REQUEST, "revision": 57, "part": 1, "parts": 1,
                          "digest": DIGEST, "flats": [flat]});
    let delta = json!({"kind": "delta", "base": 57, "revision": 58, "digest": DIGEST, "upsert": [flat],
                       "remove": [{"intercom": 1, "id": 12}]});
    let current = json!({"kind": "current", "request": REQUEST, "revision": 57, "digest": DIGEST});
    let read = |message: &Value| {
        let text = message.to_string();
        sync::read(text.as_bytes(), &[1]).unwrap_or_else(|error| panic!("{message}: {}", error.message));
        text
    };
    vec![
        Message::new("syncRequest", "SyncRequest").correlated_by("request").example(to_json(&request)),
        Message::new("syncState", "SyncState")
            .example(to_json(&sync::State::new(&in_force, None)))
            .example(to_json(&sync::State::new(&in_force, Some(&examples::refused())))),
        Message::new("snapshot", "Snapshot").correlated_by("request").example(read(&snapshot)),
        Message::new("delta", "Delta").correlated_by("request").example(read(&delta)),
        Message::new("current", "Current").correlated_by("request").example(read(&current)),
    ]
}

/// Returns a message for each command, and what becomes of them.
fn commanded() -> Vec<Message> {
    let args = [
        ("unlock", json!({"panel": "entrance-1", "duration": 5})),
        ("measure_line", json!({"intercom": 1, "flat": 7})),
        ("resync", json!({})),
        ("replay", json!({"journal": JOURNAL, "from": 1, "to": 184})),
        ("report", json!({})),
        ("log_level", json!({"filter": "debug", "for": 600})),
    ];
    assert_eq!(args.each_ref().map(|(kind, _)| *kind).as_slice(), command::KINDS);
    let expires = Timestamp::from_second(time().as_second() + 30).unwrap().to_string();
    let command = |(kind, args): &(&str, Value)| {
        // In the order in which a person would write it.
        let text = format!(
            r#"{{"id":"{COMMAND}","command":"{kind}","args":{args},"expires_at":"{expires}","session":"{SESSION}"}}"#
        );
        assert!(Request::parse(text.as_bytes()).is_ok(), "{text}");
        Message::new(kind, &title(kind)).correlated_by("id").example(text)
    };
    let done = Outcome::done(&Answer::Unlocked { panel: panel() });
    let failed = Outcome::failed(crate::domain::ErrorCode::PanelOffline, "the panel entrance-1 is offline");
    let result = Message::new("result", "Result")
        .correlated_by("id")
        .example(done.to_json(Some(COMMAND), Some("unlock")))
        .example(failed.to_json(Some(COMMAND), Some("unlock")));
    args.iter().map(command).chain([result]).collect()
}

/// The document is of the version that `info` names.
#[test]
fn info_names_the_version_of_the_document() {
    let document = include_str!("../../docs/asyncapi.yaml");
    assert!(document.contains(&format!("\n  version: {CONTRACT}.0\n")), "{CONTRACT}");
}

//! Makes a state directory with something of everything, by the daemon and its store.

use std::{fs, path::Path};

use intercom_gateway::{
    commissioning::{FittedPanel, Fittings, Record},
    domain::{
        ClockQuality, ErrorCode, EventBody, LineState, Name, Occurrence,
        event::{
            ClockStepped, CodeEntered, CodeReason, Decision, DoorMoved, DoorUnlockFailed, DoorUnlocked,
            FlatRef, GatewayStarted, GatewayStopping, InputChanged, InputState, JournalPruned, KeySwiped,
            KeypadEntered, LineChanged, LineWiring, PanelCause, PanelFlag, PanelSuspect, RawCredential,
            Reason, SuspectCause, SyncApplied, UnlockId, UnlockKind, UnlockedBy,
        },
    },
    store::{Journal, LineChanges, LineRecord},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::directory::{COMMANDS, MADE, configure, dump, files, found, open, stamp};
use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN_KEY},
    simulated::Panels,
};

/// The configuration of the directories of this version. Its events stay for a hundred years.
const CONFIGURATION: &str = r#"[gateway]
id = "golden"
state_dir = "{dir}/state"
clock = "trusted"

[http]
listen = "127.0.0.1:0"
tls = "self-signed"

[journal]
keep_days = 36500

[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = { output = 0 }
secure_channel = "install"
"#;

/// Files of a process, or of this machine alone, not of a version.
const PASSING: [&str; 4] = ["control.sock", "store.lock", "journal.ballast", "trace.key"];
const COMMISSIONING: &str = "commissioning.json";
/// Which journal the daemon continued last, written a second or two after it has started.
const CONTINUED: &str = "journal.json";

/// Returns a new directory in the form in which it is kept.
pub(super) fn make() -> TempDir {
    let site = Site::new("");
    configure(&site, CONFIGURATION);
    let tokens = ["full", "read_only"].map(|name| {
        let mut arguments = vec!["token", "add", name];
        arguments.extend((name == "read_only").then_some("--read-only"));
        site.run(arguments).ok().trim().to_owned()
    });
    let fingerprint = pair(&site);
    let state = site.state_dir();
    let record: Value =
        serde_json::from_slice(&fs::read(state.join("panels/entrance-1.json")).unwrap()).unwrap();
    // What the daemon recorded is of this machine and this hour.
    let goes = |name: &String| {
        name.contains(".db")
            || name.starts_with("traces/")
            || [&PASSING[..], &[COMMISSIONING, CONTINUED]].concat().contains(&name.as_str())
    };
    for name in files(&state).into_iter().filter(goes) {
        fs::remove_file(state.join(name)).unwrap();
    }
    fill(&state);

    let kept = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = kept.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("gateway.toml", CONFIGURATION.as_bytes());
    let made = json!({
        "full": tokens[0], "read_only": tokens[1], "panel_key": record["key"]["scbk"],
        "key_fingerprint": fingerprint,
    });
    write(MADE, (serde_json::to_string_pretty(&made).unwrap() + "\n").as_bytes());
    for (name, text) in found(&state, &Name::new("golden").unwrap()) {
        write(name, text.as_bytes());
    }
    // Their WALs are gone afterwards.
    for name in files(&state).iter().filter(|name| name.ends_with(".db")) {
        let database = state.join(name);
        write(&format!("state/{}", name.replace(".db", ".sql")), dump(&database).as_bytes());
    }
    let is_other = |name: &String| !name.contains(".db") && !PASSING.contains(&name.as_str());
    for name in files(&state).into_iter().filter(is_other) {
        write(&format!("state/{name}"), &fs::read(state.join(&name)).unwrap());
    }
    kept
}

/// Lets the daemon pair a new panel and make its certificate. Returns the fingerprint of its key.
fn pair(site: &Site) -> String {
    let _panels = Panels::start(site, false);
    let mut daemon = Daemon::start(site);
    let fingerprint = key_fingerprint(&mut daemon);
    daemon.events(site, 1).wait_panel("intercom.panel.secured", "entrance-1");
    daemon.stop();
    fingerprint
}

/// Returns the fingerprint that the daemon tells of its certificate's key.
pub(super) fn key_fingerprint(daemon: &mut Daemon) -> String {
    daemon.log.wait("a fingerprint", |line| {
        let (_, fingerprint) = line.split_once("key_fingerprint=")?;
        Some(fingerprint.trim().to_owned())
    })
}

/// Writes the two databases, and a journal that is not continued.
fn fill(state: &Path) {
    let store = open(state);
    let (journal, cache) = (store.journal(), store.cache());
    let mut published: Value = serde_json::from_str(include_str!("../../data/published-flat.json")).unwrap();
    published["intercom"] = json!(1);
    let mut other = flats::flat(1, 12, 8, &[(102, "0000000BADCAFE")]);
    other["answer_resistance"] = json!(700);
    other["quiescent_resistance"] = json!(900);
    other["codes"] = json!([
        {"id": 31, "code": "0480", "user": 6, "expired_at": null},
        {"id": 32, "code": "93552", "user": null, "expired_at": "2029-12-31 12:45:00"},
    ]);
    other["permissions"] = json!([{"user": 6, "is_open_door_key": false, "is_open_door_code": true}]);
    let document = json!({"revision": 57, "flats": [published, other]}).to_string();
    cache.import(document.as_bytes(), &[1]).unwrap();
    cache.keep_lines(LineChanges { keep: lines(), forget: Vec::new() }).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(record(&journal));
    fs::write(state.join(COMMISSIONING), commissioned(&journal)).unwrap();
    store.shutdown();
}

/// Returns a record of commissioning: what was seen in the journal, what was confirmed, and a cloud that is on its way back.
fn commissioned(journal: &Journal) -> Vec<u8> {
    let panel = FittedPanel {
        can_blink: true,
        name: Name::new("entrance-1").unwrap(),
        intercom: 1,
        has_secure_channel: true,
        has_reader: true,
        has_lock: true,
        has_contact: false,
        exit: None,
        flats: Vec::new(),
    };
    let fittings = Fittings { panels: vec![panel], has_cloud: true };
    let mut record = Record::default();
    let events = journal.read(1, usize::MAX).unwrap();
    for event in &events {
        record.apply(event, &fittings);
    }
    let (at, token) = (stamp(58, ClockQuality::Synchronized).time, Name::new("full").unwrap());
    record.confirm("panel/entrance-1/identified", at, &token, &fittings).unwrap();
    record.to_file()
}

async fn record(journal: &Journal) {
    for (number, body) in (0..).zip(events()) {
        let clock = if number < 2 { ClockQuality::Unsynchronized } else { ClockQuality::Synchronized };
        journal.set_online(number % 2 == 1);
        journal.append_durable(Occurrence { stamp: stamp(number, clock), body }).await.unwrap();
        if number == 4 {
            journal.set_delivered(&journal.identity(), 3);
            journal.begin_new("the cloud knows more").await.unwrap();
        }
    }
    journal.set_delivered(&journal.identity(), 5);
    let expiry = "2026-11-23T22:05:00Z".parse().unwrap();
    for id in COMMANDS {
        journal.begin_command(id, "unlock", expiry).await.unwrap();
    }
    let result = json!({"id": COMMANDS[0], "command": "unlock", "status": "done", "error": null});
    journal.end_command(COMMANDS[0], result.to_string()).await.unwrap();
    journal.set_time_floor(stamp(58, ClockQuality::Synchronized));
}

fn lines() -> Vec<LineRecord> {
    let short = LineRecord {
        intercom: 1,
        flat: 1,
        state: LineState::Short,
        told: LineState::OnHook,
        raw: Some(98),
        since: stamp(1, ClockQuality::Synchronized).time,
        measured_at: Some(stamp(5, ClockQuality::Synchronized).time),
    };
    let unknown = LineRecord { flat: 8, state: LineState::Unknown, raw: None, measured_at: None, ..short };
    vec![short, unknown]
}

/// One of most types; every kind of value is among them.
fn events() -> Vec<EventBody> {
    let panel = || Name::new("entrance-1").unwrap();
    let by = |kind, id| UnlockedBy { kind, id };
    let key = || by(UnlockKind::Key, Some(UnlockId::Number(1)));
    vec![
        EventBody::GatewayStarted(GatewayStarted { version: "0.1.0".into() }),
        EventBody::PanelOffline(PanelCause {
            panel: panel(),
            intercom: 1,
            cause: "no answer: \"unplugged\", or sträßchen's power".into(),
        }),
        EventBody::ClockStepped(ClockStepped { offset_ms: -86_400_000 }),
        EventBody::KeySwiped(KeySwiped {
            panel: panel(),
            intercom: 1,
            reader: 0,
            key: Some(KNOWN_KEY.parse().unwrap()),
            raw: RawCredential("3042CAAC".into()),
            bits: 32,
            decision: Decision::Granted,
            reason: Reason::KeyKnown,
            flats: vec![FlatRef { id: 1, flat: 1 }],
            key_id: Some(1),
            user_id: Some(6),
            reversed_known: false,
            revision: Some(57),
        }),
        EventBody::DoorUnlocked(DoorUnlocked { panel: panel(), intercom: 1, by: key(), duration: 3.0 }),
        // The kept journal ends here.
        EventBody::DoorOpened(DoorMoved { panel: panel(), intercom: 1, by: Some(key()) }),
        EventBody::DoorClosed(DoorMoved { panel: panel(), intercom: 1, by: None }),
        EventBody::DoorUnlockFailed(DoorUnlockFailed {
            panel: panel(),
            intercom: 1,
            by: by(UnlockKind::Token, Some(UnlockId::Text("full".into()))),
            duration: 0.1,
            cause: ErrorCode::Unconfirmed,
        }),
        EventBody::DoorUnlocked(DoorUnlocked {
            panel: panel(),
            intercom: 1,
            by: by(UnlockKind::Exit, None),
            duration: 60.0,
        }),
        EventBody::KeypadEntered(KeypadEntered {
            panel: panel(),
            intercom: 1,
            reader: 1,
            digits: Some("0815".into()),
        }),
        EventBody::KeypadEntered(KeypadEntered { panel: panel(), intercom: 1, reader: 0, digits: None }),
        EventBody::CodeEntered(CodeEntered {
            panel: panel(),
            intercom: 1,
            reader: 0,
            decision: Decision::Denied,
            reason: CodeReason::CodeExpired,
            code_id: Some(32),
            flats: vec![FlatRef { id: 12, flat: 8 }],
            revision: Some(57),
        }),
        EventBody::DoorUnlocked(DoorUnlocked {
            panel: panel(),
            intercom: 1,
            by: by(UnlockKind::Code, Some(UnlockId::Number(31))),
            duration: 3.0,
        }),
        EventBody::LineChanged(LineChanged {
            panel: panel(),
            intercom: 1,
            flat: 1,
            flat_id: None,
            from: LineState::OnHook,
            to: LineState::Short,
            raw: Some(98),
            value: Some(9.8),
            unit: "V".into(),
        }),
        EventBody::LineWiring(LineWiring {
            panel: panel(),
            intercom: 1,
            lines: vec![1, 2, 3],
            state: LineState::Break,
            cleared: false,
        }),
        EventBody::InputChanged(InputChanged {
            panel: panel(),
            intercom: 1,
            input: 2,
            from: InputState::Inactive,
            to: InputState::Short,
        }),
        EventBody::PanelTamper(PanelFlag { panel: panel(), intercom: 1, active: true }),
        EventBody::PanelSuspect(PanelSuspect {
            panel: panel(),
            intercom: 1,
            cause: SuspectCause::WrongMac,
            count: 3,
        }),
        EventBody::SyncApplied(SyncApplied { revision: 57, digest: "0".repeat(64) }),
        EventBody::JournalPruned(JournalPruned {
            pruned_journal: "9f3c2a41".into(),
            from: Some(1),
            to: None,
            cause: "the disk was full".into(),
        }),
        EventBody::GatewayStopping(GatewayStopping {}),
    ]
}

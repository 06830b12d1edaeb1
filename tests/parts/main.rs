//! Each part of the daemon, in turn, panics and stands still, while the test plays systemd: within the watchdog's time the
//! doors are served again, by a swipe that opens, and health does not say `ok` until then.
//!
//! The parts are those of the daemon's own table, so a new one is tested as soon as it is there.
//! `cargo nextest run --features faults --test parts --test-threads 8`

#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/cloud/building.rs"]
mod building;
mod manager;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the kills use the rest")]
#[path = "../kills/sync_server.rs"]
mod sync_server;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use intercom_gateway::{clock, domain::Mono};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::{
    manager::{End, Manager},
    support::{
        Daemon, Site,
        cloud::ROOT,
        consumer::Consumer,
        flats::{self, KNOWN},
        lines::PATIENCE,
        mosquitto::Mosquitto,
        simulated::Panels,
    },
    sync_server::SyncServer,
};

/// After this long without a turn a part hangs, which is then seen within a second or two.
const HANGS: Duration = Duration::from_secs(12);
/// A part that has ended is seen within this, on a busy machine.
const ENDS: Duration = Duration::from_secs(2);
/// From the fault to a door that opens: a standstill is told after 10 s, and ended in order after 20 s, which takes 10 s
/// at most; where that cannot be, systemd has waited for 30 s since the last feed. And a start.
const SERVED_AGAIN: Duration = Duration::from_secs(50);
/// How long an end may take, and a little for the machine.
const END: Duration = Duration::from_millis(10_500);

fn main() {
    let arguments = Arguments::from_args();
    let trials = parts().into_iter().flat_map(|part| {
        ["panic", "hang"].map(|fault| {
            let (name, part) = (format!("{fault}::{}", part.name.replace(' ', "_")), part.clone());
            Trial::test(name, move || {
                strike(fault, &part);
                Ok(())
            })
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// A part of the daemon.
#[derive(Clone)]
struct Part {
    name: String,
    kind: Kind,
}

/// What its standstill leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A restart.
    Vital,
    /// A reason in health.
    Told,
    /// A restart; it runs at the start alone.
    Ends,
}

fn site(broker: u16) -> Site {
    Site::new(&format!(
        r#"
[mqtt]
url = "mqtt://127.0.0.1:{broker}"

[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{{dir}}/street"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = {{ output = 0 }}
secure_channel = "off"

[[bus]]
name = "basement"
port = "{{dir}}/basement"
protocol = "modbus"

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = {{ first_flat = 1, count = 10 }}
"#
    ))
}

/// Asks the daemon what it consists of.
fn parts() -> Vec<Part> {
    let site = site(1);
    let output = site.command(["run"]).env("INTERCOM_GATEWAY_FAULT", "list").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let part = |line: &str| {
        let (name, kind) = line.split_once('\t').expect("a name and a kind");
        let kind = match kind {
            "vital" => Kind::Vital,
            "told" => Kind::Told,
            "ends" => Kind::Ends,
            other => panic!("{name}: {other}"),
        };
        Part { name: name.to_owned(), kind }
    };
    let parts: Vec<_> = text.lines().map(part).collect();
    assert!(parts.len() > 10, "{text}");
    parts
}

fn strike(fault: &str, part: &Part) {
    let broker = Mosquitto::open();
    let site = site(broker.port);
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    // Without them health has something to say.
    let _consumer = Consumer::start("cloud", broker.port, ROOT, false);
    let flats = json!({"revision": 57, "flats": [flats::known()]});
    let _sync_server = SyncServer::calm_with(broker.port, &flats);
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut manager = Manager::listen(&site);
    let when = site.path("now");
    if part.kind == Kind::Ends {
        fs::write(&when, "").unwrap();
    }
    let mut command = manager.command(&site);
    command.env("INTERCOM_GATEWAY_FAULT", format!("{fault}:{}", part.name));
    command.env("INTERCOM_GATEWAY_FAULT_WHEN", &when);
    let mut daemon = Daemon::spawn(&mut command);
    if part.kind != Kind::Ends {
        opens(&panels);
        well(&daemon);
        fs::write(&when, "").unwrap();
    }
    daemon.log.rewind();
    daemon.log.wait("the fault", |line| line.contains("a fault on purpose").then_some(()));
    let struck = clock::mono();
    let seen = struck + if fault == "panic" { ENDS } else { HANGS };

    if fault == "hang" && part.kind == Kind::Told {
        told(part, &site, &panels, daemon, seen);
        return;
    }
    let end = loop {
        if let Some(end) = manager.look(&mut daemon) {
            break end;
        }
        not_well(&daemon, seen);
        assert!(clock::mono() < struck + SERVED_AGAIN, "the daemon is not restarted");
        std::thread::sleep(Duration::from_millis(50));
    };
    in_order(fault, part, &end, &daemon);
    let is_cut_off = match (fault, part.name.as_str()) {
        (_, "the uplink") | ("panic", "the thread of the sync") | ("hang", "the runtime") => true,
        // It may not have been connected yet.
        _ => part.kind == Kind::Ends,
    };
    let says_good_bye = broker.log().contains("Client test disconnected");
    assert!(says_good_bye || is_cut_off, "the broker is told by a will: {}", part.name);
    let log = daemon.log.so_far();
    drop(daemon);
    let restarted = Daemon::spawn(&mut manager.command(&site));
    opens(&panels);
    let took = clock::mono().since(struck);
    assert!(took < SERVED_AGAIN, "a door opens after {took:?} only:\n{}", log.join("\n"));
    well(&restarted);
    restarted.stop();
}

/// A part that is not vital: health tells of it, doors are served, and it holds no end up.
fn told(part: &Part, site: &Site, panels: &Panels, mut daemon: Daemon, seen: Mono) {
    while clock::mono() < seen {
        std::thread::sleep(Duration::from_millis(50));
    }
    opens(panels);
    not_well(&daemon, seen);
    let wished = clock::mono();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    while daemon.ended().is_none() {
        assert!(clock::mono() < wished + END, "it holds the end up");
        std::thread::sleep(Duration::from_millis(10));
    }
    // A thread can only be left behind; a task is aborted.
    let is_task = part.name == "the record of commissioning";
    assert_eq!(daemon.log.count("does not end in time"), usize::from(!is_task));
    drop(daemon);
    let restarted = Daemon::start(site);
    opens(panels);
    well(&restarted);
    restarted.stop();
}

/// The process ended by itself and in order; only where what ends it stands still, the watchdog has to.
fn in_order(fault: &str, part: &Part, end: &End, daemon: &Daemon) {
    let log = daemon.log.so_far();
    let panics = daemon.log.count("a panic: on purpose");
    assert_eq!(panics, usize::from(fault == "panic"), "each panic is logged once: {log:#?}");
    if fault == "hang" && part.name == "the runtime" {
        assert!(matches!(end, End::Starved), "{end:?}");
        return;
    }
    let End::Exited(status) = end else { panic!("the watchdog had to end it: {log:#?}") };
    assert_eq!(status.code(), Some(1), "{log:#?}");
    assert_eq!(daemon.log.count("INFO stopped"), 1, "{log:#?}");
}

/// Swipes until the door opens: the first cards of a link are stale.
fn opens(panels: &Panels) {
    let _ = panels.seen();
    let tries = (0..60).any(|_| {
        panels.try_card("entrance-1", KNOWN);
        panels.opened_within(Duration::from_secs(1), "entrance-1")
    });
    assert!(tries, "the door stays shut");
}

/// Waits until health says that all is well.
fn well(daemon: &Daemon) {
    let deadline = clock::mono() + PATIENCE;
    loop {
        match health(daemon) {
            Some(health) if health["status"] == "ok" => return,
            other => assert!(clock::mono() < deadline, "not well: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whatever health says, or does not say, from `seen` on: it is not that all is well.
fn not_well(daemon: &Daemon, seen: Mono) {
    if clock::mono() >= seen
        && let Some(health) = health(daemon)
    {
        assert_ne!(health["status"], "ok", "{health}");
    }
}

/// What `/healthz` says; `None` where nobody answers.
fn health(daemon: &Daemon) -> Option<Value> {
    let mut stream = TcpStream::connect(daemon.address()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

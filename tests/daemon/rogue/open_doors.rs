//! Doors that are open, or about to be, when something else comes: the end of the daemon, or another unlock.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Entrance, OPEN_DOOR, UNLOCKED};
use crate::support::{
    Daemon, Site, libosdp,
    pymodbus::{Panels, mbpoll},
    rogue::OUT,
};

const BAUD: u32 = 115_200;

const RELAY: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "basement"
port = "{dir}/basement"
protocol = "modbus"
baud = 115200

[[panel]]
name = "relay"
intercom = 1
bus = "basement"
address = 7
profile = "relay-input"
lock = { open = "60s" }
"#;

#[test]
fn a_lock_behind_a_coil_is_shut_at_an_orderly_end() {
    let site = Site::new(RELAY);
    let token = site.run(["token", "add", "installer"]).ok();
    let wire = libosdp::line(&site.path("basement"), BAUD);
    let mut panels = Panels::start(&wire.ports()[1], BAUD, "7");
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_panel("intercom.panel.online", "relay");
    assert_eq!(daemon.ask("POST", OPEN_DOOR, token.trim()), (204, Value::Null));
    while panels.wait_write(7, "coil", 0) == 0 {}
    daemon.stop();
    assert_eq!(mbpoll(&site.path("basement"), BAUD, 7, "0", 0, 1)[&0], 0, "the door stays open");
}

#[test]
fn a_short_unlock_does_not_cut_a_long_one_short() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    let body = json!({"duration": 60}).to_string();
    let outs = entrance.rogue.commands(OUT).len();
    assert_eq!(entrance.daemon.ask_with("POST", OPEN_DOOR, &entrance.token, &body), (204, Value::Null));
    entrance.open();
    // Output 0, on for a time in tenths of a second.
    for out in &entrance.rogue.commands(OUT)[outs..] {
        let data = hex::decode(out["data"].as_str().unwrap()).unwrap();
        let [0, 5, low, high] = data[..] else { panic!("{out}") };
        assert!(u16::from_le_bytes([low, high]) > 300, "the door shuts before its time: {out}");
    }
    entrance.daemon.stop();
}

/// Counts the events of a type that say that it was by a token, once the daemon has ended.
fn by_token(site: &Site, kind: &str) -> usize {
    let journal = site.run(["journal", "--json"]).ok();
    let is_it = |line: &&str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["type"] == kind && event["data"]["by"]["kind"] == json!("token")
    };
    journal.lines().filter(is_it).count()
}

#[test]
fn an_unlock_that_nobody_hears_at_the_end_is_told_to_have_failed() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    let outs = entrance.rogue.commands(OUT).len();
    entrance.rogue.wire("no_unlock");
    let (status, _) = std::thread::scope(|scope| {
        let caller = scope.spawn(|| entrance.daemon.ask("POST", OPEN_DOOR, &entrance.token));
        entrance.rogue.wait_unlock_sent();
        entrance.daemon.signal(Signal::SIGTERM);
        caller.join().expect("the caller gets an answer")
    });
    assert_eq!(status, 422);
    entrance.daemon.stop();
    assert_eq!(entrance.rogue.commands(OUT).len(), outs);
    assert_eq!(by_token(&entrance.site, "intercom.door.unlock_failed"), 1);
    assert_eq!(by_token(&entrance.site, UNLOCKED), 0);
}

/// Ends the daemon while an unlock waits for its answer, and returns what the caller hears.
fn opened_at_the_end(entrance: &mut Entrance) -> (u16, Value) {
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| entrance.daemon.ask("POST", OPEN_DOOR, &entrance.token));
        entrance.rogue.wait_command(OUT);
        entrance.daemon.signal(Signal::SIGTERM);
        caller.join().expect("the caller gets an answer")
    })
}

#[test]
fn an_unlock_that_is_on_the_wire_at_the_end_is_answered_by_what_became_of_it() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.behave("slow_output");
    assert_eq!(opened_at_the_end(&mut entrance), (204, Value::Null), "the panel has taken it");
    entrance.daemon.stop();
    assert_eq!(by_token(&entrance.site, UNLOCKED), 1);
}

#[test]
fn an_unlock_whose_answer_is_lost_at_the_end_is_asked_for_again() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.wire("unlock_answer_lost");
    assert_eq!(opened_at_the_end(&mut entrance), (204, Value::Null), "the panel has taken it");
    entrance.daemon.stop();
    assert_eq!(by_token(&entrance.site, UNLOCKED), 1);
}

//! The daemon with panels by somebody else: libosdp. They do not keep their replies, so a lost reply may lose a
//! card; what is proven here is that both sides mean the same.

use std::time::Duration;

use intercom_gateway::domain::HealthCode;
use serde_json::{Value, json};

use crate::support::{
    Daemon, Events, Site,
    flats::{self, KNOWN, KNOWN_KEY, UNKNOWN},
    libosdp::{self, Panels},
    site::is_private,
};

/// After so long a card is presented again.
const AGAIN: Duration = Duration::from_secs(5);
const SWIPED: &str = "intercom.key.swiped";
const ONLINE: &str = "intercom.panel.online";
const OFFLINE: &str = "intercom.panel.offline";

/// One line with panels at these addresses, called `panel-0`, …
pub(super) fn site(baud: u32, addresses: &[u8], settings: &str) -> Site {
    let mut text = format!(
        "[[intercom]]\nid = 1\n\n[[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\nbaud = {baud}\n"
    );
    for address in addresses {
        text.push_str(&format!(
            "\n[[panel]]\nname = \"panel-{address}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0 }}\ndoor = {{ input = 0, exit_input = 1 }}\n{settings}\n"
        ));
    }
    Site::new(&text)
}

/// Presents a card until it is judged as live: what is read before the first empty poll is `stale`, and a reply that
/// a busy machine has delayed beyond the time limit takes its card along.
fn swipe(panels: &mut Panels, events: &mut Events, address: u8, card: &str) -> Value {
    let panel = format!("panel-{address}");
    loop {
        panels.tell(&format!("card {address} {card} 32 0"));
        let is_it = |event: &Value| {
            event["type"] == SWIPED && event["subject"] == panel.as_str() && event["data"]["raw"] == card
        };
        match events.wait_within(AGAIN, is_it) {
            Some(event) if event["data"]["reason"] != "stale" => return event,
            // Cards one after another would leave no poll empty.
            _ => std::thread::sleep(Duration::from_millis(300)),
        }
    }
}

/// A known card opens, an unknown one does not, and libosdp hears of both.
pub(super) fn known_opens_and_unknown_does_not(panels: &mut Panels, events: &mut Events, address: u8) {
    const RED: u8 = 1;
    const GREEN: u8 = 2;
    let opened_before = panels.count_commands(address, "Output");
    // What a busy machine is too late for, commands and lights alike, is withdrawn: then once more.
    try_again(|| {
        let denied = swipe(panels, events, address, UNKNOWN);
        assert_eq!(verdict(&denied), ("denied", "key_unknown"));
        // The unlock would go before the light.
        panels.light_within(AGAIN, address, RED)
    });
    assert_eq!(panels.count_commands(address, "Output"), opened_before, "the unknown card opened");

    try_again(|| {
        let granted = swipe(panels, events, address, KNOWN);
        assert_eq!(verdict(&granted), ("granted", "key_known"));
        let data = &granted["data"];
        assert_eq!((&data["key"], &data["raw"]), (&json!(KNOWN_KEY), &json!(KNOWN)));
        assert_eq!((&data["flats"], &data["key_id"]), (&json!([{"id": 11, "flat": 7}]), &json!(101)));
        let Some(out) = panels.command_within(AGAIN, address, "Output") else { return false };
        let told = (&out["output_no"], &out["control_code"], &out["timer_count"]);
        assert_eq!(told, (&json!(0), &json!(5), &json!(30)), "temporarily on for 3 s");
        if !panels.light_within(AGAIN, address, GREEN) {
            return false;
        }
        let unlocked = events.wait_within(AGAIN, |event| {
            event["type"] == "intercom.door.unlocked" && event["subject"] == format!("panel-{address}")
        });
        unlocked.is_some_and(|unlocked| unlocked["data"]["by"] == json!({"kind": "key", "id": 101}))
    });
}

fn try_again(mut works: impl FnMut() -> bool) {
    assert!((0..5).any(|_| works()), "it does not work however often it is tried");
}

fn verdict(swipe: &Value) -> (&str, &str) {
    let word = |key: &str| swipe["data"][key].as_str().unwrap();
    (word("decision"), word("reason"))
}

#[test]
fn in_plaintext_everything_of_a_door_works() {
    for baud in [115_200, 9600] {
        let site = site(baud, &[0], "secure_channel = \"off\"");
        site.import(57, &[flats::known()]).ok();
        let token = site.run(["token", "add", "prometheus"]).ok();
        let line = libosdp::line(&site.path("street"), baud);
        let mut panels = Panels::start(&line.ports()[1], baud, "0", &[]);
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        events.wait_panel(ONLINE, "panel-0");
        known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
        let metric = |name| format!("intercom_gateway_panel_{name}{{panel=\"panel-0\"}}");
        daemon.wait_metric(token.trim(), &metric("key_to_unlock_seconds_count"), |count| count >= 1.0);
        daemon.wait_metric(token.trim(), &metric("round_trip_seconds_sum"), |seconds| seconds > 0.0);

        panels.tell("key 0 99*12#");
        let entered = events.wait_type("intercom.keypad.entered");
        assert_eq!((&entered["data"]["digits"], &entered["data"]["reader"]), (&json!("12"), &json!(0)));

        // The first report is only what later ones are compared with.
        panels.tell("input 0 0 0 0 0");
        panels.tell("input 0 1 0 0 0");
        events.wait_type("intercom.door.opened");
        panels.tell("input 0 0 0 0 0");
        let closed = events.wait_type("intercom.door.closed");
        assert_eq!(closed["data"]["by"]["kind"], "key");
        panels.tell("input 0 0 1 0 0");
        events.wait("the exit button", |event| {
            event["type"] == "intercom.input.changed"
                && event["data"]["input"] == 1
                && event["data"]["to"] == "active"
        });

        panels.tell("local 0 1 0");
        assert_eq!(events.wait_type("intercom.panel.tamper")["data"]["active"], true);
        panels.tell("local 0 0 1");
        assert_eq!(events.wait_type("intercom.panel.tamper")["data"]["active"], false);
        assert_eq!(events.wait_type("intercom.panel.power")["data"]["active"], true);
        daemon.stop();
    }
}

#[test]
fn with_the_configured_key_the_channel_is_secure_and_with_another_nothing_opens() {
    const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";
    for baud in [115_200, 9600] {
        let site = site(baud, &[0, 1], "secure_channel = \"required\"\nsecure_key_file = \"{dir}/key\"");
        site.write("key", KEY);
        site.import(57, &[flats::known()]).ok();
        let line = libosdp::line(&site.path("street"), baud);
        let mut panels = Panels::start(&line.ports()[1], baud, "0", &["--scbk", KEY, "--enforce"]);
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        events.wait_panel("intercom.panel.secured", "panel-0");
        panels.wait_secured(0, true);
        known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
        daemon.stop();
    }
}

/// The card that was presented before is told as an old one.
fn wait_stale(events: &mut Events) {
    let swiped = events.wait_type(SWIPED);
    assert_eq!((verdict(&swiped), &swiped["data"]["raw"]), (("denied", "stale"), &json!(KNOWN)));
}

#[test]
fn a_panel_with_another_key_is_insecure_and_opens_nothing() {
    let site = site(115_200, &[0], "secure_channel = \"required\"\nsecure_key_file = \"{dir}/key\"");
    site.write("key", "00112233445566778899aabbccddeeff");
    site.import(57, &[flats::known()]).ok();
    let line = libosdp::line(&site.path("street"), 115_200);
    let another = "ffeeddccbbaa99887766554433221100";
    let mut panels = Panels::start(&line.ports()[1], 115_200, "0", &["--scbk", another]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    let offline = events.wait_panel(OFFLINE, "panel-0");
    assert!(offline["data"]["cause"].as_str().unwrap().contains("it has another key"), "{offline}");
    daemon.wait_health(HealthCode::PanelInsecure);
    panels.tell(&format!("card 0 {KNOWN} 32 0"));
    assert_eq!(events.count_type("intercom.panel.secured"), 0);
    daemon.stop();

    site.write("key", another);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    wait_stale(&mut events);
    assert_eq!(panels.count_commands(0, "Output"), 0);
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
    daemon.stop();
}

#[test]
fn a_new_panel_is_paired_once_and_its_key_outlives_restarts_of_both() {
    let site = site(115_200, &[0], "secure_channel = \"install\"");
    site.import(57, &[flats::known()]).ok();
    let line = libosdp::line(&site.path("street"), 115_200);
    let mut panels = Panels::start(&line.ports()[1], 115_200, "0", &[]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    let keyset = panels.wait_command(0, "Keyset");
    events.wait_panel("intercom.panel.secured", "panel-0");
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
    let log = daemon.stop();
    let key = keyset["data"].as_str().unwrap();
    assert_eq!(key.len(), 32);
    assert!(log.iter().all(|line| !line.to_lowercase().contains(key)), "the key is in no log");
    assert!(is_private(&site.path("state/panels/panel-0.json")));

    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..2 {
        events.wait_panel("intercom.panel.secured", "panel-0");
    }
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
    assert_eq!(panels.count_commands(0, "Keyset"), 1);

    let told = site.run(["panel", "rekey", "panel-0"]).ok();
    assert!(told.contains("panel-0 has proven its new key"), "{told}");
    events.wait_panel("intercom.panel.secured", "panel-0");
    let changed = panels.wait_command(0, "Keyset");
    assert_ne!(changed["data"], keyset["data"]);
    let key = changed["data"].as_str().unwrap();
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
    drop(panels);
    events.wait_panel(OFFLINE, "panel-0");

    // The panel comes back from a power cut with the key that it was given last, and refuses any other.
    let mut panels = Panels::start(&line.ports()[1], 115_200, "0", &["--scbk", key, "--enforce"]);
    events.wait_panel("intercom.panel.secured", "panel-0");
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
    assert_eq!(panels.count_commands(0, "Keyset"), 0);
    daemon.stop();
}

#[test]
fn a_swapped_panel_gets_a_key_only_when_somebody_says_so() {
    let site = site(115_200, &[0], "secure_channel = \"install\"");
    site.import(57, &[flats::known()]).ok();
    let line = libosdp::line(&site.path("street"), 115_200);
    let panels = Panels::start(&line.ports()[1], 115_200, "0", &[]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_panel("intercom.panel.secured", "panel-0");
    drop(panels);
    events.wait_panel(OFFLINE, "panel-0");

    let mut panels = Panels::start(&line.ports()[1], 115_200, "0", &[]);
    daemon.wait_health(HealthCode::PanelInsecure);
    panels.tell(&format!("card 0 {KNOWN} 32 0"));
    assert_eq!(panels.count_commands(0, "Keyset"), 0);

    site.run(["panel", "pair", "panel-0"]).ok();
    panels.wait_command(0, "Keyset");
    events.wait_panel("intercom.panel.secured", "panel-0");
    wait_stale(&mut events);
    assert_eq!(panels.count_commands(0, "Output"), 0);
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
    daemon.stop();
}

#[test]
fn four_panels_share_a_line() {
    for (baud, options) in [(115_200, ["--scbk", "d459f02f6602e5651f3b553bc283d43e"].as_slice()), (9600, &[])]
    {
        let channel = if options.is_empty() { "install" } else { "required" };
        let key = if options.is_empty() { "" } else { "secure_key_file = \"{dir}/key\"" };
        let site = site(baud, &[0, 5, 17, 126], &format!("secure_channel = \"{channel}\"\n{key}"));
        site.write("key", "d459f02f6602e5651f3b553bc283d43e");
        site.import(57, &[flats::known()]).ok();
        let line = libosdp::line(&site.path("street"), baud);
        let mut panels = Panels::start(&line.ports()[1], baud, "0,5,17,126", options);
        let mut daemon = Daemon::start(&site);
        for address in [126, 17, 5, 0] {
            let mut events = daemon.events(&site, 1);
            events.wait_panel("intercom.panel.secured", &format!("panel-{address}"));
            known_opens_and_unknown_does_not(&mut panels, &mut events, address);
        }
        for address in [0, 5, 17, 126] {
            assert_ne!(panels.count_commands(address, "Output"), 0);
        }
        daemon.stop();
    }
}

#[test]
fn lost_and_broken_replies_busy_and_slow_panels_stay_online() {
    for (channel, options) in
        [("off", [].as_slice()), ("required", &["--scbk", "d459f02f6602e5651f3b553bc283d43e"])]
    {
        let site = site(
            115_200,
            &[0],
            &format!("secure_channel = \"{channel}\"\nsecure_key_file = \"{{dir}}/key\""),
        );
        site.write("key", "d459f02f6602e5651f3b553bc283d43e");
        site.import(57, &[flats::known()]).ok();
        let line = libosdp::line(&site.path("street"), 115_200);
        let mut panels = Panels::start(&line.ports()[1], 115_200, "0", options);
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        events.wait_panel(ONLINE, "panel-0");
        known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
        for fault in [
            "drop 0 1",
            "corrupt 0 1",
            "drop 0 2",
            "corrupt 0 3",
            "drop 0 5",
            "busy 0 3",
            "delay 0 100",
            "delay 0 0",
        ] {
            panels.tell(fault);
            open_with_patience(&mut panels, &mut events, 0);
        }
        assert_eq!(events.count_type(OFFLINE), 0, "{:#?}", events.so_far());
        daemon.stop();
    }
}

/// Presents the known card until it opens: a reply that libosdp has lost is lost for good.
fn open_with_patience(panels: &mut Panels, events: &mut Events, address: u8) {
    let panel = format!("panel-{address}");
    loop {
        // Whatever becomes of the card, a digit behind it comes through, unless it is lost as well.
        panels.tell(&format!("card {address} {KNOWN} 32 0"));
        panels.tell(&format!("key {address} 5#"));
        let came = events.wait_within(AGAIN, |event| {
            event["subject"] == panel.as_str()
                && (event["type"] == "intercom.door.unlocked" || event["type"] == "intercom.keypad.entered")
        });
        if came.is_some_and(|event| event["type"] == "intercom.door.unlocked") {
            panels.wait_command(address, "Output");
            return;
        }
    }
}

#[test]
fn a_panel_that_refuses_is_told_apart_from_one_that_is_away() {
    let site = site(115_200, &[0, 1], "secure_channel = \"off\"");
    site.import(57, &[flats::known()]).ok();
    let line = libosdp::line(&site.path("street"), 115_200);
    let mut panels = Panels::start(&line.ports()[1], 115_200, "0,1", &[]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for panel in ["panel-0", "panel-1"] {
        daemon.events(&site, 1).wait_panel(ONLINE, panel);
    }
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);

    panels.tell("nak 0 on");
    let granted = swipe(&mut panels, &mut events, 0, KNOWN);
    assert_eq!(granted["data"]["decision"], "granted");
    let failed = events.wait_type("intercom.door.unlock_failed");
    assert_eq!(failed["data"]["cause"], "refused");
    panels.tell("nak 0 off");
    known_opens_and_unknown_does_not(&mut panels, &mut events, 0);

    for fault in ["mute", "gone"] {
        panels.tell(&format!("{fault} 0 on"));
        let offline = events.wait_panel(OFFLINE, "panel-0");
        assert_eq!(offline["data"]["cause"], "no valid reply for 8 s: check its power and the wiring");
        known_opens_and_unknown_does_not(&mut panels, &mut events, 1);
        panels.tell(&format!("{fault} 0 off"));
        events.wait_panel(ONLINE, "panel-0");
        known_opens_and_unknown_does_not(&mut panels, &mut events, 0);
    }
    assert_eq!(events.count(|event| event["type"] == OFFLINE && event["subject"] == "panel-1"), 0);
    daemon.stop();
}

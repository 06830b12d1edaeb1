//! Keys of panels that cannot be used: one panel's fault, and no reason for others to stay shut.

use intercom_gateway::domain::HealthCode;

use crate::support::{
    Daemon, Events, Site,
    flats::{self, KNOWN},
    simulated::Panels,
    site::is_private,
};

const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";
/// SCBK-D.
const DEFAULT: &str = "303132333435363738393A3B3C3D3E3F";

/// Two entrances on a line: the first has the key file `bad`, the second a good one.
fn site() -> Site {
    let mut text =
        "[[intercom]]\nid = 1\n[[bus]]\nname = \"street\"\nport = \"{dir}/street\"\nprotocol = \"osdp\"\n"
            .to_owned();
    for (address, key) in ["bad", "good"].iter().enumerate() {
        text.push_str(&format!(
            "[[panel]]\nname = \"{key}-0\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0 }}\nsecure_key_file = \"{{dir}}/{key}\"\n"
        ));
    }
    let site = Site::new(&text);
    site.write("good", KEY);
    site.write("bad", KEY);
    site.import(57, &[flats::known()]).ok();
    site
}

#[test]
fn a_key_that_cannot_be_used_makes_its_own_panel_insecure_and_no_other() {
    for content in [Some("0011"), Some(DEFAULT), Some("00000000000000000000000000000000"), None] {
        let site = site();
        let panels = Panels::start(&site, false);
        match content {
            Some(content) => drop(site.write("bad", content)),
            None => std::fs::remove_file(site.path("bad")).unwrap(),
        }
        let token = site.run(["token", "add", "installer"]).ok();
        let refused = site.run(["check"]).failed(2);
        assert!(refused.contains("panel.secure_key_file") && refused.contains("bad"), "{refused}");

        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        events.wait_panel("intercom.panel.online", "good-0");
        panels.card("good-0", KNOWN);
        panels.wait_opened("good-0");
        daemon.log.wait("what is wrong with the key", |line| {
            (line.contains("ERROR") && line.contains("bad-0") && line.contains("correct secure_key_file"))
                .then_some(())
        });
        // It is so from its first answers on.
        daemon.log.wait("the insecure panel", |line| line.contains("the panel is insecure").then_some(()));
        daemon.wait_reason(token.trim(), HealthCode::PanelKey, |reason| reason["panel"] == "bad-0");
        daemon.stop();
    }
}

#[test]
fn a_paired_panel_is_known_by_its_file_after_a_restart() {
    let site = Site::new(&format!(
        "{}secure_channel = \"install\"\nlock = {{ output = 0 }}\n",
        crate::support::site::ENTRANCE
    ));
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let file = site.path("state/panels/entrance-1.json");
    let mut key = None;
    for run in 0..3 {
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        for _ in 0..=run {
            events.wait_panel("intercom.panel.online", "entrance-1");
        }
        panels.card("entrance-1", KNOWN);
        panels.wait_opened("entrance-1");
        daemon.stop();
        // What was proven is on the disk when the process has ended, in the form of version 0.1.
        assert!(is_private(&file));
        let note: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(note["key"]["proven"], true, "{run}");
        assert_eq!(note.get("pending"), None);
        let now = note["key"]["scbk"].as_str().map(str::to_owned);
        assert!(now.as_ref().is_some_and(|key| key.len() == 32 && *key != DEFAULT.to_lowercase()));
        assert_eq!(key.get_or_insert(now.clone()), &now, "a kept key stays");
    }
}

#[test]
fn a_key_is_changed_by_its_file_and_opens_after_a_restart() {
    const NEW: &str = "00112233445566778899aabbccddeeff";
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_panel("intercom.panel.online", "good-0");
    let same = site.run(["panel", "rekey", "good-0"]).failed(1);
    assert!(same.contains("write another key into that file first"), "{same}");
    site.write("good", "0011");
    let unusable = site.run(["panel", "rekey", "good-0"]).failed(1);
    assert!(unusable.contains("good") && unusable.contains("32 hex digits"), "{unusable}");

    site.write("good", NEW);
    site.run(["panel", "rekey", "good-0"]).ok();
    events.wait_panel("intercom.panel.secured", "good-0");
    opens(&panels, &mut events, "good-0");
    daemon.stop();
    let note = std::fs::read_to_string(site.path("state/panels/good-0.json")).unwrap();
    assert!(!note.contains(KEY) && !note.contains(NEW) && !note.contains("rekeying"), "{note}");

    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..2 {
        events.wait_panel("intercom.panel.online", "good-0");
    }
    opens(&panels, &mut events, "good-0");
    daemon.stop();
}

/// Presents the known card until it is taken as read just now, which it is from the first empty POLL of a link on.
fn opens(panels: &Panels, events: &mut Events, panel: &str) {
    loop {
        panels.card(panel, KNOWN);
        let swiped = events.wait_type("intercom.key.swiped");
        if swiped["data"]["reason"] != "stale" {
            assert_eq!(swiped["data"]["decision"], "granted");
            return panels.wait_opened(panel);
        }
        // Cards one after another would leave no poll empty.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

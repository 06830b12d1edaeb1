//! `reload` and `apply`: another configuration while the doors go on.

use std::{fs, os::unix::fs::PermissionsExt};

use intercom_gateway::simulate::panel::Observation;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Daemon, Events, Site,
    consumer::Consumer,
    flats::{self, KNOWN},
    mosquitto::Mosquitto,
    simulated::Panels,
    site::Ran,
    wait_until,
};

const STREET: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"
"#;
const YARD: &str = r#"
[[bus]]
name = "yard"
port = "{dir}/yard"
protocol = "osdp"
"#;

fn panel(name: &str, bus: &str, address: u8, rest: &str) -> String {
    format!(
        "\n[[panel]]\nname = \"{name}\"\nintercom = 1\nbus = \"{bus}\"\naddress = {address}\n\
         secure_channel = \"off\"\nlock = {{ output = 0 }}\n{rest}\n"
    )
}

fn front() -> String {
    panel("front", "street", 0, "")
}

fn side(rest: &str) -> String {
    panel("side", "street", 1, rest)
}

fn gate() -> String {
    panel("gate", "yard", 0, "")
}

/// Three panels on two lines, all there, and the daemon with two of them.
struct House {
    site: Site,
    panels: Panels,
    daemon: Daemon,
    events: Events,
}

impl House {
    fn online(before: &str) -> Self {
        let site = Site::new(&format!("{before}{STREET}{YARD}{}{}{}", front(), side(""), gate()));
        site.import(57, &[flats::known()]).ok();
        let panels = Panels::start(&site, false);
        site.configure(&format!("{before}{STREET}{YARD}{}{}", front(), gate()));
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        for _ in 0..2 {
            events.wait_type("intercom.panel.online");
        }
        Self { site, panels, daemon, events }
    }

    /// Whether a card at a panel opens, and what the event says.
    fn opens(&mut self, panel: &str) {
        self.panels.card(panel, KNOWN);
        self.panels.wait_opened(panel);
        self.events.wait_panel("intercom.door.unlocked", panel);
    }

    fn panels(&self) -> Vec<String> {
        let token = self.site.run(["token", "add", "test"]);
        let token = if token.status == Some(0) { token.ok().trim().to_owned() } else { String::new() };
        let panels = self.daemon.ask("GET", "/api/local/v1/panels", &token).1;
        self.site.run(["token", "revoke", "test"]).ok();
        let name = |panel: &Value| panel["panel"].as_str().unwrap().to_owned();
        panels["data"].as_array().unwrap_or_else(|| panic!("{panels}")).iter().map(name).collect()
    }

    /// How often a panel came and went.
    fn turns(&self, panel: &str) -> usize {
        let kinds = ["intercom.panel.online", "intercom.panel.offline"];
        self.events
            .count(|event| event["subject"] == panel && kinds.iter().any(|kind| event["type"] == *kind))
    }
}

#[test]
fn a_reload_touches_what_has_changed_and_nothing_else() {
    let mut house = House::online("");
    assert!(house.site.run(["reload"]).ok().contains("nothing has changed"));

    // A panel comes to a line that runs, and its neighbour does not notice.
    house.site.configure(&format!("{STREET}{YARD}{}{}{}", front(), side(""), gate()));
    let said = house.site.run(["reload"]).ok();
    let about = |said: &str| said.lines().filter(|line| !line.contains("warning:")).count();
    assert!(said.contains("panel side: new") && about(&said) == 1, "{said}");
    house.events.wait_panel("intercom.panel.online", "side");
    house.opens("side");
    house.opens("front");
    assert_eq!(house.panels(), ["front", "side", "gate"]);

    // It changes, and goes.
    house.site.configure(&format!("{STREET}{YARD}{}{}{}", side("feedback = false"), front(), gate()));
    let said = house.site.run(["reload"]).ok();
    assert!(said.contains("panel side") && said.contains("feedback"), "{said}");
    house.events.wait_panel("intercom.panel.online", "side");
    assert_eq!(house.panels(), ["side", "front", "gate"]);
    house.opens("side");
    house.site.configure(&format!("{STREET}{YARD}{}{}", front(), gate()));
    assert!(house.site.run(["reload"]).ok().contains("panel side: removed"));
    assert_eq!(house.panels(), ["front", "gate"]);

    // A line goes, and comes back under another name on the same port.
    house.site.configure(&format!("{STREET}{}", front()));
    house.site.run(["reload"]).ok();
    let garden = YARD.replace("\"yard\"", "\"garden\"");
    house.site.configure(&format!("{STREET}{garden}{}{}", front(), panel("gate", "garden", 0, "")));
    let said = house.site.run(["reload"]).ok();
    assert!(said.contains("bus garden: new"), "{said}");
    wait_until("the panel of the line is back", || house.turns("gate") == 2);
    house.opens("gate");
    house.opens("front");
    assert_eq!(house.turns("front"), 1, "it was online all the time");
    assert!(house.daemon.health()["status"] == "ok", "{}", house.daemon.health());
    house.daemon.stop();
}

#[test]
fn what_is_refused_changes_nothing_and_what_needs_a_restart_waits_for_it() {
    let mut house = House::online("");
    let good = fs::read_to_string(house.site.config_path()).unwrap();
    fs::write(house.site.config_path(), good.replace("address = 0", "address = 200")).unwrap();
    let refused = house.site.run(["reload"]).failed(2);
    assert!(refused.contains("gateway.toml:") && refused.contains("address"), "{refused}");
    assert!(
        refused.contains("nothing has changed") || refused.contains("0..=126") || refused.contains("126"),
        "{refused}"
    );
    house.opens("front");

    // A file that the configuration names is missing: `check` does not pass.
    let keyed = good.replacen(
        "secure_channel = \"off\"",
        "secure_channel = \"required\"\nsecure_key_file = \"missing.key\"",
        1,
    );
    fs::write(house.site.config_path(), keyed).unwrap();
    let refused = house.site.run(["reload"]).failed(2);
    assert!(refused.contains("missing.key") && refused.contains("nothing has changed"), "{refused}");
    house.opens("front");

    // What needs a restart is named, and the rest is applied.
    let text = good.replace("id = \"test\"", "id = \"other\"") + &side("");
    fs::write(house.site.config_path(), text.replace("{dir}", house.site.path("").to_str().unwrap()))
        .unwrap();
    let Ran { status, stdout, .. } = house.site.run(["reload"]);
    assert_eq!(status, Some(1), "{stdout}");
    assert!(stdout.contains("panel side: new"), "{stdout}");
    house.events.wait_panel("intercom.panel.online", "side");
    let waits = stdout.lines().find(|line| line.contains("id =")).unwrap();
    assert!(waits.contains("needs a restart: systemctl restart intercom-gateway"), "{stdout}");
    house.opens("side");
    assert_eq!(house.turns("front"), 1);

    // A credential that systemd has not handed over comes at a start only, and its panel stays as it is.
    let keyed = good.replacen(
        "secure_channel = \"off\"",
        "secure_channel = \"required\"\nsecure_key_file = \"credential:front\"",
        1,
    );
    fs::write(house.site.config_path(), keyed).unwrap();
    let Ran { status, stdout, .. } = house.site.run(["reload"]);
    assert_eq!(status, Some(1), "{stdout}");
    assert!(stdout.contains("panel side: removed") && stdout.contains("needs a restart"), "{stdout}");
    house.opens("front");
    assert_eq!(house.turns("front"), 1);
}

#[test]
fn a_hang_up_reloads_and_the_log_says_what_changed() {
    let mut house = House::online("");
    house.site.configure(&format!("{STREET}{YARD}{}{}{}", front(), side(""), gate()));
    house.daemon.signal(Signal::SIGHUP);
    house.daemon.log.wait("what changed", |line| line.contains("panel side: new").then_some(()));
    house.events.wait_panel("intercom.panel.online", "side");
    house.opens("side");
    fs::write(house.site.config_path(), "[[bus]").unwrap();
    house.daemon.signal(Signal::SIGHUP);
    house.daemon.log.wait("the refusal", |line| line.contains("nothing has changed").then_some(()));
    house.opens("front");
    assert_eq!(house.turns("front"), 1);
    house.daemon.stop();
}

#[test]
fn a_trial_is_kept_when_it_is_confirmed_and_put_back_otherwise() {
    let mut house = House::online("");
    let before = fs::read_to_string(house.site.config_path()).unwrap();
    fs::set_permissions(house.site.config_path(), fs::Permissions::from_mode(0o640)).unwrap();
    let path = house.site.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let new = house.site.write("new.toml", &(before.clone() + &side("").replace("{dir}", &path)));
    let new = new.to_str().unwrap();

    assert!(house.site.run(["apply", "--confirm"]).failed(1).contains("no configuration is on trial"));
    assert!(house.site.run(["apply", "--abort"]).failed(1).contains("no configuration is on trial"));
    let broken = house.site.write("broken.toml", "[[bus]]\nname = 1\n");
    let refused = house.site.run(["apply", broken.to_str().unwrap()]).failed(2);
    assert!(refused.contains("broken.toml:2"), "{refused}");

    let said = house.site.run(["apply", new]).ok();
    assert!(said.contains("panel side: new") && said.contains("300 s"), "{said}");
    house.events.wait_panel("intercom.panel.online", "side");
    house.opens("side");
    assert_eq!(fs::read_to_string(house.site.config_path()).unwrap(), before);
    assert!(house.site.run(["apply", "--abort"]).ok().contains("panel side: removed"));
    assert_eq!(house.panels(), ["front", "gate"]);

    house.site.run(["apply", new, "--trial", "1h"]).ok();
    house.events.wait_panel("intercom.panel.online", "side");
    house.opens("side");
    let said = house.site.run(["apply", "--confirm"]).ok();
    assert!(said.contains("stays in force"), "{said}");
    assert_eq!(fs::read_to_string(house.site.config_path()).unwrap(), fs::read_to_string(new).unwrap());
    let mode = fs::metadata(house.site.config_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "its mode is as it was");
    house.opens("side");
    assert_eq!(house.panels(), ["front", "side", "gate"], "bus by bus");

    // What is on trial when the power is cut is nowhere.
    let old = house.site.write("old.toml", &before);
    house.site.run(["apply", old.to_str().unwrap()]).ok();
    assert_eq!(house.panels(), ["front", "gate"]);
    house.daemon.kill();
    let mut daemon = Daemon::start(&house.site);
    daemon.log.wait("what the file says", |line| {
        (line.contains("intercom.panel.online") && line.contains("side")).then_some(())
    });
    daemon.stop();
}

#[test]
fn a_trial_that_loses_a_panel_is_over_after_15_seconds() {
    let mut house = House::online("");
    let before = fs::read_to_string(house.site.config_path()).unwrap();
    let nowhere = house.site.write("new.toml", &before.replace("/street\"", "/nowhere\""));
    house.site.run(["apply", nowhere.to_str().unwrap()]).ok();
    // The other line goes on.
    house.opens("gate");
    let over = house
        .daemon
        .log
        .wait("the end of the trial", |line| line.contains("the trial is over").then(|| line.to_owned()));
    assert!(over.contains("panel front was online, and is away for 15 s"), "{over}");
    house.events.wait_panel("intercom.panel.offline", "front");
    house.events.wait_panel("intercom.panel.online", "front");
    house.opens("front");
    assert_eq!(house.turns("gate"), 1);
    assert!(house.site.run(["apply", "--abort"]).failed(1).contains("no configuration is on trial"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_sees_what_is_configured_now() {
    let broker = Mosquitto::open();
    let mqtt = |prefix: &str| {
        format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\ntopic_prefix = \"{prefix}\"\n", broker.port)
    };
    let house = House::online(&mqtt("intercom/v1"));
    let consumer = Consumer::start("cloud", broker.port, "intercom/v1/test", false);
    let other = Consumer::start("other", broker.port, "other/v1/test", false);
    wait_until("all panels are shown", || {
        ["front", "gate"].iter().all(|panel| consumer.lock().last(&format!("panels/{panel}")).is_some())
    });
    house.site.configure(&format!("{}{STREET}{YARD}{}{}", mqtt("intercom/v1"), front(), side("")));
    house.site.run(["reload"]).ok();
    wait_until("the new panel is shown, and the old one is cleared", || {
        let seen = consumer.lock();
        let gone = seen.last("panels/gate").is_some_and(|message| message.payload.is_empty());
        gone && seen.last("panels/side").is_some_and(|message| message.json()["state"] == "online")
    });
    wait_until("info has the new panel", || {
        let seen = consumer.lock();
        seen.last("info").is_some_and(|info| info.json()["panels"].to_string().contains("side"))
    });
    // Another prefix is another session; the lines do not notice.
    house.site.configure(&format!("{}{STREET}{YARD}{}{}", mqtt("other/v1"), front(), side("")));
    house.site.run(["reload"]).ok();
    wait_until("the old topics say good-bye", || consumer.lock().status()["status"] == "offline");
    wait_until("the new ones are there", || other.lock().status()["status"] == "online");
    assert_eq!(house.turns("front"), 1);
    house.daemon.stop();
}

#[test]
fn the_endpoint_and_the_first_bus_come_with_a_reload() {
    let site = Site::new(&format!("{STREET}{}", front()));
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    site.configure("");
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    // It has read the configuration, which changes now.
    events.wait_type("gateway.started");
    assert!(daemon.has_reason(intercom_gateway::domain::HealthCode::NoBus));
    site.configure(&format!("{STREET}{}", front()));
    let said = site.run(["reload"]).ok();
    assert!(said.contains("bus street: new") && said.contains("panel front: new"), "{said}");
    events.wait_panel("intercom.panel.online", "front");
    panels.card("front", KNOWN);
    panels.wait("front", "OUT", |what| matches!(what, Observation::Output(_)));
    // Another address of its own, which is in the log.
    let text = fs::read_to_string(site.config_path()).unwrap().replace("127.0.0.1:0", "127.0.0.2:0");
    fs::write(site.config_path(), text).unwrap();
    assert!(site.run(["reload"]).ok().contains("listen"));
    daemon.log.wait("the other address", |line| line.contains("address=127.0.0.2:").then_some(()));
    daemon.stop();
}

#[test]
fn a_key_that_has_changed_in_its_file_is_a_change_of_its_panel() {
    const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";
    let keyed = front().replace("secure_channel = \"off\"", "secure_key_file = \"{dir}/key\"");
    let site = Site::new(&format!("{STREET}{keyed}"));
    site.write("key", KEY);
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_panel("intercom.panel.online", "front");
    assert!(site.run(["reload"]).ok().contains("nothing has changed"));
    for (key, turn) in
        [(KEY.replace('d', "e"), "intercom.panel.offline"), (KEY.into(), "intercom.panel.online")]
    {
        site.write("key", &key);
        let said = site.run(["reload"]).ok();
        assert!(said.contains("panel front: the content of its secure_key_file has changed"), "{said}");
        assert!(!said.contains(&key), "{said}");
        events.wait_panel(turn, "front");
    }
    panels.card("front", KNOWN);
    panels.wait_opened("front");
    daemon.stop();
}

//! `panel identify`, and the same over HTTP: which panel is it?

use intercom_gateway::{
    simulate::{action::Fault, panel::Observation},
    wire::osdp::control::{Colour, TemporaryLed},
};
use serde_json::{Value, json};

use crate::{
    libosdp_panels,
    support::{Daemon, Site, libosdp, simulated::Panels, site::ENTRANCE},
};

/// Behind [`ENTRANCE`], whose panel is in a secure channel: one in plaintext, and a cabinet, which has neither light nor
/// sound.
const REST: &str = r#"
secure_key_file = "{dir}/key"
feedback = false

[[panel]]
name = "entrance-2"
intercom = 1
bus = "street"
address = 1
secure_channel = "off"

[[bus]]
name = "basement"
port = "{dir}/basement"
protocol = "modbus"

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = { first_flat = 1, count = 100 }
"#;

struct House {
    site: Site,
    panels: Panels,
    daemon: Daemon,
}

impl House {
    fn online() -> Self {
        let site = Site::new(&format!("{ENTRANCE}{REST}"));
        site.write("key", "d459f02f6602e5651f3b553bc283d43e");
        let panels = Panels::start(&site, false);
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        for _ in 0..3 {
            events.wait_type("intercom.panel.online");
        }
        Self { site, panels, daemon }
    }

    /// Waits until a panel has begun to blink and to beep; for how many tenths of a second, and how often.
    fn blinks_and_beeps(&self, panel: &str) -> (u16, u8) {
        let (mut tenths, mut beeps) = (None, None);
        self.panels.wait_seen("light and sound", |sighting| {
            assert!(
                sighting.panel.as_str() == panel
                    || !matches!(sighting.what, Observation::Led(_) | Observation::Buzzer(_)),
                "another blinks: {sighting:?}"
            );
            match &sighting.what {
                Observation::Led(light) => {
                    let blink = light.temporary_blink;
                    assert_eq!((light.temporary, blink.off_colour), (TemporaryLed::Set, Colour::Off));
                    assert!(blink.on > 0 && blink.off > 0, "{blink:?}");
                    tenths = Some(light.timer);
                }
                Observation::Buzzer(sound) => beeps = Some(sound.count),
                _ => {}
            }
            tenths.is_some() && beeps.is_some()
        });
        (tenths.unwrap(), beeps.unwrap())
    }
}

#[test]
fn by_command_the_panel_that_is_meant_blinks_and_beeps() {
    let house = House::online();
    let identify =
        |arguments: &[&str]| house.site.run(["panel", "identify"].iter().chain(arguments).copied());
    for panel in ["entrance-1", "entrance-2"] {
        assert_eq!(identify(&[panel]).ok(), format!("panel {panel} blinks and beeps for 10 s\n"));
        assert_eq!(house.blinks_and_beeps(panel), (100, 20));
    }
    let told = identify(&["entrance-1", "--for", "2500ms"]).ok();
    assert_eq!(told, "panel entrance-1 blinks and beeps for 2.5 s\n");
    assert_eq!(house.blinks_and_beeps("entrance-1"), (25, 5));

    assert_eq!(
        identify(&["risers"]).failed(1),
        "panel risers has neither light nor sound, or refused both\n"
    );
    house.panels.fault("entrance-2", Fault::Nak(true));
    let refused = identify(&["entrance-2"]).failed(1);
    assert_eq!(refused, "panel entrance-2 has neither light nor sound, or refused both\n");
    house.daemon.stop();
}

#[test]
fn over_http_likewise_and_not_for_those_who_may_only_read() {
    let house = House::online();
    let token = house.site.run(["token", "add", "installer"]).ok();
    let reader = house.site.run(["token", "add", "reader", "--read-only"]).ok();
    let ask = |token: &str, panel: &str, body: &str| {
        let path = format!("/api/local/v1/panels/{panel}/identify");
        house.daemon.ask_with("POST", &path, token.trim(), body)
    };
    assert_eq!(ask(&token, "entrance-1", ""), (204, Value::Null));
    assert_eq!(house.blinks_and_beeps("entrance-1"), (100, 20));
    assert_eq!(ask(&token, "entrance-2", r#"{"for":0.5}"#), (204, Value::Null));
    assert_eq!(house.blinks_and_beeps("entrance-2"), (5, 1));

    let (status, refused) = ask(&token, "risers", "");
    assert_eq!((status, &refused["code"]), (422, &json!("refused")));
    assert_eq!(refused["message"], "Panel risers has neither light nor sound, or refused both.");
    let (status, refused) = ask(&token, "nowhere", "");
    assert_eq!((status, &refused["code"]), (422, &json!("unknown_panel")));
    let (status, refused) = ask(&token, "entrance-1", r#"{"for":0}"#);
    assert_eq!((status, refused["errors"]["for"].is_array()), (422, true), "{refused}");
    assert_eq!(ask(&reader, "entrance-1", "").0, 403);
    house.panels.fault("entrance-1", Fault::Nak(true));
    let (status, refused) = ask(&token, "entrance-1", "");
    assert_eq!((status, &refused["code"]), (422, &json!("refused")));
    let seen = house.panels.seen();
    assert!(!seen.iter().any(|seen| matches!(seen.what, Observation::Led(_))), "{seen:?}");
    house.daemon.stop();
}

/// libosdp, which has never seen the gateway's own panels, reads the same out of it.
#[test]
fn a_panel_by_somebody_else_blinks_and_beeps() {
    const RED: u8 = 1;
    const BAUD: u32 = 9600;
    let key = "d459f02f6602e5651f3b553bc283d43e";
    let site = libosdp_panels::site(BAUD, &[0], "secure_key_file = \"{dir}/key\"");
    site.write("key", key);
    let line = libosdp::line(&site.path("street"), BAUD);
    let mut panels = libosdp::Panels::start(&line.ports()[1], BAUD, "0", &["--scbk", key, "--enforce"]);
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_panel("intercom.panel.online", "panel-0");
    let told = site.run(["panel", "identify", "panel-0", "--for", "7s"]).ok();
    assert_eq!(told, "panel panel-0 blinks and beeps for 7 s\n");
    let light = panels.wait_command(0, "LED");
    let colours = (&light["on_color"], &light["off_color"]);
    assert_eq!((colours, &light["timer_count"]), ((&json!(RED), &json!(0)), &json!(70)), "{light}");
    let sound = panels.wait_command(0, "Buzzer");
    let times = (&sound["on_count"], &sound["off_count"], &sound["rep_count"]);
    assert_eq!(times, (&json!(2), &json!(3), &json!(14)), "{sound}");
    daemon.stop();
}

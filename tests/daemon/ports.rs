//! Ports that vanish and come back, serial servers, many buses, full lines.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    time::Duration,
};

use intercom_gateway::{
    clock,
    domain::HealthCode,
    simulate::{
        action::{Action, Fault},
        panel::Observation,
    },
};

use serde_json::Value;

use crate::support::{
    Daemon, Events, Site,
    bridge::SerialServer,
    flats::{self, KNOWN},
    simulated::{Panels, name},
};

/// After so long a card is presented again.
const AGAIN: Duration = Duration::from_secs(5);
const SWIPED: &str = "intercom.key.swiped";
const ONLINE: &str = "intercom.panel.online";
const OFFLINE: &str = "intercom.panel.offline";
const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";

/// A building of these buses: name, port, further settings, addresses; panels are called `street-0`, …
fn site(buses: &[(&str, &str, &str, &[u8])]) -> Site {
    let mut text = "[[intercom]]\nid = 1\n".to_owned();
    for (bus, port, settings, addresses) in buses {
        text.push_str(&format!(
            "\n[[bus]]\nname = \"{bus}\"\nport = \"{port}\"\nprotocol = \"osdp\"\n{settings}\n"
        ));
        for address in *addresses {
            text.push_str(&format!(
                "\n[[panel]]\nname = \"{bus}-{address}\"\nintercom = 1\nbus = \"{bus}\"\naddress = {address}\n\
                 lock = {{ output = 0 }}\nsecure_channel = \"required\"\nsecure_key_file = \"{{dir}}/key\"\n"
            ));
        }
    }
    let site = Site::new(&text);
    site.write("key", KEY);
    site.import(57, &[flats::known()]).ok();
    site
}

/// The known card opens at this panel. A machine too busy to answer in time resets a link, which takes a card along
/// that was on its way: then it is presented again, as somebody at a door would.
fn opens(panels: &Panels, events: &mut Events, panel: &str) {
    for _ in 0..10 {
        panels.card(panel, KNOWN);
        let is_it = |event: &Value| event["type"] == SWIPED && event["subject"] == panel;
        match events.wait_within(AGAIN, is_it) {
            Some(event) if event["data"]["reason"] == "stale" => {
                // Cards one after another would leave no poll empty.
                std::thread::sleep(Duration::from_millis(100));
            }
            Some(event) => {
                assert_eq!(event["data"]["decision"], "granted", "{event}");
                if panels.opened_within(AGAIN, panel) {
                    return;
                }
            }
            None => {}
        }
    }
    panic!("{panel} does not open");
}

#[test]
fn an_unplugged_adapter_is_opened_again_when_it_is_back() {
    let site = site(&[("street", "{dir}/street", "", &[0, 1])]);
    let mut panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..2 {
        events.wait_type(ONLINE);
    }
    for _ in 0..2 {
        opens(&panels, &mut events, "street-0");
        let before = daemon.cpu_ticks();
        drop(panels);
        daemon.log.wait("the loss of the port", |line| line.contains("port is lost").then_some(()));
        for _ in 0..2 {
            events.wait_type(OFFLINE);
        }
        // 8 s have passed, in which a loop over a dead descriptor would have taken 800 ticks.
        let spent = daemon.cpu_ticks() - before;
        assert!(spent < 200, "{spent} ticks");
        panels = Panels::start(&site, false);
        for _ in 0..2 {
            events.wait_type(ONLINE);
        }
    }
    opens(&panels, &mut events, "street-1");
    assert_eq!(daemon.log.count("port is lost"), 2);
    assert_eq!(daemon.log.count("port cannot be opened"), 2, "told once, however often it is tried");
    daemon.stop();
}

#[test]
fn a_serial_server_may_restart() {
    let nowhere = "127.0.0.1:0".parse().unwrap();
    let building = site(&[("street", "{dir}/street", "baud = 115200", &[0, 1])]);
    let panels = Panels::start(&building, true);
    let line = building.path("street");
    let server = SerialServer::start(nowhere, Some(&line));
    let address = server.address();
    let site = site(&[("street", &format!("tcp://{address}"), "baud = 115200", &[0, 1])]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..2 {
        events.wait_type(ONLINE);
    }
    opens(&panels, &mut events, "street-0");
    drop(server);
    daemon.log.wait("the loss of the connection", |line| line.contains("port is lost").then_some(()));
    for _ in 0..2 {
        events.wait_type(OFFLINE);
    }
    let server = SerialServer::start(address, Some(&line));
    for _ in 0..2 {
        events.wait_type(ONLINE);
    }
    opens(&panels, &mut events, "street-1");
    assert_eq!(server.connections(), 1);
    daemon.stop();
}

#[test]
fn a_serial_server_that_hangs_up_is_called_ever_less_often() {
    let server = SerialServer::start("127.0.0.1:0".parse().unwrap(), None);
    let site = site(&[("street", &format!("tcp://{}", server.address()), "", &[0])]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type(OFFLINE);
    // In 8 s: at once, and after pauses of 0.25, 0.5, 1, 2, 4 s; a late event may let one more in.
    let connections = server.connections();
    assert!((2..=8).contains(&connections), "{connections}");
    daemon.stop();
}

#[test]
fn what_a_port_cannot_do_is_told_and_does_without() {
    let settings = "parity = \"even\"\nstop_bits = 2\ndirection = \"rts\"";
    let site = site(&[("street", "{dir}/street", settings, &[0])]);
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    daemon
        .log
        .wait("TIOCSRS485", |line| (line.contains("WARN") && line.contains("TIOCSRS485")).then_some(()));
    let mut events = daemon.events(&site, 1);
    events.wait_type(ONLINE);
    opens(&panels, &mut events, "street-0");
    daemon.stop();
}

#[test]
fn buses_do_not_know_of_each_other() {
    let site = site(&[
        ("yard", "{dir}/yard", "baud = 9600", &[0, 7]),
        ("never", "{dir}/there/is/none", "", &[0, 1]),
        ("street", "{dir}/street", "baud = 115200", &[0, 7]),
    ]);
    let mut text = std::fs::read_to_string(site.config_path()).unwrap();
    text.push_str(
        "\n[[bus]]\nname = \"empty\"\nport = \"{dir}/empty\"\nprotocol = \"osdp\"\n"
            .replace("{dir}", site.path("").to_str().unwrap())
            .as_str(),
    );
    std::fs::write(site.config_path(), text).unwrap();
    let plan_without_never = |bus: &str| bus != "never";
    let panels = Panels::start_some(&site, true, plan_without_never);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..4 {
        events.wait_type(ONLINE);
    }
    for panel in ["yard-0", "street-7", "yard-7", "street-0"] {
        opens(&panels, &mut events, panel);
    }
    let mut events = daemon.events(&site, 1);
    for panel in ["never-0", "never-1"] {
        let mut events = daemon.events(&site, 1);
        events.wait_panel(OFFLINE, panel);
    }
    events.wait_panel(ONLINE, "yard-0");
    assert_eq!(daemon.log.count("port cannot be opened"), 1);
    assert_eq!(
        events.count(|event| event["type"] == OFFLINE
            && event["data"]["panel"] != "never-0"
            && event["data"]["panel"] != "never-1"),
        0
    );
    daemon.stop();
}

#[test]
fn a_bus_carries_every_address() {
    let addresses: Vec<u8> = (0..=126).collect();
    let site = site(&[("street", "{dir}/street", "baud = 230400", &addresses)]);
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in &addresses {
        events.wait_type(ONLINE);
    }
    for panel in ["street-126", "street-0", "street-64"] {
        opens(&panels, &mut events, panel);
    }
    daemon.stop();
}

#[test]
fn handshakes_leave_others_their_turns() {
    let site = site(&[("street", "{dir}/street", "baud = 9600", &[0, 1])]);
    let panels = Panels::start(&site, true);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..2 {
        events.wait_type(ONLINE);
    }
    opens(&panels, &mut events, "street-0");
    opens(&panels, &mut events, "street-1");
    let mut acknowledged = 0;
    for _ in 0..4 {
        // More than can be read in the time of a handshake.
        while panels.try_card("street-0", KNOWN) {}
        panels.act("street-1", Action::Restart);
        panels.wait("street-1", "the end of its secure channel", |what| *what == Observation::Unsecured);
        panels.wait_seen("the new secure channel", |sighting| {
            let is_acknowledged = matches!(sighting.what, Observation::Acknowledged(_));
            acknowledged += usize::from(sighting.panel == name("street-0") && is_acknowledged);
            sighting.panel == name("street-1") && matches!(sighting.what, Observation::Secured { .. })
        });
    }
    // One a handshake at least; a busy machine may spoil some.
    assert!(acknowledged >= 2, "handshakes took all turns for themselves: {acknowledged}");
    assert_eq!(events.count_type(OFFLINE), 0);
    daemon.stop();
}

#[test]
fn one_dead_panel_of_four_leaves_the_others_at_work() {
    let site = site(&[("street", "{dir}/street", "baud = 115200", &[0, 1, 2, 3])]);
    let panels = Panels::start(&site, true);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..4 {
        events.wait_type(ONLINE);
    }
    panels.fault("street-2", Fault::Gone(true));
    for panel in ["street-0", "street-1", "street-3"] {
        opens(&panels, &mut events, panel);
    }
    events.wait_panel(OFFLINE, "street-2");
    for panel in ["street-3", "street-1", "street-0"] {
        opens(&panels, &mut events, panel);
    }
    panels.fault("street-2", Fault::Gone(false));
    events.wait_panel(ONLINE, "street-2");
    opens(&panels, &mut events, "street-2");
    assert_eq!(events.count_type(OFFLINE), 1);
    daemon.stop();
}

#[test]
fn a_serial_server_that_floods_costs_little() {
    let flooding = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = flooding.local_addr().unwrap();
    std::thread::spawn(move || {
        let noise: Vec<u8> = (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        while let Ok((mut stream, _)) = flooding.accept() {
            while std::io::Write::write_all(&mut stream, &noise).is_ok() {}
        }
    });
    let site = site(&[("street", &format!("tcp://{address}"), "baud = 115200", &[0, 1])]);
    let mut daemon = Daemon::start(&site);
    daemon.log.wait("the open port", |line| line.contains("port is open").then_some(()));
    let (before, begun) = (daemon.cpu_ticks(), clock::mono());
    std::thread::sleep(Duration::from_secs(4));
    let percent = (daemon.cpu_ticks() - before) as f64 / clock::mono().since(begun).as_secs_f64();
    assert!(percent < 10.0, "{percent:.1} % of a core");
    let mut events = daemon.events(&site, 1);
    events.wait_type(OFFLINE);
    daemon.stop();
}

#[test]
fn another_program_that_takes_the_bytes_is_named_while_they_are_missing() {
    let site = site(&[("street", "{dir}/street", "", &[0])]);
    let panels = Panels::start(&site, false);
    let port = std::fs::File::open(site.path("street")).unwrap();
    let mut thief = std::process::Command::new("sleep").arg("600").stdin(port).spawn().unwrap();
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type(ONLINE);
    let name = format!("sleep (process {})", thief.id());
    assert_eq!(daemon.log.count(&name), 0, "it does no harm");
    panels.fault("street-0", Fault::Gone(true));
    daemon.log.wait("who has the port", |line| (line.contains("WARN") && line.contains(&name)).then_some(()));
    daemon.wait_health(HealthCode::Bus);
    // The port is reopened meanwhile, as all its panels are silent.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(daemon.log.count("nobody takes bytes"), 0);
    panels.fault("street-0", Fault::Gone(false));
    daemon.log.wait("the end of it", |line| line.contains("nobody takes bytes").then_some(()));
    thief.kill().unwrap();
    thief.wait().unwrap();
    daemon.stop();
}

#[test]
fn a_port_is_opened_again_by_an_ordinary_user_after_the_daemon_was_killed() {
    /// Root may open what others have locked by TIOCEXCL.
    const NOBODY: u32 = 65_534;
    let site = site(&[("street", "{dir}/street", "", &[0])]);
    let panels = Panels::start(&site, false);
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    chown(fs::canonicalize(site.path("street")).unwrap(), Some(NOBODY), None).unwrap();
    for file in ["gateway.toml", "key"] {
        fs::set_permissions(site.path(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    for entry in fs::read_dir(site.state_dir()).unwrap() {
        chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    chown(site.state_dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let start = || Daemon::spawn(site.command(["run"]).uid(NOBODY).gid(NOBODY));
    for _ in 0..2 {
        let mut daemon = start();
        daemon.log.wait("the port", |line| line.contains("port is open").then_some(()));
        assert_eq!(daemon.log.count("port cannot be opened"), 0);
        daemon.kill();
    }
    let mut daemon = start();
    let mut events = daemon.events(&site, 1);
    events.wait_type(ONLINE);
    opens(&panels, &mut events, "street-0");
    daemon.stop();
}

#[test]
fn a_port_is_named_in_the_log_as_in_the_configuration() {
    let site = site(&[("street", "{dir}/none", "", &[0])]);
    let mut daemon = Daemon::start(&site);
    let line =
        daemon.log.wait("the port", |line| line.contains("port cannot be opened").then(|| line.to_owned()));
    let named = format!("port={} error=there is no such device", site.path("none").display());
    assert!(line.contains(&named), "{line}");
    daemon.stop();
}

#[test]
fn check_names_another_program_that_has_a_port_and_not_the_daemon() {
    let site = site(&[("street", "{dir}/street", "", &[0])]);
    let _panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    daemon.log.wait("the port", |line| line.contains("port is open").then_some(()));
    let port = fs::File::open(site.path("street")).unwrap();
    let mut thief = std::process::Command::new("sleep").arg("600").stdin(port).spawn().unwrap();
    let told = site.run(["check"]).ok();
    thief.kill().unwrap();
    thief.wait().unwrap();
    let line = told.lines().find(|line| line.contains("warning: bus.port: ")).expect("a finding");
    // This test, which simulates the panel, has it open as well.
    assert!(line.contains(&format!("sleep (process {})", thief.id())), "{told}");
    assert!(line.ends_with("has the port open and takes bytes from it; stop it"), "{told}");
    assert!(!line.contains(&format!("(process {})", daemon.id())), "{told}");
    daemon.stop();
}

//! `monitor`: how everything is, and then what happens, into a pipe and on a terminal.

use std::{
    fs::File,
    io::{Read, Write},
    process::Stdio,
    sync::{Arc, Mutex},
};

use intercom_gateway::simulate::panel::Observation;
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    pty::{Winsize, openpty},
};
use serde_json::Value;

use crate::support::{
    Daemon, Events, Site,
    flats::{self, KNOWN},
    lines::{Lines, wait_until},
    simulated::Panels,
    site::ENTRANCE,
};

fn site() -> Site {
    Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"install\"\n"))
}

#[test]
fn into_a_pipe_it_tells_how_everything_is_and_then_each_change() {
    let site = site();
    let panels = Panels::start(&site, false);
    site.import(1, &[flats::known()]).ok();
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_type("intercom.panel.online");
    let mut child = site.command(["monitor"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = Events::of("monitor", child.stdout.take().unwrap());
    let said = Lines::of("what monitor complains of", child.stderr.take().unwrap());
    for kind in ["panel", "bus", "health"] {
        let first = told.wait("the next state", |_| true);
        assert_eq!(first["type"], kind, "{first}");
    }
    told.rewind();
    let panel = told.wait("the panel", |told| told["type"] == "panel");
    assert_eq!((&panel["data"]["panel"], &panel["data"]["state"]), (&"entrance-1".into(), &"online".into()));

    panels.card("entrance-1", KNOWN);
    let is_event = |told: &Value, kind: &str| told["type"] == "event" && told["data"]["type"] == kind;
    let swiped = told.wait("the swipe", |told| is_event(told, "intercom.key.swiped"));
    assert_eq!(swiped["data"]["data"]["decision"], "granted");
    told.wait("the unlock", |told| is_event(told, "intercom.door.unlocked"));
    drop(panels);
    told.wait("the loss", |told| told["type"] == "panel" && told["data"]["state"] == "offline");
    assert_eq!(told.count(|told| is_event(told, "gateway.started")), 0, "nothing from before");
    daemon.stop();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    said.wait_for_end();
    assert!(said.so_far().iter().any(|line| line == "the daemon has ended"), "{:?}", said.so_far());
    let types = ["event", "panel", "line", "bus", "health"];
    assert_eq!(told.count(|told| !types.contains(&told["type"].as_str().unwrap())), 0);
}

#[test]
fn on_a_terminal_it_shows_a_table_takes_keys_and_leaves_the_terminal_as_it_was() {
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_type("intercom.panel.online");
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = site.command(["monitor"]);
    command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().unwrap();
    drop((command, pty.slave));
    let mut keys = File::from(pty.master);
    let shown = Arc::new(Mutex::new(String::new()));
    let (mut terminal, screen) = (keys.try_clone().unwrap(), shown.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // A terminal whose other side is closed is an error.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            screen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    let is_shown = |text: &str| shown.lock().unwrap().contains(text);
    let all = ["entrance-1", "gateway.started", "identify"];
    wait_until("all of it is shown", || all.iter().all(|word| is_shown(word)));
    keys.write_all(b"i").unwrap();
    panels.wait("entrance-1", "that it blinks", |seen| matches!(seen, Observation::Buzzer(_)));
    keys.write_all(b"q").unwrap();
    wait_until("the terminal is as it was", || is_shown("\u{1b}[?1049l"));
    assert!(child.wait().unwrap().success());
    daemon.stop();
}

#[test]
fn it_ends_with_its_terminal() {
    let site = site();
    let daemon = Daemon::start(&site);
    let pty = openpty(&Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }, None).unwrap();
    // Or the child would hold its own terminal open.
    fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = site.command(["monitor"]);
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    drop((command, pty.slave));
    let mut terminal = File::from(pty.master);
    let shown = std::thread::spawn(move || {
        let (mut buffer, mut shown) = ([0; 4096], String::new());
        while !shown.contains("identify") {
            let length = terminal.read(&mut buffer).unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    wait_until("it is shown", || shown.is_finished());
    wait_until("it has ended", || child.try_wait().unwrap().is_some());
    daemon.stop();
}

//! `doctor`: with a daemon, without one, and for those who may only look.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
};

use serde_json::Value;

use crate::pki::{Ca, Signed};
use crate::support::mosquitto::Mosquitto;
use crate::support::{
    self, Daemon, Site,
    lines::wait_until,
    simulated::Panels,
    site::{ENTRANCE, Ran},
};

/// Everything that a door panel can be told to have.
const FITTED: &str =
    "lock = { output = 0 }\ndoor = { input = 0, exit_input = 1 }\nsecure_channel = \"install\"\n";

fn checks(ran: Ran) -> Vec<Value> {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn find<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name} in {checks:#?}"))
}

fn verdict<'a>(checks: &'a [Value], name: &str) -> &'a str {
    find(checks, name)["verdict"].as_str().unwrap()
}

#[test]
fn a_running_daemon_is_examined_and_one_that_is_bad_is_status_1() {
    let site = Site::new(&format!("{ENTRANCE}{FITTED}"));
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_type("intercom.panel.online");
    let ran = site.run(["doctor", "--json"]);
    let status = ran.status;
    let found = checks(ran);
    for name in [
        "port street",
        "bus street",
        "panel entrance-1",
        "fittings entrance-1",
        "database",
        "broker",
        "version",
    ] {
        assert_eq!(verdict(&found, name), "ok", "{found:#?}");
    }
    let fittings = find(&found, "fittings entrance-1")["detail"].as_str().unwrap();
    assert!(fittings.ends_with("output 0, input 0, input 1"), "{fittings}");
    assert_eq!(status, Some(0), "{found:#?}");
    for check in &found {
        let mut members: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["check", "detail", "verdict"]);
    }
    let table = site.run(["doctor"]).ok();
    assert_eq!(table.lines().count(), found.len(), "one verdict a line: {table}");
    assert!(table.contains("ok    panel entrance-1"), "{table}");

    drop(panels);
    wait_until("the panel is missed", || site.run(["doctor", "--json"]).status == Some(1));
    let found = checks(site.run(["doctor", "--json"]));
    assert!(
        ["port street", "panel entrance-1"].iter().any(|name| verdict(&found, name) == "bad"),
        "{found:#?}"
    );
    assert!(site.run(["doctor"]).stdout.contains("BAD"));
    daemon.stop();
}

/// The configuration against PDCAP: the simulated panel has two outputs and four inputs.
#[test]
fn what_the_panel_does_not_have_is_named_all_of_it() {
    let site = Site::new(&format!("{ENTRANCE}secure_channel = \"install\"\n"));
    let _panels = Panels::start(&site, false);
    let doors = "lock = { output = 2 }\ndoor = { input = 4, exit_input = 5 }\nsecure_channel = \"install\"\n";
    site.configure(&format!("{ENTRANCE}{doors}"));
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_type("intercom.panel.online");
    let ran = site.run(["doctor", "--json"]);
    assert_eq!(ran.status, Some(1));
    let found = checks(ran);
    let fittings = find(&found, "fittings entrance-1");
    assert_eq!(fittings["verdict"], "bad");
    let detail = fittings["detail"].as_str().unwrap();
    for missing in ["no output 2", "no input 4", "no input 5", "correct `lock`", "correct `door`"] {
        assert!(detail.contains(missing), "{detail}");
    }
    daemon.stop();
}

#[test]
fn without_a_daemon_it_says_what_it_sees_and_what_it_cannot_know() {
    let site = Site::new(&format!("{ENTRANCE}{FITTED}\n[mqtt]\nurl = \"mqtts://127.0.0.1:1\"\n"));
    let ran = site.run(["doctor", "--json"]);
    assert_eq!(ran.status, Some(1));
    let found = checks(ran);
    assert_eq!(verdict(&found, "daemon"), "bad");
    assert!(find(&found, "port street")["detail"].as_str().unwrap().contains("is the adapter plugged in?"));
    for name in ["bus street", "panel entrance-1"] {
        assert!(find(&found, name)["detail"].as_str().unwrap().starts_with("not known"), "{found:#?}");
    }
    assert!(find(&found, "database")["detail"].as_str().unwrap().contains("holds no data yet"), "{found:#?}");
    let broker = find(&found, "broker");
    assert_eq!(broker["verdict"], "bad", "{broker}");
    assert!(broker["detail"].as_str().unwrap().contains("nothing listens"), "{broker}");
}

/// The handshake is made, and nobody signs on.
#[test]
fn without_a_daemon_it_says_what_tls_has_against_a_broker() {
    let (ca, other) = (Ca::new("a CA"), Ca::new("another CA"));
    let broker = |signed: &Signed| {
        let settings = "certfile DIR/cert.pem\nkeyfile DIR/key.pem\nallow_anonymous true\n";
        Mosquitto::prepared(settings, |dir| {
            fs::write(dir.join("cert.pem"), &signed.certificate).unwrap();
            fs::write(dir.join("key.pem"), &signed.key).unwrap();
            fs::set_permissions(dir.join("key.pem"), Permissions::from_mode(0o644)).unwrap();
        })
    };
    let (good, expired) = (broker(&ca.server("localhost")), broker(&ca.expired_server("localhost")));
    let plain = Mosquitto::open();
    for (broker, roots, verdict, words) in [
        (&good, &ca, "ok", "its certificate is good (TLS 1."),
        (&good, &other, "bad", "of an unknown CA: set ca_file"),
        (&expired, &ca, "bad", "has expired: renew it"),
        (&plain, &ca, "bad", "TLS"),
    ] {
        let site = Site::new(&format!(
            "{ENTRANCE}\n[mqtt]\nurl = \"mqtts://localhost:{}\"\nca_file = \"ca.pem\"\n",
            broker.port
        ));
        site.write("ca.pem", &roots.pem);
        let found = checks(site.run(["doctor", "--json"]));
        let check = find(&found, "broker");
        assert_eq!(check["verdict"], verdict, "{check}");
        assert!(check["detail"].as_str().unwrap().contains(words), "{check}");
    }
}

/// Contract §1: `status.sock` is the group's, and changes nothing.
#[test]
fn members_of_the_group_look_without_being_root_and_change_nothing() {
    let site = Site::new(&format!("{ENTRANCE}{FITTED}"));
    fs::set_permissions(site.path(""), Permissions::from_mode(0o755)).unwrap();
    let runtime = site.path("run");
    fs::create_dir(&runtime).unwrap();
    fs::set_permissions(&runtime, Permissions::from_mode(0o755)).unwrap();
    let _panels = Panels::start(&site, false);
    let mut daemon = Daemon::spawn(site.command(["run"]).env("RUNTIME_DIRECTORY", &runtime));
    daemon.events(&site, 1).wait_type("intercom.panel.online");
    let socket = runtime.join("status.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);

    for (request, is_answered) in [
        (r#""doctor""#, true),
        (r#"{"watch":{"events":0}}"#, true),
        (r#"{"lately":{"bus":"street"}}"#, true),
        (r#"{"token_add":{"name":"mine","read_only":false}}"#, false),
        (r#"{"identify":{"panel":"entrance-1","tenths":10}}"#, false),
        (r#"{"journal":{}}"#, false),
        (r#""export""#, false),
        (r#""reload""#, false),
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        writeln!(stream, "{request}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        let expected = if is_answered { "{\"ok\":" } else { "{\"error\":\"this socket is for looking only" };
        assert!(answer.starts_with(expected), "{request}: {answer}");
    }
    assert_eq!(site.run(["token", "list"]).ok(), "");

    if !nix::unistd::geteuid().is_root() {
        return support::not_run("doctor as another user");
    }
    let member = |group: u32| {
        let mut command = site.command(["doctor"]);
        Ran::of(command.env("RUNTIME_DIRECTORY", &runtime).uid(65_534).gid(group))
    };
    let of_group = nix::unistd::getegid().as_raw();
    let looked = member(of_group);
    if looked.stderr.contains("Permission denied") && looked.stdout.is_empty() && looked.status.is_none() {
        return support::not_run("doctor as another user, who cannot reach the binary");
    }
    assert!(looked.stdout.contains("ok    panel entrance-1"), "{looked:?}");
    let refused = member(65_534).failed(1);
    assert!(refused.contains("member of the group intercom-gateway"), "{refused}");
    daemon.stop();
}

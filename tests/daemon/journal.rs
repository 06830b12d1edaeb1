//! What was recorded stays recorded: stops, kills, restarts; the journal as commands show it.

use std::{collections::HashSet, ops::Range, os::unix::net::UnixStream, time::Duration};

use intercom_gateway::simulate::panel::Observation;
use serde_json::Value;

use crate::support::{Daemon, Events, Site, flats, simulated::Panels};

const SWIPED: &str = "intercom.key.swiped";
const PANELS: [&str; 4] = ["entrance-0", "entrance-1", "entrance-2", "entrance-3"];

fn site() -> Site {
    let mut text =
        "[[intercom]]\nid = 1\n\n[[bus]]\nname = \"street\"\nport = \"{dir}/street\"\nprotocol = \"osdp\"\nbaud = 230400\n"
            .to_owned();
    for (address, panel) in PANELS.iter().enumerate() {
        text.push_str(&format!(
            "\n[[panel]]\nname = \"{panel}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0 }}\nsecure_channel = \"install\"\n"
        ));
    }
    Site::new(&text)
}

/// All events, as the command without a daemon reads them.
fn recorded(site: &Site, from: u64) -> Vec<Value> {
    let text = site.run(["journal", "--json", "--from", &from.to_string()]).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sequence(event: &Value) -> u64 {
    let text = event["sequence"].as_str().unwrap();
    assert_eq!(text.len(), 20);
    text.parse().unwrap()
}

/// Presents cards with numbers of their own, so that each can be found again, as fast as the panels take them.
fn present(panels: &Panels, numbers: Range<u32>) {
    for number in numbers {
        let panel = PANELS[number as usize % PANELS.len()];
        while !panels.try_card(panel, &format!("{number:08X}")) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The numbers of the cards that were recorded, each once.
fn cards(events: &[Value]) -> HashSet<u32> {
    let mut numbers = HashSet::new();
    for event in events.iter().filter(|event| event["type"] == SWIPED) {
        let number = u32::from_str_radix(event["data"]["raw"].as_str().unwrap(), 16).unwrap();
        assert!(numbers.insert(number), "recorded twice: {event}");
    }
    numbers
}

fn assert_without_holes(events: &[Value], from: u64) {
    let sequences: Vec<u64> = events.iter().map(sequence).collect();
    assert_eq!(sequences, (from..from + events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_stop_under_load_loses_nothing_that_a_panel_saw_acknowledged() {
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in PANELS {
        events.wait_type("intercom.panel.secured");
    }
    // 64 cards wait at each panel when the daemon is told to stop.
    present(&panels, 0..600);
    for _ in 0..100 {
        events.wait_type(SWIPED);
    }
    daemon.stop();

    let recorded = recorded(&site, 1);
    assert_without_holes(&recorded, 1);
    assert_eq!(recorded.iter().filter(|event| event["type"] == "gateway.stopping").count(), 1);
    let cards = cards(&recorded);
    let seen = panels.seen();
    let acknowledged = seen.iter().filter(|seen| matches!(seen.what, Observation::Acknowledged(_))).count();
    assert!(acknowledged >= 96 && cards.len() < 600, "{acknowledged} acknowledged, {} recorded", cards.len());
    assert!(cards.len() >= acknowledged, "{} of {acknowledged} recorded", cards.len());
    assert!(
        cards.len() <= acknowledged + PANELS.len(),
        "one a panel may be recorded and not acknowledged yet"
    );
}

#[test]
fn after_a_kill_the_journal_goes_on_where_it_was() {
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in PANELS {
        events.wait_type("intercom.panel.secured");
    }
    let mut last = 0;
    for round in 0..3 {
        present(&panels, round * 1000..round * 1000 + 250);
        let mut told = 0;
        for _ in 0..50 {
            told = sequence(&events.wait_type(SWIPED));
        }
        daemon.kill();
        daemon = Daemon::start(&site);
        events = daemon.events(&site, told + 1);
        let started = events.wait_type("gateway.started");
        assert!(sequence(&started) > told);
        assert!(told > last);
        last = told;
    }
    daemon.stop();
    let recorded = recorded(&site, 1);
    assert_without_holes(&recorded, 1);
    let journals: HashSet<&str> =
        recorded.iter().map(|event| event["data"]["journal"].as_str().unwrap()).collect();
    assert_eq!(journals.len(), 1);
    let ids: HashSet<&str> = recorded.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), recorded.len());
    assert_eq!(recorded.iter().filter(|event| event["type"] == "gateway.started").count(), 4);
}

#[test]
fn the_journal_is_the_same_with_a_daemon_and_without() {
    let site = site();
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in PANELS {
        events.wait_type("intercom.panel.secured");
    }
    present(&panels, 0..400);
    for _ in 0..400 {
        events.wait_type(SWIPED);
    }
    let forms = [
        ["journal", "--json"].as_slice(),
        &["journal"],
        &["journal", "--json", "--from", "300"],
        &["journal", "--from", "99999"],
    ];
    let with: Vec<String> = forms.map(|words| site.run(words.iter().copied()).ok()).to_vec();
    assert_eq!(with[0].lines().count(), events.so_far().len());
    assert_eq!(with[1].lines().count(), with[0].lines().count());
    assert_eq!(with[2].lines().count(), with[0].lines().count() - 299);
    assert_eq!(with[3], "");
    daemon.stop();
    let without: Vec<String> = forms.map(|words| site.run(words.iter().copied()).ok()).to_vec();
    for (with, without) in with.iter().zip(&without) {
        assert!(without.starts_with(with.as_str()));
    }
    let from = with[0].lines().count() as u64 + 1;
    assert!(recorded(&site, from).iter().any(|event| event["type"] == "gateway.stopping"));
    let refused = site.run(["journal", "--follow"]).failed(1);
    assert_eq!(refused, "no daemon is running with this configuration, so no new events will come\n");
}

#[test]
fn a_caller_who_sees_the_start_is_answered_at_once() {
    let site = site();
    for _ in 0..10 {
        let daemon = Daemon::start(&site);
        // No command, whose own start would take longer than the daemon needs.
        UnixStream::connect(site.state_dir().join("control.sock"))
            .expect("it answers when it says that it started");
        daemon.kill();
    }
}

#[test]
fn one_state_directory_has_one_daemon() {
    let site = site();
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_type("gateway.started");
    let refused = site.anonymous(&site.run(["run"]).failed(1));
    insta::assert_snapshot!(refused);
    assert_eq!(site.run(["journal"]).ok().lines().count(), 1, "the first one still answers");
    daemon.kill();
    // What a killed one leaves behind is in nobody's way.
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..2 {
        events.wait_type("gateway.started");
    }
    daemon.stop();
    assert!(!site.state_dir().join("control.sock").exists());
}

#[test]
fn all_below_the_state_directory_is_its_owners_alone() {
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in PANELS {
        events.wait_type("intercom.panel.secured");
    }
    let mut looked_at = 0;
    let mut folders = vec![site.state_dir()];
    while let Some(folder) = folders.pop() {
        assert!(crate::support::site::is_private(&folder), "{}", folder.display());
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(crate::support::site::is_private(&path), "{}", path.display());
            looked_at += 1;
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(looked_at >= 8, "{looked_at}");
    drop(panels);
    daemon.stop();
}

/// Contract §1: the same answers with and without a daemon.
#[test]
fn the_journal_is_filtered_by_time_type_panel_key_and_flat() {
    let site = site();
    let panels = Panels::start(&site, false);
    site.import(1, &[flats::flat(1, 11, 7, &[(1, "00000000000002")])]).ok();
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in PANELS {
        events.wait_type("intercom.panel.secured");
    }
    present(&panels, 1..9);
    let swipes: Vec<Value> = (1..9).map(|_| events.wait_type(SWIPED)).collect();
    events.rewind();
    events.wait_type("intercom.door.unlocked");
    let time = swipes[4]["time"].as_str().unwrap();
    assert_filtered(&site, time);

    let follow = ["journal", "--follow", "--json", "--from", "1", "--key", "2", "--limit", "2"];
    let mut follower = site.command(follow).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut told = Events::of("a follower", follower.stdout.take().unwrap());
    told.wait_type(SWIPED);
    events.wait("the eighth swipe", |event| event["data"]["raw"] == "00000008");
    present(&panels, 2..4);
    assert_eq!(told.wait_type(SWIPED)["data"]["key"], "00000000000002");
    assert!(follower.wait().unwrap().success(), "it has had both");
    events.wait("the other swipe", |event| event["data"]["raw"] == "00000003");
    daemon.stop();
    let kept = recorded_by(&site, &["--key", "2"]);
    assert_eq!(kept.len(), 2);
    // Two panels were read from, in whatever order.
    let newest = recorded_by(&site, &["--type", SWIPED, "--limit", "2"]);
    assert!(newest.contains(&kept[1]) && !newest.contains(&kept[0]), "{newest:?}");
    assert_eq!(recorded_by(&site, &["--flat", "7", "--from", "1", "--limit", "1"]), kept[..1]);
}

#[track_caller]
fn assert_filtered(site: &Site, time: &str) {
    let lines = |filter: &[&str]| recorded_by(site, filter);
    let all = lines(&[]);
    let fitting = |fits: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        all.iter().filter(|event| fits(event)).cloned().collect()
    };
    let is_swipe = |event: &Value| event["type"] == SWIPED;
    let is_of_door = |event: &Value| event["type"].as_str().unwrap().starts_with("intercom.door.");
    let swipes = fitting(&is_swipe);
    assert_eq!(swipes.len(), 8);
    assert_eq!(lines(&["--type", SWIPED]), swipes);
    assert_eq!(lines(&["--type", SWIPED, "--limit", "3"]), swipes[5..]);
    assert_eq!(lines(&["--type", SWIPED, "--from", "1", "--limit", "3"]), swipes[..3]);
    let either = lines(&["--type", SWIPED, "--type", "intercom.door"]);
    assert_eq!(either, fitting(&|event| is_swipe(event) || is_of_door(event)));
    assert_eq!(lines(&["--panel", "entrance-2"]), fitting(&|event| event["subject"] == "entrance-2"));
    let of_key = fitting(&|event| event["data"]["key"] == "00000000000002");
    assert_eq!((of_key.len(), lines(&["--key", "2"])), (1, of_key.clone()));
    assert_eq!((lines(&["--flat", "7"]), lines(&["--flat", "11"])), (of_key, Vec::new()));
    let is_later = |event: &Value| event["time"].as_str().unwrap() >= time;
    assert_eq!(lines(&["--since", time]), fitting(&is_later));
    assert_eq!(lines(&["--until", time]), fitting(&|event| !is_later(event)));
    assert_eq!((lines(&["--since", "2h"]), lines(&["--until", "2h"])), (all.clone(), Vec::new()));
    assert_eq!(lines(&["--limit", "2"]), all[all.len() - 2..]);

    let table = site.run(["journal", "--csv", "--key", "2"]).ok();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains(",entrance-2,1,0,00000000000002,granted,key_known,7,,"), "{table}");
}

/// Events that fit, as the command shows them.
fn recorded_by(site: &Site, filter: &[&str]) -> Vec<Value> {
    let text = site.run(["journal", "--json"].into_iter().chain(filter.iter().copied())).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

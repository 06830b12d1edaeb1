//! A disk that is full, a store that fails: doors open, what is known is told, and it can be seen.

use std::{path::Path, process::Command};

use intercom_gateway::{clock, domain::HealthCode};
use serde_json::json;

use crate::support::{
    Daemon, Events, Site,
    flats::{self, KNOWN},
    lines::PATIENCE,
    mount::Mount,
    simulated::Panels,
    site::ENTRANCE,
};

const SWIPED: &str = "intercom.key.swiped";

fn site() -> Site {
    let site = Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"));
    std::fs::create_dir(site.state_dir()).unwrap();
    site
}

/// Waits until cards are judged as live.
fn settle(panels: &Panels, events: &mut Events) {
    loop {
        panels.card("entrance-1", "00000000");
        if events.wait_type(SWIPED)["data"]["reason"] != "stale" {
            return;
        }
        // Cards one after another would leave no poll empty.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Swipes until `/healthz` gives this reason, or no reason at all; the door opens each time.
fn open_until(panels: &Panels, daemon: &Daemon, reason: Option<HealthCode>) {
    let is_it = || match reason {
        Some(reason) => daemon.has_reason(reason),
        None => daemon.health() == json!({"status": "ok", "reasons": []}),
    };
    let deadline = clock::mono() + PATIENCE;
    while !is_it() {
        assert!(clock::mono() < deadline, "waited for {reason:?}: {}", daemon.health());
        panels.card("entrance-1", KNOWN);
        panels.wait_opened("entrance-1");
    }
}

/// Lets a process write files of at most this size, or of any.
fn limit_file_size(process: u32, size: &str) {
    let limit = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--fsize={size}")])
        .status()
        .expect("prlimit is part of util-linux: apt-get install util-linux");
    assert!(limit.success());
}

#[test]
fn a_store_that_fails_stops_no_door_and_loses_nothing() {
    let site = site();
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut run = Command::new("sh");
    let run_site = site.command(["run"]);
    // Beyond the limit a write is to fail, not to kill.
    run.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(run_site.get_program())
        .args(run_site.get_args());
    run.env("RUST_LOG", "info").current_dir(site.path(""));
    let mut daemon = Daemon::spawn(&mut run);
    let mut events = daemon.events(&site, 1);
    settle(&panels, &mut events);

    limit_file_size(daemon.id(), "4096:unlimited");
    open_until(&panels, &daemon, Some(HealthCode::Storage));
    panels.card("entrance-1", "0BADCAFE");
    panels.card("entrance-1", KNOWN);
    panels.wait_opened("entrance-1");
    assert!(site.run(["flat", "1", "11"]).ok().contains("\"flat\":7"), "reads answer");
    assert!(site.run(["journal"]).ok().lines().count() > 1, "reads answer");

    limit_file_size(daemon.id(), "unlimited:unlimited");
    events.wait("the card of the time without a journal", |event| event["data"]["raw"] == "0BADCAFE");
    daemon.log.wait("the end of it", |line| line.contains("events are written again").then_some(()));
    open_until(&panels, &daemon, None);
    assert_eq!(events.count_type("gateway.journal.pruned"), 0);
    daemon.stop();
}

#[test]
fn a_full_disk_stops_no_door() {
    let site = site();
    let Some(_disk) = Mount::small(&site.state_dir()) else {
        return crate::support::not_run("the daemon on a full disk");
    };
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    settle(&panels, &mut events);

    let filler = site.state_dir().join("filler");
    fill(&filler);
    open_until(&panels, &daemon, Some(HealthCode::Storage));
    panels.card("entrance-1", KNOWN);
    panels.wait_opened("entrance-1");
    assert!(site.run(["flat", "1", "11"]).ok().contains("\"flat\":7"), "reads answer");
    assert!(site.run(["journal"]).ok().lines().count() > 1, "reads answer");

    std::fs::remove_file(&filler).unwrap();
    panels.card("entrance-1", "0BADCAFE");
    events.wait("a card of the time after it", |event| event["data"]["raw"] == "0BADCAFE");
    daemon.stop();
}

fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let block = [0; 4096];
    while file.write_all(&block).is_ok() {}
}

//! Callers that stall hold up neither a revocation nor other commands nor the end.

use std::{
    io::Write,
    process::{Child, Stdio},
};

use crate::support::{
    Daemon, Lines, Site,
    flats::{self, KNOWN},
    simulated::Panels,
    site::ENTRANCE,
};

fn site() -> Site {
    Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"))
}

/// A command of an installer that goes on.
fn begin<'a>(site: &Site, arguments: impl IntoIterator<Item = &'a str>) -> Child {
    let mut command = site.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn an_import_that_stalls_holds_up_no_revocation_and_no_end() {
    let site = site();
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    let mut stalled = begin(&site, ["import", "-"]);
    let document = serde_json::json!({"revision": 58, "flats": [flats::known()]}).to_string();
    stalled.stdin.as_mut().unwrap().write_all(&document.as_bytes()[..document.len() / 2]).unwrap();

    site.import(59, &[flats::flat(1, 11, 7, &[])]).ok();
    let denied = || {
        panels.card("entrance-1", KNOWN);
        events.wait_type("intercom.key.swiped")["data"]["reason"].clone()
    };
    let reason = std::iter::repeat_with(denied).find(|reason| reason != "stale").unwrap();
    assert_eq!(reason, "key_unknown");
    daemon.stop();
    let stalled = stalled.wait_with_output().unwrap();
    assert!(!stalled.status.success() && !stalled.stderr.is_empty(), "half a document is not imported");
    assert!(site.run(["export", "-"]).ok().contains("\"revision\":59"));
}

#[test]
fn those_who_follow_the_journal_take_no_place_from_a_command() {
    let site = site();
    let daemon = Daemon::start(&site);
    let mut followers: Vec<_> = (0..8).map(|_| begin(&site, ["journal", "--follow"])).collect();
    for follower in &mut followers {
        let mut lines = Lines::of("a follower", follower.stdout.take().unwrap());
        lines.wait("the first event", |line| line.contains("gateway.started").then_some(()));
    }
    let refused = site.run(["journal", "--follow"]).failed(1);
    assert!(refused.contains("8 others follow"), "{refused}");
    site.run(["token", "list"]).ok();
    assert!(site.run(["journal"]).ok().contains("gateway.started"));
    daemon.stop();
    for mut follower in followers {
        follower.wait().unwrap();
    }
}

//! The disk goes away under the daemon while the broker is there: doors open, events go up, and nothing means two things.

use std::collections::BTreeMap;

use intercom_gateway::domain::HealthCode;
use serde_json::Value;

use crate::support::{
    Daemon, Site,
    consumer::Consumer,
    flats::{self, KNOWN},
    mosquitto::Mosquitto,
    mount::Mount,
    simulated::Panels,
    site::ENTRANCE,
    wait_until,
};

const ROOT: &str = "intercom/v1/test";

fn status_journal(consumer: &Consumer) -> String {
    consumer.lock().status()["journal"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_time_without_a_disk_go_up_under_a_journal_of_their_own() {
    let mut broker = Mosquitto::open();
    let site = Site::new(&format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nconfirm = \"cloud\"\n\n{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n",
        broker.port
    ));
    site.import(57, &[flats::known()]).ok();
    let mut options = Consumer::options("cloud", broker.port);
    options.set_clean_start(true).set_session_expiry_interval(Some(0));
    let consumer = Consumer::with(options, ROOT, true);
    wait_until("the consumer is there", || consumer.lock().subscribed > 0);
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    wait_until("status is online", || !status_journal(&consumer).is_empty());
    let disk = status_journal(&consumer);

    let Some(mount) = Mount::read_only(&site.state_dir()) else {
        return crate::support::not_run("the daemon on a disk that becomes read-only");
    };
    let swipe = |data: &str| {
        panels.try_card("entrance-1", data);
        std::thread::sleep(std::time::Duration::from_millis(300));
    };
    wait_until("status names another journal", || {
        swipe(KNOWN);
        ![disk.as_str(), ""].contains(&status_journal(&consumer).as_str())
    });
    let memory = status_journal(&consumer);
    daemon.wait_health(HealthCode::Storage);
    let _ = panels.seen();
    swipe(KNOWN);
    panels.wait_opened("entrance-1");
    wait_until("events of it go up", || consumer.lock().sequences(&memory).len() > 2);
    // What happens while the broker is away too is not lost either.
    broker.kill();
    let before = consumer.lock().sequences(&memory).len();
    for _ in 0..5 {
        swipe("0BADCAFE");
    }
    drop(mount);
    daemon.log.wait("the disk is back", |line| line.contains("events are written again").then_some(()));
    swipe(KNOWN);
    broker.start();
    wait_until("status names the journal on the disk", || status_journal(&consumer) == disk);
    wait_until("the rest of the other comes too", || {
        let seen = consumer.lock();
        let sequences = seen.sequences(&memory);
        sequences.len() > before + 2 && sequences.iter().copied().eq(1..=sequences.len() as u64)
    });
    wait_until("health is well", || {
        swipe(KNOWN);
        daemon.health()["status"] == "ok"
    });
    daemon.stop();

    // What was told under a number is what the disk has under it.
    let of_disk: BTreeMap<u64, String> = site
        .run(["journal", "--json"])
        .ok()
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            (event["sequence"].as_str().unwrap().parse().unwrap(), line.to_owned())
        })
        .collect();
    assert!(of_disk.keys().copied().eq(1..=of_disk.len() as u64), "without a hole");
    let seen = consumer.lock();
    for ((journal, sequence), event) in &seen.events {
        if *journal == disk {
            assert_eq!(of_disk.get(sequence), Some(event));
        } else {
            assert_eq!(*journal, memory);
        }
    }
}

//! The bytes of an event never change: those that earlier versions recorded are published and replayed as they were, and
//! what a salvage carries over differs in its place alone.

use std::{fs, os::unix::fs::FileExt};

use serde_json::{Value, json};

use super::golden::directory::{Golden, configure, open_damaged};
use crate::support::{
    Daemon, Site,
    cloud::{Cloud, verdict},
    consumer::Consumer,
    mosquitto::Mosquitto,
    wait_until,
};

const ROOT: &str = "intercom/v1/golden";

/// Sequence and bytes of each event of a kept directory's file, by its journal.
fn events(golden: &Golden, file: &str) -> Vec<(String, u64, String)> {
    let text = golden.text(file);
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let sequence = event["sequence"].as_str().unwrap().parse().unwrap();
        (event["id"].as_str().unwrap().split_once('-').unwrap().0.to_owned(), sequence, line.to_owned())
    };
    text.lines().map(event).collect()
}

fn with_broker(golden: &Golden, broker: &Mosquitto) -> Site {
    let site = golden.restored();
    let text = fs::read_to_string(site.config_path()).unwrap();
    configure(&site, &format!("{text}\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port));
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_versions_recorded_is_published_and_replayed_to_the_byte() {
    for golden in Golden::all() {
        eprintln!("{}", golden.0.display());
        let broker = Mosquitto::open();
        let site = with_broker(&golden, &broker);
        let cloud = Cloud { consumer: Consumer::start("cloud", broker.port, ROOT, false) };
        wait_until("the consumer is there", || cloud.consumer.lock().subscribed > 0);
        let all: Vec<_> = [events(&golden, "events.jsonl"), events(&golden, "kept.jsonl")].concat();
        let rest: Value = serde_json::from_str(&golden.text("rest.json")).unwrap();
        let positions = [vec![rest["position"].clone()], rest["kept"].as_array().unwrap().clone()].concat();
        let has = |journal: &str, sequence: u64| {
            cloud.consumer.lock().events.get(&(journal.to_owned(), sequence)).cloned()
        };

        let daemon = Daemon::start(&site);
        let session = cloud.online(None).await;
        // What had not been delivered then.
        for position in &positions {
            let delivered = position["delivered"].as_u64().unwrap();
            for (journal, sequence, bytes) in &all {
                if position["journal"] == journal.as_str() && *sequence > delivered {
                    wait_until("it is published", || has(journal, *sequence).is_some());
                    assert_eq!(has(journal, *sequence).as_ref(), Some(bytes));
                }
            }
        }
        // And everything once more: the consumer takes one id with other bytes for a fault.
        for position in &positions {
            let args = json!({"journal": position["journal"], "from": 1, "to": position["last"]});
            let result = cloud.ask("replay", args, &session).await;
            assert_eq!(verdict(&result), ("done", ""), "{result}");
        }
        for (journal, sequence, bytes) in &all {
            assert_eq!(has(journal, *sequence).as_ref(), Some(bytes), "{journal} {sequence}");
        }
        // Their forms are those of then, not what docs/asyncapi.yaml says today.
        cloud.consumer.lock().events.retain(|(journal, sequence), _| {
            !all.iter().any(|(of, number, _)| of == journal && number == sequence)
        });
        daemon.stop();
    }
}

#[test]
fn what_a_salvage_saves_differs_in_its_place_alone() {
    for golden in Golden::all() {
        let site = golden.restored();
        let state = site.state_dir();
        let file = fs::OpenOptions::new().write(true).open(state.join("journal.db")).unwrap();
        // How many pages are free: wrong, and nothing is lost by it.
        file.write_all_at(&[0, 0, 0, 9], 36).unwrap();
        let (journal, saved) = open_damaged(&state, &site.config().gateway.id);
        let before = events(&golden, "events.jsonl");
        assert!(saved.len() > before.len(), "with the report of the salvage");
        for ((number, (old, sequence, bytes)), saved) in (1..).zip(&before).zip(&saved) {
            let there = bytes
                .replace(&format!("\"id\":\"{old}-{sequence}\""), &format!("\"id\":\"{journal}-{number}\""))
                .replace(
                    &format!("\"sequence\":\"{sequence:020}\""),
                    &format!("\"sequence\":\"{number:020}\""),
                )
                .replace(
                    &format!("\"journal\":\"{old}\",\"boot\""),
                    &format!("\"journal\":\"{journal}\",\"boot\""),
                );
            assert_eq!(*saved, there);
        }
    }
}

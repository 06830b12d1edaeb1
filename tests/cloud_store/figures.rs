//! How much the example's cloud takes: `cargo test --release --test cloud_store -- --figures [events|store|sync]`. The gateways
//! are played by this process, so that what is measured is the cloud, its broker and its store, and not 500 daemons.

use std::{sync::Arc, time::Duration};

use intercom_gateway::{clock, domain::Mono};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    cloud::{
        Cloud,
        building::{Building, read_flats},
        events::Event,
        link::Link,
        store::{Place, Store},
    },
    part::{Part, prepare},
    support::{flats::flat, mosquitto::Mosquitto, postgres::Postgres, wait_until},
};

/// Gateways that publish at once, and events of each.
const PUBLISHERS: usize = 4;
const EVENTS: u64 = 10_000;
/// Gateways that ask for their flats at once, flats of each, keys of a flat.
const ASKING: u64 = 500;
const FLATS: u64 = 100;
const KEYS: u64 = 6;

const SETTINGS: &str = "allow_anonymous true\nmax_inflight_messages 1000\nlog_type none\n";

/// Measures what is named, else all.
pub fn measure(what: &[String]) {
    let wanted = |name: &str| what.is_empty() || what.iter().any(|what| what == name);
    if wanted("events") {
        events();
    }
    if wanted("store") {
        store();
    }
    if wanted("sync") {
        sync();
    }
}

fn cloud(port: u16, postgres: &Postgres) -> Cloud {
    Cloud {
        broker: ("127.0.0.1".into(), port),
        prefix: "intercom/v1".into(),
        place: Place::named(Some(postgres.place())),
        patience: Duration::from_secs(60),
        flats: None,
    }
}

/// From the first event published to the last one committed, with a keeper at work.
fn events() {
    let postgres = Postgres::start().expect("PostgreSQL is installed");
    prepare(&postgres);
    let broker = Mosquitto::with(SETTINGS);
    let dir = tempfile::tempdir().unwrap();
    let start = |part| Part::start(broker.port, &postgres, &["--only", part], &dir.path().join("log"));
    let (consumer, _keeper) = (start("events"), start("keeper"));
    let runtime = Runtime::new().unwrap();
    let cloud = Arc::new(cloud(broker.port, &postgres));
    // Who is not subscribed yet has no events.
    wait_until("the consumer is there", || {
        runtime.block_on(publish(&cloud, "warm-up", 1));
        postgres.number("select count(*) from events") > 0
    });
    let begun = clock::mono();
    let tasks: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let cloud = Arc::clone(&cloud);
            runtime.spawn(async move { publish(&cloud, &format!("gateway-{number}"), EVENTS).await })
        })
        .collect();
    let all = i64::try_from(PUBLISHERS as u64 * EVENTS).unwrap();
    let count = "select count(*) from events where gateway like 'gateway-%'";
    while postgres.number(count) < all {
        assert!(tasks.len() == PUBLISHERS && seconds(begun) < 300.0, "events are missing");
        std::thread::sleep(Duration::from_millis(200));
    }
    let took = seconds(begun);
    let rate = f64::from(i32::try_from(all).unwrap()) / took;
    println!("{all} events published, stored durably and acknowledged in {took:.1} s: {rate:.0} events/s");
    let commits =
        postgres.number("select xact_commit from pg_stat_database where datname = current_database()");
    println!("transactions, the keeper's and ours included: {commits}");
    let broker_id = broker.pid().expect("it runs");
    println!(
        "processor time: consumer {:.1} s, mosquitto {:.1} s",
        processor(consumer.id()),
        processor(broker_id)
    );
    let through = format!("select count(*) from journals where through = {EVENTS}");
    wait_until("the keeper is through", || postgres.number(&through) == i64::try_from(PUBLISHERS).unwrap());
    println!("the keeper is through after {:.1} s", seconds(begun));
}

/// One connection, with batches as the consumer's largest.
fn store() {
    let postgres = Postgres::start().expect("PostgreSQL is installed");
    prepare(&postgres);
    let runtime = Runtime::new().unwrap();
    let mut batches: Vec<Vec<Event>> = Vec::new();
    for batch in 0..PUBLISHERS as u64 * EVENTS / 1000 {
        let event = |sequence| Event::read("gateway-0", event("gateway-0", sequence).as_bytes()).unwrap();
        batches.push((batch * 1000 + 1..=batch * 1000 + 1000).map(event).collect());
    }
    let (begun, count) = (clock::mono(), batches.len() * 1000);
    runtime.block_on(async {
        let mut store = Place::named(Some(postgres.place())).open().await.unwrap();
        for batch in batches {
            store.put(batch).await.unwrap();
        }
    });
    let took = seconds(begun);
    println!(
        "{count} events stored durably in batches of 1000 in {took:.1} s: {:.0} events/s",
        count as f64 / took
    );
}

fn event(gateway: &str, sequence: u64) -> String {
    let event = json!({
        "specversion": "1.0", "id": format!("9f3c2a41-{sequence}"), "source": format!("intercom-gateway/{gateway}"),
        "type": "intercom.key.swiped", "subject": "entrance-1", "time": "2026-11-23T22:00:01.123Z",
        "sequence": format!("{sequence:020}"), "datacontenttype": "application/json",
        "data": {
            "journal": "9f3c2a41", "boot": "5a0c7c8c-4b5e-4b3e-9d6c-0f8f3f1a2b3c", "uptime_ms": 12345,
            "clock": "synchronized", "online": true, "panel": "entrance-1", "intercom": 1, "reader": 0,
            "key": "0000003042CAAC", "raw": "3042CAAC", "bits": 32, "decision": "granted", "reason": "key_known",
            "flats": [{"id": 1, "flat": 1}], "key_id": 1, "user_id": 6, "reversed_known": false, "revision": 57,
        },
    });
    event.to_string()
}

async fn publish(cloud: &Cloud, gateway: &str, events: u64) {
    let link = Link::open(cloud, &["nothing".to_owned()]).await.unwrap();
    let mut notices = Vec::new();
    for sequence in 1..=events {
        let topic = format!("{}/{gateway}/events", cloud.prefix);
        notices.extend(link.publish(topic, event(gateway, sequence), false).await.unwrap());
    }
    for notice in notices {
        notice.wait_async().await.unwrap();
    }
}

/// From the first request to the last gateway that has all its flats and has checked their digest; the server has one core.
fn sync() {
    let postgres = Postgres::start().expect("PostgreSQL is installed");
    prepare(&postgres);
    let broker = Mosquitto::with(SETTINGS);
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let cloud = Arc::new(cloud(broker.port, &postgres));
    let begun = clock::mono();
    runtime.block_on(async {
        let mut store: Store = cloud.place.open().await.unwrap();
        for number in 0..ASKING {
            let key = |id: u64| format!("{:014X}", number * 1000 + id);
            let flats: Vec<Value> = (1..=FLATS)
                .map(|id| {
                    let keys: Vec<String> = (0..KEYS).map(|place| key(id * KEYS + place)).collect();
                    let keys: Vec<(u64, &str)> = (id * KEYS..).zip(keys.iter().map(String::as_str)).collect();
                    flat(1, id, id, &keys)
                })
                .collect();
            let flats = read_flats(&json!({"flats": flats})).unwrap();
            store.change(&format!("gateway-{number}"), flats).await.unwrap();
        }
    });
    println!(
        "{ASKING} buildings of {FLATS} flats and {} keys stored in {:.1} s",
        FLATS * KEYS,
        seconds(begun)
    );
    postgres.rows("truncate changes", &[]);
    let server = Part::start(broker.port, &postgres, &["--only", "sync"], &dir.path().join("log"));
    let pinned = std::process::Command::new("taskset").args(["-cp", "0", &server.id().to_string()]).output();
    assert!(pinned.is_ok_and(|pinned| pinned.status.success()), "taskset is needed");
    let gateways: Vec<Link> = runtime.block_on(async {
        let mut links = Vec::new();
        for number in 0..ASKING {
            let topic = cloud_topic(&cloud, number, "sync/flats");
            links.push(Link::open(&cloud, &[topic]).await.unwrap());
        }
        links
    });
    let begun = clock::mono();
    let asked: Vec<_> = gateways
        .into_iter()
        .enumerate()
        .map(|(number, link)| {
            let cloud = Arc::clone(&cloud);
            runtime.spawn(async move { ask(&cloud, number as u64, link).await })
        })
        .collect();
    let answered: Vec<(Link, Value, usize)> =
        asked.into_iter().map(|asked| runtime.block_on(asked).unwrap()).collect();
    let bytes: usize = answered.iter().map(|(_, _, bytes)| bytes).sum();
    let took = seconds(begun);
    println!(
        "{ASKING} gateways have all their flats, digests checked, after {took:.1} s: {} MB",
        bytes >> 20
    );
    println!("the server's processor time: {:.1} s", processor(server.id()));
    let begun = clock::mono();
    let again: Vec<_> = answered
        .into_iter()
        .enumerate()
        .map(|(number, (link, state, _))| {
            let cloud = Arc::clone(&cloud);
            runtime.spawn(async move { ask_again(&cloud, number as u64, link, &state).await })
        })
        .collect();
    again.into_iter().for_each(|again| runtime.block_on(again).unwrap());
    println!("and all are told that this is current in {:.2} s", seconds(begun));
}

/// Asks as a gateway that has these flats.
async fn ask_again(cloud: &Cloud, number: u64, mut link: Link, state: &Value) {
    let request = json!({"request": "r", "revision": state["revision"], "digest": state["digest"], "reason": "connected"});
    link.publish(cloud_topic(cloud, number, "sync/request"), request.to_string(), false).await.unwrap();
    let answer: Value = serde_json::from_slice(&link.receive().await.unwrap().payload).unwrap();
    assert_eq!(answer["kind"], "current");
}

fn cloud_topic(cloud: &Cloud, number: u64, topic: &str) -> String {
    format!("{}/gateway-{number}/{topic}", cloud.prefix)
}

/// Asks as a gateway without flats, and takes the snapshot; gives what it was of, and its size.
async fn ask(cloud: &Cloud, number: u64, mut link: Link) -> (Link, Value, usize) {
    let request = json!({"request": "r", "revision": null, "digest": null, "reason": "connected"});
    link.publish(cloud_topic(cloud, number, "sync/request"), request.to_string(), false).await.unwrap();
    let (mut flats, mut bytes) = (Vec::new(), 0);
    loop {
        let message = link.receive().await.unwrap();
        link.acknowledge(&message).await.unwrap();
        bytes += message.payload.len();
        let mut part: Value = serde_json::from_slice(&message.payload).unwrap();
        flats.append(part["flats"].as_array_mut().unwrap());
        if part["part"] == part["parts"] {
            let building = Building::new(1, read_flats(&json!({"flats": flats})).unwrap());
            assert_eq!(part["digest"], building.state().1);
            return (link, part, bytes);
        }
    }
}

fn seconds(since: Mono) -> f64 {
    clock::mono().since(since).as_secs_f64()
}

/// Processor time that a process has taken.
fn processor(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap()).collect();
    ticks.iter().sum::<f64>() / 100.0
}

//! The uplink against a real broker: what is retained, and that every event arrives whatever dies in between.

#[path = "support/consumer.rs"]
mod consumer;
#[path = "support/mosquitto.rs"]
mod mosquitto;
#[path = "support/uplink.rs"]
mod uplink;

use consumer::Consumer;
use intercom_gateway::{
    cloud::Confirm,
    domain::{Health, HealthCode, Name, PanelState, Reason, Silence},
};
use mosquitto::Mosquitto;
use serde_json::json;
use uplink::{ROOT, Uplink, eventually, journal_of, panel};

/// What the consumer has of the gateway's journal is the journal.
fn assert_complete(consumer: &Consumer, gateway: &uplink::Gateway) {
    let journal = gateway.journal.identity();
    let seen = consumer.lock();
    for (sequence, payload) in journal_of(gateway) {
        assert_eq!(seen.events.get(&(journal.to_string(), sequence)), Some(&payload), "{sequence}");
    }
    assert_eq!(seen.sequences(&journal).last().copied(), Some(gateway.journal.last()));
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_retained_and_the_will_speaks_for_a_gateway_that_died() {
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.online().await;

    let late = Consumer::start("late", broker.port, ROOT, false);
    eventually("everything retained has come", || late.lock().last("panels/entrance-1").is_some()).await;
    let status = late.lock().status();
    assert_eq!(status["status"], "online");
    assert_eq!(status["journal"], *gateway.journal.identity());
    assert_eq!(status["version"], "0.1.0");
    assert!(late.lock().messages.iter().all(|message| message.retain), "{:?}", late.lock().messages);
    let info = late.lock().last("info").unwrap().json();
    assert_eq!(info["clock"], "synchronized");
    assert!(info["events"].as_array().unwrap().contains(&"intercom.key.swiped".into()));

    gateway.kill().await;
    eventually("the will is published", || late.lock().status()["status"] == "offline").await;
    assert_eq!(late.lock().status()["session"], status["session"]);
    assert_eq!(late.lock().status()["since"], status["since"]);

    // And after an orderly end the gateway says so itself, with its last sequence.
    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.online().await;
    eventually("online again", || late.lock().status()["status"] == "online").await;
    assert_ne!(late.lock().status()["session"], status["session"]);
    gateway.events(3).await;
    gateway.shut_down().await;
    eventually("offline again", || late.lock().status()["status"] == "offline").await;
    assert_eq!(late.lock().status()["last"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn panels_are_shown_on_change_and_cleared_when_they_are_gone() {
    let broker = Mosquitto::open();
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    let dir = tempfile::tempdir().unwrap();
    let mut uplink = Uplink::to(broker.port);
    uplink.panels = vec![panel("entrance-1"), panel("entrance-2")];
    let gateway = uplink.start(dir.path());
    eventually("both panels are shown", || {
        ["panels/entrance-1", "panels/entrance-2"].iter().all(|topic| cloud.lock().last(topic).is_some())
    })
    .await;

    let mut seen = panel("entrance-1");
    seen.last_seen = Some("2026-11-23T22:00:05Z".parse().unwrap());
    gateway.panels.send_replace(vec![seen.clone(), panel("entrance-2")]);
    seen.state = PanelState::Offline;
    gateway.panels.send_replace(vec![panel("entrance-1"), panel("entrance-2")]);
    gateway.panels.send_replace(vec![seen, panel("entrance-2")]);
    let state = |topic: &str| cloud.lock().last(topic).unwrap().json()["state"].clone();
    eventually("the change is shown", || state("panels/entrance-1") == "offline").await;
    let shown = cloud.lock().messages.iter().filter(|message| message.topic == "panels/entrance-1").count();
    assert_eq!(shown, 2, "last_seen alone is no change");
    assert_eq!(
        cloud.lock().last("panels/entrance-1").unwrap().json()["last_seen"],
        "2026-11-23T22:00:05.000Z"
    );
    gateway.shut_down().await;

    let gateway = Uplink::to(broker.port).start(dir.path());
    eventually("the panel that is gone is cleared", || {
        cloud.lock().last("panels/entrance-2").unwrap().payload.is_empty()
    })
    .await;
    let late = Consumer::start("late", broker.port, ROOT, false);
    eventually("the other is still there", || late.lock().last("panels/entrance-1").is_some()).await;
    assert!(late.lock().last("panels/entrance-2").is_none());
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_shown_on_every_connection_and_where_other_things_go_wrong() {
    let mut broker = Mosquitto::with("allow_anonymous true\npersistence true\npersistence_location DIR/\n");
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    eventually("the consumer is there", || cloud.lock().subscribed > 0).await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    let lossy = |words: &str| {
        let name = Name::new("entrance-1").unwrap();
        Health {
            reasons: vec![Reason::new(HealthCode::LineErrors, words).of_panel(&name)],
            since: "2026-11-23T22:00:01.123Z".parse().unwrap(),
            ..Health::default()
        }
    };
    let told = || {
        let seen = cloud.lock();
        let of_health = seen.messages.iter().filter(|message| message.topic == "health");
        of_health.map(|message| (message.retain, message.json())).collect::<Vec<_>>()
    };
    // What is so when the connection is made may be that there is none.
    gateway.health.send_modify(|health| health.reasons = vec![Reason::new(HealthCode::Broker, "away")]);
    gateway.online().await;
    gateway.health.send_replace(Health { since: lossy("").since, ..Health::default() });
    eventually("health is shown", || !told().is_empty()).await;
    let well = json!({"status": "ok", "reasons": [], "since": "2026-11-23T22:00:01.123Z"});
    assert_eq!(told(), [(true, well.clone())]);

    gateway.health.send_replace(lossy("90 of 120"));
    let degraded = json!({
        "status": "degraded",
        "reasons": [{"code": "line_errors", "message": "90 of 120", "panel": "entrance-1"}],
        "since": "2026-11-23T22:00:01.123Z",
    });
    eventually("that it is not well is shown", || told().len() == 2).await;
    assert_eq!(told()[1].1, degraded);
    // Figures alone are no news, another code is.
    for figure in 91..100 {
        gateway.health.send_replace(lossy(&format!("{figure} of 130")));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    gateway.health.send_modify(|health| health.reasons.push(Reason::new(HealthCode::Clock, "why")));
    eventually("the other reason is shown", || told().len() == 3).await;
    assert_eq!(told()[2].1["reasons"][0]["message"], "99 of 130");
    assert_eq!(told()[2].1["reasons"][1], json!({"code": "clock", "message": "why"}));

    // On another connection it is shown again, as it is then.
    broker.kill();
    eventually("that is noticed", || !gateway.status().connected).await;
    gateway.health.send_replace(Health { since: lossy("").since, ..Health::default() });
    broker.start();
    eventually("it is shown again", || told().last().is_some_and(|(_, health)| *health == well)).await;
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_nobody_is_is_told_and_asked_until_there_is_one() {
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    let silence = || gateway.sync.borrow().silence;
    eventually("nobody has the request", || silence() == Some(Silence::NobodySubscribed)).await;
    let _cloud = Consumer::start("cloud", broker.port, ROOT, false);
    eventually("somebody has the next one", || silence().is_none()).await;
    assert!(gateway.sync.borrow().requests >= 2);
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_will_is_put_right() {
    let broker = Mosquitto::open();
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    eventually("online", || cloud.lock().status()["status"] == "online").await;
    let session = cloud.lock().status()["session"].clone();

    cloud
        .publish("status", r#"{"status":"offline","session":"00000000-0000-0000-0000-000000000000"}"#, true)
        .await;
    eventually("it was seen", || {
        cloud.lock().messages.iter().any(|message| message.json()["status"] == "offline")
    })
    .await;
    eventually("it is put right", || cloud.lock().status()["session"] == session).await;
    assert_eq!(cloud.lock().status()["status"], "online");
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_offline_arrives_in_full() {
    let mut broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 100\n");
    broker.kill();
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.events(20_000).await;
    gateway.error_has("nothing listens at").await;
    broker.start();
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    gateway.delivered().await;
    eventually("the consumer has all of it", || cloud.lock().events.len() == 20_000).await;
    assert_complete(&cloud, &gateway);
    assert!(gateway.status().error.is_none(), "{}", gateway.error());
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_clouds_word_nothing_is_lost_though_the_broker_is_killed_again_and_again() {
    let mut broker = Mosquitto::open();
    let cloud = Consumer::start("cloud", broker.port, ROOT, true);
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).confirm(Confirm::Cloud).start(dir.path());
    for round in 1..=6 {
        gateway.online().await;
        let before = gateway.status().published;
        gateway.events(300).await;
        eventually("some of it is under way", || gateway.status().published > before + 50).await;
        broker.kill();
        gateway.events(20).await;
        eventually("that is noticed", || !gateway.status().connected).await;
        broker.start();
        assert_eq!(gateway.journal.last(), round * 320);
    }
    gateway.delivered().await;
    assert_complete(&cloud, &gateway);
    assert!(gateway.status().connections >= 7);
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_brokers_word_nothing_is_lost_while_the_broker_keeps_it() {
    let mut broker = Mosquitto::with("allow_anonymous true\npersistence true\npersistence_location DIR/\n");
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    eventually("the consumer is there", || cloud.lock().subscribed > 0).await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    for _ in 0..4 {
        gateway.online().await;
        let before = gateway.status().published;
        gateway.events(300).await;
        eventually("some of it is under way", || gateway.status().published > before + 50).await;
        broker.stop();
        gateway.events(20).await;
        eventually("that is noticed", || !gateway.status().connected).await;
        broker.start();
    }
    gateway.delivered().await;
    eventually("the consumer has all of it", || cloud.lock().events.len() == 4 * 320).await;
    assert_complete(&cloud, &gateway);
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_is_subscribed_to_stays_until_somebody_is() {
    for confirm in [Confirm::Broker, Confirm::Cloud] {
        let broker = Mosquitto::open();
        let dir = tempfile::tempdir().unwrap();
        let gateway = Uplink::to(broker.port).confirm(confirm).start(dir.path());
        gateway.events(200).await;
        gateway.error_has("nobody is subscribed").await;
        assert_eq!(gateway.journal.delivered(), 0);
        assert!(gateway.status().connected);

        let cloud = Consumer::start("cloud", broker.port, ROOT, confirm == Confirm::Cloud);
        gateway.delivered().await;
        eventually("the consumer has all of it", || cloud.lock().events.len() == 200).await;
        eventually("the error is over", || gateway.status().error.is_none()).await;
        assert_complete(&cloud, &gateway);
        gateway.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_disk_begins_a_new_journal_before_it_says_anything() {
    let broker = Mosquitto::open();
    let cloud = Consumer::start("cloud", broker.port, ROOT, true);
    eventually("the consumer is there", || cloud.lock().subscribed > 0).await;
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).confirm(Confirm::Cloud).start(dir.path());
    gateway.events(10).await;
    gateway.delivered().await;
    let journal = gateway.journal.identity().to_string();
    gateway.shut_down().await;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let gateway = Uplink::to(broker.port).confirm(Confirm::Cloud).start(dir.path());
    gateway.events(30).await;
    gateway.delivered().await;
    eventually("the cloud's word is kept by the broker", || {
        cloud.lock().last("events/committed").is_some_and(|message| message.json()["through"] == 40)
    })
    .await;
    gateway.shut_down().await;

    // The card is exchanged for the copy. Before it gets a network, more happens than the cloud has seen of the
    // journal: the copy's own last sequence is no hint any more.
    let late = Uplink::to(mosquitto::free_port()).confirm(Confirm::Cloud).start(copy.path());
    assert_eq!(*late.journal.identity(), *journal);
    late.shut_down().await;
    let gateway = Uplink::to(broker.port).confirm(Confirm::Cloud).start(copy.path());
    gateway.online().await;
    assert_ne!(*gateway.journal.identity(), *journal);
    gateway.events(50).await;
    gateway.delivered().await;
    assert_complete(&cloud, &gateway);
    assert_eq!(cloud.lock().sequences(&journal).len(), 40);
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_more_than_there_is_deletes_no_history() {
    let broker = Mosquitto::open();
    let cloud = Consumer::start("cloud", broker.port, ROOT, true);
    eventually("the consumer is there", || cloud.lock().subscribed > 0).await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).confirm(Confirm::Cloud).start(dir.path());
    gateway.events(20).await;
    gateway.delivered().await;
    let journal = gateway.journal.identity().to_string();
    for retain in [false, true] {
        let committed = json!({"journal": journal, "through": 1_000_000});
        cloud.publish("events/committed", &committed.to_string(), retain).await;
        let status = json!({"status": "offline", "session": "forged", "journal": journal, "last": 1_000_000});
        cloud.publish("status", &status.to_string(), retain).await;
    }
    eventually("it is told", || {
        let events = gateway.journal.read(1, 1000).unwrap();
        events.iter().any(|event| event.kind == "gateway.committed.ignored")
    })
    .await;
    assert_eq!(*gateway.journal.identity(), *journal);
    assert_eq!(gateway.journal.read(1, 1000).unwrap().first().map(|event| event.sequence), Some(1));
    assert!(gateway.uplink.borrow().ignored.is_some());
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_under_load_loses_nothing_that_was_journalled() {
    let broker = Mosquitto::open();
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    eventually("the consumer is there", || cloud.lock().subscribed > 0).await;
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let gateway = Uplink::to(broker.port).start(dir.path());
        gateway.online().await;
        gateway.events(2000).await;
        if round == 2 {
            gateway.kill().await;
        } else {
            gateway.shut_down().await;
        }
    }
    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.delivered().await;
    eventually("the consumer has all of it", || cloud.lock().events.len() == 6000).await;
    assert_complete(&cloud, &gateway);
    gateway.shut_down().await;
}

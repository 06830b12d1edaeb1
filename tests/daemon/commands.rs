//! Commands over a real broker to simulated panels: each is obeyed once or not at all, whatever dies.

use intercom_gateway::simulate::{action::Fault, panel::Observation};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Daemon, Site,
    cloud::{Cloud, message, verdict},
    mosquitto::Mosquitto,
    simulated::Panels,
};

fn site(broker: &Mosquitto, more: &str) -> Site {
    Site::new(&format!(
        r#"
[mqtt]
url = "mqtt://127.0.0.1:{}"
{more}

[[intercom]]
id = 1

[[intercom]]
id = 2

[[bus]]
name = "street"
port = "{{dir}}/street"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = {{ output = 0 }}
secure_channel = "off"

[[panel]]
name = "yard-1"
intercom = 2
bus = "street"
address = 1
lock = {{ output = 0 }}
secure_channel = "off"

[[panel]]
name = "yard-2"
intercom = 2
bus = "street"
address = 2
lock = {{ output = 0 }}
secure_channel = "off"
"#,
        broker.port
    ))
}

/// How often a lock's output was switched on, of what was seen since the last look.
fn openings(panels: &Panels) -> usize {
    let seen = panels.seen();
    seen.iter().filter(|sighting| matches!(sighting.what, Observation::Output(_))).count()
}

async fn all_online(cloud: &Cloud) {
    for panel in ["entrance-1", "yard-1", "yard-2"] {
        cloud
            .until("the panels are online", |cloud| {
                let seen = cloud.consumer.lock();
                let last = seen.last(&format!("panels/{panel}"))?.json();
                (last["state"] == "online").then_some(())
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlock_opens_once_and_says_who_asked() {
    let broker = Mosquitto::open();
    let site = site(&broker, "");
    let panels = Panels::start(&site, false);
    let cloud = Cloud::connect(broker.port).await;
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    let session = cloud.online(None).await;
    all_online(&cloud).await;

    let id = Uuid::new_v4();
    let unlock = message(id, "unlock", json!({"panel": "entrance-1", "duration": 0.5}), &session, 30);
    let done = cloud.ask_message(&unlock).await;
    assert_eq!(
        done,
        json!({"id": id, "command": "unlock", "status": "done", "error": null, "data": {"panel": "entrance-1"}})
    );
    let event = events.wait_panel("intercom.door.unlocked", "entrance-1");
    assert_eq!(event["data"]["by"], json!({"kind": "command", "id": id}));
    assert_eq!(event["data"]["duration"], 0.5);

    let again = cloud.ask_message(&unlock).await;
    assert_eq!((verdict(&again), &again["data"]["first"]), (("duplicate", ""), &done));
    let by_intercom = cloud.ask("unlock", json!({"intercom": 1}), &session).await;
    assert_eq!((verdict(&by_intercom), &by_intercom["data"]["panel"]), (("done", ""), &json!("entrance-1")));
    let both = cloud.ask("unlock", json!({"intercom": 2, "panel": "yard-2"}), &session).await;
    assert_eq!(verdict(&both), ("done", ""));
    for (args, expected) in [
        (json!({"intercom": 2}), ("failed", "ambiguous_panel")),
        (json!({"intercom": 9}), ("failed", "unknown_panel")),
        (json!({"panel": "Nowhere"}), ("failed", "unknown_panel")),
        (json!({"panel": "yard-1", "intercom": 1}), ("failed", "unknown_panel")),
    ] {
        assert_eq!(verdict(&cloud.ask("unlock", args, &session).await), expected);
    }
    assert_eq!(openings(&panels), 3);
    assert_eq!(events.count_type("intercom.door.unlocked"), 3);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_stale_retained_or_rubbish_opens_nothing() {
    let broker = Mosquitto::open();
    let site = site(&broker, "");
    let panels = Panels::start(&site, false);
    let cloud = Cloud::connect(broker.port).await;
    // It waits at the broker before the gateway is there.
    let early =
        message(Uuid::new_v4(), "unlock", json!({"panel": "entrance-1"}), &Uuid::nil().to_string(), 30);
    cloud.send_raw(&early.to_string(), true).await;
    let daemon = Daemon::start(&site);
    let session = cloud.online(None).await;
    all_online(&cloud).await;
    let id = early["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(verdict(&cloud.result(id, 0).await), ("rejected", "retained"));

    let unlock = |session: &str, seconds| {
        message(Uuid::new_v4(), "unlock", json!({"panel": "entrance-1"}), session, seconds)
    };
    let other = Uuid::new_v4().to_string();
    assert_eq!(verdict(&cloud.ask_message(&unlock(&other, 30)).await), ("rejected", "stale_session"));
    assert_eq!(verdict(&cloud.ask_message(&unlock(&session, -5)).await), ("expired", ""));
    assert_eq!(verdict(&cloud.ask_message(&unlock(&session, 3600)).await), ("rejected", "invalid"));
    let unknown = cloud.ask("open_all", json!({}), &session).await;
    assert_eq!(verdict(&unknown), ("rejected", "unknown_command"));
    let line = cloud.ask("measure_line", json!({"intercom": 1, "flat": 7}), &session).await;
    assert_eq!(verdict(&line), ("failed", "unknown_flat"));

    let huge = format!("\"{}\"", "x".repeat(1_000_000));
    for rubbish in ["", "{", "[]", "7", huge.as_str()] {
        cloud.send_raw(rubbish, false).await;
    }
    let nameless = |cloud: &Cloud| {
        let invalid = |result: &&Value| result["id"].is_null() && verdict(result) == ("rejected", "invalid");
        cloud.all_results().iter().filter(invalid).count()
    };
    cloud.until("each is refused", |cloud| (nameless(cloud) == 5).then_some(())).await;
    assert_eq!(openings(&panels), 0);

    // After a reconnection what was meant for the first connection is not obeyed any more.
    let before = unlock(&session, 50);
    broker_restart(broker, &cloud, &session, &before, &panels).await;
    daemon.stop();
}

async fn broker_restart(
    mut broker: Mosquitto,
    cloud: &Cloud,
    session: &str,
    unlock: &Value,
    panels: &Panels,
) {
    broker.kill();
    broker.start();
    let now = cloud.online(Some(session)).await;
    assert_eq!(verdict(&cloud.ask_message(unlock).await), ("rejected", "stale_session"));
    assert_eq!(openings(panels), 0);
    let fresh = cloud.ask("unlock", json!({"panel": "entrance-1"}), &now).await;
    assert_eq!(verdict(&fresh), ("done", ""));
    assert_eq!(openings(panels), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_in_between_does_not_open_again() {
    let broker = Mosquitto::open();
    let site = site(&broker, "");
    let panels = Panels::start(&site, false);
    let cloud = Cloud::connect(broker.port).await;
    let mut daemon = Daemon::start(&site);
    let session = cloud.online(None).await;
    all_online(&cloud).await;

    // A panel that has just fallen silent keeps an unlock waiting for two seconds.
    panels.fault("entrance-1", Fault::Gone(true));
    let id = Uuid::new_v4();
    let unlock = message(id, "unlock", json!({"panel": "entrance-1"}), &session, 50);
    cloud.send_raw(&unlock.to_string(), false).await;
    let told = format!("the cloud commands id={id}");
    daemon.log.wait("the command's beginning", |line| line.contains(&told).then_some(()));
    daemon.kill();
    assert!(cloud.results(id).is_empty());
    panels.fault("entrance-1", Fault::Gone(false));

    let daemon = Daemon::start(&site);
    let session = cloud.online(Some(&session)).await;
    let result = cloud.result(id, 0).await;
    assert_eq!((verdict(&result), &result["command"]), (("failed", "interrupted"), &json!("unlock")));
    all_online(&cloud).await;
    let again = cloud.ask_message(&unlock).await;
    assert_eq!((verdict(&again), &again["data"]["first"]), (("duplicate", ""), &result));
    assert_eq!(openings(&panels), 0);
    let other = cloud.ask("unlock", json!({"panel": "entrance-1"}), &session).await;
    assert_eq!(verdict(&other), ("done", ""));
    assert_eq!(openings(&panels), 1);

    // And once more after a stop in good order.
    daemon.stop();
    let daemon = Daemon::start(&site);
    cloud.online(Some(&session)).await;
    assert_eq!(verdict(&cloud.ask_message(&unlock).await), ("duplicate", ""));
    assert_eq!(cloud.results(id).iter().filter(|result| result["status"] == "failed").count(), 1);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_commands_keeps_nobody_waiting_at_the_door() {
    let broker = Mosquitto::open();
    let site = site(&broker, "");
    let panels = Panels::start(&site, false);
    let cloud = Cloud::connect(broker.port).await;
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    let session = cloud.online(None).await;
    all_online(&cloud).await;
    for number in 0..3000_u32 {
        let args = json!({"panel": "entrance-1", "duration": 0.1});
        let unlock =
            message(Uuid::from_u128(u128::from(number) + 1), "unlock", args, &session, 30).to_string();
        let topic = format!("{}/commands", crate::support::cloud::ROOT);
        let options = rumqttc::PublishOptions::at_least_once();
        cloud.consumer.client.publish(topic, unlock, options).await.unwrap();
    }
    let limited = |cloud: &Cloud| {
        cloud.all_results().iter().filter(|result| verdict(result) == ("rejected", "rate_limited")).count()
    };
    cloud.until("the flood is limited", |cloud| (limited(cloud) >= 50).then_some(())).await;
    panels.card("yard-1", "3042CAAC");
    events.wait_panel("intercom.key.swiped", "yard-1");
    let opened = events.count_type("intercom.door.unlocked");
    assert!((1..500).contains(&opened), "{opened} of 3000 unlocks were obeyed");
    assert_eq!(events.count_type("intercom.panel.offline"), 0, "polls went on");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_replayed_the_installation_is_examined_and_more_is_logged_for_a_while() {
    let broker = Mosquitto::open();
    let site = site(&broker, "");
    let _panels = Panels::start(&site, false);
    let cloud = Cloud::connect(broker.port).await;
    let mut daemon = Daemon::start(&site);
    let session = cloud.online(None).await;
    all_online(&cloud).await;
    let journal = cloud.consumer.lock().status()["journal"].as_str().unwrap().to_owned();
    cloud
        .until("events have come", |cloud| {
            (cloud.consumer.lock().sequences(&journal).len() >= 4).then_some(())
        })
        .await;

    let before = cloud.consumer.lock().deliveries;
    let args = json!({"journal": journal, "from": 2, "to": 3});
    let replayed = cloud.ask("replay", args, &session).await;
    assert_eq!((verdict(&replayed), &replayed["data"]), (("done", ""), &json!({"events": 2, "absent": []})));
    cloud
        .until("they came again", |cloud| (cloud.consumer.lock().deliveries >= before + 2).then_some(()))
        .await;
    let all = cloud.ask("replay", json!({"journal": journal, "from": 1, "to": 1_000_000}), &session).await;
    assert!(all["data"]["events"].as_u64().unwrap() >= 4, "{all}");
    let times = json!({"journal": journal, "since": "2000-01-01T00:00:00Z", "until": "2001-01-01T00:00:00Z"});
    let none = cloud.ask("replay", times, &session).await;
    assert_eq!((verdict(&none), &none["data"]), (("done", ""), &json!({"events": 0, "absent": []})));
    let times = json!({"journal": journal, "since": "2000-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"});
    let ever = cloud.ask("replay", times, &session).await;
    assert_eq!(verdict(&ever), ("done", ""));
    assert!(ever["data"]["events"].as_u64() >= all["data"]["events"].as_u64(), "{ever} after {all}");
    let other = cloud.ask("replay", json!({"journal": "00000000", "from": 1, "to": 2}), &session).await;
    assert_eq!(verdict(&other), ("failed", "unknown_journal"));

    let report = cloud.ask("report", json!({}), &session).await;
    let checks = report["data"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap_or(&Value::Null);
    for name in ["port street", "bus street", "panel entrance-1", "clock", "database", "broker"] {
        assert_eq!(of(name)["verdict"], "ok", "{name} in {report}");
    }
    assert!(of("database")["detail"].as_str().unwrap().contains(&journal));

    daemon.log.rewind();
    let logged = cloud.ask("log_level", json!({"filter": "debug", "for": 3}), &session).await;
    assert_eq!(verdict(&logged), ("done", ""));
    cloud.ask("unlock", json!({"panel": "entrance-1"}), &session).await;
    daemon.log.wait("a line that is not logged by default", |line| line.contains("DEBUG").then_some(()));
    daemon.log.wait("the end of it", |line| line.contains("as at the start again").then_some(()));
    let wrong = cloud.ask("log_level", json!({"filter": "a=b=c", "for": 1}), &session).await;
    assert_eq!(verdict(&wrong), ("failed", "invalid"));
    daemon.stop();
}

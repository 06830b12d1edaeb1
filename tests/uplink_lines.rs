//! Retained topics of lines on a real broker: shown on change of state, again on every connection, cleared when nobody
//! has them any more.

#[path = "support/consumer.rs"]
mod consumer;
#[path = "support/mosquitto.rs"]
mod mosquitto;
#[path = "support/uplink.rs"]
mod uplink;

use consumer::Consumer;
use intercom_gateway::domain::{LineState, LineStatus, Name, line::Thresholds};
use mosquitto::Mosquitto;
use uplink::{ROOT, Uplink, eventually};

fn line(flat: u64, state: LineState, raw: u16) -> LineStatus {
    LineStatus {
        intercom: 1,
        flat,
        flat_id: Some(flat + 100),
        state,
        raw: Some(raw),
        value: Some(f64::from(raw) / 10.0),
        unit: "V".into(),
        thresholds: Thresholds {
            short_below: Some(1.0),
            on_hook_below: 6.5,
            off_hook_below: 9.2,
            door_button_below: None,
            hysteresis: 0.2,
        },
        since: "2026-11-23T22:00:01.123Z".parse().unwrap(),
        measured_at: Some("2026-11-23T22:00:05Z".parse().unwrap()),
        panel: Name::new("risers").unwrap(),
        line: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_shown_on_change_of_its_state_and_again_on_every_connection() {
    let mut broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    gateway.lines.send_replace(vec![line(1, LineState::OnHook, 60), line(2, LineState::OnHook, 61)]);
    let shown = |topic: &str| cloud.lock().last(topic).map(consumer::Message::json).unwrap_or_default();
    eventually("both lines are shown", || {
        shown("lines/1/1")["state"] == "on_hook" && shown("lines/1/2")["state"] == "on_hook"
    })
    .await;
    let expected = concat!(
        r#"{"intercom":1,"flat":2,"flat_id":102,"state":"on_hook","raw":61,"value":6.1,"unit":"V","#,
        r#""thresholds":{"short_below":1.0,"on_hook_below":6.5,"off_hook_below":9.2,"#,
        r#""door_button_below":null,"hysteresis":0.2},"#,
        r#""since":"2026-11-23T22:00:01.123Z","measured_at":"2026-11-23T22:00:05.000Z"}"#
    );
    assert_eq!(cloud.lock().last("lines/1/2").unwrap().payload, expected);

    // Another value is no news; the next change comes after it, and only that one is seen.
    gateway.lines.send_replace(vec![line(1, LineState::OnHook, 63), line(2, LineState::OnHook, 62)]);
    gateway.lines.send_replace(vec![line(1, LineState::OffHook, 80), line(2, LineState::OnHook, 62)]);
    eventually("the change is shown", || shown("lines/1/1")["state"] == "off_hook").await;
    let count = |topic: &str| cloud.lock().messages.iter().filter(|message| message.topic == topic).count();
    assert_eq!((count("lines/1/1"), count("lines/1/2")), (2, 1));

    // A broker that has lost everything is told everything.
    broker.kill();
    broker.start();
    let late = Consumer::start("late", broker.port, ROOT, false);
    eventually("all lines are shown again", || {
        ["lines/1/1", "lines/1/2"].iter().all(|topic| late.lock().last(topic).is_some())
    })
    .await;
    assert_eq!(late.lock().last("lines/1/1").unwrap().json()["state"], "off_hook");
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_nobody_has_any_more_is_cleared_after_a_restart_too() {
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    gateway.lines.send_replace([1, 2, 3].map(|flat| line(flat, LineState::OnHook, 60)).to_vec());
    eventually("the lines are shown", || cloud.lock().last("lines/1/3").is_some()).await;
    gateway.lines.send_replace([1, 2].map(|flat| line(flat, LineState::OnHook, 60)).to_vec());
    let is_cleared = |topic: &str| cloud.lock().last(topic).is_some_and(|message| message.payload.is_empty());
    eventually("the third is cleared", || is_cleared("lines/1/3")).await;
    gateway.shut_down().await;

    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.lines.send_replace(vec![line(1, LineState::OnHook, 60)]);
    eventually("the second is cleared", || is_cleared("lines/1/2")).await;
    let late = Consumer::start("late", broker.port, ROOT, false);
    eventually("what is retained has come", || late.lock().last("lines/1/1").is_some()).await;
    assert!(late.lock().last("lines/1/2").is_none() && late.lock().last("lines/1/3").is_none());
    gateway.shut_down().await;
}

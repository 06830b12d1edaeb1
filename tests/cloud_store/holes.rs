//! Holes: asked for, filled or gone; and what a broker has forgotten is told again. The gateway is played here.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    cloud::{Cloud, link::Link, store::Place},
    part::{Part, prepare},
    support::{cloud::ROOT, lines::PATIENCE, mosquitto::Mosquitto, postgres::Postgres, wait_until},
};

/// A gateway that has nothing but a connection.
struct Gateway {
    runtime: Runtime,
    link: Link,
}

impl Gateway {
    fn new(port: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let cloud = Cloud {
            broker: ("127.0.0.1".into(), port),
            prefix: "intercom/v1".into(),
            place: Place::Memory(Arc::default()),
            patience: Duration::ZERO,
            flats: None,
        };
        let filters = ["commands", "events/committed"].map(|topic| format!("{ROOT}/{topic}"));
        let link = runtime.block_on(Link::open(&cloud, &filters)).unwrap();
        Self { runtime, link }
    }

    fn publish(&self, topic: &str, payload: &Value) {
        let publish = self.link.publish(format!("{ROOT}/{topic}"), payload.to_string(), false);
        self.runtime.block_on(publish).unwrap();
    }

    fn swiped(&self, sequence: u64) {
        self.publish("events", &event(sequence, "intercom.key.swiped", json!({})));
    }

    /// The next message of a topic that `is_it`.
    fn wait(&mut self, topic: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let next = async {
            loop {
                let message = self.link.receive().await.unwrap();
                self.link.acknowledge(&message).await.unwrap();
                let payload: Value = serde_json::from_slice(&message.payload).unwrap();
                if message.topic.ends_with(topic.as_bytes()) && is_it(&payload) {
                    return payload;
                }
            }
        };
        self.runtime
            .block_on(async { timeout(PATIENCE, next).await })
            .unwrap_or_else(|_| panic!("nothing of this kind on {topic}"))
    }

    fn is_told(&mut self, through: u64) {
        self.wait("events/committed", |committed| {
            *committed == json!({"journal": "9f3c2a41", "through": through})
        });
    }
}

fn event(sequence: u64, kind: &str, mut data: Value) -> Value {
    data["journal"] = "9f3c2a41".into();
    json!({
        "specversion": "1.0", "id": format!("9f3c2a41-{sequence}"), "source": "intercom-gateway/test", "type": kind,
        "time": "2026-11-23T22:00:01.123Z", "sequence": format!("{sequence:020}"), "data": data,
    })
}

pub fn asked_for() {
    let Some(postgres) = Postgres::start() else { return };
    prepare(&postgres);
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut gateway = Gateway::new(broker.port);
    let start = |only| Part::start(broker.port, &postgres, &["--patience", "1", "--only", only], &log);
    let (_events, keeper) = (start("events"), start("keeper"));
    let keepers = |count| {
        wait_until("a keeper is at work", || {
            std::fs::read_to_string(&log).unwrap().matches("keeper: at work").count() == count
        });
    };
    wait_until("the consumer has subscribed", || broker.log().contains("$share/events/"));
    keepers(1);

    // 3 and 4 are missing; 5 was only late. 4 comes by the replay, 3 is gone.
    [1, 2, 6, 6, 5].into_iter().for_each(|sequence| gateway.swiped(sequence));
    gateway.is_told(2);
    let replay = gateway.wait("commands", |command| command["args"]["to"] == 4);
    assert_eq!((&replay["command"], &replay["args"]["from"]), (&json!("replay"), &json!(3)));
    gateway.swiped(4);
    // More than it was asked for is no proof.
    let result = json!({
        "id": replay["id"], "command": "replay", "status": "done", "error": null,
        "data": {"events": 1, "absent": [[1, 3], [5, 900]]},
    });
    gateway.publish("results", &result);
    gateway.is_told(6);
    let gone = || -> Vec<(i64, i64)> {
        let rows = postgres.rows("select first, last from gone order by first", &[]);
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    assert_eq!(gone(), [(3, 3)]);
    let done = "select count(*) from commands where result->>'status' = 'done'";
    assert_eq!(postgres.number(done), 1);

    // A pruned event says the same unasked.
    let pruned = json!({"pruned_journal": "9f3c2a41", "from": 7, "to": 8, "cause": "space"});
    gateway.publish("events", &event(9, "gateway.journal.pruned", pruned));
    gateway.is_told(9);
    assert_eq!(gone(), [(3, 3), (7, 8)]);

    // Another keeper begins where this one was, and tells all once more: the broker may have forgotten.
    drop(keeper);
    let _keeper = start("keeper");
    keepers(2);
    gateway.is_told(9);
    // Who sends again what it was told of has not heard.
    gateway.swiped(5);
    gateway.is_told(9);
    assert_eq!(postgres.number("select count(*) from events"), 6);
    assert_eq!(postgres.number("select count(*) from arrived"), 0);
}

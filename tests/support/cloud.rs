//! The cloud's side of commands: a consumer that reads the retained status, sends, and waits for results.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::Duration;

use intercom_gateway::clock;
use rumqttc::MqttOptions;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{consumer::Consumer, lines::PATIENCE};

/// Where the daemon of a `Site` publishes.
pub const ROOT: &str = "intercom/v1/test";

pub struct Cloud {
    pub consumer: Consumer,
}

impl Cloud {
    /// Connects to the broker at `port` and waits for its subscription.
    pub async fn connect(port: u16) -> Self {
        Self::with(Consumer::options("cloud", port)).await
    }

    /// As [`Cloud::connect`], with these options.
    pub async fn with(options: MqttOptions) -> Self {
        let cloud = Self { consumer: Consumer::with(options, ROOT, false) };
        cloud
            .until("the cloud is subscribed", |cloud| (cloud.consumer.lock().subscribed > 0).then_some(()))
            .await;
        cloud
    }

    /// Waits until the gateway is online by another session than `before`; its session.
    pub async fn online(&self, before: Option<&str>) -> String {
        self.until("the gateway is online", |cloud| {
            let status = cloud.consumer.lock().status();
            let session = status["session"].as_str()?;
            (status["status"] == "online" && Some(session) != before).then(|| session.to_owned())
        })
        .await
    }

    /// Sends a command that is valid for 30 s and carries `session`.
    pub async fn send(&self, id: Uuid, command: &str, args: Value, session: &str) {
        self.send_raw(&message(id, command, args, session, 30).to_string(), false).await;
    }

    pub async fn send_raw(&self, payload: &str, retain: bool) {
        self.consumer.publish("commands", payload, retain).await;
    }

    /// Sends a command and waits for its result.
    pub async fn ask(&self, command: &str, args: Value, session: &str) -> Value {
        let id = Uuid::new_v4();
        self.send(id, command, args, session).await;
        self.result(id, 0).await
    }

    /// Sends a message and waits for the next result of its id.
    pub async fn ask_message(&self, message: &Value) -> Value {
        let id: Uuid = message["id"].as_str().unwrap().parse().unwrap();
        let before = self.results(id).len();
        self.send_raw(&message.to_string(), false).await;
        self.result(id, before).await
    }

    /// The result of this id after `before` others.
    pub async fn result(&self, id: Uuid, before: usize) -> Value {
        self.until("the result", |cloud| cloud.results(id).get(before).cloned()).await
    }

    /// All results of this id so far.
    pub fn results(&self, id: Uuid) -> Vec<Value> {
        let all = self.all_results();
        all.into_iter().filter(|result| result["id"] == id.to_string()).collect()
    }

    pub fn all_results(&self) -> Vec<Value> {
        let seen = self.consumer.lock();
        seen.messages
            .iter()
            .filter(|message| message.topic == "results")
            .map(|message| message.json())
            .collect()
    }

    /// Waits until `find` makes something of what has come.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = clock::mono() + PATIENCE;
        loop {
            if let Some(found) = find(self) {
                return found;
            }
            assert!(clock::mono() < deadline, "it did not come: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A command that expires in this many seconds.
pub fn message(id: Uuid, command: &str, args: Value, session: &str, seconds: i64) -> Value {
    #[allow(clippy::disallowed_methods, reason = "the cloud's own clock")]
    let expires_at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    json!({"id": id, "command": command, "args": args, "expires_at": expires_at.to_string(), "session": session})
}

/// Status and error code of a result.
pub fn verdict(result: &Value) -> (&str, &str) {
    (result["status"].as_str().unwrap_or(""), result["error"]["code"].as_str().unwrap_or(""))
}

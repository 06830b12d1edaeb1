//! A broker, and a stand-in for the cloud that takes what the gateway publishes and gives it its flats.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{self, Receiver, SyncSender},
    },
    time::Duration,
};

use anyhow::Context;
use nix::unistd::geteuid;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};

use super::building::{Building, read_flats};

/// Messages that nobody has looked at yet; when it is full the stand-in waits, as a slow consumer would.
const MESSAGES: usize = 16_384;

/// A mosquitto of our own on a free port of the loopback; ends when dropped.
pub struct Broker {
    child: Mutex<Child>,
    pub port: u16,
}

/// What was published: topic and payload.
pub type Message = (String, Vec<u8>);

impl Broker {
    /// Starts mosquitto; installs it first where it is missing and this is root.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let config = dir.join("mosquitto.conf");
        let settings =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 100\n");
        fs::write(&config, settings)?;
        let start = || {
            let mut command = Command::new("mosquitto");
            let path = std::env::var("PATH").unwrap_or_default();
            // Debian puts it where only root looks.
            command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
            command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let child = start().or_else(|_| {
            install();
            start()
        });
        let child =
            child.context("cannot start an MQTT broker: install one with `apt-get install mosquitto`")?;
        Ok(Self { child: Mutex::new(child), port })
    }
}

impl Broker {
    /// Ends it.
    pub fn stop(&self) {
        let mut child = self.child.lock().expect("not poisoned");
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn install() {
    if !geteuid().is_root() {
        return;
    }
    eprintln!("installing mosquitto …");
    let quietly = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        // What could not be installed is told by the second start.
        let _ =
            command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
    };
    quietly(&["update", "-qq"]);
    quietly(&["install", "-y", "-qq", "mosquitto", "mosquitto-clients"]);
}

/// A port that nobody listens on just now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Consumes everything below `topic`, and answers requests for flats, for as long as the broker lives.
pub fn consume(port: u16, topic: &'static str) -> anyhow::Result<Receiver<Message>> {
    let document: serde_json::Value = serde_json::from_str(include_str!("flats.json"))?;
    let revision = document["revision"].as_u64().context("the flats have no revision")?;
    let building = Building::new(revision, read_flats(&document)?);
    let (sender, messages) = mpsc::sync_channel(MESSAGES);
    let (subscribed, ready) = mpsc::sync_channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("cloud".into())
        .spawn(move || runtime.block_on(take(port, topic, &building, sender, subscribed)))?;
    ready.recv_timeout(Duration::from_secs(10)).context("the broker does not accept the cloud's stand-in")?;
    Ok(messages)
}

async fn take(
    port: u16,
    topic: &str,
    building: &Building,
    messages: SyncSender<Message>,
    subscribed: SyncSender<()>,
) {
    let mut options = MqttOptions::new("demo-cloud", ("127.0.0.1", port));
    options.set_clean_start(true);
    let Ok((client, mut events)) = AsyncClient::builder(options).try_build() else { return };
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                if client.try_subscribe(topic, QoS::AtLeastOnce).is_err() {
                    return;
                }
            }
            // A second subscription, after the broker was away, is no news to anybody.
            Ok(Event::Incoming(Incoming::SubAck(_))) => drop(subscribed.try_send(())),
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                if let Some(root) = topic.strip_suffix("/sync/request") {
                    let request = serde_json::from_slice(&publish.payload).unwrap_or_default();
                    for answer in building.answer(&request) {
                        let options = PublishOptions::new(QoS::AtLeastOnce);
                        // The gateway asks again where an answer is lost.
                        let _ = client.try_publish(format!("{root}/sync/flats"), answer, options);
                    }
                }
                if messages.send((topic, publish.payload.to_vec())).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

//! How fast a backlog drains: journal → broker, beside `mosquitto_pub -l -q 1` with the same messages to the same
//! broker in the same run, on loopback and at 50 ms round trip.
//!
//! `cargo bench --bench uplink`; needs mosquitto and its clients. By default `mosquitto_pub` speaks MQTT 3.1.1 and keeps
//! 20 messages in flight; told to speak MQTT 5 it keeps as many as the broker takes, 100 here, like the gateway.

#[path = "../tests/support/mosquitto.rs"]
mod mosquitto;
#[path = "../tests/support/uplink.rs"]
mod uplink;

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mosquitto::{Mosquitto, binary};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use uplink::{ROOT, Uplink, journal_of};

/// One way of the line: half the round trip.
const DELAY: Duration = Duration::from_millis(25);

const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 100\nlog_type none\n");
    let far = delayed(broker.port).await;
    // Somebody must be subscribed; QoS 0 costs the broker least.
    let _listener = Listener::start(broker.port);
    println!("events per second, median of {ROUNDS}");
    println!(
        "{:<18} {:>9} {:>14} {:>7} {:>16} {:>7}",
        "", "gateway", "mosquitto_pub", "ratio", "… -V mqttv5", "ratio"
    );
    for (line, port, events, messages) in
        [("loopback", broker.port, 50_000, 50_000), ("50 ms round trip", far, 10_000, 1_000)]
    {
        let (mut ours, mut theirs, mut theirs_5) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (rate, payloads) = gateway(port, events).await;
            ours.push(rate);
            theirs.push(mosquitto_pub("mqttv311", port, &payloads[..messages]));
            theirs_5.push(mosquitto_pub("mqttv5", port, &payloads[..messages]));
        }
        let (ours, theirs, theirs_5) = (median(ours), median(theirs), median(theirs_5));
        let ratios = (ours / theirs, ours / theirs_5);
        println!(
            "{line:<18} {ours:>9.0} {theirs:>14.0} {:>6.2}x {theirs_5:>16.0} {:>6.2}x",
            ratios.0, ratios.1
        );
    }
}

/// Drains a journal of `events`; the rate from the first publish to the last acknowledgement, and the payloads.
async fn gateway(port: u16, events: u64) -> (f64, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let filler = Uplink::to(mosquitto::free_port()).start(dir.path());
    filler.events(events).await;
    let payloads = journal_of(&filler).into_iter().map(|(_, payload)| payload).collect();
    filler.shut_down().await;

    let gateway = Uplink::to(port).start(dir.path());
    let mut status = gateway.uplink.clone();
    status.wait_for(|status| status.published > 0).await.unwrap();
    let start = now();
    status.wait_for(|status| status.confirmed >= events).await.unwrap();
    let took = start.elapsed();
    assert_eq!(gateway.status().refused, 0);
    gateway.shut_down().await;
    (rate(events, took), payloads)
}

/// The rate of `mosquitto_pub`, from its start to its end.
fn mosquitto_pub(version: &str, port: u16, payloads: &[String]) -> f64 {
    let start = now();
    let mut child = Command::new(binary("mosquitto_pub"))
        .args(["-V", version, "-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-q", "1", "-l", "-t", &format!("{ROOT}/events")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = payloads.join("\n");
    lines.push('\n');
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    rate(payloads.len() as u64, start.elapsed())
}

#[allow(clippy::cast_precision_loss)]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[allow(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

/// `mosquitto_sub` that throws everything away.
struct Listener(Child);

impl Listener {
    fn start(port: u16) -> Self {
        let child = Command::new(binary("mosquitto_sub"))
            .args([
                "-V",
                "mqttv5",
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-t",
                &format!("{ROOT}/events"),
            ])
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Gone already: as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port whose connections go to `port`, each byte [`DELAY`] later, however many are under way.
async fn delayed(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pump(from_client, to_server));
            tokio::spawn(pump(from_server, to_client));
        }
    });
    near
}

async fn pump(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    // Full: the reader waits, as on a line whose buffers are full.
    let (sender, mut chunks) = mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(4096);
    let reader = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = tokio::time::Instant::now() + DELAY;
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writer = async move {
        while let Some((due, chunk)) = chunks.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reader, writer);
}

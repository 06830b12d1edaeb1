//! A snapshot of 100,000 keys in 10,000 flats, from the cloud's first part to the state that says it is in force, at a
//! running daemon over a real broker: time, beside the `sqlite3` shell importing the same rows in the same run; memory
//! above that at rest; latency of the flat endpoint meanwhile.
//!
//! `cargo bench --bench sync`; needs mosquitto and the sqlite3 shell.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

#[allow(dead_code, reason = "it shares a part of the example")]
#[path = "../examples/cloud/building.rs"]
mod building;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use building::{Building, PART, read_flats};
use hdrhistogram::Histogram;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::{Value, json};
use support::mosquitto::Mosquitto;
use support::{Daemon, Site};

const FLATS: u64 = 10_000;
const KEYS_PER_FLAT: u64 = 10;
const ROUNDS: u64 = 5;
const ROOT: &str = "intercom/v1/test";
/// A request at each connection so often: a busy page, not a flood.
const PACE: Duration = Duration::from_millis(2);
const CONNECTIONS: usize = 2;
const AT_REST: Duration = Duration::from_secs(3);

fn main() {
    let broker = Mosquitto::with("allow_anonymous true\nlog_type none\n");
    let site =
        Site::new(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\n[[intercom]]\nid = 1\n", broker.port));
    let daemon = Daemon::start(&site);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut cloud = runtime.block_on(Cloud::connect(broker.port));
    let load = Load::start(&daemon, &site);

    // Every round's flats are all different from those before: nothing may be left as it is.
    let mut ours = Vec::new();
    let mut peaks = Vec::new();
    let mut at_rest = histogram();
    let mut during = histogram();
    for round in 1..=ROUNDS {
        let building = Building::new(round, flats(round));
        let parts = building.snapshot(None, PART);
        if round == 1 {
            let bytes: usize = parts.iter().map(String::len).sum();
            let mib = bytes >> 20;
            println!(
                "{FLATS} flats, {} keys, {} parts, {mib} MiB of JSON",
                FLATS * KEYS_PER_FLAT,
                parts.len()
            );
        } else {
            load.measure();
            std::thread::sleep(AT_REST);
            at_rest.add(load.take()).expect("the same bounds");
        }
        let rest = memory(&daemon, "VmRSS:");
        fs::write(format!("/proc/{}/clear_refs", daemon.id()), "5").expect("the peak can be reset");
        load.measure();
        let took = runtime.block_on(cloud.bring(&parts, building.state()));
        if round > 1 {
            during.add(load.take()).expect("the same bounds");
        }
        ours.push(took);
        // The directory is loaded and the memory given back a moment later.
        std::thread::sleep(Duration::from_millis(500));
        peaks.push(memory(&daemon, "VmHWM:").saturating_sub(rest));
    }
    load.end();
    daemon.stop();

    let beside: Vec<Duration> = sqlite_shell(&site);
    let (first, replaced) = (ours[0], median(ours[1..].to_vec()));
    let shell = median(beside);
    println!("first snapshot             {:>8.2} s", first.as_secs_f64());
    println!("all flats replaced, median {:>8.2} s", replaced.as_secs_f64());
    println!("sqlite3 shell, same rows   {:>8.2} s", shell.as_secs_f64());
    let ratio = |time: Duration| time.as_secs_f64() / shell.as_secs_f64();
    println!(
        "ratio                      {:>8.2} first, {:.2} replaced (goal 1.50)",
        ratio(first),
        ratio(replaced)
    );
    println!(
        "peak memory above rest     {:>8} KiB first, {} KiB at most (goal 65536)",
        peaks[0],
        peaks.iter().max().expect("rounds")
    );
    let quantile = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99);
    println!(
        "endpoint p99               {:>8} µs at rest ({} requests), {} µs during ({} requests): {:.1} (goal 5.0)",
        quantile(&at_rest),
        at_rest.len(),
        quantile(&during),
        during.len(),
        quantile(&during) as f64 / quantile(&at_rest) as f64
    );
}

/// The building of a round: every key has its user.
fn flats(round: u64) -> building::Flats {
    let user = |id: u64| {
        json!({
            "id": id, "name": format!("Resident {id} of {round}"), "login": format!("resident{id}@mail.example"),
            "created_at": "2022-11-11 14:45:58", "updated_at": "2022-11-11 14:45:58",
            "expired_at": "2122-11-11 14:45:57", "is_licence_limit_reached": false, "ptz_priority": 1,
            "access_token_id": null,
        })
    };
    let flat = |flat: u64| {
        let keys: Vec<Value> = (0..KEYS_PER_FLAT)
            .map(|n| {
                let id = (flat - 1) * KEYS_PER_FLAT + n + 1;
                json!({
                    "id": id, "key": format!("{:014X}", id * 7919 + round), "user": user(flat * 3 + n % 3),
                    "created_at": "2022-11-11 14:46:16", "updated_at": "2022-11-14 15:56:40",
                })
            })
            .collect();
        let users: Vec<Value> = (0..3).map(|n| user(flat * 3 + n)).collect();
        json!({
            "intercom": 1, "id": flat, "flat": flat, "key_count": keys.len(), "users_count": users.len(),
            "keys": keys, "users": users,
            "properties": {
                "is_analog_line_enable": true, "is_sip_line_enable": true, "is_can_manage_resistance": false,
            },
        })
    };
    let flats: Vec<Value> = (1..=FLATS).map(flat).collect();
    read_flats(&json!({ "flats": flats })).expect("valid flats")
}

/// The cloud's connection to the broker.
struct Cloud {
    client: AsyncClient,
    events: EventLoop,
}

impl Cloud {
    async fn connect(port: u16) -> Self {
        let mut options = MqttOptions::new("cloud", ("127.0.0.1", port));
        options.set_clean_start(true).set_max_packet_size(Some(1 << 20)).set_request_channel_capacity(1000);
        let (client, events) = AsyncClient::builder(options).build();
        client.try_subscribe(format!("{ROOT}/sync/state"), QoS::AtLeastOnce).expect("room");
        let mut cloud = Self { client, events };
        // The state before anything came: both are connected.
        cloud.state(|_| true).await;
        cloud
    }

    /// From the first part to the state.
    async fn bring(&mut self, parts: &[String], (revision, digest): (u64, &str)) -> Duration {
        let start = Instant::now();
        for part in parts {
            let options = PublishOptions::new(QoS::AtLeastOnce);
            self.client.try_publish(format!("{ROOT}/sync/flats"), part.clone(), options).expect("room");
        }
        self.state(|state| {
            assert!(state["error"].is_null(), "{state}");
            state["revision"] == revision && state["digest"] == digest
        })
        .await;
        start.elapsed()
    }

    async fn state(&mut self, is_it: impl Fn(&Value) -> bool) {
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    if is_it(&serde_json::from_slice(&publish.payload).expect("JSON")) {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => panic!("the broker is gone: {error}"),
            }
        }
    }
}

/// Requests to the flat endpoint, paced.
struct Load {
    latency: Arc<Mutex<Histogram<u64>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(daemon: &Daemon, site: &Site) -> Self {
        const PLACE: &str = "http, without TLS address=";
        let log = daemon.log.so_far();
        let address =
            log.iter().find_map(|line| line.split_once(PLACE)).expect("plain HTTP").1.trim().to_owned();
        let token = site.run(["token", "add", "bench", "--read-only"]).ok().trim().to_owned();
        let latency = Arc::new(Mutex::new(histogram()));
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..CONNECTIONS)
            .map(|_| {
                let (latency, stop) = (Arc::clone(&latency), Arc::clone(&stop));
                let (address, token) = (address.clone(), token.clone());
                std::thread::spawn(move || ask(&address, &token, &latency, &stop))
            })
            .collect();
        Self { latency, stop, threads }
    }

    /// Forgets what was measured.
    fn measure(&self) {
        self.latency.lock().expect("not poisoned").reset();
    }

    fn take(&self) -> Histogram<u64> {
        self.latency.lock().expect("not poisoned").clone()
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("every request is answered");
        }
    }
}

fn ask(address: &str, token: &str, latency: &Mutex<Histogram<u64>>, stop: &AtomicBool) {
    let mut stream = TcpStream::connect(address).expect("the endpoint");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 64 << 10];
    let mut flat = 0;
    while !stop.load(Ordering::Relaxed) {
        flat = (flat + 7919) % FLATS;
        let request = format!(
            "GET /api/admin/v1/intercoms/1/flats/{} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n",
            flat + 1
        );
        let start = Instant::now();
        stream.write_all(request.as_bytes()).expect("it is taken");
        let mut have = 0;
        while !is_whole(&buffer[..have]) {
            let read = stream.read(&mut buffer[have..]).expect("an answer");
            assert!(read > 0, "the endpoint has hung up");
            have += read;
        }
        let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        latency.lock().expect("not poisoned").saturating_record(took);
        std::thread::sleep(PACE);
    }
}

/// Whether an answer is there to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// The time that the sqlite3 shell takes to import the rows of the daemon's cache into a database of the same schema.
fn sqlite_shell(site: &Site) -> Vec<Duration> {
    let cache = site.state_dir().join("cache.db");
    let shell = |database: &Path, script: &str| {
        let mut child = Command::new("sqlite3")
            .arg("-bail")
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the sqlite3 shell: apt-get install sqlite3");
        child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success());
    };
    let file = |name: &str| site.path(name).display().to_string();
    let schema = file("schema.sql");
    let mut export = format!(".output {schema}\n.schema flats\n.schema bodies\n.schema keys\n.mode csv\n");
    let mut import =
        format!("PRAGMA journal_mode = WAL;\nPRAGMA synchronous = NORMAL;\n.read {schema}\n.mode csv\n");
    for (table, columns) in [
        (
            "flats",
            "intercom, id, flat, CAST(hex(hash) AS BLOB), key_count, users_count, analog_line, own_thresholds, \
             answer_resistance, quiescent_resistance",
        ),
        ("bodies", "*"),
        ("keys", "*"),
    ] {
        let csv = file(&format!("{table}.csv"));
        export.push_str(&format!(".output {csv}\nSELECT {columns} FROM {table};\n"));
        import.push_str(&format!(".import {csv} {table}\n"));
    }
    shell(&cache, &export);
    // CSV has texts only, which STRICT tables do not take where they are to be blobs or numbers.
    let loose = fs::read_to_string(&schema).expect("a schema").replace("STRICT, ", "").replace("STRICT", "");
    fs::write(&schema, loose.replace(") ;", ");")).expect("a schema");
    (0..ROUNDS)
        .map(|round| {
            let database = site.path(&format!("beside-{round}.db"));
            let start = Instant::now();
            shell(&database, &import);
            start.elapsed()
        })
        .collect()
}

/// A line of /proc/PID/status, KiB.
fn memory(daemon: &Daemon, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds")
}

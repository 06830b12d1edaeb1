//! The cloud, a process of its own behind everything else: takes the events, answers what the gateway asks, and brings
//! snapshots of 100,000 keys, every message signed.
//!
//! It obeys lines: `become N` (it has the flats of revision N; answers when), `bring` (publishes them unasked), `await`
//! (answers when they are in force), `flood` (snapshot after snapshot; answers when the first one is on its way),
//! `calm` (no more; answers how many came into force, the milliseconds that one was under way, and of how many),
//! `events` (answers with journal and sequence of the last event seen).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use intercom_gateway::{
    clock,
    tls::{Pem, client_config},
};
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, PublishOptions, QoS, TlsConfiguration, Transport,
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};
use zeroize::Zeroizing;

use super::{
    building::{Building, Flats, PART, read_flats},
    common::{aside::Aside, daemon},
    signing,
};

/// The seed of the cloud's key.
pub const SIGNING_SEED: u8 = 7;
const ROOT: &str = "intercom/v1/bench";
/// A snapshot's parts, and answers to requests, wait for the broker in here. Full: the cloud waits.
const QUEUE: usize = 256;
/// Snapshots that are ready: the next one is made while one is under way.
const READY: usize = 1;
/// The longest that a snapshot may take: beyond it something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// The bench's end of the cloud.
pub struct Cloud(Aside);

impl Cloud {
    /// Starts it with the files of `dir` at the broker's `port`; it has the flats of revision 1 then.
    pub fn start(dir: &Path, port: u16) -> anyhow::Result<Self> {
        let dir = dir.to_str().context("the folder's name is no text")?;
        let mut cloud = Aside::start(["be-the-cloud", "--dir", dir, "--port", &port.to_string()])?;
        ensure!(cloud.ask("become 1")? == "ready", "the cloud does not start");
        Ok(Self(cloud))
    }

    /// It has the flats of this revision from now on; the gateway is not told.
    pub fn become_revision(&mut self, revision: u64) -> anyhow::Result<()> {
        ensure!(self.0.ask(&format!("become {revision}"))? == "ready", "the cloud fails");
        Ok(())
    }

    /// Publishes its flats.
    pub fn bring(&mut self) -> anyhow::Result<()> {
        self.0.say("bring")
    }

    /// Waits until the gateway says that these flats are in force.
    pub fn in_force(&mut self) -> anyhow::Result<()> {
        ensure!(self.0.ask("await")? == "in force", "the cloud fails");
        Ok(())
    }

    /// Brings one snapshot after the other from now on; the first one is on its way then.
    pub fn flood(&mut self) -> anyhow::Result<()> {
        ensure!(self.0.ask("flood")? == "begun", "the cloud fails");
        Ok(())
    }

    /// No more of them: what became of them.
    pub fn calm(&mut self) -> anyhow::Result<Brought> {
        let told = self.0.ask("calm")?;
        let figures = told.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [count, under_way, time] = figures[..] else { bail!("the cloud tells nothing") };
        let (under_way, time) = (Duration::from_millis(under_way), Duration::from_millis(time));
        Ok(Brought { count, under_way, time })
    }

    /// The last event that it has seen.
    pub fn events(&mut self) -> anyhow::Result<Seen> {
        let told = self.0.ask("events")?;
        let (journal, sequence) = told.split_once(' ').context("the cloud tells nothing")?;
        Ok(Seen { journal: journal.to_owned(), sequence: sequence.parse()? })
    }
}

/// Snapshots, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brought {
    /// How many came into force.
    pub count: u64,
    /// How long one was under way.
    pub under_way: Duration,
    /// From the first part of the first one to the end of the last one.
    pub time: Duration,
}

/// The last event that the cloud has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub journal: String,
    pub sequence: u64,
}

impl Seen {
    /// How many events have come since `before`, of the journal that they came of last.
    pub fn since(&self, before: &Self) -> u64 {
        let known = if self.journal == before.journal { before.sequence } else { 0 };
        self.sequence.saturating_sub(known)
    }
}

/// What the bench and the connection share.
struct Shared {
    building: Mutex<Building>,
    events: Mutex<Seen>,
    /// Revision and digest that the gateway says are in force.
    state: watch::Sender<(u64, String)>,
}

impl Shared {
    fn building(&self) -> MutexGuard<'_, Building> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, Seen> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is the cloud until stdin ends.
#[tokio::main(worker_threads = 2)]
pub async fn be_the_cloud(dir: PathBuf, port: u16) -> anyhow::Result<()> {
    let shared = Arc::new(Shared {
        building: Mutex::new(Building::new(0, Flats::new())),
        events: Mutex::default(),
        state: watch::channel((0, String::new())).0,
    });
    let (client, events) = connect(&dir, port)?;
    let connection = tokio::spawn(poll(events, client.clone(), shared.clone()));
    let sender = Sender { client, shared };
    let mut lines = lines_of_stdin();
    let mut flood: Option<Flood> = None;
    while let Some(line) = lines.recv().await {
        ensure!(!connection.is_finished(), "the connection to the broker is gone");
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("become", revision) => {
                let revision = revision.parse()?;
                let building = spawn_blocking(move || anyhow::Ok(Building::new(revision, flats(revision)?)));
                *sender.shared.building() = building.await??;
                println!("ready");
            }
            ("bring", _) => {
                let parts = sender.shared.building().snapshot(None, PART);
                sender.publish(spawn_blocking(move || sign_all(&parts)).await?).await?;
            }
            ("await", _) => {
                sender.in_force().await?;
                println!("in force");
            }
            ("flood", _) => flood = Some(Flood::begin(&sender)),
            ("calm", _) => {
                let Brought { count, under_way, time } =
                    flood.take().context("there is no flood")?.end().await?;
                println!("{count} {} {}", under_way.as_millis(), time.as_millis());
            }
            ("events", _) => {
                let Seen { journal, sequence } = sender.shared.events().clone();
                println!("{journal} {sequence}");
            }
            (other, _) => bail!("{other} is no command"),
        }
    }
    Ok(())
}

/// The bench's orders. Full: the bench waits, as it does for the answers.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[derive(Clone)]
struct Sender {
    client: AsyncClient,
    shared: Arc<Shared>,
}

impl Sender {
    async fn publish(&self, messages: Vec<String>) -> anyhow::Result<()> {
        for message in messages {
            self.client
                .publish(format!("{ROOT}/sync/flats"), message, PublishOptions::new(QoS::AtLeastOnce))
                .await?;
        }
        Ok(())
    }

    /// Waits until the gateway has the flats of now.
    async fn in_force(&self) -> anyhow::Result<()> {
        let expected = {
            let building = self.shared.building();
            let (revision, digest) = building.state();
            (revision, digest.to_owned())
        };
        let mut state = self.shared.state.subscribe();
        let came = tokio::time::timeout(PATIENCE, state.wait_for(|state| *state == expected)).await;
        came.with_context(|| format!("revision {} does not come into force", expected.0))??;
        Ok(())
    }
}

/// Snapshots, one after the other.
struct Flood {
    task: tokio::task::JoinHandle<anyhow::Result<Brought>>,
    stop: watch::Sender<bool>,
}

impl Flood {
    fn begin(sender: &Sender) -> Self {
        let (ready, mut snapshots) = mpsc::channel(READY);
        let first = sender.shared.building().state().0 + 1;
        thread::spawn(move || {
            // Two buildings in turn: every flat of the next one differs.
            let both = [flats(first), flats(first + 1)].map(|flats| flats.expect("as those before"));
            for (revision, flats) in (first..).zip(both.iter().cycle()) {
                let building = Building::new(revision, flats.clone());
                let parts = sign_all(&building.snapshot(None, PART));
                if ready.blocking_send((building, parts)).is_err() {
                    return;
                }
            }
        });
        let (stop, mut stopped) = watch::channel(false);
        let sender = sender.clone();
        let task = tokio::spawn(async move {
            let (mut brought, mut since) = (Brought::default(), None);
            loop {
                let (building, parts): (Building, Vec<String>) = tokio::select! {
                    // An error: nobody is left who could stop us.
                    _ = stopped.wait_for(|stop| *stop) => return Ok(brought),
                    next = snapshots.recv() => next.context("no more snapshots")?,
                };
                *sender.shared.building() = building;
                let begun = clock::mono();
                let since = *since.get_or_insert_with(|| {
                    println!("begun");
                    begun
                });
                sender.publish(parts).await?;
                sender.in_force().await?;
                let end = clock::mono();
                brought.count += 1;
                brought.under_way += end.since(begun);
                brought.time = end.since(since);
            }
        });
        Self { task, stop }
    }

    /// The one under way comes into force first.
    async fn end(self) -> anyhow::Result<Brought> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

fn flats(revision: u64) -> anyhow::Result<Flats> {
    let flats: Vec<Value> = daemon::flats(revision).collect();
    read_flats(&json!({ "flats": flats })).map_err(|invalid| anyhow::anyhow!("{invalid:?}"))
}

fn sign_all(objects: &[String]) -> Vec<String> {
    objects.iter().map(|object| signed(object)).collect()
}

/// A message to the gateway: its object with the gateway's name, as a JWS.
fn signed(object: &str) -> String {
    let members = object.strip_prefix('{').unwrap_or(object);
    signing::sign(&format!("{{\"gateway\":\"bench\",{members}"), SIGNING_SEED)
}

fn connect(dir: &Path, port: u16) -> anyhow::Result<(AsyncClient, EventLoop)> {
    let pem =
        |name: &str| -> anyhow::Result<Pem> { Ok(Pem::new(name, Zeroizing::new(fs::read(dir.join(name))?))) };
    let tls = client_config(Some(&pem("ca.pem")?), Some((&pem("cloud.pem")?, &pem("cloud.key")?)))?;
    let mut options = MqttOptions::new("cloud", ("localhost", port));
    options.set_clean_start(true).set_max_packet_size(Some(1 << 20)).set_request_channel_capacity(QUEUE);
    // The broker stands still in parts of the bench.
    options.set_keep_alive(600).set_connect_timeout(PATIENCE);
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
    Ok(AsyncClient::builder(options).build())
}

async fn poll(mut events: EventLoop, client: AsyncClient, shared: Arc<Shared>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                for (topic, qos) in [
                    ("events", QoS::AtMostOnce),
                    ("sync/request", QoS::AtLeastOnce),
                    ("sync/state", QoS::AtLeastOnce),
                ] {
                    client.try_subscribe(format!("{ROOT}/{topic}"), qos).expect("there is room at the start");
                }
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                take(topic.strip_prefix(ROOT).unwrap_or_default(), &publish.payload, &client, &shared);
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("the cloud has lost the broker: {error}");
                return;
            }
        }
    }
}

fn take(topic: &str, payload: &[u8], client: &AsyncClient, shared: &Arc<Shared>) {
    if topic == "/events" {
        if let Some(seen) = seen(payload) {
            *shared.events() = seen;
        }
        return;
    }
    let message: Value = serde_json::from_slice(payload).unwrap_or_default();
    if topic == "/sync/state" {
        if !message["error"].is_null() {
            eprintln!("the gateway refuses the flats: {}", message["error"]);
        }
        let digest = message["digest"].as_str().unwrap_or_default().to_owned();
        shared.state.send_replace((message["revision"].as_u64().unwrap_or_default(), digest));
    } else if topic == "/sync/request" {
        let sender = Sender { client: client.clone(), shared: shared.clone() };
        // Not from here: the event loop would wait for itself.
        tokio::spawn(async move {
            let building = sender.shared.clone();
            let answer = spawn_blocking(move || sign_all(&building.building().answer(&message)));
            let sent = match answer.await {
                Ok(answer) => sender.publish(answer).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = sent {
                eprintln!("the gateway's question stays without an answer: {error:#}");
            }
        });
    }
}

/// Which event it is, by its `id`, without reading all of it: a million of them come.
fn seen(event: &[u8]) -> Option<Seen> {
    const MEMBER: &str = "\"id\":\"";
    let (_, rest) = std::str::from_utf8(event).ok()?.split_once(MEMBER)?;
    let (journal, sequence) = rest.split('"').next()?.split_once('-')?;
    Some(Seen { journal: journal.to_owned(), sequence: sequence.parse().ok()? })
}

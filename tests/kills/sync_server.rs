//! The cloud's sync server: the building changes all the time, and the gateway is to have it as it is in the end.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use intercom_gateway::flats::FlatRecord;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::{Value, json};

use crate::{
    building::{Building, Flats, read_flats},
    support::{cloud::ROOT, flats::flat},
};

/// Between two changes of the building.
const CHANGE: Duration = Duration::from_millis(120);
/// Flats that come, change and go, beside those that stay.
const CHANGING: u64 = 40;

/// A running sync server. Dropping it ends it.
pub struct SyncServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    building: Mutex<Building>,
    /// The last `sync/state` that came.
    state: Mutex<Value>,
    changing: AtomicBool,
    changes: AtomicU64,
    ended: AtomicBool,
}

impl SyncServer {
    /// Serves `document` (`{"revision":…,"flats":[…]}`), changes it from then on.
    pub fn start(port: u16, document: &Value) -> Self {
        Self::of(port, document, true)
    }

    /// Serves `document` as it is.
    pub fn calm_with(port: u16, document: &Value) -> Self {
        Self::of(port, document, false)
    }

    fn of(port: u16, document: &Value, is_changing: bool) -> Self {
        let revision = document["revision"].as_u64().unwrap();
        let shared = Arc::new(Shared {
            building: Mutex::new(Building::new(revision, read_flats(document).unwrap())),
            state: Mutex::default(),
            changing: AtomicBool::new(is_changing),
            changes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || runtime.block_on(serve(port, serving)));
        Self { shared, thread: Some(thread) }
    }

    /// The building stays as it is; how often it has changed.
    pub fn calm(&self) -> u64 {
        self.shared.changing.store(false, Ordering::SeqCst);
        self.shared.changes.load(Ordering::SeqCst)
    }

    /// Whether the gateway has said that it has the building as it is.
    pub fn is_copied(&self) -> bool {
        let building = lock(&self.shared.building);
        let (revision, digest) = building.state();
        let state = lock(&self.shared.state);
        state["revision"] == revision && state["digest"] == digest
    }

    /// Whether these flats are the building's, by their digest.
    pub fn is_copy(&self, exported: &Value) -> bool {
        let copy = Building::new(exported["revision"].as_u64().unwrap(), read_flats(exported).unwrap());
        copy.state() == lock(&self.shared.building).state()
    }
}

impl Drop for SyncServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic there is found out by what was not copied.
            let _ = thread.join();
        }
    }
}

async fn serve(port: u16, shared: Arc<Shared>) {
    let mut options = MqttOptions::new("sync-server", ("127.0.0.1", port));
    options.set_clean_start(true).set_max_packet_size(Some(1 << 20)).set_keep_alive(10);
    let (client, mut event_loop) = AsyncClient::builder(options).build();
    let (answering, heard) = (client.clone(), Arc::clone(&shared));
    let poll = tokio::spawn(async move {
        loop {
            match event_loop.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    for topic in ["sync/request", "sync/state"] {
                        answering.try_subscribe(format!("{ROOT}/{topic}"), QoS::AtLeastOnce).unwrap();
                    }
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    let message: Value = serde_json::from_slice(&publish.payload).unwrap();
                    if publish.topic.ends_with(b"sync/state") {
                        *lock(&heard.state) = message;
                        continue;
                    }
                    let answers = lock(&heard.building).answer(&message);
                    answers.into_iter().for_each(|answer| send(&answering, answer));
                }
                Ok(_) => {}
                // The broker was killed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    while !shared.ended.load(Ordering::SeqCst) {
        tokio::time::sleep(CHANGE).await;
        if shared.changing.load(Ordering::SeqCst) {
            let number = shared.changes.fetch_add(1, Ordering::SeqCst);
            let delta = {
                let mut building = lock(&shared.building);
                let flats = changed(building.flats().clone(), number);
                building.become_these(flats)
            };
            send(&client, delta);
        }
    }
    poll.abort();
}

/// A full queue, or a connection that breaks: the gateway will see a gap, and ask.
fn send(client: &AsyncClient, payload: String) {
    let _ = client.try_publish(format!("{ROOT}/sync/flats"), payload, PublishOptions::new(QoS::AtLeastOnce));
}

/// One flat comes, has another key, or goes.
fn changed(mut flats: Flats, number: u64) -> Flats {
    let id = 1000 + number % CHANGING;
    if number / CHANGING % 3 == 2 {
        flats.remove(&(1, id));
    } else {
        let key = format!("{:014X}", 0xFF_0000_0000 + number);
        flats.insert((1, id), record(&flat(1, id, id, &[(id, &key)])));
    }
    flats
}

fn record(flat: &Value) -> FlatRecord {
    let flats = read_flats(&json!({"flats": [flat]})).unwrap();
    flats.into_values().next().unwrap()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

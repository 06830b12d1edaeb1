//! One run: a daemon on a sick disk, which is healed later, and what must hold all the while.

use std::{
    collections::BTreeMap,
    fs,
    io::BufRead,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use intercom_gateway::{
    clock::{self, Clock, Trust},
    domain::{HealthCode, Mono},
    gateway::control::{Client, JournalAsked, Request},
    store::{Store, StoreOptions},
};
use serde_json::{Value, json};

use crate::{
    plan::{Before, Plan},
    support::{
        Daemon, Site,
        flats::{self, KNOWN},
        simulated::Panels,
        site::ENTRANCE,
    },
};

pub const PANEL: &str = "entrance-1";

/// A card that comes with an import while the disk is sick.
const NEW: &str = "0BADCAFE";
/// The revision of that import.
const IMPORTED: u64 = 60;

/// How long the disk stays sick, at least: longer than the store waits before it goes on in memory.
const SICK: Duration = Duration::from_secs(5);
/// The first cards of a link are stale, and a busy machine is slow.
pub const OPENS: Duration = Duration::from_secs(45);
/// Within this time after healing events are written to the disk again: it is looked at 5 s, 15 s and 35 s after it was
/// given up.
const HEALS: Duration = Duration::from_secs(45);
/// Within this time events that cannot be written are a reason in health, once there are some.
const TOLD: Duration = Duration::from_secs(8);

/// State directories to start from, made by a daemon in health.
pub struct Templates {
    place: tempfile::TempDir,
    token: String,
    told: Told,
}

impl Templates {
    pub fn make() -> Self {
        let place = tempfile::tempdir().unwrap();
        let site = site();
        let panels = Panels::start(&site, true);
        site.import(57, &[flats::known()]).ok();
        let token = site.run(["token", "add", "test"]).ok().trim().to_owned();
        let daemon = Daemon::start(&site);
        opens(&panels, OPENS).unwrap();
        // The newest of both is in the WALs.
        site.import(58, &[flats::known(), flats::flat(1, 12, 8, &[])]).ok();
        opens(&panels, OPENS).unwrap();
        let mut told = Told::default();
        while !told.listen(&site).any(|event| event["type"] == "intercom.door.unlocked") {}
        copy(&site.state_dir(), &place.path().join("cut off"));
        daemon.stop();
        copy(&site.state_dir(), &place.path().join("ended"));
        Self { place, token, told }
    }

    /// A token of the endpoint.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Lays one down; what had been told of it.
    pub fn lay(&self, before: Before, state: &Path) -> Told {
        match before {
            Before::Nothing => return Told::default(),
            Before::CutOff => copy(&self.place.path().join("cut off"), state),
            Before::Ended => copy(&self.place.path().join("ended"), state),
        }
        self.told.clone()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let kind = fs::metadata(&from).unwrap().file_type();
        if kind.is_dir() {
            copy(&from, &to.join(name));
        } else if kind.is_file() {
            fs::copy(&from, to.join(name)).unwrap();
        }
    }
}

pub fn site() -> Site {
    Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"))
}

/// Swipes the known card until the door opens.
pub fn opens(panels: &Panels, within: Duration) -> Result<(), String> {
    opens_for(panels, KNOWN, within)
}

fn opens_for(panels: &Panels, card: &str, within: Duration) -> Result<(), String> {
    let end = clock::mono() + within;
    while clock::mono() < end {
        panels.try_card(PANEL, card);
        if panels.opened_within(Duration::from_secs(1), PANEL) {
            return Ok(());
        }
    }
    Err(format!("the door stays shut for {within:?}"))
}

/// Events that somebody was told to be recorded, by journal and sequence.
#[derive(Clone, Default)]
pub struct Told(BTreeMap<(String, u64), String>);

impl Told {
    /// Asks the daemon for its events, by its control socket; returns them.
    pub fn listen(&mut self, site: &Site) -> impl Iterator<Item = Value> {
        let answer = match Client::connect(&site.config().gateway.control_socket()) {
            Ok(Some(client)) => client.ask(&Request::Journal(JournalAsked::default())).ok(),
            _ => None,
        };
        let lines: Vec<String> =
            answer.map(|answer| answer.rest.lines().map_while(Result::ok).collect()).unwrap_or_default();
        // A daemon that ends in the middle of a line has not told it.
        let events: Vec<Value> = lines.iter().map_while(|line| serde_json::from_str(line).ok()).collect();
        lines.iter().take(events.len()).for_each(|line| self.hear(line));
        events.into_iter()
    }

    /// Asks the endpoint for the newest of its events.
    fn ask(&mut self, daemon: &Daemon, token: &str) {
        let (status, page) = daemon.ask("GET", "/api/local/v1/events", token);
        // Without tokens or without a journal that can be read, nobody is told anything.
        if status == 200 {
            page["data"].as_array().unwrap().iter().for_each(|event| self.hear(&event.to_string()));
        }
    }

    /// Somebody was told this event.
    pub fn hear(&mut self, event: &str) {
        let event: Value = serde_json::from_str(event).unwrap();
        let journal = event["data"]["journal"].as_str().unwrap().to_owned();
        let sequence = event["sequence"].as_str().unwrap().parse().unwrap();
        let text = event.to_string();
        let known = self.0.entry((journal, sequence)).or_insert_with(|| text.clone());
        assert_eq!(*known, text, "one sequence, two events");
    }
}

/// The same text for the same object.
fn normal(event: &str) -> String {
    serde_json::from_str::<Value>(event).unwrap().to_string()
}

/// What became of a run, for the summary.
#[derive(Default)]
pub struct Outcome {
    pub failed_calls: usize,
    /// Events went into memory.
    pub in_memory: bool,
    /// No key could be read.
    pub without_keys: bool,
    pub events: usize,
}

/// A daemon on a sick disk, and who watches it.
struct Run<'a> {
    plan: &'a Plan,
    site: Site,
    panels: Panels,
    daemon: Daemon,
    token: &'a str,
    told: Told,
    started: Mono,
}

/// The daemon on a disk that is sick as `plan` says, until there is a file `healed` beside its state directory.
pub fn sick(site: &Site, shim: &Path, plan: &str) -> Command {
    let mut command = site.command(["run"]);
    command
        .env("LD_PRELOAD", shim)
        .env("SICK_DIR", site.state_dir())
        .env("SICK_PLAN", plan)
        .env("SICK_HEALED", site.path("healed"))
        .env("SICK_LOG", site.path("failures"));
    command
}

/// Runs a plan; panics where something does not hold.
pub fn run(plan: &Plan, templates: &Templates, shim: &Path) -> Outcome {
    let site = site();
    let told = templates.lay(plan.before, &site.state_dir());
    let panels = Panels::start(&site, true);
    let (healed, failures) = (site.path("healed"), site.path("failures"));
    let started = clock::mono();
    let daemon = Daemon::spawn(&mut sick(&site, shim, &plan.to_string()));
    let mut run = Run { plan, site, panels, daemon, token: &templates.token, told, started };

    let without_keys = run.expect_the_door();
    let imported = run.import();
    if imported {
        opens_for(&run.panels, NEW, OPENS).expect("what is imported is in force");
    }
    let without_keys = without_keys && !imported;
    while clock::mono().since(run.started) < SICK {
        run.swipe(without_keys);
    }
    run.expect_trouble_to_be_told(without_keys);
    let in_memory = run.daemon.log.count("events are kept in memory") > 0;
    fs::write(&healed, "").unwrap();
    run.expect_events_on_the_disk(without_keys);
    // A control socket that could not be made is tried again after 10 s.
    let end = clock::mono() + OPENS;
    while plan.before == Before::Nothing && !imported && !run.import() {
        assert!(clock::mono() < end, "after healing flats can be imported");
        std::thread::sleep(Duration::from_millis(500));
    }
    opens(&run.panels, OPENS).expect("after healing");
    run.swipe(false);
    let failures = fs::read_to_string(&failures).unwrap_or_default();
    let Run { site, panels, daemon, mut told, .. } = run;
    let end = clock::mono() + OPENS;
    while told.listen(&site).count() == 0 {
        assert!(clock::mono() < end, "after healing the journal can be read");
        std::thread::sleep(Duration::from_millis(500));
    }
    let log = daemon.stop();
    assert!(!log.iter().any(|line| line.contains("panicked")), "a thread has panicked: {log:#?}\n{failures}");
    verify(&site.state_dir(), &told, plan.is_full());
    let cache = Store::open_read_only(&site.state_dir()).unwrap().cache().state_on_disk().unwrap();
    let expected = if imported || plan.before == Before::Nothing { IMPORTED } else { 58 };
    assert!(cache.flats > 0 && cache.revision >= Some(expected), "the flats are lost: {cache:?}");
    if plan.seed.is_multiple_of(4) {
        wait_for_the_lock(&site.state_dir());
        let daemon = Daemon::start(&site);
        opens(&panels, OPENS).expect("at the next start");
        // It looks around once a second.
        let end = clock::mono() + OPENS;
        while daemon.health()["status"] != "ok" {
            assert!(clock::mono() < end, "{}", daemon.health());
            std::thread::sleep(Duration::from_millis(200));
        }
        daemon.stop();
    }
    Outcome { failed_calls: failures.lines().count(), in_memory, without_keys, events: told.0.len() }
}

/// Waits until nobody has the store: a process that another thread begins has all files of this one for a moment.
fn wait_for_the_lock(dir: &Path) {
    let lock = fs::File::open(dir.join("store.lock")).unwrap();
    lock.lock().unwrap();
}

impl Run<'_> {
    /// The door opens; or no key can be read, and then the line is polled, and health says so. Returns which.
    fn expect_the_door(&mut self) -> bool {
        let unread = |run: &Self| {
            run.plan.before == Before::Nothing
                || run.daemon.log.count("no key is known until the cloud sends the flats") > 0
                || run.daemon.log.count("the keys cannot be loaded, so none opens until they can") > 0
        };
        let end = self.started + OPENS;
        while clock::mono() < end {
            if opens(&self.panels, Duration::from_secs(1)).is_ok() {
                return false;
            }
            if unread(self) {
                self.panels.try_card(PANEL, KNOWN);
                self.panels.wait_read(PANEL);
                if self.plan.before != Before::Nothing {
                    self.daemon.wait_health(HealthCode::Storage);
                }
                return true;
            }
        }
        panic!("the door stays shut");
    }

    /// A resident at the door, and somebody who reads the journal.
    fn swipe(&mut self, without_keys: bool) {
        if without_keys {
            self.panels.try_card(PANEL, KNOWN);
            std::thread::sleep(Duration::from_millis(300));
        } else {
            opens(&self.panels, OPENS).expect("while the disk is sick");
        }
        self.told.listen(&self.site).for_each(drop);
        self.told.ask(&self.daemon, self.token);
        std::thread::sleep(Duration::from_millis(200));
    }

    /// Imports flats through the daemon; whether that is told to be done.
    fn import(&self) -> bool {
        let new = flats::flat(1, 12, 8, &[(102, "0000000BADCAFE")]);
        let document = json!({"revision": IMPORTED, "flats": [flats::known(), new]}).to_string();
        match Client::connect(&self.site.config().gateway.control_socket()) {
            Ok(Some(client)) => client.ask_with(&Request::Import, &mut document.as_bytes()).is_ok(),
            _ => false,
        }
    }

    fn expect_trouble_to_be_told(&mut self, without_keys: bool) {
        let Some(from) = self.plan.refuses_events_from() else { return };
        let end = clock::mono() + Duration::from_millis(from.into()) + TOLD;
        while !self.daemon.has_reason(HealthCode::Storage) {
            assert!(clock::mono() < end, "health names no trouble: {}", self.daemon.health());
            self.swipe(without_keys);
        }
    }

    fn log_says_that_events_wait(&self) -> bool {
        let lines = self.daemon.log.so_far();
        let last =
            |texts: [&str; 2]| lines.iter().rposition(|line| texts.iter().any(|text| line.contains(text)));
        let waits = last(["events are kept in memory", "events cannot be written"]);
        waits > last(["events are written to the disk again", "events are written again"])
    }

    /// After healing: a reason in health for the journal ends, doors open all the while.
    fn expect_events_on_the_disk(&mut self, without_keys: bool) {
        let end = clock::mono() + HEALS;
        loop {
            let health = self.daemon.health_for(self.token);
            let is_of_journal = |reason: &Value| match reason["message"].as_str() {
                Some(message) => message.contains("journal"),
                // Without a token there are codes alone.
                None => self.log_says_that_events_wait(),
            };
            let mut reasons = health["reasons"].as_array().unwrap().iter();
            if !reasons.any(|reason| reason["code"] == "storage" && is_of_journal(reason)) {
                return;
            }
            assert!(clock::mono() < end, "the journal is not on the disk again: {health}");
            self.swipe(without_keys);
        }
    }
}

pub fn options(dir: &Path) -> StoreOptions {
    let clock = Arc::new(Clock::system(Trust::Always));
    StoreOptions {
        dir: dir.to_path_buf(),
        keep: Duration::from_secs(30 * 86_400),
        max_events: 1_000_000,
        max_journal_bytes: None,
        alone: true,
        now: Arc::new(move || clock.stamp()),
        clock_is_steady: Arc::new(|| true),
    }
}

/// Everything that was told is on the disk, once; nothing is damaged.
pub fn verify(dir: &Path, told: &Told, was_full: bool) {
    let names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let aside = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.contains(".damaged") || name.contains(".newer") || name.contains(".unread")
    };
    assert!(!names.iter().any(aside), "nothing is damaged by calls that fail: {names:?}");
    let (store, report) = Store::open(options(dir)).unwrap();
    assert_eq!((&report.salvage, &report.cache_remade), (&None, &None));
    let journal = store.journal();
    let kept = journal.archives().borrow().to_vec();
    let mut found: BTreeMap<(String, u64), String> = BTreeMap::new();
    let mut oldest = BTreeMap::new();
    let current = journal.position().borrow().clone();
    for position in kept.into_iter().chain([current]) {
        oldest.insert(position.journal.to_string(), position.oldest);
        let reader = journal.reader_of(&position.journal).unwrap();
        for event in reader.read(1, usize::MAX).unwrap() {
            let text = normal(&event.to_json(&"test".parse().unwrap()));
            let before = found.insert((event.journal.to_string(), event.sequence), text);
            assert_eq!(before, None, "one sequence, two events");
        }
    }
    for (at, event) in &told.0 {
        // On a full disk the oldest make room.
        let made_room = was_full && oldest.get(&at.0).is_some_and(|oldest| at.1 < *oldest);
        assert!(
            made_room || found.get(at) == Some(event),
            "{at:?} was told, and is {:?} now: {event}; journals and their oldest: {oldest:?}",
            found.get(at)
        );
    }
    store.shutdown();
}

//! The daemon with a panel in an attacker's hands, and somebody on the wire.
//!
//! What is asserted is what outsiders see: the journal, the state of panels and health over HTTP, the files of the
//! panels, and what reached the panel.

mod evidence;
mod held_back;
mod installer;
mod keys;
mod open_doors;
mod session;

use std::time::Duration;

use intercom_gateway::clock;
use serde_json::Value;

use crate::support::{
    Daemon, Events, Site,
    flats::{self, KNOWN, KNOWN_KEY},
    lines::PATIENCE,
    rogue::Rogue,
};

/// The key of a panel that has one.
const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";
/// The default key of all OSDP panels.
const SCBK_D: &str = "303132333435363738393a3b3c3d3e3f";
/// No key at all, as a careless program writes it.
const ZEROS: &str = "00000000000000000000000000000000";

/// The card that is held back: record 101.
const HELD: &str = KNOWN;
/// The card of the person who comes later: record 102.
const FRESH: &str = "0BADCAFE";
const FRESH_ID: u64 = 102;

const OPEN_DOOR: &str = "/api/admin/v1/intercoms/1/open-door";
const SWIPED: &str = "intercom.key.swiped";
const UNLOCKED: &str = "intercom.door.unlocked";
const SECURED: &str = "intercom.panel.secured";
const SUSPECT: &str = "intercom.panel.suspect";
const CHANGED: &str = "intercom.input.changed";

/// A panel counts as `online` for 8 s without an answer in order; a busy machine takes longer to say so.
const NOTICED: Duration = Duration::from_secs(20);
/// A card that opened nothing is presented again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// Bounds an observation in which the gateway may have little to say.
const WATCHED: Duration = Duration::from_secs(20);

/// Settings of the panel at which a secure channel is required.
const REQUIRED: &str = "secure_channel = \"required\"\nsecure_key_file = \"{dir}/key\"";
/// Options of the panel that has the key.
const WITH_KEY: [&str; 2] = ["--key", KEY];

/// One entrance with a rogue panel on a line of its own, and the daemon.
struct Entrance {
    rogue: Rogue,
    daemon: Daemon,
    events: Events,
    token: String,
    site: Site,
}

/// Returns a configuration with the panel `entrance-1` at its own line.
fn one_panel(name: &str, settings: &str) -> String {
    let lock = if settings.contains("lock =") { "" } else { "lock = { output = 0 }\n" };
    format!("[[intercom]]\nid = 1\n\n{}", panel(name, "street", &format!("{lock}{settings}")))
}

/// Returns the configuration of a line and its panel.
fn panel(name: &str, bus: &str, settings: &str) -> String {
    format!(
        "[[bus]]\nname = \"{bus}\"\nport = \"{{dir}}/{bus}\"\nprotocol = \"osdp\"\n\n\
         [[panel]]\nname = \"{name}\"\nintercom = 1\nbus = \"{bus}\"\naddress = 0\n{settings}\n\n"
    )
}

/// Makes a place with the key and two cards.
fn site(configuration: &str) -> Site {
    let site = Site::new(configuration);
    site.write("key", KEY);
    site.import(57, &[flats::flat(1, 11, 7, &[(101, KNOWN_KEY), (FRESH_ID, "0000000BADCAFE")])]).ok();
    site
}

impl Entrance {
    /// Starts a panel with these options, and the daemon with these settings of it.
    fn start(settings: &str, options: &[&str]) -> Self {
        Self::at(site(&one_panel("entrance-1", settings)), options)
    }

    /// Starts everything in a place that is prepared.
    fn at(site: Site, options: &[&str]) -> Self {
        let token = site.run(["token", "add", "watcher"]).ok().trim().to_owned();
        let rogue = Rogue::start(&site.path("street"), options);
        let (daemon, events) = serve(&site, 1);
        Self { rogue, daemon, events, token, site }
    }

    /// Starts a panel with its own key, and waits until it is online in its secure channel.
    fn secured(settings: &str) -> Self {
        let mut entrance = Self::start(&format!("{REQUIRED}\n{settings}"), &WITH_KEY);
        entrance.events.wait_type(SECURED);
        entrance.wait_state("online");
        entrance
    }

    /// Starts the daemon again, with this configuration.
    fn restart(self, configuration: &str) -> Self {
        let Self { rogue, daemon, token, site, .. } = self;
        daemon.stop();
        site.configure(configuration);
        let from = site.run(["journal", "--json"]).ok().lines().count() + 1;
        let (daemon, events) = serve(&site, from.try_into().unwrap());
        Self { rogue, daemon, events, token, site }
    }

    /// Returns the rows of `GET /api/local/v1/panels`.
    fn rows(&self) -> Vec<Value> {
        let (status, rows) = self.daemon.ask("GET", "/api/local/v1/panels", &self.token);
        assert_eq!(status, 200, "{rows}");
        rows["data"].as_array().unwrap().clone()
    }

    /// Returns the row of the first panel; null before there is any.
    fn row(&self) -> Value {
        self.rows().into_iter().next().unwrap_or_default()
    }

    /// Waits for a row that is such, for a time.
    fn row_within(&self, time: Duration, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        found_within(time, || Some(self.row()).filter(&is_it))
    }

    /// Waits for a row that is such.
    fn wait_row(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.row_within(PATIENCE, is_it).unwrap_or_else(|| panic!("waited for {what}: {}", self.row()))
    }

    fn wait_state(&self, state: &str) -> Value {
        self.wait_row(state, |row| row["state"] == state)
    }

    /// Waits until the panel's state says that something is wrong with it, and why.
    fn wait_trouble(&self) -> Value {
        self.wait_row("a state that is in trouble", is_trouble)
    }

    /// Returns whether health says within a moment that something is wrong.
    fn is_degraded(&self) -> bool {
        found_within(AGAIN, || (self.daemon.health()["status"] == "degraded").then_some(())).is_some()
    }

    /// Presents the fresh card until it opens.
    fn open(&mut self) {
        let opened = |event: &Value| event["type"] == UNLOCKED && event["data"]["by"]["id"] == FRESH_ID;
        let works = (0..8).any(|_| {
            self.rogue.card(FRESH);
            self.events.wait_within(AGAIN, opened).is_some()
        });
        assert!(works, "the card opens nothing: {:#?}", self.events.so_far());
    }

    /// Returns the decisions on a card, in their order.
    fn decisions(&self, card: &str) -> Vec<String> {
        let is_it = |event: &&Value| event["type"] == SWIPED && event["data"]["raw"] == card;
        let swipes = self.events.so_far();
        swipes
            .iter()
            .filter(is_it)
            .map(|event| event["data"]["decision"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Returns the reports of something suspect, by their cause.
    fn suspects(&self, cause: &str) -> Vec<Value> {
        let is_it = |event: &Value| event["type"] == SUSPECT && event["data"]["cause"] == cause;
        self.events.so_far().into_iter().filter(is_it).collect()
    }

    /// Returns the panel's file in the state directory.
    fn note(&self) -> Value {
        let note = std::fs::read(self.site.path("state/panels/entrance-1.json")).unwrap();
        serde_json::from_slice(&note).unwrap()
    }
}

/// Starts the daemon, and waits until it answers over HTTP: doors come first.
fn serve(site: &Site, from: u64) -> (Daemon, Events) {
    let mut daemon = Daemon::start(site);
    daemon.log.wait("the endpoint", |line| line.contains("http, without TLS").then_some(()));
    let events = daemon.events(site, from);
    (daemon, events)
}

/// Looks again and again for a time.
fn found_within<T>(time: Duration, find: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = clock::mono() + time;
    loop {
        let found = find();
        if found.is_some() || clock::mono() >= deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_trouble(row: &Value) -> bool {
    (row["state"] == "offline" || row["state"] == "insecure") && row["error"].is_string()
}

/// Returns how many events of these there are, at most, within any minute.
fn most_in_a_minute(events: &[Value]) -> usize {
    let uptime = |event: &Value| event["data"]["uptime_ms"].as_u64().unwrap();
    let within =
        |first: u64| events.iter().map(uptime).filter(|&at| (first..first + 60_000).contains(&at)).count();
    events.iter().map(|event| within(uptime(event))).max().unwrap_or(0)
}

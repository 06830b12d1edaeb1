//! Everything is killed at random, SIGKILL, again and again, while people come and go: the gateway, the broker, the cloud's
//! consumer. What a panel saw accepted is in the journal, but for the commit window; what is in the journal reaches the
//! consumer, once; where the broker has lost something, the consumer knows it and has it replayed.
//!
//! ```text
//! simulated panels ──► intercom-gateway ──► mosquitto ──► consumer ──► a file
//!  (this process)        ✂ (journal)          ✂             ✂
//! ```
//! `cargo test --release --test kills -- --release-proof` kills 1,000 times instead of 60; `--seed N` makes other choices.

#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/cloud/building.rs"]
mod building;
mod consumer;
mod load;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "tests/parts uses the rest")]
mod sync_server;
mod verdict;
mod window;
mod witness;

use std::{path::PathBuf, time::Duration};

use intercom_gateway::{clock, domain::Mono};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use self::{
    consumer::Consumer,
    load::Load,
    support::{
        Daemon, Site,
        cloud::{Cloud, verdict as verdict_of},
        flats,
        lines::PATIENCE,
        mosquitto::Mosquitto,
    },
    sync_server::SyncServer,
    verdict::{Seen, Verdict},
    window::Window,
    witness::Witness,
};

const PANELS: [&str; 4] = ["street-0", "street-1", "street-2", "street-3"];
const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";
/// Every third card opens, so that there are events of doors too.
const KNOWN_CARDS: u32 = 3000;

/// Kills of a scenario, of which there are two.
const KILLS: u32 = 30;
const RELEASE_KILLS: u32 = 500;

/// What is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// `confirm = "cloud"`, and the broker forgets all that it had at each kill.
    TheCloudsWord,
    /// `confirm = "broker"`, and the broker writes down once a second what it has.
    TheBrokersWord,
}

impl Scenario {
    const ALL: [Self; 2] = [Self::TheCloudsWord, Self::TheBrokersWord];

    fn name(self) -> &'static str {
        match self {
            Self::TheCloudsWord => "with_the_clouds_word_nothing_is_lost_whatever_dies",
            Self::TheBrokersWord => "with_the_brokers_word_the_consumer_sees_every_gap_and_has_it_filled",
        }
    }
}

/// A harness of its own, for the consumer is this program too; speaks as much of libtest's language as cargo and nextest
/// need.
fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((role, arguments)) = arguments.split_first()
        && role == consumer::ROLE
    {
        return consumer::be_the_consumer(arguments);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        let tests = Scenario::ALL.iter().filter(|_| !has("--ignored"));
        tests.for_each(|scenario| println!("{}: test", scenario.name()));
        return Ok(());
    }
    let seed_at = arguments.iter().position(|argument| argument == "--seed").map(|flag| flag + 1);
    let seed = seed_at.and_then(|at| arguments.get(at)).map_or(Ok(1), |seed| seed.parse())?;
    let kills = if has("--release-proof") { RELEASE_KILLS } else { KILLS };
    let is_filter = |at: usize| !arguments[at].starts_with("--") && Some(at) != seed_at;
    let filters: Vec<&String> =
        (0..arguments.len()).filter(|&at| is_filter(at)).map(|at| &arguments[at]).collect();
    for scenario in Scenario::ALL {
        if filters.is_empty() || filters.iter().any(|filter| scenario.name().contains(*filter)) {
            println!("{}", scenario.name());
            Stage::set(scenario).run(kills, seed).print();
        }
    }
    Ok(())
}

/// All who may be killed.
struct Stage {
    scenario: Scenario,
    site: Site,
    broker: Mosquitto,
    /// Is not killed: what it says is the truth.
    sync_server: SyncServer,
    consumer: Option<Consumer>,
    daemon: Option<Daemon>,
    file: PathBuf,
    window: Window,
    /// When the gateway was killed.
    gateway_kills: Vec<Mono>,
    kills: u32,
}

impl Stage {
    fn set(scenario: Scenario) -> Self {
        let persistence = match scenario {
            Scenario::TheCloudsWord => "",
            Scenario::TheBrokersWord => "persistence true\npersistence_location DIR/\nautosave_interval 1\n",
        };
        let broker =
            Mosquitto::with(&format!("allow_anonymous true\n{persistence}max_inflight_messages 100\n"));
        let site = Site::new(&configuration(scenario, broker.port));
        site.write("key", KEY);
        let code = |card: u32| format!("{card:014X}");
        let codes: Vec<String> = (0..KNOWN_CARDS).map(|card| code(card * 3)).collect();
        let keys: Vec<(u64, &str)> = (1..).zip(codes.iter().map(String::as_str)).collect();
        let flat = flats::flat(1, 11, 7, &keys);
        let sync_server = SyncServer::start(broker.port, &json!({"revision": 57, "flats": [flat]}));
        site.import(57, &[flat]).ok();
        let file = site.path("consumed");
        let window = Window::new(site.run(["token", "add", "prometheus"]).ok().trim());
        let mut stage = Self {
            scenario,
            site,
            broker,
            sync_server,
            consumer: None,
            daemon: None,
            file,
            window,
            gateway_kills: Vec::new(),
            kills: 0,
        };
        stage.start_consumer();
        stage.daemon = Some(Daemon::start(&stage.site));
        stage
    }

    fn start_consumer(&mut self) {
        let confirm = self.scenario == Scenario::TheCloudsWord;
        self.consumer = Some(Consumer::start(self.broker.port, &self.file, confirm));
    }

    fn run(mut self, kills: u32, seed: u64) -> Verdict {
        let mut random = StdRng::seed_from_u64(seed);
        let (load, witness) = (Load::start(&self.site), Witness::start(&self.site.path("")));
        while self.kills < kills {
            // People come through, and the kill comes at any moment of what that leads to.
            load.go_on(random.random_range(1..40));
            self.window.look(self.daemon.as_ref().expect("it runs"));
            std::thread::sleep(Duration::from_micros(random.random_range(0..40_000)));
            self.kill_somebody(&load, &mut random);
        }
        let (accepted, presented) = load.end();
        let slow_syncs = witness.end();
        let revisions = self.sync_server.calm();
        wait_until("the gateway has the cloud's flats", || self.sync_server.is_copied());
        let gaps = self.settle();
        let copy = self.site.run(["export", "-"]).ok();
        assert!(
            self.sync_server.is_copy(&serde_json::from_str(&copy).unwrap()),
            "the copy has another digest"
        );
        let journal = self.journal();
        let gateway_kills = std::mem::take(&mut self.gateway_kills);
        let window = self.window.end();
        let seen = Seen { accepted, presented, gateway_kills, slow_syncs, window, gaps, revisions };
        Verdict::of(&seen, &journal, &self.file)
    }

    /// Waits until this many more events have come to the consumer: the way to it is open.
    fn arrive(&self, more: usize) {
        let enough = consumer::count(&self.file) + more;
        wait_until("the consumer gets on", || consumer::count(&self.file) >= enough);
    }

    fn kill_somebody(&mut self, load: &Load, random: &mut StdRng) {
        self.kills += 1;
        if random.random_ratio(1, 3) {
            self.arrive(random.random_range(1..20));
        }
        match random.random_range(0..10) {
            0..5 => {
                let daemon = self.daemon.take().expect("it runs");
                daemon.kill();
                // Behind it: nothing that is accepted later can be lost to this one.
                self.gateway_kills.push(clock::mono());
                self.window.another_life();
                self.daemon = Some(Daemon::start(&self.site));
            }
            5..7 => {
                self.broker.kill();
                self.broker.start();
            }
            7..9 => {
                self.consumer = None;
                self.start_consumer();
            }
            // What the broker has taken for a consumer that is away, and not written down, is lost with it.
            _ => {
                self.arrive(1);
                self.consumer = None;
                load.go_on(20);
                self.broker.kill();
                self.kills += 1;
                self.broker.start();
                self.start_consumer();
            }
        }
    }

    /// Ends the gateway in order, and starts it once more, so that all that it has recorded until then goes up; and has what
    /// the consumer then knows to lack replayed. Gives how much that was.
    fn settle(&mut self) -> usize {
        self.daemon.take().expect("it runs").stop();
        let recorded = self.journal();
        self.daemon = Some(Daemon::start(&self.site));
        let last = recorded.last().expect("there are events");
        let has_last = || consumer::committed(&self.file).values().any(|event| event == last);
        wait_until("the last event has come", has_last);
        let gaps = match self.scenario {
            Scenario::TheCloudsWord => 0,
            Scenario::TheBrokersWord => self.heal(),
        };
        wait_until("all events have come", || consumer::count(&self.file) >= recorded.len());
        self.daemon.take().expect("it runs").stop();
        gaps
    }

    /// Has every hole in what the consumer has replayed; gives how many events were missing.
    fn heal(&self) -> usize {
        let (journal, gaps) = consumer::gaps(&self.file);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cloud = Cloud::connect(self.broker.port).await;
            let session = cloud.online(None).await;
            for gap in &gaps {
                let args = json!({"journal": journal, "from": gap.start(), "to": gap.end()});
                let result = cloud.ask("replay", args, &session).await;
                assert_eq!(verdict_of(&result), ("done", ""), "{result}");
            }
        });
        gaps.into_iter().map(Iterator::count).sum()
    }

    fn journal(&self) -> Vec<String> {
        self.site.run(["journal", "--json"]).ok().lines().map(str::to_owned).collect()
    }
}

fn configuration(scenario: Scenario, port: u16) -> String {
    let confirm = match scenario {
        Scenario::TheCloudsWord => "cloud",
        Scenario::TheBrokersWord => "broker",
    };
    let mut text = format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nconfirm = \"{confirm}\"\n\n[[intercom]]\nid = 1\n\n\
         [[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\nbaud = 230400\n"
    );
    for (address, panel) in PANELS.iter().enumerate() {
        text.push_str(&format!(
            "\n[[panel]]\nname = \"{panel}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0 }}\nsecure_channel = \"required\"\nsecure_key_file = \"{{dir}}/key\"\n"
        ));
    }
    text
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::mono() + PATIENCE;
    while !holds() {
        assert!(clock::mono() < deadline, "it did not come to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

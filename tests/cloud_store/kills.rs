//! Two gateways at two bridged brokers, two consumers and two keepers, all killed at random while people come and go.
//!
//! ```text
//! gateway-a ──► mosquitto A ═══ bridge ═══ mosquitto B ◄── gateway-b
//!   ✂            ✂ │    ▲                    ✂ │    ▲           ✂
//!           consumer ✂ keeper ✂           consumer ✂ keeper ✂
//!                  └────┴──── PostgreSQL ──────┴────┘
//! ```

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    part::{Part, prepare},
    support::{
        Daemon, Site, mosquitto::Mosquitto, postgres::Postgres, simulated::Panels, site::ENTRANCE, wait_until,
    },
};

const KILLS: u32 = 40;

/// A gateway, its panel and its broker's place in the list.
struct Gateway {
    id: &'static str,
    broker: usize,
    site: Site,
    panels: Panels,
    token: String,
    daemon: Option<Daemon>,
    cards: u32,
}

impl Gateway {
    fn new(id: &'static str, broker: usize, port: u16) -> Self {
        let site = Site::new(&format!(
            "[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nconfirm = \"cloud\"\n{ENTRANCE}secure_channel = \"off\"\n"
        ));
        let panels = Panels::start(&site, false);
        let token = site.run(["token", "add", "prometheus"]).ok().trim().to_owned();
        let mut gateway = Self { id, broker, site, panels, token, daemon: None, cards: 0 };
        gateway.start();
        gateway
    }

    fn start(&mut self) {
        self.daemon =
            Some(Daemon::spawn(self.site.command(["run"]).env("INTERCOM_GATEWAY__GATEWAY__ID", self.id)));
    }

    fn present(&mut self) {
        // A panel that holds as many as it can is polled by nobody just now.
        if self.panels.try_card("entrance-1", &format!("{:08X}", self.cards)) {
            self.cards += 1;
        }
    }

    fn journal(&self) -> Vec<String> {
        self.site.run(["journal", "--json"]).ok().lines().map(str::to_owned).collect()
    }

    fn is_delivered(&self) {
        let daemon = self.daemon.as_ref().expect("it runs");
        daemon.wait_metric(&self.token, "intercom_gateway_journal_undelivered", |undelivered| {
            undelivered == 0.0
        });
    }
}

struct Stage {
    postgres: Postgres,
    brokers: [Mosquitto; 2],
    gateways: [Gateway; 2],
    consumers: [Option<Part>; 2],
    keepers: [Option<Part>; 2],
    log: PathBuf,
}

impl Stage {
    fn set() -> Option<Self> {
        let postgres = Postgres::start()?;
        prepare(&postgres);
        let first = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 100\n");
        let second = Mosquitto::with(&format!(
            "allow_anonymous true\nmax_inflight_messages 100\nconnection first\naddress 127.0.0.1:{}\n\
             bridge_protocol_version mqttv50\ntopic intercom/# both 1\ncleansession false\nnotifications false\n\
             restart_timeout 1",
            first.port
        ));
        let gateways = [Gateway::new("gateway-a", 0, first.port), Gateway::new("gateway-b", 1, second.port)];
        let log = gateways[0].site.path("cloud.log");
        let brokers = [first, second];
        Some(Self { postgres, brokers, gateways, consumers: [None, None], keepers: [None, None], log })
    }

    /// Starts who is not there.
    fn fill(&mut self) {
        for place in 0..2 {
            let port = self.brokers[place].port;
            let part = |name| Part::start(port, &self.postgres, &["--only", name], &self.log);
            self.consumers[place].get_or_insert_with(|| part("events"));
            self.keepers[place].get_or_insert_with(|| part("keeper"));
        }
    }

    fn kill_somebody(&mut self, random: &mut StdRng) {
        let which = random.random_range(0..2);
        match random.random_range(0..8) {
            0..2 => {
                self.gateways[which].daemon.take().expect("it runs").kill();
                self.gateways[which].start();
            }
            2..4 => self.consumers[which] = None,
            4..6 => self.keepers[which] = None,
            // With all that it had in memory: events that it acknowledged, and what it retained.
            _ => {
                self.brokers[which].kill();
                std::thread::sleep(Duration::from_millis(random.random_range(0..1500)));
                self.brokers[which].start();
            }
        }
    }

    /// The table's events of a gateway, as they came, by journal and sequence.
    fn stored(&self, gateway: &str) -> BTreeMap<(String, i64), String> {
        let query = "select journal, sequence, event::text from events where gateway = $1";
        let mut stored = BTreeMap::new();
        for row in self.postgres.rows(query, &[&gateway]) {
            let before = stored.insert((row.get(0), row.get(1)), row.get(2));
            assert_eq!(before, None, "one event, two rows");
        }
        stored
    }

    fn count(&self, gateway: &str) -> usize {
        let query = "select count(*) from events where gateway = $1";
        usize::try_from(self.postgres.rows(query, &[&gateway])[0].get::<_, i64>(0)).unwrap()
    }
}

/// Kills, and looks at what is left of it.
pub fn run(seed: u64) {
    let Some(mut stage) = Stage::set() else { return };
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..KILLS {
        // Who was killed in the last round is missing during this one, or is back at once.
        if random.random_ratio(2, 3) {
            stage.fill();
        }
        for _ in 0..random.random_range(1..20) {
            stage.gateways.iter_mut().for_each(Gateway::present);
            std::thread::sleep(Duration::from_millis(random.random_range(1..40)));
        }
        stage.kill_somebody(&mut random);
    }
    stage.fill();
    // In order, so that what is recorded until then goes up by the next start.
    for gateway in &mut stage.gateways {
        gateway.daemon.take().expect("it runs").stop();
        gateway.start();
    }
    for gateway in &stage.gateways {
        gateway.is_delivered();
        let journal = gateway.journal();
        wait_until("every event is stored", || stage.count(gateway.id) >= journal.len());
        let stored = stage.stored(gateway.id);
        assert_eq!(stored.len(), journal.len(), "{}: as many rows as events", gateway.id);
        for event in &journal {
            let value: serde_json::Value = serde_json::from_str(event).unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let place = (text(&value["data"]["journal"]), text(&value["sequence"]).parse().unwrap());
            assert_eq!(stored.get(&place), Some(event), "{}: the same bytes", gateway.id);
        }
        let last = i64::try_from(journal.len()).unwrap();
        wait_until("the keeper is through", || {
            let query = "select through from journals where gateway = $1";
            let throughs = stage.postgres.rows(query, &[&gateway.id]);
            throughs.len() == 1 && throughs[0].get::<_, i64>(0) >= last
        });
        println!("{}, at broker {}: {} events, {} cards", gateway.id, gateway.broker, last, gateway.cards);
    }
    assert_eq!(stage.postgres.number("select count(*) from gone"), 0, "nothing was lost");
    let log = std::fs::read_to_string(&stage.log).unwrap();
    assert!(log.matches("keeper: at work").count() > 1, "one keeper took the other's place:\n{log}");
}

//! `doors` on buses with simulated panels: what opens, what is measured, what is refused and in which case.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use intercom_gateway::{
    access::KeyOrder,
    bus::{
        self, Buses, DoorwaySettings, InForce, LockSettings, ModbusSettings, PanelSettings, Parity,
        PortAddress, PortSettings, Protocol, Shared,
    },
    clock::{self, Clock, Trust},
    config::{self, Config},
    domain::{ErrorCode, EventBody, LineState, Occurrence, OutputActive, PanelState, event::UnlockedBy},
    doors::{Aim, Asker, Doors, Flats, Opening, Refusal},
    gateway::tenths,
    lines::CommutatorSettings,
    panel::osdp,
    simulate::{action::Fault, bank::Sighting, panel::Observation},
    store::{Store, StoreError, StoreOptions},
};
use tokio::sync::mpsc;
use uuid::Uuid;

#[path = "support/mod.rs"]
mod support;

use support::{
    Site,
    simulated::{Panels, name},
};

/// Intercom 1 has a lock and lines, intercom 2 two locks, intercom 3 a panel without one.
const BUILDING: &str = r#"
[[intercom]]
id = 1

[[intercom]]
id = 2

[[intercom]]
id = 3

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = { output = 0 }
secure_channel = "off"

[[panel]]
name = "yard-1"
intercom = 2
bus = "street"
address = 1
lock = { output = 0 }
secure_channel = "off"

[[panel]]
name = "yard-2"
intercom = 2
bus = "street"
address = 2
lock = { output = 0 }
secure_channel = "off"

[[panel]]
name = "cellar"
intercom = 3
bus = "street"
address = 3
secure_channel = "off"

[[bus]]
name = "basement"
port = "{dir}/basement"
protocol = "modbus"

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = { first_flat = 1, count = 100 }
"#;

/// How long a panel is to blink, in units of 100 ms.
const TENTHS: NonZeroU16 = NonZeroU16::new(30).unwrap();

struct House {
    doors: Doors,
    buses: Buses,
    panels: Panels,
    events: mpsc::Receiver<Occurrence>,
    _site: Site,
}

impl House {
    /// A house whose panels are online.
    async fn online() -> Self {
        let site = Site::new(BUILDING);
        let panels = Panels::start(&site, false);
        let (reports, events) = mpsc::channel(1024);
        let shared = Shared {
            rates: Default::default(),
            in_force: Arc::new(arc_swap::ArcSwap::from_pointee(InForce::default())),
            clock: Arc::new(Clock::system(Trust::Always)),
            reports,
            lost: Arc::default(),
            recalled: tokio::sync::watch::channel(Some(Arc::default())).1,
        };
        let config = site.config();
        let start = |bus: &config::Bus| bus::spawn(settings(&config, bus), shared.clone()).unwrap();
        let buses = Buses::new(config.buses.iter().map(start).collect());
        for bus in buses.handles().iter() {
            // Before the bus has looked at them it tells of none.
            let all_online = |status: &bus::BusStatus| {
                let are_online = status.panels.iter().all(|panel| panel.state == PanelState::Online);
                are_online && status.panels.len() == bus.panels().len()
            };
            let mut status = bus.status.clone();
            let waited = tokio::time::timeout(Duration::from_secs(20), status.wait_for(all_online)).await;
            waited.expect("all panels come online").unwrap();
        }
        Self { doors: Doors::new(buses.clone()), buses, panels, events, _site: site }
    }

    async fn open(&self, intercom: Option<u64>, panel: Option<&str>) -> Result<String, Refusal> {
        let asker = Asker::Command(Uuid::nil());
        self.doors.open(opening(asker, intercom, panel)).await.map(|panel| panel.to_string())
    }

    async fn stop(&self) {
        for bus in self.buses.handles().iter() {
            bus.stop().await;
        }
        let buses = self.buses.clone();
        let join = move || buses.handles().iter().for_each(|bus| bus.join().unwrap());
        tokio::task::spawn_blocking(join).await.unwrap();
    }
}

fn opening(asker: Asker, intercom: Option<u64>, panel: Option<&str>) -> Opening {
    let panel = panel.map(ToOwned::to_owned);
    Opening { asker, panel, intercom, tenths: 5.try_into().ok(), caused: clock::mono() }
}

fn settings(config: &Config, bus: &config::Bus) -> bus::BusSettings {
    let config::Port::Tty(port) = &bus.port else { panic!("a pseudo-terminal") };
    let panels = config.panels_on(&bus.name).map(|panel| PanelSettings {
        doorway: DoorwaySettings {
            panel: panel.name.clone(),
            intercom: panel.intercom,
            lock: panel.lock.map(|lock| LockSettings {
                output: lock.output,
                open: tenths(lock.open),
                active: OutputActive::On,
            }),
            door: None,
            feedback: false,
            key_order: KeyOrder::AsRead,
        },
        protocol: match &panel.modbus {
            Some(modbus) => Protocol::Modbus(ModbusSettings {
                unit: panel.address,
                profile: modbus.profile.clone(),
                reply_timeout: bus.reply_timeout,
            }),
            None => Protocol::Osdp(osdp::Settings {
                address: panel.address,
                security: osdp::Security::Off,
                record: osdp::KeyRecord::default(),
                key_fault: None,
                strays: Vec::new(),
                reply_timeout: bus.reply_timeout,
                stale_after: Duration::from_secs(3),
            }),
        },
        lines: panel.modbus.as_ref().map(|modbus| CommutatorSettings {
            panel: panel.name.clone(),
            intercom: panel.intercom,
            profile: modbus.profile.lines.clone().unwrap(),
            map: modbus.lines.clone(),
        }),
    });
    bus::BusSettings {
        name: bus.name.clone(),
        tap: Default::default(),
        port: PortSettings {
            address: PortAddress::Tty(port.clone()),
            baud: bus.baud,
            finds_baud: false,
            parity: Parity::None,
            stop_bits: bus.stop_bits,
            rts_direction: false,
        },
        panels: panels.collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_that_is_meant_opens_and_no_other() {
    let mut house = House::online().await;
    assert_eq!(house.open(Some(1), None).await.unwrap(), "entrance-1");
    assert_eq!(house.open(Some(2), Some("yard-2")).await.unwrap(), "yard-2");
    assert_eq!(house.open(None, Some("yard-1")).await.unwrap(), "yard-1");
    let office = Asker::Token(name("office"));
    assert_eq!(house.doors.open(opening(office.clone(), Some(1), None)).await.unwrap(), name("entrance-1"));

    let refused = house.open(Some(2), None).await.unwrap_err();
    assert!(matches!(&refused, Refusal::AmbiguousPanel { intercom: Some(2), locks } if locks.len() == 2));
    let refused = house.open(Some(3), None).await.unwrap_err();
    assert!(matches!(refused, Refusal::NoLock { intercom: Some(3) }), "{refused:?}");
    let refused = house.open(Some(3), Some("cellar")).await.unwrap_err();
    assert!(matches!(refused, Refusal::NoLock { intercom: Some(3) }), "{refused:?}");
    for (intercom, other) in
        [(Some(1), "yard-1"), (Some(2), "entrance-1"), (None, "cellar"), (None, "No Name")]
    {
        let refused = house.open(intercom, Some(other)).await.unwrap_err();
        assert!(matches!(refused, Refusal::UnknownPanel { .. }), "{refused:?}");
        assert_eq!(refused.code(), ErrorCode::UnknownPanel);
    }

    assert_eq!(house.panels.wait_outputs(4), ["entrance-1", "yard-2", "yard-1", "entrance-1"]);
    house.stop().await;
    let is_output = |sighting: &Sighting| matches!(sighting.what, Observation::Output(_));
    assert!(!house.panels.seen().iter().any(is_output), "no other opened");
    drop(house.buses);
    let mut by = Vec::new();
    house.events.close();
    while let Some(occurrence) = house.events.recv().await {
        if let EventBody::DoorUnlocked(unlocked) = occurrence.body {
            by.push(unlocked.by);
        }
    }
    let command = || UnlockedBy::from(Asker::Command(Uuid::nil()));
    assert_eq!(by, [command(), command(), command(), office.into()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_is_away_and_a_bus_that_ends_are_told_apart() {
    let house = House::online().await;
    house.panels.fault("entrance-1", Fault::Gone(true));
    let begun = clock::mono();
    let refused = house.open(Some(1), None).await.unwrap_err();
    // It was sent to a panel that was believed to be there, so nobody knows; later it is known to be away.
    assert!(matches!(refused, Refusal::Unconfirmed(_) | Refusal::Offline(_)), "{refused:?}");
    assert!(clock::mono().since(begun) < Duration::from_millis(2500));
    let mut status = house.buses.handles()[0].status.clone();
    let away = |status: &bus::BusStatus| status.panels[0].state == PanelState::Offline;
    tokio::time::timeout(Duration::from_secs(20), status.wait_for(away)).await.unwrap().unwrap();
    let refused = house.open(Some(1), None).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::Offline(Aim::Lock(panel)) if *panel == name("entrance-1")),
        "{refused:?}"
    );

    house.stop().await;
    let refused = house.open(Some(2), Some("yard-1")).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Busy(Aim::Lock(panel)) if *panel == name("yard-1")), "{refused:?}");
    assert_eq!(refused.code(), ErrorCode::PanelOffline);
    let refused = house.doors.measure(1, 7).await.unwrap_err();
    assert!(matches!(refused, Refusal::Busy(Aim::Line { intercom: 1, flat: 7 })), "{refused:?}");
    let refused = house.doors.identify("yard-1", TENTHS).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Busy(Aim::Signal(panel)) if *panel == name("yard-1")), "{refused:?}");
    let refused = house.doors.pair(&name("yard-1"), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(refused, Refusal::Busy(_)), "a panel that is configured is not unknown: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_measured_by_the_number_on_the_door() {
    let house = House::online().await;
    let status = house.doors.measure(1, 7).await.unwrap();
    assert_eq!((status.intercom, status.flat, status.line, &status.panel), (1, 7, 7, &name("risers")));
    assert_ne!(status.state, LineState::Unknown);
    for (intercom, flat) in [(1, 101), (2, 7)] {
        let refused = house.doors.measure(intercom, flat).await.unwrap_err();
        assert!(matches!(refused, Refusal::UnknownFlat { .. }), "{refused:?}");
    }
    house.panels.fault("risers", Fault::Gone(true));
    let refused = house.doors.measure(1, 7).await.unwrap_err();
    assert!(matches!(refused, Refusal::Unconfirmed(_) | Refusal::Offline(_)), "{refused:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_panel_that_is_meant_blinks_and_no_other() {
    let house = House::online().await;
    let identify = async |panel: &str| house.doors.identify(panel, TENTHS).await;
    for panel in ["yard-2", "cellar"] {
        assert_eq!(identify(panel).await.unwrap(), name(panel));
    }
    for unknown in ["nowhere", "No Name"] {
        let refused = identify(unknown).await.unwrap_err();
        assert!(matches!(&refused, Refusal::NoPanel { panel } if panel == unknown), "{refused:?}");
    }
    let refused = identify("risers").await.unwrap_err();
    assert!(matches!(&refused, Refusal::Refused(Aim::Signal(panel)) if *panel == name("risers")));
    house.panels.fault("yard-1", Fault::Gone(true));
    let refused = identify("yard-1").await.unwrap_err();
    assert!(matches!(refused, Refusal::Unconfirmed(_) | Refusal::Offline(_)), "{refused:?}");
    house.stop().await;
    let seen = house.panels.seen();
    let lit = seen.iter().filter(|sighting| matches!(sighting.what, Observation::Led(_)));
    let lit: Vec<&str> = lit.map(|sighting| sighting.panel.as_str()).collect();
    assert_eq!(lit, ["yard-2", "cellar"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_panel_with_a_secure_channel_is_paired() {
    let house = House::online().await;
    let pair = async |panel: &str| house.doors.pair(&name(panel), Duration::from_secs(1)).await;
    for without in ["entrance-1", "risers"] {
        let refused = pair(without).await.unwrap_err();
        assert!(
            matches!(&refused, Refusal::NoSecureChannel { panel } if panel.as_str() == without),
            "{refused:?}"
        );
    }
    let refused = pair("nowhere").await.unwrap_err();
    assert!(matches!(&refused, Refusal::NoPanel { panel } if panel.as_str() == "nowhere"), "{refused:?}");
    house.stop().await;
}

#[tokio::test]
async fn each_token_is_kept_to_its_rate_whatever_comes_of_it_and_commands_are_not_counted_again() {
    let doors = Doors::default();
    let ask = async |asker: Asker| doors.clone().open(opening(asker, Some(1), None)).await.unwrap_err();
    let token = |token: &str| Asker::Token(name(token));
    let mut asked = 0;
    let wait = loop {
        match ask(token("office")).await {
            Refusal::NoLock { .. } => asked += 1,
            Refusal::RateLimited { wait } => break wait,
            other => panic!("{other:?}"),
        }
    };
    assert!((20..40).contains(&asked), "{asked}");
    assert!(!wait.is_zero() && wait <= Duration::from_millis(500), "{wait:?}");
    assert!(matches!(ask(token("shop")).await, Refusal::NoLock { .. }), "it has a bucket of its own");
    for _ in 0..30 {
        assert!(matches!(ask(Asker::Command(Uuid::nil())).await, Refusal::NoLock { .. }));
    }
}

fn flats_of(documents: &[(u64, u64)]) -> String {
    let flat = |&(intercom, id): &(u64, u64)| support::flats::flat(intercom, id, id, &[]).to_string();
    format!(r#"{{"revision":57,"flats":[{}]}}"#, documents.iter().map(flat).collect::<Vec<_>>().join(","))
}

#[test]
fn flats_come_into_force_whole_or_the_reason_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Clock::system(Trust::Always));
    let (store, _) = Store::open(StoreOptions {
        dir: dir.path().to_path_buf(),
        keep: Duration::ZERO,
        max_events: 1000,
        max_journal_bytes: None,
        alone: true,
        now: Arc::new(move || clock.stamp()),
        clock_is_steady: Arc::new(|| true),
    })
    .unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = loads.clone();
    let flats = Flats::new(
        store.cache(),
        &[1],
        Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }),
    );
    let import = |document: &str| flats.import(document.as_bytes());

    let state = import(&flats_of(&[(1, 1), (1, 2)])).unwrap();
    assert_eq!((state.revision, state.flats, loads.load(Ordering::Relaxed)), (Some(57), 2, 1));
    for wrong in
        ["", "{", &flats_of(&[(2, 1)]), &flats_of(&[(1, 1), (1, 1)]), r#"{"revision":58,"flats":[]}"#]
    {
        let refused = import(wrong).unwrap_err();
        assert!(matches!(refused, Refusal::Document(_)), "{refused:?}");
        assert_eq!(refused.code(), ErrorCode::Invalid);
    }
    assert_eq!((store.cache().state().borrow().clone(), loads.load(Ordering::Relaxed)), (state, 1));

    let unread = Flats::new(store.cache(), &[1], Arc::new(|| Err(StoreError::Stopped)));
    let refused = unread.import(flats_of(&[(1, 3)]).as_bytes()).unwrap_err();
    assert!(matches!(refused, Refusal::NotInForce(_)), "{refused:?}");
    assert_eq!((store.cache().state().borrow().flats, refused.code()), (1, ErrorCode::Storage));

    store.shutdown();
    let refused = import(&flats_of(&[(1, 4)])).unwrap_err();
    assert!(matches!(refused, Refusal::NotWritten(_)), "{refused:?}");
    assert_eq!((refused.code(), loads.load(Ordering::Relaxed)), (ErrorCode::Storage, 1));
}

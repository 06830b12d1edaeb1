//! What `/healthz` and `health` say: a reason for everything that is not as it should be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    certificates,
    journal_new::{JournalNew, Seen},
    statuses::Views,
    units::{Beat, Part, Units},
};
use crate::{
    bus::{self, BusStatus, Buses},
    clock::{self, Clock},
    domain::{
        Health, HealthCode, Mono, Name, PanelState, PanelStatus, Reason, SyncCode, SyncStatus, UplinkStatus,
    },
    store::{Journal, StoreHealth},
    tls::Expiries,
};

const PERIOD: Duration = Duration::from_secs(1);

/// What is looked at.
pub struct Watched {
    pub journal: Journal,
    /// Whether that is a new one.
    pub journal_new: JournalNew,
    /// Why the keys in force are not what the cache holds.
    pub keys: watch::Receiver<Option<String>>,
    /// Reports of the buses that never came to the journal, since the start.
    pub reports_lost: Arc<AtomicU64>,
    pub buses: Buses,
    pub views: Views,
    /// Why no API token is known.
    pub tokens: Option<String>,
    /// Which certificates are in use.
    pub certificates: Expiries,
    pub clock: Arc<Clock>,
    /// What the daemon consists of.
    pub units: Units,
}

/// Looks around once a second, and when the store has something to tell, for the life of the daemon.
async fn watch_health(health: watch::Sender<Health>, mut watched: Watched, beat: Beat) {
    let mut store = watched.journal.health();
    loop {
        let (dead, reasons) = watched.look(clock::mono());
        let wall = watched.clock.wall();
        health.send_if_modified(|shown| turn(shown, dead, reasons, wall));
        let news = async {
            tokio::select! {
                () = tokio::time::sleep(clock::until_next(PERIOD)) => {}
                // Where the store has ended, the looks go on.
                Ok(()) = store.changed() => {}
            }
        };
        beat.wait(news).await;
    }
}

/// Tells why the process is about to end, without waiting for the next look, which may be what has failed.
pub fn tell_end(health: &watch::Sender<Health>, reason: Reason, wall: Timestamp) {
    health.send_if_modified(|shown| {
        let mut reasons = shown.reasons.clone();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
        turn(shown, true, reasons, wall)
    });
}

/// Takes over what was found; returns whether it differs in anything. Other words alone begin nothing new.
fn turn(shown: &mut Health, dead: bool, reasons: Vec<Reason>, wall: Timestamp) -> bool {
    let mut found = Health { dead, reasons, since: wall };
    if found.is_like(shown) {
        found.since = shown.since;
    }
    let has_changed = found != *shown;
    *shown = found;
    has_changed
}

impl Watched {
    /// Starts to look.
    pub fn start(self, units: &Units, health: watch::Sender<Health>) {
        units.spawn(Part::Health, |beat| watch_health(health, self, beat));
    }

    /// Whether a vital loop is dead, and everything that is not as it should be.
    fn look(&mut self, now: Mono) -> (bool, Vec<Reason>) {
        let reports_lost = self.reports_lost.load(Ordering::Relaxed);
        let mut reasons = of_store(&self.journal.health().borrow(), reports_lost);
        reasons.extend(self.look_at_journal(now));
        let keys = self.keys.borrow().clone();
        reasons.extend(keys.map(|trouble| {
            let message = format!(
                "the keys cannot be loaded ({trouble}): doors open for those that were loaded before, and it is tried again every 10 s"
            );
            Reason::new(HealthCode::Storage, message)
        }));
        let buses = self.buses.statuses();
        if buses.is_empty() {
            let message = "there is no [[bus]] in the configuration: no panel is polled and no door opens";
            reasons.push(Reason::new(HealthCode::NoBus, message));
        }
        reasons.extend(buses.iter().flat_map(|(name, bus)| of_bus(name, bus)));
        reasons.extend(self.views.missing.borrow().iter().map(|panel| {
            let message =
                format!("panel {panel} could not begin when it was configured: run `reload` again, or restart the gateway");
            Reason::new(HealthCode::PanelOffline, message).of_panel(panel)
        }));
        reasons.extend(of_uplink(&self.views.uplink.borrow()));
        let ignored = self.views.uplink.borrow().ignored.clone();
        reasons.extend(ignored.map(|sentence| Reason::new(HealthCode::Committed, sentence)));
        reasons.extend(of_sync(&self.views.sync.borrow()));
        if !self.clock.is_synchronized() {
            let message = "the clock is not synchronised: expiry dates are judged by the last known time";
            reasons.push(Reason::new(HealthCode::Clock, message));
        }
        reasons.extend(self.views.endpoint.borrow().clone());
        reasons.extend(certificates::reasons(&self.certificates, self.clock.known()));
        reasons.extend(self.tokens.as_ref().map(|trouble| Reason::new(HealthCode::Endpoint, trouble)));
        for trouble in [&self.views.control, &self.views.commissioning] {
            let trouble = trouble.borrow().clone();
            reasons.extend(trouble.map(|trouble| Reason::new(HealthCode::Storage, trouble)));
        }
        let (dead, troubles) = self.units.troubles(now);
        reasons.extend(troubles);
        (dead, reasons)
    }
}

impl Watched {
    fn look_at_journal(&mut self, now: Mono) -> Option<Reason> {
        let journal = self.journal.identity();
        let store = self.journal.health().borrow().clone();
        let uplink = self.views.uplink.borrow();
        let seen = Seen {
            journal: &journal,
            is_stand_in: store.journal_without.is_some(),
            why: store.journal_new.as_deref(),
            known_as: uplink.known_as.as_deref(),
            named: uplink.named.as_deref(),
            wall: self.clock.wall(),
            is_synchronized: self.clock.is_synchronized(),
        };
        self.journal_new.look(&seen, now)
    }
}

fn of_store(store: &StoreHealth, reports_lost: u64) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if store.journal_opening {
        let message = "the journal is being opened and checked: doors open, and events wait for it";
        reasons.push(Reason::new(HealthCode::JournalOpening, message));
    }
    if store.cache_opening {
        let message = "the flats are being opened and checked: until that is done no key is known";
        reasons.push(Reason::new(HealthCode::Storage, message));
    }
    let without = store.journal_without.iter().chain(&store.cache_without).chain(&store.without);
    reasons.extend(without.map(|without| Reason::new(HealthCode::Storage, without.to_string())));
    if let Some(error) = &store.journal_failing {
        let message =
            format!("the journal cannot be written ({error}): doors open, but events are not recorded");
        reasons.push(Reason::new(HealthCode::Storage, message));
    }
    if store.disk_full {
        let message = "the disk is full: free some space, old events are making room for new ones";
        reasons.push(Reason::new(HealthCode::Storage, message));
    }
    let lost = store.lost.saturating_add(reports_lost);
    if lost > 0 {
        let message =
            format!("{lost} events were lost since the start: they came faster than they could be written");
        reasons.push(Reason::new(HealthCode::EventsLost, message));
    }
    reasons
}

/// A reason for everything that is not as it should be with a bus and its panels.
fn of_bus(name: &Name, bus: &BusStatus) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(error) = &bus.error {
        let message = format!("bus {name}: the port is not open ({error})");
        reasons.push(Reason::new(HealthCode::Bus, message).of_bus(name));
    }
    if !bus.rivals.is_empty() {
        let message = format!("bus {name}: {}", bus::in_the_way(&bus.rivals));
        reasons.push(Reason::new(HealthCode::Bus, message).of_bus(name));
    }
    for (panel, exchanges) in bus.minute.iter().filter(|(_, exchanges)| exchanges.is_lossy()) {
        let message = format!("panel {panel}: {exchanges}");
        reasons.push(Reason::new(HealthCode::LineErrors, message).of_panel(panel));
    }
    reasons.extend(bus.panels.iter().filter_map(of_panel));
    reasons
}

fn of_panel(status: &PanelStatus) -> Option<Reason> {
    // A panel that was not heard yet, in the first seconds, has no trouble yet.
    let PanelStatus { panel, state, trouble: Some(trouble), .. } = status else { return None };
    let (code, how) = match state {
        PanelState::Insecure if trouble.is_of_our_key() => (HealthCode::PanelKey, "is insecure"),
        PanelState::Insecure => (HealthCode::PanelInsecure, "is insecure"),
        // It is there, and something of it is not: an output, an input, a reader, registers, or the model.
        PanelState::Online => (HealthCode::PanelOffline, "works, but with trouble"),
        PanelState::Offline | PanelState::Unconfigured => (HealthCode::PanelOffline, "is offline"),
    };
    Some(Reason::new(code, format!("panel {panel} {how}: {trouble}")).of_panel(panel))
}

fn of_uplink(uplink: &UplinkStatus) -> Option<Reason> {
    let message = match &uplink.error {
        Some(error) if uplink.configured && !uplink.connected => {
            format!("the broker is not connected: {error}")
        }
        None if uplink.configured && !uplink.connected => "the broker is not connected".to_owned(),
        Some(error) => error.clone(),
        None => return None,
    };
    Some(Reason::new(HealthCode::Broker, message))
}

fn of_sync(sync: &SyncStatus) -> Option<Reason> {
    let message = match (&sync.error, sync.silence) {
        (Some(error), _) if error.code == SyncCode::UnknownIntercom => {
            format!(
                "flats from the cloud were refused, for they are another gateway's, or [[intercom]] is missing in this one's configuration; the last good ones stay in force ({error}): see what the cloud's server answers to this gateway"
            )
        }
        (Some(error), _) => {
            format!("flats from the cloud were refused, the last good ones stay in force ({error})")
        }
        (None, Some(silence)) => silence.to_string(),
        (None, None) => return None,
    };
    Some(Reason::new(HealthCode::Sync, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::Exchanges,
        domain::{KeyFault, SyncError, Trouble},
        sys::Holder,
    };

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_line_that_loses_answers_or_bytes_is_told_with_what_to_check() {
        let of = |lost, rivals| {
            let minute = vec![(name("entrance-1"), Exchanges { answered: 30, lost })];
            of_bus(&name("street"), &BusStatus { open: true, minute, rivals, ..BusStatus::default() })
        };
        assert_eq!(of(9, Vec::new()), []);
        let rival = "bus street: minicom (process 7) has the port open and takes bytes from it; stop it";
        let losses = "panel entrance-1: the line loses its answers, 90 of 120 in the last minute: check termination, wiring and power";
        assert_eq!(
            of(90, vec![Holder { pid: 7, name: "minicom".into() }]),
            [
                Reason::new(HealthCode::Bus, rival).of_bus(&name("street")),
                Reason::new(HealthCode::LineErrors, losses).of_panel(&name("entrance-1")),
            ]
        );
    }

    #[test]
    fn what_is_wrong_with_a_panel_has_a_code_by_its_state_and_whether_our_key_is_at_fault() {
        let of = |state, trouble: Option<Trouble>| {
            let status = PanelStatus {
                trouble,
                ..PanelStatus::new(name("entrance-1"), 1, state, Timestamp::UNIX_EPOCH)
            };
            of_panel(&status)
        };
        let code = |state, trouble| of(state, Some(trouble)).map(|reason| reason.code);
        for fault in [KeyFault::Unreadable, KeyFault::Malformed, KeyFault::Default, KeyFault::Zero] {
            let trouble = Trouble::KeyUnusable(fault);
            assert_eq!(code(PanelState::Insecure, trouble), Some(HealthCode::PanelKey), "{fault:?}");
        }
        for (state, trouble, expected) in [
            (PanelState::Insecure, Trouble::NoKey, HealthCode::PanelKey),
            (PanelState::Insecure, Trouble::WrongKey, HealthCode::PanelInsecure),
            (PanelState::Insecure, Trouble::NoDefaultKey, HealthCode::PanelInsecure),
            (PanelState::Offline, Trouble::NeverHeard, HealthCode::PanelOffline),
            (PanelState::Offline, Trouble::NeedsSecureChannel, HealthCode::PanelOffline),
            (PanelState::Online, Trouble::ReaderDisconnected { reader: 0 }, HealthCode::PanelOffline),
        ] {
            assert_eq!(code(state, trouble.clone()), Some(expected), "{trouble:?}");
        }
        let told = of(PanelState::Insecure, Some(Trouble::WrongKey)).unwrap();
        let expected = format!("panel entrance-1 is insecure: {}", Trouble::WrongKey);
        assert_eq!((told.message, told.panel, told.bus), (expected, Some(name("entrance-1")), None));
        assert_eq!(of(PanelState::Offline, None), None, "in the first seconds");
        assert_eq!(of(PanelState::Online, None), None);
    }

    #[test]
    fn a_store_that_fails_is_told_once_for_each_of_its_troubles() {
        let of = |failing: Option<&str>, disk_full, lost| {
            let journal_failing = failing.map(ToOwned::to_owned);
            let reasons =
                of_store(&StoreHealth { journal_failing, disk_full, ..StoreHealth::default() }, lost);
            reasons.iter().map(|reason| reason.code).collect::<Vec<_>>()
        };
        let opening = of_store(
            &StoreHealth { cache_opening: true, journal_opening: true, ..StoreHealth::default() },
            0,
        );
        let codes: Vec<HealthCode> = opening.iter().map(|reason| reason.code).collect();
        assert_eq!(codes, [HealthCode::JournalOpening, HealthCode::Storage]);
        assert_eq!(of(None, false, 0), []);
        assert_eq!(of(Some("why"), false, 0), [HealthCode::Storage]);
        assert_eq!(of(None, true, 3), [HealthCode::Storage, HealthCode::EventsLost]);
    }

    #[test]
    fn a_broker_that_is_away_or_refuses_is_a_reason_only_where_there_is_one_to_be() {
        let of = |configured, connected, error: Option<&str>| {
            let error = error.map(ToOwned::to_owned);
            let reason = of_uplink(&UplinkStatus { configured, connected, error, ..UplinkStatus::default() });
            reason.map(|reason| (reason.code, reason.message))
        };
        let broker = |message: &str| Some((HealthCode::Broker, message.to_owned()));
        assert_eq!(of(false, false, None), None);
        assert_eq!(of(true, false, None), broker("the broker is not connected"));
        assert_eq!(of(true, false, Some("why")), broker("the broker is not connected: why"));
        assert_eq!(of(true, true, Some("why")), broker("why"));
        assert_eq!(of(true, true, None), None);
    }

    #[test]
    fn flats_that_are_refused_are_told_before_silence() {
        use crate::domain::Silence;
        let error = Some(SyncError::new(SyncCode::Digest, "another"));
        let of = |error, silence| {
            let reason = of_sync(&SyncStatus { error, silence, ..SyncStatus::default() });
            reason.map(|reason| (reason.code, reason.message.contains("were refused")))
        };
        assert_eq!(of(None, None), None);
        assert_eq!(of(error, Some(Silence::NoAnswer)), Some((HealthCode::Sync, true)));
        assert_eq!(of(None, Some(Silence::NobodySubscribed)), Some((HealthCode::Sync, false)));
    }

    #[test]
    fn another_gateways_flats_are_called_so() {
        let of = |code| {
            let error = Some(SyncError::new(code, "why"));
            of_sync(&SyncStatus { error, ..SyncStatus::default() }).unwrap().message
        };
        assert!(of(SyncCode::UnknownIntercom).contains("another gateway's"));
        assert!(!of(SyncCode::Digest).contains("another gateway's"));
    }

    #[test]
    fn an_end_is_told_at_once_beside_what_was_wrong_before() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (health, told) = watch::channel(Health { since: at(1), ..Health::default() });
        let reason = Reason::new(HealthCode::Storage, "the directory has ended");
        for second in 2..4 {
            tell_end(&health, reason.clone(), at(second));
            let told = told.borrow().clone();
            assert_eq!((told.dead, told.reasons, told.since), (true, vec![reason.clone()], at(2)));
        }
    }

    #[test]
    fn since_is_when_other_things_went_wrong_not_when_the_words_changed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let lossy = |words: &str| vec![Reason::new(HealthCode::LineErrors, words)];
        let mut health = Health { since: at(1), ..Health::default() };
        assert!(!turn(&mut health, false, Vec::new(), at(2)));
        assert!(turn(&mut health, false, lossy("90 of 120"), at(3)));
        assert!(turn(&mut health, false, lossy("91 of 120"), at(4)));
        assert_eq!((health.since, health.reasons[0].message.as_str()), (at(3), "91 of 120"));
        assert!(!turn(&mut health, false, lossy("91 of 120"), at(5)));
        assert!(turn(&mut health, false, Vec::new(), at(6)));
        assert_eq!((health.since, health.is_well()), (at(6), true));
    }
}

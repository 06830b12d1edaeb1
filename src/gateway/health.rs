//! What `/healthz` says: one sentence for everything that is not as it should be.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::notify::Beat;
use crate::{
    bus::{self, BusStatus, Buses},
    clock::{self, Clock},
    domain::{Health, Mono, Name, PanelState, PanelStatus, SyncStatus, UplinkStatus},
    store::Journal,
};

const PERIOD: Duration = Duration::from_secs(1);

/// What is looked at.
pub struct Watched {
    pub journal: Journal,
    pub buses: Buses,
    pub uplink: watch::Receiver<UplinkStatus>,
    pub sync: watch::Receiver<SyncStatus>,
    /// Why the endpoint does not serve.
    pub endpoint: watch::Receiver<Option<String>>,
    /// Why the commands of an installer are not served.
    pub control: watch::Receiver<Option<String>>,
    /// Why no API token is known.
    pub tokens: Option<String>,
    pub clock: Arc<Clock>,
    /// The vital loops.
    pub beats: Vec<Beat>,
}

/// Looks around once a second, for the life of the daemon.
pub async fn watch_health(health: watch::Sender<Health>, watched: Watched) {
    let Watched { journal, buses, uplink, sync, endpoint, control, tokens, clock, beats } = watched;
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let mut now = look(&journal, &buses, &uplink.borrow(), &clock);
        let refused =
            |error| format!("flats from the cloud were refused, the last good ones stay in force ({error})");
        now.reasons.extend(sync.borrow().error.as_ref().map(refused));
        now.reasons.extend(endpoint.borrow().clone());
        now.reasons.extend(control.borrow().clone());
        now.reasons.extend(tokens.clone());
        let hanging = hanging(&beats, clock::mono());
        now.dead = !hanging.is_empty();
        now.reasons.extend(hanging);
        health.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

/// A sentence for each vital loop that does not turn any more. The watchdog is not fed either: systemd ends the process.
fn hanging(beats: &[Beat], now: Mono) -> Vec<String> {
    let stuck = beats.iter().filter(|beat| !beat.is_fresh(now));
    stuck.map(|beat| format!("{} hangs: the daemon is about to be restarted", beat.name())).collect()
}

fn look(journal: &Journal, buses: &Buses, uplink: &UplinkStatus, clock: &Clock) -> Health {
    let mut reasons = Vec::new();
    let store = journal.health().borrow().clone();
    if let Some(error) = store.journal_failing {
        reasons.push(format!(
            "the journal cannot be written ({error}): doors open, but events are not recorded"
        ));
    }
    if store.disk_full {
        reasons.push("the disk is full: free some space, old events are making room for new ones".to_owned());
    }
    reasons.extend(store.without.iter().map(ToString::to_string));
    if store.lost > 0 {
        reasons.push(format!("{} events were lost since the start", store.lost));
    }
    for (name, bus) in buses.statuses() {
        reasons.extend(of_bus(&name, &bus));
    }
    if uplink.configured && !uplink.connected {
        let why = uplink.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        reasons.push(format!("the broker is not connected{why}"));
    } else if let Some(error) = &uplink.error {
        reasons.push(error.clone());
    }
    reasons.extend(uplink.ignored.clone());
    if !clock.is_synchronized() {
        reasons
            .push("the clock is not synchronised: expiry dates are judged by the last known time".to_owned());
    }
    Health { dead: false, reasons }
}

/// A sentence for everything that is not as it should be with a bus and its panels.
fn of_bus(name: &Name, bus: &BusStatus) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(error) = &bus.error {
        reasons.push(format!("bus {name}: the port is not open ({error})"));
    }
    if !bus.rivals.is_empty() {
        reasons.push(format!("bus {name}: {}", bus::in_the_way(&bus.rivals)));
    }
    for (panel, exchanges) in bus.minute.iter().filter(|(_, exchanges)| exchanges.is_lossy()) {
        reasons.push(format!("panel {panel}: {exchanges}"));
    }
    for PanelStatus { panel, state, trouble, .. } in &bus.panels {
        // A panel that was not heard yet, in the first seconds, has no error yet.
        let Some(trouble) = trouble else { continue };
        let state = match state {
            PanelState::Insecure => "is insecure",
            PanelState::Online => "works, but with trouble",
            PanelState::Offline | PanelState::Unconfigured => "is offline",
        };
        reasons.push(format!("panel {panel} {state}: {trouble}"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bus::Exchanges, sys::Holder};

    #[test]
    fn a_line_that_loses_answers_or_bytes_is_told_with_what_to_check() {
        let name = |text| Name::new(text).unwrap();
        let of = |lost, rivals| {
            let minute = vec![(name("entrance-1"), Exchanges { answered: 30, lost })];
            of_bus(&name("street"), &BusStatus { open: true, minute, rivals, ..BusStatus::default() })
        };
        assert_eq!(of(9, Vec::new()), Vec::<String>::new());
        assert_eq!(
            of(90, vec![Holder { pid: 7, name: "minicom".into() }]),
            [
                "bus street: minicom (process 7) has the port open and takes bytes from it; stop it",
                "panel entrance-1: the line loses its answers, 90 of 120 in the last minute: check termination, wiring and power",
            ]
        );
    }

    #[test]
    fn a_vital_loop_that_stands_still_is_dead_and_named() {
        let beats = [Beat::new("bus street"), Beat::new("the endpoint")];
        let now = clock::mono();
        assert_eq!(hanging(&beats, now), Vec::<String>::new());
        let later = now + Duration::from_secs(60);
        beats[0].follow(&later.as_nanos().into());
        assert_eq!(hanging(&beats, later), ["the endpoint hangs: the daemon is about to be restarted"]);
    }
}

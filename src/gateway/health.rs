//! What `/healthz` says: one sentence for everything that is not as it should be.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::notify::Beat;
use crate::{
    bus::Buses,
    clock::{self, Clock},
    domain::{Health, Mono, PanelState, SyncStatus, UplinkStatus},
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
    pub clock: Arc<Clock>,
    /// The vital loops.
    pub beats: Vec<Beat>,
}

/// Looks around once a second, for the life of the daemon.
pub async fn watch_health(health: watch::Sender<Health>, watched: Watched) {
    let Watched { journal, buses, uplink, sync, endpoint, clock, beats } = watched;
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let mut now = look(&journal, &buses, &uplink.borrow(), &clock);
        let refused =
            |error| format!("flats from the cloud were refused, the last good ones stay in force ({error})");
        now.reasons.extend(sync.borrow().error.as_ref().map(refused));
        now.reasons.extend(endpoint.borrow().clone());
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
    if store.lost > 0 {
        reasons.push(format!("{} events were lost since the start", store.lost));
    }
    for (name, bus) in buses.statuses() {
        if let Some(error) = bus.error {
            reasons.push(format!("bus {name}: the port is not open ({error})"));
        }
        for panel in bus.panels {
            // A panel that was not heard yet, in the first seconds, has no error yet.
            let Some(trouble) = panel.trouble else { continue };
            let state = match panel.state {
                PanelState::Insecure => "is insecure",
                PanelState::Online => "works, but with trouble",
                PanelState::Offline | PanelState::Unconfigured => "is offline",
            };
            reasons.push(format!("panel {} {state}: {trouble}", panel.panel));
        }
    }
    if uplink.configured && !uplink.connected {
        let why = uplink.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        reasons.push(format!("the broker is not connected{why}"));
    } else if let Some(error) = &uplink.error {
        reasons.push(error.clone());
    }
    if !clock.is_synchronized() {
        reasons
            .push("the clock is not synchronised: expiry dates are judged by the last known time".to_owned());
    }
    Health { dead: false, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

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

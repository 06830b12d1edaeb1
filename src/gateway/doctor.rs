//! Examines a live installation: what the command `report` answers, one verdict a check (contract §4).

use std::sync::Arc;

use tokio::sync::watch;

use super::{certificates, configured::Configured};
use crate::{
    bus::{self, BusStatus, Buses},
    clock::Clock,
    domain::{Check, Name, PanelState, PanelStatus, UplinkStatus, Verdict},
    store::{Cache, Journal},
    tls::Expiries,
};

/// Frames with a wrong check, of a thousand exchanges: from here on a line deserves a look, and from there on a visit.
const BROKEN_WARN: u64 = 5;
const BROKEN_BAD: u64 = 50;

/// Knows where to look.
pub struct Doctor {
    /// The configuration.
    pub config: Configured,
    /// The buses.
    pub buses: Buses,
    /// The clock.
    pub clock: Arc<Clock>,
    /// The journal.
    pub journal: Journal,
    /// The cache.
    pub cache: Cache,
    /// How the uplink is.
    pub uplink: watch::Receiver<UplinkStatus>,
    /// Which certificates are in use.
    pub certificates: Expiries,
}

impl Doctor {
    /// Looks at everything, in the order ports, buses, panels, clock, database, broker, certificates.
    pub async fn examine(self: &Arc<Self>) -> Vec<Check> {
        let statuses = self.buses.statuses();
        let mut checks: Vec<Check> = statuses.iter().map(|(name, bus)| port(name, bus)).collect();
        checks.extend(statuses.iter().map(|(name, bus)| errors(name, bus)));
        checks.extend(statuses.iter().flat_map(|(_, bus)| &bus.panels).map(panel));
        checks.push(self.clock());
        checks.push(self.database());
        checks.push(self.broker());
        let doctor = Arc::clone(self);
        // A thread that fails has read nothing.
        let certificates = tokio::task::spawn_blocking(move || {
            certificates::checks(&doctor.config.now(), &doctor.certificates, doctor.clock.known())
        });
        checks.extend(certificates.await.unwrap_or_default());
        checks
    }

    fn clock(&self) -> Check {
        if self.clock.is_synchronized() {
            check("clock", Verdict::Ok, "synchronised")
        } else {
            check("clock", Verdict::Warn, "not synchronised: expiry dates are judged by the last known time")
        }
    }

    fn database(&self) -> Check {
        let health = self.journal.health().borrow().clone();
        let position = self.journal.position().borrow().clone();
        let cache = self.cache.state().borrow().clone();
        if let Some(error) = health.journal_failing {
            return check("database", Verdict::Bad, format!("the journal cannot be written: {error}"));
        }
        let revision =
            cache.revision.map_or("no revision".to_owned(), |revision| format!("revision {revision}"));
        let figures = format!(
            "journal {} at {}, {} not delivered; {} flats and {} keys of {revision}",
            position.journal,
            position.last,
            position.last.saturating_sub(self.journal.delivered()),
            cache.flats,
            cache.keys,
        );
        match (health.disk_full, health.lost) {
            (true, _) => check("database", Verdict::Bad, format!("the disk is full; {figures}")),
            (false, 0) => check("database", Verdict::Ok, figures),
            (false, lost) => check(
                "database",
                Verdict::Warn,
                format!("{lost} events were lost since the start; {figures}"),
            ),
        }
    }

    fn broker(&self) -> Check {
        let uplink = self.uplink.borrow().clone();
        let (verdict, detail) = match (uplink.configured, uplink.connected, uplink.error) {
            (false, ..) => (Verdict::Ok, "no [mqtt]: this gateway runs alone".to_owned()),
            (_, true, None) => (Verdict::Ok, "connected".to_owned()),
            (_, true, Some(error)) => (Verdict::Warn, error),
            (_, false, error) => (Verdict::Bad, error.unwrap_or_else(|| "not connected yet".to_owned())),
        };
        check("broker", verdict, detail)
    }
}

pub(super) fn check(check: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check { check: check.into(), verdict, detail: detail.into() }
}

fn port(name: &Name, status: &BusStatus) -> Check {
    let (verdict, detail) = match &status.error {
        None if !status.rivals.is_empty() => {
            (Verdict::Bad, format!("open, but {}", bus::in_the_way(&status.rivals)))
        }
        None if status.open => (Verdict::Ok, "open".to_owned()),
        None => (Verdict::Warn, "not open yet".to_owned()),
        Some(error) => (Verdict::Bad, error.clone()),
    };
    check(format!("port {name}"), verdict, detail)
}

/// Judges a line by its broken frames since the start, and by the answers that panels have lost within the last minute.
/// That panels do not answer at all is the panels' matter.
fn errors(name: &Name, bus: &BusStatus) -> Check {
    let stats = bus.stats;
    let exchanges = stats.exchanges.saturating_add(stats.broken).max(1);
    let per_mille = stats.broken.saturating_mul(1000) / exchanges;
    let mut verdict = match per_mille {
        BROKEN_BAD.. => Verdict::Bad,
        BROKEN_WARN.. => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let mut detail = format!(
        "{} exchanges, {} without an answer, {} with a wrong check ({}.{} %), {} bytes of noise",
        stats.exchanges,
        stats.timeouts,
        stats.broken,
        per_mille / 10,
        per_mille % 10,
        stats.noise,
    );
    for (panel, exchanges) in bus.minute.iter().filter(|(_, exchanges)| exchanges.is_lossy()) {
        verdict = Verdict::Bad;
        detail.push_str(&format!("; panel {panel}: {exchanges}"));
    }
    check(format!("bus {name}"), verdict, detail)
}

fn panel(status: &PanelStatus) -> Check {
    let troubles = [
        status.trouble.as_ref().map(ToString::to_string),
        (status.tamper == Some(true)).then(|| "its case is open".to_owned()),
        (status.power_failed == Some(true)).then(|| "its power has failed".to_owned()),
    ];
    let troubles = troubles.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let (verdict, detail) = match (status.state, &status.trouble) {
        (PanelState::Online, _) if troubles.is_empty() => (Verdict::Ok, "online".to_owned()),
        (PanelState::Online, _) => (Verdict::Warn, format!("online, but {troubles}")),
        // Within the first seconds of a start nothing is wrong with it yet.
        (_, None) => (Verdict::Warn, "not heard yet".to_owned()),
        (PanelState::Insecure, Some(_)) => (Verdict::Bad, format!("insecure: {troubles}")),
        (_, Some(trouble)) => (Verdict::Bad, format!("offline: {trouble}")),
    };
    check(format!("panel {}", status.panel), verdict, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Exchanges, LineStats};

    #[test]
    fn a_line_is_judged_by_its_broken_frames_and_not_by_panels_that_are_off() {
        let name = Name::new("street").unwrap();
        let of = |exchanges, timeouts, broken| {
            let stats = LineStats { exchanges, timeouts, broken, noise: 7, ..LineStats::default() };
            errors(&name, &BusStatus { stats, ..BusStatus::default() })
        };
        assert_eq!(of(0, 0, 0).verdict, Verdict::Ok);
        assert_eq!(of(10_000, 9000, 40).verdict, Verdict::Ok);
        assert_eq!(
            of(985, 20, 15),
            Check {
                check: "bus street".into(),
                verdict: Verdict::Warn,
                detail:
                    "985 exchanges, 20 without an answer, 15 with a wrong check (1.5 %), 7 bytes of noise"
                        .into()
            }
        );
        assert_eq!(of(90, 0, 10).verdict, Verdict::Bad);
        let minute = vec![(Name::new("entrance-1").unwrap(), Exchanges { answered: 30, lost: 90 })];
        let stats = LineStats { exchanges: 1000, timeouts: 90, ..LineStats::default() };
        let lossy = errors(&name, &BusStatus { stats, minute, ..BusStatus::default() });
        assert_eq!(lossy.verdict, Verdict::Bad);
        let end = "; panel entrance-1: the line loses its answers, 90 of 120 in the last minute: check termination, wiring and power";
        assert!(lossy.detail.ends_with(end), "{}", lossy.detail);
    }
}

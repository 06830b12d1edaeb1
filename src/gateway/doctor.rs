//! Examines a live installation: what the command `report` answers, one verdict a check (contract §4).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use tokio::sync::watch;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{
    bus::{self, BusStatus, Buses},
    clock::Clock,
    config::{self, Config, SecretFile},
    domain::{Name, PanelState, PanelStatus, UplinkStatus},
    store::{Cache, Journal},
};

/// Frames with a wrong check, of a thousand exchanges: from here on a line deserves a look, and from there on a visit.
const BROKEN_WARN: u64 = 5;
const BROKEN_BAD: u64 = 50;

/// A certificate whose time ends within this many days is to be renewed now.
const RENEW_DAYS: i64 = 21;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// It does not work.
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `port street`, `panel entrance-1`, `clock`, …
    pub check: String,
    /// What was found.
    pub verdict: Verdict,
    /// A sentence, or figures.
    pub detail: String,
}

/// Knows where to look.
pub struct Doctor {
    /// The configuration.
    pub config: Config,
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
        let certificates = tokio::task::spawn_blocking(move || doctor.certificates()).await;
        checks.extend(certificates.unwrap_or_default());
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

    /// Blocks on the disk.
    fn certificates(&self) -> Vec<Check> {
        let now = self.clock.wall();
        let of = |name: &str, file: &SecretFile, which: Which| match file.read_certificates() {
            Ok(chain) => expiry(name, &chain, which, now),
            Err(error) => check(name, Verdict::Bad, error.to_string()),
        };
        let mut checks = Vec::new();
        match &self.config.http.tls {
            config::Tls::Files(files) => {
                checks.push(of("certificate http", &files.cert_file, Which::Soonest));
            }
            config::Tls::SelfSigned => {
                checks.push(check("certificate http", Verdict::Ok, "self-signed: it does not expire"));
            }
            config::Tls::Off => {}
        }
        if let Some(mqtt) = &self.config.mqtt {
            let client = mqtt.client_certificate.as_ref();
            checks.extend(client.map(|files| of("certificate mqtt", &files.cert_file, Which::Soonest)));
            checks.extend(mqtt.ca_file.as_ref().map(|file| of("certificate mqtt ca", file, Which::Latest)));
        }
        checks
    }
}

fn check(check: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Check {
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

/// Which certificate of a file counts.
#[derive(Clone, Copy)]
enum Which {
    /// A chain holds until its first one ends.
    Soonest,
    /// Of several authorities one is enough.
    Latest,
}

fn expiry(name: &str, certificates: &[CertificateDer<'_>], which: Which, now: Timestamp) -> Check {
    let end = |certificate: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
    };
    let ends = certificates.iter().map(end).collect::<Option<Vec<_>>>().unwrap_or_default();
    let end = match which {
        Which::Soonest => ends.into_iter().min(),
        Which::Latest => ends.into_iter().max(),
    };
    let Some(end) = end else {
        return check(name, Verdict::Bad, "a certificate of the file cannot be read");
    };
    let day = end.strftime("%Y-%m-%d");
    let left = end.duration_since(now);
    if left <= SignedDuration::ZERO {
        check(name, Verdict::Bad, format!("expired on {day}; renew it"))
    } else if left < SignedDuration::from_hours(RENEW_DAYS * 24) {
        check(name, Verdict::Warn, format!("expires on {day}, in {} days; renew it", left.as_hours() / 24))
    } else {
        check(name, Verdict::Ok, format!("valid to {day}"))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::bus::{Exchanges, LineStats};

    #[test]
    fn a_certificate_is_judged_by_the_one_that_ends_first() {
        let key = KeyPair::generate().unwrap();
        let until = |year| {
            let mut params = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 6, 30));
            params.self_signed(&key).unwrap().der().clone()
        };
        let chain = [until(2030), until(2027)];
        let at = |now: &str| {
            let check = expiry("certificate http", &chain, Which::Soonest, now.parse().unwrap());
            (check.verdict, check.detail)
        };
        assert_eq!(at("2026-11-23T00:00:00Z"), (Verdict::Ok, "valid to 2027-06-30".into()));
        assert_eq!(
            at("2027-06-20T00:00:00Z"),
            (Verdict::Warn, "expires on 2027-06-30, in 10 days; renew it".into())
        );
        assert_eq!(at("2027-06-30T00:00:00Z"), (Verdict::Bad, "expired on 2027-06-30; renew it".into()));
        let now = "2029-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(expiry("certificate mqtt ca", &chain, Which::Latest, now).verdict, Verdict::Ok);
        assert_eq!(expiry("x", &[], Which::Latest, now).verdict, Verdict::Bad);
    }

    #[test]
    fn a_line_is_judged_by_its_broken_frames_and_not_by_panels_that_are_off() {
        let name = Name::new("street").unwrap();
        let of = |exchanges, timeouts, broken| {
            let stats = LineStats { exchanges, timeouts, broken, noise: 7 };
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
        let stats = LineStats { exchanges: 1000, timeouts: 90, broken: 0, noise: 0 };
        let lossy = errors(&name, &BusStatus { stats, minute, ..BusStatus::default() });
        assert_eq!(lossy.verdict, Verdict::Bad);
        let end = "; panel entrance-1: the line loses its answers, 90 of 120 in the last minute: check termination, wiring and power";
        assert!(lossy.detail.ends_with(end), "{}", lossy.detail);
    }
}

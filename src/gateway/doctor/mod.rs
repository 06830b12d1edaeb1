//! Examines an installation, one verdict a check with what to do about it: what `doctor` prints and what the command
//! `report` answers (contract §1, §4).
//!
//! A running daemon looks by [`Doctor`]; where none runs, `doctor` looks by [`Alone`] at what can be seen without one. A check
//! of its own is a function that returns [`Check`]s, and a line in `examine` of either.

mod alone;
mod baseline;
mod broker;
mod lines;
mod machine;

use std::{io, sync::Arc};

pub use self::alone::Alone;
use self::baseline::Baseline;
use super::{VERSION, certificates, configured::Configured, statuses::Views};
use crate::{
    bus::Buses,
    clock::Clock,
    config::{self, Config, Finding, Severity},
    domain::{Check, HealthCode, KnownTime, Name, Verdict},
    store::{Cache, CacheState, Journal, Position},
    sys,
    tls::Expiries,
};

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
    /// What the daemon's units say of themselves.
    pub views: Views,
    /// Which certificates are in use.
    pub certificates: Expiries,
}

impl Doctor {
    /// Looks at everything, in the order configuration, ports, buses, panels, clock, disk, database, broker, certificates,
    /// and what else health has to say.
    pub async fn examine(self: &Arc<Self>) -> Vec<Check> {
        let config = self.config.now();
        let statuses = self.buses.statuses();
        let on_disk = {
            let doctor = Arc::clone(self);
            sys::blocking(move || doctor.on_disk())
        };
        // A thread that fails has read nothing.
        let OnDisk { mut checks, latencies, room, certificates, baselines } = sys::finished(on_disk).await;
        checks.extend(statuses.iter().map(|(name, bus)| lines::port(name, bus)));
        checks.extend(latencies);
        checks.extend(statuses.iter().map(|(name, bus)| lines::errors(name, bus)));
        checks.extend(statuses.iter().filter_map(|(bus, status)| {
            let configured = config.buses.iter().find(|one| one.name == *bus)?.baud;
            let baud = status.baud.unwrap_or(configured);
            let (_, baseline) = baselines.iter().find(|(name, _)| name == bus)?;
            let now = self.clock.wall();
            Some(baseline::compare(&baseline::Present { bus, baud, status, now }, baseline))
        }));
        let panels = || statuses.iter().flat_map(|(_, bus)| &bus.panels);
        checks.extend(panels().map(lines::panel));
        checks.extend(panels().filter_map(|panel| lines::fittings(config.panel(&panel.panel)?, panel)));
        checks.push(clock(self.clock.is_synchronized()));
        checks.extend(room);
        checks.push(self.database());
        checks.push(broker::connection(config.mqtt.as_ref(), &self.views.uplink.borrow()));
        checks.extend(certificates);
        checks.extend(self.rest_of_health());
        checks.push(check("version", Verdict::Ok, VERSION));
        checks
    }

    /// What is to be read for. Blocks.
    fn on_disk(&self) -> OnDisk {
        let config = self.config.now();
        let baseline = |bus: &Name| (bus.clone(), baseline::read(&config.gateway.state_dir, bus));
        OnDisk {
            checks: configuration(&config),
            latencies: machine::latencies(&config),
            room: machine::disk(&config.gateway.state_dir),
            certificates: certificates::checks(&config, &self.certificates, self.clock.known()),
            baselines: config.buses.iter().map(|bus| baseline(&bus.name)).collect(),
        }
    }

    fn database(&self) -> Check {
        let health = self.journal.health().borrow().clone();
        let position = self.journal.position().borrow().clone();
        if let Some(error) = health.journal_failing {
            let detail = format!("the journal cannot be written: {error}; check the disk and state_dir");
            return check("database", Verdict::Bad, detail);
        }
        let figures = figures(&position, self.journal.delivered(), &self.cache.state().borrow());
        match (health.disk_full, health.lost) {
            (true, _) => {
                check("database", Verdict::Bad, format!("the disk is full: free some space; {figures}"))
            }
            (false, 0) => check("database", Verdict::Ok, figures),
            (false, lost) => check(
                "database",
                Verdict::Warn,
                format!(
                    "{lost} events were lost since the start: look for what floods, in `journal`; {figures}"
                ),
            ),
        }
    }

    /// What health says of things that no other check looks at.
    fn rest_of_health(&self) -> Vec<Check> {
        let health = self.views.health.borrow().clone();
        let of = |reason: crate::domain::Reason| {
            let verdict = match reason.code {
                HealthCode::NoBus | HealthCode::Endpoint => Verdict::Bad,
                HealthCode::Sync
                | HealthCode::Committed
                | HealthCode::Timezone
                | HealthCode::Storage
                | HealthCode::JournalOpening
                | HealthCode::JournalNew => Verdict::Warn,
                _ => return None,
            };
            Some(check(reason.code.as_str(), verdict, reason.message))
        };
        health.reasons.into_iter().filter_map(of).collect()
    }
}

/// What was read.
struct OnDisk {
    checks: Vec<Check>,
    latencies: Vec<Check>,
    room: Vec<Check>,
    certificates: Vec<Check>,
    /// Of each bus, what it was like.
    baselines: Vec<(Name, io::Result<Option<Baseline>>)>,
}

/// What `check` finds in a configuration, but for certificates, which have checks of their own. Blocks.
fn configuration(config: &Config) -> Vec<Check> {
    let findings = config::findings(config, KnownTime::Never);
    if findings.is_empty() {
        let counted = |count, one, many| format!("{count} {}", if count == 1 { one } else { many });
        let buses = counted(config.buses.len(), "bus", "buses");
        let panels = counted(config.panels.len(), "panel", "panels");
        return vec![check("configuration", Verdict::Ok, format!("valid: {buses}, {panels}"))];
    }
    let of = |Finding { severity, at, message }: Finding| {
        let verdict = match severity {
            Severity::Error => Verdict::Bad,
            Severity::Warning => Verdict::Warn,
        };
        check("configuration", verdict, format!("{at}: {message}"))
    };
    findings.into_iter().map(of).collect()
}

fn clock(is_synchronized: bool) -> Check {
    if is_synchronized {
        return check("clock", Verdict::Ok, "synchronised");
    }
    check(
        "clock",
        Verdict::Warn,
        "not synchronised: expiry dates are judged by the last known time; check the network and `timedatectl`",
    )
}

fn figures(position: &Position, delivered: u64, cache: &CacheState) -> String {
    let revision = cache.revision.map_or("no revision".to_owned(), |revision| format!("revision {revision}"));
    format!(
        "journal {} at {}, {} not delivered; {} flats and {} keys of {revision}",
        position.journal,
        position.last,
        position.last.saturating_sub(delivered),
        cache.flats,
        cache.keys,
    )
}

pub(super) fn check(check: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check { check: check.into(), verdict, detail: detail.into() }
}

//! `certify`: measures a line through the running daemon.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::error::ErrorKind;
use serde_json::Value;

use super::offline::{self, Access};
use crate::{
    config::{Bus, Config, Protocol},
    domain::{Name, json},
    gateway::control::Request,
    survey::{Certificate, CertificateDetails, CertifiedPanel, LineVerdict},
};

const EXAMPLES: &str = "Examples:
  sudo intercom-gateway certify --bus street
  sudo intercom-gateway certify --bus street --json | tail -1";

/// Measures a line while doors go on: 2,000 exchanges of each panel, the daemon's own polls.
///
/// PASS, or FAIL with the likeliest cause where a panel has more than 1 broken frame or timeout in 1,000 exchanges, takes more
/// than 150 ms to begin its answer (99 in 100 are quicker), or where another master, an echo or a shared address was found. Four
/// panels at 9600 baud take five minutes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Certify {
    /// The bus of the running daemon
    #[arg(long, value_name = "NAME")]
    bus: Name,
    /// Measures the other rates as well, 200 exchanges of each panel, of an OSDP bus with baud = "auto"
    #[arg(long)]
    rates: bool,
    /// One object, on one line
    #[arg(long)]
    json: bool,
}

impl Certify {
    /// Returns exit status 1 where the line fails.
    ///
    /// # Errors
    /// The configuration is invalid, no daemon is running, or it cannot measure the line.
    pub fn run(&self, config: &Path) -> anyhow::Result<ExitCode> {
        let config = Config::load(config)?;
        offline::configured("bus", &self.bus, config.buses.iter().map(|bus| &bus.name))?;
        let can_change = |bus: &Bus| bus.finds_baud && bus.protocol == Protocol::Osdp;
        if self.rates && !config.bus(&self.bus).is_some_and(can_change) {
            let message = "--rates is for an OSDP bus with baud = \"auto\": panels are told other rates, and back; without it the line is measured at its own";
            super::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
        let Access::Daemon(daemon) = offline::reach(&config)? else {
            anyhow::bail!("no daemon is running with this configuration: start it, then certify the bus");
        };
        let answer = daemon.ask(&Request::Certify { bus: self.bus.clone(), rates: self.rates })?;
        let is_watched = io::stderr().is_terminal();
        for line in answer.rest.lines() {
            let value: Value = serde_json::from_str(&line.context("the measurement broke off")?)
                .context("the daemon has another version")?;
            if let Some(progress) = value.get("progress") {
                if is_watched {
                    // What cannot be shown is not missed.
                    let (done, of) = (&progress["exchanges"], &progress["of"]);
                    if let Some(rate) = progress.get("rate") {
                        let _ = write!(io::stderr(), "\r{done} of {of} other rates; at {rate} baud …\x1b[K");
                        continue;
                    }
                    let _ = write!(io::stderr(), "\r{done} of {of} exchanges …\x1b[K");
                }
                continue;
            }
            if is_watched {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
            if let Some(why) = value["broken_off"].as_str() {
                anyhow::bail!("{why}");
            }
            if let Some(why) = value["not_kept"].as_str() {
                // As above.
                let _ = writeln!(io::stderr(), "what the line was like could not be kept for later: {why}");
            }
            let certificate: Certificate =
                json::from_value(&value["certificate"]).context("the daemon has another version")?;
            let details: CertificateDetails =
                json::from_value(&value["details"]).context("the daemon has another version")?;
            self.print(&certificate, &details)?;
            return Ok(match certificate.verdict {
                LineVerdict::Pass => ExitCode::SUCCESS,
                LineVerdict::Fail => ExitCode::FAILURE,
            });
        }
        anyhow::bail!("the daemon has ended before the line was measured")
    }

    fn print(&self, certificate: &Certificate, details: &CertificateDetails) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            return writeln!(out, "{}", json::text(certificate));
        }
        writeln!(
            out,
            "{:<20}  {:>9}  {:>8}  {:>6}  {:>30}  {:>14}",
            "PANEL", "EXCHANGES", "TIMEOUTS", "BROKEN", "ROUND TRIP p50 / p95 / max", "TURNAROUND p99"
        )?;
        for (panel, turnaround) in certificate.panels.iter().zip(&details.turnaround_p99_ms) {
            let turnaround = turnaround.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} ms"));
            writeln!(out, "{}", row(panel, &turnaround))?;
        }
        for rate in &details.rates {
            for panel in &rate.panels {
                writeln!(out, "{}", row(panel, &format!("{} baud", rate.baud)))?;
            }
        }
        if let Some(margin) = details.margin_ms {
            writeln!(out, "{margin:.0} ms are left of the 200 ms within which an answer has to begin")?;
        }
        if let Some(unlock) = details.unlock_ms {
            writeln!(out, "from a swipe until its panel is told to open: {unlock:.0} ms at worst")?;
        }
        for finding in &certificate.findings {
            writeln!(out, "finding: {finding}")?;
        }
        let verdict = if certificate.verdict == LineVerdict::Pass { "PASS" } else { "FAIL" };
        writeln!(out, "{verdict}: bus {} at {} baud", certificate.bus, details.baud)
    }
}

/// Returns the row of a panel in the table, with what stands in its last column.
fn row(panel: &CertifiedPanel, last: &str) -> String {
    let trip = panel.round_trip_ms.map_or_else(
        || "-".to_owned(),
        |trip| format!("{:.1} / {:.1} / {:.1} ms", trip.p50, trip.p95, trip.max),
    );
    format!(
        "{:<20}  {:>9}  {:>8}  {:>6}  {trip:>30}  {last:>14}",
        panel.panel, panel.exchanges, panel.timeouts, panel.broken
    )
}

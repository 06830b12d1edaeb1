//! What `certify` says of a line (contract §1).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LineSample, PanelSample, Spread};
use crate::domain::Name;

/// Whether a line passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LineVerdict {
    Pass,
    Fail,
}

/// How a line has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The bus.
    pub bus: Name,
    /// Whether it passes.
    pub verdict: LineVerdict,
    /// Its panels, in the order of the configuration.
    pub panels: Vec<CertifiedPanel>,
    /// What it is to be blamed for, and what else is to be known, in words.
    pub findings: Vec<String>,
}

/// How a panel has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedPanel {
    /// Its name.
    pub panel: Name,
    /// Commands answered.
    pub exchanges: u64,
    /// Commands not answered in time.
    pub timeouts: u64,
    /// Broken answers.
    pub broken: u64,
    /// Null where nothing was answered.
    pub round_trip_ms: Option<RoundTripMs>,
}

/// How long exchanges took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RoundTripMs {
    pub p50: f64,
    pub p95: f64,
    pub max: f64,
}

/// How a line has done at another rate than its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedRate {
    /// Bits a second.
    pub baud: u32,
    /// Its panels, in the order of the configuration; none where they did not all get there.
    pub panels: Vec<CertifiedPanel>,
    /// Why they did not.
    pub error: Option<String>,
}

impl CertifiedRate {
    /// Returns how a line has done there.
    pub fn of(baud: u32, measured: Result<&LineSample, String>) -> Self {
        match measured {
            Ok(sample) => Self { baud, panels: sample.panels.iter().map(panel).collect(), error: None },
            Err(error) => Self { baud, panels: Vec::new(), error: Some(error) },
        }
    }

    /// Returns that in one sentence.
    pub fn finding(&self) -> String {
        let baud = self.baud;
        if let Some(error) = &self.error {
            return format!("at {baud} baud the line was not measured: {error}");
        }
        let is_bad = |panel: &&CertifiedPanel| panel.timeouts > 0 || panel.broken > 0 || panel.exchanges == 0;
        let bad: Vec<String> = self
            .panels
            .iter()
            .filter(is_bad)
            .map(|panel| {
                let CertifiedPanel { panel, exchanges, timeouts, broken, .. } = panel;
                format!("{panel} ({timeouts} timeouts and {broken} broken answers in {exchanges} exchanges)")
            })
            .collect();
        if bad.is_empty() {
            format!("at {baud} baud every panel answered without an error")
        } else {
            format!("at {baud} baud not every panel answered without an error: {}", bad.join(", "))
        }
    }
}

/// What people want to know besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateDetails {
    /// Bits a second.
    pub baud: u32,
    /// How the line has done at other rates, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<CertifiedRate>,
    /// How long 99 in 100 answers of each panel take to begin at most, in the order of the panels.
    pub turnaround_p99_ms: Vec<Option<f64>>,
    /// What the slowest of them leaves of the 200 ms that the standard allows.
    pub margin_ms: Option<f64>,
    /// How long a door may wait from the swipe until its panel has the command to open, at worst; OSDP alone.
    pub unlock_ms: Option<f64>,
}

impl Certificate {
    /// Returns what a sample says, where each panel was to have this many exchanges.
    pub fn of(bus: Name, sample: &LineSample, wanted: u64) -> Self {
        let faults = sample.faults(wanted);
        let fails = faults.iter().any(super::Fault::fails);
        Self {
            bus,
            verdict: if fails { LineVerdict::Fail } else { LineVerdict::Pass },
            panels: sample.panels.iter().map(panel).collect(),
            findings: faults.iter().map(ToString::to_string).collect(),
        }
    }
}

impl CertificateDetails {
    /// Returns what a sample says besides.
    pub fn of(sample: &LineSample, is_modbus: bool) -> Self {
        /// Characters of a credential and of the command to open in a secure session, with their marks and the silence before
        /// each.
        const CARD_AND_OUT: u32 = 33 + 33;
        let p99 = |panel: &PanelSample| panel.turnaround.map(|spread| milliseconds(spread.p99));
        let slowest =
            sample.panels.iter().filter_map(|panel| panel.turnaround).map(|spread| spread.p99).max();
        let unlock = sample.round() + sample.speed.character() * CARD_AND_OUT + slowest.unwrap_or_default();
        Self {
            baud: sample.speed.baud,
            rates: Vec::new(),
            turnaround_p99_ms: sample.panels.iter().map(p99).collect(),
            margin_ms: sample.margin().map(milliseconds),
            unlock_ms: (!is_modbus && slowest.is_some()).then(|| milliseconds(unlock)),
        }
    }
}

fn panel(sample: &PanelSample) -> CertifiedPanel {
    let round_trip = |Spread { p50, p95, max, .. }: Spread| RoundTripMs {
        p50: milliseconds(p50),
        p95: milliseconds(p95),
        max: milliseconds(max),
    };
    CertifiedPanel {
        panel: sample.panel.clone(),
        exchanges: sample.exchanges,
        timeouts: sample.timeouts,
        broken: sample.broken,
        round_trip_ms: sample.round_trip.map(round_trip),
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

//! What was measured of a line in use, and what it means: does it pass, and where it does not, what is the likeliest cause?
//!
//! Faults are told from each other by where they show: at one panel or at all, as nothing, as damage or as somebody else.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::Speed;
use crate::domain::Name;

/// Broken frames and timeouts in this many exchanges that are one too many (contract §1).
const IN: u64 = 1000;
/// The turnaround of 99 in 100 answers may not be longer. The standard allows 200 ms.
const SLOWEST: Duration = Duration::from_millis(150);
/// What an answer has to begin within (OSDP 2.2, 5.7).
const STANDARD: Duration = Duration::from_millis(200);
/// What every answer has in common where the adapter waits for more before it hands bytes over (FTDI: 16 ms).
const LATENCY_TIMER: Duration = Duration::from_millis(14);
/// Broken answers, in percent, that no single bad wire makes where all others are whole.
const SHARED_PERCENT: u64 = 10;
/// Bytes that nobody sent on purpose, one in this many exchanges, that are worth a word.
const NOISE_IN: u64 = 50;

/// How long something took: what half, 95 and 99 in 100 did not exceed, and the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Spread {
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// What was measured of a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelSample {
    /// Its name.
    pub panel: Name,
    /// Its address.
    pub address: u8,
    /// Commands answered.
    pub exchanges: u64,
    /// Commands not answered in time, with nothing broken.
    pub timeouts: u64,
    /// Answers with a wrong check.
    pub broken: u64,
    /// Sound frames from its address.
    pub replies: u64,
    /// From the first byte of a command to the last one of its answer.
    pub round_trip: Option<Spread>,
    /// From the last byte of a command to the first one of its answer.
    pub turnaround: Option<Spread>,
}

/// What was measured of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineSample {
    /// Its speed.
    pub speed: Speed,
    /// Whether bytes come in bunches, by USB or by network.
    pub is_buffered: bool,
    /// Its panels.
    pub panels: Vec<PanelSample>,
    /// Commands that came back.
    pub echoes: u64,
    /// Addresses that somebody else asked.
    pub masters: BTreeSet<u8>,
    /// Bytes that nobody sent on purpose.
    pub noise: u64,
}

/// What a line has to be blamed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Somebody else asks panels.
    OtherMaster(BTreeSet<u8>),
    /// What is sent comes back.
    Echo,
    /// No panel answers.
    AllSilent,
    /// A panel does not answer.
    Silent(Name),
    /// Two devices answer at the address of a panel.
    SharedAddress(Name, u8),
    /// Answers of several panels are broken: broken ones, and of how many.
    BadLine(u64, u64),
    /// Answers of one panel alone are broken: broken ones, and of how many.
    WeakPanel(Name, u64, u64),
    /// Several panels miss commands: how many, and of how many.
    LosingLine(u64, u64),
    /// One panel alone misses commands: how many, and of how many.
    LosingPanel(Name, u64, u64),
    /// A panel takes too long: 99 in 100 answers begin within this time.
    Slow(Name, Duration),
    /// All answers are late by what an adapter waits.
    LatencyTimer(Duration),
    /// Bytes that nobody sent on purpose, in this many exchanges.
    Noise(u64, u64),
    /// A panel was not measured for long enough.
    TooFew(Name, u64),
}

impl Fault {
    /// Returns whether a line with this fault fails.
    pub fn fails(&self) -> bool {
        !matches!(self, Self::LatencyTimer(_) | Self::Noise(..))
    }
}

impl PanelSample {
    fn commands(&self) -> u64 {
        self.exchanges.saturating_add(self.timeouts).saturating_add(self.broken)
    }

    fn is_above(&self, count: u64) -> bool {
        count.saturating_mul(IN) > self.exchanges
    }

    fn fails(&self) -> bool {
        self.is_above(self.timeouts.saturating_add(self.broken))
    }
}

impl LineSample {
    /// Returns what the line is to be blamed for, the worst first, where each panel was to have this many exchanges.
    pub fn faults(&self, wanted: u64) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !self.masters.is_empty() {
            faults.push(Fault::OtherMaster(self.masters.clone()));
        }
        let exchanges: u64 = self.panels.iter().map(|panel| panel.exchanges).sum();
        // All of them, but for what was damaged on its way.
        if exchanges > 0 && self.echoes.saturating_mul(2) > exchanges {
            faults.push(Fault::Echo);
        }
        if !self.panels.is_empty() && exchanges == 0 && self.panels.iter().all(|panel| panel.broken == 0) {
            faults.push(Fault::AllSilent);
            return faults;
        }
        let bad: Vec<&PanelSample> = self.panels.iter().filter(|panel| panel.fails()).collect();
        let others_are_well = |panel: &PanelSample| {
            self.panels.iter().all(|other| other.panel == panel.panel || !other.is_above(other.broken))
        };
        let mut is_blamed = BTreeSet::new();
        for panel in &self.panels {
            let is_twice = panel.replies > panel.commands().saturating_mul(11) / 10 + 5;
            let broken = panel.broken.saturating_mul(100);
            let is_broken = broken > panel.commands().saturating_mul(SHARED_PERCENT);
            if is_twice || (is_broken && self.panels.len() > 1 && others_are_well(panel)) {
                faults.push(Fault::SharedAddress(panel.panel.clone(), panel.address));
                is_blamed.insert(panel.panel.clone());
            } else if panel.exchanges == 0 && panel.broken == 0 {
                faults.push(Fault::Silent(panel.panel.clone()));
                is_blamed.insert(panel.panel.clone());
            }
        }
        let rest: Vec<&PanelSample> =
            bad.into_iter().filter(|panel| !is_blamed.contains(&panel.panel)).collect();
        let broken: Vec<_> = rest.iter().filter(|panel| panel.broken >= panel.timeouts).collect();
        let losing: Vec<_> = rest.iter().filter(|panel| panel.broken < panel.timeouts).collect();
        let sum = |panels: &[&&PanelSample], count: fn(&PanelSample) -> u64| -> u64 {
            panels.iter().map(|panel| count(panel)).sum()
        };
        match broken.as_slice() {
            [] => {}
            [one] if self.panels.len() > 1 => {
                faults.push(Fault::WeakPanel(one.panel.clone(), one.broken, one.commands()));
            }
            many => {
                faults.push(Fault::BadLine(sum(many, |panel| panel.broken), sum(many, PanelSample::commands)))
            }
        }
        match losing.as_slice() {
            [] => {}
            [one] => faults.push(Fault::LosingPanel(one.panel.clone(), one.timeouts, one.commands())),
            many => {
                faults.push(Fault::LosingLine(
                    sum(many, |panel| panel.timeouts),
                    sum(many, PanelSample::commands),
                ));
            }
        }
        for panel in &self.panels {
            if let Some(p99) = panel.turnaround.map(|turnaround| turnaround.p99).filter(|p99| *p99 > SLOWEST)
            {
                faults.push(Fault::Slow(panel.panel.clone(), p99));
            }
            if panel.exchanges > 0 && panel.exchanges < wanted && !is_blamed.contains(&panel.panel) {
                faults.push(Fault::TooFew(panel.panel.clone(), panel.exchanges));
            }
        }
        let quickest = self.panels.iter().filter_map(|panel| panel.turnaround).map(|spread| spread.p50).min();
        if let Some(quickest) = quickest.filter(|quickest| self.is_buffered && *quickest >= LATENCY_TIMER) {
            faults.push(Fault::LatencyTimer(quickest));
        }
        if self.noise.saturating_mul(NOISE_IN) > exchanges && self.masters.is_empty() {
            faults.push(Fault::Noise(self.noise, exchanges));
        }
        faults
    }

    /// Returns how much time 99 in 100 answers leave of what the standard allows, for the slowest panel.
    pub fn margin(&self) -> Option<Duration> {
        let slowest =
            self.panels.iter().filter_map(|panel| panel.turnaround).map(|spread| spread.p99).max()?;
        Some(STANDARD.saturating_sub(slowest))
    }

    /// Returns how long the round of polls takes that a swipe may wait for: 95 in 100 exchanges of each panel are quicker.
    pub fn round(&self) -> Duration {
        /// Characters of silence before each command.
        const GAP: u32 = 2;
        let gap = self.speed.character() * GAP;
        self.panels.iter().filter_map(|panel| panel.round_trip).map(|spread| spread.p95 + gap).sum()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMaster(addresses) => {
                let addresses: Vec<String> = addresses.iter().take(8).map(u8::to_string).collect();
                write!(
                    f,
                    "another master is on this line: it asks address {}; find and stop it",
                    addresses.join(", ")
                )
            }
            Self::Echo => f.write_str(
                "the adapter echoes what it sends: switch its echo off, or its receiver off while it sends",
            ),
            Self::AllSilent => f.write_str(
                "no panel answers: A and B are swapped, the panels have no power, or the line is cut or has another rate",
            ),
            Self::Silent(panel) => {
                write!(f, "panel {panel} does not answer: its wires, its power, its address, its rate")
            }
            Self::SharedAddress(panel, address) => write!(
                f,
                "two devices answer at address {address} of panel {panel}: give one of them another address"
            ),
            Self::BadLine(broken, of) => write!(
                f,
                "{broken} of {of} answers are broken, of more than one panel or of the only one: check the termination at both ends, the bias, the shield, and the length of stubs"
            ),
            Self::WeakPanel(panel, broken, of) => write!(
                f,
                "{broken} of {of} answers of panel {panel} are broken, and no other's: its stub is too long, its wires are loose or swapped, or its driver is weak"
            ),
            Self::LosingLine(lost, of) => write!(
                f,
                "{lost} of {of} commands were not answered, at more than one panel: another program at the port, an adapter that loses bytes, a wire that comes loose, or power that fails"
            ),
            Self::LosingPanel(panel, lost, of) => write!(
                f,
                "{lost} of {of} commands to panel {panel} were not answered: its wires, its power, or a panel that is too busy"
            ),
            Self::Slow(panel, p99) => write!(
                f,
                "panel {panel} takes {} ms to begin an answer (99 in 100 are quicker); 150 pass, and the standard allows 200: a slow panel, or an adapter's latency timer",
                p99.as_millis()
            ),
            Self::LatencyTimer(quickest) => write!(
                f,
                "even the quickest panel begins its answers after {} ms: probably the adapter's latency timer, which the shipped udev rule sets to 1 ms",
                quickest.as_millis()
            ),
            Self::Noise(bytes, exchanges) => write!(
                f,
                "{bytes} bytes were heard in {exchanges} exchanges that nobody sent: noise, for want of bias or termination"
            ),
            Self::TooFew(panel, exchanges) => {
                write!(f, "panel {panel} had only {exchanges} exchanges in the time that there was")
            }
        }
    }
}

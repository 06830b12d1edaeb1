//! What processes need, from /proc.

use std::{fs, time::Duration};

use anyhow::Context;
use intercom_gateway::{clock, domain::Mono};
use nix::sys::resource::{Resource, getrlimit};

use crate::home::Home;

/// Threads that simulate the buildings are called so; what they need is not the gateways'.
const SIMULATION: &str = "line-";
/// Those that play the cloud and the people at the doors.
const HARNESS: [&str; 3] = ["fleet", "consumer", "sync"];

/// What was used between two moments. Processor time is of one core.
pub struct Usage {
    /// Resident memory that came with the fleet, a gateway; in one process with its simulated building.
    pub megabytes: f64,
    /// All gateways, without their simulated buildings.
    pub gateways_percent: f64,
    pub lines_percent: f64,
    pub harness_percent: f64,
    pub broker_percent: f64,
    /// How busy the whole machine was, of all its cores.
    pub busy_percent: f64,
    pub cores: usize,
    /// Open files of the process that has most of them, and how many it may have.
    pub files: usize,
    pub files_limit: u64,
    pub threads: usize,
}

/// Processor time at a moment.
pub struct Sample {
    at: Mono,
    gateways: Duration,
    lines: Duration,
    harness: Duration,
    broker: Duration,
    broker_pid: u32,
    /// Of the machine, in its ticks: busy and all.
    ticks: (u64, u64),
}

impl Sample {
    pub fn take(broker_pid: u32, homes: &[Home]) -> anyhow::Result<Self> {
        let own = std::process::id();
        let is_line = |name: &str| name.starts_with(SIMULATION);
        let is_harness = |name: &str| HARNESS.contains(&name);
        let mut gateways = processor_time(own, |name| !is_line(name) && !is_harness(name))?;
        for process in homes.iter().filter_map(Home::process) {
            gateways += processor_time(process, |_| true)?;
        }
        Ok(Self {
            at: clock::mono(),
            gateways,
            lines: processor_time(own, is_line)?,
            harness: processor_time(own, is_harness)?,
            broker: processor_time(broker_pid, |_| true)?,
            broker_pid,
            ticks: machine_ticks()?,
        })
    }

    /// What was used since, by these gateways; before them `megabytes` were resident.
    pub fn until_now(&self, homes: &[Home], megabytes: f64) -> anyhow::Result<Usage> {
        let now = Self::take(self.broker_pid, homes)?;
        let time = now.at.since(self.at).as_secs_f64();
        let percent = |from: Duration, to: Duration| 100.0 * to.saturating_sub(from).as_secs_f64() / time;
        let processes: Vec<u32> = homes.iter().filter_map(Home::process).collect();
        let own = std::process::id();
        let resident = if processes.is_empty() {
            resident_megabytes(own)? - megabytes
        } else {
            processes.iter().map(|process| resident_megabytes(*process)).sum::<anyhow::Result<f64>>()?
        };
        let all = || processes.iter().copied().chain([own]);
        let count = |process: u32, what: &str| {
            fs::read_dir(format!("/proc/{process}/{what}")).map_or(0, Iterator::count)
        };
        let (busy, total) = (now.ticks.0 - self.ticks.0, now.ticks.1 - self.ticks.1);
        Ok(Usage {
            megabytes: resident / homes.len() as f64,
            gateways_percent: percent(self.gateways, now.gateways),
            lines_percent: percent(self.lines, now.lines),
            harness_percent: percent(self.harness, now.harness),
            broker_percent: percent(self.broker, now.broker),
            busy_percent: 100.0 * busy as f64 / total.max(1) as f64,
            cores: std::thread::available_parallelism()?.get(),
            files: all().map(|process| count(process, "fd")).max().unwrap_or_default(),
            files_limit: getrlimit(Resource::RLIMIT_NOFILE)?.0,
            threads: all().map(|process| count(process, "task")).sum(),
        })
    }
}

/// Resident memory of a process.
pub fn resident_megabytes(process: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    let kilobytes: f64 = kilobytes.context("no VmRSS in the status of a process")?;
    Ok(kilobytes / 1024.0)
}

/// How long the machine was busy, and all of its time, in ticks of all cores.
fn machine_ticks() -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("an empty /proc/stat")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two already.
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}

/// Time that the threads of a process whose name is `counted` have had on a core.
fn processor_time(pid: u32, counted: impl Fn(&str) -> bool) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        // One that has just ended is not there any more.
        let Ok(name) = fs::read_to_string(thread.join("comm")) else { continue };
        let Ok(times) = fs::read_to_string(thread.join("schedstat")) else { continue };
        if counted(name.trim_end()) {
            let on_core = times.split_whitespace().next().context("an empty schedstat")?;
            nanos += on_core.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

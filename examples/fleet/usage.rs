//! What processes need, from /proc.

use std::{fs, time::Duration};

use anyhow::Context;
use intercom_gateway::{clock, domain::Mono};

/// Threads that simulate the buildings are called so; what they need is not the gateways'.
const SIMULATION: &str = "line-";

/// What was used between two moments.
pub struct Usage {
    /// Resident memory that came with the fleet, a gateway; with its simulated building.
    pub megabytes: f64,
    /// Processor time a gateway, of one core, without its simulated building.
    pub gateway_percent: f64,
    /// Processor time of the broker, of one core.
    pub broker_percent: f64,
}

/// Processor time at a moment.
pub struct Sample {
    at: Mono,
    gateways: Duration,
    broker: Duration,
    broker_pid: u32,
}

impl Sample {
    pub fn take(broker_pid: u32) -> anyhow::Result<Self> {
        Ok(Self {
            at: clock::mono(),
            gateways: processor_time(std::process::id(), |name| !name.starts_with(SIMULATION))?,
            broker: processor_time(broker_pid, |_| true)?,
            broker_pid,
        })
    }

    /// What was used since, by `count` gateways; before them `megabytes` were resident.
    pub fn until_now(&self, count: usize, megabytes: f64) -> anyhow::Result<Usage> {
        let now = Self::take(self.broker_pid)?;
        let time = now.at.since(self.at).as_secs_f64();
        let percent = |from: Duration, to: Duration| 100.0 * to.saturating_sub(from).as_secs_f64() / time;
        Ok(Usage {
            megabytes: (resident_megabytes()? - megabytes) / count as f64,
            gateway_percent: percent(self.gateways, now.gateways) / count as f64,
            broker_percent: percent(self.broker, now.broker),
        })
    }
}

/// Resident memory of this process.
pub fn resident_megabytes() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    let kilobytes: f64 = kilobytes.context("no VmRSS in /proc/self/status")?;
    Ok(kilobytes / 1024.0)
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

//! Panels by somebody else: libosdp, on the second port of one of our paced lines (tests/peers/osdp_pd.py).

use std::{
    io::Write,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::sync_channel,
    time::Duration,
};

use intercom_gateway::{
    domain::Name,
    simulate::{
        line::{LineRate, LineSettings},
        shell::{LineSpec, RunningLine},
    },
};
use serde_json::Value;

use super::{Events, peers};

/// Panels on a line; killed at the end.
pub struct Panels {
    child: Child,
    input: ChildStdin,
    /// What they tell.
    pub told: Events,
}

impl Panels {
    /// Starts panels at `addresses` (separated by commas) on the far end of a line.
    pub fn start(port: &Path, baud: u32, addresses: &str, options: &[&str]) -> Self {
        let mut child = Command::new(peers::python())
            .arg(peers::program("osdp_pd.py"))
            .args(["--baud", &baud.to_string(), "--addr", addresses, "--dev"])
            .arg(port)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = Events::of("the libosdp panels", child.stdout.take().unwrap());
        told.wait("the panels' start", |word| word["ev"] == "ready");
        Self { input: child.stdin.take().unwrap(), child, told }
    }

    /// Gives them a line of their grammar.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// The next command of this name that a panel carried out.
    pub fn wait_command(&mut self, address: u8, name: &str) -> Value {
        self.told.wait(&format!("{name} at panel {address}"), |word| {
            word["ev"] == "cmd" && word["name"] == name && word["addr"] == address
        })
    }

    /// As [`Panels::wait_command`], where it may also not come: for what is tried again.
    pub fn command_within(&mut self, time: Duration, address: u8, name: &str) -> Option<Value> {
        let is_it = |word: &Value| word["ev"] == "cmd" && word["name"] == name && word["addr"] == address;
        self.told.wait_within(time, is_it)
    }

    /// Whether the light at a panel's reader is switched to a colour within a time.
    pub fn light_within(&mut self, time: Duration, address: u8, colour: u8) -> bool {
        let is_it =
            |word: &Value| word["name"] == "LED" && word["addr"] == address && word["on_color"] == colour;
        self.told.wait_within(time, is_it).is_some()
    }

    /// Waits until a panel's secure channel is open, or is closed.
    pub fn wait_secured(&mut self, address: u8, active: bool) {
        self.told.wait(&format!("secure channel {active} at panel {address}"), |word| {
            word["ev"] == "sc" && word["addr"] == address && word["active"] == active
        });
    }

    /// How many commands of this name a panel has carried out.
    pub fn count_commands(&self, address: u8, name: &str) -> usize {
        self.told.count(|word| word["ev"] == "cmd" && word["name"] == name && word["addr"] == address)
    }
}

impl Drop for Panels {
    fn drop(&mut self) {
        // Already ended: nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of its baud rate's pace: `link` becomes the gateway's end, the second port is the panels'.
pub fn line(link: &Path, baud: u32) -> RunningLine {
    let spec = LineSpec {
        ports: vec![Some(link.to_owned()), None],
        ..LineSpec::new(Name::new("line").unwrap(), LineSettings::clean(Some(LineRate::osdp(baud))))
    };
    // Nobody is on the line itself to be seen.
    let (sightings, _) = sync_channel(1);
    RunningLine::start(&spec, Vec::new(), sightings).unwrap()
}

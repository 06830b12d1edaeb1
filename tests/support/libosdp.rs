//! Panels by somebody else: libosdp, on the second port of one of our paced lines (tests/peers/osdp_pd.py).

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::sync_channel,
};

use intercom_gateway::{
    domain::Name,
    simulate::{
        line::{LineRate, LineSettings},
        shell::{LineSpec, RunningLine},
    },
};

use super::Events;

/// Where `tools/peers-venv` puts the environment unless told otherwise.
const ENVIRONMENT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../peers-venv");
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/osdp_pd.py");

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
        let mut child = Command::new(python())
            .arg(PROGRAM)
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
    pub fn wait_command(&mut self, address: u8, name: &str) -> serde_json::Value {
        self.told.wait(&format!("{name} at panel {address}"), |word| {
            word["ev"] == "cmd" && word["name"] == name && word["addr"] == address
        })
    }

    /// Waits until the light at a panel's reader is switched to a colour.
    pub fn wait_light(&mut self, address: u8, colour: u8) {
        self.told.wait(&format!("colour {colour} at panel {address}"), |word| {
            word["name"] == "LED" && word["addr"] == address && word["on_color"] == colour
        });
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

fn python() -> PathBuf {
    let place = std::env::var_os("INTERCOM_GATEWAY_PEERS").map_or_else(|| ENVIRONMENT.into(), PathBuf::from);
    let python = place.join("bin/python");
    assert!(
        python.exists() && place.join("requirements.txt").exists(),
        "the libosdp panels have no Python environment in {}: run tools/peers-venv, or ./check, which does",
        place.display()
    );
    python
}

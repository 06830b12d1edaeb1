//! Modbus panels by somebody else: pymodbus, on the second port of one of our paced lines (tests/peers/modbus_panels.py),
//! and mbpoll, a client by somebody else again.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use intercom_gateway::clock;
use serde_json::Value;

use super::{Events, lines::PATIENCE, peers};

/// Panels on a line; killed at the end.
pub struct Panels {
    child: Child,
    input: ChildStdin,
    /// What they tell.
    pub told: Events,
}

impl Panels {
    /// Starts panels with these ids (separated by commas) on the far end of a line.
    pub fn start(port: &Path, baud: u32, ids: &str) -> Self {
        let mut child = Command::new(peers::python())
            .arg(peers::program("modbus_panels.py"))
            .args(["--baud", &baud.to_string(), "--ids", ids, "--dev"])
            .arg(port)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = Events::of("the pymodbus panels", child.stdout.take().unwrap());
        told.wait("the panels' start", |word| word["ev"] == "ready");
        Self { input: child.stdin.take().unwrap(), child, told }
    }

    /// Gives them a line of their grammar.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Sets registers, and waits until they are set.
    pub fn set(&mut self, id: u8, kind: &str, address: u16, values: &[u16]) {
        let values: Vec<String> = values.iter().map(u16::to_string).collect();
        self.tell(&format!("set {id} {kind} {address} {}", values.join(" ")));
        let done = self.told.wait("registers being set", |word| word["ev"] == "set");
        assert_eq!(done["refusal"], Value::Null);
    }

    /// The next write to a register over the line: its value.
    pub fn wait_write(&mut self, id: u8, kind: &str, address: u16) -> u64 {
        let value = |word: &Value| value_written(word, id, kind, address);
        let what = format!("a write to {kind} {address} of panel {id}");
        let word = self.told.wait(&what, |word| value(word).is_some());
        value(&word).expect("it was waited for")
    }

    /// All values that were written to a register so far.
    pub fn written(&self, id: u8, kind: &str, address: u16) -> Vec<u64> {
        self.told.so_far().iter().filter_map(|word| value_written(word, id, kind, address)).collect()
    }
}

impl Drop for Panels {
    fn drop(&mut self) {
        // Already ended: nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn value_written(word: &Value, id: u8, kind: &str, address: u16) -> Option<u64> {
    if word["ev"] != "write" || word["id"] != id || word["kind"] != kind {
        return None;
    }
    let offset = u64::from(address).checked_sub(word["address"].as_u64()?)?;
    word["values"].get(usize::try_from(offset).ok()?)?.as_u64()
}

/// Reads registers by mbpoll, on a line that nobody else uses: coils (`0`) or holding registers (`4`), by address.
pub fn mbpoll(port: &Path, baud: u32, id: u8, table: &str, address: u16, count: u16) -> BTreeMap<u16, u16> {
    let deadline = clock::mono() + PATIENCE;
    // A busy machine may be too late for its time limit, and what the daemon was asking for may still be answered.
    loop {
        let output = Command::new("mbpoll")
            .args(["-m", "rtu", "-P", "none", "-b", &baud.to_string(), "-a", &id.to_string(), "-t", table])
            .args(["-0", "-1", "-o", "5", "-r", &address.to_string(), "-c", &count.to_string()])
            .arg(port)
            .output()
            .expect("mbpoll is installed (apt-get install mbpoll)");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // "[430]: \t30", and behind a value above 32767 its signed reading.
        let register = |line: &str| {
            let (address, value) = line.strip_prefix('[')?.split_once("]:")?;
            Some((address.parse().ok()?, value.split_whitespace().next()?.parse().ok()?))
        };
        let registers: BTreeMap<u16, u16> = said.lines().filter_map(register).collect();
        if registers.len() == usize::from(count) {
            return registers;
        }
        assert!(clock::mono() < deadline, "mbpoll does not read the panel: {said}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

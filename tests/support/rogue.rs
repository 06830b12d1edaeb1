//! A panel in an attacker's hands, and somebody on the wire (tests/peers/rogue.py).

use std::{
    io::Write,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Events, peers};

pub const ID: u8 = 0x61;
pub const CAP: u8 = 0x62;
pub const OUT: u8 = 0x68;
pub const LED: u8 = 0x69;
pub const COMSET: u8 = 0x6E;
pub const KEYSET: u8 = 0x75;
pub const CHLNG: u8 = 0x76;
pub const SCRYPT: u8 = 0x77;

pub const RSTATR: u8 = 0x4B;
pub const FMT: u8 = 0x51;
pub const KEYPAD: u8 = 0x53;

/// The serial number of a panel that was not told another one.
pub const SERIAL: u32 = 0x1000;

/// What has been seen up to a number of commands.
pub struct Mark {
    /// How often in a row, at most, the same command in a secure channel has been sent since the start.
    pub repeats: u64,
    /// How many POLLs have reached the panel since the start.
    pub polls: u64,
}

/// A panel on a line of its own; killed at the end.
///
/// Waits see only what came after the latest order.
pub struct Rogue {
    child: Child,
    input: ChildStdin,
    /// What it tells.
    pub told: Events,
}

impl Rogue {
    /// Starts a panel; `link` becomes the gateway's end of its line.
    pub fn start(link: &Path, options: &[&str]) -> Self {
        let mut child = Command::new("python3")
            // No compiled files beside the sources.
            .arg("-B")
            .arg(peers::program("rogue.py"))
            .arg("--link")
            .arg(link)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut told = Events::of("the rogue panel", child.stdout.take().unwrap());
        told.wait("the panel's start", |word| word["done"] == "start");
        Self { input: child.stdin.take().unwrap(), child, told }
    }

    /// Gives an order, and waits until it is in force.
    fn order(&mut self, order: &Value) {
        writeln!(self.input, "{order}").unwrap();
        self.told.wait(&format!("the end of {order}"), |word| word["done"] == order["do"]);
    }

    /// Presents a card, in whole bytes.
    pub fn card(&mut self, code: &str) {
        self.order(&json!({"do": "card", "code": code, "bits": code.len() * 4}));
    }

    /// Answers a POLL with this reply.
    pub fn report(&mut self, code: u8, data: &str) {
        self.order(&json!({"do": "report", "code": code, "data": data}));
    }

    /// Changes its inputs, and reports them.
    pub fn inputs(&mut self, states: &str) {
        self.order(&json!({"do": "inputs", "data": states}));
    }

    /// Changes how the panel behaves: a name of `BEHAVIOURS` in the program, or `honest`.
    pub fn behave(&mut self, name: &str) {
        self.order(&json!({"do": "behave", "as": name}));
    }

    /// Changes what is done on the wire: a name of `ATTACKS` in the program; `pass` is nothing.
    pub fn wire(&mut self, mode: &str) {
        self.order(&json!({"do": "wire", "mode": mode}));
    }

    /// Presents a card, and does something on the wire for this time; returns when it is over.
    pub fn hold(&mut self, time: Duration, mode: &str, code: &str) {
        let (seconds, bits) = (time.as_secs_f64(), code.len() * 4);
        self.order(&json!({"do": "hold", "mode": mode, "seconds": seconds, "code": code, "bits": bits}));
        self.told.wait("the wire being released", |word| word["seen"] == "released");
    }

    /// Puts another panel in its place: an honest one.
    pub fn swap(&mut self, key: Option<&str>, serial: u32, refuses_default: bool) {
        self.order(&json!({"do": "swap", "key": key, "serial": serial, "refuses_default": refuses_default}));
    }

    /// Waits until the gateway has sent this many commands more, or for a time where it sends fewer.
    pub fn mark(&mut self, commands: u32, time: Duration) -> Mark {
        self.order(&json!({"do": "mark", "commands": commands, "seconds": time.as_secs_f64()}));
        let mark = self.told.wait("a number of commands", |word| word["seen"] == "mark");
        let number = |key: &str| mark[key].as_u64().unwrap();
        Mark { repeats: number("repeats"), polls: number("polls") }
    }

    /// Waits for what is done once.
    pub fn wait_struck(&mut self) {
        self.told.wait("what is done once", |word| word["seen"] == "struck");
    }

    /// Waits for an unlock on the wire, whatever becomes of it there.
    pub fn wait_unlock_sent(&mut self) {
        self.told.wait("an unlock on the wire", |word| word["seen"] == "unlock_sent");
    }

    /// Waits for a command that the panel has taken.
    pub fn wait_command(&mut self, code: u8) -> Value {
        self.told.wait(&format!("command {code:02x}"), |word| is_command(word, code))
    }

    /// Waits for a command for a time: for what is tried again.
    pub fn command_within(&mut self, time: Duration, code: u8) -> Option<Value> {
        self.told.wait_within(time, |word| is_command(word, code))
    }

    /// Waits for the light at the reader to be switched, and returns its colour.
    pub fn wait_light(&mut self) -> Colour {
        let led = self.wait_command(LED);
        match &hex::decode(led["data"].as_str().unwrap()).unwrap()[..] {
            [_reader, _led, _code, _on, _off, 1, ..] => Colour::Red,
            [_reader, _led, _code, _on, _off, 2, ..] => Colour::Green,
            other => panic!("a light of another colour: {other:02x?}"),
        }
    }

    /// Returns the commands with this code that the panel has taken so far.
    pub fn commands(&self, code: u8) -> Vec<Value> {
        self.told.so_far().into_iter().filter(|word| is_command(word, code)).collect()
    }

    /// Waits for a handshake that succeeds with this key, `own` or `default`.
    pub fn wait_session(&mut self, key: &str) {
        let what = format!("a secure channel under its {key} key");
        self.told.wait(&what, |word| word["seen"] == "secure" && word["key"] == key);
    }

    /// Returns how many handshakes have succeeded so far with this key, `own` or `default`.
    pub fn sessions(&self, key: &str) -> usize {
        self.told.count(|word| word["seen"] == "secure" && word["key"] == key)
    }

    /// Returns how many challenges have come so far for this key, `own` or `default`.
    pub fn challenges(&self, key: &str) -> usize {
        self.commands(CHLNG).iter().filter(|command| command["key"] == key).count()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        // Already ended: nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A colour of the light at a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The door stays shut.
    Red,
    /// The door opens.
    Green,
}

fn is_command(word: &Value, code: u8) -> bool {
    word["seen"] == "command" && word["code"] == code
}

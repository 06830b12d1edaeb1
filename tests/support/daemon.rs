//! The daemon as a process.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use intercom_gateway::{clock, domain::HealthCode};
use serde_json::Value;

use super::{Events, Lines, Site, lines::PATIENCE};

/// A running daemon; killed where a test ends without stopping it.
pub struct Daemon {
    child: Child,
    /// What it logs.
    pub log: Lines,
    followers: Vec<Child>,
}

impl Daemon {
    /// Starts it and waits until it runs.
    pub fn start(site: &Site) -> Self {
        Self::spawn(&mut site.command(["run"]))
    }

    /// Starts it by a prepared command and waits until it runs.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = Lines::of("the daemon's log", child.stderr.take().unwrap());
        log.wait("the daemon's start", |line| line.contains("INFO started gateway=").then_some(()));
        log.rewind();
        Self { child, log, followers: Vec::new() }
    }

    /// Follows its journal from a sequence on.
    pub fn events(&mut self, site: &Site, from: u64) -> Events {
        let from = from.to_string();
        let mut command = site.command(["journal", "--follow", "--json", "--from", &from]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let events = Events::of("the journal", child.stdout.take().unwrap());
        self.followers.push(child);
        events
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it serves HTTP; `None`: it does not yet.
    pub fn address_so_far(&self) -> Option<SocketAddr> {
        const PLACE: &str = "http, without TLS address=";
        let log = self.log.so_far();
        log.iter().find_map(|line| line.split_once(PLACE)).map(|(_, address)| address.trim().parse().unwrap())
    }

    /// Where it serves HTTP, once it does.
    pub fn address(&self) -> SocketAddr {
        let deadline = clock::mono() + PATIENCE;
        loop {
            if let Some(address) = self.address_so_far() {
                return address;
            }
            assert!(clock::mono() < deadline, "it serves no plain HTTP");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// What `/healthz` says to those without a token: whether all is well, and codes of what is not.
    pub fn health(&self) -> Value {
        self.health_for("")
    }

    /// What `/healthz` says to those who have this token.
    pub fn health_for(&self, token: &str) -> Value {
        let (status, body) = self.ask("GET", "/healthz", token);
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Whether `/healthz` has a reason of this code.
    pub fn has_reason(&self, code: HealthCode) -> bool {
        let health = self.health();
        let mut reasons = health["reasons"].as_array().expect("a list").iter();
        health["status"] == "degraded" && reasons.any(|reason| reason["code"] == code.as_str())
    }

    /// Waits until `/healthz` has a reason of this code: it looks around once a second.
    pub fn wait_health(&self, code: HealthCode) {
        self.wait_reason("", code, |_| true);
    }

    /// Waits until `/healthz` has a reason of this code that `is_it` takes for the one that is meant.
    pub fn wait_reason(&self, token: &str, code: HealthCode, is_it: impl Fn(&Value) -> bool) {
        let deadline = clock::mono() + PATIENCE;
        loop {
            let health = self.health_for(token);
            let mut reasons = health["reasons"].as_array().expect("a list").iter();
            if reasons.any(|reason| reason["code"] == code.as_str() && is_it(reason)) {
                return;
            }
            assert!(clock::mono() < deadline, "waited for {code:?} in {health}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Waits until `/metrics` has a sample of this name and these labels for which `is_it` holds.
    pub fn wait_metric(&self, token: &str, sample: &str, is_it: impl Fn(f64) -> bool) {
        let deadline = clock::mono() + PATIENCE;
        loop {
            let (_, page) = self.ask("GET", "/metrics", token);
            let page = page.as_str().expect("text");
            let value =
                page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
            if value.is_some_and(&is_it) {
                return;
            }
            assert!(clock::mono() < deadline, "waited for {sample} in:\n{page}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// A request with a token: the status, and its answer as JSON, as text where it is none, null where there is none.
    pub fn ask(&self, method: &str, path: &str, token: &str) -> (u16, Value) {
        self.ask_with(method, path, token, "")
    }

    /// The rate of the first bus, bits a second.
    pub fn baud(&self, token: &str) -> u64 {
        self.ask("GET", "/api/local/v1/buses", token.trim()).1["data"][0]["baud"].as_u64().unwrap()
    }

    /// As [`Daemon::ask`], with a body.
    pub fn ask_with(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{head}")), body_of(body))
    }

    /// Processor time that it has taken, in ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // proc(5): utime and stime are the 14th and 15th field, the name in parentheses is the second.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Stops it as systemd does. It must end by itself, and say that all is well; gives its log.
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::SIGTERM);
        self.log.wait_for_end();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the daemon ended with {status}: {:#?}", self.log.so_far());
        self.log.so_far()
    }

    /// How it has ended, where it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills it as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for child in self.followers.iter_mut().chain([&mut self.child]) {
            // Already ended: nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log.so_far().join("\n"));
        }
    }
}

fn body_of(body: &str) -> Value {
    match serde_json::from_str(body) {
        Ok(value) => value,
        Err(_) if body.is_empty() => Value::Null,
        Err(_) => Value::String(body.to_owned()),
    }
}

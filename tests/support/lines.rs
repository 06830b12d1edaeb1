//! Lines that another process prints, waited for one by one.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use intercom_gateway::clock;
use serde_json::Value;

/// What does not happen within this time never does. Far above anything that is waited for (the slowest is a panel
/// that goes offline, 8 s), because test machines are slow and busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::mono() + PATIENCE;
    while !holds() {
        assert!(clock::mono() < deadline, "it did not come to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many lines a failure shows.
const SHOWN: usize = 40;

/// The output of a process, read by a thread of its own, so that the process never waits for the test.
pub struct Lines {
    name: String,
    shared: Arc<(Mutex<Output>, Condvar)>,
    next: usize,
}

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Begins to read. `name` is what failures call it.
    pub fn of(name: impl Into<String>, source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Output::default()), Condvar::new()));
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            let (output, changed) = &*writer;
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                output.lock().unwrap().lines.push(line);
                changed.notify_all();
            }
            output.lock().unwrap().ended = true;
            changed.notify_all();
        });
        Self { name: name.into(), shared, next: 0 }
    }

    /// The first line, among those not yet passed over, of which `find` makes something; passes over it and all
    /// before it.
    pub fn wait<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        if let Some(found) = self.wait_within(PATIENCE, find) {
            return found;
        }
        let output = self.shared.0.lock().unwrap();
        let why = if output.ended { "it has ended" } else { "it did not come in time" };
        let tail = output.lines.split_at(output.lines.len().saturating_sub(SHOWN)).1.join("\n");
        drop(output);
        panic!("{}: waited for {what}, but {why}. Its last lines:\n{tail}", self.name);
    }

    /// As [`Lines::wait`], where it may also not come: for what is tried again.
    pub fn wait_within<T>(&mut self, time: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = clock::mono() + time;
        let (output, changed) = &*Arc::clone(&self.shared);
        let mut output = output.lock().unwrap();
        loop {
            while let Some(line) = output.lines.get(self.next) {
                self.next += 1;
                if let Some(found) = find(line) {
                    return Some(found);
                }
            }
            let left = deadline.since(clock::mono());
            if output.ended || left.is_zero() {
                return None;
            }
            output = changed.wait_timeout(output, left).unwrap().0;
        }
    }

    /// Passes over nothing any more: the next wait looks at all lines.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// Waits for the end of the output.
    pub fn wait_for_end(&self) {
        let (output, changed) = &*self.shared;
        let guard = output.lock().unwrap();
        let (guard, result) = changed.wait_timeout_while(guard, PATIENCE, |output| !output.ended).unwrap();
        drop(guard);
        assert!(!result.timed_out(), "{}: it does not end", self.name);
    }

    /// All lines so far, whether passed over or not.
    pub fn so_far(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// How many lines so far contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.so_far().iter().filter(|line| line.contains(text)).count()
    }
}

/// Lines that are JSON objects: the events of a journal, or what a panel tells.
pub struct Events(Lines);

impl Events {
    /// Reads objects from a process.
    pub fn of(name: impl Into<String>, source: impl Read + Send + 'static) -> Self {
        Self(Lines::of(name, source))
    }

    /// The first object, among those not yet passed over, that `is_it`; passes over it and all before it.
    pub fn wait(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.0.wait(what, |line| Some(object(line)).filter(&is_it))
    }

    /// As [`Events::wait`], where it may also not come: for what is tried again.
    pub fn wait_within(&mut self, time: Duration, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        self.0.wait_within(time, |line| Some(object(line)).filter(&is_it))
    }

    /// The next event of a type.
    pub fn wait_type(&mut self, kind: &str) -> Value {
        self.wait(kind, |event| event["type"] == kind)
    }

    /// The next event of a type about a panel.
    pub fn wait_panel(&mut self, kind: &str, panel: &str) -> Value {
        self.wait(&format!("{kind} of {panel}"), |event| event["type"] == kind && event["subject"] == panel)
    }

    /// Passes over nothing any more: the next wait looks at all objects.
    pub fn rewind(&mut self) {
        self.0.rewind();
    }

    /// All objects so far, whether passed over or not.
    pub fn so_far(&self) -> Vec<Value> {
        self.0.so_far().iter().map(|line| object(line)).collect()
    }

    /// How many objects so far are such.
    pub fn count(&self, is_it: impl Fn(&Value) -> bool) -> usize {
        self.so_far().iter().filter(|event| is_it(event)).count()
    }

    /// How many events of a type there have been.
    pub fn count_type(&self, kind: &str) -> usize {
        self.count(|event| event["type"] == kind)
    }
}

fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON object ({error}): {line}"))
}

//! The desk in virtual time: what is obeyed, what is not, and, by seed, that nothing is obeyed twice whatever
//! crashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::cloud::{session::Ack, signature::Refused};

const START: &str = "2026-11-23T22:00:00Z";

fn session(number: u128) -> Uuid {
    Uuid::from_u128(0xA000 + number)
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

/// A desk with a disk and a gateway that do at once what they are asked for.
struct Rig {
    desk: Desk,
    now: Mono,
    synchronized: bool,
    disk: BTreeMap<Uuid, Option<String>>,
    full: bool,
    performed: Vec<Order>,
    results: Vec<Value>,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self {
            desk: Desk::new([]),
            now: at(0),
            synchronized: true,
            disk: BTreeMap::new(),
            full: false,
            performed: Vec::new(),
            results: Vec::new(),
        };
        rig.desk.connected(session(1));
        rig.desk.online(rig.time(), rig.now);
        rig
    }

    fn time(&self) -> Believed {
        let present: Timestamp = START.parse().unwrap();
        let present = present + self.now.since(Mono::ZERO);
        if self.synchronized { Believed::Now(present) } else { Believed::AtLeast(present) }
    }

    /// Gives a message to the desk, and does what follows; the last result.
    fn send(&mut self, message: &Value) -> Value {
        self.send_raw(message.to_string().as_bytes(), None, false)
    }

    fn send_raw(&mut self, payload: &[u8], refused: Option<Refused>, retained: bool) -> Value {
        let incoming = Incoming { payload: payload.to_vec(), refused, retained };
        self.desk.received(incoming, self.time(), self.now);
        self.settle();
        self.results.last().cloned().unwrap_or(Value::Null)
    }

    fn settle(&mut self) {
        while let Some(effect) = self.desk.poll(self.now) {
            let time = self.time();
            match effect {
                Effect::Register { id, .. } => {
                    let registered = match self.disk.get(&id) {
                        Some(first) => Registered::Known(first.clone()),
                        None if self.full => Registered::Failed("disk full".into()),
                        None => {
                            self.disk.insert(id, None);
                            Registered::New
                        }
                    };
                    self.desk.registered(id, registered, time, self.now);
                }
                Effect::Recall { id } => {
                    let first = self.disk.get(&id).cloned();
                    let registered = first.map_or(Registered::Unknown, Registered::Known);
                    self.desk.registered(id, registered, time, self.now);
                }
                Effect::Perform(order) => {
                    self.performed.push(order.clone());
                    self.desk.performed(order.id, Outcome::Done(json!({"n": self.performed.len()})));
                }
                Effect::Keep { id, result } => {
                    self.disk.insert(id, Some(result));
                    self.desk.kept(id);
                }
                Effect::Publish { token, payload } => {
                    self.results.push(serde_json::from_str(&payload).unwrap());
                    self.desk.acknowledged(token, &Ack::Accepted, self.now);
                }
            }
        }
    }
}

fn unlock(number: u128, expires_at: &str, of: Uuid) -> Value {
    json!({"id": id(number), "command": "unlock", "args": {"panel": "entrance-1", "duration": 3},
           "expires_at": expires_at, "session": of, "more": [1]})
}

fn report(number: u128, expires_at: &str) -> Value {
    json!({"id": id(number), "command": "report", "args": null, "expires_at": expires_at})
}

fn code(result: &Value) -> (&str, &str) {
    (result["status"].as_str().unwrap_or(""), result["error"]["code"].as_str().unwrap_or(""))
}

#[test]
fn an_unlock_is_obeyed_once_and_a_repetition_gets_the_first_result() {
    let mut rig = Rig::new();
    let message = unlock(1, "2026-11-23T22:00:30Z", session(1));
    let first = rig.send(&message);
    assert_eq!(
        first,
        json!({"id": id(1), "command": "unlock", "status": "done", "error": null, "data": {"n": 1}})
    );
    let unlock = Unlock { panel: Some("entrance-1".into()), tenths: 30.try_into().ok(), intercom: None };
    assert_eq!(rig.performed, [Order { id: id(1), command: Command::Unlock(unlock), caused: at(0) }]);

    for (seconds, of) in [(1, 1), (100, 1), (100, 2)] {
        rig.now = at(seconds);
        rig.desk.connected(session(of));
        rig.desk.online(rig.time(), rig.now);
        let again = rig.send(&message);
        assert_eq!(code(&again), ("duplicate", ""));
        assert_eq!(again["data"]["first"], first);
    }
    assert_eq!(rig.performed.len(), 1);
}

#[test]
fn what_is_late_early_or_meant_for_another_connection_is_not_obeyed() {
    let mut rig = Rig::new();
    let cases = [
        (unlock(1, "2026-11-23T21:59:59Z", session(1)), ("expired", "")),
        (unlock(2, "2026-11-23T22:00:00Z", session(1)), ("expired", "")),
        (unlock(3, "2026-11-23T22:01:01Z", session(1)), ("rejected", "invalid")),
        (unlock(4, "2026-11-23T22:00:30Z", session(2)), ("rejected", "stale_session")),
        (report(5, "2026-11-24T22:00:01Z"), ("rejected", "invalid")),
        (report(6, "2020-01-01T00:00:00Z"), ("expired", "")),
    ];
    for (message, expected) in &cases {
        let result = rig.send(message);
        assert_eq!(code(&result), *expected, "{message}");
        assert_eq!(result["id"], message["id"]);
    }
    let mut without = unlock(7, "2026-11-23T22:00:30Z", session(1));
    without["session"] = Value::Null;
    assert_eq!(code(&rig.send(&without)), ("rejected", "invalid"));
    assert_eq!((rig.performed.len(), rig.disk.len()), (0, 0), "nothing done, and nothing remembered");
    assert_eq!(code(&rig.send(&unlock(8, "2026-11-23T22:01:00Z", session(1)))), ("done", ""));
    assert_eq!(code(&rig.send(&report(9, "2026-11-24T22:00:00Z"))), ("done", ""));
}

#[test]
fn while_the_clock_is_unsynchronised_an_unlock_is_decided_by_its_session_alone() {
    let mut rig = Rig::new();
    rig.synchronized = false;
    for (number, expires_at) in [(1, "2020-01-01T00:00:00Z"), (2, "2036-01-01T00:00:00Z")] {
        assert_eq!(code(&rig.send(&unlock(number, expires_at, session(1)))), ("done", ""));
    }
    let other = unlock(3, "2026-11-23T22:00:30Z", session(2));
    assert_eq!(code(&rig.send(&other)), ("rejected", "stale_session"));
    // It is at least so late, so what is over is over; how far ahead the rest lies cannot be told.
    assert_eq!(code(&rig.send(&report(4, "2020-01-01T00:00:00Z"))), ("expired", ""));
    assert_eq!(code(&rig.send(&report(5, "2036-01-01T00:00:00Z"))), ("done", ""));
}

#[test]
fn what_is_retained_or_not_signed_is_refused_by_name() {
    let mut rig = Rig::new();
    let message = report(1, "2026-11-23T22:00:30Z").to_string();
    let retained = rig.send_raw(message.as_bytes(), None, true);
    assert_eq!((code(&retained), &retained["id"]), (("rejected", "retained"), &json!(id(1))));
    let unsigned = rig.send_raw(message.as_bytes(), Some(Refused::Unsigned), false);
    assert_eq!((code(&unsigned), &unsigned["command"]), (("rejected", "unsigned"), &json!("report")));
    let foreign = rig.send_raw(b"\xFF", Some(Refused::WrongGateway), false);
    assert_eq!((code(&foreign), &foreign["id"]), (("rejected", "wrong_gateway"), &Value::Null));
    assert!(rig.performed.is_empty());
}

#[test]
fn no_arguments_may_be_written_as_php_does() {
    let parse = |args: &str| {
        let message = report(1, "2026-11-23T22:00:30Z").to_string().replace("null", args);
        super::request::Request::parse(message.as_bytes()).is_ok()
    };
    let answers = ["null", "{}", "[]", "[ ]", "[1]", "[[]]", "\"\""].map(parse);
    assert_eq!(answers, [true, true, true, true, false, false, false]);
}

#[test]
fn what_cannot_be_read_is_invalid_and_says_what_can() {
    let mut rig = Rig::new();
    let deep = format!("{{\"id\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let twice =
        r#"{"id":"00000000-0000-0000-0000-000000000001","id":"00000000-0000-0000-0000-000000000001"}"#;
    for payload in ["", "x", "[]", "null", "{", "\u{0}", twice, &deep, &" ".repeat(70_000)] {
        let result = rig.send_raw(payload.as_bytes(), None, false);
        assert_eq!((code(&result), &result["id"]), (("rejected", "invalid"), &Value::Null));
    }
    let good = || unlock(1, "2026-11-23T22:00:30Z", session(1));
    let with = |pointer: &str, value: Value| {
        let mut message = good();
        *message.pointer_mut(pointer).unwrap() = value;
        message
    };
    for message in [
        with("/args", json!([])),
        with("/args", json!({})),
        with("/args", json!(null)),
        with("/args/duration", json!(0.05)),
        with("/args/duration", json!(60.5)),
        with("/args/duration", json!("3")),
        with("/args/panel", json!(1)),
        with("/expires_at", json!(null)),
        with("/expires_at", json!(1)),
        with("/expires_at", json!("2026-02-30T00:00:00Z")),
        with("/session", json!("x")),
        with("/command", json!(7)),
        json!({"id": id(1), "command": "measure_line", "args": {"intercom": 1e300, "flat": 1}}),
        json!({"id": id(1), "command": "measure_line", "args": {"intercom": -1, "flat": 1}}),
        json!({"id": id(1), "command": "replay", "args": {"journal": "a", "from": 0, "to": 1}}),
        json!({"id": id(1), "command": "replay", "args": {"journal": "a", "from": 2, "to": 1}}),
        json!({"id": id(1), "command": "replay", "args": {"journal": "a", "from": 2}}),
        json!({"id": id(1), "command": "replay", "args": {"journal": "a", "from": 1, "until": "2026-11-23T22:00:00Z"}}),
        json!({"id": id(1), "command": "replay", "args": {"journal": "a", "since": "yesterday", "until": "2026-11-23T22:00:00Z"}}),
        json!({"id": id(1), "command": "replay", "args": {"journal": "a", "since": "2026-11-23T22:00:00Z", "until": "2026-11-23T22:00:00Z"}}),
        json!({"id": id(1), "command": "log_level", "args": {"filter": "debug", "for": 0}}),
        json!({"id": id(1), "command": "log_level", "args": {"filter": "debug", "for": 1e9}}),
        json!({"id": id(1), "command": "log_level", "args": {"filter": "x".repeat(2000), "for": 9}}),
    ] {
        let result = rig.send(&message);
        assert_eq!((code(&result), &result["id"]), (("rejected", "invalid"), &json!(id(1))), "{message}");
    }
    for wrong in [json!("1"), json!(1), json!("{00000000-0000-0000-0000-000000000001}"), Value::Null] {
        let result = rig.send(&with("/id", wrong));
        assert_eq!((code(&result), &result["id"]), (("rejected", "invalid"), &Value::Null));
    }
    let unknown = rig.send(&with("/command", json!("x".repeat(1000))));
    assert_eq!(code(&unknown), ("rejected", "unknown_command"));
    assert_eq!(unknown["command"].as_str().unwrap().len(), 64);
    assert!(rig.performed.is_empty() && rig.disk.is_empty());
}

#[test]
fn nothing_is_looked_at_before_status_online() {
    let mut rig = Rig::new();
    rig.desk.connected(session(2));
    rig.send(&report(1, "2026-11-23T22:00:30Z"));
    rig.send(&unlock(2, "2026-11-23T22:00:30Z", session(1)));
    assert!(rig.performed.is_empty() && rig.results.is_empty());
    rig.desk.online(rig.time(), rig.now);
    rig.settle();
    let seen: Vec<_> = rig.results.iter().map(code).collect();
    assert!(seen.contains(&("done", "")) && seen.contains(&("rejected", "stale_session")), "{seen:?}");
    rig.desk.disconnected();
    for number in 10..1000 {
        rig.send(&report(number, "2026-11-23T22:00:30Z"));
    }
    rig.desk.connected(session(3));
    rig.desk.online(rig.time(), rig.now);
    rig.settle();
    assert_eq!(rig.performed.len(), 1, "what a lost connection has left is not obeyed on the next one");
}

#[test]
fn without_a_disk_nothing_is_done() {
    let mut rig = Rig::new();
    rig.full = true;
    let message = unlock(1, "2026-11-23T22:00:30Z", session(1));
    assert_eq!(code(&rig.send(&message)), ("failed", "storage"));
    assert!(rig.performed.is_empty());
    rig.full = false;
    assert_eq!(code(&rig.send(&message)), ("done", ""), "nothing was done, so the same id may come again");
}

#[test]
fn a_flood_is_limited_and_so_is_what_is_said_of_it() {
    let mut rig = Rig::new();
    for number in 0..5000 {
        rig.desk.received(
            Incoming {
                payload: unlock(number, "2026-11-23T22:00:30Z", session(1)).to_string().into_bytes(),
                refused: None,
                retained: false,
            },
            rig.time(),
            rig.now,
        );
    }
    rig.settle();
    assert_eq!(rig.performed.len(), 20);
    let limited = rig.results.iter().filter(|result| code(result) == ("rejected", "rate_limited")).count();
    assert_eq!(limited, 64);
    assert_eq!(rig.desk.counts().refused, 4980);
    // Garbage does not keep a command away.
    for _ in 0..5000 {
        rig.send_raw(b"garbage", None, false);
    }
    rig.now = at(2);
    assert_eq!(code(&rig.send(&unlock(9999, "2026-11-23T22:00:30Z", session(1)))), ("done", ""));
}

#[test]
fn results_that_nobody_takes_are_kept_within_bounds_and_sent_again() {
    let mut rig = Rig::new();
    let mut tried = 0;
    for number in 0..600_u128 {
        rig.now = at(u64::try_from(number).unwrap());
        let message = if number % 2 == 0 { report(number, "2026-11-24T10:00:00Z") } else { json!([]) };
        let payload = message.to_string().into_bytes();
        rig.desk.received(Incoming { payload, refused: None, retained: false }, rig.time(), rig.now);
        while let Some(effect) = rig.desk.poll(rig.now) {
            match effect {
                Effect::Register { id, .. } => {
                    rig.desk.registered(id, Registered::New, rig.time(), rig.now);
                }
                Effect::Perform(order) => rig.desk.performed(order.id, Outcome::Done(Value::Null)),
                Effect::Keep { id, .. } => rig.desk.kept(id),
                Effect::Publish { token, .. } => {
                    tried += 1;
                    rig.desk.acknowledged(token, &Ack::NoSubscribers, rig.now);
                    // Not answered twice.
                    rig.desk.acknowledged(token, &Ack::Accepted, rig.now);
                }
                Effect::Recall { .. } => panic!("nothing is late"),
            }
        }
    }
    assert!(tried > 50);
    assert!(rig.desk.counts().dropped > 0);
    rig.now = at(700);
    rig.settle();
    let done = rig.results.iter().filter(|result| code(result) == ("done", "")).count();
    assert_eq!((rig.results.len(), done), (256, 256), "refusals go first");
    assert_eq!(rig.results.last().unwrap()["id"], json!(id(598)), "the newest are kept");
}

/// A cloud that repeats itself, a disk that fails, a process that dies at any moment.
#[test]
fn whatever_dies_no_command_is_performed_twice_and_each_gets_a_result() {
    for seed in 0..2_500 {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        if let Err(panic) = run {
            eprintln!("the seed that failed: {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

struct World {
    random: StdRng,
    desk: Desk,
    now: Mono,
    session: u128,
    online: bool,
    /// No more faults.
    calm: bool,
    /// What is on the disk: ids and results.
    disk: BTreeMap<Uuid, Option<String>>,
    /// What the desk asked for and has not been answered.
    waiting: Vec<Effect>,
    performed: BTreeMap<Uuid, Timestamp>,
    /// Ids that were performed, and what the cloud has heard of them.
    heard: BTreeMap<Uuid, BTreeSet<String>>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            desk: Desk::new([]),
            now: at(1000),
            session: 0,
            online: false,
            calm: false,
            disk: BTreeMap::new(),
            waiting: Vec::new(),
            performed: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    fn wall(&self) -> Timestamp {
        START.parse::<Timestamp>().unwrap() + self.now.since(Mono::ZERO)
    }

    fn time(&self) -> Believed {
        Believed::Now(self.wall())
    }

    fn run(mut self) {
        for _ in 0..120 {
            self.now = self.now + Duration::from_millis(self.random.random_range(0..4000));
            match self.random.random_range(0..12) {
                0 => self.connect(),
                1 => {
                    self.desk.disconnected();
                    self.online = false;
                }
                2 => self.crash(),
                3..=6 => self.send(),
                _ => self.answer(),
            }
            while let Some(effect) = self.desk.poll(self.now) {
                self.waiting.push(effect);
            }
        }
        // Calm: the cloud asks for what it has not heard.
        self.calm = true;
        self.connect();
        // Once more than there are ids: what waited for a pause of the last one.
        for number in 0..9 {
            self.send_again(number);
            loop {
                while let Some(effect) = self.desk.poll(self.now) {
                    self.waiting.push(effect);
                }
                if self.waiting.is_empty() {
                    break;
                }
                self.answer_well();
            }
            self.now = self.now + Duration::from_secs(60);
        }
        for (id, first) in &self.disk {
            assert!(first.is_some(), "{id} never ended");
        }
        for id in self.performed.keys() {
            let heard = self.heard.get(id).expect("the cloud has heard of it");
            assert!(heard.len() == 1, "two results that differ: {heard:?}");
        }
    }

    fn connect(&mut self) {
        self.session += 1;
        self.desk.connected(session(self.session));
        self.desk.online(self.time(), self.now);
        self.online = true;
        self.waiting.retain(|effect| !matches!(effect, Effect::Publish { .. }));
    }

    /// What the disk has stays; what it was about to write may be on it or not.
    fn crash(&mut self) {
        for effect in std::mem::take(&mut self.waiting) {
            if self.random.random_bool(0.5) {
                match effect {
                    Effect::Register { id, .. } => drop(self.disk.entry(id).or_insert(None)),
                    Effect::Keep { id, result } => drop(self.disk.insert(id, Some(result))),
                    Effect::Perform(order) => self.perform(&order),
                    _ => {}
                }
            }
        }
        let unfinished = self.disk.iter().filter(|(_, result)| result.is_none());
        self.desk = Desk::new(unfinished.map(|(id, _)| (*id, "unlock".to_owned())).collect::<Vec<_>>());
        self.online = false;
    }

    fn message(&mut self, number: u128) -> Value {
        let expires_at = (self.wall() + Duration::from_secs(self.random.random_range(0..50))).to_string();
        unlock(number, &expires_at, session(self.session))
    }

    fn send(&mut self) {
        let number = self.random.random_range(0..8);
        self.send_again(number);
    }

    fn send_again(&mut self, number: u128) {
        let message = self.message(number).to_string().into_bytes();
        let incoming = Incoming { payload: message, refused: None, retained: false };
        self.desk.received(incoming, self.time(), self.now);
    }

    fn perform(&mut self, order: &Order) {
        assert!(self.disk.contains_key(&order.id), "performed before its id was on the disk");
        let before = self.performed.insert(order.id, self.wall());
        assert_eq!(before, None, "performed twice");
    }

    /// Answers one of the things that the desk waits for, in any order.
    fn answer(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let effect = self.waiting.swap_remove(self.random.random_range(0..self.waiting.len()));
        if self.random.random_bool(0.1)
            && let Effect::Register { id, .. } = effect
        {
            let failed = Registered::Failed("disk".into());
            return self.desk.registered(id, failed, self.time(), self.now);
        }
        self.carry_out(effect);
    }

    fn answer_well(&mut self) {
        let effect = self.waiting.remove(0);
        self.carry_out(effect);
    }

    fn carry_out(&mut self, effect: Effect) {
        let time = self.time();
        match effect {
            Effect::Register { id, .. } => {
                let registered = match self.disk.get(&id) {
                    Some(first) => Registered::Known(first.clone()),
                    None => {
                        self.disk.insert(id, None);
                        Registered::New
                    }
                };
                self.desk.registered(id, registered, time, self.now);
            }
            Effect::Recall { id } => {
                let first = self.disk.get(&id).cloned();
                self.desk.registered(
                    id,
                    first.map_or(Registered::Unknown, Registered::Known),
                    time,
                    self.now,
                );
            }
            Effect::Perform(order) => {
                self.perform(&order);
                self.desk.performed(order.id, Outcome::Done(Value::Null));
            }
            Effect::Keep { id, result } => {
                self.disk.insert(id, Some(result));
                self.desk.kept(id);
            }
            Effect::Publish { token, payload } => {
                let accepted = self.calm || self.random.random_bool(0.8);
                if accepted && self.online {
                    self.hear(&serde_json::from_str(&payload).unwrap());
                }
                let ack = if accepted { Ack::Accepted } else { Ack::NoSubscribers };
                self.desk.acknowledged(token, &ack, self.now);
            }
        }
    }

    fn hear(&mut self, result: &Value) {
        let id: Uuid = result["id"].as_str().unwrap().parse().unwrap();
        let result = if result["status"] == "duplicate" { &result["data"]["first"] } else { result };
        if !result.is_null() && matches!(result["status"].as_str(), Some("done" | "failed")) {
            let storage = result["error"]["code"] == "storage";
            if !storage {
                self.heard.entry(id).or_default().insert(result.to_string());
            }
        }
    }
}

//! What is decided from flats that went through the cache, beside what contract §5 says of the same documents, read
//! again for each question.

use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, civil::DateTime};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::*;
use crate::{
    access::{Credential, Directory, Now, decide, decide_code},
    domain::{ClockQuality, KeyCode, Stamp},
    store::{Store, StoreOptions},
};

/// Documents of a run, each of some 36,000 questions; `DECISION_DOCUMENTS` asks for more.
const DOCUMENTS: u64 = 4;

/// Zones with summer time to the north and the south of the equator, one of half an hour, one that has skipped a day,
/// and one without.
const ZONES: [&str; 5] =
    ["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata"];
/// Local times around changes of these zones, some of which there were twice and some never.
const DATES: [&str; 14] = [
    "2026-03-29 01:59:59",
    "2026-03-29 02:00:00",
    "2026-03-29 02:30:00",
    "2026-03-29 03:00:00",
    "2026-10-25 02:00:00",
    "2026-10-25 02:30:00",
    "2026-10-25 02:59:59",
    "2026-04-04 23:30:00",
    "2026-04-05 01:45:00",
    "2026-09-05 23:59:59",
    "2026-09-06 00:30:00",
    "2026-10-04 02:15:00",
    "2011-12-30 12:00:00",
    "2026-06-01 00:00:00",
];
const KEYS: u64 = 8;
const CODES: [&str; 10] =
    ["0000", "00000", "1234", "01234", "12345", "9999999999", "0000000001", "4711", "471", "12345678901"];
const USERS: u64 = 6;
const INTERCOMS: [u64; 3] = [1, 2, 3];
const TIMES: usize = 130;

#[test]
fn what_is_decided_is_what_the_contract_says_of_the_documents() {
    let documents = std::env::var("DECISION_DOCUMENTS").map_or(DOCUMENTS, |n| n.parse().unwrap());
    let (mut questions, mut reasons) = (0_u64, BTreeSet::new());
    for seed in 0..documents {
        let mut random = StdRng::seed_from_u64(seed);
        let flats = flats(&mut random);
        for name in ZONES {
            let zone = TimeZone::get(name).unwrap();
            let directory = through_the_cache(&flats, &zone);
            let mut oracle = Oracle { flats: &flats, zone, instants: HashMap::new() };
            for _ in 0..TIMES {
                let now = oracle.some_time(&mut random);
                for intercom in INTERCOMS {
                    for number in 0..KEYS {
                        let found = swipe(&directory, intercom, number, now);
                        let expected = oracle.swipe(intercom, number, now);
                        assert_eq!(found, expected, "seed {seed}, {name}, {now:?}, {intercom}, key {number}");
                        reasons.insert(found["reason"].to_string());
                    }
                    for typed in CODES {
                        let found = enter(&directory, intercom, typed, now);
                        let expected = oracle.enter(intercom, typed, now);
                        assert_eq!(found, expected, "seed {seed}, {name}, {now:?}, {intercom}, {typed}");
                        reasons.insert(found["reason"].to_string());
                    }
                    questions += KEYS + CODES.len() as u64;
                }
            }
        }
    }
    // Five of keys and five of codes, `not_permitted` being of both.
    assert_eq!(reasons.len(), 9, "{reasons:?}");
    println!("{questions} decisions are as the contract says");
}

fn swipe(directory: &Directory, intercom: u64, number: u64, now: Now) -> Value {
    let credential = Credential { key: key(number), reversed: None };
    let verdict = decide(directory, intercom, Some(credential), false, now);
    json!({
        "decision": verdict.decision, "reason": verdict.reason, "id": verdict.key_id, "user": verdict.user_id,
        "flats": verdict.flats,
    })
}

fn enter(directory: &Directory, intercom: u64, typed: &str, now: Now) -> Value {
    let verdict = decide_code(directory, intercom, typed, now);
    json!({
        "decision": verdict.decision, "reason": verdict.reason, "id": verdict.code_id, "flats": verdict.flats,
    })
}

fn key(number: u64) -> KeyCode {
    KeyCode::from_u64(0x3042_CAAC + number).unwrap()
}

/// Two entrances, in which everything comes several times.
fn flats(random: &mut StdRng) -> Vec<Value> {
    let mut ids = 1..;
    let mut flats = Vec::new();
    for intercom in [1, 2] {
        // Each code is there once in an intercom, or not at all.
        let mut codes: Vec<&str> = CODES.into_iter().filter(|code| (4..=10).contains(&code.len())).collect();
        for flat_id in 1..=4_u64 {
            let user = |random: &mut StdRng| {
                let expired_at = random.random_bool(0.5).then(|| *DATES.choose(random).unwrap());
                json!({
                    "id": random.random_range(1..=USERS), "name": "n", "login": "l",
                    "created_at": DATES[0], "updated_at": DATES[0], "expired_at": expired_at,
                    "is_licence_limit_reached": random.random_bool(0.5), "ptz_priority": 1,
                    "access_token_id": null,
                })
            };
            let keys: Vec<Value> = (0..random.random_range(0..6))
                .map(|_| {
                    let owner = if random.random_bool(0.8) { user(random) } else { Value::Null };
                    json!({
                        "id": ids.next(), "key": key(random.random_range(0..KEYS)), "user": owner,
                        "created_at": DATES[0], "updated_at": DATES[0],
                    })
                })
                .collect();
            let users: Vec<Value> = (0..random.random_range(0..3)).map(|_| user(random)).collect();
            let mut own_codes = Vec::new();
            while !codes.is_empty() && random.random_bool(0.6) {
                let code = codes.swap_remove(random.random_range(0..codes.len()));
                let of = random.random_bool(0.7).then(|| random.random_range(1..=USERS));
                let expired_at = random.random_bool(0.4).then(|| *DATES.choose(random).unwrap());
                own_codes.push(json!({"id": ids.next(), "code": code, "user": of, "expired_at": expired_at}));
            }
            let mut permissions = Vec::new();
            for user in 1..=USERS {
                if random.random_bool(0.4) {
                    let [key, code] = [random.random_bool(0.5), random.random_bool(0.5)];
                    permissions
                        .push(json!({"user": user, "is_open_door_key": key, "is_open_door_code": code}));
                }
            }
            flats.push(json!({
                "intercom": intercom, "id": flat_id, "flat": 100 * intercom + flat_id,
                "key_count": keys.len(), "users_count": users.len(), "keys": keys, "users": users,
                "properties": {"is_analog_line_enable": true, "is_sip_line_enable": true,
                               "is_can_manage_resistance": true},
                "codes": own_codes, "permissions": permissions,
            }));
        }
    }
    flats
}

/// The directory as the daemon has it.
fn through_the_cache(flats: &[Value], zone: &TimeZone) -> Directory {
    let dir = tempfile::tempdir().unwrap();
    let time = "2026-11-23T22:00:00Z".parse().unwrap();
    let stamp = Stamp { time, boot: "b".into(), uptime_ms: 1, clock: ClockQuality::Synchronized };
    let (store, _) = Store::open(StoreOptions {
        dir: dir.path().to_path_buf(),
        keep: Duration::ZERO,
        max_events: 64,
        max_journal_bytes: None,
        alone: true,
        now: Arc::new(move || stamp.clone()),
        clock_is_steady: Arc::new(|| false),
    })
    .unwrap();
    let document = json!({"revision": 1, "flats": flats}).to_string();
    store.cache().import(document.as_bytes(), &[1, 2]).unwrap();
    let keys = Keys::new(store.cache(), zone.clone(), Flats::default());
    keys.refresh().unwrap();
    let in_force = keys.in_force().swap(Arc::default());
    drop(keys);
    store.shutdown();
    Arc::into_inner(in_force).unwrap().directory
}

/// Reads the documents again for each question.
struct Oracle<'a> {
    flats: &'a [Value],
    zone: TimeZone,
    /// What dates mean in the zone.
    instants: HashMap<String, i64>,
}

impl Oracle<'_> {
    /// A time at which something may be decided: mostly around the end of something.
    fn some_time(&mut self, random: &mut StdRng) -> Now {
        if random.random_bool(0.05) {
            return Now::Unknown;
        }
        let date = self.instant(DATES.choose(random).unwrap());
        Now::At(date + [-3600, -1800, -1, 0, 1, 1800, 3600, 86_400].choose(random).unwrap())
    }

    /// The first moment of a local time; of one that was skipped, as if nothing had been (RFC 5545). Tries out all
    /// offsets that the zone had within a day and a half.
    fn instant(&mut self, date: &str) -> i64 {
        if let Some(known) = self.instants.get(date) {
            return *known;
        }
        let date_time: DateTime = date.parse().unwrap();
        let plain = TimeZone::UTC.to_timestamp(date_time).unwrap().as_second();
        let offset =
            |second: i64| i64::from(self.zone.to_offset(Timestamp::from_second(second).unwrap()).seconds());
        let offsets: Vec<i64> = (-36 * 4..=36 * 4).map(|quarter| offset(plain + 900 * quarter)).collect();
        let fitting = offsets.iter().filter(|&&of| offset(plain - of) == of).map(|of| plain - of).min();
        let instant = fitting.unwrap_or_else(|| plain - offsets[0]);
        self.instants.insert(date.to_owned(), instant);
        instant
    }

    fn is_past(&mut self, date: &Value, now: Now) -> bool {
        match (date.as_str(), now) {
            (Some(date), Now::At(now)) => self.instant(date) <= now,
            _ => false,
        }
    }

    fn swipe(&mut self, intercom: u64, number: u64, now: Now) -> Value {
        let code = key(number).to_string();
        let flats = self.flats;
        let all: Vec<(&Value, &Value)> = flats
            .iter()
            .flat_map(|flat| flat["keys"].as_array().unwrap().iter().map(move |key| (flat, key)))
            .filter(|(_, key)| key["key"] == code)
            .collect();
        let here: Vec<(&Value, &Value)> =
            all.iter().copied().filter(|(flat, _)| flat["intercom"] == intercom).collect();
        let shown = if here.is_empty() { &all } else { &here };
        let mut allowing = None;
        let mut lowest: Option<(&Value, &str)> = None;
        for (flat, key) in shown {
            let reason = self.refusal(flat, key, now);
            let is_lower =
                |than: Option<&Value>| than.is_none_or(|than| key["id"].as_u64() < than["id"].as_u64());
            if reason.is_none() && !here.is_empty() && is_lower(allowing) {
                allowing = Some(*key);
            }
            if is_lower(lowest.map(|(key, _)| key)) {
                lowest = Some((key, reason.unwrap_or_default()));
            }
        }
        let (decision, reason) = match (allowing, lowest) {
            (Some(_), _) => ("granted", "key_known"),
            (None, None) => ("denied", "key_unknown"),
            (None, Some(_)) if here.is_empty() => ("denied", "other_intercom"),
            (None, Some((_, reason))) => ("denied", reason),
        };
        let deciding = allowing.or(lowest.map(|(key, _)| key));
        json!({
            "decision": decision, "reason": reason, "id": deciding.map(|key| &key["id"]),
            "user": deciding.map(|key| &key["user"]["id"]), "flats": places(shown.iter().map(|(flat, _)| *flat)),
        })
    }

    /// Why a record does not allow its key.
    fn refusal(&mut self, flat: &Value, key: &Value, now: Now) -> Option<&'static str> {
        let user = &key["user"];
        if self.is_past(&user["expired_at"], now) {
            return Some("user_expired");
        }
        forbids(flat, &user["id"], "is_open_door_key").then_some("not_permitted")
    }

    fn enter(&mut self, intercom: u64, typed: &str, now: Now) -> Value {
        let here = self.flats.iter().filter(|flat| flat["intercom"] == intercom);
        let mut codes =
            here.flat_map(|flat| flat["codes"].as_array().unwrap().iter().map(move |code| (flat, code)));
        let Some((flat, code)) = codes.find(|(_, code)| code["code"] == typed) else {
            return json!({"decision": "denied", "reason": "code_unknown", "id": null, "flats": []});
        };
        let listed = flat["users"].as_array().unwrap().iter();
        let of_keys = flat["keys"].as_array().unwrap().iter().map(|key| &key["user"]);
        let mut users = listed.chain(of_keys).filter(|user| user["id"] == code["user"]);
        let user = if code["user"].is_null() { None } else { users.next() };
        let user_expired = user.is_some_and(|user| self.is_past(&user["expired_at"], now));
        let reason = if now == Now::Unknown && !code["expired_at"].is_null() {
            "clock"
        } else if self.is_past(&code["expired_at"], now) || user_expired {
            "code_expired"
        } else if forbids(flat, &code["user"], "is_open_door_code") {
            "not_permitted"
        } else {
            "code_known"
        };
        let decision = if reason == "code_known" { "granted" } else { "denied" };
        json!({"decision": decision, "reason": reason, "id": code["id"], "flats": places([flat])})
    }
}

fn forbids(flat: &Value, user: &Value, what: &str) -> bool {
    let permissions = flat["permissions"].as_array().unwrap();
    permissions.iter().any(|permission| permission["user"] == *user && permission[what] == false)
}

/// Flats in order, each once.
fn places<'a>(flats: impl IntoIterator<Item = &'a Value>) -> Vec<Value> {
    let mut places: Vec<(u64, u64)> = flats
        .into_iter()
        .map(|flat| (flat["id"].as_u64().unwrap(), flat["flat"].as_u64().unwrap()))
        .collect();
    places.sort_unstable();
    places.dedup();
    places.into_iter().map(|(id, flat)| json!({"id": id, "flat": flat})).collect()
}

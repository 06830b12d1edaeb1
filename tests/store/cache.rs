use std::sync::atomic::{AtomicBool, Ordering};

use intercom_gateway::{
    domain::KeyCode,
    flats::{
        CodeRecord, DigestBuilder, FlatDocument, FlatRecord, KeyRecord, Permission, Properties, UserRecord,
        canonical_hash, parse_flat,
    },
    store::{Cache, CacheError, Delta, Loaded},
};
use proptest::{
    collection::{hash_set, vec},
    option,
    prelude::*,
};
use tempfile::tempdir;

use crate::open;

/// The sample of the endpoint's published page.
pub(crate) const SAMPLE: &str = include_str!("../data/flat-sample.json");

pub(crate) fn export(cache: &Cache) -> String {
    let mut out = Vec::new();
    cache.export(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

pub(crate) fn document(revision: &str, flats: &[FlatRecord]) -> String {
    let flats: Vec<_> = flats.iter().map(|flat| serde_json::to_string(flat).unwrap()).collect();
    format!("{{\"revision\":{revision},\"flats\":[{}]}}", flats.join(","))
}

pub(crate) fn digest(flats: &[FlatRecord]) -> String {
    let mut sorted: Vec<_> = flats.iter().collect();
    sorted.sort_by_key(|flat| (flat.intercom, flat.document.id));
    let mut digest = DigestBuilder::default();
    for flat in sorted {
        digest.add(flat.intercom, flat.document.id, &canonical_hash(flat));
    }
    digest.finish()
}

/// A flat with `keys` keys.
pub(crate) fn flat(intercom: u64, id: u64, number: u64, keys: u64) -> FlatRecord {
    let date = || "2022-11-11 14:46:16".to_owned();
    let user = |id| UserRecord {
        id,
        name: format!("user {id}"),
        login: format!("user{id}@example.org"),
        created_at: date(),
        updated_at: date(),
        expired_at: (id % 2 == 0).then(|| "2122-11-11 14:45:57".to_owned()),
        is_licence_limit_reached: false,
        ptz_priority: 1,
        access_token_id: None,
    };
    FlatRecord {
        intercom,
        document: FlatDocument {
            id,
            flat: number,
            key_count: keys,
            users_count: 1,
            keys: (0..keys)
                .map(|key| KeyRecord {
                    id: id * 100 + key,
                    key: KeyCode::from_u64((intercom << 40) + (id << 8) + key).unwrap(),
                    user: (key > 0).then(|| user(key)),
                    created_at: date(),
                    updated_at: date(),
                })
                .collect(),
            users: vec![user(id)],
            properties: Properties {
                is_analog_line_enable: true,
                is_sip_line_enable: true,
                is_can_manage_resistance: false,
            },
        },
        answer_resistance: None,
        quiescent_resistance: None,
        codes: Vec::new(),
        permissions: Vec::new(),
    }
}

#[test]
fn the_endpoint_gets_the_published_sample_byte_for_byte() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    let sample: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
    let with_intercom = SAMPLE.replacen('{', "{\"unknown\":{\"a\":[1.5,null]},\"intercom\":3,", 1);
    let report =
        cache.import(format!("{{\"flats\":[{with_intercom}],\"revision\":57}}").as_bytes(), &[3]).unwrap();
    assert_eq!((report.written, report.removed), (1, 0));
    let state = report.state;
    assert_eq!((state.revision, state.flats, state.keys, state.users), (Some(57), 1, 3, 2));
    assert_eq!(*cache.state().borrow(), state);
    assert_eq!(cache.state_on_disk().unwrap(), state);

    let body = cache.flat_body(3, 1).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), sample);
    let compact: String = SAMPLE.lines().map(str::trim).collect::<String>().replace("\": ", "\":");
    assert_eq!(body, compact.as_bytes());
    assert_eq!(cache.flat_body_by_number(3, 1).unwrap(), Some(body));
    for (intercom, id) in [(3, 2), (1, 1), (0, 0), (u64::MAX, u64::MAX)] {
        assert_eq!(cache.flat_body(intercom, id).unwrap(), None);
    }
}

#[test]
fn the_published_digest_vector_holds_through_the_database() {
    let vector: serde_json::Value = serde_json::from_str(include_str!("../data/digest-vector.json")).unwrap();
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.cache().state().borrow().digest, vector["empty"].as_str().unwrap());
    let document = serde_json::json!({ "revision": 1, "flats": vector["flats"] }).to_string();
    let report = store.cache().import(document.as_bytes(), &[1]).unwrap();
    assert_eq!(report.state.digest, vector["digest"].as_str().unwrap());
}

#[test]
fn the_directory_is_loaded_in_order_with_what_decides() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut flats = [flat(2, 1, 5, 1), flat(1, 7, 9, 3), flat(1, 3, 4, 0)];
    flats[2].answer_resistance = Some(330);
    store.cache().import(document("4", &flats).as_bytes(), &[1, 2]).unwrap();
    let (mut seen, mut keys) = (Vec::new(), Vec::new());
    let state = store
        .cache()
        .load(|loaded| match loaded {
            Loaded::Flat(flat) => {
                seen.push((flat.intercom, flat.flat_id, flat.flat, flat.answer_resistance));
            }
            Loaded::Key(key) => {
                let expired_at = key.expired_at.map(str::to_owned);
                keys.push((key.intercom, key.flat_id, key.key_id, key.user_id, expired_at));
                assert_eq!(key.code.as_u64(), (key.intercom << 40) + (key.flat_id << 8) + key.key_id % 100);
                assert!(key.permitted);
            }
            Loaded::Code(_) | Loaded::Keypad(_) => panic!("there are no codes"),
        })
        .unwrap();
    assert_eq!(state.revision, Some(4));
    assert_eq!(seen, [(1, 3, 4, Some(330)), (1, 7, 9, None), (2, 1, 5, None)]);
    let expiry = Some("2122-11-11 14:45:57".to_owned());
    assert_eq!(
        keys,
        [
            (1, 7, 700, None, None),
            (1, 7, 701, Some(1), None),
            (1, 7, 702, Some(2), expiry),
            (2, 1, 100, None, None)
        ]
    );
}

#[test]
fn a_code_is_found_on_every_flat_that_has_it() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut flats = [flat(2, 1, 5, 1), flat(1, 7, 9, 3), flat(1, 3, 4, 2)];
    let code = flats[1].document.keys[2].key;
    flats[0].document.keys[0].key = code;
    store.cache().import(document("4", &flats).as_bytes(), &[1, 2]).unwrap();
    let mut found = Vec::new();
    let has_code = |loaded: Loaded<'_>| {
        if let Loaded::Key(key) = loaded
            && key.code == code
        {
            found.push((key.intercom, key.flat_id, key.flat, key.key_id, key.user_id));
        }
    };
    let state = store.cache().load(has_code).unwrap();
    assert_eq!(found, [(1, 7, 9, 702, Some(2)), (2, 1, 5, 100, None)]);
    assert_eq!(state.revision, Some(4));
}

#[test]
fn a_second_import_writes_only_what_differs() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    let first = [flat(1, 1, 1, 2), flat(1, 2, 2, 2), flat(1, 3, 3, 2)];
    cache.import(document("1", &first).as_bytes(), &[1]).unwrap();
    // Two flats change places on the door, one goes, one loses a key.
    let second = [flat(1, 1, 2, 2), flat(1, 2, 1, 2), flat(1, 4, 4, 1)];
    let report = cache.import(document("2", &second).as_bytes(), &[1]).unwrap();
    assert_eq!((report.written, report.removed), (3, 1));
    assert_eq!(report.state.digest, digest(&second));
    assert_eq!(report.state.keys, 5);
    let again = cache.import(document("3", &second).as_bytes(), &[1]).unwrap();
    assert_eq!((again.written, again.removed, again.state.revision), (0, 0, Some(3)));
    let mut keys = 0;
    cache.load(|loaded| keys += u32::from(matches!(loaded, Loaded::Key(_)))).unwrap();
    assert_eq!(keys, 5, "no key of a former state is left");
}

#[test]
fn a_delta_changes_what_it_says_or_nothing() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    cache.import(document("1", &[flat(1, 1, 1, 2), flat(1, 2, 2, 2)]).as_bytes(), &[1]).unwrap();
    let result = [flat(1, 2, 2, 1), flat(1, 3, 3, 1)];
    let delta = |base, digest: String| Delta {
        base,
        revision: 2,
        digest,
        upsert: result.to_vec(),
        remove: vec![(1, 1), (1, 99)],
        may_empty: false,
    };
    let before = export(&cache);
    let refused = cache.apply_delta(delta(7, digest(&result))).unwrap_err();
    assert!(matches!(refused, CacheError::Base { base: Some(7), ours: Some(1) }), "{refused}");
    let refused = cache.apply_delta(delta(1, "0".repeat(64))).unwrap_err();
    assert!(matches!(refused, CacheError::Digest { .. }), "{refused}");
    let clash = Delta { upsert: vec![flat(1, 9, 2, 0)], ..delta(1, digest(&result)) };
    let refused = cache.apply_delta(clash).unwrap_err();
    assert!(matches!(refused, CacheError::SameFlat { intercom: 1, flat: 2 }), "{refused}");
    let all = Delta { upsert: vec![], remove: vec![(1, 1), (1, 2)], ..delta(1, digest(&[])) };
    let refused = cache.apply_delta(all).unwrap_err();
    assert!(matches!(refused, CacheError::WouldEmpty { flats: 2 }), "{refused}");
    assert_eq!(export(&cache), before);
    assert_eq!(cache.state().borrow().revision, Some(1));

    let state = cache.apply_delta(delta(1, digest(&result))).unwrap();
    assert_eq!((state.revision, state.flats, state.keys), (Some(2), 2, 2));
}

#[test]
fn readers_see_one_revision_whole_while_another_comes() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    let revision = |number: u64| -> Vec<FlatRecord> { (1..=200).map(|id| flat(1, id, id, number)).collect() };
    cache.import(document("1", &revision(1)).as_bytes(), &[1]).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut walks = 0;
            while !done.load(Ordering::Relaxed) || walks == 0 {
                let mut keys = 0;
                let state = cache.load(|loaded| keys += u64::from(matches!(loaded, Loaded::Key(_)))).unwrap();
                assert_eq!(keys, 200 * state.revision.unwrap());
                let body = String::from_utf8(cache.flat_body(1, 200).unwrap().unwrap()).unwrap();
                let record = parse_flat(&body.replacen('{', "{\"intercom\":1,", 1)).unwrap();
                assert!(record.document.key_count >= state.revision.unwrap());
                walks += 1;
            }
        });
        for number in 2..=6 {
            cache.import(document(&number.to_string(), &revision(number)).as_bytes(), &[1]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reading.join().unwrap();
    });
}

fn user() -> impl Strategy<Value = UserRecord> {
    (
        (1..1u64 << 53, any::<String>(), any::<String>(), any::<bool>()),
        option::of(date()),
        option::of(0..1u64 << 53),
    )
        .prop_map(|((id, name, login, flag), expired_at, access_token_id)| UserRecord {
            id,
            name,
            login,
            created_at: "2022-11-11 14:45:58".into(),
            updated_at: "2022-11-11 14:45:58".into(),
            expired_at,
            is_licence_limit_reached: flag,
            ptz_priority: id / 2,
            access_token_id,
        })
}

fn date() -> impl Strategy<Value = String> {
    (0..10_000u32, 1..=12u32, 1..=28u32, 0..24u32, 0..60u32, 0..60u32)
        .prop_map(|(y, m, d, h, min, s)| format!("{y:04}-{m:02}-{d:02} {h:02}:{min:02}:{s:02}"))
}

fn flat_record() -> impl Strategy<Value = FlatRecord> {
    let key = (1..1u64 << 53, 0..1u64 << 56, option::of(user()), date(), date()).prop_map(
        |(id, code, user, created_at, updated_at)| KeyRecord {
            id,
            key: KeyCode::from_u64(code).unwrap(),
            user,
            created_at,
            updated_at,
        },
    );
    let resistance = || option::of(0..1u64 << 53);
    let code = (option::of(1..1u64 << 53), option::of(date()));
    let permission = ((1..1u64 << 53), any::<bool>(), any::<bool>());
    let rights = (vec(code, 0..3), hash_set(permission, 0..3));
    (1..4u64, vec(key, 0..4), vec(user(), 0..3), any::<[bool; 3]>(), resistance(), resistance(), rights)
        .prop_map(
            |(
                intercom,
                keys,
                users,
                switches,
                answer_resistance,
                quiescent_resistance,
                (codes, permissions),
            )| FlatRecord {
                intercom,
                document: FlatDocument {
                    id: 1,
                    flat: 1,
                    key_count: keys.len().try_into().unwrap(),
                    users_count: users.len().try_into().unwrap(),
                    keys,
                    users,
                    properties: Properties {
                        is_analog_line_enable: switches[0],
                        is_sip_line_enable: switches[1],
                        is_can_manage_resistance: switches[2],
                    },
                },
                answer_resistance,
                quiescent_resistance,
                codes: (1..)
                    .zip(codes)
                    .map(|(id, (user, expired_at))| {
                        let code = format!("{:04}", 10 * id).parse().unwrap();
                        CodeRecord { id, code, user, expired_at }
                    })
                    .collect(),
                permissions: permissions
                    .into_iter()
                    .map(|(user, is_open_door_key, is_open_door_code)| Permission {
                        user,
                        is_open_door_key,
                        is_open_door_code,
                    })
                    .collect(),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever a document is made of, reading it ends in a flat or in an error that names no value of it.
    #[test]
    fn damaged_documents_are_refused_without_a_panic(
        mut record in flat_record(),
        at in any::<prop::sample::Index>(),
        with in any::<char>(),
    ) {
        record.document.users.push(flat(1, 1, 1, 0).document.users.remove(0));
        record.document.users_count += 1;
        let mut text: Vec<char> = serde_json::to_string(&record).unwrap().chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let text: String = text.into_iter().collect();
        match parse_flat(&text) {
            Ok(read) => prop_assert_eq!(parse_flat(&serde_json::to_string(&read).unwrap()).unwrap(), read),
            Err(error) => prop_assert!(!error.to_string().contains("user1@example.org")),
        }
    }

    /// What is exported can be imported, and is the same then.
    #[test]
    fn an_export_is_an_import(
        mut flats in vec(flat_record(), 0..6),
        revision in option::of(0..1u64 << 53),
        reversed in any::<bool>(),
    ) {
        for (id, flat) in (1..).zip(&mut flats) {
            flat.document.id = id;
            flat.document.flat = 1000 - id;
            for code in &mut flat.codes {
                code.id += 10 * id;
                code.code = format!("{:05}", code.id).parse().unwrap();
            }
        }
        let digest = digest(&flats);
        if reversed {
            flats.reverse();
        }
        let revision = revision.map_or("null".to_owned(), |revision| revision.to_string());
        let dirs = [tempdir().unwrap(), tempdir().unwrap()];
        let stores = [open(dirs[0].path()), open(dirs[1].path())];
        let state = stores[0].cache().import(document(&revision, &flats).as_bytes(), &[1, 2, 3]).unwrap().state;
        prop_assert_eq!(&state.digest, &digest);
        let exported = export(&stores[0].cache());
        let again = stores[1].cache().import(exported.as_bytes(), &[1, 2, 3]).unwrap().state;
        prop_assert_eq!(&again.digest, &digest);
        prop_assert_eq!(again.revision, state.revision);
        prop_assert_eq!(export(&stores[1].cache()), exported);
        for flat in &flats {
            let body = stores[1].cache().flat_body(flat.intercom, flat.document.id).unwrap().unwrap();
            prop_assert_eq!(body, serde_json::to_vec(&flat.document).unwrap());
        }
    }
}

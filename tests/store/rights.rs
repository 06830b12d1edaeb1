//! Codes and permissions in the cache: what of them is in force, and what is known of intercoms that had codes.

use intercom_gateway::{
    domain::ClockQuality,
    flats::{CodeRecord, FlatRecord, Permission},
    store::{Cache, CacheError, Delta, KeypadRow, Loaded, Store},
};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::{
    TestClock,
    cache::{digest, document, export, flat},
    open, options, options_at,
};

fn with_codes(mut flat: FlatRecord, codes: &[(u64, &str)]) -> FlatRecord {
    let code = |(id, code): &(u64, &str)| CodeRecord {
        id: *id,
        code: code.parse().unwrap(),
        user: None,
        expired_at: None,
    };
    flat.codes = codes.iter().map(code).collect();
    flat
}

fn forbidding(mut flat: FlatRecord, user: u64, is_open_door_key: bool) -> FlatRecord {
    flat.permissions.push(Permission { user, is_open_door_key, is_open_door_code: !is_open_door_key });
    flat
}

/// The codes in force, by intercom, flat, id and digits.
fn codes(cache: &Cache) -> Vec<(u64, u64, u64, String)> {
    let mut codes = Vec::new();
    let load = cache.load(|loaded| {
        if let Loaded::Code(code) = loaded {
            codes.push((code.intercom, code.flat_id, code.code_id, code.code.to_string()));
        }
    });
    load.unwrap();
    codes.sort();
    codes
}

/// The intercoms that have codes or had some, and until when.
fn keypads(cache: &Cache) -> Vec<(Option<u64>, Option<String>)> {
    let mut keypads = Vec::new();
    let load = cache.load(|loaded| {
        if let Loaded::Keypad(KeypadRow { intercom, until }) = loaded {
            keypads.push((intercom, until.map(|until| until.to_string())));
        }
    });
    load.unwrap();
    keypads
}

fn import(store: &Store, revision: &str, flats: &[FlatRecord]) {
    store.cache().import(document(revision, flats).as_bytes(), &[1, 2]).unwrap();
}

#[test]
fn the_published_vector_with_codes_and_permissions_holds_through_the_database() {
    let vector: serde_json::Value =
        serde_json::from_str(include_str!("../data/digest-vector-2.json")).unwrap();
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let document = serde_json::json!({ "revision": 1, "flats": vector["flats"] }).to_string();
    let state = store.cache().import(document.as_bytes(), &[1]).unwrap().state;
    assert_eq!(state.digest, vector["digest"].as_str().unwrap());
    let exported = export(&store.cache());
    let again = tempdir().unwrap();
    let again = open(again.path());
    let state = again.cache().import(exported.as_bytes(), &[1]).unwrap().state;
    assert_eq!(state.digest, vector["digest"].as_str().unwrap());
    let body = String::from_utf8(again.cache().flat_body(1, 10).unwrap().unwrap()).unwrap();
    assert!(!body.contains("93552") && !body.contains("permissions"), "{body}");
}

#[test]
fn whom_permissions_name_is_forbidden_at_that_flat_and_a_code_has_its_users_date() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut first =
        forbidding(with_codes(flat(1, 1, 1, 3), &[(1, "1111"), (2, "2222"), (3, "0003")]), 2, false);
    // User 1 is among the users of the flat, 2 of its keys alone, and 9 nowhere.
    first.codes[0].user = Some(2);
    first.codes[1].user = Some(1);
    first.codes[2].user = Some(9);
    first.document.users[0].expired_at = Some("2030-01-01 00:00:00".into());
    first.document.keys[1].user.as_mut().unwrap().expired_at = Some("2020-01-01 00:00:00".into());
    let first = forbidding(forbidding(first, 9, true), 77, false);
    let second = flat(1, 2, 2, 3);
    import(&store, "1", &[first, second]);
    let (mut keys, mut codes) = (Vec::new(), Vec::new());
    let load = store.cache().load(|loaded| match loaded {
        Loaded::Key(key) => keys.push((key.flat_id, key.user_id, key.permitted)),
        Loaded::Code(code) => {
            codes.push((code.code_id, code.user_expired_at.map(str::to_owned), code.permitted));
        }
        Loaded::Flat(_) | Loaded::Keypad(_) => {}
    });
    load.unwrap();
    assert_eq!(keys[..3], [(1, None, true), (1, Some(1), true), (1, Some(2), false)]);
    assert_eq!(keys[3..], [(2, None, true), (2, Some(1), true), (2, Some(2), true)]);
    codes.sort();
    let date = |date: &str| Some(date.to_owned());
    assert_eq!(
        codes,
        [(1, date("2122-11-11 14:45:57"), true), (2, date("2030-01-01 00:00:00"), true), (3, None, false)]
    );
}

#[test]
fn a_code_may_move_to_another_flat_and_is_nowhere_twice() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    let before = [
        with_codes(flat(1, 1, 1, 1), &[(1, "1111"), (2, "2222")]),
        flat(1, 2, 2, 1),
        with_codes(flat(2, 1, 1, 1), &[(1, "1111")]),
    ];
    import(&store, "1", &before);
    let exported = export(&cache);
    let delta = |upsert: Vec<FlatRecord>, result: &[FlatRecord]| Delta {
        base: 1,
        revision: 2,
        digest: digest(result),
        upsert,
        remove: vec![],
        may_empty: false,
    };
    for (codes, field) in
        [([(8, "8888"), (9, "2222")], "codes[1].code"), ([(2, "8888"), (9, "9999")], "codes[0].id")]
    {
        let changed = with_codes(flat(1, 2, 2, 1), &codes);
        let result = [before[0].clone(), changed.clone(), before[2].clone()];
        let error = cache.apply_delta(delta(vec![changed], &result)).unwrap_err();
        let CacheError::SameCode { intercom: 1, id: 2, field: found, .. } = &error else { panic!("{error}") };
        assert_eq!(found, field);
        let what = if field.ends_with("id") { "an id of a code" } else { "a code" };
        let told = format!("the flats with the ids 2 and 1 of intercom 1 would have {what} in common");
        assert_eq!(error.to_string(), told);
        assert_eq!(export(&cache), exported);
    }
    let moved = [
        with_codes(flat(1, 1, 1, 1), &[(1, "1111")]),
        with_codes(flat(1, 2, 2, 1), &[(2, "2222")]),
        before[2].clone(),
    ];
    let upsert = vec![moved[1].clone(), moved[0].clone()];
    let state = cache.apply_delta(delta(upsert, &moved)).unwrap();
    assert_eq!(state.digest, digest(&moved));
    let code = |intercom, flat, id, code: &str| (intercom, flat, id, code.to_owned());
    assert_eq!(codes(&cache), [code(1, 1, 1, "1111"), code(1, 2, 2, "2222"), code(2, 1, 1, "1111")]);
    cache.import(b"{\"flats\":[],\"empty\":true}".as_slice(), &[1, 2]).unwrap();
    assert_eq!(codes(&cache), []);
}

#[test]
fn a_permission_alone_is_a_change() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    import(&store, "1", &[flat(1, 1, 1, 2)]);
    let changed = [forbidding(flat(1, 1, 1, 2), 1, false)];
    let report = store.cache().import(document("2", &changed).as_bytes(), &[1]).unwrap();
    assert_eq!((report.written, report.state.digest), (1, digest(&changed)));
}

#[test]
fn it_is_known_until_when_an_intercom_had_codes() {
    let dir = tempdir().unwrap();
    let clock = TestClock::new();
    let store = Store::open(options_at(dir.path(), &clock)).unwrap().0;
    let cache = store.cache();
    let coded = with_codes(flat(1, 1, 1, 1), &[(1, "1111")]);
    assert_eq!(keypads(&cache), []);
    import(&store, "1", &[coded.clone(), flat(2, 1, 1, 1)]);
    assert_eq!(keypads(&cache), [(Some(1), None)]);
    clock.set("2026-11-24T00:00:00Z", ClockQuality::Unsynchronized);
    import(&store, "2", &[flat(1, 1, 1, 1)]);
    assert_eq!(keypads(&cache), [(Some(1), None)], "nobody knows when");
    clock.set("2026-11-25T00:00:00Z", ClockQuality::Synchronized);
    import(&store, "3", &[flat(1, 1, 2, 1)]);
    let until = (Some(1), Some("2026-11-25T00:00:00Z".to_owned()));
    assert_eq!(keypads(&cache), std::slice::from_ref(&until));
    clock.set("2026-11-26T00:00:00Z", ClockQuality::Synchronized);
    import(&store, "4", &[flat(1, 1, 1, 1)]);
    assert_eq!(keypads(&cache), [until]);
    import(&store, "5", &[coded]);
    assert_eq!(keypads(&cache), [(Some(1), None)]);
}

/// In place of a cache that cannot be read, or was damaged, stands one that is not trusted with digits.
#[test]
fn after_a_damage_nobody_knows_what_is_a_code_until_all_flats_have_come() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    import(&store, "1", &[with_codes(flat(1, 1, 1, 1), &[(1, "1111")])]);
    store.shutdown();
    std::fs::write(dir.path().join("cache.db"), [7; 40_000]).unwrap();
    let (store, report) = Store::open(options(dir.path())).unwrap();
    assert!(report.cache_remade.is_some());
    assert_eq!(keypads(&store.cache()), [(None, None)]);
    import(&store, "2", &[flat(1, 1, 1, 1)]);
    assert_eq!(keypads(&store.cache()), []);
}

#[test]
fn a_cache_from_before_codes_is_brought_up_to_date_and_is_read_before_that() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    import(&store, "57", &[flat(1, 1, 1, 2)]);
    store.shutdown();
    let old = Connection::open(dir.path().join("cache.db")).unwrap();
    old.execute_batch(
        "DROP TABLE rates; DROP TABLE codes; DROP TABLE permissions; DROP TABLE keypads; PRAGMA user_version = 2;",
    )
    .unwrap();
    drop(old);
    let reader = Store::open_read_only(dir.path()).unwrap();
    let mut out = Vec::new();
    reader.cache().export(&mut out).unwrap();
    let mut keys = 0;
    reader.cache().load(|loaded| keys += u32::from(matches!(loaded, Loaded::Key(_)))).unwrap();
    assert_eq!(keys, 2);
    drop(reader);
    let (store, report) = Store::open(options(dir.path())).unwrap();
    assert_eq!(report.cache_remade, None);
    assert_eq!(export(&store.cache()).as_bytes(), out);
    import(&store, "58", &[with_codes(flat(1, 1, 1, 2), &[(1, "1111")])]);
    assert_eq!(codes(&store.cache()).len(), 1);
}

/// What a version of tomorrow has made of the file, and what stands in for it.
#[test]
fn codes_and_permissions_are_carried_over_from_a_newer_cache() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    import(&store, "57", &[forbidding(with_codes(flat(1, 1, 1, 3), &[(1, "1111")]), 2, false)]);
    let exported = export(&store.cache());
    store.shutdown();
    let newer = Connection::open(dir.path().join("cache.db")).unwrap();
    newer.pragma_update(None, "user_version", 900).unwrap();
    drop(newer);
    let store = Store::start(options(dir.path())).unwrap();
    store.opened().unwrap();
    assert_eq!(export(&store.cache()), exported.replace("\"revision\":57", "\"revision\":null"));
    assert_eq!(keypads(&store.cache()), [(Some(1), None)]);
}

/// Where the table is lost, the hash of a flat says whether there was anything in it.
#[test]
fn a_flat_without_permissions_opens_where_permissions_cannot_be_read() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let without = flat(1, 1, 1, 3);
    import(&store, "57", &[without.clone(), forbidding(flat(1, 2, 2, 3), 2, false)]);
    store.shutdown();
    let newer = Connection::open(dir.path().join("cache.db")).unwrap();
    newer.execute_batch("DROP TABLE codes; PRAGMA user_version = 900;").unwrap();
    drop(newer);
    let store = Store::start(options(dir.path())).unwrap();
    store.opened().unwrap();
    let other = tempdir().unwrap();
    let alone = open(other.path());
    import(&alone, "57", &[without]);
    assert_eq!(
        export(&store.cache()),
        export(&alone.cache()).replace("\"revision\":57", "\"revision\":null")
    );
}

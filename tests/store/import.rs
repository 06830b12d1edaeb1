use std::io::{self, Read};

use intercom_gateway::store::ImportError;
use tempfile::tempdir;

use crate::{
    cache::{SAMPLE, document, export, flat},
    open,
};

/// A document whose second flat is the published sample with `change` applied.
fn with_sample(change: impl FnOnce(String) -> String) -> String {
    let compact: String = SAMPLE.lines().map(str::trim).collect::<String>().replace("\": ", "\":");
    let sample = change(compact.replacen('{', "{\"intercom\":1,", 1));
    let first = serde_json::to_string(&flat(1, 50, 50, 1)).unwrap();
    format!("{{\"revision\":57,\"flats\":[{first},{sample}]}}")
}

fn changed(from: &'static str, to: &'static str) -> String {
    with_sample(|sample| {
        assert!(sample.contains(from), "{from} is not in the sample");
        sample.replacen(from, to, 1)
    })
}

/// Every way in which an import is refused, the message that an installer reads, and that nothing has changed.
#[test]
fn refusals_name_flat_and_field_and_change_nothing() {
    let date = "2022-11-11 14:46:16";
    let cases = [
        ("not JSON", "hello".to_owned()),
        ("cut off", with_sample(|sample| sample[..900].to_owned())),
        ("not an object", "[1]".to_owned()),
        ("no flats", r#"{"revision":1}"#.to_owned()),
        ("flats of the wrong type", r#"{"flats":"0000003042CAAC"}"#.to_owned()),
        ("flats twice", r#"{"flats":[],"flats":[]}"#.to_owned()),
        ("unknown member twice", r#"{"x":1,"flats":[],"x":2}"#.to_owned()),
        ("revision too large", r#"{"revision":9007199254740992,"flats":[]}"#.to_owned()),
        ("revision of the wrong type", r#"{"revision":"57","flats":[]}"#.to_owned()),
        ("something behind", r#"{"flats":[]} x"#.to_owned()),
        ("would remove everything", r#"{"revision":1,"flats":[]}"#.to_owned()),
        ("flat of the wrong type", with_sample(|_| "\"test@mail.com\"".to_owned())),
        ("no intercom", changed("\"intercom\":1,", "")),
        ("intercom not configured", changed("\"intercom\":1", "\"intercom\":9")),
        ("id zero", changed("\"id\":1,\"flat\":1", "\"id\":0,\"flat\":1")),
        ("number with a fraction", changed("\"flat\":1", "\"flat\":1.0")),
        ("number with an exponent", changed("\"flat\":1", "\"flat\":1e0")),
        ("number too large", changed("\"ptz_priority\":1", "\"ptz_priority\":9007199254740992")),
        ("number huge", changed("\"ptz_priority\":1", "\"ptz_priority\":1e999")),
        ("number negative", changed("\"access_token_id\":null", "\"access_token_id\":-1")),
        ("number null", changed("\"flat\":1", "\"flat\":null")),
        ("count wrong", changed("\"key_count\":3", "\"key_count\":4")),
        ("user count wrong", changed("\"users_count\":2", "\"users_count\":0")),
        ("key short", changed("0000003042CAAC", "000003042CAAC")),
        ("key in lower case", changed("0000003042CAAC", "0000003042caac")),
        ("key a number", changed("\"0000003042CAAC\"", "3042")),
        ("name a number", changed("\"test\"", "4711")),
        ("login null", changed("\"test@mail.com\"", "null")),
        ("date that does not exist", changed("2122-11-11 14:45:57", "2023-02-29 00:00:00")),
        ("date in another form", with_sample(|s| s.replacen(date, "2022-11-11T14:46:16Z", 1))),
        ("flag a number", changed("\"is_sip_line_enable\":true", "\"is_sip_line_enable\":1")),
        ("property missing", changed("\"is_sip_line_enable\":true,", "")),
        (
            "keys an object",
            with_sample(|s| {
                s.replacen("\"keys\":[", "\"keys\":{\"a\":[", 1).replacen("],\"users\"", "]},\"users\"", 1)
            }),
        ),
        ("member twice", changed("\"flat\":1", "\"flat\":1,\"flat\":1")),
        ("member of a user twice", changed("\"login\":", "\"id\":6,\"login\":")),
        ("unknown member twice in depth", changed("\"flat\":1", "\"flat\":1,\"Ivan\":[{\"b\":1,\"b\":1}]")),
        ("lone surrogate", changed("\"test\"", "\"\\ud800\"")),
        ("lone surrogate in an unknown member", changed("\"flat\":1", "\"flat\":1,\"x\":\"\\udc00\"")),
        (
            "deep",
            with_sample(|s| {
                s.replacen(
                    "\"flat\":1",
                    &format!("\"flat\":1,\"x\":{}{}", "[".repeat(5000), "]".repeat(5000)),
                    1,
                )
            }),
        ),
        ("resistance a text", changed("\"flat\":1", "\"flat\":1,\"answer_resistance\":\"330\"")),
        ("same id", changed("\"id\":1,\"flat\":1", "\"id\":50,\"flat\":1")),
        ("same number", changed("\"id\":1,\"flat\":1", "\"id\":1,\"flat\":50")),
    ];
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    cache.import(document("5", &[flat(1, 1, 1, 2)]).as_bytes(), &[1]).unwrap();
    let before = export(&cache);
    let mut messages = String::new();
    for (name, document) in cases {
        let error = cache.import(document.as_bytes(), &[1, 2]).expect_err(name);
        let message = error.to_string();
        for personal in ["3042", "test", "mail.com", "Ivan", "4711"] {
            assert!(!message.contains(personal), "{name} repeats {personal}: {message}");
        }
        messages += &format!("{name}\n    {message}\n");
        assert_eq!(export(&cache), before, "{name} has changed something");
    }
    assert_eq!(cache.state().borrow().revision, Some(5));
    insta::assert_snapshot!(messages);
}

#[test]
fn what_a_cloud_may_send_is_taken() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    for document in [
        changed("\"user\":null,", ""),
        changed("\"expired_at\":\"2122-11-11 14:45:57\",", ""),
        changed("\"flat\":1", "\"flat\":1,\"answer_resistance\":null,\"quiescent_resistance\":0"),
        changed("\"flat\":1", "\"flat\":1,\"balance\":-12.5e-3,\"tags\":[{}]"),
        changed("\"id\":2,\"key\":\"000000A3B48D3C\"", "\"id\":1,\"key\":\"0000003042CAAC\""),
        changed("\"test\"", "\"\\u0416\\ud83d\\ude00 \\u0000\""),
    ] {
        let state = cache.import(document.as_bytes(), &[1]).unwrap().state;
        assert_eq!((state.flats, state.revision), (2, Some(57)));
    }
}

#[test]
fn an_import_without_a_revision_leaves_none() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    cache.import(document("5", &[flat(1, 1, 1, 2)]).as_bytes(), &[1]).unwrap();
    let state = cache.import(document("null", &[flat(1, 1, 1, 2)]).as_bytes(), &[1]).unwrap().state;
    assert_eq!(state.revision, None);
    let state = cache.import(r#"{"empty":true,"flats":[]}"#.as_bytes(), &[1]).unwrap().state;
    assert_eq!((state.revision, state.flats), (None, 0));
    assert_eq!(export(&cache), "{\"revision\":null,\"flats\":[]}\n");
}

/// A flat above what any message can hold is refused before it fills the memory.
#[test]
fn an_endless_flat_is_refused() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let start = r#"{"flats":[{"intercom":1,"name":""#.as_bytes();
    let error = store.cache().import(start.chain(io::repeat(b'a')), &[1]).unwrap_err();
    assert_eq!(error.to_string(), "flats[0]: larger than 2 MiB");
}

#[test]
fn a_source_that_fails_half_way_changes_nothing() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the stick was pulled"))
        }
    }
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let whole = document("5", &(1..=500).map(|id| flat(1, id, id, 3)).collect::<Vec<_>>());
    let error = store.cache().import(whole.as_bytes()[..whole.len() - 2].chain(Broken), &[1]).unwrap_err();
    assert!(matches!(&error, ImportError::Read(_)), "{error}");
    assert_eq!(store.cache().state_on_disk().unwrap().flats, 0);
    assert_eq!(store.cache().import(whole.as_bytes(), &[1]).unwrap().state.flats, 500);
}

/// Events are committed while a change of the cache is under way.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_does_not_hold_events_up() {
    struct Paused(std::sync::mpsc::Receiver<Vec<u8>>, io::Cursor<Vec<u8>>);
    impl Read for Paused {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1.position() == self.1.get_ref().len() as u64 {
                self.1 = io::Cursor::new(self.0.recv().unwrap_or_default());
            }
            self.1.read(buffer)
        }
    }
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let cache = store.cache();
    let whole = document("5", &(1..=2000).map(|id| flat(1, id, id, 3)).collect::<Vec<_>>()).into_bytes();
    let (rest, source) = std::sync::mpsc::sync_channel(1);
    let middle = whole.len() / 2;
    let first = whole[..middle].to_vec();
    let importing = tokio::task::spawn_blocking(move || {
        cache.import(Paused(source, io::Cursor::new(first)), &[1]).unwrap()
    });
    crate::append(&store.journal(), 1..=10).await;
    assert_eq!(store.cache().state_on_disk().unwrap().flats, 0);
    rest.send(whole[middle..].to_vec()).unwrap();
    drop(rest);
    assert_eq!(importing.await.unwrap().state.flats, 2000);
    assert_eq!(store.cache().state_on_disk().unwrap().flats, 2000);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_document() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let marked = format!("\u{feff}{}", with_sample(|sample| sample));
    // As a pipe gives it, byte by byte.
    struct Pipe<'a>(&'a [u8]);
    impl Read for Pipe<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }
    assert_eq!(store.cache().import(Pipe(marked.as_bytes()), &[1]).unwrap().state.revision, Some(57));
    let error = store.cache().import(&b"\xEF\xBBx"[..], &[1]).unwrap_err().to_string();
    assert!(error.contains("UTF-8"), "{error}");
}

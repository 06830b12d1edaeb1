//! The file's text in both directions, and what version 0.1 wrote and reads.

use super::*;

/// The file's structure as version 0.1 had it, copied from its source.
mod version_0_1 {
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize)]
    pub struct Note {
        #[serde(default)]
        pub serial: Option<u32>,
        #[serde(default)]
        pub key: Option<KeyNote>,
    }

    #[derive(Serialize, Deserialize)]
    pub struct KeyNote {
        pub scbk: Option<String>,
        pub sha256: String,
        pub proven: bool,
    }
}

fn key(byte: u8) -> PanelKey {
    PanelKey::new(Scbk::new([byte; 16])).unwrap()
}

fn read(text: &str, from_config: Option<PanelKey>) -> KeyRecord {
    serde_json::from_str::<Note>(text).unwrap().into_record(from_config)
}

/// SHA-256 of SCBK-D and of sixteen zero bytes.
const OF_SCBK_D: &str = "816b9e7c25d559c5766755b3bbb36654ad451e080ffa93694a793d6eed41f40a";
const OF_ZEROS: &str = "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb";

/// Every form that version 0.1 writes, as its own binary did in the test `version_0_1_writes_the_golden_records` of
/// tests/daemon/roll_back.rs (tests/data/README.md says for which panels).
mod golden {
    pub const SERIAL_ONLY: &str = include_str!("../../../../tests/data/records_0_1/serial_only.json");
    pub const PAIRING: &str = include_str!("../../../../tests/data/records_0_1/pairing.json");
    pub const PAIRED: &str = include_str!("../../../../tests/data/records_0_1/paired.json");
    pub const CONFIGURED_PAIRING: &str =
        include_str!("../../../../tests/data/records_0_1/configured_pairing.json");
    pub const CONFIGURED: &str = include_str!("../../../../tests/data/records_0_1/configured.json");

    /// The key that the configuration gave.
    pub const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";
    /// The panel's serial number.
    pub const SERIAL: u32 = 0x1000;
}

fn from_hex(hex: &str) -> PanelKey {
    PanelKey::new(Scbk::from_hex(hex).unwrap()).unwrap()
}

/// Returns the key and the hash in a file, by the structure of version 0.1.
fn noted(text: &str) -> version_0_1::KeyNote {
    serde_json::from_str::<version_0_1::Note>(text).unwrap().key.unwrap()
}

#[test]
fn files_of_version_0_1_are_read_in_every_form() {
    use golden::{CONFIGURED, CONFIGURED_PAIRING, KEY, PAIRED, PAIRING, SERIAL, SERIAL_ONLY};

    let record =
        |current: &Option<CurrentKey>, pending: Option<&PanelKey>, from_config: Option<&PanelKey>| {
            let (pending, from_config) = (pending.cloned(), from_config.cloned());
            KeyRecord {
                serial: Some(SERIAL),
                current: current.clone(),
                pending,
                from_config,
                ..KeyRecord::default()
            }
        };
    let known = |key: &PanelKey| Some(CurrentKey::Known(key.clone()));
    let (configured, another) = (from_hex(KEY), key(2));

    // A serial number alone.
    assert_eq!(read(SERIAL_ONLY, None), record(&None, None, None));
    assert_eq!(read(SERIAL_ONLY, Some(another.clone())), record(&None, None, Some(&another)));
    // A key set by pairing, proven or not.
    let paired = from_hex(&noted(PAIRED).scbk.unwrap());
    assert_eq!(read(PAIRED, None), record(&known(&paired), None, None));
    assert_eq!(read(PAIRED, Some(another.clone())), record(&known(&paired), None, Some(&another)));
    let begun = from_hex(&noted(PAIRING).scbk.unwrap());
    assert_eq!(read(PAIRING, None), record(&None, Some(&begun), None));
    assert_eq!(read(PAIRING, Some(another.clone())), record(&None, Some(&begun), Some(&another)));
    // A key of the configuration, which gives it still, gives another, or gives no key.
    let hash = Some(CurrentKey::HashOnly { sha256: noted(CONFIGURED).sha256 });
    assert_eq!(
        read(CONFIGURED, Some(configured.clone())),
        record(&known(&configured), None, Some(&configured))
    );
    assert_eq!(read(CONFIGURED, Some(another.clone())), record(&hash, None, Some(&another)));
    assert_eq!(read(CONFIGURED, None), record(&hash, None, None));
    assert_eq!(
        read(CONFIGURED_PAIRING, Some(configured.clone())),
        record(&None, Some(&configured), Some(&configured))
    );
    assert_eq!(read(CONFIGURED_PAIRING, None), record(&None, None, None));
    // What it reads though it never writes it.
    assert_eq!(read("{}", None), KeyRecord::default());
    assert_eq!(read(r#"{"serial":null,"key":null}"#, None), KeyRecord::default());
}

#[test]
fn what_version_0_1_wrote_is_written_again_byte_for_byte_before_the_new_members() {
    use golden::{CONFIGURED, CONFIGURED_PAIRING, KEY, PAIRED, PAIRING, SERIAL_ONLY};

    let none = [SERIAL_ONLY, PAIRED, PAIRING, CONFIGURED].map(|text| (text, None));
    let configured = [CONFIGURED, CONFIGURED_PAIRING].map(|text| (text, Some(from_hex(KEY))));
    for (text, from_config) in none.into_iter().chain(configured) {
        // The copy of its structure is true: what it writes is what its own binary wrote.
        let note: version_0_1::Note = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&note).unwrap(), text);

        let again = serde_json::to_string(&Note::of(&read(text, from_config))).unwrap();
        let (serial_and_key, end) = text.split_at(text.len() - 1);
        let beside = again.strip_prefix(serial_and_key).unwrap_or_else(|| panic!("{again} is not as {text}"));
        assert!(
            end == "}" && (beside.starts_with(",\"pending\":") || beside == ",\"keysets\":0}"),
            "{again}"
        );
        let note: version_0_1::Note = serde_json::from_str(&again).unwrap();
        assert_eq!(serde_json::to_string(&note).unwrap(), text, "it reads what it wrote");
    }
}

#[test]
fn what_protects_nothing_is_no_key_though_it_was_written_down() {
    for (scbk, hash) in [("303132333435363738393a3b3c3d3e3f", OF_SCBK_D), (&*"0".repeat(32), OF_ZEROS)] {
        let text = format!(r#"{{"serial":7,"key":{{"scbk":"{scbk}","sha256":"{hash}","proven":true}}}}"#);
        let current = Some(CurrentKey::HashOnly { sha256: hash.to_owned() });
        assert_eq!(read(&text, None), KeyRecord { serial: Some(7), current, ..KeyRecord::default() });
        let pending = format!(
            r#"{{"serial":7,"key":null,"pending":{{"scbk":"{scbk}","sha256":"{hash}"}},"keysets":3}}"#
        );
        let unpaired = KeyRecord { serial: Some(7), keysets: 3, ..KeyRecord::default() };
        assert_eq!(read(&pending, None), unpaired);
        assert_eq!(read(&text.replace("true", "false"), None).pending, None);
    }
}

#[test]
fn what_we_write_is_read_by_version_0_1_with_a_key_that_opens() {
    let all = [None, Some(key(1)), Some(key(2))];
    for current in &all {
        for pending in &all {
            for from_config in &all {
                let record = KeyRecord {
                    serial: Some(7),
                    current: current.clone().map(CurrentKey::Known),
                    pending: pending.clone(),
                    from_config: from_config.clone(),
                    rekeying: pending.is_some(),
                    keysets: 2,
                };
                let text = serde_json::to_string(&Note::of(&record)).unwrap();
                if let Some(configured) = from_config {
                    assert!(!text.contains(&configured.scbk().to_hex()), "{text}");
                }
                assert_eq!(read(&text, from_config.clone()), record, "{text}");

                let note: version_0_1::Note = serde_json::from_str(&text).unwrap();
                assert_eq!(note.serial, Some(7));
                let expected = current.as_ref().or(pending.as_ref());
                assert_eq!(note.key.is_some(), expected.is_some());
                let Some((note, expected)) = note.key.zip(expected) else { continue };
                assert_eq!((note.proven, note.sha256), (current.is_some(), sha256(expected.scbk())));
                let configured = from_config.as_ref() == Some(expected);
                assert_eq!(note.scbk, (!configured).then(|| expected.scbk().to_hex()));
            }
        }
    }
}

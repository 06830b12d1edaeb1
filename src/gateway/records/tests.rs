//! Files and records in any order of events, with writes that fail and restarts.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

fn key(byte: u8) -> PanelKey {
    PanelKey::new(Scbk::new([byte; 16])).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A place with a configuration of one panel, whose key file holds `key` where there is one.
struct Place {
    dir: tempfile::TempDir,
    records: Records,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::at(dir.path());
        Self { dir, records }
    }

    fn panel(&self, configured: Option<&[u8]>) -> Panel {
        let file = self.dir.path().join("key");
        let key = match configured {
            Some(content) => {
                fs::write(&file, content).unwrap();
                "secure_key_file = \"key\""
            }
            None => "",
        };
        let text = format!(
            "[[intercom]]\nid = 1\n[[bus]]\nname = \"a\"\nport = \"/dev/null\"\nprotocol = \"osdp\"\n\
             [[panel]]\nname = \"entrance-1\"\nintercom = 1\nbus = \"a\"\naddress = 0\n{key}\n"
        );
        let path = self.dir.path().join("gateway.toml");
        fs::write(&path, text).unwrap();
        let environment = crate::config::Environment::empty("pi");
        crate::config::Config::load_with(&path, &environment).unwrap().panels.remove(0)
    }

    fn recall(&self, configured: Option<u8>) -> Recalled {
        let hex = configured.map(|byte| key(byte).scbk().to_hex());
        self.records.recall(&self.panel(hex.as_deref().map(str::as_bytes)), &[])
    }

    fn write(&self, record: &KeyRecord) {
        self.records.file(&name("entrance-1")).write(record).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.records.path(&name("entrance-1"))
    }
}

#[test]
fn a_record_comes_back_after_a_restart_from_a_file_of_its_owners_only() {
    let place = Place::new();
    let record = KeyRecord {
        serial: Some(7),
        current: Some(CurrentKey::Known(key(1))),
        pending: Some(key(2)),
        from_config: Some(key(2)),
        rekeying: true,
        keysets: 4,
    };
    place.write(&record);
    assert_eq!(place.recall(Some(2)).record, record);
    let text = fs::read_to_string(place.path()).unwrap();
    assert!(!text.contains("0202"), "a key of the configuration is not written down: {text}");
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let unconfigured = place.recall(None).record;
    assert_eq!((unconfigured.current, unconfigured.pending), (record.current, None));
}

#[test]
fn a_key_file_that_cannot_be_used_is_one_panels_fault_alone() {
    let place = Place::new();
    place.write(&KeyRecord { serial: Some(7), ..KeyRecord::default() });
    let fault = |content: &[u8]| {
        let recalled = place.records.recall(&place.panel(Some(content)), &[]);
        assert_eq!((recalled.record.serial, recalled.record.from_config), (Some(7), None));
        recalled.fault.unwrap()
    };
    assert_eq!(fault(b"303132333435363738393A3B3C3D3E3F\n"), KeyFault::Default);
    assert_eq!(fault("0".repeat(32).as_bytes()), KeyFault::Zero);
    assert_eq!(fault(b"0011"), KeyFault::Malformed);
    assert_eq!(fault(&[0xFF; 32]), KeyFault::Malformed);
    let panel = place.panel(Some(b"x"));
    fs::remove_file(place.dir.path().join("key")).unwrap();
    assert_eq!(place.records.recall(&panel, &[]).fault, Some(KeyFault::Unreadable));
    assert_eq!(place.recall(Some(1)).fault, None);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let place = Place::new();
    fs::write(place.path(), "{\"serial\":").unwrap();
    assert_eq!(place.recall(None).record, KeyRecord::default());
    assert!(place.dir.path().join("panels/entrance-1.json.damaged").exists());
    place.write(&KeyRecord { current: Some(CurrentKey::Known(key(1))), ..KeyRecord::default() });
    assert_eq!(place.recall(None).record.current, Some(CurrentKey::Known(key(1))));
}

#[test]
fn a_file_that_cannot_be_read_now_is_not_lost() {
    let place = Place::new();
    // Stands for EIO and for a file of another owner, which root reads all the same.
    fs::create_dir(place.path()).unwrap();
    fs::write(place.path().join("inside"), "").unwrap();
    let recalled = place.recall(None);
    assert_eq!((recalled.fault, recalled.record), (Some(KeyFault::RecordUnreadable), KeyRecord::default()));
    assert_eq!(place.recall(Some(1)).fault, None, "the configuration's key can be tried");

    let mut file = place.records.file(&name("entrance-1"));
    let nothing_proven = KeyRecord { serial: Some(7), pending: Some(key(2)), ..KeyRecord::default() };
    assert!(file.write(&nothing_proven).unwrap_err().to_string().contains("could not be read"));
    assert!(place.path().join("inside").exists());
    let proven = KeyRecord { current: Some(CurrentKey::Known(key(1))), ..KeyRecord::default() };
    file.write(&proven).unwrap();
    assert!(place.dir.path().join("panels/entrance-1.json.unread/inside").exists(), "set aside");
    file.write(&KeyRecord { serial: Some(7), ..proven }).unwrap();
    assert_eq!(place.recall(None).record.serial, Some(7));
}

#[test]
fn names_that_are_not_configured_any_more_are_offered_by_serial_number() {
    let place = Place::new();
    let old = KeyRecord {
        serial: Some(7),
        current: Some(CurrentKey::Known(key(1))),
        from_config: Some(key(1)),
        ..KeyRecord::default()
    };
    let write = |panel: &str, record: &KeyRecord| place.records.file(&name(panel)).write(record).unwrap();
    write("entrance-old", &old);
    write("unknown-device", &KeyRecord { serial: None, ..old.clone() });
    write("entrance-1", &KeyRecord { serial: Some(8), ..KeyRecord::default() });
    fs::write(place.dir.path().join("panels/x.json.damaged"), "").unwrap();
    let configured = name("entrance-1");
    let strays = place.records.strays(&[&configured]);
    assert_eq!(strays, [name("entrance-old"), name("unknown-device")]);

    let of = |configured: Option<u8>| {
        let hex = configured.map(|byte| key(byte).scbk().to_hex());
        place.records.recall(&place.panel(hex.as_deref().map(str::as_bytes)), &strays).strays
    };
    assert_eq!(of(Some(1)), [KeyRecord { from_config: None, ..old }]);
    let [stray] = of(None).try_into().unwrap();
    assert!(matches!(stray, KeyRecord { serial: Some(7), current: Some(CurrentKey::HashOnly { .. }), .. }));
}

/// What may happen to a panel's keys.
#[derive(Clone, Debug)]
enum Act {
    /// A new key is wanted, which the panel gets only once it is stored.
    Pair(u8),
    /// The panel takes the pending key, where that is stored: KEYSET arrived.
    Keyset,
    /// A handshake with what the panel has.
    Prove,
    /// Another serial number.
    Serial(u32),
    /// The disk takes writes again, or does not.
    Disk(bool),
    /// The gateway starts anew, with this key in the configuration.
    Restart(Option<u8>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1..100_u8).prop_map(Act::Pair),
        3 => Just(Act::Keyset),
        3 => Just(Act::Prove),
        1 => any::<u32>().prop_map(Act::Serial),
        2 => any::<bool>().prop_map(Act::Disk),
        2 => prop::option::of(101..104_u8).prop_map(Act::Restart),
    ];
    prop::collection::vec(act, 1..40)
}

/// The gateway's side as the panel's driver keeps it, the file, and the device.
struct World {
    place: Place,
    file: RecordFile,
    record: KeyRecord,
    /// What is on the disk for certain.
    stored: KeyRecord,
    /// The key that the device has, where it is not the default key.
    device: Option<PanelKey>,
    /// Every key that anybody set.
    set: Vec<PanelKey>,
    /// Every key that the configuration ever gave.
    configured: Vec<PanelKey>,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        let file = place.records.file(&name("entrance-1"));
        let (record, stored) = (KeyRecord::default(), KeyRecord::default());
        Self { place, file, record, stored, device: None, set: Vec::new(), configured: Vec::new() }
    }

    /// The writer's part: the whole record each time.
    fn keep(&mut self) {
        if self.file.write(&self.record).is_ok() {
            self.stored = self.record.clone();
        }
    }

    fn act(&mut self, act: &Act) {
        let in_the_way = self.place.path().with_extension("json.new");
        match act {
            // One that may have arrived is not given up before it, or another, is proven.
            Act::Pair(byte) if self.record.pending.is_none() => {
                let key = self.record.from_config.clone().unwrap_or_else(|| key(*byte));
                self.set.push(key.clone());
                (self.record.pending, self.record.keysets) =
                    (Some(key), self.record.keysets.saturating_add(1));
                self.keep();
            }
            Act::Keyset if self.stored == self.record && self.record.pending.is_some() => {
                self.device = self.record.pending.clone();
            }
            Act::Prove => {
                let Some(key) = self.device.clone() else { return };
                let KeyRecord { current, pending, from_config, .. } = &self.record;
                let known = matches!(current, Some(CurrentKey::Known(current)) if *current == key);
                if known || pending.as_ref() == Some(&key) || from_config.as_ref() == Some(&key) {
                    self.record.current = Some(CurrentKey::Known(key));
                    (self.record.pending, self.record.keysets) = (None, 0);
                    self.keep();
                }
            }
            Act::Serial(serial) => {
                self.record.serial = Some(*serial);
                self.keep();
            }
            Act::Disk(true) => drop(fs::remove_dir(&in_the_way)),
            Act::Disk(false) => drop(fs::create_dir(&in_the_way)),
            Act::Restart(configured) => {
                let recalled = self.place.recall(*configured);
                assert_eq!(recalled.fault, None);
                self.configured.extend(configured.map(key));
                self.record = recalled.record;
                self.file = self.place.records.file(&name("entrance-1"));
                self.stored = self.record.clone();
                self.check();
            }
            Act::Pair(_) | Act::Keyset => {}
        }
    }

    fn check(&self) {
        let KeyRecord { current, pending, from_config, .. } = &self.record;
        let current_key = match current {
            Some(CurrentKey::Known(key)) => Some(key),
            _ => None,
        };
        let keys = [current_key, pending.as_ref(), from_config.as_ref()];
        for key in keys.into_iter().flatten() {
            assert!(self.set.contains(key) || self.configured.contains(key), "a key that nobody set");
        }
        let Some(device) = &self.device else { return };
        // A key of the configuration is the configuration's to give, and not kept beside it.
        let opens = keys.contains(&Some(device)) || self.configured.contains(device);
        assert!(opens, "the device's key is gone: {:?}", self.record);
    }
}

proptest! {
    // Each is some hundred syncs of a disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_door_never_loses_its_key_and_never_gets_one_that_nobody_set(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        world.act(&Act::Restart(None));
    }
}

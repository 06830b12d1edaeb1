//! A kept directory: databases as SQL text, everything else byte for byte, and what must be found in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use intercom_gateway::{
    domain::{ClockQuality, Name, Stamp, StoredEvent},
    store::{Store, StoreOptions},
};
use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Site;

/// A command that has ended, and one that has not.
pub(super) const COMMANDS: [Uuid; 2] = [Uuid::from_u128(0xE1), Uuid::from_u128(0xE2)];

/// What only its maker can tell: tokens and a panel's key that open nothing, and a fingerprint.
pub(super) const MADE: &str = "made.json";

/// A directory `tests/data/state_*`.
pub(crate) struct Golden(pub(crate) PathBuf);

impl Golden {
    /// Returns the one of this name, which need not be there.
    pub(crate) fn named(name: &str) -> Self {
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name))
    }

    /// Returns all that are there.
    pub(crate) fn all() -> Vec<Self> {
        let data = fs::read_dir(Self::named("").0).unwrap().map(|entry| entry.unwrap().path());
        let is_one = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("state_");
        let all: Vec<Self> = data.filter(is_one).map(Self).collect();
        assert!(!all.is_empty());
        all
    }

    /// Returns the text of a file.
    pub(crate) fn text(&self, name: &str) -> String {
        let path = self.0.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Returns a member of [`MADE`].
    pub(super) fn made(&self, member: &str) -> String {
        let made: Value = serde_json::from_str(&self.text(MADE)).unwrap();
        made[member].as_str().unwrap().to_owned()
    }

    /// Returns a place with the configuration and the state directory of then.
    pub(crate) fn restored(&self) -> Site {
        let site = Site::new("");
        configure(&site, &self.text("gateway.toml"));
        for name in files(&self.0.join("state")) {
            let (kept, path) = (self.0.join("state").join(&name), site.state_dir().join(&name));
            let directory = path.parent().unwrap();
            fs::create_dir_all(directory).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
            let path = match name.strip_suffix(".sql") {
                Some(_) => {
                    let database = path.with_extension("db");
                    let sql = fs::read_to_string(kept).unwrap();
                    Connection::open(&database).unwrap().execute_batch(&sql).unwrap();
                    database
                }
                None => fs::copy(kept, &path).map(|_| path).unwrap(),
            };
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        site
    }
}

/// Writes a configuration; `{dir}` in it is the place.
pub(crate) fn configure(site: &Site, text: &str) {
    site.write("gateway.toml", &text.replace("{dir}", site.path("").to_str().unwrap().trim_end_matches('/')));
}

/// Returns all files below a directory by their paths from it, in order.
pub(super) fn files(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path()).iter().map(|below| format!("{name}/{below}")));
        } else {
            all.push(name);
        }
    }
    all.sort();
    all
}

/// Returns a database as SQL text that makes it.
pub(super) fn dump(database: &Path) -> String {
    let connection = Connection::open(database).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let version = texts("SELECT CAST(user_version AS TEXT) FROM pragma_user_version").concat();
    let mut all = vec![format!("PRAGMA user_version = {version}")];
    all.extend(texts("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid"));
    for table in texts("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid") {
        let columns = texts(&format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')"));
        let values = columns.join(" || ', ' || ");
        all.extend(texts(&format!("SELECT 'INSERT INTO {table} VALUES (' || {values} || ')' FROM {table}")));
    }
    all.join(";\n") + ";\n"
}

/// Returns the time at which a directory was made, and at which it is looked at: nothing in it is old then.
pub(super) fn stamp(seconds: u8, clock: ClockQuality) -> Stamp {
    let time = format!("2026-11-23T22:00:{seconds:02}.123Z").parse().unwrap();
    Stamp { time, boot: "boot-1".into(), uptime_ms: 1000 * u64::from(seconds), clock }
}

fn options(state: &Path) -> StoreOptions {
    StoreOptions {
        dir: state.to_path_buf(),
        keep: Duration::from_secs(30 * 86_400),
        max_events: 1_000_000,
        max_journal_bytes: None,
        alone: false,
        now: Arc::new(|| stamp(59, ClockQuality::Synchronized)),
        clock_is_steady: Arc::new(|| true),
    }
}

/// Opens the store, which must find nothing to mend.
pub(super) fn open(state: &Path) -> Store {
    let (store, report) = Store::open(options(state)).unwrap();
    assert_eq!((report.salvage, report.cache_remade, report.without), (None, None, vec![]));
    store
}

/// Opens the store, which must find its journal damaged; the new journal and its events.
pub(crate) fn open_damaged(state: &Path, gateway: &Name) -> (String, Vec<String>) {
    let (store, report) = Store::open(options(state)).unwrap();
    assert!(report.salvage.is_some(), "{report:?}");
    let journal = store.journal();
    let events = journal.read(0, usize::MAX).unwrap();
    let events = events.iter().map(|event| event.to_json(gateway)).collect();
    let identity = journal.identity().to_string();
    drop(journal);
    store.shutdown();
    (identity, events)
}

/// Returns all that a store finds in a state directory, as the files that hold it to what was found when it was made.
pub(super) fn found(state: &Path, gateway: &Name) -> Vec<(&'static str, String)> {
    let store = open(state);
    let (journal, cache) = (store.journal(), store.cache());
    let lines = |events: Vec<StoredEvent>| {
        events.iter().map(|event| event.to_json(gateway) + "\n").collect::<String>()
    };
    let kept = journal.archives().borrow().to_vec();
    let kept_events = kept.iter().map(|kept| {
        let reader = journal.reader_of(&kept.journal).unwrap();
        lines(reader.read(0, usize::MAX).unwrap())
    });
    let mut flats = Vec::new();
    let in_force = cache.export(&mut flats).unwrap();
    let position = |position: &intercom_gateway::store::Position| {
        json!({
            "journal": &*position.journal, "oldest": position.oldest, "last": position.last,
            "delivered": position.delivered,
        })
    };
    let floor = store.time_floor().unwrap();
    let rest = json!({
        "position": position(&journal.position().borrow()),
        "kept": kept.iter().map(position).collect::<Vec<_>>(),
        "time_floor": {"time": floor.time.to_string(), "boot": &*floor.boot, "uptime_ms": floor.uptime_ms},
        "results": COMMANDS.map(|id| journal.command(id).unwrap().expect("the id is known")),
        "unfinished": journal.unfinished_commands().unwrap().iter()
            .map(|unfinished| json!([unfinished.id, unfinished.command]))
            .collect::<Vec<_>>(),
        "flats": {
            "revision": in_force.revision, "digest": in_force.digest, "flats": in_force.flats,
            "keys": in_force.keys, "users": in_force.users,
            "applied_at": in_force.applied_at.map(|time| time.to_string()),
        },
        "lines": cache.lines().unwrap().iter()
            .map(|line| json!({
                "intercom": line.intercom, "flat": line.flat, "state": line.state, "told": line.told,
                "raw": line.raw, "since": line.since.to_string(),
                "measured_at": line.measured_at.map(|time| time.to_string()),
            }))
            .collect::<Vec<_>>(),
    });
    vec![
        ("events.jsonl", lines(journal.read(0, usize::MAX).unwrap())),
        ("kept.jsonl", kept_events.collect()),
        ("flats.json", String::from_utf8(flats).unwrap()),
        ("rest.json", serde_json::to_string_pretty(&rest).unwrap() + "\n"),
    ]
}

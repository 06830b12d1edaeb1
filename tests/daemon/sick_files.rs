//! Every file of the state directory, missing, empty, cut in half, another user's, of a newer version, or a directory in its
//! place: the door opens in all of them, what is lost is named, and nothing else goes with it.

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN},
    simulated::Panels,
    site::ENTRANCE,
};

/// Who runs the daemon where a file is another user's: nobody.
const NOBODY: u32 = 65_534;

/// Daemons at once: they wait more than they work.
const AT_ONCE: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Spoilt {
    Missing,
    Empty,
    /// Cut in half.
    Half,
    /// A directory in its place, with something in it.
    Directory,
    /// Its owner is another user, and alone may read it.
    Foreign,
    /// A database as a newer version may have left it.
    Newer,
}
use Spoilt::{Directory, Empty, Foreign, Half, Missing, Newer};

/// What is the matter with which file, and what the log or health must say of it.
struct Case {
    file: &'static str,
    spoilt: Spoilt,
    says: Says,
}

#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// These words.
    Words(&'static str),
    /// Nothing: as far as anybody can know nothing is lost.
    Nothing,
}
use Says::{Nothing, Words};

/// Files, and what is said of each when it is missing, empty, cut in half, a directory, another user's.
const FILES: &[(&str, [Says; 5])] = &[
    (
        "journal.db",
        [
            Words("is a new one"),
            Words("is a new one"),
            Words("the journal was damaged"),
            Words("events are kept in memory"),
            Words("events are kept in memory"),
        ],
    ),
    (
        "journal.json",
        [Nothing, Words("journal.json"), Words("journal.json"), Words("journal.json"), Words("journal.json")],
    ),
    (
        "journal.db-wal",
        [Nothing, Nothing, Nothing, Words("events are kept in memory"), Words("events are kept in memory")],
    ),
    (
        "journal.db-shm",
        [Nothing, Nothing, Nothing, Words("events are kept in memory"), Words("events are kept in memory")],
    ),
    (
        "cache.db",
        [Nothing, Nothing, Words("cache.db was damaged"), Words("no key is known"), Words("no key is known")],
    ),
    (
        "cache.db-wal",
        [Nothing, Nothing, Nothing, Words("are in force from memory"), Words("are in force from memory")],
    ),
    (
        "cache.db-shm",
        [Nothing, Nothing, Nothing, Words("are in force from memory"), Words("are in force from memory")],
    ),
    ("store.lock", [Nothing, Nothing, Nothing, Words("store.lock"), Words("store.lock")]),
    ("journal.ballast", [Nothing, Nothing, Nothing, Nothing, Nothing]),
    (
        "tokens.json",
        [Nothing, Words("tokens.json"), Words("tokens.json"), Words("tokens.json"), Words("tokens.json")],
    ),
    (
        "retained.json",
        [
            Nothing,
            Words("retained.json"),
            Words("retained.json"),
            Words("retained.json"),
            Words("retained.json"),
        ],
    ),
    (
        "commissioning.json",
        [
            Nothing,
            Words("commissioning.json"),
            Words("commissioning.json"),
            Words("commissioning.json"),
            Words("commissioning.json"),
        ],
    ),
    (
        "panels/entrance-1.json",
        [
            Nothing,
            Words("entrance-1.json"),
            Words("entrance-1.json"),
            Words("entrance-1.json"),
            Words("entrance-1.json"),
        ],
    ),
    (
        "tls/cert.pem",
        [Words("cert.pem"), Words("cert.pem"), Words("cert.pem"), Words("cert.pem"), Words("cert.pem")],
    ),
    (
        "tls/key.pem",
        [Words("key.pem"), Words("key.pem"), Words("key.pem"), Words("key.pem"), Words("key.pem")],
    ),
    ("control.sock", [Nothing, Nothing, Nothing, Words("control.sock"), Nothing]),
    ("sync.parts", [Nothing, Nothing, Nothing, Nothing, Nothing]),
    (
        "journal-0badcafe.db",
        [
            Nothing,
            Words("journal-0badcafe.db"),
            Words("journal-0badcafe.db"),
            Words("journal-0badcafe.db"),
            Words("journal-0badcafe.db"),
        ],
    ),
];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, says) in FILES {
        for (spoilt, says) in [Missing, Empty, Half, Directory, Foreign].into_iter().zip(*says) {
            cases.push(Case { file, spoilt, says });
        }
    }
    for (file, words) in [
        ("journal.db", "a new journal was begun"),
        ("cache.db", "flats were carried over"),
        ("journal-0badcafe.db", ""),
    ] {
        let says = if words.is_empty() { Nothing } else { Words(words) };
        cases.push(Case { file, spoilt: Newer, says });
    }
    cases
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.file, self.spoilt)
    }
}

impl Case {
    /// Whether no key can be read.
    fn is_without_keys(&self) -> bool {
        self.file == "cache.db" && self.spoilt != Newer && self.spoilt != Half
    }

    fn spoil(&self, dir: &Path) {
        let path = dir.join(self.file);
        let remove = || {
            let _ = fs::remove_file(&path);
        };
        match self.spoilt {
            Missing => remove(),
            Empty => fs::write(&path, "").unwrap(),
            Half => {
                let content = fs::read(&path).unwrap_or_else(|_| b"something else".to_vec());
                remove();
                fs::write(&path, &content[..content.len() / 2]).unwrap();
            }
            Directory => {
                remove();
                fs::create_dir_all(path.join("in the way")).unwrap();
            }
            Foreign => {
                if !path.exists() {
                    fs::write(&path, "").unwrap();
                }
                chown(&path, Some(0), Some(0)).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            Newer => {
                let connection = rusqlite::Connection::open(&path).unwrap();
                connection
                    .execute_batch("PRAGMA user_version = 900; CREATE TABLE of_the_future (x);")
                    .unwrap();
            }
        }
    }
}

/// A used state directory, as a power cut leaves it.
struct Template {
    place: tempfile::TempDir,
}

fn site() -> Site {
    let site = Site::new("");
    let text = format!(
        "[gateway]\nid = \"test\"\nstate_dir = \"{{dir}}/state\"\nclock = \"trusted\"\n\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\n[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n\
         {ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"
    );
    site.write("gateway.toml", &text.replace("{dir}", site.path("").to_str().unwrap().trim_end_matches('/')));
    site
}

impl Template {
    fn make() -> Self {
        let site = site();
        site.import(57, &[flats::known()]).ok();
        site.run(["token", "add", "installer"]).ok();
        let panels = Panels::start(&site, true);
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        opens(&panels, Duration::from_secs(60));
        events.wait_type("intercom.door.unlocked");
        site.import(58, &[flats::known(), flats::flat(1, 12, 8, &[])]).ok();
        events.wait_type("gateway.sync.applied");
        // What it knows of the panel is written when that has said it, what it has seen of it soon after.
        for record in ["panels/entrance-1.json", "commissioning.json", "journal.json"] {
            while !site.state_dir().join(record).exists() {
                thread::sleep(Duration::from_millis(50));
            }
        }
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        copy(&site.state_dir(), &state);
        daemon.stop();
        // A journal that was kept, and what an uplink and a snapshot leave.
        fs::copy(site.state_dir().join("journal.db"), state.join("journal-0badcafe.db")).unwrap();
        let kept = rusqlite::Connection::open(state.join("journal-0badcafe.db")).unwrap();
        kept.execute("UPDATE journal SET id = '0badcafe'", []).unwrap();
        kept.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
        fs::write(state.join("retained.json"), "{\"topics\":[]}").unwrap();
        fs::write(state.join("sync.parts"), "left behind").unwrap();
        Self { place }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        let kind = fs::metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            copy(&path, &to);
        } else if kind.is_file() {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// Swipes until the door opens: the first cards of a link are stale.
fn opens(panels: &Panels, within: Duration) {
    let seconds = within.as_secs();
    let opened = (0..seconds).any(|_| {
        panels.try_card("entrance-1", KNOWN);
        panels.opened_within(Duration::from_secs(1), "entrance-1")
    });
    assert!(opened, "the door stays shut");
}

/// Files by their names, from `dir` on, with their contents.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![dir.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                let content = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(dir).unwrap().to_path_buf(), content);
            }
        }
    }
    found
}

fn give_to_nobody(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_to_nobody(&entry.unwrap().path());
        }
    }
}

fn run(case: &Case, template: &Template) {
    let site = site();
    let state = site.state_dir();
    copy(&template.place.path().join("state"), &state);
    let panels = Panels::start(&site, true);
    let mut command = site.command(["run"]);
    if case.spoilt == Foreign {
        fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(site.config_path(), fs::Permissions::from_mode(0o644)).unwrap();
        give_to_nobody(&state);
        chown(fs::canonicalize(site.path("street")).unwrap(), Some(NOBODY), None).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let before = files(&state);
    case.spoil(&state);
    let mut daemon = Daemon::spawn(&mut command);
    if case.is_without_keys() {
        panels.card("entrance-1", KNOWN);
        panels.wait_read("entrance-1");
    } else {
        opens(&panels, Duration::from_secs(30));
    }
    if let Words(words) = case.says {
        daemon.log.rewind();
        daemon.log.wait(words, |line| {
            let is_told = line.contains(" ERROR ") || line.contains(" WARN ");
            (is_told && line.contains(words)).then_some(())
        });
    }
    daemon.stop();
    let after = files(&state);
    for (path, content) in &before {
        let name = path.to_str().unwrap();
        let database = name.trim_end_matches("-wal").trim_end_matches("-shm");
        // What the daemon writes or ends itself.
        let is_written = [
            "journal.db",
            "cache.db",
            "journal.ballast",
            "sync.parts",
            "retained.json",
            "commissioning.json",
            "journal.json",
        ]
        .contains(&database);
        let is_spoilt = name == case.file || case.file.starts_with("tls/") && name.starts_with("tls/");
        assert!(
            is_spoilt || is_written || after.get(path) == Some(content),
            "{name} went with {}: {:?}",
            case.file,
            after.keys()
        );
    }
    if !case.file.starts_with("journal.db") {
        assert!(
            before["journal.db".as_ref() as &Path].len() <= after["journal.db".as_ref() as &Path].len(),
            "the journal went with {}",
            case.file
        );
    }
    if case.spoilt == Directory {
        assert!(
            state.join(case.file).join("in the way").exists(),
            "what is in the way is nobody's to delete"
        );
    }
}

#[test]
fn every_file_spoilt_in_every_way() {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        crate::support::not_run("files of the state that are another user's: only root may give them away");
    }
    let template = Template::make();
    let mut cases = cases();
    cases.retain(|case| is_root || case.spoilt != Foreign);
    let only = std::env::var("SICK_FILE").unwrap_or_default();
    cases.retain(|case| case.to_string().contains(&only));
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let running = std::panic::AssertUnwindSafe(|| run(case, &template));
                    if std::panic::catch_unwind(running).is_err() {
                        eprintln!("that was: {case}");
                        failed.lock().unwrap().push(case.to_string());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

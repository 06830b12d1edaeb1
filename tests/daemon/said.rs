//! What the daemon says in its log of doors and of failures.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
};

use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN},
    simulated::Panels,
    site::{ENTRANCE, Ran},
};

const UNKNOWN: &str = "01020304";

#[test]
fn a_swipe_is_a_line_of_the_log_that_does_not_say_whose_it_was() {
    let site = Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"));
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    panels.card("entrance-1", UNKNOWN);
    let denied = "a key was read: denied (key_unknown); its number is in: intercom-gateway journal | grep intercom.key.swiped subject=\"entrance-1\"";
    daemon.log.wait("the unknown key", |line| line.contains(denied).then_some(()));
    panels.card("entrance-1", KNOWN);
    for said in ["a key was read: granted (key_known)", "the door was unlocked for 3 s by a key"] {
        daemon.log.wait(said, |line| line.contains(&format!("{said} subject=\"entrance-1\"")).then_some(()));
    }
    // The advice is one that works.
    let journal = site.run(["journal"]).ok();
    let line = journal.lines().find(|line| line.contains("intercom.key.swiped")).expect("the swipe");
    assert!(line.contains(UNKNOWN), "{line}");
    let log = daemon.stop();
    for secret in [KNOWN, UNKNOWN] {
        assert!(log.iter().all(|line| !line.contains(secret)), "{secret}: {log:#?}");
    }
}

/// Who is refused what root alone may read.
const NOBODY: u32 = 65_534;

/// Something that is wrong: what the configuration says, what is spoilt, and the words that the daemon's log must have.
struct Wrong {
    name: &'static str,
    settings: &'static str,
    port: &'static str,
    key: &'static str,
    spoil: fn(&Site),
    words: &'static [&'static str],
    /// The daemon does not get as far as a log.
    refused: bool,
}

const SOUND: Wrong = Wrong {
    name: "",
    settings: "",
    port: "{dir}/street",
    key: "{dir}/key",
    spoil: |_| {},
    words: &[],
    refused: false,
};

fn wrongs() -> Vec<Wrong> {
    const PORT: &str = "port cannot be opened";
    vec![
        Wrong { name: "no port", words: &[PORT], ..SOUND },
        Wrong { name: "no serial port", port: "{dir}/key", words: &[PORT], ..SOUND },
        Wrong { name: "no key", key: "{dir}/none", words: &["the key of the panel"], ..SOUND },
        Wrong {
            name: "another's key",
            spoil: |site| chown(site.path("key"), Some(0), Some(0)).unwrap(),
            words: &["the key of the panel", "may not be read"],
            ..SOUND
        },
        Wrong { name: "no credential", key: "credential:none", words: &["credential:none"], ..SOUND },
        Wrong {
            name: "no broker",
            settings: "[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n",
            words: &["nothing listens at the broker"],
            ..SOUND
        },
        Wrong {
            name: "no CA",
            settings: "[mqtt]\nurl = \"mqtts://127.0.0.1:1\"\nca_file = \"{dir}/none.pem\"\n",
            words: &["none.pem"],
            ..SOUND
        },
        Wrong {
            name: "no certificate",
            spoil: |site| with_tls(site, "none.pem"),
            words: &["the endpoint is not served", "none.pem"],
            ..SOUND
        },
        Wrong {
            name: "a bad certificate",
            spoil: |site| with_tls(site, "key"),
            words: &["the endpoint is not served", "no certificate in PEM"],
            ..SOUND
        },
        Wrong {
            name: "a file for a state directory",
            spoil: |site| {
                fs::remove_dir_all(site.state_dir()).unwrap();
                site.write("state", "");
            },
            words: &["cannot make the state directory", "events are kept in memory"],
            ..SOUND
        },
        Wrong {
            name: "another's state directory",
            spoil: |site| {
                chown(site.state_dir(), Some(0), Some(0)).unwrap();
                fs::set_permissions(site.state_dir(), fs::Permissions::from_mode(0o700)).unwrap();
            },
            words: &["cannot lock", "no key is known", "events are kept in memory"],
            ..SOUND
        },
        Wrong { name: "broken TOML", settings: "[mqtt\n", words: &["no valid TOML"], refused: true, ..SOUND },
        Wrong {
            name: "wrong values",
            settings: "[mqtt]\nurl = \"http://x\"\nnonsense = 1\n[journal]\nkeep_days = -1\n",
            words: &["keep_days", "nonsense"],
            refused: true,
            ..SOUND
        },
    ]
}

fn with_tls(site: &Site, file: &str) {
    let (text, file) = (fs::read_to_string(site.config_path()).unwrap(), site.path(file));
    let files = format!("tls = \"files\"\ncert_file = \"{0}\"\nkey_file = \"{0}\"", file.display());
    fs::write(site.config_path(), text.replace("tls = \"off\"", &files)).unwrap();
}

#[test]
fn no_message_says_a_thing_twice_and_no_failure_is_told_twice() {
    const COMMANDS: [&[&str]; 8] = [
        &["check"],
        &["flat", "1", "11"],
        &["journal"],
        &["journal", "--follow"],
        &["export", "-"],
        &["import", "none.json"],
        &["token", "list"],
        &["panel", "pair", "entrance-1"],
    ];
    let mut repeated = Vec::new();
    for wrong in wrongs() {
        let settings = format!(
            "{}[[intercom]]\nid = 1\n[[bus]]\nname = \"street\"\nport = \"{}\"\nprotocol = \"osdp\"\n\
             [[panel]]\nname = \"entrance-1\"\nintercom = 1\nbus = \"street\"\naddress = 0\n\
             secure_key_file = \"{}\"\n",
            wrong.settings, wrong.port, wrong.key
        );
        let site = Site::new("");
        site.run(["token", "add", "installer"]).ok();
        site.configure(&settings);
        site.write("key", "d459f02f6602e5651f3b553bc283d43e\n");
        for (path, mode) in [(site.path(""), 0o755), (site.config_path(), 0o644), (site.path("key"), 0o600)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for path in [site.path("key"), site.state_dir(), site.state_dir().join("tokens.json")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        (wrong.spoil)(&site);
        let command = |words: &[&'static str]| {
            let mut command = site.command(words.iter().copied());
            command.uid(NOBODY).gid(NOBODY);
            command
        };
        for words in COMMANDS {
            let ran = Ran::of(&mut command(words));
            let said: Vec<&str> = ran.stderr.lines().chain(ran.stdout.lines()).collect();
            repeated.extend(repetitions(&format!("{}: {}", wrong.name, words.join(" ")), &said));
        }
        let log = if wrong.refused {
            Ran::of(&mut command(&["run"])).failed(2).lines().map(str::to_owned).collect()
        } else {
            let mut daemon = Daemon::spawn(&mut command(&["run"]));
            for words in wrong.words {
                daemon.log.rewind();
                daemon.log.wait(words, |line| line.contains(words).then_some(()));
            }
            daemon.stop()
        };
        for words in wrong.words {
            assert!(log.iter().any(|line| line.contains(words)), "{}: {words}: {log:#?}", wrong.name);
        }
        let is_bad = |line: &&str| wrong.refused || line.contains(" WARN ") || line.contains(" ERROR ");
        let bad: Vec<&str> = log.iter().map(String::as_str).filter(is_bad).collect();
        repeated.extend(repetitions(wrong.name, &bad));
    }
    assert!(repeated.is_empty(), "{}", repeated.join("\n"));
}

/// Returns the lines that have a path or a clause twice, and those that tell of the same error of the same file as one
/// before.
fn repetitions(case: &str, lines: &[&str]) -> Vec<String> {
    let (mut told, mut repeated) = (BTreeSet::new(), Vec::new());
    for line in lines {
        // A command to be run names its file again.
        let said: String = line.split('`').step_by(2).collect();
        for clause in said.split([':', ';', '(', ')']).map(str::trim).filter(|clause| clause.len() >= 8) {
            if said.matches(clause).count() > 1 {
                repeated.push(format!("{case}: {clause:?} stands twice in: {line}"));
            }
        }
        if said.to_lowercase().matches("no such file").count() > 1 {
            repeated.push(format!("{case}: in the system's words and in ours: {line}"));
        }
        let is_end = |c: char| c.is_whitespace() || ":;,()=\"".contains(c);
        let paths: Vec<&str> =
            said.split(is_end).filter(|word| word.starts_with('/') && *word != "//").collect();
        for (index, path) in paths.iter().enumerate() {
            if paths.iter().take(index).any(|before| before == path) {
                repeated.push(format!("{case}: {path} stands twice in: {line}"));
            }
        }
        if let Some((_, number)) = said.split_once("(os error ")
            && !told.insert((paths.first().map(|path| (*path).to_owned()), number.to_owned()))
        {
            repeated.push(format!("{case}: told before: {line}"));
        }
    }
    repeated
}

//! The command line as a user meets it: exit statuses, and what is said about mistakes (contract §1).

#[path = "support/mod.rs"]
mod support;

use std::{
    fs::{self, File},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt, chown},
};

use serde_json::Value;
use support::{
    Site,
    flats::flat,
    site::{ENTRANCE, Ran, binary},
};

/// Every command, with what it needs to be well used.
const COMMANDS: [&[&str]; 24] = [
    &["run"],
    &["check"],
    &["doctor"],
    &["reload"],
    &["apply", "new.toml"],
    &["config"],
    &["config", "show"],
    &["flat", "1", "1"],
    &["import", "flats.json"],
    &["export", "flats.json"],
    &["backup", "building.backup"],
    &["restore", "building.backup"],
    &["journal"],
    &["monitor"],
    &["decode", "capture.osdpcap"],
    &["panel"],
    &["panel", "pair", "entrance-1"],
    &["panel", "identify", "entrance-1"],
    &["token"],
    &["token", "add", "installer"],
    &["token", "list"],
    &["token", "revoke", "installer"],
    &["simulate"],
    &["completions", "bash"],
];

/// Each command line with what came of it, as one snapshot.
fn told<'a>(site: &Site, lines: impl IntoIterator<Item = &'a [&'a str]>) -> String {
    let mut told = String::new();
    for line in lines {
        let Ran { status, stdout, stderr } = site.run(line.iter().copied());
        told.push_str(&format!("$ intercom-gateway {}\n", line.join(" ")));
        told.push_str(&site.anonymous(&format!("{stdout}{stderr}")));
        told.push_str(&format!("= {}\n\n", status.map_or("killed".to_owned(), |status| status.to_string())));
    }
    told
}

#[test]
fn help_is_on_everything() {
    let help = Ran::of(binary().arg("--help")).ok();
    for words in COMMANDS {
        assert!(help.contains(&format!("\n  {}", words[0])), "{}: {help}", words[0]);
        let names = words.iter().take_while(|word| {
            ["config", "show", "panel", "pair", "identify", "token", "add", "list", "revoke"].contains(word)
        });
        let names: Vec<&str> = if ["config", "panel", "token"].contains(&words[0]) {
            names.copied().collect()
        } else {
            vec![words[0]]
        };
        let text = Ran::of(binary().args(&names).arg("--help")).ok();
        assert!(text.contains(&format!("Usage: intercom-gateway {}", names.join(" "))), "{text}");
        assert!(text.contains("--config <FILE>"), "{text}");
        assert!(
            text.lines().next().is_some_and(|line| line.len() > 10),
            "{names:?} says what it does: {text}"
        );
    }
    assert!(Ran::of(binary().arg("--version")).ok().starts_with("intercom-gateway "));
}

#[test]
fn wrong_usage_is_status_2() {
    let site = Site::new(ENTRANCE);
    insta::assert_snapshot!(told(
        &site,
        [
            [].as_slice(),
            &["open-sesame"],
            &["flat"],
            &["flat", "one", "1"],
            &["flat", "1", "-1"],
            &["journal", "--from", "yesterday"],
            &["journal", "--form", "1"],
            &["journal", "--type", "intercom.key.swipe"],
            &["journal", "--since", "yesterday"],
            &["journal", "--key", "somebody's"],
            &["journal", "--flat", "0"],
            &["journal", "--follow", "--until", "2h"],
            &["journal", "--csv", "--json"],
            &["decode"],
            &["decode", "capture.osdpcap", "--key", "00112233445566778899aabbccddee"],
            &["panel", "pair", "Entrance 1"],
            &["panel", "identify", "entrance-1", "--for", "10"],
            &["panel", "identify", "entrance-1", "--for", "2m"],
            &["token", "add", "Big Boss"],
        ]
    ));
}

#[test]
fn a_wrong_configuration_is_status_2_for_every_command() {
    let site = Site::new(ENTRANCE);
    let text = fs::read_to_string(site.config_path()).unwrap();
    site.write("gateway.toml", &text.replace("address = 0", "address = 127"));
    let expected = site.anonymous(&site.run(["check"]).failed(2));
    insta::assert_snapshot!(expected);
    for words in COMMANDS {
        if !matches!(words, ["decode", ..] | ["config"] | ["panel"] | ["token"] | ["completions", ..]) {
            assert_eq!(site.anonymous(&site.run(words.iter().copied()).failed(2)), expected, "{words:?}");
        }
    }
    assert!(!site.state_dir().exists(), "nothing was begun");
    fs::remove_file(site.config_path()).unwrap();
    insta::assert_snapshot!("no_configuration", site.anonymous(&site.run(["check"]).failed(2)));
}

#[test]
fn what_fails_is_status_1_and_says_what_would_help() {
    let site = Site::new(ENTRANCE);
    let nothing_yet = told(
        &site,
        [
            ["flat", "1", "1"].as_slice(),
            &["export", "-"],
            &["journal"],
            &["journal", "--follow"],
            &["monitor"],
            &["panel", "pair", "entrance-1"],
            &["panel", "identify", "entrance-1"],
        ],
    );
    insta::assert_snapshot!("before_anything_ran", nothing_yet);
    site.import(7, &[flat(1, 11, 7, &[])]).ok();
    insta::assert_snapshot!(told(
        &site,
        [
            ["flat", "1", "12"].as_slice(),
            &["flat", "--number", "1", "11"],
            &["flat", "2", "11"],
            &["import", "nowhere.json"],
            &["import", "."],
            &["export", "nowhere/flats.json"],
            &["decode", "nowhere.osdpcap"],
            &["decode", "gateway.toml"],
            &["panel", "pair", "entrance-2"],
            &["panel", "identify", "entrance-2"],
            &["token", "revoke", "nobody"],
            &["journal", "--from", "1000"],
            &["journal", "--panel", "entrence-1"],
        ]
    ));
}

#[test]
fn a_closed_output_is_no_failure() {
    let site = Site::new(ENTRANCE);
    site.import(7, &[flat(1, 11, 7, &[])]).ok();
    for words in [["journal"].as_slice(), &["config", "show"], &["flat", "1", "11"], &["export", "-"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = site.command(words.iter().copied());
        let ran = command
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn captures_are_decoded() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    for (file, frames, names) in [
        ("sia-1-poll-cycle.osdpcap", 10, ["POLL", "ACK"]),
        ("sia-2-lstatr-power.osdpcap", 2, ["POLL", "LSTATR"]),
    ] {
        let path = format!("{data}/{file}");
        let json = Ran::of(binary().args(["decode", "--json", &path])).ok();
        let objects: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(objects.len() >= frames, "{file}: {}", objects.len());
        for (number, object) in (1..).zip(&objects) {
            assert_eq!((&object["n"], &object["check"]), (&number.into(), &"ok".into()), "{object}");
            let direction = object["direction"].as_str().unwrap();
            assert!(["command", "reply"].contains(&direction));
            for key in ["address", "sequence", "name", "mac", "data"] {
                assert!(object.get(key).is_some(), "{object}");
            }
        }
        for name in names {
            assert!(objects.iter().any(|object| object["name"] == name), "{file}: no {name}");
        }
        let table = Ran::of(binary().args(["decode", &path])).ok();
        assert_eq!(table.lines().count(), objects.len() + 1);
        let from_stdin =
            binary().args(["decode", "-"]).stdin(fs::File::open(&path).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8(from_stdin.stdout).unwrap(), table);
    }
}

/// Contract §1, `config show`: all layers, each value with where it comes from; a secret's file is named and not read.
#[test]
fn the_configuration_is_shown_with_where_each_value_comes_from() {
    let site = Site::new(&format!(
        "{ENTRANCE}secure_key_file = \"key\"\nlock = {{ output = 0, open = \"2500ms\" }}\n"
    ));
    site.write("key", "00112233445566778899aabbccddeeff");
    std::fs::create_dir(site.path("gateway.toml.d")).unwrap();
    site.write(
        "gateway.toml.d/uplink.toml",
        "[mqtt]\nurl = \"mqtts://broker.example.org\"\nusername = \"building\"\npassword_file = \"credential:pw\"\n\
         [http]\nlisten = \"127.0.0.1:1\"\n",
    );
    let mut command = site.command(["config", "show"]);
    command
        .env("INTERCOM_GATEWAY__JOURNAL__KEEP_DAYS", "9")
        .env("INTERCOM_GATEWAY__MQTT__HOME_ASSISTANT", "true");
    let shown = Ran::of(&mut command).ok();
    let lines = |text: &str| -> Vec<(String, String)> {
        let parts = text.lines().map(|line| line.split_once(" # ").unwrap_or((line, "")));
        parts.map(|(value, place)| (value.trim_end().to_owned(), place.to_owned())).collect()
    };
    // Where the comments begin depends on the length of the directory's name.
    let apart = lines(&shown)
        .into_iter()
        .map(|(value, place)| format!("{value} # {place}").trim_end_matches(" # ").to_owned());
    insta::assert_snapshot!(site.anonymous(&apart.collect::<Vec<_>>().join("\n")));

    let again = Site::new("");
    std::fs::write(again.config_path(), &shown).unwrap();
    let shown_again = again.run(["config", "show"]).ok();
    let values = |text: &str| lines(text).into_iter().map(|(value, _)| value).collect::<Vec<_>>();
    assert_eq!(values(&shown_again), values(&shown));
    assert!(!shown_again.contains("# default"), "all of it is written down now: {shown_again}");
}

#[test]
fn a_time_zone_that_the_system_has_dropped_is_known_all_the_same() {
    let site = Site::new(ENTRANCE);
    let text = fs::read_to_string(site.config_path()).unwrap();
    let text = text.replace("[gateway]\n", "[gateway]\ntimezone = \"Europe/Kiev\"\n");
    fs::write(site.config_path(), text).unwrap();
    let zones = tempfile::tempdir().unwrap();
    let has = |name: &str| {
        let file = zones.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy("/usr/share/zoneinfo/Europe/Berlin", file).unwrap();
    };
    let check = || Ran::of(site.command(["check"]).env("TZDIR", zones.path()));
    has("Asia/Tokyo");
    let unknown = check();
    assert!(
        unknown.stderr.contains("\"Europe/Kiev\" is no time zone; write an IANA name"),
        "{}",
        unknown.stderr
    );
    // Its name of today.
    has("Europe/Kyiv");
    let known = check();
    assert!(!known.stderr.contains("time zone"), "{}", known.stderr);
}

#[test]
fn tokens_that_are_made_at_once_are_all_there() {
    let site = Site::new(ENTRANCE);
    let names: Vec<String> = (0..8).map(|number| format!("phone-{number}")).collect();
    let adding: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = site.command(["token", "add", name]);
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut added in adding {
        assert!(added.wait().unwrap().success());
    }
    let listed = site.run(["token", "list"]).ok();
    assert!(names.iter().all(|name| listed.contains(name)), "{listed}");
}

#[test]
fn an_import_without_a_daemon_makes_a_directory_that_is_its_owners_alone() {
    let site = Site::new(ENTRANCE);
    site.import(57, &[flat(1, 11, 7, &[])]).ok();
    let mode = fs::metadata(site.state_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// As under the shipped unit: the state directory is a system user's, and the folder that root works in is its own.
#[test]
fn what_root_does_without_a_daemon_leaves_the_state_its_owners_and_an_export_roots() {
    const OWNER: u32 = 65_534;
    if !nix::unistd::geteuid().is_root() {
        return support::not_run("commands of root on a state directory of somebody else");
    }
    let site = Site::new(ENTRANCE);
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(site.state_dir()).unwrap();
    chown(site.state_dir(), Some(OWNER), Some(OWNER)).unwrap();
    fs::DirBuilder::new().mode(0o700).create(site.path("roots")).unwrap();
    let exported = site.path("roots/flats.json");
    let exported = exported.to_str().unwrap();

    site.import(57, &[flat(1, 11, 7, &[])]).ok();
    site.run(["token", "add", "installer"]).ok();
    for _ in 0..2 {
        site.run(["export", exported]).ok();
        site.run(["import", exported]).ok();
    }
    assert!(site.run(["flat", "1", "11"]).ok().contains("\"flat\":7"));
    assert_eq!(fs::metadata(exported).unwrap().uid(), 0);
    assert_eq!(fs::read_dir(site.path("roots")).unwrap().count(), 1);
    for entry in fs::read_dir(site.state_dir()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), OWNER, "{:?}", entry.path());
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "fish", "zsh"] {
        let script = Ran::of(binary().args(["completions", shell])).ok();
        for words in COMMANDS {
            assert!(words.iter().take(1).all(|word| script.contains(word)), "{shell}: {words:?}");
        }
    }
}

/// Contract §1 and §2: what a command finds broken it says, and `clock = "trusted"` holds for it as for the daemon.
#[test]
fn an_import_without_a_daemon_says_what_became_of_a_damaged_journal_and_trusts_the_clock_as_told() {
    let site = Site::new(ENTRANCE);
    site.import(57, &[flat(1, 11, 7, &[])]).ok();
    // It counts free pages that there are not (SQLite's file format, 1.3.7).
    let journal = File::options().write(true).open(site.state_dir().join("journal.db")).unwrap();
    journal.write_all_at(&77_777_u32.to_be_bytes(), 36).unwrap();
    let told = site.import(58, &[flat(1, 11, 7, &[])]);
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert!(
        told.stderr.contains("the journal was damaged") && told.stderr.contains("moved to"),
        "{}",
        told.stderr
    );
    let events = site.run(["journal", "--json"]).ok();
    let pruned: Value = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|event| event["type"] == "gateway.journal.pruned")
        .expect("the new journal says what it is");
    assert_eq!(pruned["data"]["clock"], "synchronized");
}

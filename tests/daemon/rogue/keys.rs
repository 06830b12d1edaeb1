//! Panel keys: none that anybody knows is one, and none that a panel has is thrown away.

use serde_json::{Value, json};

use super::{
    Entrance, KEY, REQUIRED, SCBK_D, SECURED, WATCHED, WITH_KEY, ZEROS, found_within, one_panel, panel, site,
};
use crate::support::{
    lines::PATIENCE,
    rogue::{KEYSET, OUT, Rogue, SERIAL},
};

const INSTALL: &str = "secure_channel = \"install\"";
const INSTALL_WITH_KEY: &str = "secure_channel = \"install\"\nsecure_key_file = \"{dir}/key\"";
/// The SHA-256 of a key that is not here: what version 0.1 wrote of a panel whose key the configuration gave.
const HASH_ALONE: &str = include_str!("../../data/records_0_1/configured.json");

/// Waits until the panel is called online or insecure, and returns its row.
fn judged(entrance: &Entrance) -> Value {
    entrance.wait_row("online or insecure", |row| row["state"] == "online" || row["state"] == "insecure")
}

/// Returns the key of a KEYSET.
fn key_of(keyset: &Value) -> String {
    keyset["data"].as_str().unwrap().strip_prefix("0110").expect("one key of 16 bytes").to_owned()
}

#[test]
fn a_note_that_holds_only_a_hash_is_no_key_of_zeros() {
    for channel in ["install", "required"] {
        let site = site(&one_panel("entrance-1", &format!("secure_channel = \"{channel}\"")));
        std::fs::create_dir_all(site.path("state/panels")).unwrap();
        site.write("state/panels/entrance-1.json", HASH_ALONE);
        let entrance = Entrance::at(site, &["--key", ZEROS]);
        let row = judged(&entrance);
        assert_eq!(row["state"], "insecure", "{channel}: {row}");
        assert!(row["error"].is_string(), "{row}");
        assert_eq!(entrance.events.count_type(SECURED), 0);
        assert_eq!(entrance.rogue.sessions("own"), 0);
        assert_eq!(entrance.rogue.challenges("default"), 0, "the proven key is somewhere");
        entrance.daemon.stop();
    }
}

#[test]
fn a_key_that_everybody_knows_is_refused_by_check() {
    for (key, words) in [(SCBK_D, "default key"), (ZEROS, "zero")] {
        let site = site(&one_panel("entrance-1", REQUIRED));
        site.write("key", key);
        let said = site.run(["check"]);
        assert_eq!(said.status, Some(2), "{said:?}");
        let said = format!("{}{}", said.stdout, said.stderr);
        assert!(said.contains("secure_key_file") && said.contains(words), "{said}");
        assert!(!said.contains(key), "the key itself is not shown: {said}");
    }
}

/// Starts the daemon with a second panel whose key file holds this, or does not exist: that panel alone must be
/// insecure.
fn only_the_other_door_opens(bad_key: Option<&str>, has: &str) {
    let bad = "secure_channel = \"required\"\nsecure_key_file = \"{dir}/bad-key\"\nlock = { output = 0 }";
    let site = site(&format!("{}{}", one_panel("entrance-1", REQUIRED), panel("gate", "gate", bad)));
    if let Some(key) = bad_key {
        site.write("bad-key", key);
    }
    let gate = Rogue::start(&site.path("gate"), &["--key", has]);
    let mut entrance = Entrance::at(site, &WITH_KEY);
    entrance.open();
    let is_judged = |row: &Value| row["panel"] == "gate" && row["state"] != "offline";
    let judged = found_within(PATIENCE, || entrance.rows().into_iter().find(is_judged));
    let row = judged.expect("it answers");
    assert_eq!(row["state"], "insecure", "{row}");
    assert!(row["error"].is_string(), "{row}");
    assert_eq!(gate.sessions("own") + gate.sessions("default"), 0);
    assert!(entrance.is_degraded());
    assert_eq!(entrance.row()["state"], "online");
    entrance.daemon.stop();
}

#[test]
fn the_default_key_as_its_own_makes_one_panel_insecure_and_no_other() {
    only_the_other_door_opens(Some(SCBK_D), SCBK_D);
}

#[test]
fn zeros_as_its_own_key_make_one_panel_insecure_and_no_other() {
    only_the_other_door_opens(Some(ZEROS), ZEROS);
}

#[test]
fn a_key_file_that_is_missing_makes_one_panel_insecure_and_no_other() {
    only_the_other_door_opens(None, KEY);
}

#[test]
fn a_key_file_that_holds_no_key_makes_one_panel_insecure_and_no_other() {
    only_the_other_door_opens(Some("no key"), KEY);
}

/// Pairs a new panel, and returns its key.
fn paired() -> (Entrance, String) {
    let mut entrance = Entrance::start(INSTALL, &[]);
    let key = key_of(&entrance.rogue.wait_command(KEYSET));
    entrance.events.wait_type(SECURED);
    entrance.open();
    (entrance, key)
}

#[test]
fn the_proven_key_is_kept_until_a_new_one_is_proven() {
    let (mut entrance, key) = paired();
    // Somebody begins to swap the panel for one that never takes a key, and gives up.
    entrance.rogue.swap(None, SERIAL + 1, false);
    entrance.rogue.behave("forgets_keys");
    entrance.site.run(["panel", "pair", "entrance-1"]).ok();
    // The first panel got its key less than a minute ago.
    let offered = entrance.rogue.command_within(2 * PATIENCE, KEYSET).expect("a key for the new panel");
    let offered = key_of(&offered);
    assert_ne!(offered, key, "a key of its own for each panel");
    let note = entrance.note();
    entrance.rogue.swap(Some(&key), SERIAL, true);
    entrance.rogue.wait_session("own");
    entrance.open();
    assert_eq!(note["key"]["scbk"], json!(key), "an older version finds the current key");
    // So it is after a restart.
    let mut entrance = entrance.restart(&one_panel("entrance-1", INSTALL));
    entrance.events.wait_type(SECURED);
    entrance.open();
    entrance.daemon.stop();
}

#[test]
fn a_panel_that_forgets_its_key_gets_one_a_minute_at_most() {
    let mut entrance = Entrance::start(INSTALL, &["--behave", "forgets_keys"]);
    entrance.rogue.wait_command(KEYSET);
    entrance.rogue.mark(200, WATCHED);
    let at: Vec<f64> =
        entrance.rogue.commands(KEYSET).iter().map(|keyset| keyset["at"].as_f64().unwrap()).collect();
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] > 55.0), "KEYSET {} times: {at:?}", at.len());
    let keys = entrance.rogue.commands(KEYSET);
    assert!(keys.iter().all(|keyset| keyset["sealed"] == true));
    // A panel that takes it comes online by itself.
    entrance.rogue.swap(None, SERIAL, false);
    entrance.rogue.command_within(2 * PATIENCE, KEYSET).expect("another KEYSET within a minute");
    entrance.rogue.wait_session("own");
    entrance.open();
    entrance.daemon.stop();
}

#[test]
fn in_a_session_under_the_default_key_nothing_is_sent_but_keyset() {
    let (entrance, _) = paired();
    let told = entrance.rogue.told.so_far();
    let by_default = told.iter().position(|word| word["seen"] == "secure" && word["key"] == "default");
    let after = &told[by_default.expect("it was paired by the default key") + 1..];
    let own = after.iter().position(|word| word["seen"] == "secure").expect("and then by its own");
    let sealed: Vec<&Value> = after[..own].iter().filter(|word| word["sealed"] == true).collect();
    assert_eq!(sealed.len(), 1, "{sealed:#?}");
    assert_eq!(sealed[0]["code"], KEYSET);
    entrance.daemon.stop();
}

#[test]
fn a_configured_key_goes_to_nobody_with_the_default_key_unless_somebody_says_so() {
    let mut entrance = Entrance::start(INSTALL_WITH_KEY, &[]);
    let row = entrance.row_within(PATIENCE, |row| row["state"] == "insecure" || row["state"] == "online");
    entrance.rogue.mark(100, WATCHED);
    assert_eq!(entrance.rogue.commands(KEYSET).len(), 0, "the configured key was handed over");
    assert_eq!(entrance.rogue.challenges("default"), 0);
    assert_eq!(row.expect("it answers")["state"], "insecure");

    entrance.site.run(["panel", "pair", "entrance-1"]).ok();
    assert_eq!(key_of(&entrance.rogue.wait_command(KEYSET)), KEY);
    entrance.events.wait_type(SECURED);
    entrance.open();
    let note = entrance.note().to_string();
    assert!(!note.contains(KEY), "the configured key is the installer's file's alone: {note}");
    entrance.daemon.stop();
}

#[test]
fn a_panel_that_is_renamed_is_found_again_by_its_serial_number() {
    let (mut entrance, key) = paired();
    entrance.rogue.swap(Some(&key), SERIAL, true);
    entrance.open();
    let mut entrance = entrance.restart(&one_panel("front-door", INSTALL));
    let keysets = entrance.rogue.commands(KEYSET).len();
    entrance.events.wait_panel(SECURED, "front-door");
    entrance.open();
    assert_eq!(entrance.rogue.commands(KEYSET).len(), keysets);
    assert_eq!(entrance.rogue.commands(OUT).last().unwrap()["sealed"], true);
    entrance.daemon.stop();
}

//! A card dies: another machine takes over, and nobody visits a panel.

use std::fs;

use intercom_gateway::{simulate::panel::Observation, store::time_floor_in};

use super::{backup, digest, entrance_on, full, in_force, journal, restore, sealed};
use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN, KNOWN_KEY},
    simulated::Panels,
    site::{ENTRANCE, Ran, is_private},
    wait_until,
};

/// Starts the daemon with its own certificate; ends it, and returns the fingerprints that it logs.
fn fingerprint(site: &Site) -> String {
    let mut daemon = Daemon::spawn(site.command(["run"]).env("INTERCOM_GATEWAY__HTTP__TLS", "self-signed"));
    let told = daemon.log.wait("the fingerprints", |line| {
        line.split_once(" fingerprint=").map(|(_, prints)| prints.to_owned())
    });
    daemon.stop();
    told
}

#[test]
fn another_machine_opens_for_the_same_cards_without_a_new_pairing() {
    let first = Site::new("");
    let port = first.path("street");
    first.configure(&entrance_on(&port));
    let second = Site::new(&entrance_on(&port));
    let resistances = {
        let mut flat = flats::flat(1, 12, 8, &[(102, "00000000000001")]);
        flat["answer_resistance"] = 840.into();
        flat["quiescent_resistance"] = 610.into();
        flat
    };
    first.import(57, &[flats::known(), resistances]).ok();
    let panels = Panels::start(&first, false);
    let prints = fingerprint(&first);

    let mut daemon = Daemon::start(&first);
    panels.wait("entrance-1", "its own key", |what| *what == Observation::Secured { default_key: false });
    let token = first.run(["token", "add", "phone"]).ok();
    let events = |daemon: &mut Daemon, site: &Site| daemon.events(site, 1);
    events(&mut daemon, &first).wait_type("intercom.panel.online");
    // Beside the running daemon.
    let file = first.path("building.backup");
    let ran = backup(&first, &file);
    assert!(ran.stdout.contains("revision 57, 2 flats, 2 keys, 0 users"), "{ran:?}");
    assert!(is_private(&file) && !first.path("building.backup.new").exists());
    daemon.kill();

    let told = restore(&second, &file).ok();
    assert!(
        told.contains("gateway test") && told.contains("revision 57, 2 flats, 2 keys, 0 users"),
        "{told}"
    );
    assert_eq!(digest(&second), digest(&first));
    assert_eq!(in_force(&second), in_force(&first));
    assert!(
        second.run(["export", "-"]).ok().contains("\"answer_resistance\":840,\"quiescent_resistance\":610")
    );
    assert_ne!(journal(&second), journal(&first));
    let made = time_floor_in(&second.state_dir()).expect("the clock was trusted when it was made");
    assert!(Some(made.time) >= time_floor_in(&first.state_dir()).map(|floor| floor.time));

    drop(panels.seen());
    let mut daemon = Daemon::start(&second);
    let mut events = daemon.events(&second, 1);
    let started = events.wait_type("gateway.started");
    assert_eq!(started["sequence"], "00000000000000000001", "the journal is a new one");
    events.wait_type("intercom.panel.online");
    panels.card("entrance-1", KNOWN);
    let swiped = events.wait_type("intercom.key.swiped");
    assert_eq!((&swiped["data"]["key"], &swiped["data"]["decision"]), (&KNOWN_KEY.into(), &"granted".into()));
    events.wait_type("intercom.door.unlocked");
    let keys_set = panels.seen().iter().filter(|seen| seen.what == Observation::KeySet).count();
    assert_eq!(keys_set, 0, "the panel's key was known");
    assert_eq!(daemon.ask("GET", "/api/local/v1/panels", token.trim()).0, 200);
    daemon.stop();
    assert_eq!(fingerprint(&second), prints);
    for name in ["tokens.json", "panels", "panels/entrance-1.json", "tls/key.pem", "cache.db", "journal.db"] {
        assert!(is_private(&second.state_dir().join(name)), "{name}");
    }
    let mut left: Vec<_> =
        fs::read_dir(second.state_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name.to_string_lossy().contains("restore"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_backup_is_the_same_beside_a_daemon_and_without_one() {
    let site = full(3);
    let (beside, without) = (site.path("beside"), site.path("without"));
    let daemon = Daemon::start(&site);
    backup(&site, &beside).ok();
    daemon.stop();
    backup(&site, &without).ok();
    let [first, second] = [&beside, &without].map(|file| {
        let other = Site::new(ENTRANCE);
        restore(&other, file).ok();
        (in_force(&other), digest(&other))
    });
    assert_eq!(first, second);
    assert_eq!(first.0, in_force(&site));
}

#[test]
fn what_is_replaced_is_kept_and_the_old_journal_stays_readable() {
    let (old, new) = (full(1), full(2));
    let before = in_force(&new);
    let (file, journal_before) = (old.path("b"), journal(&new));
    backup(&old, &file).ok();
    let ran = Ran::of(sealed(&new, ["restore", "--replace"]).arg(&file));
    assert!(ran.stderr.contains("state/before-restore"), "{ran:?}");
    ran.ok();
    assert_eq!(in_force(&new), in_force(&old));
    assert!(new.state_dir().join(format!("journal-{journal_before}.db")).exists());
    let kept = new.path("state/before-restore");
    assert_eq!(fs::read_to_string(kept.join("panels/entrance-1.json")).unwrap(), before[2]);
    assert!(fs::read_to_string(kept.join("tokens.json")).unwrap().contains("token-2"));
    assert!(is_private(&kept) && kept.join("cache.db").exists());

    // A daemon goes on with it, and delivers what the old journal had not.
    let daemon = Daemon::start(&new);
    daemon.stop();
    assert_ne!(journal(&new), journal_before);
    // Once more: what was replaced first is gone, what is replaced now is kept.
    Ran::of(sealed(&new, ["restore", "--replace"]).arg(&file)).ok();
    assert!(fs::read_to_string(kept.join("tokens.json")).unwrap().contains("token-1"));
}

#[test]
fn a_machine_that_has_only_been_started_takes_a_backup_as_it_is() {
    let (old, new) = (full(1), Site::new(ENTRANCE));
    Daemon::start(&new).stop();
    let file = old.path("b");
    backup(&old, &file).ok();
    let started = journal(&new);
    restore(&new, &file).ok();
    assert_eq!(in_force(&new), in_force(&old));
    assert_ne!(journal(&new), started);
}

#[test]
fn a_gateway_without_flats_can_be_backed_up() {
    let (old, new) = (Site::new(ENTRANCE), Site::new(ENTRANCE));
    old.run(["token", "add", "phone"]).ok();
    let file = old.path("b");
    assert!(backup(&old, &file).ok().contains("no flats"));
    restore(&new, &file).ok();
    assert!(new.run(["token", "list"]).ok().contains("phone"));
    Daemon::start(&new).stop();
}

/// A right that has ended does not come back because the new machine's clock is not set yet.
#[test]
fn the_time_that_was_known_last_is_restored_unless_a_later_one_is_known() {
    let (old, new) = (full(1), full(2));
    Daemon::start(&old).stop();
    let file = old.path("b");
    backup(&old, &file).ok();
    Daemon::start(&new).stop();
    let later = time_floor_in(&new.state_dir()).unwrap();
    Ran::of(sealed(&new, ["restore", "--replace"]).arg(&file)).ok();
    assert_eq!(time_floor_in(&new.state_dir()).unwrap().time, later.time);
}

/// What a person confirmed on the old machine need not be confirmed on the new one.
#[test]
fn the_record_of_commissioning_comes_along() {
    let (old, new) = (full(1), full(2));
    let record = |site: &Site| site.state_dir().join("commissioning.json");
    let text = |time: &str| {
        let done = format!(r#"{{"panel/entrance-1/identified":{{"at":"{time}","token":"token-1"}}}}"#);
        format!(r#"{{"read":[],"cloud":"not_yet","done":{done}}}"#)
    };
    let (first, other) = (text("2026-11-29T12:00:00.000Z"), text("2026-01-01T12:00:00.000Z"));
    fs::write(record(&old), &first).unwrap();
    fs::write(record(&new), &other).unwrap();
    let file = old.path("b");
    backup(&old, &file).ok();
    Ran::of(sealed(&new, ["restore", "--replace"]).arg(&file)).ok();
    assert_eq!(fs::read_to_string(record(&new)).unwrap(), first);
    assert!(is_private(&record(&new)));
    assert_eq!(fs::read_to_string(new.path("state/before-restore/commissioning.json")).unwrap(), other);
    let token = new.run(["token", "add", "handover"]).ok();
    let daemon = Daemon::start(&new);
    wait_until("the list is there", || {
        let (status, list) = daemon.ask("GET", "/api/local/v1/commissioning", token.trim());
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let item = items.into_iter().find(|item| item["id"] == "panel/entrance-1/identified");
        status == 200 && item.is_some_and(|item| item["done"]["at"] == "2026-11-29T12:00:00.000Z")
    });
    daemon.stop();

    // A backup of a machine that was never commissioned leaves none behind.
    let bare = full(3);
    let file = bare.path("b");
    backup(&bare, &file).ok();
    Ran::of(sealed(&new, ["restore", "--replace"]).arg(&file)).ok();
    assert!(!record(&new).exists());
}

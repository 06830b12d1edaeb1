//! Whatever is wrong with the state directory at the start: the line is polled, and the door opens for the keys that can
//! be read.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use intercom_gateway::domain::HealthCode;

use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN},
    mount::Mount,
    simulated::Panels,
    site::ENTRANCE,
};

/// A place whose cache knows a key, and whose journal has an event.
fn site() -> (Site, Panels) {
    let site = Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"));
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let daemon = Daemon::start(&site);
    opens(&panels);
    daemon.stop();
    (site, panels)
}

/// Swipes until the door opens: the first cards of a link are stale.
pub(super) fn opens(panels: &Panels) {
    let tries = (0..60).any(|_| {
        panels.try_card("entrance-1", KNOWN);
        panels.opened_within(Duration::from_secs(1), "entrance-1")
    });
    assert!(tries, "the door stays shut");
    let _ = panels.seen();
}

/// Starts a daemon whose state directory was spoiled, and expects the door to open, and health to name what is wrong.
fn opens_all_the_same(what: &str, code: HealthCode, words: &str, spoil: impl FnOnce(&Path)) {
    let (site, panels) = site();
    spoil(&site.state_dir());
    eprintln!("spoiled: {what}");
    let mut daemon = Daemon::start(&site);
    opens(&panels);
    told(&mut daemon, code, words);
    daemon.stop();
}

/// Waits for a reason in health, and for its words in the log.
fn told(daemon: &mut Daemon, code: HealthCode, words: &str) {
    daemon.wait_health(code);
    daemon.log.rewind();
    daemon.log.wait(words, |line| line.contains(words).then_some(()));
}

fn becomes_a_directory(file: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    // Not empty, so that nothing can take its place by a rename.
    fs::create_dir_all(file.join("in the way")).unwrap();
}

/// Makes of a database what a newer version might have made of it.
fn becomes_newer(database: &Path, table: &str) {
    let connection = rusqlite::Connection::open(database).unwrap();
    let sql = format!(
        "PRAGMA user_version = 900; CREATE TABLE of_the_future (x); ALTER TABLE {table} ADD COLUMN later TEXT;"
    );
    connection.execute_batch(&sql).unwrap();
}

fn set_aside(site: &Site, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.state_dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(&format!("{name}.newer-"))).collect()
}

#[test]
fn a_journal_that_cannot_be_opened() {
    opens_all_the_same("a directory in its place", HealthCode::Storage, "events are kept in memory", |dir| {
        becomes_a_directory(&dir.join("journal.db"));
    });
}

#[test]
fn a_journal_of_a_newer_version_is_kept_aside() {
    let (site, panels) = site();
    let journal = site.state_dir().join("journal.db");
    becomes_newer(&journal, "events");
    let before = fs::read(&journal).unwrap();
    let mut daemon = Daemon::start(&site);
    opens(&panels);
    told(&mut daemon, HealthCode::JournalNew, "a new journal was begun");
    daemon.stop();
    // A restart changes nothing about it.
    let mut daemon = Daemon::start(&site);
    told(&mut daemon, HealthCode::JournalNew, "a new journal was begun");
    daemon.stop();
    let aside = set_aside(&site, "journal.db");
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(fs::read(&aside[0]).unwrap() == before, "it is kept as it was");
    assert!(site.run(["journal"]).ok().lines().count() > 1, "the new journal is on the disk");
}

#[test]
fn a_cache_of_a_newer_version_is_kept_aside_and_its_flats_are_carried_over() {
    let (site, panels) = site();
    let cache = site.state_dir().join("cache.db");
    becomes_newer(&cache, "keys");
    let mut daemon = Daemon::start(&site);
    opens(&panels);
    told(&mut daemon, HealthCode::Storage, "1 flats were carried over");
    daemon.stop();
    assert_eq!(set_aside(&site, "cache.db").len(), 1);
    let daemon = Daemon::start(&site);
    opens(&panels);
    daemon.stop();
}

#[test]
fn a_cache_that_cannot_be_written_is_in_force_from_memory() {
    // Its lock cannot be taken, and nothing can be made beside it.
    opens_all_the_same("its WAL cannot be made", HealthCode::Storage, "are in force from memory", |dir| {
        becomes_a_directory(&dir.join("cache.db-wal"));
    });
}

#[test]
fn a_cache_that_cannot_be_read_keeps_the_line_polled() {
    let (site, panels) = site();
    becomes_a_directory(&site.state_dir().join("cache.db"));
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    panels.card("entrance-1", KNOWN);
    events.wait_type("intercom.key.swiped");
    told(&mut daemon, HealthCode::Storage, "no key is known");
    // What the cloud or an installer sends is in force all the same.
    site.import(58, &[flats::known()]).ok();
    opens(&panels);
    daemon.stop();
}

#[test]
fn small_files_that_cannot_be_used() {
    for (file, code) in [
        ("store.lock", HealthCode::Storage),
        ("tokens.json", HealthCode::Endpoint),
        ("control.sock", HealthCode::Storage),
    ] {
        opens_all_the_same(file, code, file, |dir| becomes_a_directory(&dir.join(file)));
    }
}

#[test]
fn panel_keys_and_the_reserve_that_cannot_be_used() {
    let (site, panels) = site();
    for file in ["panels", "journal.ballast", "retained.json"] {
        let path = site.state_dir().join(file);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        match file {
            "panels" => fs::write(&path, "no directory").unwrap(),
            _ => becomes_a_directory(&path),
        }
    }
    let daemon = Daemon::start(&site);
    opens(&panels);
    daemon.stop();
}

#[test]
fn a_state_directory_that_is_read_only() {
    // A card that is revoked while the daemon runs, so that the WAL alone says so.
    const REVOKED: &str = "0BADCAFE";
    let (site, panels) = site();
    let revoked = flats::flat(1, 12, 8, &[(102, "0000000BADCAFE")]);
    site.import(58, &[flats::known(), revoked]).ok();
    let daemon = Daemon::start(&site);
    site.import(59, &[flats::known()]).ok();
    let (state, cut_off) = (site.state_dir(), site.path("cut off"));
    fs::create_dir(&cut_off).unwrap();
    for file in ["cache.db", "cache.db-wal", "journal.db", "journal.db-wal"] {
        fs::copy(state.join(file), cut_off.join(file)).unwrap();
    }
    daemon.stop();

    for how in ["ended in order", "cut off"] {
        if how == "cut off" {
            fs::remove_dir_all(&state).unwrap();
            fs::rename(&cut_off, &state).unwrap();
        }
        let Some(_mounted) = Mount::read_only(&state) else {
            return crate::support::not_run("a state directory that is read-only");
        };
        eprintln!("{how}");
        let mut daemon = Daemon::start(&site);
        opens(&panels);
        told(&mut daemon, HealthCode::Storage, "are in force from memory");
        told(&mut daemon, HealthCode::Storage, "events are kept in memory");
        panels.card("entrance-1", REVOKED);
        assert!(!panels.opened_within(Duration::from_secs(2), "entrance-1"), "{how}: it was revoked");
        opens(&panels);
        daemon.stop();
    }
}

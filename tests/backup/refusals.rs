//! What is refused, with what sentence; and that nothing has changed then.

use std::{
    fs,
    io::{Read, Write},
    process::Stdio,
};

use super::{PASSPHRASE, backup, full, in_force, restore, sealed};
use crate::support::{
    Daemon, Site,
    mount::Mount,
    not_run,
    site::{ENTRANCE, Ran},
};

#[test]
fn a_backup_says_what_keeps_it_from_being_written() {
    let site = full(1);
    let mut told = String::new();
    let mut tell = |ran: Ran| told.push_str(&site.anonymous(&ran.failed(1)));
    let empty = Site::new(ENTRANCE);
    let nothing_yet = empty.anonymous(&backup(&empty, &empty.path("b")).failed(1));
    fs::write(site.path("there"), "precious").unwrap();
    for to in ["there", "state/b", "state/panels/b", "nowhere/b", "."] {
        tell(Ran::of(sealed(&site, ["backup", to]).stdin(Stdio::null())));
    }
    tell(Ran::of(site.command(["backup", "b"]).stdin(Stdio::null())));
    tell(Ran::of(site.command(["backup", "b", "--passphrase-file", "nowhere"]).stdin(Stdio::null())));
    site.write("empty", "\n");
    tell(site.run(["backup", "b", "--passphrase-file", "empty"]));
    insta::assert_snapshot!(format!("{nothing_yet}{told}"));
    assert_eq!(fs::read_to_string(site.path("there")).unwrap(), "precious");
    assert!(!site.path("b").exists() && !site.path("b.new").exists());
    let ran = Ran::of(sealed(&site, ["backup", "there", "--force"]).stdin(Stdio::null()));
    ran.ok();
    assert!(fs::read(site.path("there")).unwrap().starts_with(b"age-encryption.org/v1\n"));
    site.write("short", "hunter2");
    let ran = site.run(["backup", "b", "--passphrase-file", "short"]);
    assert!(ran.stderr.contains("less than 12 characters") && !ran.stderr.contains("hunter2"), "{ran:?}");
    ran.ok();
}

#[test]
fn a_restore_says_what_keeps_it_from_being_done() {
    let (old, new) = (full(1), full(2));
    let file = old.path("b");
    backup(&old, &file).ok();
    let whole = fs::read(&file).unwrap();
    let before = in_force(&new);
    let mut told = String::new();
    let mut tell = |ran: Ran| told.push_str(&new.anonymous(&ran.failed(1)));
    for (name, content) in [
        ("empty", Vec::new()),
        ("foreign", b"{\"revision\":57,\"flats\":[]}\n".to_vec()),
        ("newer", [b"age-encryption.org/v9\n", &whole[22..]].concat()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("altered", {
            let mut altered = whole.clone();
            altered[whole.len() - 20] ^= 1;
            altered
        }),
    ] {
        fs::write(new.path(name), content).unwrap();
        tell(Ran::of(sealed(&new, ["restore", "--replace", name]).stdin(Stdio::null())));
    }
    tell(Ran::of(sealed(&new, ["restore", "nowhere"]).stdin(Stdio::null())));
    fs::copy(&file, new.path("whole")).unwrap();
    tell(Ran::of(sealed(&new, ["restore", "whole"]).stdin(Stdio::null())));
    tell(Ran::of(new.command(["restore", "whole", "--replace"]).stdin(Stdio::null())));
    new.write("wrong", "correct horse battery stable\n");
    tell(new.run(["restore", "whole", "--replace", "--passphrase-file", "wrong"]));
    let daemon = Daemon::start(&new);
    tell(Ran::of(sealed(&new, ["restore", "--replace", "whole"]).stdin(Stdio::null())));
    daemon.stop();
    insta::assert_snapshot!(told);
    assert!(!told.contains(PASSPHRASE));
    assert_eq!(in_force(&new), before);
    assert!(!new.path("state/restore.making").exists());
}

/// Flats, panel keys and tokens: each of them alone is not lost without a word, and what cannot be read counts.
#[test]
fn whatever_would_be_lost_is_named() {
    let old = full(1);
    let file = old.path("b");
    backup(&old, &file).ok();
    let remove = |site: &Site, names: &[&str]| {
        for name in names {
            let path = site.state_dir().join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    };
    for (gone, said) in [
        (["cache.db", "tokens.json"], "panel keys already"),
        (["cache.db", "panels"], "tokens already"),
        (["panels", "tokens.json"], "flats already"),
    ] {
        let new = full(2);
        remove(&new, &gone);
        let error = restore(&new, &file).failed(1);
        assert!(error.contains(said) && error.contains("--replace"), "{error}");
    }
    let new = full(2);
    remove(&new, &["cache.db", "tokens.json"]);
    fs::write(new.path("state/panels/entrance-1.json"), "{\"serial\":7,\"key\":null}").unwrap();
    restore(&new, &file).ok();
    let new = full(2);
    remove(&new, &["cache.db", "tokens.json"]);
    fs::write(new.path("state/panels/entrance-1.json"), "a bad card").unwrap();
    assert!(restore(&new, &file).failed(1).contains("panel keys already"));
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let site = full(1);
    let stick = site.path("stick");
    fs::create_dir(&stick).unwrap();
    let Some(_mounted) = Mount::small(&stick) else {
        return not_run("a backup to a full disk, and a restore to one: mounting is not allowed here");
    };
    let filled = fs::write(stick.join("fill"), vec![0; 64 << 20]);
    assert!(filled.is_err(), "32 MiB are not as large");
    let error = backup(&site, &stick.join("b")).failed(1);
    assert!(error.contains("make room there") && error.contains("No space left"), "{error}");
    assert_eq!(fs::read_dir(&stick).unwrap().count(), 1);

    let file = site.path("b");
    backup(&site, &file).ok();
    let new = Site::new(ENTRANCE);
    let config = fs::read_to_string(new.config_path()).unwrap();
    let state = stick.join("state");
    let config = config.replace(new.state_dir().to_str().unwrap(), state.to_str().unwrap());
    fs::write(new.config_path(), config).unwrap();
    fs::create_dir(&state).unwrap();
    let error = restore(&new, &file).failed(1);
    assert!(error.contains("nothing has changed"), "{error}");
    let left: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "store.lock"), "{left:?}");
    fs::remove_file(stick.join("fill")).unwrap();
    restore(&new, &file).ok();
}

/// Types lines at a terminal that the command has as its standard input, each at its question; returns its status and
/// all that the terminal showed.
fn typed(site: &Site, words: &[&str], lines: &[&str]) -> (Option<i32>, String) {
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut terminal = fs::File::from(pty.master);
    let slave = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut child =
        site.command(words.iter().copied()).stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
    let mut shown = String::new();
    let mut buffer = [0; 512];
    for (question, line) in ["Passphrase: ", "The same again: "].iter().zip(lines) {
        while !shown.ends_with(question) {
            let length = terminal.read(&mut buffer).unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    let status = child.wait().unwrap();
    drop(pty.slave);
    // The kernel says with EIO that nobody is at the other side any more.
    while let Ok(length @ 1..) = terminal.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    (status.code(), shown)
}

#[test]
fn a_passphrase_is_asked_for_twice_and_never_shown() {
    let (old, new) = (full(1), Site::new(ENTRANCE));
    let (status, shown) = typed(&old, &["backup", "b"], &[PASSPHRASE, "correct horse battery stable"]);
    assert_eq!(status, Some(1), "{shown}");
    assert!(shown.contains("the two passphrases differ"), "{shown}");
    assert!(!old.path("b").exists());
    let (status, shown) = typed(&old, &["backup", "b"], &[PASSPHRASE, PASSPHRASE]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    let file = old.path("b");
    let (status, shown) = typed(&new, &["restore", file.to_str().unwrap()], &[PASSPHRASE]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    assert_eq!(in_force(&new), in_force(&old));
}

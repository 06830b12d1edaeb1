//! The configuration and the files that it names, which root alone backs up and restores.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
};

use nix::unistd::geteuid;

use super::{backup, full, restore, sealed};
use crate::support::{
    Site, not_run, shim,
    site::{ENTRANCE, Ran},
};

/// Nobody, and nobody's group.
const NOBODY: u32 = 65_534;

/// A gateway whose configuration is in several files, and names others.
fn spread() -> Site {
    let site = full(1);
    let secure = "secure_channel = \"required\"\nsecure_key_file = \"secrets/entrance-1\"\n";
    let mqtt = "[mqtt]\nurl = \"mqtts://broker.example.org\"\nusername = \"test\"\npassword_file = \"secrets/mqtt\"\n\
                ca_file = \"/nowhere/ca.pem\"\n";
    let modbus = "[[bus]]\nname = \"cellar\"\nport = \"{dir}/cellar\"\nprotocol = \"modbus\"\n\
                  [[panel]]\nname = \"risers\"\nintercom = 1\nbus = \"cellar\"\naddress = 12\nprofile = \"../profiles/mine.toml\"\n\
                  [[panel]]\nname = \"others\"\nintercom = 1\nbus = \"cellar\"\naddress = 13\n\
                  profile = \"commutator-100\"\n";
    site.configure(&format!("{ENTRANCE}{secure}{mqtt}"));
    for folder in ["secrets", "profiles", "gateway.toml.d"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    site.write("gateway.toml.d/cellar.toml", &modbus.replace("{dir}", site.path("").to_str().unwrap()));
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/profiles/commutator-100.toml");
    let profile = fs::read_to_string(shipped).unwrap().replace("commutator-100", "mine");
    site.write("profiles/mine.toml", &profile);
    site.write("secrets/mqtt", "s3cret\n");
    site.write("secrets/entrance-1", "d459f02f6602e5651f3b553bc283d43e\n");
    // A folder of root's alone protects files that all may read.
    for (name, mode) in [("secrets", 0o700), ("secrets/mqtt", 0o400), ("secrets/entrance-1", 0o444)] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    chown(site.path("secrets/mqtt"), Some(NOBODY), Some(NOBODY)).unwrap();
    site
}

const FILES: [&str; 5] = [
    "gateway.toml",
    "gateway.toml.d/cellar.toml",
    "profiles/mine.toml",
    "secrets/mqtt",
    "secrets/entrance-1",
];

fn contents(site: &Site) -> Vec<Option<String>> {
    FILES.iter().map(|name| fs::read_to_string(site.path(name)).ok()).collect()
}

fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        not_run("backup and restore of the configuration: only root may");
    }
    is_root
}

#[test]
fn root_restores_the_configuration_and_what_it_names_with_owners_and_modes() {
    if !is_root() {
        return;
    }
    let site = spread();
    let (file, before) = (site.path("b"), contents(&site));
    let ran = backup(&site, &file);
    assert!(ran.stdout.contains("5 files of the configuration"), "{ran:?}");
    assert!(ran.stderr.contains("/nowhere/ca.pem is not in it"), "{ran:?}");
    // The card is dead.
    for name in ["gateway.toml.d", "profiles", "secrets", "state"] {
        fs::remove_dir_all(site.path(name)).unwrap();
    }
    fs::remove_file(site.config_path()).unwrap();
    let ran = restore(&site, &file);
    assert!(ran.stdout.contains("5 files of the configuration"), "{ran:?}");
    ran.ok();
    assert_eq!(contents(&site), before);
    let of = |name: &str| {
        let found = fs::metadata(site.path(name)).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o777)
    };
    assert_eq!(of("secrets/mqtt"), (NOBODY, NOBODY, 0o400));
    assert_eq!(of("secrets/entrance-1"), (0, 0, 0o444));
    assert_eq!(of("secrets").2, 0o700);
    assert_eq!(of("gateway.toml.d").2, 0o755);
    assert_eq!(of("state").2, 0o700);
    let findings = site.run(["check"]).stderr;
    assert!(findings.contains("/nowhere/ca.pem") && findings.contains("1 error"), "{findings}");
}

#[test]
fn a_configuration_that_is_there_is_left_or_replaced_as_a_whole_and_kept() {
    if !is_root() {
        return;
    }
    let site = spread();
    let (file, before) = (site.path("b"), contents(&site));
    backup(&site, &file).ok();
    fs::remove_dir_all(site.state_dir()).unwrap();
    let other = before[0].clone().unwrap().replace("id = \"test\"", "id = \"other\"");
    site.write("gateway.toml", &other);
    fs::remove_file(site.path("gateway.toml.d/cellar.toml")).unwrap();
    site.write("gateway.toml.d/local.toml", "[journal]\nkeep_days = 7\n");
    fs::remove_file(site.path("secrets/mqtt")).unwrap();
    fs::write(site.path("profiles/mine.toml"), "other").unwrap();

    let ran = restore(&site, &file);
    assert!(ran.stderr.contains("gateway.toml is as it was"), "{ran:?}");
    assert!(ran.stderr.contains("profiles/mine.toml is as it was"), "{ran:?}");
    ran.ok();
    let now = contents(&site);
    assert_eq!((now[0].as_ref(), now[1].as_ref()), (Some(&other), None), "not a mixture of two");
    assert_eq!((now[2].as_deref(), now[3].as_deref()), (Some("other"), Some("s3cret\n")));

    let ran = Ran::of(sealed(&site, ["restore", "--replace"]).arg(&file));
    assert!(ran.stderr.contains("gateway.toml.before-restore now"), "{ran:?}");
    ran.ok();
    assert_eq!(contents(&site), before);
    assert_eq!(fs::read_to_string(site.path("gateway.toml.before-restore")).unwrap(), other);
    assert!(!site.path("gateway.toml.d/local.toml").exists());
    assert!(site.path("gateway.toml.d/local.toml.before-restore").exists());
    assert_eq!(fs::read_to_string(site.path("profiles/mine.toml.before-restore")).unwrap(), "other");
}

/// A power cut at each step: the configuration is there at any moment, and in the end all of it is the backup's.
#[test]
fn a_restore_of_the_configuration_that_is_killed_is_completed_by_the_next_one() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let shim = shim::compile("kill_at.c", dir.path());
    let site = spread();
    let (file, wanted) = (dir.path().join("b"), contents(&site));
    backup(&site, &file).ok();
    let other = wanted[0].clone().unwrap().replace("id = \"test\"", "id = \"other\"");
    let (mut undone, mut completed, mut left_to_root) = (0, 0, 0);
    for at in 1.. {
        // Another machine, of the same paths.
        fs::remove_dir_all(site.state_dir()).unwrap();
        site.write("gateway.toml", &other);
        for name in ["secrets/mqtt", "gateway.toml.d/cellar.toml", "gateway.toml.before-restore"] {
            let _ = fs::remove_file(site.path(name));
        }
        site.run(["token", "add", "other"]).ok();
        let mut command = sealed(&site, ["restore", "--replace"]);
        let ran =
            command.arg(&file).env("LD_PRELOAD", &shim).env("KILL_AT", at.to_string()).output().unwrap();
        if ran.status.signal().is_none() {
            assert!(ran.status.success(), "{ran:?}");
            assert!(
                undone > 10 && completed > 10 && left_to_root > 2,
                "{undone}, {completed}, {left_to_root} of {at}"
            );
            return;
        }
        let main = fs::read_to_string(site.config_path()).expect("it is there at any moment");
        assert!(main == other || Some(&main) == wanted[0].as_ref());
        let is_decided = site.path("state/restore.ready").exists();
        // What no daemon may exchange waits, and what comes into the state directory meanwhile stays there.
        let waits = is_decided && contents(&site) != wanted;
        if waits {
            left_to_root += 1;
            site.run(["token", "add", "meanwhile"]).ok();
            assert!(site.run(["token", "list"]).ok().contains("meanwhile"), "killed at step {at}");
        }
        let ran = Ran::of(sealed(&site, ["restore", "--replace"]).arg(&file));
        assert_eq!(
            ran.stdout.contains("that was interrupted is complete now"),
            is_decided,
            "killed at step {at}: {ran:?}"
        );
        ran.ok();
        if is_decided {
            completed += 1
        } else {
            undone += 1
        }
        assert_eq!(contents(&site), wanted, "killed at step {at}");
        let tokens = site.run(["token", "list"]).ok();
        assert!(tokens.contains("token-1") && !tokens.contains("other"), "killed at step {at}: {tokens}");
        assert_eq!(tokens.contains("meanwhile"), waits, "killed at step {at}");
        for name in ["state/restore.ready", "state/restore.making", "secrets/mqtt.restoring"] {
            assert!(!site.path(name).exists(), "killed at step {at}: {name}");
        }
    }
}

#[test]
fn another_configuration_than_the_backups_is_not_touched() {
    if !is_root() {
        return;
    }
    let (site, other) = (spread(), Site::new(ENTRANCE));
    let (file, before) = (site.path("b"), fs::read_to_string(other.config_path()).unwrap());
    backup(&site, &file).ok();
    let ran = restore(&other, &file);
    let expected = format!("restore it by --config {}", site.config_path().display());
    assert!(ran.stderr.contains(&expected), "{ran:?}");
    ran.ok();
    assert_eq!(fs::read_to_string(other.config_path()).unwrap(), before);
}

#[test]
fn what_root_restores_belongs_to_the_owner_of_the_state_directory() {
    if !is_root() {
        return;
    }
    let (site, other) = (full(1), Site::new(ENTRANCE));
    let file = site.path("b");
    backup(&site, &file).ok();
    fs::create_dir(other.state_dir()).unwrap();
    fs::set_permissions(other.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    chown(other.state_dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    restore(&other, &file).ok();
    fn walk(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let found = entry.metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), (NOBODY, NOBODY), "{}", entry.path().display());
            assert_eq!(found.mode() & 0o077, 0, "{}", entry.path().display());
            if found.is_dir() {
                walk(&entry.path());
            }
        }
    }
    walk(&other.state_dir());
}

#[test]
fn others_than_root_back_up_the_state_and_are_told_so() {
    let site = full(1);
    let file = site.path("b");
    let mut command = sealed(&site, ["backup"]);
    if geteuid().is_root() {
        for name in ["", "state", "state/tokens.json", "state/panels", "state/panels/entrance-1.json"] {
            chown(site.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        for entry in fs::read_dir(site.state_dir()).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::set_permissions(site.path("passphrase"), fs::Permissions::from_mode(0o644)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let ran = Ran::of(command.arg(&file));
    assert!(ran.stderr.contains("the configuration is not in it") && ran.stderr.contains("sudo"), "{ran:?}");
    assert!(ran.stdout.contains("0 files of the configuration"), "{ran:?}");
    ran.ok();
    let other = Site::new(ENTRANCE);
    let ran = restore(&other, &file);
    assert!(ran.stderr.contains("holds no configuration"), "{ran:?}");
    ran.ok();
}

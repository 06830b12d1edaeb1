//! The shipped unit: hardened as far as a gateway can be, and free of words that systemd does not know.

use std::{path::Path, process::Command};

#[path = "support/not_run.rs"]
mod not_run;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/intercom-gateway.service");

/// Runs systemd-analyze; `None`, said loudly, where this machine has none.
fn analyze(arguments: &[&str]) -> Option<std::process::Output> {
    match Command::new("systemd-analyze").args(arguments).env("SYSTEMD_PAGER", "").output() {
        Ok(output) => Some(output),
        Err(error) => {
            not_run::not_run(&format!(
                "the systemd unit: systemd-analyze cannot be run ({error}); apt-get install systemd"
            ));
            None
        }
    }
}

#[test]
fn a_demand_for_all_tests_leaves_none_out() {
    assert_eq!(["", "tests", "all"].map(not_run::is_demanded), [false, true, true]);
}

#[test]
fn its_exposure_is_at_most_1_3() {
    let Some(output) = analyze(&["security", "--offline=true", "--threshold=13", UNIT]) else { return };
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("Overall exposure level"), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}");
}

#[test]
fn systemd_knows_every_directive() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    // systemd wants the program to exist where the unit says, and here it is not installed.
    let unit = unit.replace("/usr/bin/intercom-gateway", env!("CARGO_BIN_EXE_intercom-gateway"));
    assert!(unit.contains(env!("CARGO_BIN_EXE_intercom-gateway")));
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("intercom-gateway.service");
    std::fs::write(&copy, unit).unwrap();
    let Some(output) = analyze(&["verify", "--man=no", copy.to_str().unwrap()]) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("intercom-gateway.service")).collect();
    assert!(output.status.success() && about_us.is_empty(), "{said}");
}

#[test]
fn what_the_gateway_needs_of_systemd_is_there() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let set = |line: &str| unit.lines().any(|known| known == line);
    for line in ["Type=notify", "Restart=always", "StartLimitIntervalSec=0", "SupplementaryGroups=dialout"] {
        assert!(set(line), "{line}");
    }
    // A system user: commands that root runs act as the owner of a state directory that everybody can walk to.
    for line in ["User=intercom-gateway", "Group=intercom-gateway", "PrivateUsers=yes"] {
        assert!(set(line), "{line}");
    }
    assert!(!unit.lines().any(|line| line.starts_with("DynamicUser=")));
    let users = include_str!("../systemd/intercom-gateway.sysusers");
    assert!(users.lines().any(|line| line.starts_with("u intercom-gateway ")), "{users}");
    // systemd makes the state directory, and moves that of version 0.1 to it, where nobody has made it before.
    let folders = include_str!("../systemd/intercom-gateway.tmpfiles");
    let folders: Vec<_> = folders.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(folders, ["d /etc/intercom-gateway/secrets 0700 root root"]);
    // A missing file of a LoadCredential= of its own, or a missing folder without SetCredential=, keeps all doors shut.
    let credentials: Vec<_> = unit.lines().filter(|line| line.contains("Credential")).collect();
    let expected = ["LoadCredential=secrets:/etc/intercom-gateway/secrets", "SetCredential=secrets:none"];
    assert_eq!(credentials.into_iter().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(), expected);
    // It would hide the boot id that every event carries.
    assert!(!unit.lines().any(|line| line.starts_with("ProcSubset=")));
    // 188 and 166 are ttyUSB and ttyACM, whose drivers are loaded when an adapter is found, after the service's start maybe:
    // a name would not be known then.
    for device in ["ttyAMA", "ttyS", "188", "166", "ttySC"] {
        assert!(set(&format!("DeviceAllow=char-{device} rw")), "{device}");
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/99-intercom-gateway.rules").exists());
}

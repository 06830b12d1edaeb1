//! A power cut at each step of a restore: what is there afterwards is all old or all new.

use std::{fs, os::unix::process::ExitStatusExt};

use super::{backup, full, in_force, journal, sealed};
use crate::support::{Daemon, shim};

/// More steps than a restore takes.
const MANY: usize = 300;

#[test]
fn a_restore_that_is_killed_is_undone_or_completed() {
    let dir = tempfile::tempdir().unwrap();
    let shim = shim::compile("kill_at.c", dir.path());
    let old = full(1);
    let file = dir.path().join("b");
    backup(&old, &file).ok();
    let wanted = in_force(&old);
    let (mut undone, mut completed) = (0, 0);
    for at in 1..MANY {
        let site = full(2);
        let (before, journal_before) = (in_force(&site), journal(&site));
        let ran = sealed(&site, ["restore", "--replace"])
            .arg(&file)
            .env("LD_PRELOAD", &shim)
            .env("KILL_AT", at.to_string())
            .output()
            .unwrap();
        if ran.status.signal().is_none() {
            assert!(ran.status.success(), "{ran:?}");
            assert!(undone > 10 && completed > 10, "undone {undone}, completed {completed} of {at}");
            return;
        }
        // Some are made up for by the daemon, the others by the next command.
        if at % 8 == 0 {
            Daemon::start(&site).stop();
        }
        let now = in_force(&site);
        assert!(now == before || now == wanted, "killed at step {at}: {now:?}");
        let is_new = now == wanted;
        if is_new {
            completed += 1
        } else {
            undone += 1
        }
        assert_eq!(journal(&site) != journal_before, is_new, "killed at step {at}");
        // What was in force is kept, and nothing else is left.
        let kept = fs::read_to_string(site.path("state/before-restore/panels/entrance-1.json"));
        assert_eq!(kept.is_ok_and(|kept| kept == before[2]), is_new, "killed at step {at}");
        for rubbish in ["state/restore.making", "state/restore.ready"] {
            assert!(!site.path(rubbish).exists(), "killed at step {at}: {rubbish}");
        }
    }
    panic!("it takes more than {MANY} steps");
}

//! The store alone, in a process of its own, on a disk that refuses one call or all from one call on: each call in turn.

use std::{
    fmt::Write as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use intercom_gateway::{
    clock::{Clock, Trust},
    domain::{EventBody, Occurrence, event::SyncApplied},
    store::{Begun, Store},
};
use uuid::Uuid;

use crate::{
    plan::{Before, Fault},
    run::{Templates, options, verify},
    support::shim,
};

/// Tells the load where to work.
const DIR: &str = "SICK_STORE_DIR";
/// What it was told, a line each; and when the disk is in health again.
const TOLD: &str = "told";
const HEALED: &str = "healed";

/// Processes at once.
const AT_ONCE: usize = 3;
/// More calls than a start and some events take.
const CALLS: u32 = 4000;

fn event(number: u64) -> Occurrence {
    let body = EventBody::SyncApplied(SyncApplied { revision: number, digest: "0".repeat(64) });
    Occurrence { stamp: Clock::system(Trust::Always).stamp(), body }
}

/// What a daemon asks of its store. Without [`DIR`] the disk is in health.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_opens_whatever_its_disk_refuses() {
    let place = tempfile::tempdir().unwrap();
    let place = std::env::var_os(DIR).map_or_else(|| place.path().to_path_buf(), Into::into);
    let dir = place.join("state");
    if std::env::var_os(DIR).is_none() {
        fs::create_dir(&dir).unwrap();
    }
    let store = Store::start(options(&dir)).unwrap();
    let store = tokio::task::spawn_blocking(move || {
        eprintln!("{:?}", store.opened().expect("something stands in"));
        store
    });
    let store = store.await.unwrap();
    let (journal, mut told) = (store.journal(), String::new());
    let mut note = |journal: &intercom_gateway::store::Journal| {
        for event in journal.read(1, usize::MAX).into_iter().flatten() {
            writeln!(told, "{}", event.to_json(&"test".parse().unwrap())).unwrap();
        }
    };
    for number in 0..3 {
        let sequence = journal.append_durable(event(number)).await;
        note(&journal);
        if let Ok(sequence) = sequence {
            let last = journal.position().borrow().last;
            assert!(last >= sequence, "{sequence} was told, {last} is the last");
        }
    }
    let expiry = Clock::system(Trust::Always).stamp().time + jiff::SignedDuration::from_secs(60);
    let begun = journal.begin_command(Uuid::from_u128(1), "unlock", expiry).await.ok();
    assert!(!store.writers().iter().any(intercom_gateway::store::Writer::has_ended));
    fs::write(place.join(HEALED), "").unwrap();
    journal.append(event(3)).unwrap();
    note(&journal);
    fs::write(place.join(TOLD), told).unwrap();
    tokio::task::spawn_blocking(move || store.shutdown()).await.unwrap();

    let (store, _) = Store::open(options(&dir)).unwrap();
    if begun == Some(Begun::New) {
        // A journal in memory that is kept at the end keeps its commands to itself.
        let known = store.journal().command(Uuid::from_u128(1)).unwrap();
        assert!(known.is_some() || !store.journal().archives().borrow().is_empty(), "a command is forgotten");
    }
    store.shutdown();
}

/// Runs the load; whether any call failed.
fn load(templates: &Templates, shim: &Path, before: Before, fault: &Fault) -> bool {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let mut told = templates.lay(before, &state);
    if before == Before::Nothing {
        fs::create_dir(&state).unwrap();
    }
    let failures = place.path().join("failures");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::a_store_opens_whatever_its_disk_refuses", "--nocapture"])
        .env(DIR, place.path())
        .env("LD_PRELOAD", shim)
        .env("SICK_DIR", &state)
        .env("SICK_PLAN", fault.to_string())
        .env("SICK_HEALED", place.path().join(HEALED))
        .env("SICK_LOG", &failures)
        .output()
        .unwrap();
    let failures = fs::read_to_string(failures).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{before:?}, {fault}:\n{failures}\n{said}");
    for line in fs::read_to_string(place.path().join(TOLD)).unwrap().lines() {
        told.hear(line);
    }
    let verified = catch_unwind(AssertUnwindSafe(|| verify(&state, &told, fault.is_full())));
    if let Err(panic) = verified {
        eprintln!("{before:?}, {fault}:\n{failures}\n{said}");
        resume_unwind(panic);
    }
    !failures.is_empty()
}

#[test]
fn each_call_may_fail() {
    let place = tempfile::tempdir().unwrap();
    let shim = shim::compile("sick_disk.c", place.path());
    let templates = Templates::make();
    let sweeps = [
        (Before::CutOff, Fault::once as fn(u32) -> Fault),
        (Before::CutOff, Fault::from_then_on),
        (Before::CutOff, Fault::full_from_then_on),
        (Before::Ended, Fault::once),
        (Before::Nothing, Fault::once),
    ];
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let refuses = |before, fault: Fault| {
        let loading = AssertUnwindSafe(|| load(&templates, &shim, before, &fault));
        catch_unwind(loading).unwrap_or_else(|_| {
            failed.lock().unwrap().push(format!("{before:?}, {fault}"));
            true
        })
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((before, fault)) = sweeps.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let calls = (std::env::var("FROM").map_or(0, |x| x.parse().unwrap())..CALLS)
                        .take_while(|&call| refuses(*before, fault(call)))
                        .count();
                    eprintln!("{before:?}, {}: {calls} calls", fault(0));
                    assert!((40..CALLS as usize).contains(&calls), "{calls}");
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

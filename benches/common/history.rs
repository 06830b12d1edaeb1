//! What happened at a door before a bench begins: journals of any length, made once and kept in the target directory.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use intercom_gateway::{
    clock::{Clock, Trust},
    domain::{
        EventBody, KeyCode, Name, Occurrence,
        event::{
            Decision, DoorMoved, DoorUnlocked, FlatRef, InputChanged, InputState, KeySwiped, RawCredential,
            Reason, UnlockId, UnlockKind, UnlockedBy,
        },
    },
    store::{Journal, Store, StoreOptions},
};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Swipes of a building in a day.
pub const SWIPES_A_DAY: u64 = 2000;
/// Events that a swipe brings about at a door with a contact.
pub const EVENTS_A_SWIPE: u64 = 6;
/// Events handed to the writer before they are waited for: well below what its queue takes.
const BATCH: u64 = 2000;
/// The form of a journal that is kept between runs; one of another form is replaced.
const FORM: &str = include_str!("../../src/store/schema.rs");

/// A swipe at the first panel of the line `street`; `number` says whose.
pub fn swiped(number: u64) -> EventBody {
    let code = 0x3042_0000 + number % 100_000;
    EventBody::KeySwiped(KeySwiped {
        panel: panel(),
        intercom: 1,
        reader: 0,
        key: KeyCode::from_u64(code),
        raw: RawCredential(format!("{code:08X}")),
        bits: 32,
        decision: Decision::Granted,
        reason: Reason::KeyKnown,
        flats: vec![FlatRef { id: number % 10_000 + 1, flat: number % 10_000 + 1 }],
        key_id: Some(number),
        user_id: Some(number),
        reversed_known: false,
        revision: Some(57),
    })
}

/// What becomes of a swipe: read, unlocked, opened and closed.
pub fn passage(number: u64) -> [EventBody; 4] {
    let by = UnlockedBy { kind: UnlockKind::Key, id: Some(UnlockId::Number(number)) };
    let moved = || DoorMoved { panel: panel(), intercom: 1, by: Some(by.clone()) };
    let unlocked = DoorUnlocked { panel: panel(), intercom: 1, by: by.clone(), duration: 3.0 };
    [
        swiped(number),
        EventBody::DoorUnlocked(unlocked),
        EventBody::DoorOpened(moved()),
        EventBody::DoorClosed(moved()),
    ]
}

/// The same, with both changes of the contact's input.
pub fn passage_with_inputs(number: u64) -> [EventBody; 6] {
    let contact =
        |from, to| EventBody::InputChanged(InputChanged { panel: panel(), intercom: 1, input: 0, from, to });
    let [swiped, unlocked, opened, closed] = passage(number);
    [
        swiped,
        unlocked,
        contact(InputState::Inactive, InputState::Active),
        opened,
        contact(InputState::Active, InputState::Inactive),
        closed,
    ]
}

/// A new `state`: all flats of `document` in force, and a journal of `events`, all of them delivered.
///
/// # Errors
/// The directory is there already, or the disk fails.
pub fn furnish(state: &Path, document: &Path, events: u64) -> anyhow::Result<()> {
    fs::create_dir(state)?;
    renew(state, events)?;
    let (store, _) = open(state)?;
    store.cache().import(File::open(document)?, &[1])?;
    let journal = store.journal();
    journal.set_delivered(&journal.identity(), journal.last());
    store.shutdown();
    Ok(())
}

/// Puts a journal of `events` that nobody has yet into `state`, in place of the one there. It has an identity of its
/// own: one that was delivered already would be taken for an old copy of the disk.
///
/// # Errors
/// The disk fails.
pub fn renew(state: &Path, events: u64) -> anyhow::Result<()> {
    let kept = kept(events)?;
    for name in ["journal.db-wal", "journal.db-shm"] {
        match fs::remove_file(state.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let file = state.join("journal.db");
    fs::copy(kept, &file)?;
    let identity = Uuid::new_v4().simple().to_string();
    Connection::open(file)?.execute("UPDATE journal SET id = ?1", [&identity[..8]])?;
    Ok(())
}

/// The file of a journal of `events`: from an earlier run, or made now.
fn kept(events: u64) -> anyhow::Result<PathBuf> {
    let form = hex::encode(Sha256::digest(FORM));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("journal-{}-{events}", &form[..8]));
    let file = dir.join("journal.db");
    if !file.exists() {
        eprintln!("a journal of {events} events is made, and kept in {} …", dir.display());
        let beside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        fill(beside.path(), events)?;
        fs::create_dir_all(&dir)?;
        // Renamed whole: a bench that was stopped leaves no half journal.
        fs::rename(beside.path().join("journal.db"), &file)?;
    }
    Ok(file)
}

fn fill(dir: &Path, events: u64) -> anyhow::Result<()> {
    let (store, clock) = open(dir)?;
    let journal = store.journal();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut bodies = (0..).flat_map(passage_with_inputs);
    let mut written = 0;
    while written < events {
        let batch = BATCH.min(events - written);
        for body in bodies.by_ref().take(usize::try_from(batch)?) {
            journal.append(Occurrence { stamp: clock.stamp(), body })?;
        }
        written += batch;
        runtime.block_on(is_written(&journal, written))?;
    }
    store.shutdown();
    Ok(())
}

async fn is_written(journal: &Journal, last: u64) -> anyhow::Result<()> {
    journal.position().wait_for(|position| position.last >= last).await.context("the store has ended")?;
    Ok(())
}

fn open(dir: &Path) -> anyhow::Result<(Store, Arc<Clock>)> {
    let clock = Arc::new(Clock::system(Trust::Always));
    let stamps = clock.clone();
    let (store, _) = Store::open(StoreOptions {
        dir: dir.to_owned(),
        keep: Duration::from_secs(30 * 86_400),
        max_events: 10_000_000,
        max_journal_bytes: None,
        alone: false,
        now: Arc::new(move || stamps.stamp()),
        clock_is_steady: Arc::new(|| true),
    })?;
    Ok((store, clock))
}

fn panel() -> Name {
    Name::new("street-0").expect("a name")
}

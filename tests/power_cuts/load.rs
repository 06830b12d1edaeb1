//! What is on its way when the power goes: events in shared commits, the cursor, deletions at the cap, checkpoints, a new
//! journal, a damaged one, a restart, commands, imports, tokens, a small file, a certificate, a spool. What the load is told goes into
//! a file that is recorded in order with everything else; so does, before it begins, what may be undone or half done.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use intercom_gateway::{
    api::Tokens,
    clock::{Clock, Trust},
    domain::{EventBody, KnownTime, Occurrence, event::SyncApplied},
    store::{Begun, Cache, Store, StoreOptions},
    sys::files,
    tls::{SelfSigned, Served, Source},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    flats::flat,
    record::{DIR, TOLD},
};

/// Some megabytes of WAL: more than one checkpoint.
const ROUNDS: u64 = 110;
/// Events of a commit.
const BATCH: u64 = 30;
/// So that a commit takes many pages.
const PADDING: usize = 1400;
/// The cap: from a third of the rounds on, what is delivered makes room.
const MOST_EVENTS: u64 = 1000;

/// A small file that is replaced again and again, in a directory of its own.
pub const NOTE: &str = "panels/entrance-1.json";

pub fn options(dir: &Path) -> StoreOptions {
    let clock = Arc::new(Clock::system(Trust::Always));
    StoreOptions {
        dir: dir.to_path_buf(),
        keep: Duration::from_secs(30 * 86_400),
        max_events: MOST_EVENTS,
        max_journal_bytes: None,
        alone: false,
        now: Arc::new(move || clock.stamp()),
        clock_is_steady: Arc::new(|| true),
    }
}

/// A spool, as parts of a snapshot and a document to import go into. It has a name for a moment, for the recorder lets
/// no file be without one.
pub const SPOOL: &str = "sync.parts";

/// An event that can be told from all others by its number.
pub fn event(number: u64) -> Occurrence {
    let body = EventBody::SyncApplied(SyncApplied { revision: number, digest: "0".repeat(PADDING) });
    Occurrence { stamp: Clock::system(Trust::Always).stamp(), body }
}

/// A hash of all that the cache would give.
pub fn content(cache: &Cache) -> String {
    let mut text = Vec::new();
    cache.export(&mut text).unwrap();
    hex::encode(Sha256::digest(text))
}

/// Without [`DIR`] it proves that the load itself is sound; in the recorder it is what is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_finds_all_that_it_was_told_after_an_orderly_end() {
    let place = tempfile::tempdir().unwrap();
    let dir = std::env::var_os(DIR).map_or_else(|| place.path().to_path_buf(), Into::into);
    let mut told = Told::create(&dir);
    let last = run(&dir, &mut told).await;

    let (store, report) = Store::open(options(&dir)).unwrap();
    assert_eq!((report.salvage, report.cache_remade), (None, None));
    let newest = store.journal().read(store.journal().last(), 1).unwrap().remove(0);
    assert!(newest.data.contains(&format!("\"revision\":{last},")), "{}", newest.data);
    assert!(store.journal().position().borrow().oldest > 1, "the cap was reached");
    assert_ne!(store.cache().state().borrow().revision, None);
    store.shutdown();
}

async fn run(dir: &Path, told: &mut Told) -> u64 {
    let (mut store, _) = Store::open(options(dir)).unwrap();
    told.tell(format_args!("journal {}", store.journal().identity()));
    let tokens = Tokens::open(&dir.join("tokens.json")).unwrap();
    files::private_dir(&dir.join("panels")).unwrap();
    for round in 0..ROUNDS {
        append(&store, round, told).await;
        command(&store, round, told).await;
        match round % 10 {
            2 | 7 => {
                told.tell(format_args!("delivering {}", (round + 1) * BATCH));
                store.journal().set_delivered(&store.journal().identity(), store.journal().last());
            }
            8 => rename_tokens(&tokens, round, told),
            3 => files::nameless(&dir.join(SPOOL)).unwrap().write_all(note(round).as_bytes()).unwrap(),
            5 => import(&store, round, told).await,
            4 => {
                // Long enough after the last one for another certificate.
                let time = "2026-11-23T22:00:00Z".parse::<Timestamp>().unwrap()
                    + SignedDuration::from_hours(24 * 90 * i64::try_from(round).unwrap());
                told.tell(format_args!("certified {}", key_fingerprint(dir, KnownTime::Synchronized(time))));
            }
            0 => {
                told.tell(format_args!("noting {round}"));
                files::write_private(&dir.join(NOTE), note(round).as_bytes()).unwrap();
                told.tell(format_args!("noted {round}"));
            }
            _ => {}
        }
        if round == ROUNDS / 2 {
            told.tell(format_args!("renewing"));
            let identity = store.journal().begin_new("a test").await.unwrap();
            told.tell(format_args!("journal {identity}"));
        }
        if round == ROUNDS * 3 / 4 {
            tokio::task::spawn_blocking(move || store.shutdown()).await.unwrap();
            store = Store::open(options(dir)).unwrap().0;
        }
        if round == ROUNDS * 7 / 8 {
            tokio::task::spawn_blocking(move || store.shutdown()).await.unwrap();
            told.tell(format_args!("damaging"));
            damage(&dir.join("journal.db"));
            let (opened, report) = Store::open(options(dir)).unwrap();
            assert!(report.salvage.is_some(), "it was not found damaged");
            store = opened;
            told.tell(format_args!("journal {}", store.journal().identity()));
        }
    }
    tokio::task::spawn_blocking(move || store.shutdown()).await.unwrap();
    ROUNDS * BATCH
}

/// The fingerprint of the key of the certificate that the gateway signs itself, which is renewed where it is time.
pub fn key_fingerprint(dir: &Path, now: KnownTime) -> String {
    let gateway = "building-7".parse().unwrap();
    let own = SelfSigned { dir: dir.join("tls"), gateway, address: Ipv4Addr::LOCALHOST.into() };
    Served::open(Source::SelfSigned(own), now).unwrap().in_force().key_fingerprint.clone()
}

/// Damages a journal so that it must be salvaged, and no event is lost: it counts free pages that there are not.
fn damage(journal: &Path) {
    let mut file = OpenOptions::new().write(true).open(journal).unwrap();
    file.seek(SeekFrom::Start(36)).unwrap();
    file.write_all(&77_777_u32.to_be_bytes()).unwrap();
    file.sync_all().unwrap();
}

async fn append(store: &Store, round: u64, told: &mut Told) {
    let journal = store.journal();
    let numbers = round * BATCH + 1..=(round + 1) * BATCH;
    let appended = numbers.clone().map(|number| journal.append_durable(event(number)));
    for (number, sequence) in numbers.zip(join_all(appended).await) {
        told.tell(format_args!("event {} {} {number}", journal.identity(), sequence.unwrap()));
    }
}

/// The id of a round's command.
pub fn command_id(round: u64) -> Uuid {
    Uuid::from_u64_pair(0, round)
}

/// What came of a round's command.
pub fn command_result(round: u64) -> String {
    format!("result {round}")
}

/// The id of a command is committed before it is acted on, and what came of it behind; one in four is never done.
async fn command(store: &Store, round: u64, told: &mut Told) {
    let expires_at = Clock::system(Trust::Always).stamp().time + jiff::SignedDuration::from_secs(60);
    let begun = store.journal().begin_command(command_id(round), "unlock", expires_at).await.unwrap();
    assert_eq!(begun, Begun::New);
    told.tell(format_args!("begun {round}"));
    if !round.is_multiple_of(4) {
        store.journal().end_command(command_id(round), command_result(round)).await.unwrap();
        told.tell(format_args!("ended {round}"));
    }
}

async fn import(store: &Store, round: u64, told: &mut Told) {
    let flats: Vec<_> =
        (1..=40 + round).map(|id| flat(1, id, id + round, &[(id, "0000003042CAAC")])).collect();
    let document = json!({"revision": round, "flats": flats}).to_string();
    told.tell(format_args!("importing {round}"));
    let cache = store.cache();
    let importing = move || {
        cache.import(document.as_bytes(), &[1]).unwrap();
        content(&cache)
    };
    let content = tokio::task::spawn_blocking(importing).await.unwrap();
    told.tell(format_args!("imported {round} {content}"));
}

/// A token comes, the last one but one goes.
fn rename_tokens(tokens: &Tokens, round: u64, told: &mut Told) {
    told.tell(format_args!("adding token-{round}"));
    tokens.add(&format!("token-{round}"), true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    told.tell(format_args!("added token-{round}"));
    if let Some(before) = round.checked_sub(20) {
        told.tell(format_args!("revoking token-{before}"));
        assert!(tokens.revoke(&format!("token-{before}")).unwrap());
        told.tell(format_args!("revoked token-{before}"));
    }
}

/// What the small file holds: longer than a sector.
pub fn note(round: u64) -> String {
    json!({"round": round, "padding": "x".repeat(1500)}).to_string()
}

/// The file of what the load was told.
struct Told(File);

impl Told {
    fn create(dir: &Path) -> Self {
        Self(OpenOptions::new().create(true).append(true).open(dir.join(TOLD)).unwrap())
    }

    fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

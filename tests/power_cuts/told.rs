//! What somebody had been told by the time of a cut, and whether a disk keeps it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use intercom_gateway::{
    api::Tokens,
    domain::{KnownTime, StoredEvent},
    store::{Cache, Journal, Store},
    sys::files,
};
use tokio::runtime::Runtime;

use crate::{
    load::{self, NOTE, SPOOL},
    record::Op,
};

/// Everything told so far.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Identities that the journal has had.
    journals: Vec<String>,
    /// A new identity is on its way.
    renewing: bool,
    /// The journal was damaged, and is not known to be salvaged yet.
    damaged: bool,
    /// Journals that are kept, for a new one was begun in their place.
    kept_journals: Vec<String>,
    /// (journal, sequence) and the number of the event.
    events: BTreeMap<(String, u64), u64>,
    /// Numbers of events that are on disk, they say.
    kept: BTreeSet<u64>,
    /// Events up to this number may be deleted.
    delivered: u64,
    /// Rounds whose command's id is on disk, they say, and whether its result is.
    commands: BTreeMap<u64, bool>,
    /// Revisions of the cache that may be there.
    revisions: BTreeSet<u64>,
    /// The revision that is in force, they say, or was before a later one.
    imported: Option<u64>,
    /// Names of tokens, and whether the file must have them; absent: either may be.
    tokens: BTreeMap<String, bool>,
    undecided: Option<String>,
    /// What the small file holds, or is about to hold.
    noted: Option<u64>,
    noting: Option<u64>,
    /// The fingerprint of the certificate's key.
    certified: Option<String>,
}

/// A hash of the cache's content by its revision, from the whole record.
pub fn contents(record: &[Op]) -> HashMap<u64, String> {
    let told = record.iter().filter_map(|op| match op {
        Op::Told(line) => line.strip_prefix("imported ")?.split_once(' '),
        _ => None,
    });
    told.map(|(revision, content)| (revision.parse().unwrap(), content.to_owned())).collect()
}

impl Told {
    pub fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["journal", identity] => {
                self.journals.push(identity.to_owned());
                (self.renewing, self.damaged) = (false, false);
            }
            ["renewing"] => {
                self.renewing = true;
                self.kept_journals.extend(self.journals.last().cloned());
            }
            ["damaging"] => (self.renewing, self.damaged) = (true, true),
            ["event", journal, sequence, number] => {
                let number = number.parse().unwrap();
                self.events.insert((journal.to_owned(), sequence.parse().unwrap()), number);
                self.kept.insert(number);
            }
            ["delivering", number] => self.delivered = number.parse().unwrap(),
            ["begun", round] => drop(self.commands.insert(round.parse().unwrap(), false)),
            ["ended", round] => drop(self.commands.insert(round.parse().unwrap(), true)),
            ["importing", revision] => drop(self.revisions.insert(revision.parse().unwrap())),
            ["imported", revision, _] => self.imported = Some(revision.parse().unwrap()),
            ["adding" | "revoking", name] => self.undecided = Some(name.to_owned()),
            ["added", name] => self.decide(name, true),
            ["revoked", name] => self.decide(name, false),
            ["noting", round] => self.noting = Some(round.parse().unwrap()),
            ["noted", _] => self.noted = self.noting.take(),
            ["certified", key] => self.certified = Some(key.to_owned()),
            _ => panic!("the load and this file disagree about {line:?}"),
        }
    }

    fn decide(&mut self, name: &str, there: bool) {
        self.tokens.insert(name.to_owned(), there);
        self.undecided = None;
    }

    /// How many events are said to be on disk.
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// Opens what a cut has left, as the daemon does, and holds it against what was told.
    pub fn check(&self, dir: &Path, contents: &HashMap<u64, String>, runtime: &Runtime) {
        let (store, report) = Store::open(load::options(dir)).unwrap();
        assert!(self.damaged || report.salvage.is_none(), "the journal is damaged");
        assert_eq!(report.cache_remade, None, "the cache is damaged");
        self.check_journal(&store.journal(), runtime);
        self.check_cache(&store.cache(), contents);
        store.shutdown();
        for database in ["journal.db", "cache.db"] {
            let connection = rusqlite::Connection::open(dir.join(database)).unwrap();
            let verdict: String =
                connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(verdict, "ok", "{database}");
        }
        self.check_tokens(&Tokens::open(&dir.join("tokens.json")).unwrap());
        self.check_note(&dir.join(NOTE));
        check_spool(&dir.join(SPOOL));
        if let Some(key) = &self.certified {
            assert_eq!(
                load::key_fingerprint(dir, KnownTime::Never),
                *key,
                "clients trust the certificate's key"
            );
        }
    }

    fn check_journal(&self, journal: &Journal, runtime: &Runtime) {
        let events = journal.read(0, usize::MAX).unwrap();
        let identity = journal.identity();
        let last = self.journals.last().is_none_or(|told| **told == *identity);
        let earlier = self.journals.iter().any(|told| **told == *identity);
        assert!(last || (self.renewing && !earlier), "{identity} is not the journal of {:?}", self.journals);

        self.check_kept(journal, &identity);
        let first = events.first().map_or(1, |event| event.sequence);
        let sequences = events.iter().map(|event| event.sequence);
        assert!(sequences.eq(first..first + events.len() as u64), "a hole in the sequence");
        let numbers: Vec<u64> = events.iter().filter_map(number).collect();
        let first = numbers.first().copied().unwrap_or(1);
        assert!(numbers.iter().copied().eq(first..first + numbers.len() as u64), "a hole in what happened");
        for number in self.kept.range(self.delivered + 1..) {
            assert!(numbers.binary_search(number).is_ok(), "event {number} is lost");
        }
        for event in &events {
            if let Some(told) = self.events.get(&(identity.to_string(), event.sequence)) {
                assert_eq!(number(event), Some(*told), "sequence {} was another event's", event.sequence);
            }
        }
        for (round, ended) in &self.commands {
            let known = journal.command(load::command_id(*round)).unwrap();
            let result = known.unwrap_or_else(|| panic!("the id of command {round} is lost"));
            let expected = Some(load::command_result(*round));
            assert!(result == expected || (!ended && result.is_none()), "command {round}: {result:?}");
        }
        let next = runtime.block_on(journal.append_durable(load::event(u64::MAX >> 12))).unwrap();
        let used = self.events.keys().filter(|(journal, _)| **journal == *identity);
        assert!(used.map(|(_, sequence)| *sequence).max().is_none_or(|used| used < next));
    }

    /// What was told under the identity of a journal that is not continued is readable under it.
    fn check_kept(&self, journal: &Journal, current: &str) {
        for kept in self.kept_journals.iter().filter(|kept| **kept != *current) {
            let events = journal.reader_of(kept).unwrap().read(1, usize::MAX).unwrap();
            let oldest = events.first().expect("it has events").sequence;
            let told = self.events.iter().filter(|((journal, _), _)| journal == kept);
            for ((_, sequence), told) in told.filter(|((_, sequence), _)| *sequence >= oldest) {
                let found = events.iter().find(|event| event.sequence == *sequence);
                assert_eq!(found.and_then(number), Some(*told), "{kept}-{sequence}");
            }
        }
    }

    fn check_cache(&self, cache: &Cache, contents: &HashMap<u64, String>) {
        let state = cache.state().borrow().clone();
        assert!(state.revision >= self.imported, "{:?} was in force, {:?} is", self.imported, state.revision);
        match state.revision {
            None => assert_eq!(state.flats, 0),
            Some(revision) => {
                assert!(self.revisions.contains(&revision));
                assert_eq!(load::content(cache), contents[&revision], "revision {revision} is half there");
            }
        }
    }

    fn check_tokens(&self, tokens: &Tokens) {
        let listed: BTreeSet<String> =
            tokens.list().into_iter().map(|token| token.name.to_string()).collect();
        for (name, there) in &self.tokens {
            let decided = self.undecided.as_ref() != Some(name);
            assert!(!decided || listed.contains(name) == *there, "token {name} must be there: {there}");
        }
        let known = |name: &String| self.tokens.contains_key(name) || self.undecided.as_ref() == Some(name);
        assert!(listed.iter().all(known), "{listed:?}");
    }

    fn check_note(&self, path: &Path) {
        let text = fs::read_to_string(path).ok();
        let may_be = [self.noted, self.noting].into_iter().flatten().map(load::note);
        let nothing = self.noted.is_none();
        assert!(
            text.as_ref().map_or(nothing, |text| may_be.into_iter().any(|note| note == *text)),
            "{} holds {text:?}, but {:?} was noted",
            path.display(),
            self.noted
        );
    }
}

/// The next spool is empty, and what the last one left is gone with its name.
fn check_spool(path: &Path) {
    let spool = files::nameless(path).unwrap();
    assert_eq!(spool.metadata().unwrap().len(), 0);
    assert!(!path.exists(), "{} is left behind", path.display());
}

/// Which event of the load's it is; `None` for the store's own.
fn number(event: &StoredEvent) -> Option<u64> {
    let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
    data["revision"].as_u64().filter(|_| event.kind == "gateway.sync.applied")
}

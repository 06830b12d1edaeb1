//! Tells for a day that a new journal was begun, whatever the way: what follows events by their sequence has to know.
//!
//! ```text
//! journal.json ─► the journal that was continued last ─┐
//! the store, the broker ─► the journal now ────────────┴─► the reason `journal_new` ─► journal.json
//! ```
//! Invariants:
//! - A journal that takes another one's place is noticed at the next start at the latest, also where a command or a
//!   restore began it.
//! - It is told until a day has passed, both of running time and by the clock where that is known, or until the cloud's
//!   `events/committed` names it. A restart shortens nothing.
//! - A disk that hangs or takes nothing keeps nobody waiting: what is known is kept in memory then.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::FutureExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{HealthCode, Mono, Reason, json},
    sys::{self, files::write_private},
};

/// File in the state directory.
const FILE: &str = "journal.json";

/// For so long it is told.
const TOLD: Duration = Duration::from_secs(86_400);

/// The time that has passed is written so often, and what could not be written is tried again.
const WRITTEN: Duration = Duration::from_secs(600);

/// What the daemon sees of its journal.
pub struct Seen<'a> {
    /// The journal that events go into.
    pub journal: &'a str,
    /// It stands in for the one on the disk.
    pub is_stand_in: bool,
    /// Why a new one was begun by this process.
    pub why: Option<&'a str>,
    /// The journal by which the broker knows this gateway, where it is not one of ours.
    pub known_as: Option<&'a str>,
    /// The journal of ours that the cloud's last `events/committed` names.
    pub named: Option<&'a str>,
    pub wall: Timestamp,
    pub is_synchronized: bool,
}

/// The journal that is continued, and what is to be told of it: what the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    journal: String,
    /// The one before it, where there was one.
    before: Option<String>,
    new: Option<New>,
}

/// A journal that is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct New {
    /// A sentence.
    why: Option<String>,
    /// By the clock, which may not have been synchronised, seconds since the epoch.
    since_s: i64,
    /// Running time since then.
    ran_s: u64,
}

impl Record {
    /// Takes over what is seen, `passed` since the last time; whether that is to be written down.
    fn see(&mut self, seen: &Seen<'_>, passed: u64) -> bool {
        let before = self.clone();
        if let Some(new) = &mut self.new {
            new.ran_s = new.ran_s.saturating_add(passed);
        }
        let begin = |why: Option<&str>| {
            Some(New { why: why.map(ToOwned::to_owned), since_s: seen.wall.as_second(), ran_s: 0 })
        };
        if self.journal != seen.journal {
            let before = std::mem::replace(&mut self.journal, seen.journal.to_owned());
            // Without a record it is the first one, or a version that kept none had it; unless it was begun just now.
            self.new = if before.is_empty() && seen.why.is_none() { None } else { begin(seen.why) };
            self.before = (!before.is_empty()).then_some(before);
        } else if let Some(known_as) = seen.known_as
            && self.before.as_deref() != Some(known_as)
            && self.new.is_none()
        {
            let why = "the broker knows this gateway by another one: was the disk replaced, or `state_dir` emptied?";
            (self.before, self.new) = (Some(known_as.to_owned()), begin(Some(why)));
        }
        if let Some(new) = &mut self.new
            && new.why.is_none()
        {
            // It may be told a moment later than the journal itself.
            new.why = seen.why.map(ToOwned::to_owned);
        }
        if seen.named == Some(seen.journal) || self.new.as_ref().is_some_and(|new| new.is_over(seen)) {
            self.new = None;
        }
        let ran = |record: &Self| record.new.as_ref().map_or(0, |new| new.ran_s / WRITTEN.as_secs());
        let without_time = |record: &Self| {
            let new = record.new.clone().map(|new| New { ran_s: 0, ..new });
            Self { new, ..record.clone() }
        };
        without_time(&before) != without_time(self) || ran(&before) != ran(self)
    }

    fn reason(&self) -> Option<Reason> {
        let new = self.new.as_ref()?;
        let before = self.before.as_ref().map(|before| format!(", in place of {before}")).unwrap_or_default();
        let why = new.why.as_deref().unwrap_or("the one before is not continued");
        let message = format!(
            "journal {} is a new one{before}: {why}. This is told for a day, or until `events/committed` names the new one",
            self.journal
        );
        Some(Reason::new(HealthCode::JournalNew, message))
    }
}

impl New {
    fn is_over(&self, seen: &Seen<'_>) -> bool {
        let by_clock = seen.wall.as_second().abs_diff(self.since_s);
        self.ran_s >= TOLD.as_secs() && (!seen.is_synchronized || by_clock >= TOLD.as_secs())
    }
}

/// What is done with the file, beside the looks.
enum Work {
    Load(sys::Blocking<Record>),
    Write(sys::Blocking<io::Result<()>>),
    Nothing,
}

/// Keeps the record.
pub struct JournalNew {
    path: PathBuf,
    /// `None` until it is read.
    record: Option<Record>,
    /// What differs from the record is believed at the second look: two things are looked at one after the other.
    differed: Option<String>,
    looked: Option<Mono>,
    unwritten: bool,
    not_before: Mono,
    work: Work,
    is_logged: bool,
}

impl JournalNew {
    /// Keeps it in a state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FILE),
            record: None,
            differed: None,
            looked: None,
            unwritten: false,
            not_before: Mono::ZERO,
            work: Work::Nothing,
            is_logged: false,
        }
    }

    /// Looks at the journal, about once a second; what is to be told of it.
    pub fn look(&mut self, seen: &Seen<'_>, now: Mono) -> Option<Reason> {
        self.go_on(now);
        let Some(record) = &mut self.record else {
            return seen.why.map(|why| Reason::new(HealthCode::JournalNew, why));
        };
        let is_settled = !seen.journal.is_empty() && !seen.is_stand_in;
        let is_believed = record.journal == seen.journal || self.differed.as_deref() == Some(seen.journal);
        self.differed = is_settled.then(|| seen.journal.to_owned());
        if is_settled && is_believed {
            let looked = self.looked.replace(now).unwrap_or(now);
            let passed = now.since(looked).as_secs();
            // What is less than a second counts at the next look.
            self.looked = Some(looked + Duration::from_secs(passed));
            self.unwritten |= record.see(seen, passed);
        }
        let reason = record.reason();
        if let Some(reason) = &reason
            && !std::mem::replace(&mut self.is_logged, true)
        {
            tracing::warn!("{}", reason.message);
        }
        self.write(now);
        reason
    }

    /// Takes over what was done with the file.
    fn go_on(&mut self, now: Mono) {
        match &mut self.work {
            Work::Nothing if self.record.is_none() => {
                let path = self.path.clone();
                self.work = Work::Load(sys::blocking(move || load(&path)));
            }
            Work::Load(work) => {
                if let Some(loaded) = work.now_or_never() {
                    self.record = Some(loaded.unwrap_or_default());
                    self.work = Work::Nothing;
                }
            }
            Work::Write(work) => {
                if let Some(written) = work.now_or_never() {
                    self.work = Work::Nothing;
                    let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                    if let Err(error) = written {
                        let file = self.path.display();
                        tracing::warn!(
                            "{file} cannot be written ({error}): a restart forgets that a journal is new"
                        );
                        (self.unwritten, self.not_before) = (true, now + WRITTEN);
                    }
                }
            }
            Work::Nothing => {}
        }
    }

    fn write(&mut self, now: Mono) {
        if !self.unwritten || now < self.not_before || !matches!(self.work, Work::Nothing) {
            return;
        }
        self.unwritten = false;
        let Some(record) = self.record.clone() else { return };
        let path = self.path.clone();
        self.work = Work::Write(sys::blocking(move || write_private(&path, json::text(&record).as_bytes())));
    }
}

/// Reads the record; one that cannot be read is begun again. Blocks on the disk.
fn load(path: &Path) -> Record {
    let read = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Record::default(),
        read => read.map_err(|error| error.to_string()),
    };
    let record = read.and_then(|file| json::from_slice(&file).map_err(|error| error.to_string()));
    record.unwrap_or_else(|error| {
        let file = path.display();
        tracing::warn!("{file} cannot be read ({error}): whether this journal is a new one is not known");
        Record::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn seen(journal: &str) -> Seen<'_> {
        Seen {
            journal,
            is_stand_in: false,
            why: None,
            known_as: None,
            named: None,
            wall: Timestamp::from_second(1_800_000_000).unwrap(),
            is_synchronized: true,
        }
    }

    fn told(record: &Record) -> String {
        record.reason().map(|reason| reason.message).unwrap_or_default()
    }

    /// Another journal has taken the place of `old`.
    fn renewed() -> Record {
        let mut record = Record::default();
        assert!(record.see(&seen("old"), 0));
        assert_eq!(record.reason(), None, "the first one is nobody's news");
        assert!(record.see(&seen("new"), 0));
        record
    }

    #[test]
    fn another_journal_than_before_is_told_with_its_cause_and_survives_a_restart() {
        let mut record = renewed();
        assert!(
            told(&record).starts_with("journal new is a new one, in place of old: the one before is not")
        );
        assert!(record.see(&Seen { why: Some("it was damaged"), ..seen("new") }, 1));
        assert!(told(&record).contains("in place of old: it was damaged. "), "{}", told(&record));
        let file = serde_json::to_vec(&record).unwrap();
        let mut again: Record = serde_json::from_slice(&file).unwrap();
        assert!(!again.see(&seen("new"), 1));
        assert_eq!(told(&again), told(&record));
        // Begun by the first process that keeps a record.
        let mut first = Record::default();
        first.see(&Seen { why: Some("it was damaged"), ..seen("new") }, 0);
        assert!(told(&first).starts_with("journal new is a new one: it was damaged. "), "{}", told(&first));
    }

    #[test]
    fn it_is_over_after_a_day_of_running_time_and_by_the_clock() {
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
        let after = |hours: i64, ran: u64, is_synchronized| {
            let mut record = renewed();
            record.see(&Seen { wall: at(hours), is_synchronized, ..seen("new") }, ran);
            record.new.is_none()
        };
        assert!(after(24, 24 * HOUR, true));
        assert!(!after(1, 24 * HOUR, true), "the clock says that an hour has passed");
        assert!(!after(240, 24 * HOUR - 1, true), "it was off for days");
        assert!(after(-500_000, 24 * HOUR, false), "nobody knows the time");
        assert!(after(500_000, 24 * HOUR, true), "the clock was set");
    }

    #[test]
    fn the_clouds_word_ends_it_and_only_for_this_journal() {
        let mut record = renewed();
        assert!(!record.see(&Seen { named: Some("old"), ..seen("new") }, 1));
        assert!(record.reason().is_some());
        assert!(record.see(&Seen { named: Some("new"), ..seen("new") }, 1));
        assert_eq!(record.reason(), None);
        assert!(!record.see(&seen("new"), 1));
        assert_eq!(record.reason(), None);
    }

    #[test]
    fn a_disk_that_the_cloud_does_not_know_is_told_once() {
        let mut record = Record::default();
        record.see(&seen("new"), 0);
        let strange = Seen { known_as: Some("old"), ..seen("new") };
        assert!(record.see(&strange, 1));
        assert!(told(&record).starts_with("journal new is a new one, in place of old: the broker knows"));
        assert!(record.see(&Seen { named: Some("new"), ..seen("new") }, 1));
        assert!(!record.see(&strange, 1), "that was told");
        assert_eq!(record.reason(), None);
    }

    #[test]
    fn the_time_that_has_passed_is_written_every_ten_minutes() {
        let mut record = renewed();
        let writes = (0..3600).filter(|_| record.see(&seen("new"), 1)).count();
        assert_eq!(writes, 6);
    }

    #[tokio::test]
    async fn a_look_that_falls_between_two_journals_means_nothing_and_a_stand_in_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut news = JournalNew::new(dir.path());
        let mut at = 0;
        let mut look = |seen: &Seen<'_>| {
            at += 1;
            news.look(seen, Mono::from_nanos(at * 1_000_000_000))
        };
        let early = Seen { why: Some("it was damaged"), ..seen("new") };
        assert_eq!(look(&early).unwrap().message, "it was damaged", "before the file is read");
        while !dir.path().join(FILE).exists() {
            assert!(look(&seen("old")).is_none_or(|reason| reason.message.contains("damaged")));
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            assert_eq!(look(&Seen { is_stand_in: true, ..seen("memory") }), None);
        }
        assert_eq!(look(&seen("memory")), None);
        assert_eq!(look(&seen("old")), None);
        assert_eq!(look(&seen("new")), None);
        assert!(look(&seen("new")).is_some());
    }
}

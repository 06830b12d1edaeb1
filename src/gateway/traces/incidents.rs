//! Writes what the ring holds into the state directory where something went wrong: seldom, and few files, as SD cards
//! wear.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    bus::Incident,
    domain::{Mono, Name, order},
    sys::files::{private_dir, write_private},
    wire::recording::Form,
};

/// How long it goes on behind an incident.
const BEHIND: Duration = Duration::from_secs(5);
/// Between two files of a bus: doubled from the first to the second while incidents go on, and back to the first
/// after a day without.
const GAPS: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(6 * 3600));
const CALM: Duration = Duration::from_secs(24 * 3600);
/// Files in all.
const FILES: usize = 16;
/// This many errors of the line within this time are an incident.
const BURST: usize = 10;
const BURST_WITHIN: Duration = Duration::from_secs(10);

/// When the ring of a bus is to be written.
#[derive(Debug)]
pub(super) struct Incidents {
    due: Option<(Mono, Kind)>,
    last: Option<Mono>,
    gap: Duration,
    /// When errors of the line were, in nanoseconds of the wall clock.
    errors: VecDeque<u64>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PanelLost,
    UnlockFailed,
    Errors,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::PanelLost => "panel-lost",
            Self::UnlockFailed => "unlock-failed",
            Self::Errors => "errors",
        }
    }
}

impl From<&Incident> for Kind {
    fn from(incident: &Incident) -> Self {
        match incident {
            Incident::PanelLost(_) => Self::PanelLost,
            Incident::UnlockFailed(_) => Self::UnlockFailed,
        }
    }
}

impl Default for Incidents {
    fn default() -> Self {
        Self { due: None, last: None, gap: GAPS.0, errors: VecDeque::new() }
    }
}

impl Incidents {
    /// Takes note of an incident.
    pub(super) fn note(&mut self, kind: Kind, now: Mono) {
        let is_too_soon = self.last.is_some_and(|last| now.since(last) < self.gap);
        if self.due.is_none() && !is_too_soon {
            self.due = Some((now + BEHIND, kind));
        }
    }

    /// Takes note of an error of the line; returns whether it is one too many.
    pub(super) fn error(&mut self, nanos: u64, now: Mono) -> bool {
        self.errors.push_back(nanos);
        let oldest = nanos.saturating_sub(BURST_WITHIN.as_nanos() as u64);
        self.errors.retain(|at| *at >= oldest);
        if self.errors.len() < BURST {
            return false;
        }
        self.errors.clear();
        self.note(Kind::Errors, now);
        true
    }

    /// Returns what happened, once it is time to write.
    pub(super) fn due(&mut self, now: Mono) -> Option<Kind> {
        let (_, kind) = self.due.take_if(|(at, _)| now >= *at)?;
        self.gap = match self.last {
            Some(last) if now.since(last) < CALM => (self.gap * 2).min(GAPS.1),
            _ => GAPS.0,
        };
        self.last = Some(now);
        Some(kind)
    }
}

/// The folder of the files.
pub(super) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a file; the oldest go. Blocks on the disk.
    pub(super) fn put(&self, bus: &Name, at: Timestamp, kind: Kind, form: Form, content: &[u8]) {
        let name = format!("{}-{bus}-{}.{}", at.strftime("%Y%m%dT%H%M%SZ"), kind.word(), form.extension());
        let path = self.folder.join(name);
        let written = private_dir(&self.folder).and_then(|()| {
            self.make_room();
            write_private(&path, content)
        });
        match written {
            Ok(()) => tracing::info!(%bus, "what went over the line before it is in {}", path.display()),
            Err(error) => tracing::warn!(%bus, %error, "cannot write {}", path.display()),
        }
    }

    /// Removes the oldest files, of those that are named as its own are.
    fn make_room(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let is_own = |path: &PathBuf| {
            let ends = [Form::Osdpcap, Form::Pcap].map(Form::extension);
            path.extension().is_some_and(|end| ends.iter().any(|own| end == *own))
        };
        files.retain(is_own);
        // Names begin with the time.
        order::sort(&mut files);
        let surplus = (files.len() + 1).saturating_sub(FILES);
        for path in files.iter().take(surplus) {
            remove(path);
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, "cannot remove {}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_panel_that_comes_and_goes_all_day_is_written_seldom() {
        let mut incidents = Incidents::default();
        let mut written = Vec::new();
        for minute in 0..24 * 60 {
            incidents.note(Kind::PanelLost, at(minute * 60));
            written.extend(incidents.due(at(minute * 60 + 5)).map(|_| minute));
        }
        assert_eq!(written[..4], [0, 11, 32, 73]);
        assert!(written.len() <= 9, "{written:?}");
        let later = 3 * 24 * 3600;
        incidents.note(Kind::UnlockFailed, at(later));
        assert_eq!(incidents.due(at(later + 4)), None, "what follows belongs to it");
        assert_eq!(incidents.due(at(later + 5)), Some(Kind::UnlockFailed));
        incidents.note(Kind::Errors, at(later + 700));
        assert_eq!(incidents.due(at(later + 705)), Some(Kind::Errors), "a day without is forgotten");
    }

    #[test]
    fn ten_errors_in_ten_seconds_are_an_incident_and_as_many_in_a_minute_are_not() {
        let second = 1_000_000_000;
        let mut slow = Incidents::default();
        assert!(!(0..100).any(|number| slow.error(number * 2 * second, at(0))));
        let mut fast = Incidents::default();
        let incidents = (0..10).map(|number| fast.error(number * second, at(number)));
        assert_eq!(incidents.filter(|incident| *incident).count(), 1);
        assert_eq!(fast.due(at(60)), Some(Kind::Errors));
    }

    #[test]
    fn only_the_newest_files_stay_and_others_are_let_alone() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().join("traces"));
        let bus = Name::new("street").unwrap();
        for number in 0..40 {
            let time = Timestamp::from_second(1_700_000_000 + number * 60).unwrap();
            shelf.put(&bus, time, Kind::Errors, Form::Osdpcap, b"{}\n");
            fs::write(folder.path().join("traces/notes.txt"), "mine").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(folder.path().join("traces"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), FILES + 1);
        assert_eq!(names[FILES - 1], "20231114T225220Z-street-errors.osdpcap");
    }
}

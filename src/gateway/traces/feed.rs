//! What one bus tells: runs of bytes become frames, and those go where they are kept.

use std::{sync::mpsc::TryRecvError, time::Duration};

use jiff::Timestamp;

use super::{
    Lately, Settings,
    file::TraceFile,
    incidents::{Incidents, Kind, Shelf},
    ring::{Quiet, Ring},
};
use crate::{
    bus::{Happened, Incident, Run, Runs},
    domain::{Mono, Name},
    wire::{
        osdp::{Parsed, capture::Io, frame::MARK, parse},
        recording::{
            Answered, Content, Entry, Form, Found, Frames, ModbusFrames, ModbusRedactor, OsdpRedactor, Piece,
            Remark, Secret,
        },
    },
};

/// How many runs are taken at a time, so that one line keeps no other waiting.
const AT_ONCE: usize = 4096;
/// Between two lines of the log about what was dropped.
const COMPLAIN: Duration = Duration::from_secs(60);

/// The recording of one bus.
pub(super) struct Feed {
    bus: Name,
    form: Form,
    runs: Runs,
    has_ended: bool,
    settings: Settings,
    follower: Option<Follower>,
    file: Option<TraceFile>,
    ring: Ring,
    quiet: Quiet,
    incidents: Incidents,
    /// When the last run was.
    nanos: u64,
    /// The last command, and whether it was sent again already.
    last_command: (Vec<u8>, bool),
    /// Frames that were dropped and not told in the log yet, and when the log was last told.
    dropped: (u64, Option<Mono>),
}

/// Puts frames together and makes keys in them unreadable.
enum Follower {
    Osdp(Frames<u64>, OsdpRedactor),
    Modbus(ModbusFrames<u64>, ModbusRedactor),
}

/// A piece with what it is and what may be shown of it.
struct Shown {
    found: Found<u64>,
    answered: Answered,
    contents: Vec<Content>,
}

impl Feed {
    pub(super) fn new(bus: Name, form: Form, runs: Runs, settings: Settings) -> Self {
        let mut feed = Self {
            bus,
            form,
            runs,
            has_ended: false,
            settings: Settings::default(),
            follower: None,
            file: None,
            ring: Ring::default(),
            quiet: Quiet::default(),
            incidents: Incidents::default(),
            nanos: 0,
            last_command: (Vec::new(), false),
            dropped: (0, None),
        };
        feed.configure(settings);
        feed
    }

    pub(super) const fn bus(&self) -> &Name {
        &self.bus
    }

    /// Whether the bus has ended, and all of it was taken.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Records as configured from now on.
    pub(super) fn configure(&mut self, settings: Settings) {
        let path = settings.trace.as_ref().map(|trace| trace.file.as_path());
        if self.file.as_ref().map(TraceFile::path) != path {
            self.file = path.map(|path| TraceFile::new(path.to_owned(), self.form));
        }
        if let Some(Follower::Modbus(_, redactor)) = &mut self.follower {
            redactor.learn(&settings.keys);
        }
        self.settings = settings;
    }

    /// Takes what the bus has told, writes what is to be written. Blocks on the disk.
    pub(super) fn take(&mut self, secret: &Secret, shelf: &mut Shelf, now: Mono) {
        for _ in 0..AT_ONCE {
            match self.runs.next() {
                Ok(run) => self.run(run, secret, now),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    let rest = self.follower(secret).finish();
                    self.keep_all(rest, now);
                    self.has_ended = true;
                    break;
                }
            }
        }
        self.write(now);
        self.complain(now);
        if let Some(kind) = self.incidents.due(now) {
            let Lately { content, .. } = self.lately();
            let at = Timestamp::from_nanosecond(i128::from(self.nanos)).unwrap_or_default();
            shelf.put(&self.bus, at, kind, self.form, &content);
        }
    }

    /// Returns what the ring holds.
    pub(super) fn lately(&mut self) -> Lately {
        self.ring.grow_old(self.nanos);
        self.quiet.flush(&mut self.ring);
        Lately { form: self.form, content: self.ring.file(self.form) }
    }

    fn write(&mut self, now: Mono) {
        let Some(file) = &mut self.file else { return };
        if let Some(lost) = file.write(now) {
            let content = Content::Remark(Remark::Dropped(lost));
            file.push(&Entry { nanos: self.nanos, content }, now);
            file.write(now);
            self.dropped.0 += lost;
        }
    }

    fn run(&mut self, run: Run, secret: &Secret, now: Mono) {
        let Run { nanos, lost, what } = run;
        self.nanos = nanos;
        if lost > 0 {
            // What had begun before does not go on behind it.
            let rest = self.follower(secret).finish();
            self.keep_all(rest, now);
            self.dropped.0 += lost;
            self.say(Remark::Dropped(lost), now);
        }
        match what {
            Happened::Sent(bytes) => {
                let shown = self.follower(secret).push(nanos, Io::Out, &bytes);
                self.keep_all(shown, now);
            }
            Happened::Received(bytes) => {
                let shown = self.follower(secret).push(nanos, Io::In, &bytes);
                self.keep_all(shown, now);
            }
            Happened::Incident(incident) => {
                self.incidents.note(Kind::from(&incident), now);
                let words = match incident {
                    Incident::PanelLost(panel) => format!("panel {panel} is offline"),
                    Incident::UnlockFailed(panel) => format!("panel {panel} did not open"),
                };
                self.say(Remark::Said(words), now);
            }
            Happened::Said(words) => self.say(Remark::Said(words.to_owned()), now),
        }
    }

    fn follower(&mut self, secret: &Secret) -> &mut Follower {
        let make = || match self.form {
            Form::Osdpcap => Follower::Osdp(Frames::default(), OsdpRedactor::new(secret.clone())),
            Form::Pcap => {
                let mut redactor = ModbusRedactor::new(secret.clone());
                redactor.learn(&self.settings.keys);
                Follower::Modbus(ModbusFrames::default(), redactor)
            }
        };
        self.follower.get_or_insert_with(make)
    }

    fn keep_all(&mut self, shown: Vec<Shown>, now: Mono) {
        for Shown { found, answered, contents } in shown {
            self.look_for_errors(&found, now);
            if let Some(file) = &mut self.file {
                if self.settings.trace.as_ref().is_some_and(|trace| trace.keys) {
                    file.push(&Entry { nanos: found.at, content: as_it_was(&found) }, now);
                } else {
                    for content in &contents {
                        file.push(&Entry { nanos: found.at, content: content.clone() }, now);
                    }
                }
            }
            for content in contents {
                let entry = Entry { nanos: found.at, content };
                match (&entry.content, self.form) {
                    (Content::Remark(_), _) => self.quiet.keep(entry, &mut self.ring),
                    (_, Form::Osdpcap) => self.quiet.osdp(&found, entry, &mut self.ring),
                    (_, Form::Pcap) => self.quiet.modbus(&found, &answered, entry, &mut self.ring),
                }
            }
        }
    }

    fn say(&mut self, remark: Remark, now: Mono) {
        let entry = Entry { nanos: self.nanos, content: Content::Remark(remark) };
        if let Some(file) = &mut self.file {
            file.push(&entry, now);
        }
        self.quiet.keep(entry, &mut self.ring);
    }

    /// Counts what is wrong on the line: bytes that are no frame, commands that are sent again.
    fn look_for_errors(&mut self, found: &Found<u64>, now: Mono) {
        let mut is_error = found.piece != Piece::Frame;
        if found.io == Io::Out && self.form == Form::Osdpcap {
            // With number 0 a panel is asked that does not answer, which is no error of the line.
            let is_numbered = matches!(parse(&found.bytes), Parsed::Frame(frame, _) if frame.sequence != 0);
            let (last, is_told) = &mut self.last_command;
            let is_again = *last == found.bytes;
            // Once: of a panel that has gone it is no news.
            is_error |= is_again && is_numbered && !*is_told;
            *is_told = is_again;
            last.clone_from(&found.bytes);
        }
        if is_error && self.incidents.error(found.at, now) {
            self.say(Remark::Said("many errors on the line".to_owned()), now);
        }
    }

    /// Says in the log what was dropped.
    fn complain(&mut self, now: Mono) {
        let (frames, told) = self.dropped;
        if frames > 0 && told.is_none_or(|told| now.since(told) >= COMPLAIN) {
            tracing::warn!(bus = %self.bus, "dropped {frames} frames: the trace could not keep up, or not be written");
            self.dropped = (0, Some(now));
        }
    }
}

impl Follower {
    fn push(&mut self, nanos: u64, io: Io, bytes: &[u8]) -> Vec<Shown> {
        match self {
            Self::Osdp(frames, redactor) => {
                // Nobody waits for what goes on behind another command.
                let cut = if io == Io::Out { frames.end(Io::In) } else { None };
                let mut found: Vec<_> = cut.into_iter().collect();
                found.extend(frames.push(&nanos, io, bytes));
                osdp(redactor, found)
            }
            Self::Modbus(frames, redactor) => modbus(redactor, frames.push(&nanos, io, bytes)),
        }
    }

    fn finish(&mut self) -> Vec<Shown> {
        match self {
            Self::Osdp(frames, redactor) => osdp(redactor, frames.finish()),
            Self::Modbus(frames, redactor) => modbus(redactor, frames.finish()),
        }
    }
}

fn osdp(redactor: &mut OsdpRedactor, found: Vec<Found<u64>>) -> Vec<Shown> {
    let show = |found: Found<u64>| {
        let contents = redactor.show(&found);
        Shown { found, answered: Answered::Other, contents }
    };
    found.into_iter().map(show).collect()
}

fn modbus(redactor: &ModbusRedactor, found: Vec<(Found<u64>, Answered)>) -> Vec<Shown> {
    let show = |(found, answered): (Found<u64>, Answered)| {
        let contents = vec![redactor.show(&found, &answered)];
        Shown { found, answered, contents }
    };
    found.into_iter().map(show).collect()
}

fn as_it_was(found: &Found<u64>) -> Content {
    let mut bytes = vec![MARK; found.marks];
    bytes.extend_from_slice(&found.bytes);
    Content::Bytes { io: found.io, bytes, redacted: false }
}

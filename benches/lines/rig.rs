//! A line with simulated commutators in this process, a client in another one, and a probe on the wires.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use intercom_gateway::{
    clock,
    domain::{Mono, Name},
    simulate::{
        action::{Action, Condition, Fault, Lines},
        building::{Building, PlacedPanel},
        line::{LineRate, LineSettings},
        modbus::{ModbusSetup, receiver::silence},
        shell::{LineReport, LineSpec, Traffic},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    common::figures::Samples,
    subject::{self, Kind, LINES, PERIOD, Subject, Told},
};

/// The rate of all lines, 8N1.
pub const RATE: LineRate = LineRate::osdp(19_200);
/// How many panels there are.
pub const PANELS: u8 = 8;
/// Characters of a request to read, and of the answer with all lines of a panel.
pub const REQUEST: usize = 8;
pub const ANSWER: usize = 5 + 2 * LINES as usize;
/// On average, so long between two handsets that are lifted.
const BETWEEN: Duration = Duration::from_millis(500);
/// A change of which nobody has told so long after it was over was not seen.
const MISSED: Duration = Duration::from_secs(3);
/// What a register holds while its handset hangs, and while it is lifted.
const HUNG: u16 = 38;
const LIFTED: u16 = 78;
/// How long the first answers of all panels may take.
const START: Duration = Duration::from_secs(30);
/// Transmissions that nobody has looked at: five minutes. Full: the newest are dropped and counted.
const TRAFFIC: usize = 1 << 15;

/// What is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub kind: Kind,
    /// This many of the panels, spread among the others, are dead from the start.
    pub dead: u8,
}

/// How long each part of a measurement takes.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Until what is steady begins.
    pub settling: Duration,
    /// With nothing but polls.
    pub polling: Duration,
    /// With handsets lifted and hung.
    pub changing: Duration,
}

/// What was measured.
pub struct Measured {
    pub setting: Setting,
    /// Polls of each healthy panel, a second.
    pub polls: Vec<f64>,
    /// From the last stop bit of a request to the first start bit of its answer, in the mean.
    pub turnaround: Duration,
    /// From a change at the panel to the client that has it.
    pub changes: Samples,
    /// How many changes there were.
    pub made: usize,
    /// Of what the client told, what never was so.
    pub invented: usize,
    /// The line's own lateness, 95 % of hand-overs.
    pub line_p95: Duration,
}

/// A running line with panels and somebody who polls them.
struct Rig {
    /// Before the building: it ends first, else it would find its port gone.
    subject: Subject,
    building: Building,
    bus: Name,
    /// Addresses of the panels that live.
    healthy: Vec<u8>,
    traffic: Receiver<Traffic>,
}

struct Change {
    panel: u8,
    line: u16,
    raw: u16,
    at: Mono,
}

/// Measures one client with this many panels dead.
pub fn measure(setting: Setting, times: Times) -> anyhow::Result<Measured> {
    let rig = Rig::start(setting)?;
    thread::sleep(times.settling);
    let (polls, turnaround) = rig.polls(times.polling);
    let made = rig.change_lines(times.changing, setting)?;
    thread::sleep(MISSED);
    let told: Vec<Told> = rig.subject.told.try_iter().collect();
    let found = |change: &Change| {
        let is_it = |told: &&Told| {
            (told.panel, told.line, told.raw) == (change.panel, change.line, change.raw)
                && told.at >= change.at
                && told.at.since(change.at) <= MISSED
        };
        told.iter().find(is_it).map(|told| told.at.since(change.at))
    };
    let was_so = |told: &Told| {
        let is_it = |change: &Change| {
            (change.panel, change.line, change.raw) == (told.panel, told.line, told.raw)
                && change.at <= told.at
        };
        made.iter().any(is_it)
    };
    let begun = made.first().map_or(Mono::ZERO, |change| change.at);
    let of_changes = told.iter().filter(|told| told.at >= begun);
    Ok(Measured {
        setting,
        polls,
        turnaround,
        changes: made.iter().filter_map(found).collect(),
        made: made.len(),
        invented: of_changes.filter(|told| !was_so(told)).count(),
        line_p95: rig.report().lateness.quantile(0.95),
    })
}

impl Measured {
    /// Reads of all panels a second.
    pub fn reads(&self) -> f64 {
        self.polls.iter().sum()
    }

    /// The healthy panel that is polled least.
    pub fn slowest(&self) -> f64 {
        self.polls.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Reads a second that the line would carry at most with this turnaround: the frames, the client's own silence
    /// before its request, and nothing else.
    pub fn ideal(&self) -> f64 {
        let frames = RATE.character() * u32::try_from(REQUEST + ANSWER).unwrap_or(u32::MAX);
        1.0 / (frames + silence(Some(RATE)) + self.turnaround).as_secs_f64()
    }

    /// Share of the changes that were seen, 0 to 1.
    pub fn seen(&self) -> f64 {
        self.changes.len() as f64 / self.made.max(1) as f64
    }
}

impl Rig {
    fn start(setting: Setting) -> anyhow::Result<Self> {
        let Setting { kind, dead } = setting;
        eprintln!("{}, {dead} of {PANELS} panels dead …", kind.title());
        let bus = Name::new("basement")?;
        let (tap, traffic) = sync_channel(TRAFFIC);
        let line = LineSpec {
            tap: Some(tap),
            turnaround: silence(Some(RATE)),
            ..LineSpec::new(bus.clone(), LineSettings::clean(Some(RATE)))
        };
        let profile = Arc::new(subject::profile(PERIOD)?);
        let place = |unit| {
            let setup = ModbusSetup::new(unit, Arc::clone(&profile)).into();
            Ok(PlacedPanel { name: subject::panel_name(unit)?, bus: bus.clone(), setup })
        };
        let placed = (1..=PANELS).map(place).collect::<anyhow::Result<_>>()?;
        let (building, _) = Building::start(&[line], placed)?;
        let is_dead = |unit: u8| [2, 5, 7].iter().take(usize::from(dead)).any(|of| *of == unit);
        let (gone, healthy): (Vec<u8>, Vec<u8>) = (1..=PANELS).partition(|unit| is_dead(*unit));
        for unit in gone {
            building.act(&subject::panel_name(unit)?, Action::Fault(Fault::Gone(true)))?;
        }
        for unit in &healthy {
            let panel = subject::panel_name(*unit)?;
            for line in 1..=LINES {
                let be = Lines::Be { line, condition: Condition::Raw(HUNG) };
                building.act(&panel, Action::Lines(be))?;
            }
        }
        let port = building.port(&bus).context("no port")?;
        let subject = Subject::start(kind, port, RATE.baud, PANELS)?;
        let rig = Self { subject, building, bus, healthy, traffic };
        rig.wait_for_first_answers(setting)?;
        Ok(rig)
    }

    fn wait_for_first_answers(&self, setting: Setting) -> anyhow::Result<()> {
        let mut waiting = self.healthy.clone();
        let deadline = clock::mono() + START;
        while !waiting.is_empty() {
            let Ok(passage) = self.traffic.recv_timeout(deadline.since(clock::mono())) else {
                bail!("{setting:?}: the panels {waiting:?} were never asked");
            };
            waiting.retain(|unit| unit_of(&passage) != Some(*unit));
        }
        Ok(())
    }

    /// Polls a second of each healthy panel over a time, and the turnaround of the panels.
    fn polls(&self, time: Duration) -> (Vec<f64>, Duration) {
        while self.traffic.try_recv().is_ok() {}
        let begin = clock::mono();
        thread::sleep(time);
        let passages: Vec<Traffic> = self.traffic.try_iter().collect();
        let took = clock::mono().since(begin).as_secs_f64();
        let is_poll = |passage: &&Traffic| passage.panel.is_some() && passage.characters == ANSWER;
        let polls = |unit: &u8| {
            let of_unit = passages.iter().filter(is_poll).filter(|passage| unit_of(passage) == Some(*unit));
            of_unit.count() as f64 / took
        };
        let pause = |pair: &[Traffic]| match pair {
            [request, answer] if request.panel.is_none() && is_poll(&answer) => {
                Some(answer.start.since(request.end))
            }
            _ => None,
        };
        let pauses: Vec<Duration> = passages.windows(2).filter_map(pause).collect();
        let turnaround = pauses.iter().sum::<Duration>() / u32::try_from(pauses.len().max(1)).unwrap_or(1);
        (self.healthy.iter().map(polls).collect(), turnaround)
    }

    /// Lifts and hangs handsets at random, each of them for [`Kind::lasts`].
    fn change_lines(&self, time: Duration, setting: Setting) -> anyhow::Result<Vec<Change>> {
        let mut random = StdRng::seed_from_u64(setting.dead.into());
        let until = clock::mono() + time;
        let mut made: Vec<Change> = Vec::new();
        let mut hang: Vec<(Mono, u8, u16)> = Vec::new();
        let mut lift = clock::mono();
        while lift < until || !hang.is_empty() {
            let next = hang.first().map_or(Mono::NEVER, |(at, ..)| *at).min(if lift < until {
                lift
            } else {
                Mono::NEVER
            });
            thread::sleep(next.since(clock::mono()));
            if hang.first().is_some_and(|(at, ..)| *at == next) {
                let (_, panel, line) = hang.remove(0);
                made.push(self.set(panel, line, HUNG)?);
                continue;
            }
            lift = lift + BETWEEN.mul_f64(random.random_range(0.5..1.5));
            let panel = self.healthy[random.random_range(0..self.healthy.len())];
            let line = random.random_range(1..=LINES);
            let rests = |change: &Change| {
                (change.panel, change.line) != (panel, line) || clock::mono().since(change.at) >= MISSED
            };
            if made.iter().all(rests) {
                let change = self.set(panel, line, LIFTED)?;
                hang.push((change.at + setting.kind.lasts(), panel, line));
                made.push(change);
            }
        }
        Ok(made)
    }

    fn set(&self, panel: u8, line: u16, raw: u16) -> anyhow::Result<Change> {
        let be = Lines::Be { line, condition: Condition::Raw(raw) };
        let at = self.building.act(&subject::panel_name(panel)?, Action::Lines(be))?;
        Ok(Change { panel, line, raw, at })
    }

    fn report(&self) -> LineReport {
        self.building.report(&self.bus).unwrap_or_default()
    }
}

/// The address of the panel that sent this.
fn unit_of(passage: &Traffic) -> Option<u8> {
    passage.panel.and_then(|number| u8::try_from(number + 1).ok())
}

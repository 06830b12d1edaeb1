//! A recording as a script: what happened at its panels, and when, so that simulated ones can do it again.
//!
//! It is taken from what the panels said, not from the bytes: another control panel asks at other moments, with other
//! numbers and in another session. What they said to a poll they say to the first poll behind the same moment; where
//! they were silent they are silent; an answer that was broken is broken again.

mod modbus;
mod osdp;

use std::{
    io::{self, BufRead, Cursor, Read},
    sync::Arc,
    time::Duration,
};

use litemap::LiteMap;

use super::{
    action::{Action, Fault, Status},
    panel::PanelSetup,
};
use crate::{
    domain::{BYTE_ORDER_MARK, Profile, order},
    wire::{
        osdp::{Scbk, reply::PdId},
        recording::pcap::{self, PcapError},
    },
};

/// What a recording tells.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Whether the panels speak Modbus.
    pub is_modbus: bool,
    /// The panels, by their addresses.
    pub panels: LiteMap<u8, Recorded>,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// When the first record was, in nanoseconds since 1970-01-01 UTC, and the last.
    pub span: (u64, u64),
    /// Records that could not be read, bytes that were no frames.
    pub unread: usize,
}

/// What is known of a panel.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// What it answered to ID.
    pub identity: Option<PdId>,
    /// How many inputs it reported.
    pub inputs: u8,
    /// How many outputs it reported.
    pub outputs: u8,
    /// Whether a secure channel was asked for.
    pub is_secure: bool,
    /// Whether one came about.
    pub has_session: bool,
    /// Whether it ever answered.
    pub is_heard: bool,
}

/// Something that happened at a panel.
#[derive(Clone, Debug)]
pub struct Step {
    /// When, in nanoseconds since 1970-01-01 UTC.
    pub nanos: u64,
    /// Its address.
    pub address: u8,
    /// What.
    pub what: What,
    /// It is how things are, and was asked for: they may have been so before.
    pub is_state: bool,
}

/// What happened at a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// This.
    Act(Action),
    /// A card or digits, of which the recording has a pseudonym.
    Redacted(Action),
    /// Something that cannot be opened or understood: what, and why not.
    Unknown(String),
}

/// Why there is no script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is a pcap file of another kind.
    #[error(transparent)]
    Pcap(#[from] PcapError),
    /// Nothing in it is a frame.
    #[error("no frame is in it")]
    Empty,
}

impl Script {
    /// Reads a recording; its first bytes say of which kind it is. `key`: of the panels in it, for OSDP. `profile`:
    /// what the registers of a Modbus panel mean, by its address.
    ///
    /// # Errors
    /// [`ScriptError`]. A recording that is cut off or damaged is read as far as it goes.
    pub fn read(
        mut input: impl BufRead,
        key: Option<Scbk>,
        profile: impl Fn(u8) -> Option<Arc<Profile>>,
    ) -> Result<Self, ScriptError> {
        let mut begin = Vec::new();
        input.by_ref().take(4).read_to_end(&mut begin)?;
        let is_pcap = begin.first_chunk().is_some_and(|begin| pcap::is_pcap(*begin));
        if begin.starts_with(BYTE_ORDER_MARK) {
            begin.drain(..BYTE_ORDER_MARK.len());
        }
        let input = Cursor::new(begin).chain(input);
        let mut script = if is_pcap { modbus::script(input, profile)? } else { osdp::script(input, key) };
        if script.panels.is_empty() {
            return Err(ScriptError::Empty);
        }
        order::sort_by_key(&mut script.steps, |step| step.nanos);
        Ok(script)
    }

    /// Returns how long it is.
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_nanos(self.span.1.saturating_sub(self.span.0))
    }

    /// Returns what happened at a panel, with the time since the beginning; none: before it. `inputs`, `outputs`: how
    /// many the panel has that does it again.
    pub fn of_panel(&self, address: u8, inputs: u8, outputs: u8) -> Vec<(Option<Duration>, What)> {
        let mut known = Vec::new();
        let mut steps = Vec::new();
        if !self.panels.get(&address).is_some_and(|panel| panel.is_heard) {
            steps.push((None, What::Act(Action::Fault(Fault::Gone(true)))));
        }
        for step in self.steps.iter().filter(|step| step.address == address) {
            let what = match step.what.clone() {
                What::Act(action) => What::Act(action.for_panel(usize::from(inputs), usize::from(outputs))),
                other => other,
            };
            let since = Duration::from_nanos(step.nanos.saturating_sub(self.span.0));
            let time = match state_of(&what) {
                // How inputs and registers are at the first question, they were before.
                Some(state) if !known.contains(&state) => {
                    known.push(state);
                    (!step.is_state).then_some(since)
                }
                // What it has to say it said before.
                _ if what == What::Act(Action::Fault(Fault::Gone(true))) => Some(since + SAYS),
                _ => Some(since),
            };
            steps.push((time, what));
        }
        order::sort_by_key(&mut steps, |(time, _)| *time);
        steps
    }

    /// Makes a simulated panel like the recorded one of its address, as far as it is known.
    pub fn shape(&self, setup: &mut PanelSetup) {
        let Some(recorded) = self.panels.get(&setup.address) else { return };
        if let Some(identity) = recorded.identity {
            setup.identity = identity;
        }
        setup.inputs = setup.inputs.max(recorded.inputs);
        setup.outputs = setup.outputs.max(recorded.outputs);
    }
}

/// How long a panel that is about to go is given to be polled: it is missed only after seconds.
const SAYS: Duration = Duration::from_millis(100);

/// Which state of a panel an action is about, where it is about one.
fn state_of(what: &What) -> Option<(u8, u16)> {
    match what {
        What::Act(Action::Status(Status::Inputs(_))) => Some((0, 0)),
        What::Act(Action::Status(Status::Local { .. })) => Some((1, 0)),
        What::Act(Action::Status(Status::Reader(_))) => Some((2, 0)),
        What::Act(Action::Registers { table, address, .. }) => Some((3 + *table as u8, *address)),
        _ => None,
    }
}

impl Action {
    /// Returns it for a panel with this many inputs and outputs: the recorded one may have told of fewer.
    #[must_use]
    pub fn for_panel(self, inputs: usize, outputs: usize) -> Self {
        let padded = |mut states: Vec<u8>, length: usize| {
            states.resize(length, 0);
            states
        };
        match self {
            Self::Status(Status::Inputs(states)) => Self::Status(Status::Inputs(padded(states, inputs))),
            Self::Status(Status::Outputs(states)) => Self::Status(Status::Outputs(padded(states, outputs))),
            other => other,
        }
    }
}

/// Collects what happened.
#[derive(Debug, Default)]
struct Collector {
    script: Script,
    /// The last command: its panel, when, whether it was answered.
    asked: Option<(u8, u64)>,
    /// Whether it asked how things are.
    asked_for_state: bool,
    /// Commands in a row that a panel left without an answer, and when the first one was.
    silent: LiteMap<u8, (u32, u64)>,
}

/// This many commands in a row without an answer: the panel is not there. Fewer are answers that got lost.
const GONE: u32 = 3;

impl Collector {
    fn seen(&mut self, nanos: u64) {
        let (first, last) = self.script.span;
        self.script.span = (if first == 0 { nanos } else { first.min(nanos) }, last.max(nanos));
    }

    fn panel(&mut self, address: u8) -> &mut Recorded {
        self.script.panels.entry(address).or_default()
    }

    fn step(&mut self, nanos: u64, address: u8, what: What) {
        self.script.steps.push(Step { nanos, address, what, is_state: false });
    }

    fn state(&mut self, nanos: u64, address: u8, what: What) {
        self.script.steps.push(Step { nanos, address, what, is_state: true });
    }

    fn fault(&mut self, nanos: u64, address: u8, fault: Fault) {
        self.step(nanos, address, What::Act(Action::Fault(fault)));
    }

    /// A command was sent: the one before it is answered by now, or never.
    fn asked(&mut self, nanos: u64, address: u8) {
        self.seen(nanos);
        self.unanswered();
        self.panel(address);
        self.asked = Some((address, nanos));
    }

    fn unanswered(&mut self) {
        let Some((address, nanos)) = self.asked.take() else { return };
        let (count, since) = self.silent.get(&address).copied().unwrap_or((0, nanos));
        self.silent.insert(address, (count + 1, since));
        if count + 1 == GONE {
            self.fault(since, address, Fault::Gone(true));
        }
    }

    /// A panel answered.
    fn answered(&mut self, nanos: u64, address: u8) {
        self.seen(nanos);
        let asked = self.asked.take_if(|(asked, _)| *asked == address);
        self.panel(address).is_heard = true;
        if let Some((count, since)) = self.silent.remove(&address) {
            if count >= GONE {
                self.fault(asked.map_or(nanos, |(_, at)| at), address, Fault::Gone(false));
            } else {
                self.fault(since, address, Fault::Drop(count));
            }
        }
    }

    /// An answer was broken.
    fn broken(&mut self, nanos: u64) {
        self.seen(nanos);
        self.script.unread += 1;
        if let Some((address, asked)) = self.asked.take() {
            self.fault(asked, address, Fault::Corrupt(1));
        }
    }

    fn finish(mut self) -> Script {
        self.unanswered();
        self.script
    }
}

#[cfg(test)]
mod tests;

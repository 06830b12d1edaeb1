//! The device behind the protocol: reader, inputs, outputs, and what waits for a poll.
//!
//! Invariant: at most one queued event is under way, from the reply that carries it until the link tells that it
//! has arrived or that nobody will ever know.

use std::collections::VecDeque;

use super::{
    super::action::{Action, Card, Keys, Status},
    ActionError, PanelSetup,
    observation::{EventId, Observation},
    outputs::Outputs,
};
use crate::{
    domain::Mono,
    wire::osdp::{
        Command, NakCode, Reply,
        reply::{Capability, PdId},
    },
};

/// What a panel holds for polls; real ones hold a few dozen reads.
const QUEUE: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Device {
    identity: PdId,
    capabilities: Vec<Capability>,
    inputs: Vec<u8>,
    outputs: Outputs,
    tamper: bool,
    power_failed: bool,
    reader: u8,
    readers: u8,
    report_outputs: bool,
    queue: VecDeque<(EventId, Reply)>,
    under_way: Option<EventId>,
    last_id: u64,
    observations: VecDeque<Observation>,
}

impl Device {
    pub(super) fn new(setup: &PanelSetup) -> Self {
        Self {
            identity: setup.identity,
            capabilities: setup.capabilities(),
            inputs: vec![0; usize::from(setup.inputs)],
            outputs: Outputs::new(setup.outputs),
            tamper: false,
            power_failed: false,
            reader: 0,
            readers: setup.readers,
            report_outputs: setup.report_outputs,
            queue: VecDeque::new(),
            under_way: None,
            last_id: 0,
            observations: VecDeque::new(),
        }
    }

    pub(super) fn observe(&mut self, observation: Observation) {
        self.observations.push_back(observation);
    }

    pub(super) fn poll_observation(&mut self) -> Option<Observation> {
        self.observations.pop_front()
    }

    pub(super) fn identity(&self) -> &PdId {
        &self.identity
    }

    pub(super) fn output_states(&self) -> Vec<u8> {
        self.outputs.states()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What happens at the device itself; faults and restarts are the panel's.
    pub(super) fn act(&mut self, now: Mono, action: Action) -> Result<(), ActionError> {
        let reply = match action {
            Action::Card(card) => read(0, card),
            Action::CardAt { reader, card } if reader < self.readers => read(reader, card),
            Action::CardAt { reader, .. } => {
                let (has, number) = (u16::from(self.readers), u16::from(reader));
                return Err(ActionError::NoWire { what: "readers", has, number });
            }
            Action::TimedCard => {
                let data = now.as_nanos().to_be_bytes();
                Reply::Raw { reader: 0, format: 0, bits: 64, data: data.as_slice().into() }
            }
            Action::Keys(Keys(keys)) => {
                let digits: Vec<u8> = keys.iter().map(|&key| key_code(key)).collect();
                Reply::Keypad { reader: 0, digits: digits.into() }
            }
            Action::Manufacturer { vendor, data } => {
                let [_, oui @ ..] = vendor.to_be_bytes();
                Reply::MfgRep { oui, data: data.into() }
            }
            Action::Status(status) => self.change(status)?,
            Action::Lines(_) => return Err(ActionError::OfModbus("an analog line")),
            Action::Registers { .. } => return Err(ActionError::OfModbus("a register")),
            Action::Fault(_) | Action::Restart => return Ok(()),
        };
        self.enqueue(reply)
    }

    fn change(&mut self, status: Status) -> Result<Reply, ActionError> {
        let fits = |what, has: usize, got: usize| {
            if has == got { Ok(()) } else { Err(ActionError::Count { what, has, got }) }
        };
        Ok(match status {
            Status::Inputs(states) => {
                fits("inputs", self.inputs.len(), states.len())?;
                self.inputs.clone_from(&states);
                Reply::IStatR(states)
            }
            Status::Outputs(states) => {
                fits("outputs", self.outputs.states().len(), states.len())?;
                let before = self.outputs.states();
                self.outputs.set(&states);
                self.observe_outputs(&before);
                Reply::OStatR(states)
            }
            Status::Local { tamper, power_failed } => {
                (self.tamper, self.power_failed) = (tamper, power_failed);
                Reply::LStatR { tamper, power_failed }
            }
            Status::Reader(state) => {
                self.reader = state;
                Reply::RStatR(vec![state])
            }
        })
    }

    fn enqueue(&mut self, reply: Reply) -> Result<(), ActionError> {
        if self.queue.len() >= QUEUE {
            return Err(ActionError::QueueFull);
        }
        self.last_id += 1;
        let id = EventId(self.last_id);
        self.queue.push_back((id, reply));
        self.observe(Observation::Queued(id));
        Ok(())
    }

    /// The link knows that the last reply has arrived.
    pub(super) fn reply_arrived(&mut self) {
        if let Some(id) = self.under_way.take() {
            self.observe(Observation::Acknowledged(id));
        }
    }

    /// The link was reset: nobody will ever know whether the last reply arrived.
    pub(super) fn link_reset(&mut self) {
        if let Some(id) = self.under_way.take() {
            self.observe(Observation::Unknown(id));
        }
    }

    /// The power was gone for a moment.
    pub(super) fn restart(&mut self) {
        self.link_reset();
        for (id, _) in std::mem::take(&mut self.queue) {
            self.observe(Observation::Forgotten(id));
        }
        let before = self.outputs.states();
        self.outputs.set(&vec![0; before.len()]);
        self.observe_outputs(&before);
    }

    pub(super) fn next_timeout(&self) -> Option<Mono> {
        self.outputs.next_timeout()
    }

    pub(super) fn advance(&mut self, now: Mono) {
        if self.outputs.next_timeout().is_some_and(|at| at <= now) {
            let before = self.outputs.states();
            self.outputs.advance(now);
            self.observe_outputs(&before);
        }
    }

    /// Carries out an application command. Links, keys and handshakes are the panel's.
    pub(super) fn execute(&mut self, now: Mono, command: &Command) -> Result<Reply, NakCode> {
        match command {
            Command::Poll => return Ok(self.answer_poll()),
            Command::Id => return Ok(Reply::PdId(self.identity)),
            Command::Cap => return Ok(Reply::PdCap(self.capabilities.clone())),
            Command::Lstat => {
                return Ok(Reply::LStatR { tamper: self.tamper, power_failed: self.power_failed });
            }
            Command::Istat => return Ok(Reply::IStatR(self.inputs.clone())),
            Command::Ostat => return Ok(Reply::OStatR(self.outputs.states())),
            Command::Rstat => {
                let mut readers = vec![0; usize::from(self.readers)];
                readers.iter_mut().take(1).for_each(|first| *first = self.reader);
                return Ok(Reply::RStatR(readers));
            }
            Command::Out(records) => {
                if !records.iter().all(|record| self.outputs.has(record.output)) {
                    return Err(NakCode::Record);
                }
                let before = self.outputs.states();
                for record in records {
                    self.outputs.control(now, record);
                    self.observe(Observation::Output(*record));
                }
                self.observe_outputs(&before);
            }
            Command::Led(records) => {
                if !records.iter().all(|record| record.reader < self.readers) {
                    return Err(NakCode::Record);
                }
                records.iter().for_each(|record| self.observe(Observation::Led(*record)));
            }
            Command::Buz(control) => self.observe(Observation::Buzzer(*control)),
            Command::Text(control) => self.observe(Observation::Text(control.clone())),
            Command::AcuRxSize(_) => {}
            Command::Mfg { oui, data } => {
                self.observe(Observation::Manufacturer { oui: *oui, length: data.len() });
                return Ok(Reply::MfgRep { oui: *oui, data: data.clone() });
            }
            Command::Comset { .. }
            | Command::Keyset(_)
            | Command::Chlng(_)
            | Command::Scrypt(_)
            | Command::Other { .. } => return Err(NakCode::UnknownCommand),
        }
        Ok(Reply::Ack)
    }

    fn answer_poll(&mut self) -> Reply {
        let Some((id, reply)) = self.queue.pop_front() else { return Reply::Ack };
        self.under_way = Some(id);
        self.observe(Observation::Sent(id));
        reply
    }

    fn observe_outputs(&mut self, before: &[u8]) {
        let after = self.outputs.states();
        if before == after {
            return;
        }
        for (output, (was, is)) in (0..).zip(before.iter().zip(&after)) {
            if was != is {
                self.observations.push_back(Observation::OutputState { output, on: *is != 0 });
            }
        }
        if self.report_outputs {
            // A queue that is full already holds older states; OSTAT tells the latest.
            let _ = self.enqueue(Reply::OStatR(after));
        }
    }
}

fn read(reader: u8, Card { format, bits, data }: Card) -> Reply {
    Reply::Raw { reader, format, bits, data: data.into() }
}

/// OSDP 2.2: `#` is sent as 0D, `*` as 7F.
fn key_code(key: u8) -> u8 {
    match key {
        b'#' => 0x0D,
        b'*' => 0x7F,
        digit => digit,
    }
}

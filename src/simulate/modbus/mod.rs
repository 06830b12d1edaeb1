//! A simulated Modbus panel, sans-IO: a device that has exactly the registers of its profile, and behind them lines,
//! a reader, a lock, a door. Deterministic; its time comes from the caller.
//!
//! ```text
//!  request ─► Cell (what is this register?) ─► Handsets │ Reader │ Lock │ inputs ─► answer or exception
//! ```
//! Invariants:
//! - a request is carried out whole or not at all: where one of its registers does not exist, or cannot be written,
//!   it gets exception 02 and changes nothing;
//! - a broadcast is carried out by every device that can, and answered by none;
//! - whatever the answer suffers, the request was carried out.

mod cell;
mod handsets;
mod lock;
mod reader;
pub mod receiver;

use std::{collections::VecDeque, sync::Arc};

use litemap::LiteMap;

use self::{cell::Cell, handsets::Handsets, lock::Lock, reader::Reader, receiver::Heard};
use super::{
    action::{Action, Condition, Lines, Status},
    faults::Faults,
    panel::{ActionError, Answer, OFFLINE_AFTER, Observation},
};
use crate::{
    domain::{Mono, Profile, profile::IdentityProfile},
    wire::modbus::{self, BROADCAST, Exception, Request, Table, emit_reply},
};

/// What a panel without an expected identity says that it is.
const MODEL: &str = "SIMULATED";
/// The highest address that a panel may have.
const HIGHEST_UNIT: u8 = 247;

/// What a panel is when it is switched on.
#[derive(Clone, Debug)]
pub struct ModbusSetup {
    /// Its address, 1–247.
    pub unit: u8,
    /// What its registers mean.
    pub profile: Arc<Profile>,
    /// What it says that it is; as the profile expects by default.
    pub model: String,
}

impl ModbusSetup {
    /// A panel that is what its profile expects.
    pub fn new(unit: u8, profile: Arc<Profile>) -> Self {
        let expected = profile.identity.as_ref().and_then(|identity| identity.is.clone());
        Self { unit, model: expected.unwrap_or_else(|| MODEL.to_owned()), profile }
    }
}

/// A panel. See the module's invariants.
#[derive(Clone, Debug)]
pub struct ModbusPanel {
    unit: u8,
    profile: Arc<Profile>,
    handsets: Option<Handsets>,
    reader: Option<Reader>,
    lock: Option<Lock>,
    /// Contact and button.
    inputs: [bool; 2],
    identity: Vec<u16>,
    /// Registers that somebody gave another content, also ones that the profile does not have.
    set: LiteMap<(Table, u16), u16>,
    last_heard: Option<Mono>,
    faults: Faults,
    observations: VecDeque<Observation>,
}

impl ModbusPanel {
    /// A panel that has just been switched on: all handsets hang, the lock is closed, nobody has swiped.
    pub fn new(setup: &ModbusSetup) -> Self {
        let profile = Arc::clone(&setup.profile);
        let words = |identity: &IdentityProfile| identity_words(identity, &setup.model);
        Self {
            unit: setup.unit,
            handsets: profile.lines.as_ref().map(Handsets::new),
            reader: profile.keys.as_ref().map(Reader::new),
            lock: profile.lock.map(Lock::new),
            inputs: [false; 2],
            identity: profile.identity.as_ref().map(words).unwrap_or_default(),
            profile,
            set: LiteMap::new(),
            last_heard: None,
            faults: Faults::default(),
            observations: VecDeque::new(),
        }
    }

    /// Whether a request has come in the last 8 s, as of the last call with a time.
    pub fn is_online(&self) -> bool {
        self.last_heard.is_some()
    }

    /// Whether the lock is open.
    pub fn is_open(&self) -> bool {
        self.lock.as_ref().is_some_and(Lock::is_open)
    }

    /// How many codes wait.
    pub fn waiting(&self) -> usize {
        self.reader.as_ref().map_or(0, Reader::waiting)
    }

    /// Whether a line, from 1, is in service by its coil.
    pub fn is_enabled(&self, line: u16) -> bool {
        self.handsets.as_ref().is_some_and(|handsets| handsets.is_enabled(line))
    }

    /// The next thing that happened, oldest first. To be drained after every other call.
    pub fn poll_observation(&mut self) -> Option<Observation> {
        self.observations.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Mono> {
        let offline = self.last_heard.map(|heard| heard + OFFLINE_AFTER);
        let lock = self.lock.as_ref().and_then(Lock::next_timeout);
        [lock, offline].into_iter().flatten().min()
    }

    /// Lets timers run out that have by `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        let locked = self.lock.as_mut().and_then(|lock| lock.advance(now));
        self.observations.extend(locked);
        if self.last_heard.is_some_and(|heard| now >= heard + OFFLINE_AFTER) {
            self.last_heard = None;
            self.observations.push_back(Observation::Offline);
        }
    }

    /// Does something to the panel.
    ///
    /// # Errors
    /// The panel cannot do that; nothing has changed.
    pub fn act(&mut self, now: Mono, action: Action) -> Result<(), ActionError> {
        self.handle_timeout(now);
        let reader = self.reader.as_mut().ok_or(ActionError::Lacks("reader: its profile has no [keys]"));
        match action {
            Action::Card(card) => self.observations.push_back(reader?.present(&card)?),
            Action::CardAt { .. } => return Err(ActionError::OfOsdp("a second reader")),
            Action::TimedCard => self.observations.push_back(reader?.enqueue(now.as_nanos())?),
            Action::Lines(what) => {
                let lacks = ActionError::Lacks("lines: its profile has no [lines]");
                self.handsets.as_mut().ok_or(lacks)?.act(now, what)?;
            }
            Action::Status(Status::Inputs(states)) => self.set_inputs(&states)?,
            Action::Registers { table, address, values } => {
                for (address, value) in (address..=u16::MAX).zip(values) {
                    self.set_register(now, table, address, value);
                }
            }
            Action::Fault(fault) => self.faults.set(fault),
            Action::Restart => self.restart(),
            Action::Keys(_) => return Err(ActionError::OfOsdp("a keypad")),
            Action::Manufacturer { .. } => return Err(ActionError::OfOsdp("a vendor's message")),
            Action::Status(_) => return Err(ActionError::OfOsdp("a report of this kind")),
        }
        Ok(())
    }

    /// Takes a request whose last bit came at `now`; what it answers, if anything.
    pub fn handle_request(&mut self, now: Mono, heard: &Heard) -> Option<Answer> {
        self.handle_timeout(now);
        let broadcast = heard.unit == BROADCAST;
        if self.faults.gone || !(broadcast || heard.unit == self.unit) {
            return None;
        }
        if self.last_heard.replace(now).is_none() {
            self.observations.push_back(Observation::Online);
        }
        let result = match &heard.request {
            _ if self.faults.take_busy() => Err(Exception::ServerDeviceBusy),
            _ if self.faults.nak => Err(Exception::ServerDeviceFailure),
            Err(exception) => Err(*exception),
            Ok(Request::Read { .. }) if broadcast => return None,
            Ok(request) => self.carry_out(now, request, broadcast),
        };
        let answer = result.unwrap_or_else(|exception| {
            let function = heard.function;
            self.observations.push_back(Observation::Exception { function, exception });
            modbus::Answer::Exception(exception)
        });
        if broadcast { None } else { self.answer(heard, answer) }
    }

    fn answer(&mut self, heard: &Heard, mut answer: modbus::Answer) -> Option<Answer> {
        match &mut answer {
            modbus::Answer::Words(words) if self.faults.take_shorten() => drop(words.pop()),
            modbus::Answer::Words(words) if self.faults.take_lengthen() => words.push(0),
            // Bits come in bytes.
            modbus::Answer::Bits(bits) if self.faults.take_shorten() => {
                bits.truncate(bits.len().saturating_sub(8));
            }
            modbus::Answer::Bits(bits) if self.faults.take_lengthen() => bits.extend([false; 8]),
            _ => {}
        }
        let unit = if self.faults.take_misaddress() { self.unit % HIGHEST_UNIT + 1 } else { self.unit };
        let mut bytes = Vec::new();
        emit_reply(unit, heard.request.as_ref().map_err(|_| heard.function), &answer, &mut bytes);
        self.faults.put_on_line(bytes)
    }

    fn carry_out(
        &mut self,
        now: Mono,
        request: &Request,
        broadcast: bool,
    ) -> Result<modbus::Answer, Exception> {
        let (table, start, values): (_, _, Vec<u16>) = match request {
            Request::Read { table, start, count } => return self.read_all(now, *table, *start, *count),
            Request::WriteCoil { address, on } => (Table::Coil, *address, vec![u16::from(*on)]),
            Request::WriteRegister { address, value } => (Table::Holding, *address, vec![*value]),
            Request::WriteCoils { start, values } => {
                (Table::Coil, *start, values.iter().map(|on| u16::from(*on)).collect())
            }
            Request::WriteRegisters { start, values } => (Table::Holding, *start, values.clone()),
        };
        let all = || (start..=u16::MAX).zip(values.iter().copied());
        if !all().all(|(address, _)| self.is_writable(table, address)) {
            return Err(Exception::IllegalDataAddress);
        }
        self.observations.push_back(Observation::Written { broadcast, request: request.clone() });
        for (address, value) in all() {
            self.write(now, table, address, value);
        }
        Ok(modbus::Answer::Written)
    }

    fn read_all(
        &mut self,
        now: Mono,
        table: Table,
        start: u16,
        count: u16,
    ) -> Result<modbus::Answer, Exception> {
        // The request is sound, so they do not go beyond the last address.
        let addresses = (start..=u16::MAX).take(usize::from(count));
        let exist = |address| self.set.contains_key(&(table, address)) || self.cell(table, address).is_some();
        if !addresses.clone().all(exist) {
            return Err(Exception::IllegalDataAddress);
        }
        let values = addresses.map(|address| self.read(now, table, address));
        Ok(if table.is_bits() {
            modbus::Answer::Bits(values.map(|value| value != 0).collect())
        } else {
            modbus::Answer::Words(values.collect())
        })
    }

    fn cell(&self, table: Table, address: u16) -> Option<Cell> {
        cell::at(&self.profile, table, address)
    }

    /// What a register holds; 0 where it does not exist.
    fn read(&mut self, now: Mono, table: Table, address: u16) -> u16 {
        if let Some(value) = self.set.get(&(table, address)) {
            return *value;
        }
        let [contact, exit] = self.inputs;
        match self.cell(table, address) {
            Some(Cell::Value(line)) => {
                self.handsets.as_ref().and_then(|lines| lines.read(now, line)).unwrap_or_default()
            }
            Some(Cell::Enable(line)) => u16::from(self.is_enabled(line)),
            Some(Cell::KeyCount) => self.reader.as_ref().map_or(0, Reader::count),
            Some(Cell::KeyCode(word)) => {
                let (word, news) = self.reader.as_mut().map(|reader| reader.word(word)).unwrap_or_default();
                self.observations.extend(news);
                word
            }
            Some(Cell::LockPulse) => self.lock.as_ref().map_or(0, Lock::pulse),
            Some(Cell::LockCoil) => u16::from(self.is_open()),
            Some(Cell::Contact) => u16::from(contact),
            Some(Cell::Exit) => u16::from(exit),
            Some(Cell::Identity(word)) => self.identity.get(usize::from(word)).copied().unwrap_or_default(),
            Some(Cell::KeyNext) | None => 0,
        }
    }

    fn is_writable(&self, table: Table, address: u16) -> bool {
        let by_profile = matches!(
            self.cell(table, address),
            Some(Cell::Enable(_) | Cell::KeyNext | Cell::LockPulse | Cell::LockCoil)
        );
        by_profile || self.set.contains_key(&(table, address))
    }

    fn write(&mut self, now: Mono, table: Table, address: u16, value: u16) {
        let on = value != 0;
        match self.cell(table, address) {
            Some(Cell::Enable(line)) => {
                if let Some(handsets) = &mut self.handsets {
                    handsets.enable(line, on);
                }
            }
            Some(Cell::KeyNext) if on => {
                let taken = self.reader.as_mut().and_then(Reader::next);
                self.observations.extend(taken);
            }
            Some(Cell::LockPulse) => {
                let switched = self.lock.as_mut().and_then(|lock| lock.write_pulse(now, value));
                self.observations.extend(switched);
            }
            Some(Cell::LockCoil) => {
                let switched = self.lock.as_mut().and_then(|lock| lock.write_coil(on));
                self.observations.extend(switched);
            }
            _ => {
                if let Some(held) = self.set.get_mut(&(table, address)) {
                    *held = value;
                }
            }
        }
    }

    /// What somebody at the panel gives a register: the thing behind it where there is one that he could change.
    fn set_register(&mut self, now: Mono, table: Table, address: u16, value: u16) {
        let on = value != 0;
        match self.cell(table, address) {
            Some(Cell::Value(line)) => {
                let be = Lines::Be { line, condition: Condition::Raw(value) };
                if let Some(handsets) = &mut self.handsets {
                    // The cell says that there is such a line, and any value may be held.
                    let _ = handsets.act(now, be);
                }
            }
            Some(Cell::Contact) => self.inputs[0] = on,
            Some(Cell::Exit) => self.inputs[1] = on,
            Some(Cell::Enable(_) | Cell::LockPulse | Cell::LockCoil) => {
                self.write(now, table, address, value);
            }
            _ => {
                let value = if table.is_bits() { u16::from(on) } else { value };
                self.set.insert((table, address), value);
            }
        }
    }

    /// As many states as the profile has inputs: the contact's, then the button's.
    fn set_inputs(&mut self, states: &[u8]) -> Result<(), ActionError> {
        let door = self.profile.door.ok_or(ActionError::Lacks("inputs: its profile has no [door]"))?;
        let has = [door.contact.is_some(), door.exit.is_some()];
        let count = has.into_iter().filter(|has| *has).count();
        if states.len() != count {
            return Err(ActionError::Count { what: "inputs", has: count, got: states.len() });
        }
        if states.iter().any(|state| *state > 1) {
            return Err(ActionError::OfOsdp("an input that is neither 0 nor 1"));
        }
        let mut states = states.iter().map(|state| *state == 1);
        for (input, _) in self.inputs.iter_mut().zip(has).filter(|(_, has)| *has) {
            *input = states.next().unwrap_or_default();
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.last_heard = None;
        let locked = self.lock.as_mut().and_then(Lock::restart);
        self.observations.extend(locked);
        if let Some(reader) = &mut self.reader {
            self.observations.extend(reader.restart());
        }
        if let Some(handsets) = &mut self.handsets {
            handsets.restart();
        }
    }
}

/// An identity as its registers hold it: two characters a word, the first one in the upper byte, filled up with zeros;
/// or a number, most significant word first.
fn identity_words(identity: &IdentityProfile, model: &str) -> Vec<u16> {
    let words = usize::from(identity.words);
    if identity.text {
        let mut bytes = model.bytes().chain(std::iter::repeat(0));
        let mut byte = || u16::from(bytes.next().unwrap_or_default());
        return (0..words).map(|_| byte() << 8 | byte()).collect();
    }
    let number: u64 = model.parse().unwrap_or_default();
    let word = |from_low: usize| {
        let shift = u32::try_from(from_low * 16).unwrap_or(u32::MAX);
        number.checked_shr(shift).unwrap_or_default() as u16
    };
    (0..words).rev().map(word).collect()
}

#[cfg(test)]
mod tests;

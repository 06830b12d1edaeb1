//! A simulated OSDP panel (peripheral device), sans-IO: deterministic, cheap, its time from the caller, its
//! randomness from a seed. It is the model that the gateway is tested against, so it keeps the standard's rules:
//!
//! ```text
//!            number 0 ─────────────► link begins anew, secure channel ends
//!  command ─ last number ──────────► the last reply again, byte for byte; nothing is carried out twice
//!            last + 1 (3 → 1) ─────► the last reply has arrived; carry out, remember the reply
//!            any other ────────────► NAK 4, link and secure channel end
//! ```
//! Invariants: a reply is remembered until the next command is carried out or the link ends; BUSY and a wrong check
//! change nothing; after 8 s without a command the link and the secure channel are gone, what waits for a poll is
//! not.

mod device;
pub mod observation;
pub mod outputs;
mod secure;
mod setup;

use std::time::Duration;

use self::{device::Device, secure::Secure};
pub use self::{
    observation::{EventId, Observation},
    setup::{ChannelSetup, ComsetManner, PanelSetup},
};
use super::{action::Action, faults::Faults};
use crate::{
    domain::Mono,
    wire::osdp::{
        Check, Command, DecodeError, Frame, Header, NakCode, Reply, Scbk,
        code::command::{CAP, COMSET, ID},
        emit,
        frame::BROADCAST,
        reply::Nak,
    },
};

/// Without a command for so long a panel takes itself to be offline (OSDP 2.2, 5.7).
pub const OFFLINE_AFTER: Duration = Duration::from_secs(8);

/// A panel. See the module's invariants.
#[derive(Clone, Debug)]
pub struct SimulatedPanel {
    setup: PanelSetup,
    device: Device,
    secure: Secure,
    /// Number and bytes of the last reply, while there is a link.
    last: Option<(u8, Vec<u8>)>,
    last_heard: Option<Mono>,
    faults: Faults,
    /// The rate that it is set to; `None`: its line's.
    baud: Option<u32>,
}

/// What a panel puts on the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A frame; of OSDP, with its mark.
    pub bytes: Vec<u8>,
    /// How much longer than the usual turnaround the panel takes.
    pub delay: Duration,
}

/// Why an action cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// A state for each input or output is wanted.
    #[error("the panel has {has} {what}, not {got}: give a state for each")]
    Count {
        /// "inputs" or "outputs".
        what: &'static str,
        /// How many there are.
        has: usize,
        /// How many states were given.
        got: usize,
    },
    /// The panel holds as much as it can until somebody polls it.
    #[error("the panel's queue is full: nobody polls it, or not often enough")]
    QueueFull,
    /// Panels of this protocol know no such thing.
    #[error("{0} is of OSDP panels, and this one speaks Modbus")]
    OfOsdp(&'static str),
    /// Panels of this protocol know no such thing.
    #[error("{0} is of Modbus panels, and this one speaks OSDP")]
    OfModbus(&'static str),
    /// What a Modbus panel has is what its profile says.
    #[error("the panel has no {0}")]
    Lacks(&'static str),
    /// A line's number is too high, or 0.
    #[error("the panel has no line {line}: its lines are 1 to {has}")]
    NoLine {
        /// How many there are.
        has: u16,
        /// The number.
        line: u16,
    },
    /// A wire's or a reader's number is too high, or 0 where numbers begin with 1.
    #[error("the panel has {has} {what}, and no number {number}")]
    NoWire {
        /// "rows", "columns" or "readers".
        what: &'static str,
        /// How many there are.
        has: u16,
        /// The number.
        number: u16,
    },
    /// No raw value means that.
    #[error("no value of the panel's registers means {0}: its profile has no [lines] {1}")]
    NoValue(&'static str, &'static str),
    /// A code does not fit the registers.
    #[error("the code has more bits than the {bits} of the profile's [keys] code")]
    CodeTooLong {
        /// How many there are.
        bits: u16,
    },
}

impl SimulatedPanel {
    /// A panel that has just been switched on.
    pub fn new(setup: PanelSetup) -> Self {
        Self {
            device: Device::new(&setup),
            secure: Secure::new(&setup),
            baud: setup.baud,
            setup,
            last: None,
            last_heard: None,
            faults: Faults::default(),
        }
    }

    /// The address that it answers to, 0–126; COMSET changes it.
    pub fn address(&self) -> u8 {
        self.setup.address
    }

    /// The rate at which it listens and, but for the answer to COMSET itself, answers; `None`: its line's.
    pub fn baud(&self) -> Option<u32> {
        self.baud
    }

    /// Whether a command has come in the last 8 s, as of the last call with a time.
    pub fn is_online(&self) -> bool {
        self.last_heard.is_some()
    }

    /// Whether a secure channel is open.
    pub fn is_secured(&self) -> bool {
        self.secure.is_open()
    }

    /// The key that it holds: given at first or set by KEYSET.
    pub fn key(&self) -> Option<&Scbk> {
        self.secure.key()
    }

    /// A byte an output: 0 off, 1 on, as of the last call with a time.
    pub fn output_states(&self) -> Vec<u8> {
        self.device.output_states()
    }

    /// How many events wait for a poll, the one under way not counted.
    pub fn waiting(&self) -> usize {
        self.device.waiting()
    }

    /// The next thing that happened, oldest first. To be drained after every other call.
    pub fn poll_observation(&mut self) -> Option<Observation> {
        self.device.poll_observation()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Mono> {
        let offline = self.last_heard.map(|heard| heard + OFFLINE_AFTER);
        [self.device.next_timeout(), offline].into_iter().flatten().min()
    }

    /// Lets timers run out that have by `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.device.advance(now);
        if self.last_heard.is_some_and(|heard| now >= heard + OFFLINE_AFTER) {
            self.last_heard = None;
            self.end_link();
            self.device.observe(Observation::Offline);
        }
    }

    /// Does something to the panel.
    ///
    /// # Errors
    /// The panel cannot do that now; nothing has changed.
    pub fn act(&mut self, now: Mono, action: Action) -> Result<(), ActionError> {
        self.handle_timeout(now);
        match action {
            Action::Restart => {
                self.last_heard = None;
                self.end_link();
                self.device.restart();
                if !matches!(
                    self.setup.comset,
                    ComsetManner::Takes { keeps: true, .. } | ComsetManner::Other(_)
                ) {
                    self.baud = self.setup.baud;
                }
                Ok(())
            }
            Action::Fault(fault) if fault.is_of_registers() => Err(ActionError::OfModbus("this fault")),
            Action::Fault(fault) => {
                self.faults.set(fault);
                Ok(())
            }
            action => self.device.act(now, action),
        }
    }

    /// Takes a frame whose last bit came at `now`; what it answers, if anything.
    pub fn handle_frame(&mut self, now: Mono, frame: &Frame<'_>) -> Option<Answer> {
        self.handle_timeout(now);
        let mine = frame.address == self.setup.address || frame.address == BROADCAST;
        let understood = self.setup.only_check.is_none_or(|check| check == frame.check);
        if frame.reply || !mine || !understood || self.faults.gone {
            return None;
        }
        if self.last_heard.replace(now).is_none() {
            self.device.observe(Observation::Online);
        }
        let header = Header { reply: true, ..frame.header() };
        if self.faults.take_busy() {
            let plain = Header { sequence: 0, ..header };
            return self.put_on_line(plain_frame(&plain, None, &Reply::Busy));
        }
        match self.last.as_ref() {
            _ if frame.sequence == 0 => self.end_link(),
            Some((last, reply)) if *last == frame.sequence => {
                let again = reply.clone();
                return self.put_on_line(again);
            }
            Some((last, _)) if frame.sequence == following(*last) => self.device.reply_arrived(),
            _ => {
                self.end_link();
                let refusal = self.refusal(&header, frame.code, NakCode::Sequence);
                return self.put_on_line(refusal);
            }
        }
        let before = self.baud;
        let reply = self.carry_out(now, frame, &header);
        self.last = Some((frame.sequence, reply.clone()));
        if self.baud != before && matches!(self.setup.comset, ComsetManner::Takes { ends_link: true, .. }) {
            self.end_link();
        }
        self.put_on_line(reply)
    }

    /// Takes the bytes of a frame whose check is wrong: NAK 1 where the panel is set up to say so.
    pub fn handle_broken(&mut self, now: Mono, raw: &[u8]) -> Option<Answer> {
        self.handle_timeout(now);
        let &[_, address, _, _, control, ..] = raw else { return None };
        if !self.setup.nak_bad_check || address != self.setup.address || self.faults.gone {
            return None;
        }
        let check = if control & 4 != 0 { Check::Crc } else { Check::Checksum };
        let header = Header { address, reply: true, sequence: control & 3, check };
        self.put_on_line(plain_frame(&header, None, &nak(NakCode::Check)))
    }

    fn end_link(&mut self) {
        self.last = None;
        self.device.link_reset();
        self.end_session();
    }

    fn end_session(&mut self) {
        if self.secure.close() {
            self.device.observe(Observation::Unsecured);
        }
    }

    /// The reply to a new command, sealed where a secure channel is open.
    fn carry_out(&mut self, now: Mono, frame: &Frame<'_>, header: &Header) -> Vec<u8> {
        match frame.security {
            Some(block) if matches!(block.kind, 0x11 | 0x13) => self.shake_hands(frame, header),
            Some(block) if matches!(block.kind, 0x15 | 0x17) => match self.secure.open(frame) {
                Ok(data) => {
                    let reply = self.obey(now, frame.code, &data, true);
                    let sealed = self.secure.seal(header, &reply, self.faults.unencrypted);
                    if sealed.is_none() {
                        self.end_session();
                    }
                    sealed.unwrap_or_else(|| plain_frame(header, None, &nak(NakCode::Record)))
                }
                Err(reason) => self.break_off(header, frame.code, reason),
            },
            Some(_) => self.break_off(header, frame.code, NakCode::SecurityUnsupported),
            None if self.secure.is_open() => self.break_off(header, frame.code, NakCode::EncryptionRequired),
            None if self.setup.enforce && !self.may_be_in_clear(frame.code) => {
                self.refusal(header, frame.code, NakCode::EncryptionRequired)
            }
            None => {
                let reply = self.obey(now, frame.code, frame.data, false);
                plain_frame(header, None, &reply)
            }
        }
    }

    fn may_be_in_clear(&self, code: u8) -> bool {
        matches!(code, ID | CAP) || (code == COMSET && self.setup.comset_in_clear)
    }

    fn shake_hands(&mut self, frame: &Frame<'_>, header: &Header) -> Vec<u8> {
        if self.secure.is_open() {
            self.end_session();
        }
        let cuid = setup::client_id(self.device.identity());
        match self.secure.shake_hands(frame, cuid) {
            Ok(step) => {
                step.observation.into_iter().for_each(|what| self.device.observe(what));
                plain_frame(header, Some((step.kind, &[step.flag])), &step.reply)
            }
            Err(reason) => self.refusal(header, frame.code, reason),
        }
    }

    fn obey(&mut self, now: Mono, code: u8, data: &[u8], secured: bool) -> Reply {
        let result = match Command::decode(code, data) {
            Err(DecodeError::Length { .. }) => Err(NakCode::Length),
            Err(DecodeError::Value { .. } | DecodeError::Text) => Err(NakCode::Record),
            Ok(command)
                if self.faults.nak && !matches!(command, Command::Poll | Command::Id | Command::Cap) =>
            {
                Err(self.setup.nak)
            }
            Ok(Command::Keyset(_)) if !secured => Err(NakCode::EncryptionRequired),
            Ok(Command::Keyset(key)) => {
                self.secure.set_key(key);
                self.device.observe(Observation::KeySet);
                Ok(Reply::Ack)
            }
            Ok(Command::Comset { .. }) if self.setup.comset == ComsetManner::Refuses => {
                Err(NakCode::UnknownCommand)
            }
            Ok(Command::Comset { address, baud }) => {
                self.setup.address = address;
                self.device.observe(Observation::Comset { address, baud });
                let (says, takes) = match self.setup.comset {
                    ComsetManner::Other(other) => (other, Some(other)),
                    ComsetManner::Stays => (baud, self.baud),
                    ComsetManner::Takes { .. } | ComsetManner::Refuses => (baud, Some(baud)),
                };
                self.baud = takes;
                Ok(Reply::Com { address, baud: says })
            }
            Ok(command) => self.device.execute(now, &command),
        };
        result.unwrap_or_else(|reason| {
            self.device.observe(Observation::Refused { command: code, reason: reason.byte() });
            nak(reason)
        })
    }

    /// Refuses in plaintext and ends the secure channel, not the link.
    fn break_off(&mut self, header: &Header, command: u8, reason: NakCode) -> Vec<u8> {
        self.end_session();
        self.refusal(header, command, reason)
    }

    fn refusal(&mut self, header: &Header, command: u8, reason: NakCode) -> Vec<u8> {
        self.device.observe(Observation::Refused { command, reason: reason.byte() });
        plain_frame(header, None, &nak(reason))
    }

    fn put_on_line(&mut self, bytes: Vec<u8>) -> Option<Answer> {
        self.faults.put_on_line(bytes)
    }
}

/// The number after `sequence`: 0 opens a link, then 1 → 2 → 3 → 1.
const fn following(sequence: u8) -> u8 {
    sequence % 3 + 1
}

fn nak(reason: NakCode) -> Reply {
    Reply::Nak(Nak { reason, details: Vec::new() })
}

/// Mark and frame; empty where the reply is too long for a frame, which no reply of this panel is.
fn plain_frame(header: &Header, security: Option<(u8, &[u8])>, reply: &Reply) -> Vec<u8> {
    let (mut data, mut bytes) = (Vec::new(), Vec::new());
    reply.encode_data(&mut data);
    match emit(header, security, reply.code(), &data, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;

//! What a panel's answer means.

use std::time::Duration;

use super::{
    Panel, STRETCH_SHARE,
    doubt::Denial,
    keys::Keys,
    plan::{Class, table},
    stale_after,
    turn::{InFlight, Job},
};
use crate::{
    domain::{
        Mono, Trouble,
        event::InputState,
        profile::{DoorProfile, IdentityProfile, KeysProfile, Register},
    },
    panel::{Event, Failure, Heard},
    wire::{
        Sensitive,
        modbus::{Answer, Exception, Parsed, Request, Table, parse_reply},
    },
};

/// How long a panel that says it is busy is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// RAW's format for whole bytes that are the code itself, and for what may carry parity (contract §5).
const UID: u8 = 2;
const RAW: u8 = 0;

impl Panel {
    /// See [`crate::panel::Driver::hear`].
    pub fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        if buffer.is_empty() {
            return Heard::Waiting;
        }
        let Some(in_flight) = &mut self.in_flight else { return Heard::Noise(buffer.len()) };
        let twins = answers_like_itself(&in_flight.request);
        let is_answer = twins && self.echo == Some(false);
        let may_be_echo = !(in_flight.echoed || is_answer);
        let own = may_be_echo.then_some(in_flight.bytes.as_slice());
        match parse_reply(self.unit, &in_flight.request, own, buffer) {
            Parsed::Incomplete => Heard::Waiting,
            Parsed::Noise(length) => Heard::Noise(length),
            Parsed::Foreign(length) => Heard::Wrong(length),
            Parsed::Broken(length) => Heard::Broken(length),
            Parsed::Echo(length) => {
                in_flight.echoed = true;
                if !twins {
                    self.echo = Some(true);
                    self.echo_unsure = false;
                }
                Heard::Own(length)
            }
            Parsed::Answer(answer, length) => {
                // A second copy of a write tells that the first one was an echo.
                if !twins || in_flight.echoed {
                    self.echo = Some(in_flight.echoed);
                    self.echo_unsure = false;
                }
                if let Some(in_flight) = self.in_flight.take() {
                    self.answered(now, in_flight, &answer);
                }
                Heard::Done(length)
            }
        }
    }

    fn answered(&mut self, now: Mono, in_flight: InFlight, answer: &Answer) {
        self.turn_over(now, &in_flight);
        self.answers = self.answers.saturating_add(1);
        let InFlight { job, request, .. } = in_flight;
        let certain = self.suspects.answered(now, &request, answer);
        self.alive(now);
        if !certain {
            // It may be the answer to what was given up before: it says that the panel lives, and nothing else.
            if job == Job::Next
                && let Some(keys) = &mut self.keys
            {
                keys.lost();
            }
            return;
        }
        match answer {
            Answer::Exception(Exception::ServerDeviceBusy | Exception::Acknowledge) => {
                self.not_before = now + BUSY_PAUSE;
            }
            Answer::Exception(exception) => self.refused(now, job, &request, *exception),
            Answer::Written => self.written(now, job, &request),
            Answer::Words(words) => self.read(now, job, &request, words),
            Answer::Bits(bits) => {
                let bits: Vec<u16> = bits.iter().map(|bit| u16::from(*bit)).collect();
                self.read(now, job, &request, &bits);
            }
        }
        self.tell_trouble();
    }

    fn written(&mut self, now: Mono, job: Job, request: &Request) {
        match job {
            Job::Lock(work) => {
                for token in self.lock.done(now, work) {
                    self.done(token, Ok(()));
                }
            }
            Job::Next => {
                self.next_doubt.answered();
                if let Some(keys) = &mut self.keys {
                    keys.taken();
                }
            }
            Job::Enable => self.enables.written(now, request, true),
            Job::Identity
            | Job::Code
            | Job::Block(_)
            | Job::Whole(_)
            | Job::Again
            | Job::Measure(_)
            | Job::Sound => {}
        }
    }

    fn refused(&mut self, now: Mono, job: Job, request: &Request, exception: Exception) {
        let unknown_function = exception == Exception::IllegalFunction;
        let no_such_register = matches!(
            exception,
            Exception::IllegalFunction | Exception::IllegalDataAddress | Exception::IllegalDataValue
        );
        match job {
            Job::Lock(_) if unknown_function && self.lock.other_function() => {}
            Job::Lock(work) => {
                for token in self.lock.refused(now, work, no_such_register) {
                    self.done(token, Err(Failure::Refused));
                }
            }
            Job::Enable if unknown_function && self.enables.other_function() => {}
            Job::Enable => self.enables.written(now, request, false),
            Job::Again => {
                let (start, count) = request.span();
                let count = u16::try_from(count).unwrap_or(u16::MAX);
                if let Some((first, _)) = self.lines_at(start, count) {
                    self.again.retain(|line, _| !(first..first.saturating_add(count)).contains(line));
                }
            }
            Job::Measure(token) => {
                self.measurements.retain(|measurement| measurement.token != token);
                self.done(token, Err(Failure::Refused));
            }
            Job::Next if !no_such_register => {
                if let Some(keys) = &mut self.keys {
                    keys.refused(now, now);
                }
            }
            Job::Block(number) if !no_such_register => {
                // It cannot just now (exception 04): the others go on meanwhile.
                if let Some(block) = self.blocks.get_mut(number) {
                    block.due = now + block.period;
                }
            }
            job => self.denied(now, job, request, Denial::Refused),
        }
    }

    /// Registers were read: everybody whose register is among them gets it.
    fn read(&mut self, now: Mono, job: Job, request: &Request, values: &[u16]) {
        let Request::Read { table, start, count } = *request else { return };
        match job {
            Job::Block(number) => self.block_read(now, number, count),
            Job::Whole(number) => {
                if let Some(number) = self.blocks.merged(now, number) {
                    self.block_read(now, number, count);
                }
            }
            Job::Identity => {
                if let Some(identity) = &self.profile.identity {
                    self.identified(identity_text(identity, values));
                }
            }
            Job::Code => drop(self.code_doubt.answered()),
            _ => {}
        }
        self.unheard.retain(|unheard| unheard != request);
        let at = |register: Register, words: u16| {
            let offset = register.address.checked_sub(start).map(usize::from)?;
            let end = offset.checked_add(usize::from(words))?;
            values.get(offset..end).filter(|_| self::table(register.kind) == table)
        };
        if let Some(keys) = self.profile.keys.clone() {
            let code = at(keys.code, keys.words).map(<[u16]>::to_vec);
            let told = match (at(keys.count, 1), code, &mut self.keys) {
                (Some(&[waiting]), code, Some(queue)) => queue.looked(now, waiting, code),
                (_, Some(code), Some(queue)) if job == Job::Code => queue.read(code),
                _ => None,
            };
            if self.keys.as_mut().is_some_and(Keys::take_worked) {
                self.next_doubt.answered();
            }
            if let Some(told) = told {
                self.events.push_back(credential(&keys, &told.code, told.stale));
            }
        }
        if let Some(door) = self.profile.door {
            let state = |register: Option<Register>| {
                let value = at(register?, 1)?.first()?;
                Some(if *value == 0 { InputState::Inactive } else { InputState::Active })
            };
            let found = [(DoorProfile::CONTACT, state(door.contact)), (DoorProfile::EXIT, state(door.exit))];
            self.inputs_read(now, door.period, found);
        }
        if table == Table::Coil {
            self.enables.found(start, values);
        }
        let of_lines = self.profile.lines.as_ref().map(|lines| lines.value.kind);
        if of_lines.is_some_and(|kind| self::table(kind) == table) {
            self.lines_read(now, start, values);
        }
        if let Job::Measure(token) = job {
            self.measurements.retain(|measurement| measurement.token != token);
            self.done(token, Ok(()));
        }
    }

    fn block_read(&mut self, now: Mono, number: usize, count: u16) {
        let Some(block) = self.blocks.get_mut(number) else { return };
        let is_whole = count == block.count;
        let before = std::mem::replace(&mut block.last, now);
        let next = block.due + block.period;
        block.due = if count != block.count {
            // A shortened reading is made good at once.
            now
        } else if next > now {
            next
        } else {
            // What was missed is not made good by a burst.
            now + block.period
        };
        if block.class == Class::Slow {
            let period = block.period.as_secs_f64();
            let stretch = (now.since(before).as_secs_f64() / period).max(1.0);
            self.stretch += (stretch - self.stretch) / STRETCH_SHARE;
        }
        if is_whole {
            self.blocks.given(now, number);
        }
    }

    fn inputs_read(&mut self, now: Mono, period: Duration, found: [(u8, Option<InputState>); 2]) {
        let (mut any, mut stale) = (false, false);
        for (input, state) in found {
            let input = usize::from(input);
            if let (Some(state), Some(known), Some(looked)) =
                (state, self.inputs.get_mut(input), self.looked.get_mut(input))
            {
                *known = state;
                // It may have changed long ago.
                let before = looked.replace(now);
                stale |= before.is_none_or(|before| now.since(before) >= stale_after(period));
                any = true;
            }
        }
        let Some(door) = self.profile.door else { return };
        let is_known = |input: u8, register: Option<Register>| {
            let is_missing = |register| self.blocks.missing().any(|(block, _)| block.covers(register));
            self.inputs.get(usize::from(input)) != Some(&InputState::Unknown)
                || register.is_none_or(is_missing)
        };
        let all = is_known(DoorProfile::CONTACT, door.contact) && is_known(DoorProfile::EXIT, door.exit);
        if any && all {
            self.events.push_back(Event::Inputs { states: self.inputs.to_vec(), stale });
        }
    }

    fn lines_read(&mut self, now: Mono, start: u16, values: &[u16]) {
        let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
        let Some((first, offset)) = self.lines_at(start, count) else { return };
        let raws = values.get(usize::from(offset)..).unwrap_or_default();
        let last = first.saturating_add(count.saturating_sub(1));
        let from = self.lines.partition_point(|line| *line < first);
        // Other registers of the table may be read with a line's shape; they are no lines.
        let any = self.lines.get(from).is_some_and(|line| *line <= last);
        if any && !raws.is_empty() {
            self.again.retain(|line, at| *at > now || !(first..=last).contains(line));
            self.events.push_back(Event::Lines { first, raws: raws.to_vec() });
        }
    }

    fn identified(&mut self, found: String) {
        self.identity_wanted = false;
        self.identity_doubt.answered();
        let expected = self.profile.identity.as_ref().and_then(|identity| identity.is.clone());
        let other = expected.clone().filter(|expected| *expected != found);
        self.other_model = other.map(|expected| Trouble::OtherModel { found: found.clone(), expected });
        // The model does not stand for all that is wrong with the panel: the rest is told anew.
        self.told = None;
        self.events.push_back(Event::Model { found, expected });
    }
}

/// Whether its answer may be the same bytes as the request: functions 05 and 06, and a read of 17 to 24 bits at an
/// address that begins with 03.
fn answers_like_itself(request: &Request) -> bool {
    match request {
        Request::WriteCoil { .. } | Request::WriteRegister { .. } => true,
        Request::Read { table, start, count } => {
            table.is_bits() && (17..=24).contains(count) && start.to_be_bytes().first() == Some(&3)
        }
        Request::WriteCoils { .. } | Request::WriteRegisters { .. } => false,
    }
}

/// A code in its registers → bits, left-justified, most significant first.
fn credential(keys: &KeysProfile, words: &[u16], stale: bool) -> Event {
    let append = |number: u64, word: &u16| number << 16 | u64::from(*word);
    let number = if keys.little { words.iter().rev().fold(0, append) } else { words.iter().fold(0, append) };
    let unused = 64_u16.saturating_sub(keys.bits);
    let justified = number.checked_shl(u32::from(unused)).unwrap_or_default().to_be_bytes();
    let bytes = usize::from(keys.bits.div_ceil(8));
    let format = if keys.bits.is_multiple_of(8) { UID } else { RAW };
    Event::Credential {
        reader: 0,
        format: Some(format),
        bits: keys.bits,
        data: Sensitive(justified.get(..bytes).unwrap_or_default().to_vec()),
        stale,
    }
}

/// Returns what a device says that it is, by the registers of a profile.
pub fn identity_text(identity: &IdentityProfile, values: &[u16]) -> String {
    if !identity.text {
        let number = values.iter().take(4).fold(0_u64, |number, word| number << 16 | u64::from(*word));
        return number.to_string();
    }
    let bytes: Vec<u8> = values.iter().flat_map(|word| word.to_be_bytes()).collect();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_matches(|c: char| c == '\0' || c.is_whitespace())
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::domain::profile::RegisterKind;

    fn bytes(bits: u16, little: bool, words: &[u16]) -> Vec<u8> {
        let register = Register { kind: RegisterKind::Input, address: 0 };
        let keys = KeysProfile {
            count: register,
            code: register,
            words: 4,
            bits,
            little,
            next: register,
            period: BUSY_PAUSE,
        };
        match credential(&keys, words, false) {
            Event::Credential { data, .. } => data.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn codes_are_right_aligned_in_their_words_and_left_justified_in_their_bytes() {
        let words = [0x0000, 0x0000, 0x3042, 0xcaac];
        assert_eq!(bytes(56, false, &words), [0, 0, 0, 0x30, 0x42, 0xca, 0xac]);
        assert_eq!(bytes(32, false, &words), [0x30, 0x42, 0xca, 0xac]);
        assert_eq!(bytes(32, true, &[0xcaac, 0x3042]), [0x30, 0x42, 0xca, 0xac]);
        assert_eq!(bytes(26, false, &[0x02ab, 0xcdef]), [0xaa, 0xf3, 0x7b, 0xc0]);
    }
}

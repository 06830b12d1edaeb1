//! A Modbus device behind `bus::core::Core`, which answers from its registers, and the line between them.

use std::{collections::BTreeMap, time::Duration};

use intercom_gateway::{
    access::{Directory, Now},
    bus::{
        Timing,
        core::{Core, Moment},
    },
    domain::Mono,
    wire::modbus::{Answer, ParsedRequest, Request, Table, emit_reply, parse_request},
};

pub const UNIT: u8 = 12;
pub const BAUD: u32 = 19_200;
const TURNAROUND: Duration = Duration::from_millis(5);
/// Where the shipped profiles have the name of the model.
const MODEL: u16 = 500;

/// What the device has; what it does not name is 0.
#[derive(Default)]
pub struct Registers {
    pub values: BTreeMap<(Table, u16), u16>,
    pub is_dead: bool,
}

impl Registers {
    /// Registers with the name of the model.
    pub fn of_model(name: &str) -> Self {
        let mut registers = Self::default();
        registers.write(Table::Holding, MODEL, name.as_bytes());
        registers
    }

    /// Writes bytes, two a register.
    pub fn write(&mut self, table: Table, address: u16, bytes: &[u8]) {
        for (address, pair) in (address..).zip(bytes.chunks(2)) {
            self.values.insert((table, address), u16::from_be_bytes([pair[0], pair[1]]));
        }
    }

    pub fn read(&self, table: Table, start: u16, count: u16) -> Answer {
        let read = |address| self.values.get(&(table, address)).copied().unwrap_or(0);
        let words = (start..start + count).map(read);
        if table.is_bits() {
            Answer::Bits(words.map(|word| word != 0).collect())
        } else {
            Answer::Words(words.collect())
        }
    }
}

/// A device, by what it does with a request.
pub trait Device {
    fn registers(&self) -> &Registers;

    fn carry_out(&mut self, request: &Request) -> Answer;

    fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let ParsedRequest::Frame { unit, request, function, .. } = parse_request(frame) else {
            panic!("the gateway sent {frame:02x?}");
        };
        if self.registers().is_dead || unit != UNIT {
            return None;
        }
        let answer = match &request {
            Ok(request) => self.carry_out(request),
            Err(exception) => Answer::Exception(*exception),
        };
        let mut reply = Vec::new();
        emit_reply(unit, request.as_ref().map_err(|_| function), &answer, &mut reply);
        Some(reply)
    }
}

pub fn moment(now: Mono, directory: &Directory) -> Moment<'_> {
    let wall = 1_800_000_000_000_000_000 + i128::from(now.as_nanos());
    Moment { mono: now, wall: jiff::Timestamp::from_nanosecond(wall).unwrap(), now: Now::Unknown, directory }
}

/// Gives the core what is next until `end`: an exchange, or time. Returns when it is then.
pub fn step(
    core: &mut Core,
    (now, end): (Mono, Mono),
    timing: &Timing,
    directory: &Directory,
    device: &mut impl Device,
) -> Mono {
    let mut frame = Vec::new();
    if core.poll_transmit(now, &mut frame)
        && let Some(answer) = device.answer(&frame)
    {
        let characters = u32::try_from(frame.len() + answer.len()).unwrap();
        let now = now + timing.character * characters + TURNAROUND;
        core.receive(&moment(now, directory), &answer);
        return now;
    }
    // The next turn may be due this very moment.
    let now = core.next_time().max(now + Duration::from_micros(1)).min(end);
    core.advance(&moment(now, directory));
    now
}

//! Modbus in a pcap file.

use std::io::{Read, Write};

use anyhow::Context as _;
use serde::Serialize;

use super::{Row, Sink};
use crate::wire::{
    modbus::{Answer, Exception, ParsedRequest, Request, Table, parse_request},
    osdp::{
        capture::Io,
        decoder::{Direction, Verdict},
    },
    recording::{
        Answered, Found, ModbusFrames, Piece,
        pcap::{Event, Packets, REDACTED},
    },
};

/// One frame; serialises as contract §1 has it. Modbus has neither numbers nor MACs.
#[derive(Serialize)]
struct Record {
    n: u64,
    direction: Direction,
    address: u8,
    sequence: Option<u8>,
    name: String,
    check: Verdict,
    mac: Option<Verdict>,
    data: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
}

/// Of the functions' names.
const LONGEST_NAME: usize = 24;

/// Where bytes come from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    packet: usize,
    redacted: bool,
}

/// Prints the frames of a pcap file, and what of it is none.
pub(super) fn print<W: Write>(input: impl Read, name: &str, sink: &mut Sink<'_, W>) -> anyhow::Result<()> {
    let packets = Packets::new(input).with_context(|| format!("{name} cannot be decoded"))?;
    let mut printer = Printer { frames: ModbusFrames::default(), n: 0, sink };
    printer.sink.head(LONGEST_NAME)?;
    for (number, packet) in packets {
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => {
                printer.sink.trouble("packet", number, &error.to_string())?;
                continue;
            }
        };
        let io = match (packet.event, packet.data.is_empty()) {
            (Event::Sent, false) => Io::Out,
            (Event::Received | Event::Other(_), false) => Io::In,
            (event, _) => {
                if let Some(note) = note(event, packet.footer) {
                    printer.sink.note("packet", number, &note)?;
                }
                continue;
            }
        };
        let origin = Origin { packet: number, redacted: packet.footer == REDACTED };
        let found = printer.frames.push(&origin, io, &packet.data);
        printer.print(found)?;
    }
    let rest = printer.frames.finish();
    printer.print(rest)
}

/// What an event without bytes says.
fn note(event: Event, footer: u16) -> Option<String> {
    match event {
        Event::Lost => Some(format!("dropped {footer} frames")),
        Event::Unchanged if footer > 0 => Some(format!("{footer} exchanges as before, only counted")),
        Event::LeftOut => Some(format!("{footer} bytes that are no frame, left out")),
        Event::Other(event) => Some(format!("event {event} of the line")),
        Event::Sent | Event::Received | Event::Unchanged => None,
    }
}

struct Printer<'a, 'b, W> {
    frames: ModbusFrames<Origin>,
    n: u64,
    sink: &'a mut Sink<'b, W>,
}

impl<W: Write> Printer<'_, '_, W> {
    fn print(&mut self, found: Vec<(Found<Origin>, Answered)>) -> anyhow::Result<()> {
        for (found, answered) in found {
            let place = found.at.packet;
            match found.piece {
                Piece::Frame | Piece::Broken(_) => self.frame(&found, &answered)?,
                Piece::Noise => {
                    let what = format!("{} bytes that are no frame", found.bytes.len());
                    self.sink.trouble("packet", place, &what)?;
                }
                Piece::Unfinished { missing } => {
                    let bytes = found.bytes.len();
                    let what = format!("a frame ends after {bytes} bytes, at least {missing} are missing");
                    self.sink.trouble("packet", place, &what)?;
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, found: &Found<Origin>, answered: &Answered) -> anyhow::Result<()> {
        self.n += 1;
        let is_command = found.io == Io::Out || *answered == Answered::Echo;
        let &[address, function, ref rest @ ..] = found.bytes.as_slice() else { return Ok(()) };
        let data = rest.get(..rest.len().saturating_sub(2)).unwrap_or_default();
        let record = Record {
            n: self.n,
            direction: if is_command { Direction::Command } else { Direction::Reply },
            address,
            sequence: None,
            name: function_name(function),
            check: if found.piece == Piece::Frame { Verdict::Ok } else { Verdict::Bad },
            mac: None,
            data: hex::encode(data),
            redacted: found.at.redacted,
        };
        let words = match answered {
            _ if found.piece != Piece::Frame => "the check is wrong".to_owned(),
            Answered::Answer(request, answer) => answer_in_words(request, answer),
            Answered::Echo => format!("{}  (echo)", command_in_words(&found.bytes)),
            Answered::Other if is_command => command_in_words(&found.bytes),
            Answered::Other if function & 0x80 != 0 => {
                Exception::from_code(data.first().copied().unwrap_or_default()).to_string()
            }
            Answered::Other => record.data.clone(),
        };
        let row = Row {
            n: record.n,
            direction: if is_command { "command" } else { "reply" },
            address,
            sequence: None,
            name: &record.name,
            check: record.check,
            mac: None,
            details: vec![words, if record.redacted { "(redacted)".to_owned() } else { String::new() }],
        };
        Ok(self.sink.frame(&row, &record)?)
    }
}

/// The standard's name of a function.
fn function_name(function: u8) -> String {
    let name = match function {
        0x01 => "READ_COILS",
        0x02 => "READ_DISCRETE_INPUTS",
        0x03 => "READ_HOLDING_REGISTERS",
        0x04 => "READ_INPUT_REGISTERS",
        0x05 => "WRITE_SINGLE_COIL",
        0x06 => "WRITE_SINGLE_REGISTER",
        0x0f => "WRITE_MULTIPLE_COILS",
        0x10 => "WRITE_MULTIPLE_REGISTERS",
        0x11 => "REPORT_SERVER_ID",
        0x2b => "READ_DEVICE_ID",
        _ if function & 0x80 != 0 => "EXCEPTION",
        _ => return format!("{function:#04x}"),
    };
    name.to_owned()
}

fn command_in_words(frame: &[u8]) -> String {
    match parse_request(frame) {
        ParsedRequest::Frame { request: Ok(request), .. } => match request {
            Request::Read { table, start, count } => {
                format!("{} {}", table_in_words(table), span(start, usize::from(count)))
            }
            Request::WriteCoil { address, on } => format!("coil {address} {}", if on { "on" } else { "off" }),
            Request::WriteRegister { address, value } => format!("holding {address} = {value}"),
            Request::WriteCoils { start, values } => {
                format!("coil {} = {}", span(start, values.len()), bits(&values))
            }
            Request::WriteRegisters { start, values } => {
                format!("holding {} = {}", span(start, values.len()), words(&values))
            }
        },
        _ => hex::encode(frame.get(2..frame.len().saturating_sub(2)).unwrap_or_default()),
    }
}

fn answer_in_words(request: &Request, answer: &Answer) -> String {
    let (start, count) = request.span();
    match (answer, request) {
        (Answer::Bits(values), Request::Read { table, .. }) => {
            format!("{} {} = {}", table_in_words(*table), span(start, count), bits(values))
        }
        (Answer::Words(values), Request::Read { table, .. }) => {
            format!("{} {} = {}", table_in_words(*table), span(start, count), words(values))
        }
        (Answer::Exception(exception), _) => exception.to_string(),
        _ => "written".to_owned(),
    }
}

const fn table_in_words(table: Table) -> &'static str {
    match table {
        Table::Coil => "coil",
        Table::Discrete => "discrete",
        Table::Holding => "holding",
        Table::Input => "input",
    }
}

fn span(start: u16, count: usize) -> String {
    match count {
        0 | 1 => start.to_string(),
        _ => format!("{start}–{}", usize::from(start) + count - 1),
    }
}

fn bits(values: &[bool]) -> String {
    values.iter().map(|on| if *on { '1' } else { '0' }).collect()
}

fn words(values: &[u16]) -> String {
    values.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
}

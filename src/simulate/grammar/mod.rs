//! The lines that `simulate` takes on its standard input: the grammar of libosdp's test panels, with panels'
//! names for addresses, and what commutators and other Modbus panels can suffer.

mod words;

use self::words::{
    address, card, condition, hex, keys, milliseconds, number, on_off, place, raw, seconds, share, state,
    states, table, vendor, wire_fault,
};
use super::action::{Action, Disturbance, Fault, Lines, Status, Wire};
use crate::domain::Name;

/// What [`parse`] understands, for a user to read.
pub const HELP: &str = "\
card PANEL HEX [BITS] [FORMAT]   a card: FORMAT 0 raw, 1 Wiegand (default), 2 UID, 3 OSS-SID
                                 (Modbus: its bits, right-aligned, wait in the reader's queue; no FORMAT)
cardts PANEL                     a card of 64 bits: CLOCK_MONOTONIC in ns
key PANEL KEYS                   keys pressed: 0-9 * #
mfg PANEL VENDOR HEX             a vendor's message, VENDOR as 0x hex or decimal
input PANEL STATE...             0 inactive 1 active 2 short 3 open 4 fault 5 unknown, one for each input
                                 (Modbus: 0 or 1, the door's contact and its button, as far as it has them)
output PANEL STATE...            0 off 1 on, one for each output
local PANEL TAMPER POWER         0 or 1 each
remote PANEL STATE               the reader: 0 ok 1 disconnected 2 tamper
line PANEL N RAW                 line N of a commutator: what its register holds
line PANEL N STATE               hung, lifted, button, short, cut, busy or unsupported, as the profile tells them
drift PANEL N FROM TO SECONDS    the register goes from one raw value to another, and stays there
row|column PANEL N FAULT on|off  a wire that lines of the matrix share: FAULT dead (cut) or short
set PANEL KIND ADDRESS VALUE...  Modbus registers from ADDRESS on; KIND coil, discrete, holding or input
nak|mute|gone PANEL on|off       refuse commands | lose all replies | neither hear nor answer
drop|corrupt|busy PANEL N        lose, or break the check of, the next N replies | answer N commands BUSY
delay PANEL MS                   reply later
late PANEL N MS                  reply later, the next N times
shorten|lengthen|misaddress PANEL N  the next N replies have a register too few | too many | another's address
restart PANEL                    the panel loses its power for a moment
echo BUS on|off                  whether who sends on the line hears himself, as with some adapters
noise BUS PERCENT                of all characters on the line, this many arrive with a wrong bit
status                           which panels are polled, which of them securely
quit";

/// One line of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Something happens to a panel.
    Do(Name, Action),
    /// Something happens to a bus.
    Disturb(Name, Disturbance),
    /// Print the state of all panels.
    Status,
    /// End.
    Quit,
}

/// Why a line is no instruction. Repeats neither card numbers nor keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// The first word is none of the commands.
    #[error("{0:?} is no command: {all}", all = commands())]
    Command(String),
    /// A word is missing or there is one too many.
    #[error("write: {0}")]
    Usage(&'static str),
    /// A word is not what belongs in its place.
    #[error("{what}: {problem}")]
    Word {
        /// Which word.
        what: &'static str,
        /// What would be right.
        problem: &'static str,
    },
    /// The panel's name is no name.
    #[error(transparent)]
    Name(#[from] crate::domain::name::InvalidName),
}

/// Reads one line; `None` where it is empty.
///
/// # Errors
/// The line is no instruction; the message says what would be one.
pub fn parse(line: &str) -> Result<Option<Instruction>, GrammarError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((&command, arguments)) = words.split_first() else { return Ok(None) };
    let usage = usage_of(command)?;
    let instruction = match (command, arguments) {
        ("status", []) => return Ok(Some(Instruction::Status)),
        ("quit", []) => return Ok(Some(Instruction::Quit)),
        ("echo", [bus, word]) => Instruction::Disturb(Name::new(bus)?, Disturbance::Echo(on_off(word)?)),
        ("noise", [bus, word]) => {
            Instruction::Disturb(Name::new(bus)?, Disturbance::Noise { per_million: share(word)? })
        }
        (_, [panel, rest @ ..]) => {
            let action = action(command, rest)?.ok_or(GrammarError::Usage(usage))?;
            Instruction::Do(Name::new(panel)?, action)
        }
        _ => return Err(GrammarError::Usage(usage)),
    };
    Ok(Some(instruction))
}

/// The line of [`HELP`] that belongs to a command.
fn usage_of(command: &str) -> Result<&'static str, GrammarError> {
    let is_named = |line: &&str| names(line).any(|name| name == command);
    HELP.lines().find(is_named).ok_or_else(|| GrammarError::Command(command.chars().take(40).collect()))
}

/// The commands that a line of [`HELP`] begins with; none where it goes on with the one before.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let first = line.split(' ').next().unwrap_or_default();
    first.split('|').filter(|name| !name.is_empty())
}

/// All commands, as a list for a sentence.
fn commands() -> String {
    let mut all: Vec<&str> = HELP.lines().flat_map(names).collect();
    all.dedup();
    let last = all.pop().unwrap_or_default();
    format!("{} or {last}", all.join(", "))
}

/// `None` where the number of words is wrong.
fn action(command: &str, words: &[&str]) -> Result<Option<Action>, GrammarError> {
    Ok(Some(match (command, words) {
        ("card", [data, rest @ ..]) if rest.len() <= 2 => Action::Card(card(data, rest)?),
        ("cardts", []) => Action::TimedCard,
        ("key", [keys]) => Action::Keys(self::keys(keys)?),
        ("mfg", [vendor, data]) => Action::Manufacturer { vendor: self::vendor(vendor)?, data: hex(data)? },
        ("input", [_, ..]) => Action::Status(Status::Inputs(states(words, 5)?)),
        ("output", [_, ..]) => Action::Status(Status::Outputs(states(words, 1)?)),
        ("local", [tamper, power]) => Action::Status(Status::Local {
            tamper: state(tamper, 1)? == 1,
            power_failed: state(power, 1)? == 1,
        }),
        ("remote", [reader]) => Action::Status(Status::Reader(state(reader, 2)?)),
        ("line", [line, word]) => {
            let line = place("N", line)?;
            Action::Lines(Lines::Be { line, condition: condition(word)? })
        }
        ("drift", [line, from, to, time]) => Action::Lines(Lines::Drift {
            line: place("N", line)?,
            from: raw(from)?,
            to: raw(to)?,
            time: seconds(time)?,
        }),
        ("row", [row, fault, on]) => {
            let wire = Wire::Row(place("N", row)?);
            Action::Lines(Lines::Wire { wire, fault: wire_fault(fault, on)? })
        }
        ("column", [column, fault, on]) => {
            let wire = Wire::Column(place("N", column)?);
            Action::Lines(Lines::Wire { wire, fault: wire_fault(fault, on)? })
        }
        ("set", [kind, address, values @ ..]) if !values.is_empty() => Action::Registers {
            table: table(kind)?,
            address: self::address(address)?,
            values: values.iter().map(|word| raw(word)).collect::<Result<_, _>>()?,
        },
        ("nak", [word]) => Action::Fault(Fault::Nak(on_off(word)?)),
        ("mute", [word]) => Action::Fault(Fault::Mute(on_off(word)?)),
        ("gone", [word]) => Action::Fault(Fault::Gone(on_off(word)?)),
        ("drop", [word]) => Action::Fault(Fault::Drop(number(word)?)),
        ("corrupt", [word]) => Action::Fault(Fault::Corrupt(number(word)?)),
        ("busy", [word]) => Action::Fault(Fault::Busy(number(word)?)),
        ("delay", [word]) => Action::Fault(Fault::Delay(milliseconds(word)?)),
        ("late", [count, ms]) => Action::Fault(Fault::Late { count: number(count)?, by: milliseconds(ms)? }),
        ("shorten", [word]) => Action::Fault(Fault::Shorten(number(word)?)),
        ("lengthen", [word]) => Action::Fault(Fault::Lengthen(number(word)?)),
        ("misaddress", [word]) => Action::Fault(Fault::Misaddress(number(word)?)),
        ("restart", []) => Action::Restart,
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests;

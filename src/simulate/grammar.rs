//! The lines that `simulate` takes on its standard input: the grammar of libosdp's test panels, with panels'
//! names for addresses.

use std::time::Duration;

use super::action::{Action, Card, Fault, Keys, Status};
use crate::domain::Name;

/// What [`parse`] understands, for a user to read.
pub const HELP: &str = "\
card PANEL HEX [BITS] [FORMAT]   a card: FORMAT 0 raw, 1 Wiegand (default), 2 UID, 3 OSS-SID
cardts PANEL                     a card of 64 bits: CLOCK_MONOTONIC in ns
key PANEL KEYS                   keys pressed: 0-9 * #
mfg PANEL VENDOR HEX             a vendor's message, VENDOR as 0x hex or decimal
input PANEL STATE...             0 inactive 1 active 2 short 3 open 4 fault 5 unknown, one for each input
output PANEL STATE...            0 off 1 on, one for each output
local PANEL TAMPER POWER         0 or 1 each
remote PANEL STATE               the reader: 0 ok 1 disconnected 2 tamper
nak|mute|gone PANEL on|off       refuse commands | lose all replies | neither hear nor answer
drop|corrupt|busy PANEL N        lose, or break the check of, the next N replies | answer N commands BUSY
delay PANEL MS                   reply later
restart PANEL                    the panel loses its power for a moment
status                           which panels are polled, which of them securely
quit";

/// One line of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Something happens to a panel.
    Do(Name, Action),
    /// Print the state of all panels.
    Status,
    /// End.
    Quit,
}

/// Why a line is no instruction. Repeats neither card numbers nor keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// The first word is none of the commands.
    #[error(
        "{0:?} is no command: card, cardts, key, mfg, input, output, local, remote, nak, mute, gone, drop, corrupt, busy, delay, restart, status or quit"
    )]
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
    /// Belongs to a kind of panel that is not simulated yet.
    #[error("{0}: not in this version")]
    NotYet(&'static str),
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
    if command == "line" {
        return Err(GrammarError::NotYet("line, for commutators"));
    }
    let names = |line: &&str| {
        let first = line.split_whitespace().next().unwrap_or_default();
        first.split('|').any(|name| name == command)
    };
    HELP.lines().find(names).ok_or_else(|| GrammarError::Command(command.chars().take(40).collect()))
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
        ("nak", [word]) => Action::Fault(Fault::Nak(on_off(word)?)),
        ("mute", [word]) => Action::Fault(Fault::Mute(on_off(word)?)),
        ("gone", [word]) => Action::Fault(Fault::Gone(on_off(word)?)),
        ("drop", [word]) => Action::Fault(Fault::Drop(number(word)?)),
        ("corrupt", [word]) => Action::Fault(Fault::Corrupt(number(word)?)),
        ("busy", [word]) => Action::Fault(Fault::Busy(number(word)?)),
        ("delay", [word]) => Action::Fault(Fault::Delay(milliseconds(word)?)),
        ("restart", []) => Action::Restart,
        _ => return Ok(None),
    }))
}

fn card(data: &str, rest: &[&str]) -> Result<Card, GrammarError> {
    let data = hex(data)?;
    let all = data.len() * 8;
    let bits = match rest.first() {
        None => all,
        Some(word) => {
            word.parse().ok().filter(|&bits: &usize| bits >= 1 && bits.div_ceil(8) == data.len()).ok_or(
                GrammarError::Word { what: "BITS", problem: "a number of bits that fills the bytes of HEX" },
            )?
        }
    };
    let format = match rest.get(1) {
        None => 1,
        Some(word) => word
            .parse()
            .ok()
            .filter(|format| *format <= 3)
            .ok_or(GrammarError::Word { what: "FORMAT", problem: "0 raw, 1 Wiegand, 2 UID or 3 OSS-SID" })?,
    };
    let bits = u16::try_from(bits).ok().filter(|_| data.len() <= 64);
    let bits = bits.ok_or(GrammarError::Word { what: "HEX", problem: "at most 64 bytes" })?;
    Ok(Card { format, bits, data })
}

fn keys(word: &str) -> Result<Keys, GrammarError> {
    if word.len() <= 64 && word.bytes().all(|key| matches!(key, b'0'..=b'9' | b'*' | b'#')) {
        return Ok(Keys(word.into()));
    }
    Err(GrammarError::Word { what: "KEYS", problem: "1 to 64 of 0-9, * and #" })
}

fn hex(word: &str) -> Result<Vec<u8>, GrammarError> {
    hex::decode(word).map_err(|_| GrammarError::Word { what: "HEX", problem: "an even number of hex digits" })
}

fn vendor(word: &str) -> Result<u32, GrammarError> {
    let number = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    };
    number
        .ok()
        .filter(|vendor| *vendor < 1 << 24)
        .ok_or(GrammarError::Word { what: "VENDOR", problem: "an OUI of 24 bits, 0x hex or decimal" })
}

fn states(words: &[&str], highest: u8) -> Result<Vec<u8>, GrammarError> {
    words.iter().map(|word| state(word, highest)).collect()
}

fn state(word: &str, highest: u8) -> Result<u8, GrammarError> {
    let problem = match highest {
        1 => "0 or 1",
        2 => "0 to 2",
        _ => "0 to 5",
    };
    word.parse().ok().filter(|state| *state <= highest).ok_or(GrammarError::Word { what: "STATE", problem })
}

fn on_off(word: &str) -> Result<bool, GrammarError> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(GrammarError::Word { what: "the last word", problem: "on or off" }),
    }
}

fn number(word: &str) -> Result<u32, GrammarError> {
    word.parse().map_err(|_| GrammarError::Word { what: "N", problem: "a number, 0 or more" })
}

fn milliseconds(word: &str) -> Result<Duration, GrammarError> {
    word.parse()
        .ok()
        .filter(|ms| (0.0..=60_000.0).contains(ms))
        .map(|ms: f64| Duration::from_secs_f64(ms / 1000.0))
        .ok_or(GrammarError::Word { what: "MS", problem: "milliseconds, 0 to 60000" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(line: &str) -> Action {
        match parse(line).unwrap().unwrap() {
            Instruction::Do(name, action) if name.as_str() == "entrance-1" => action,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_command_of_the_peer() {
        let card = |format, bits| Action::Card(Card { format, bits, data: vec![0x30, 0x42, 0xCA, 0xAC] });
        assert_eq!(done("card entrance-1 3042CAAC 32 0"), card(0, 32));
        assert_eq!(done(" card  entrance-1 3042caac\r"), card(1, 32));
        assert_eq!(done("card entrance-1 3042CAAC 26"), card(1, 26));
        assert_eq!(done("cardts entrance-1"), Action::TimedCard);
        assert_eq!(done("key entrance-1 12*#"), Action::Keys(Keys(b"12*#".to_vec())));
        let mfg = Action::Manufacturer { vendor: 0x0A_1B2C, data: vec![1, 2] };
        assert_eq!(done("mfg entrance-1 0x0a1b2c 0102"), mfg);
        assert_eq!(done("input entrance-1 0 5 1"), Action::Status(Status::Inputs(vec![0, 5, 1])));
        assert_eq!(done("output entrance-1 1 0"), Action::Status(Status::Outputs(vec![1, 0])));
        let local = Status::Local { tamper: true, power_failed: false };
        assert_eq!(done("local entrance-1 1 0"), Action::Status(local));
        assert_eq!(done("remote entrance-1 2"), Action::Status(Status::Reader(2)));
        assert_eq!(done("nak entrance-1 on"), Action::Fault(Fault::Nak(true)));
        assert_eq!(done("mute entrance-1 off"), Action::Fault(Fault::Mute(false)));
        assert_eq!(done("gone entrance-1 on"), Action::Fault(Fault::Gone(true)));
        assert_eq!(done("drop entrance-1 3"), Action::Fault(Fault::Drop(3)));
        assert_eq!(done("corrupt entrance-1 1"), Action::Fault(Fault::Corrupt(1)));
        assert_eq!(done("busy entrance-1 2"), Action::Fault(Fault::Busy(2)));
        assert_eq!(done("delay entrance-1 2.5"), Action::Fault(Fault::Delay(Duration::from_micros(2500))));
        assert_eq!(done("restart entrance-1"), Action::Restart);
        assert_eq!(parse("status"), Ok(Some(Instruction::Status)));
        assert_eq!(parse("quit"), Ok(Some(Instruction::Quit)));
        assert_eq!(parse("  "), Ok(None));
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for line in HELP.lines() {
            for command in line.split_whitespace().next().unwrap().split('|') {
                assert!(usage_of(command).is_ok(), "{command}");
            }
        }
    }

    #[test]
    fn errors_say_what_would_be_right() {
        let error = |line: &str| parse(line).unwrap_err().to_string();
        assert!(error("crad entrance-1 00").starts_with("\"crad\" is no command: card, "));
        assert!(error("card entrance-1").starts_with("write: card PANEL HEX [BITS]"));
        assert!(error("gone entrance-1").starts_with("write: nak|mute|gone PANEL on|off"));
        assert_eq!(error("gone entrance-1 yes"), "the last word: on or off");
        assert!(error("status now").starts_with("write: status "));
        assert!(error("cardts Entrance").contains("is not a name"));
        assert_eq!(error("delay entrance-1 -1"), "MS: milliseconds, 0 to 60000");
        assert_eq!(error("line risers 3 75"), "line, for commutators: not in this version");
    }

    #[test]
    fn neither_errors_nor_debug_repeat_cards_or_keys() {
        for line in ["card entrance-1 3042CAACX", "card entrance-1 3042CAAC 12", "key entrance-1 47118x"] {
            let error = parse(line).unwrap_err().to_string();
            assert!(!error.contains("3042") && !error.contains("4711"), "{error}");
        }
        for line in ["card entrance-1 3042CAAC", "key entrance-1 47118"] {
            let shown = format!("{:?}", parse(line).unwrap());
            assert!(!shown.contains("3042") && !shown.contains("48") && !shown.contains("4711"), "{shown}");
        }
    }
}

//! Single words of the grammar, and what would be right in their places.

use std::time::Duration;

use super::{
    super::action::{Card, Condition, Keys, WireFault},
    GrammarError,
};
use crate::wire::modbus::Table;

pub(super) fn card(data: &str, rest: &[&str]) -> Result<Card, GrammarError> {
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

pub(super) fn keys(word: &str) -> Result<Keys, GrammarError> {
    if word.len() <= 64 && word.bytes().all(|key| matches!(key, b'0'..=b'9' | b'*' | b'#')) {
        return Ok(Keys(word.into()));
    }
    Err(GrammarError::Word { what: "KEYS", problem: "1 to 64 of 0-9, * and #" })
}

pub(super) fn hex(word: &str) -> Result<Vec<u8>, GrammarError> {
    hex::decode(word).map_err(|_| GrammarError::Word { what: "HEX", problem: "an even number of hex digits" })
}

pub(super) fn vendor(word: &str) -> Result<u32, GrammarError> {
    let number = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    };
    number
        .ok()
        .filter(|vendor| *vendor < 1 << 24)
        .ok_or(GrammarError::Word { what: "VENDOR", problem: "an OUI of 24 bits, 0x hex or decimal" })
}

pub(super) fn states(words: &[&str], highest: u8) -> Result<Vec<u8>, GrammarError> {
    words.iter().map(|word| state(word, highest)).collect()
}

pub(super) fn state(word: &str, highest: u8) -> Result<u8, GrammarError> {
    let problem = match highest {
        1 => "0 or 1",
        2 => "0 to 2",
        _ => "0 to 5",
    };
    word.parse().ok().filter(|state| *state <= highest).ok_or(GrammarError::Word { what: "STATE", problem })
}

pub(super) fn on_off(word: &str) -> Result<bool, GrammarError> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(GrammarError::Word { what: "the last word", problem: "on or off" }),
    }
}

pub(super) fn number(word: &str) -> Result<u32, GrammarError> {
    word.parse().map_err(|_| GrammarError::Word { what: "N", problem: "a number, 0 or more" })
}

pub(super) fn milliseconds(word: &str) -> Result<Duration, GrammarError> {
    word.parse()
        .ok()
        .filter(|ms| (0.0..=60_000.0).contains(ms))
        .map(|ms: f64| Duration::from_secs_f64(ms / 1000.0))
        .ok_or(GrammarError::Word { what: "MS", problem: "milliseconds, 0 to 60000" })
}

pub(super) fn share(word: &str) -> Result<u32, GrammarError> {
    word.parse()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent: f64| (percent * 1e4).round() as u32)
        .ok_or(GrammarError::Word { what: "PERCENT", problem: "a share of the characters, 0 to 100" })
}

pub(super) fn seconds(word: &str) -> Result<Duration, GrammarError> {
    word.parse()
        .ok()
        .filter(|seconds| (0.001..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or(GrammarError::Word { what: "SECONDS", problem: "more than 0, up to a day" })
}

/// The number of a line, row or column.
pub(super) fn place(what: &'static str, word: &str) -> Result<u16, GrammarError> {
    let number = word.parse().ok().filter(|number| *number > 0);
    number.ok_or(GrammarError::Word { what, problem: "a number from 1 on" })
}

pub(super) fn raw(word: &str) -> Result<u16, GrammarError> {
    word.parse()
        .map_err(|_| GrammarError::Word { what: "RAW", problem: "what the register holds, 0 to 65535" })
}

pub(super) fn condition(word: &str) -> Result<Condition, GrammarError> {
    Ok(match word {
        "hung" => Condition::Hung,
        "lifted" => Condition::Lifted,
        "button" => Condition::Button,
        "short" => Condition::Short,
        "cut" => Condition::Cut,
        "busy" => Condition::Busy,
        "unsupported" => Condition::Unsupported,
        raw => Condition::Raw(raw.parse().map_err(|_| GrammarError::Word {
            what: "the last word",
            problem: "RAW, 0 to 65535, or hung, lifted, button, short, cut, busy, unsupported",
        })?),
    })
}

pub(super) fn wire_fault(word: &str, on: &str) -> Result<Option<WireFault>, GrammarError> {
    let fault = match word {
        "dead" => WireFault::Dead,
        "short" => WireFault::Shorted,
        _ => return Err(GrammarError::Word { what: "the word before the last", problem: "dead or short" }),
    };
    Ok(on_off(on)?.then_some(fault))
}

pub(super) fn table(word: &str) -> Result<Table, GrammarError> {
    Ok(match word {
        "coil" => Table::Coil,
        "discrete" => Table::Discrete,
        "holding" => Table::Holding,
        "input" => Table::Input,
        _ => {
            return Err(GrammarError::Word { what: "KIND", problem: "coil, discrete, holding or input" });
        }
    })
}

pub(super) fn address(word: &str) -> Result<u16, GrammarError> {
    let problem = "the register's address on the line, 0 to 65535";
    word.parse().map_err(|_| GrammarError::Word { what: "ADDRESS", problem })
}

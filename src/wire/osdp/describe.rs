//! Commands and replies in words, for people who read a capture. Keys, card data, digits and a maker's own data are
//! left out: who may see them sees them as hex.

use super::command::Command;
use super::control::{
    Blink, BuzzerControl, LedControl, OutputAction, OutputControl, PermanentLed, TemporaryLed, TextControl,
};
use super::reply::{Capability, PdId, Reply};

/// A command's data in words; empty where there is nothing to say beyond its name.
#[must_use]
pub fn command(command: &Command) -> String {
    match command {
        Command::Poll
        | Command::Id
        | Command::Cap
        | Command::Lstat
        | Command::Istat
        | Command::Ostat
        | Command::Rstat => String::new(),
        Command::Out(controls) => list(controls.iter().map(output)),
        Command::Led(controls) => list(controls.iter().map(led)),
        Command::Buz(control) => buzzer(control),
        Command::Text(TextControl { reader, mode, seconds, row, column, text }) => format!(
            "reader {reader}, {} for {seconds} s at row {row}, column {column}: {:?}",
            mode.words(),
            text.as_str()
        ),
        Command::Comset { address, baud } => format!("address {address}, {baud} baud"),
        Command::Keyset(_) => "new base key (SCBK)".into(),
        Command::Chlng(_) => "opens a secure channel".into(),
        Command::Scrypt(_) => "server cryptogram".into(),
        Command::AcuRxSize(size) => format!("control panel receives up to {size} bytes"),
        Command::Mfg { oui, .. } => format!("maker {}", hex::encode(oui)),
        Command::Other { .. } => "unknown command".into(),
    }
}

/// A reply's data in words; empty where there is nothing to say beyond its name.
#[must_use]
pub fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Ack => String::new(),
        Reply::Nak(nak) => nak.reason.to_string(),
        Reply::PdId(PdId { oui, model, version, serial, firmware: [major, minor, build] }) => format!(
            "maker {}, model {model} version {version}, serial {serial}, firmware {major}.{minor}.{build}",
            hex::encode(oui)
        ),
        Reply::PdCap(capabilities) => list(capabilities.iter().map(capability)),
        Reply::LStatR { tamper, power_failed } => format!(
            "tamper {}, power {}",
            if *tamper { "open" } else { "closed" },
            if *power_failed { "failed" } else { "good" }
        ),
        Reply::IStatR(states) => {
            numbered("input", states, &["inactive", "active", "short", "open", "fault", "unknown"])
        }
        Reply::OStatR(states) => numbered("output", states, &["off", "on"]),
        Reply::RStatR(states) => numbered("reader", states, &["normal", "not connected", "tamper"]),
        Reply::Raw { reader, format, bits, .. } => {
            let format = match format {
                0 => "raw".to_owned(),
                1 => "Wiegand".to_owned(),
                2 => "UID".to_owned(),
                3 => "OSS-SID".to_owned(),
                other => format!("format {other}"),
            };
            format!("reader {reader}, {bits} bits, {format}")
        }
        Reply::Fmt { reader, data, .. } => format!("reader {reader}, {} characters", data.len()),
        Reply::Keypad { reader, digits } => format!("reader {reader}, {} digits", digits.len()),
        Reply::Com { address, baud } => format!("address {address}, {baud} baud"),
        Reply::Ccrypt(_) => "client cryptogram".into(),
        Reply::RmacI(_) => "secure channel open".into(),
        Reply::MfgRep { oui, .. } => format!("maker {}", hex::encode(oui)),
        Reply::Busy => "ask again".into(),
        Reply::Other { .. } => "unknown reply".into(),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join("; ")
}

fn numbered(what: &str, states: &[u8], words: &[&str]) -> String {
    list(states.iter().enumerate().map(|(n, state)| match words.get(usize::from(*state)) {
        Some(word) => format!("{what} {n} {word}"),
        None => format!("{what} {n} state {state}"),
    }))
}

/// A time in units of 100 ms, in seconds.
fn tenths(time: u16) -> String {
    format!("{}.{} s", time / 10, time % 10)
}

fn output(OutputControl { output, action, timer }: &OutputControl) -> String {
    match action {
        OutputAction::TemporaryOn | OutputAction::TemporaryOff => {
            format!("output {output} {} {}", action.words(), tenths(*timer))
        }
        _ => format!("output {output} {}", action.words()),
    }
}

fn led(control: &LedControl) -> String {
    let mut text = format!("reader {} LED {}", control.reader, control.led);
    match control.temporary {
        TemporaryLed::Nop => {}
        TemporaryLed::Cancel => text.push_str(", temporary state cancelled"),
        TemporaryLed::Set => {
            text.push_str(&format!(" {} for {}", blink(&control.temporary_blink), tenths(control.timer)));
        }
    }
    match control.permanent {
        PermanentLed::Nop => {}
        PermanentLed::Set => text.push_str(&format!(", permanently {}", blink(&control.permanent_blink))),
    }
    text
}

fn blink(Blink { on, off, on_colour, off_colour }: &Blink) -> String {
    if *off == 0 || on_colour == off_colour {
        return on_colour.words().to_owned();
    }
    format!(
        "{} {} / {} {}",
        on_colour.words(),
        tenths(u16::from(*on)),
        off_colour.words(),
        tenths(u16::from(*off))
    )
}

fn buzzer(BuzzerControl { reader, tone, on, off, count }: &BuzzerControl) -> String {
    let times = if *count == 0 { "until told otherwise".to_owned() } else { format!("{count} times") };
    format!(
        "reader {reader}, tone {}, {} on, {} off, {times}",
        tone.words(),
        tenths(u16::from(*on)),
        tenths(u16::from(*off))
    )
}

/// Function codes of OSDP 2.2 annex B.
fn capability(Capability { function, level, count }: &Capability) -> String {
    let name = match function {
        1 => "contact inputs",
        2 => "outputs",
        3 => "card data",
        4 => "LEDs",
        5 => "buzzers",
        6 => "text",
        7 => "time",
        8 => "check characters",
        9 => "secure channel",
        10 => return format!("receives {} bytes", u16::from_le_bytes([*level, *count])),
        11 => return format!("largest message {} bytes", u16::from_le_bytes([*level, *count])),
        12 => "smart card",
        13 => "readers",
        14 => "biometrics",
        15 => "secure PIN entry",
        16 => return format!("OSDP version {level}"),
        other => return format!("function {other} level {level} × {count}"),
    };
    format!("{name} level {level} × {count}")
}

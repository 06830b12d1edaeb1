//! What OSDP panels said.

use std::{collections::BTreeMap, io::BufRead};

use super::{Collector, Script, What};
use crate::{
    simulate::action::{Action, Card, Fault, Keys, Status},
    wire::osdp::{
        Command, Reply, Scbk,
        capture::Lines,
        decoder::{Content, Decoder, Direction, Item, Record, Unopened},
    },
};

pub(super) fn script(input: impl BufRead, key: Option<Scbk>) -> Script {
    let mut decoder = Decoder::new(key);
    let mut collector = Collector::default();
    // When each line was that may hold the beginning of a frame.
    let mut times = BTreeMap::new();
    for (number, line) in Lines::new(input) {
        let Ok(line) = line else {
            collector.script.unread += 1;
            continue;
        };
        times
            .insert(number, line.seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(line.nanos)));
        for (number, item) in decoder.line(number, &line) {
            collector.item(times.get(&number).copied().unwrap_or_default(), item);
        }
        while times.len() > OPEN_LINES {
            times.pop_first();
        }
    }
    for (number, item) in decoder.finish() {
        collector.item(times.get(&number).copied().unwrap_or_default(), item);
    }
    collector.finish()
}

/// A frame has at most 1440 bytes, which may come one a line, with those of the other direction between them.
const OPEN_LINES: usize = 4096;

impl Collector {
    fn item(&mut self, nanos: u64, item: Item) {
        match item {
            Item::Frame(record) => match (record.direction, &record.content) {
                (_, Content::Broken(_)) => self.broken(nanos),
                (Direction::Command, content) => {
                    self.asked(nanos, record.address);
                    if matches!(content, Content::Command(Command::Chlng(_))) {
                        self.panel(record.address).is_secure = true;
                    }
                }
                (Direction::Reply, _) => self.reply(nanos, &record),
            },
            Item::Noise(_) | Item::Unfinished { .. } => self.broken(nanos),
            Item::Note(_) => {}
        }
    }

    fn reply(&mut self, nanos: u64, record: &Record) {
        let address = record.address;
        self.answered(nanos, address);
        if record.repeated {
            return;
        }
        let reply = match &record.content {
            Content::Reply(reply) => reply,
            Content::Encrypted(reason) => {
                let panel = self.panel(address);
                (panel.is_secure, panel.has_session) = (true, true);
                if let Some(what) = news(&record.name) {
                    let why = match reason {
                        Unopened::NoHandshake => "its handshake is not in the recording",
                        Unopened::UnknownKey => "its key is not known (--key)",
                        Unopened::Rejected => "its MAC is wrong",
                        Unopened::ChainLost => "a frame before it was redacted",
                    };
                    self.step(nanos, address, What::Unknown(format!("{what}, sealed: {why}")));
                }
                return;
            }
            Content::Malformed(error) => {
                self.step(nanos, address, What::Unknown(error.to_string()));
                return;
            }
            Content::Command(_) | Content::Broken(_) => return,
        };
        let action = match reply {
            Reply::Raw { reader, format, bits, data } => {
                let card = Card { format: *format, bits: *bits, data: data.to_vec() };
                Action::CardAt { reader: *reader, card }
            }
            Reply::Keypad { digits, .. } => {
                Action::Keys(Keys(digits.iter().map(|digit| key(*digit)).collect()))
            }
            Reply::IStatR(states) => {
                let panel = self.panel(address);
                panel.inputs = panel.inputs.max(u8::try_from(states.len()).unwrap_or(u8::MAX));
                Action::Status(Status::Inputs(states.clone()))
            }
            Reply::OStatR(states) => {
                let panel = self.panel(address);
                panel.outputs = panel.outputs.max(u8::try_from(states.len()).unwrap_or(u8::MAX));
                // Outputs are switched by the control panel.
                return;
            }
            Reply::LStatR { tamper, power_failed } => {
                Action::Status(Status::Local { tamper: *tamper, power_failed: *power_failed })
            }
            Reply::RStatR(states) => {
                Action::Status(Status::Reader(states.first().copied().unwrap_or_default()))
            }
            Reply::PdId(identity) => {
                self.panel(address).identity = Some(*identity);
                return;
            }
            Reply::RmacI(_) => {
                self.panel(address).has_session = true;
                return;
            }
            Reply::Busy => Action::Fault(Fault::Busy(1)),
            Reply::Fmt { .. } => {
                let what = "a card, as characters, which no door is opened by".to_owned();
                return self.step(nanos, address, What::Unknown(what));
            }
            _ => return,
        };
        let what = if record.redacted { What::Redacted(action) } else { What::Act(action) };
        self.step(nanos, address, what);
    }
}

/// What a sealed answer tells by its name alone.
fn news(name: &str) -> Option<&'static str> {
    match name {
        "RAW" | "FMT" => Some("a card"),
        "KEYPAD" => Some("digits"),
        "ISTATR" => Some("inputs"),
        "LSTATR" => Some("tamper and power"),
        _ => None,
    }
}

const fn key(code: u8) -> u8 {
    match code {
        0x0d => b'#',
        0x7f => b'*',
        digit => digit,
    }
}

//! `journal`: prints the recorded events.

mod table;

use std::{
    ffi::OsStr,
    io::{self, BufRead, StdoutLock, Write},
    path::Path,
};

use anyhow::Context;
use clap::{
    builder::{PossibleValue, TypedValueParser},
    error::ErrorKind,
};
use serde_json::Value;

use self::table::Table;
use super::{
    moment::{Moment, moment},
    offline::{self, Access},
};
use crate::{
    config::Config,
    domain::{EventBody, EventFilter, KeyCode, Name, event_groups},
    gateway::{
        self,
        control::{Beginning, JournalAsked, Request},
    },
};

/// Events read from the database at once.
const BATCH: usize = 256;

/// Prints the recorded events
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Journal {
    /// Goes on with new events as they come; needs the daemon
    #[arg(long)]
    follow: bool,
    /// Begins with this sequence number
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Not before this time: RFC 3339, or how long ago, like 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Before this time: RFC 3339, or how long ago, like 30m
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "follow")]
    until: Option<Moment>,
    /// Of this type, or of a group of types, like intercom.door; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = KindParser, hide_possible_values = true)]
    kinds: Vec<String>,
    /// About this panel
    #[arg(long, value_name = "NAME")]
    panel: Option<Name>,
    /// About this key: its hex digits, leading zeros may be left out
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<KeyCode>,
    /// About this flat, by its number on the door
    #[arg(long, value_name = "FLAT", value_parser = clap::value_parser!(u64).range(1..))]
    flat: Option<u64>,
    /// No more than this many events: the newest ones, or with --from the first ones from there on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// One CloudEvents object a line
    #[arg(long)]
    json: bool,
    /// Rows for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

const EXAMPLES: &str = "\
Examples:
  intercom-gateway journal --follow
          what happens now
  intercom-gateway journal --since 2h --panel entrance-1
          what happened at a panel within the last two hours
  intercom-gateway journal --type intercom.key.swiped --limit 1
          the last key that was presented
  intercom-gateway journal --flat 7 --since 2026-11-01T00:00:00Z --csv > flat-7.csv
          a month of a flat, for a spreadsheet";

impl Journal {
    /// # Errors
    /// The configuration is invalid, the journal cannot be read, or `--follow` finds no daemon.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let mut printer = self.printer()?;
        let asked = self.asked(&config);
        match offline::reach(&config)? {
            Access::Daemon(client) => {
                let answer = client.ask(&Request::Journal(asked))?;
                for line in answer.rest.lines() {
                    printer.print(&line.context("the journal broke off")?)?;
                }
            }
            Access::Alone if self.follow => {
                anyhow::bail!("no daemon is running with this configuration, so no new events will come");
            }
            Access::Alone => {
                let store = offline::read_store(&config)?;
                let journal = store.journal();
                let Beginning { mut from, mut left } = asked.beginning(journal)?;
                while left > 0 {
                    let found = journal.find(
                        from,
                        &asked.filter,
                        usize::try_from(left).unwrap_or(BATCH).min(BATCH),
                    )?;
                    for event in &found.events {
                        printer.print(&event.to_json(&config.gateway.id))?;
                    }
                    left -= u64::try_from(found.events.len())?;
                    if found.is_end {
                        break;
                    }
                    from = found.next;
                }
            }
        }
        Ok(())
    }

    fn asked(&self, config: &Config) -> JournalAsked {
        if let Some(panel) = self.panel.as_ref().filter(|panel| config.panel(panel).is_none()) {
            // One that was configured once may have events.
            let known = config.panels.iter().map(|panel| panel.name.as_str());
            let hint = super::similar(panel.as_str(), known).map(|name| format!("; did you mean {name}?"));
            eprintln!("there is no panel {panel} in the configuration{}", hint.unwrap_or_default());
        }
        let now = gateway::clock(config).wall();
        JournalAsked {
            from: self.from,
            follow: self.follow,
            filter: EventFilter {
                since_ms: self.since.map(|since| since.millisecond(now)),
                until_ms: self.until.map(|until| until.millisecond(now)),
                kinds: self.kinds.clone(),
                panel: self.panel.clone(),
                key: self.key,
                flat: self.flat,
            },
            limit: self.limit,
        }
    }

    fn printer(&self) -> anyhow::Result<Printer> {
        let out = io::stdout().lock();
        Ok(match (self.csv, self.json) {
            (true, _) => Printer::Table(Box::new(Table::begin(out)?)),
            (_, true) => Printer::Json(out),
            _ => Printer::Words(out),
        })
    }
}

/// Prints events.
enum Printer {
    Words(StdoutLock<'static>),
    Json(StdoutLock<'static>),
    Table(Box<Table<StdoutLock<'static>>>),
}

impl Printer {
    fn print(&mut self, event: &str) -> anyhow::Result<()> {
        match self {
            Self::Table(table) => table.add(&serde_json::from_str(event)?),
            Self::Json(out) => {
                writeln!(out, "{event}")?;
                Ok(out.flush()?)
            }
            Self::Words(out) => {
                writeln!(out, "{}", in_words(&serde_json::from_str(event)?))?;
                Ok(out.flush()?)
            }
        }
    }
}

/// Reads a type of events, or a group of types.
#[derive(Clone)]
struct KindParser;

impl KindParser {
    fn known() -> impl Iterator<Item = &'static str> {
        EventBody::KINDS.iter().copied().chain(event_groups())
    }
}

impl TypedValueParser for KindParser {
    type Value = String;

    fn parse_ref(
        &self,
        _: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let text = value.to_string_lossy();
        if Self::known().any(|known| known == text) {
            return Ok(text.into_owned());
        }
        let hint = match super::similar(&text, Self::known()) {
            Some(similar) => format!("did you mean {similar}?"),
            None => format!("there are {}", EventBody::KINDS.join(", ")),
        };
        let message = format!("--type: there is no type of events {text:?}; {hint}\n");
        Err(clap::Error::raw(ErrorKind::ValueValidation, message))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Self::known().map(PossibleValue::new)))
    }
}

/// Reads a key as people write it.
fn key(text: &str) -> Result<KeyCode, String> {
    let padded = format!("{:0>width$}", text.to_ascii_uppercase(), width = 2 * KeyCode::BYTES);
    let key = padded.parse().ok().filter(|_| !text.is_empty());
    key.ok_or_else(|| "a key has up to 14 hex digits, like 0000003042CAAC or 3042CAAC".to_owned())
}

/// `sequence  time  type  subject  what else the event tells`, as one line.
fn in_words(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let sequence = text("sequence").trim_start_matches('0');
    let subject = event["subject"].as_str().unwrap_or("-");
    let line = format!("{sequence:>6}  {}  {:<28} {subject:<16}", text("time"), text("type"));
    format!("{line}{}", own_words(event)).trim_end().to_owned()
}

/// What an event tells besides time, type and subject, each with a space before it.
pub(super) fn own_words(event: &Value) -> String {
    /// In every event, or its subject.
    const KNOWN: [&str; 7] = ["journal", "boot", "uptime_ms", "clock", "online", "panel", "intercom"];
    let mut words = String::new();
    if event["data"]["clock"] == "unsynchronized" {
        words.push_str(" (clock not set)");
    }
    for (key, value) in event["data"].as_object().into_iter().flatten() {
        if !KNOWN.contains(&key.as_str()) && !value.is_null() {
            match value.as_str() {
                Some(text) => words.push_str(&format!(" {key}={text}")),
                None => words.push_str(&format!(" {key}={value}")),
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_written_without_its_zeros() {
        let read = |text| key(text).ok().map(|key| key.to_string());
        assert_eq!(read("3042caac").as_deref(), Some("0000003042CAAC"));
        assert_eq!(read("0000003042CAAC").as_deref(), Some("0000003042CAAC"));
        assert_eq!(["", "xyz", "000000003042CAAC", "30 42"].map(read), [const { None }; 4]);
    }

    #[test]
    fn an_event_in_words_is_one_line_with_what_matters() {
        let event = serde_json::json!({
            "type": "intercom.door.unlocked", "subject": "entrance-1", "time": "2026-11-23T22:00:01.123Z",
            "sequence": "00000000000000000184",
            "data": {"journal": "9f3c2a41", "boot": "b", "uptime_ms": 1, "clock": "synchronized", "online": false,
                     "panel": "entrance-1", "intercom": 1, "by": {"kind": "key", "id": 1}, "duration": 3.0},
        });
        assert_eq!(
            in_words(&event),
            "   184  2026-11-23T22:00:01.123Z  intercom.door.unlocked       entrance-1       \
             by={\"id\":1,\"kind\":\"key\"} duration=3.0"
        );
    }
}

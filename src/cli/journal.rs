//! `journal`: prints the recorded events.

use std::{
    io::{self, BufRead, Write},
    path::Path,
};

use anyhow::Context;
use serde_json::Value;

use super::offline::{self, Access};
use crate::{config::Config, gateway::control::Request};

/// Events read from the database at once.
const BATCH: usize = 256;

/// Prints the recorded events
#[derive(Debug, clap::Args)]
pub struct Journal {
    /// Goes on with new events as they come; needs the daemon
    #[arg(long)]
    follow: bool,
    /// Begins with this sequence number
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// One CloudEvents object a line
    #[arg(long)]
    json: bool,
}

impl Journal {
    /// # Errors
    /// The configuration is invalid, the journal cannot be read, or `--follow` finds no daemon.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let mut out = io::stdout().lock();
        match offline::reach(&config)? {
            Access::Daemon(client) => {
                let answer = client.ask(&Request::Journal { from: self.from, follow: self.follow })?;
                for line in answer.rest.lines() {
                    self.print(&mut out, &line.context("the journal broke off")?)?;
                }
            }
            Access::Alone if self.follow => {
                anyhow::bail!("no daemon is running with this configuration, so no new events will come");
            }
            Access::Alone => {
                let store = offline::read_store(&config)?;
                let mut next = self.from;
                loop {
                    let events = store.journal().read(next, BATCH)?;
                    let Some(last) = events.last() else { break };
                    next = last.sequence + 1;
                    for event in &events {
                        self.print(&mut out, &event.to_json(&config.gateway.id))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn print(&self, out: &mut impl Write, event: &str) -> anyhow::Result<()> {
        if self.json {
            writeln!(out, "{event}")?;
        } else {
            writeln!(out, "{}", in_words(&serde_json::from_str(event)?))?;
        }
        Ok(out.flush()?)
    }
}

/// `sequence  time  type  subject  what else the event tells`, as one line.
fn in_words(event: &Value) -> String {
    /// In every event, or told by the columns before.
    const KNOWN: [&str; 7] = ["journal", "boot", "uptime_ms", "clock", "online", "panel", "intercom"];
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let sequence = text("sequence").trim_start_matches('0');
    let subject = event["subject"].as_str().unwrap_or("-");
    let mut line = format!("{sequence:>6}  {}  {:<28} {subject:<16}", text("time"), text("type"));
    if event["data"]["clock"] == "unsynchronized" {
        line.push_str(" (clock not set)");
    }
    for (key, value) in event["data"].as_object().into_iter().flatten() {
        if !KNOWN.contains(&key.as_str()) && !value.is_null() {
            match value.as_str() {
                Some(text) => line.push_str(&format!(" {key}={text}")),
                None => line.push_str(&format!(" {key}={value}")),
            }
        }
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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

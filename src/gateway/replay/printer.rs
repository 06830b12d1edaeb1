//! What a replay prints: a line for each event, and what it cannot know.

use std::{collections::BTreeSet, io::Write, time::Duration};

use jiff::Timestamp;
use litemap::LiteMap;
use serde_json::{Value, json};

use crate::{
    domain::{EventBody, Name},
    simulate::{action::Action, recorded::Script},
};

/// What stands in place of a decision.
const NOT_KNOWN: &str = "not known";
/// Digits that were typed this long ago are no part of what is entered now.
const TYPED: Duration = Duration::from_secs(30);
/// A door that opens within this time of a key may have been let open by it.
const OPENED: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Printer<'a, W> {
    out: &'a mut W,
    /// Pseudonyms of cards, as events have them.
    cards: BTreeSet<(Name, String)>,
    /// Panels at which digits were typed that nobody knows, and when.
    typed: LiteMap<Name, Option<Timestamp>>,
    /// Panels at which something was not decided, and when last.
    undecided: LiteMap<Name, Timestamp>,
    counts: LiteMap<&'static str, u64>,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(super) const fn new(out: &'a mut W) -> Self {
        Self {
            out,
            cards: BTreeSet::new(),
            typed: LiteMap::new(),
            undecided: LiteMap::new(),
            counts: LiteMap::new(),
        }
    }

    /// Takes note of a card or digits that are a pseudonym.
    pub(super) fn redacted(&mut self, panel: &Name, action: &Action) {
        match action {
            Action::Card(card) | Action::CardAt { card, .. } => {
                self.cards.insert((panel.clone(), hex::encode_upper(&card.data)));
            }
            Action::Keys(_) => {
                self.typed.insert(panel.clone(), None);
            }
            _ => {}
        }
    }

    /// Prints what nobody knows.
    pub(super) fn unknown(&mut self, at: Timestamp, panel: &Name, what: &str) -> anyhow::Result<()> {
        *self.counts.entry(NOT_KNOWN).or_default() += 1;
        Ok(writeln!(self.out, "{at:.3}  {panel}: {what}: {NOT_KNOWN}")?)
    }

    pub(super) fn remark(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "# {text}")?)
    }

    /// Prints an event; without a decision where it was made of what nobody knows.
    pub(super) fn event(&mut self, at: Timestamp, body: &EventBody) -> anyhow::Result<()> {
        let (kind, data) = body.to_parts();
        let mut data: Value = serde_json::from_str(&data)?;
        let panel = body.subject().cloned();
        let mut decision = data.get("decision").and_then(Value::as_str).map(str::to_owned);
        if panel.is_some_and(|panel| self.is_unknown(at, panel, kind, &data)) {
            let unknown = [
                ("decision", json!(NOT_KNOWN)),
                ("reason", json!("redacted")),
                ("flats", json!([])),
                ("key", Value::Null),
                ("raw", Value::Null),
                ("digits", Value::Null),
                ("key_id", Value::Null),
                ("code_id", Value::Null),
                ("user_id", Value::Null),
            ];
            for (key, value) in unknown {
                if let Some(member) = data.get_mut(key) {
                    *member = value;
                }
            }
            decision = Some(NOT_KNOWN.to_owned());
            if let Some(panel) = body.subject() {
                self.undecided.insert(panel.clone(), at);
            }
        }
        if kind == "intercom.door.forced"
            && let Some(panel) = body.subject()
            && self
                .undecided
                .get(panel)
                .is_some_and(|since| at.duration_since(*since).unsigned_abs() <= OPENED)
        {
            let what = "the door opened after a key that nobody knows, by force or not";
            return Ok(writeln!(self.out, "{at:.3}  {panel}: {what}: {NOT_KNOWN}")?);
        }
        let word = match decision.as_deref() {
            Some("granted") => Some("granted"),
            Some("denied") => Some("denied"),
            Some(_) => Some(NOT_KNOWN),
            None if kind == "intercom.door.unlocked" => Some("unlocked"),
            None => None,
        };
        if let Some(word) = word {
            *self.counts.entry(word).or_default() += 1;
        }
        Ok(writeln!(self.out, "{at:.3}  {kind}  {data}")?)
    }

    fn is_unknown(&mut self, at: Timestamp, panel: Name, kind: &str, data: &Value) -> bool {
        match kind {
            "intercom.key.swiped" => {
                let raw = data["raw"].as_str().unwrap_or_default().to_owned();
                self.cards.contains(&(panel, raw))
            }
            "intercom.keypad.entered" | "intercom.code.entered" => {
                let Some(typed) = self.typed.get_mut(&panel) else { return false };
                let since = *typed.get_or_insert(at);
                let is_recent = at.duration_since(since).unsigned_abs() <= TYPED;
                self.typed.remove(&panel);
                is_recent
            }
            _ => false,
        }
    }

    /// Prints what there was in all.
    pub(super) fn summary(&mut self, script: &Script) -> anyhow::Result<()> {
        let count = |word: &str| self.counts.get(word).copied().unwrap_or_default();
        let text = format!(
            "{} panels, {:.1} s: {} granted, {} denied, {} not known, {} unlocked",
            script.panels.len(),
            script.time().as_secs_f64(),
            count("granted"),
            count("denied"),
            count(NOT_KNOWN),
            count("unlocked")
        );
        self.remark(&text)?;
        if script.unread > 0 {
            self.remark(&format!(
                "{} places of the recording are no frames; `decode` shows them",
                script.unread
            ))?;
        }
        self.out.flush()?;
        Ok(())
    }
}

//! Events as rows of a table, for a spreadsheet.

use std::io::Write;

use serde_json::{Map, Value};

/// What the columns are called.
const COLUMNS: [&str; 13] = [
    "sequence", "time", "clock", "type", "panel", "intercom", "reader", "key", "decision", "reason", "flats",
    "by", "details",
];

/// In every event, or in a column of its own.
const ELSEWHERE: [&str; 12] = [
    "journal",
    "boot",
    "uptime_ms",
    "online",
    "clock",
    "panel",
    "intercom",
    "reader",
    "key",
    "decision",
    "reason",
    "flats",
];

/// Writes events as rows of CSV, below a row with the names of the columns.
pub struct Table<W: Write> {
    rows: csv::Writer<W>,
}

impl<W: Write> Table<W> {
    /// Begins a table.
    ///
    /// # Errors
    /// The output is closed.
    pub fn begin(out: W) -> anyhow::Result<Self> {
        let mut table = Self { rows: csv::Writer::from_writer(out) };
        table.rows.write_record(COLUMNS).map_err(output)?;
        table.rows.flush()?;
        Ok(table)
    }

    /// Writes a row.
    ///
    /// # Errors
    /// The output is closed.
    pub fn add(&mut self, event: &Value) -> anyhow::Result<()> {
        self.rows.write_record(cells(event).map(harmless)).map_err(output)?;
        Ok(self.rows.flush()?)
    }
}

/// Returns what the output has against a row: that it is closed is no failure.
fn output(error: csv::Error) -> anyhow::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => anyhow::anyhow!("cannot write the table: {other:?}"),
    }
}

fn cells(event: &Value) -> [String; COLUMNS.len()] {
    let data = &event["data"];
    let sequence = event["sequence"].as_str().unwrap_or_default().trim_start_matches('0');
    let by = &data["by"];
    let by = format!("{} {}", text(&by["kind"]), text(&by["id"]));
    [
        sequence.to_owned(),
        text(&event["time"]),
        text(&data["clock"]),
        text(&event["type"]),
        text(&event["subject"]),
        text(&data["intercom"]),
        text(&data["reader"]),
        text(&data["key"]),
        text(&data["decision"]),
        text(&data["reason"]),
        flats(data),
        by.trim_end().to_owned(),
        details(data),
    ]
}

/// The flats that an event is about, by their numbers on the door.
fn flats(data: &Value) -> String {
    let many = data["flats"].as_array().into_iter().flatten().map(|flat| text(&flat["flat"]));
    let one = data.get("flat").map(text);
    many.chain(one).collect::<Vec<_>>().join(" ")
}

/// What no other column has, as JSON.
fn details(data: &Value) -> String {
    let members = data.as_object().into_iter().flatten();
    let rest: Map<String, Value> = members
        .filter(|(name, value)| {
            !ELSEWHERE.contains(&name.as_str())
                && !["flat", "by"].contains(&name.as_str())
                && !value.is_null()
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if rest.is_empty() { String::new() } else { Value::Object(rest).to_string() }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A spreadsheet takes a cell that begins like this for a formula.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(events: &[Value]) -> String {
        let mut out = Vec::new();
        let mut table = Table::begin(&mut out).unwrap();
        events.iter().for_each(|event| table.add(event).unwrap());
        drop(table);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_event_is_a_row_and_nothing_in_it_is_a_formula() {
        let event = |kind: &str, data: Value| {
            serde_json::json!({"sequence": "00000000000000000184", "time": "2026-11-23T22:00:01.123Z", "type": kind,
                "subject": data["panel"], "data": data})
        };
        let swiped = event(
            "intercom.key.swiped",
            serde_json::json!({"journal": "9f3c2a41", "boot": "b", "uptime_ms": 1, "clock": "synchronized",
                "online": false, "panel": "-entrance", "intercom": 1, "reader": 0, "key": "0000003042CAAC",
                "raw": "3042CAAC", "decision": "granted", "reason": "key_known", "key_id": null,
                "flats": [{"id": 11, "flat": 7}, {"id": 12, "flat": 8}]}),
        );
        let unlocked = event(
            "intercom.door.unlocked",
            serde_json::json!({"panel": "e", "intercom": 1, "by": {"kind": "token", "id": "=cmd()"}, "duration": 3.0}),
        );
        let failed = event("=1+1", serde_json::json!({"cause": "a \"word\", and\nanother"}));
        assert_eq!(
            written(&[swiped, unlocked, failed]),
            "sequence,time,clock,type,panel,intercom,reader,key,decision,reason,flats,by,details\n\
             184,2026-11-23T22:00:01.123Z,synchronized,intercom.key.swiped,'-entrance,1,0,0000003042CAAC,granted,\
             key_known,7 8,,\"{\"\"raw\"\":\"\"3042CAAC\"\"}\"\n\
             184,2026-11-23T22:00:01.123Z,,intercom.door.unlocked,e,1,,,,,,token =cmd(),\"{\"\"duration\"\":3.0}\"\n\
             184,2026-11-23T22:00:01.123Z,,'=1+1,,,,,,,,,\"{\"\"cause\"\":\"\"a \\\"\"word\\\"\", and\\nanother\"\"}\"\n"
        );
        assert_eq!(
            ["+1", "-1", "@x", "=x", "x=", ""].map(|cell| harmless(cell.to_owned())),
            ["'+1", "'-1", "'@x", "'=x", "x=", ""]
        );
    }
}

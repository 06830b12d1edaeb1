//! What `monitor` shows: how everything is as far as it was told, and what is chosen of it. Knows neither clock nor terminal.

use std::collections::VecDeque;

use litemap::LiteMap;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::Told;
use crate::cli::journal::own_words;

/// Events that are kept to be shown.
const EVENTS: usize = 500;

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Panels.
    Panels,
    /// Lines of flats.
    Lines,
    /// Buses.
    Buses,
    /// Events.
    Events,
}

impl Table {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 4] = [Self::Panels, Self::Lines, Self::Buses, Self::Events];

    /// Returns what it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Panels => "panels",
            Self::Lines => "lines",
            Self::Buses => "buses",
            Self::Events => "events",
        }
    }

    /// Returns what its columns are called.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Panels => &["panel", "state", "since", "door", "what is wrong"],
            Self::Lines => &["intercom", "flat", "state", "value", "since"],
            Self::Buses => &["bus", "baud", "port", "answers/min", "lost", "broken", "busy", "device"],
            Self::Events => &["time", "type", "panel", "what it tells"],
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its cells, one a column.
    pub cells: Vec<String>,
    /// Whether it says that something is wrong; `None`: nothing is to be said of that.
    pub is_well: Option<bool>,
}

/// What a reader of the keyboard wishes that the picture cannot do by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To end.
    End,
    /// That this panel blinks and beeps.
    Identify(String),
}

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    Char(char),
    Tab,
    Up,
    Down,
    Enter,
    Escape,
    Backspace,
    /// Ends whatever else is being done.
    Quit,
}

/// Everything that is shown.
#[derive(Debug)]
pub struct Picture {
    panels: LiteMap<String, Panel>,
    lines: LiteMap<(u64, u64), Line>,
    buses: LiteMap<String, Bus>,
    health: Option<Health>,
    events: VecDeque<Value>,
    /// The table that is shown.
    pub table: Table,
    /// The chosen row of it.
    pub chosen: usize,
    /// What rows have to contain.
    pub filter: String,
    /// Whether the filter is being written.
    pub is_writing: bool,
    /// What there is to be said beside it all.
    pub note: String,
}

#[derive(Debug, Deserialize)]
struct Panel {
    panel: String,
    state: String,
    since: String,
    door: Option<String>,
    held: bool,
    tamper: Option<bool>,
    power_failed: Option<bool>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line {
    intercom: u64,
    flat: u64,
    state: String,
    value: Option<f64>,
    unit: String,
    since: String,
}

#[derive(Debug, Deserialize)]
struct Bus {
    bus: String,
    port: String,
    baud: u64,
    open: bool,
    minute: Counts,
}

#[derive(Debug, Deserialize)]
struct Counts {
    exchanges: u64,
    timeouts: u64,
    broken: u64,
    busy_ratio: f64,
}

#[derive(Debug, Deserialize)]
struct Health {
    status: String,
    reasons: Vec<HealthReason>,
}

#[derive(Debug, Deserialize)]
struct HealthReason {
    message: String,
}

impl Picture {
    /// Shows nothing yet.
    pub fn new() -> Self {
        Self {
            panels: LiteMap::new(),
            lines: LiteMap::new(),
            buses: LiteMap::new(),
            health: None,
            events: VecDeque::new(),
            table: Table::Panels,
            chosen: 0,
            filter: String::new(),
            is_writing: false,
            note: String::new(),
        }
    }

    /// Forgets how things were: what comes next tells all of it again.
    pub fn begin(&mut self) {
        let Self { table, filter, .. } = std::mem::replace(self, Self::new());
        (self.table, self.filter) = (table, filter);
    }

    /// Takes what the daemon tells.
    ///
    /// # Errors
    /// It is nothing that this version knows.
    pub fn take(&mut self, line: &str) -> serde_json::Result<()> {
        let told: Told<'_> = serde_json::from_str(line)?;
        let data: &RawValue = told.data;
        match told.r#type {
            "panel" => {
                let panel: Panel = serde_json::from_str(data.get())?;
                if panel.state == "unconfigured" {
                    self.panels.remove(&panel.panel);
                } else {
                    self.panels.insert(panel.panel.clone(), panel);
                }
            }
            "line" => {
                let line: Line = serde_json::from_str(data.get())?;
                self.lines.insert((line.intercom, line.flat), line);
            }
            "bus" => {
                let bus: Bus = serde_json::from_str(data.get())?;
                self.buses.insert(bus.bus.clone(), bus);
            }
            "health" => self.health = Some(serde_json::from_str(data.get())?),
            "event" => {
                if self.events.len() >= EVENTS {
                    self.events.pop_back();
                }
                self.events.push_front(serde_json::from_str(data.get())?);
            }
            // `gap` and `end` are about the telling.
            _ => {}
        }
        self.choose(self.chosen);
        Ok(())
    }

    /// Takes a key, and returns what is to be done about it.
    pub fn press(&mut self, key: Key) -> Option<Wish> {
        self.note.clear();
        if key == Key::Quit {
            return Some(Wish::End);
        }
        if self.is_writing {
            match key {
                Key::Char(c) => self.filter.push(c),
                Key::Backspace => drop(self.filter.pop()),
                Key::Enter => self.is_writing = false,
                Key::Escape => (self.is_writing, self.filter) = (false, String::new()),
                _ => {}
            }
            self.choose(0);
            return None;
        }
        match key {
            Key::Char('q') => return Some(Wish::End),
            Key::Char('i') => return self.identify(),
            Key::Char('/') => self.is_writing = true,
            Key::Char(c @ '1'..='4') => {
                let place = usize::try_from(u32::from(c) - u32::from('1')).unwrap_or_default();
                self.turn_to(Table::ALL[place]);
            }
            Key::Tab => {
                let place = Table::ALL.iter().position(|table| *table == self.table).unwrap_or_default();
                self.turn_to(Table::ALL[(place + 1) % Table::ALL.len()]);
            }
            Key::Up | Key::Char('k') => self.choose(self.chosen.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.choose(self.chosen + 1),
            Key::Escape => self.filter.clear(),
            _ => {}
        }
        None
    }

    fn turn_to(&mut self, table: Table) {
        (self.table, self.chosen) = (table, 0);
    }

    fn choose(&mut self, row: usize) {
        self.chosen = row.min(self.rows(self.table).len().saturating_sub(1));
    }

    fn identify(&mut self) -> Option<Wish> {
        let panel = match self.table {
            Table::Panels => self.rows(Table::Panels).get(self.chosen).map(|row| row.cells[0].clone()),
            _ => None,
        };
        if panel.is_none() {
            "choose a panel first: 1, then up and down".clone_into(&mut self.note);
        }
        panel.map(Wish::Identify)
    }

    /// Returns how the gateway is, in a line.
    pub fn headline(&self) -> Row {
        let Some(health) = &self.health else {
            return Row { cells: vec!["waiting for the daemon".to_owned()], is_well: None };
        };
        let online = self.panels.values().filter(|panel| panel.state == "online").count();
        let mut line = format!("{}, {online} of {} panels online", health.status, self.panels.len());
        if let Some(first) = health.reasons.first() {
            line.push_str(&format!(": {}", first.message));
        }
        if health.reasons.len() > 1 {
            line.push_str(&format!(" (and {} more)", health.reasons.len() - 1));
        }
        Row { cells: vec![printable(&line)], is_well: Some(health.reasons.is_empty()) }
    }

    /// Returns the rows of a table that the filter lets through.
    pub fn rows(&self, table: Table) -> Vec<Row> {
        let filter = self.filter.to_lowercase();
        let fits = |row: &Row| row.cells.iter().any(|cell| cell.to_lowercase().contains(&filter));
        let rows: Vec<Row> = match table {
            Table::Panels => self.panels.values().map(panel).collect(),
            Table::Lines => self.lines.values().map(line).collect(),
            Table::Buses => self.buses.values().map(bus).collect(),
            Table::Events => self.events.iter().map(event).collect(),
        };
        rows.into_iter().filter(fits).collect()
    }
}

fn row(cells: impl IntoIterator<Item = String>, is_well: Option<bool>) -> Row {
    Row { cells: cells.into_iter().map(|cell| printable(&cell)).collect(), is_well }
}

fn panel(panel: &Panel) -> Row {
    let door = match (&panel.door, panel.held) {
        (None, _) => "-".to_owned(),
        (Some(door), false) => door.clone(),
        (Some(door), true) => format!("{door}, held"),
    };
    let flags = [
        panel.error.clone(),
        (panel.tamper == Some(true)).then(|| "its case is open".to_owned()),
        (panel.power_failed == Some(true)).then(|| "its power has failed".to_owned()),
    ];
    let wrong: Vec<String> = flags.into_iter().flatten().collect();
    let is_well = panel.state == "online" && wrong.is_empty();
    let cells = [panel.panel.clone(), panel.state.clone(), clock(&panel.since), door, wrong.join("; ")];
    row(cells, Some(is_well))
}

fn line(line: &Line) -> Row {
    let value = line.value.map_or("-".to_owned(), |value| format!("{value} {}", line.unit));
    let is_fault = ["short", "break"].contains(&line.state.as_str());
    row(
        [line.intercom.to_string(), line.flat.to_string(), line.state.clone(), value, clock(&line.since)],
        is_fault.then_some(false),
    )
}

fn bus(bus: &Bus) -> Row {
    let Counts { exchanges, timeouts, broken, busy_ratio } = bus.minute;
    row(
        [
            bus.bus.clone(),
            bus.baud.to_string(),
            if bus.open { "open" } else { "closed" }.to_owned(),
            exchanges.to_string(),
            timeouts.to_string(),
            broken.to_string(),
            format!("{:.0} %", 100.0 * busy_ratio),
            bus.port.clone(),
        ],
        Some(bus.open),
    )
}

fn event(event: &Value) -> Row {
    let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
    row(
        [clock(&text("time")), text("type"), text("subject"), own_words(event).trim_start().to_owned()],
        (event["data"]["decision"] == "denied").then_some(false),
    )
}

/// The date and the time to the second, without what every line would repeat.
fn clock(time: &str) -> String {
    let second = time.split('.').next().unwrap_or(time).trim_end_matches('Z');
    second.get(5..).map_or_else(|| time.to_owned(), |short| short.replace('T', " "))
}

/// A terminal obeys control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A picture that was told of everything once.
    pub fn told() -> Picture {
        let mut picture = Picture::new();
        for line in [
            r#"{"type":"panel","data":{"panel":"entrance-1","intercom":1,"state":"online","since":"2026-11-23T22:00:01.123Z","last_seen":null,"tamper":null,"power_failed":null,"door":"closed","held":false,"error":null,"error_code":null}}"#,
            r#"{"type":"panel","data":{"panel":"garage","intercom":1,"state":"offline","since":"2026-11-23T22:00:01.123Z","last_seen":null,"tamper":true,"power_failed":null,"door":null,"held":false,"error":"no\u001b[2J reply","error_code":"silent"}}"#,
            r#"{"type":"line","data":{"intercom":1,"flat":12,"flat_id":null,"state":"off_hook","raw":78,"value":7.8,"unit":"V","since":"2026-11-23T22:00:01Z"}}"#,
            r#"{"type":"bus","data":{"bus":"street","port":"/dev/ttyUSB0","protocol":"osdp","baud":9600,"open":true,"minute":{"exchanges":900,"timeouts":1,"broken":2,"wrong":0,"noise":0,"busy_ratio":0.425},"total":{},"panels":[]}}"#,
            r#"{"type":"health","data":{"status":"degraded","reasons":[{"code":"panel_offline","message":"panel garage is offline"}],"since":"2026-11-23T22:00:01Z"}}"#,
            r#"{"type":"event","data":{"type":"intercom.key.swiped","subject":"entrance-1","time":"2026-11-23T22:00:02.5Z","sequence":"00000000000000000007","data":{"panel":"entrance-1","key":"0000003042CAAC","decision":"denied","clock":"synchronized"}}}"#,
            r#"{"type":"gap","data":{"journal":"9f3c2a41","from":1,"to":6}}"#,
        ] {
            picture.take(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        picture
    }

    fn first_cells(picture: &Picture, table: Table) -> Vec<String> {
        picture.rows(table).into_iter().map(|row| row.cells[0].clone()).collect()
    }

    #[test]
    fn every_table_has_a_cell_a_column_and_no_control_character() {
        let picture = told();
        for table in Table::ALL {
            for row in picture.rows(table) {
                assert_eq!(row.cells.len(), table.columns().len(), "{row:?}");
                assert!(row.cells.iter().all(|cell| !cell.contains(char::is_control)), "{row:?}");
            }
        }
        let panels = picture.rows(Table::Panels);
        assert_eq!(panels[0].cells, ["entrance-1", "online", "11-23 22:00:01", "closed", ""]);
        assert_eq!(panels[1].cells[4], "no?[2J reply; its case is open");
        assert_eq!((panels[0].is_well, panels[1].is_well), (Some(true), Some(false)));
        assert_eq!(
            picture.rows(Table::Buses)[0].cells,
            ["street", "9600", "open", "900", "1", "2", "42 %", "/dev/ttyUSB0"]
        );
        assert_eq!(picture.rows(Table::Events)[0].cells[3], "decision=denied key=0000003042CAAC");
        assert_eq!(picture.headline().cells, ["degraded, 1 of 2 panels online: panel garage is offline"]);
    }

    #[test]
    fn a_panel_that_is_no_more_goes_and_events_are_bounded() {
        let mut picture = told();
        let gone =
            r#"{"type":"panel","data":{"panel":"garage","state":"unconfigured","since":"","held":false}}"#;
        picture.take(gone).unwrap();
        assert_eq!(first_cells(&picture, Table::Panels), ["entrance-1"]);
        for _ in 0..2 * EVENTS {
            picture.take(r#"{"type":"event","data":{"type":"gateway.started","data":{}}}"#).unwrap();
        }
        assert_eq!(picture.rows(Table::Events).len(), EVENTS);
        assert!(picture.take("{}").is_err());
        picture.begin();
        assert_eq!(picture.headline().cells, ["waiting for the daemon"]);
    }

    #[test]
    fn keys_turn_choose_filter_and_identify() {
        let mut picture = told();
        assert_eq!(picture.press(Key::Down), None);
        assert_eq!(picture.press(Key::Down), None, "there are two");
        assert_eq!(picture.press(Key::Char('i')), Some(Wish::Identify("garage".into())));
        picture.press(Key::Tab);
        assert_eq!((picture.table, picture.chosen), (Table::Lines, 0));
        assert_eq!(picture.press(Key::Char('i')), None);
        assert!(picture.note.contains("choose a panel"));
        picture.press(Key::Char('1'));
        "/ENT".chars().for_each(|c| assert_eq!(picture.press(Key::Char(c)), None));
        assert_eq!(first_cells(&picture, Table::Panels), ["entrance-1"]);
        picture.press(Key::Char('q'));
        assert_eq!(first_cells(&picture, Table::Panels), [""; 0], "it is part of the filter");
        picture.press(Key::Backspace);
        picture.press(Key::Enter);
        assert_eq!(picture.press(Key::Char('i')), Some(Wish::Identify("entrance-1".into())));
        picture.press(Key::Escape);
        assert_eq!(first_cells(&picture, Table::Panels).len(), 2);
        assert_eq!(picture.press(Key::Char('q')), Some(Wish::End));
    }
}

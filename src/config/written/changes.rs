//! The difference between two configurations, setting by setting.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Part, SettingPath, Written};
use crate::{
    config::{
        Panel, Place,
        settings::{Basis, Setting, Toml},
    },
    domain::Ordered,
};

/// One difference. An item, `[mqtt]` or a table such as `lock` that is new or removed is one change, not one for each
/// of its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What differs.
    pub at: SettingPath,
    /// In which way.
    pub what: Difference,
    /// Its place in the new configuration, or in the old one for what was removed. A default has the place of its section
    /// or item.
    pub place: Place,
}

/// How something differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The old configuration does not have it.
    New,
    /// The new configuration does not have it.
    Removed,
    /// A setting has another value.
    Value {
        /// What it was, as TOML; `None`: not set, and without a default.
        from: Option<String>,
        /// What it is now.
        to: Option<String>,
        /// Whether it is a default now.
        is_default: bool,
    },
}

impl Change {
    /// Whether only a start of the daemon applies it. Settings of `[mqtt]` can change while it runs; the section as a
    /// whole cannot be added or removed.
    pub fn needs_restart(&self) -> bool {
        match &self.at.part {
            Part::Gateway => ["id", "state_dir", "clock"].contains(&self.at.key.as_str()),
            Part::Journal => true,
            Part::Mqtt => self.at.key.is_empty(),
            Part::Http | Part::Intercom(_) | Part::Bus(_) | Part::Panel(_) => false,
        }
    }
}

/// The line that says it: `bus street: baud = 19200 instead of 9600 (/etc/intercom-gateway/gateway.toml:12)`. No value
/// holds a secret: the readers refuse URLs with a password, and secrets lie in files.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: SettingPath { part, key }, what, place } = self;
        write!(f, "{part}: ")?;
        match what {
            Difference::New | Difference::Removed => {
                if !key.is_empty() {
                    write!(f, "{key}: ")?;
                }
                if matches!(what, Difference::New) {
                    write!(f, "new ({place})")
                } else {
                    f.write_str("removed")
                }
            }
            Difference::Value { from: Some(from), to: Some(to), .. } if from == to => {
                write!(f, "{key} = {to}: what it names has changed ({place})")
            }
            Difference::Value { from, to: Some(to), is_default } => {
                let default = if *is_default { " (default)" } else { "" };
                match from {
                    Some(from) => write!(f, "{key} = {to}{default} instead of {from} ({place})"),
                    None => write!(f, "{key} = {to}{default}, not set before ({place})"),
                }
            }
            Difference::Value { from, to: None, .. } => {
                write!(f, "{key} is no longer set")?;
                from.as_ref().map_or(Ok(()), |from| write!(f, "; it was {from}"))
            }
        }
    }
}

impl Written {
    /// Returns what differs in `new`, in the order of [`SettingPath`].
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let (mut before, mut after) = (Table::of(self), Table::of(new));
        let is_modbus = |panel: &Panel| panel.modbus.is_some();
        for panel in &self.config.panels {
            let other = new.config.panel(&panel.name);
            // A table that is implied in one protocol does not stand for one that is written in the other.
            if other.is_some_and(|other| is_modbus(other) != is_modbus(panel)) {
                let part = Part::Panel(panel.name.clone());
                before.forget_implied(&part);
                after.forget_implied(&part);
            }
        }
        before.note_tables();
        after.note_tables();
        let paths: BTreeSet<&SettingPath> = before.settings.keys().chain(after.settings.keys()).ordered();
        let mut changes = BTreeMap::new();
        for path in paths {
            let (from, to) = (before.settings.get(path), after.settings.get(path));
            let (at, what) = match (from, to) {
                (Some(from), Some(to)) if from.meaning == to.meaning => continue,
                // The setting that implies it is a change of its own.
                (None, Some(setting)) | (Some(setting), None) if setting.basis == Basis::Implied => {
                    continue;
                }
                (None, Some(_)) if let Some(table) = after.first_without(path, &before) => {
                    (table, Difference::New)
                }
                (Some(_), None) if let Some(table) = before.first_without(path, &after) => {
                    (table, Difference::Removed)
                }
                // Another change, of the bus's protocol say, brought or took the default.
                (None, Some(setting)) | (Some(setting), None) if setting.basis == Basis::Default => {
                    continue;
                }
                (from, to) => {
                    let toml = |setting: &Setting| Toml(&setting.shown).to_string();
                    let is_default = to.is_some_and(|setting| setting.basis != Basis::Set);
                    let what = Difference::Value {
                        from: from.copied().map(toml),
                        to: to.copied().map(toml),
                        is_default,
                    };
                    (path.clone(), what)
                }
            };
            let config = if what == Difference::Removed { &self.config } else { &new.config };
            let place = config.place(&at.numbered(config).unwrap_or_default());
            changes.entry(at.clone()).or_insert(Change { at, what, place });
        }
        changes.into_values().collect()
    }
}

/// Settings by their path, and the tables that they are in.
struct Table<'a> {
    settings: BTreeMap<SettingPath, &'a Setting>,
    tables: BTreeSet<SettingPath>,
}

impl<'a> Table<'a> {
    fn of(written: &'a Written) -> Self {
        let setting = |(path, setting)| Some((SettingPath::of_numbered(path, &written.config)?, setting));
        Self { settings: written.settings.iter().filter_map(setting).ordered(), tables: BTreeSet::new() }
    }

    fn forget_implied(&mut self, part: &Part) {
        self.settings.retain(|path, setting| path.part != *part || setting.basis != Basis::Implied);
    }

    fn note_tables(&mut self) {
        self.tables = self.settings.keys().flat_map(SettingPath::around).ordered();
    }

    /// The outermost table around `path` that the other lacks.
    fn first_without(&self, path: &SettingPath, other: &Self) -> Option<SettingPath> {
        path.around().find(|table| self.tables.contains(table) && !other.tables.contains(table))
    }
}

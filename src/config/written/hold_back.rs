//! A new configuration with some of its settings as they were.

use config::{Map, Value, ValueKind};

use super::{Part, SettingPath, Written};
use crate::config::{
    ConfigErrors,
    place::{Origin, Places},
};

impl Written {
    /// Returns this configuration with what is at `paths` as it is in `old`: removed where `old` has none, put back
    /// where this one has none. A setting is left out where this configuration lacks its item.
    ///
    /// # Errors
    /// Where the result is not valid, as with a panel that is put back on a bus that was removed.
    pub fn hold_back(&self, old: &Self, paths: &[SettingPath]) -> Result<Self, ConfigErrors> {
        let mut mixed = Tree { root: self.root.clone(), places: self.config.places.clone() };
        for path in paths {
            mixed.take_over(old, path);
        }
        Self::read(mixed.root, mixed.places, self.environment.clone())
    }
}

/// Origins of a value and of what is below it.
type Origins = Vec<(String, Origin)>;

/// Merged layers while they are edited.
struct Tree {
    root: Map<String, Value>,
    places: Places,
}

impl Tree {
    fn take_over(&mut self, old: &Written, path: &SettingPath) {
        let SettingPath { part, key } = path;
        let mut value = part_of(&old.root, part);
        let mut at = position(&old.root, part).unwrap_or_default();
        for key in keys(key) {
            value = value.and_then(|value| table(value)?.get(key));
            at = format!("{at}.{key}");
        }
        let kept = value.map(|value| (value.clone(), old.config.places.below(&at)));
        if key.is_empty() { self.set_part(part, kept) } else { self.set_key(part, key, kept) }
    }

    fn set_part(&mut self, part: &Part, kept: Option<(Value, Origins)>) {
        match (position(&self.root, part), kept) {
            (Some(at), Some((value, origins))) => {
                if let Some(known) = part_mut(&mut self.root, part) {
                    *known = value;
                }
                self.places.replace(&at, origins);
            }
            (None, Some((value, origins))) => {
                let at = self.add(part, value);
                self.places.replace(&at, origins);
            }
            (Some(_), None) => self.remove(part),
            (None, None) => {}
        }
    }

    fn set_key(&mut self, part: &Part, key: &str, kept: Option<(Value, Origins)>) {
        if part.item().is_none() && kept.is_some() && !self.root.contains_key(part.header()) {
            self.add(part, empty());
        }
        let Some(at) = position(&self.root, part) else { return };
        let (value, origins) = kept.unzip();
        let at = format!("{at}.{key}");
        let Some(mut table) = part_mut(&mut self.root, part).and_then(table_mut) else { return };
        let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
        for key in keys(tables) {
            if value.is_none() && !table.contains_key(key) {
                return;
            }
            let Some(below) = table_mut(table.entry(key.to_owned()).or_insert_with(empty)) else { return };
            table = below;
        }
        match value {
            Some(value) => table.insert(last.to_owned(), value),
            None => table.remove(last),
        };
        self.places.replace(&at, origins.unwrap_or_default());
    }

    /// Adds a section, or an item at the end of its list; returns where it is.
    fn add(&mut self, part: &Part, value: Value) -> String {
        let header = part.header();
        if part.item().is_none() {
            self.root.insert(header.to_owned(), value);
            return header.to_owned();
        }
        let list = self
            .root
            .entry(header.to_owned())
            .or_insert_with(|| Value::new(None, ValueKind::Array(Vec::new())));
        let ValueKind::Array(items) = &mut list.kind else { return header.to_owned() };
        items.push(value);
        format!("{header}[{}]", items.len() - 1)
    }

    /// Removes a section or an item; the items behind it move up.
    fn remove(&mut self, part: &Part) {
        let header = part.header();
        let Some(removed) = index(&self.root, part) else {
            self.root.remove(header);
            self.places.replace(header, Vec::new());
            return;
        };
        let Some(ValueKind::Array(items)) = self.root.get_mut(header).map(|list| &mut list.kind) else {
            return;
        };
        items.remove(removed);
        for index in removed..=items.len() {
            let next = self.places.below(&format!("{header}[{}]", index + 1));
            self.places.replace(&format!("{header}[{index}]"), next);
        }
    }
}

fn empty() -> Value {
    Value::new(None, ValueKind::Table(Map::new()))
}

/// The parts of a dotted key; an empty key has none.
fn keys(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').filter(|key| !key.is_empty())
}

fn table(value: &Value) -> Option<&Map<String, Value>> {
    if let ValueKind::Table(table) = &value.kind { Some(table) } else { None }
}

fn table_mut(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if let ValueKind::Table(table) = &mut value.kind { Some(table) } else { None }
}

/// The number of an item in its list.
fn index(root: &Map<String, Value>, part: &Part) -> Option<usize> {
    let ValueKind::Array(items) = &root.get(part.header())?.kind else { return None };
    items.iter().position(|item| {
        let identity = |key: &str| table(item).and_then(|table| Some(&table.get(key)?.kind));
        match part {
            Part::Intercom(id) => {
                matches!(identity("id"), Some(ValueKind::I64(known)) if u64::try_from(*known) == Ok(*id))
            }
            Part::Bus(name) | Part::Panel(name) => {
                matches!(identity("name"), Some(ValueKind::String(known)) if known == name.as_str())
            }
            Part::Gateway | Part::Journal | Part::Http | Part::Mqtt => false,
        }
    })
}

/// The path of a section or item, with its number, where there is one.
fn position(root: &Map<String, Value>, part: &Part) -> Option<String> {
    let header = part.header();
    match part.item() {
        Some(_) => Some(format!("{header}[{}]", index(root, part)?)),
        None => root.contains_key(header).then(|| header.to_owned()),
    }
}

fn part_of<'a>(root: &'a Map<String, Value>, part: &Part) -> Option<&'a Value> {
    let value = root.get(part.header())?;
    match (part.item(), &value.kind) {
        (None, _) => Some(value),
        (Some(_), ValueKind::Array(items)) => items.get(index(root, part)?),
        (Some(_), _) => None,
    }
}

fn part_mut<'a>(root: &'a mut Map<String, Value>, part: &Part) -> Option<&'a mut Value> {
    let index = index(root, part);
    let value = root.get_mut(part.header())?;
    match index {
        None if part.item().is_none() => Some(value),
        None => None,
        Some(index) => match &mut value.kind {
            ValueKind::Array(items) => items.get_mut(index),
            _ => None,
        },
    }
}

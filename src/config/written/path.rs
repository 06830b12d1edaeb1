//! Names of settings that hold whatever the order of items.

use std::fmt;

use super::super::Config;
use crate::domain::Name;

/// A part of the configuration that has settings: a section, or an item of a list by what identifies it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `[gateway]`.
    Gateway,
    /// `[journal]`.
    Journal,
    /// `[http]`.
    Http,
    /// `[mqtt]`.
    Mqtt,
    /// The `[[intercom]]` of this id.
    Intercom(u64),
    /// The `[[bus]]` of this name.
    Bus(Name),
    /// The `[[panel]]` of this name.
    Panel(Name),
}

impl Part {
    /// The section or the list, as its header has it.
    pub(super) fn header(&self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Journal => "journal",
            Self::Http => "http",
            Self::Mqtt => "mqtt",
            Self::Intercom(_) => "intercom",
            Self::Bus(_) => "bus",
            Self::Panel(_) => "panel",
        }
    }

    /// What identifies it in its list.
    pub(super) fn item(&self) -> Option<String> {
        match self {
            Self::Gateway | Self::Journal | Self::Http | Self::Mqtt => None,
            Self::Intercom(id) => Some(id.to_string()),
            Self::Bus(name) | Self::Panel(name) => Some(name.to_string()),
        }
    }
}

/// As a line about it begins: `panel entrance-1`, `[mqtt]`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item() {
            Some(item) => write!(f, "{} {item}", self.header()),
            None => write!(f, "[{}]", self.header()),
        }
    }
}

/// Where a setting is: `bus[street].baud`, `panel[entrance-1].lock.open`, `gateway.timezone`; or a part as a whole:
/// `mqtt`, `panel[entrance-1]`; or a table in a part: `panel[entrance-1].lock`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingPath {
    /// The section or item.
    pub part: Part,
    /// The key in it, dotted below a table: `lock.open`; empty: the part as a whole.
    pub key: String,
}

impl SettingPath {
    /// A part as a whole.
    pub fn whole(part: Part) -> Self {
        Self { part, key: String::new() }
    }

    /// A setting of a part.
    pub fn at(part: Part, key: &str) -> Self {
        Self { part, key: key.to_owned() }
    }

    /// Whether `other` is this or below this.
    pub fn covers(&self, other: &Self) -> bool {
        let rest = other.key.strip_prefix(&self.key);
        let below = |rest: &str| self.key.is_empty() || rest.is_empty() || rest.starts_with('.');
        self.part == other.part && rest.is_some_and(below)
    }

    /// The tables around it, the outermost first: the part, then what is below it.
    pub(super) fn around(&self) -> impl Iterator<Item = Self> {
        let dots = self.key.match_indices('.').map(|(end, _)| &self.key[..end]);
        let whole = (!self.key.is_empty()).then_some("");
        whole.into_iter().chain(dots).map(|key| Self::at(self.part.clone(), key))
    }

    /// From a path with the number of the item, `panel[2].lock.open`; `None` where the configuration has no such item.
    pub(super) fn of_numbered(path: &str, config: &Config) -> Option<Self> {
        let (part, key) = path.split_once('.').unwrap_or((path, ""));
        let part = match part.split_once('[') {
            None => match part {
                "gateway" => Part::Gateway,
                "journal" => Part::Journal,
                "http" => Part::Http,
                "mqtt" => Part::Mqtt,
                _ => return None,
            },
            Some((list, number)) => {
                let index: usize = number.strip_suffix(']')?.parse().ok()?;
                match list {
                    "intercom" => Part::Intercom(config.intercoms.get(index)?.id),
                    "bus" => Part::Bus(config.buses.get(index)?.name.clone()),
                    "panel" => Part::Panel(config.panels.get(index)?.name.clone()),
                    _ => return None,
                }
            }
        };
        Some(Self::at(part, key))
    }

    /// The path with the number of the item; `None` where the configuration has no such item.
    pub(super) fn numbered(&self, config: &Config) -> Option<String> {
        let index = match &self.part {
            Part::Gateway | Part::Journal | Part::Http | Part::Mqtt => None,
            Part::Intercom(id) => Some(config.intercoms.iter().position(|intercom| intercom.id == *id)?),
            Part::Bus(name) => Some(config.buses.iter().position(|bus| bus.name == *name)?),
            Part::Panel(name) => Some(config.panels.iter().position(|panel| panel.name == *name)?),
        };
        let part = self.part.header();
        let part = index.map_or(part.to_owned(), |index| format!("{part}[{index}]"));
        Some(if self.key.is_empty() { part } else { format!("{part}.{}", self.key) })
    }
}

impl fmt::Display for SettingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.header())?;
        if let Some(item) = self.part.item() {
            write!(f, "[{item}]")?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ".{}", self.key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_what_is_below_it_and_nothing_else() {
        let panel = |key: &str| SettingPath::at(Part::Panel(Name::new("a").unwrap()), key);
        assert!(panel("").covers(&panel("lock.open")) && panel("lock").covers(&panel("lock.open")));
        assert!(panel("lock").covers(&panel("lock")));
        assert!(!panel("lock").covers(&panel("lock_time")) && !panel("lock.open").covers(&panel("lock")));
        assert!(!panel("").covers(&SettingPath::whole(Part::Panel(Name::new("b").unwrap()))));
        assert!(!panel("").covers(&SettingPath::whole(Part::Bus(Name::new("a").unwrap()))));
        let around: Vec<String> = panel("lock.open").around().map(|path| path.to_string()).collect();
        assert_eq!(around, ["panel[a]", "panel[a].lock"]);
        assert_eq!(SettingPath::whole(Part::Mqtt).around().count(), 0);
        assert_eq!(SettingPath::at(Part::Gateway, "timezone").to_string(), "gateway.timezone");
    }
}

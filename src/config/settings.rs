//! Every setting as it was read: what it means, how it is written, and whether it is a default.
//!
//! The readers note it, so that what is compared and shown cannot differ from what is in force.

use std::{collections::HashMap, fmt};

use config::ValueKind;

/// One setting that is in force.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Equal where the value means the same: `"1s"` and `"1000ms"`, a default and the same value written down.
    pub meaning: String,
    /// The value as it can be written in any file: paths in full, numbers and truths of the environment as such.
    pub shown: ValueKind,
    pub basis: Basis,
}

/// Why a setting has its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// It is set.
    Set,
    /// It is not set, and this is the default.
    Default,
    /// Its table is absent, and another setting, like `profile`, gives it its default.
    Implied,
}

/// All settings in force, by paths like `panel[2].lock.open`, in the order of reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    list: Vec<(String, Setting)>,
    index: HashMap<String, usize>,
}

impl Settings {
    /// Notes a setting; one that is noted again stays where it was in the order.
    pub fn set(&mut self, path: String, setting: Setting) {
        match self.index.get(&path) {
            Some(&index) => self.list[index].1 = setting,
            None => {
                self.index.insert(path.clone(), self.list.len());
                self.list.push((path, setting));
            }
        }
    }

    /// Returns all of them in the order of reading.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.list.iter().map(|(path, setting)| (path.as_str(), setting))
    }
}

/// A value as TOML on one line.
pub(super) struct Toml<'a>(pub &'a ValueKind);

impl fmt::Display for Toml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use toml_writer::{TomlStringBuilder, TomlWrite};
        match self.0 {
            ValueKind::String(text) => f.value(TomlStringBuilder::new(text).as_basic()),
            ValueKind::Boolean(truth) => f.value(truth),
            ValueKind::Float(number) => f.value(number),
            ValueKind::Array(elements) => {
                f.write_str("[")?;
                for (index, element) in elements.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    Toml(&element.kind).fmt(f)?;
                }
                f.write_str("]")
            }
            // Integers of all widths. Readers note no tables, and nothing for what is absent.
            number => write!(f, "{number}"),
        }
    }
}

//! The configuration in force as TOML, each setting with where it comes from.

use std::fmt::{self, Write};

use super::Written;
use crate::config::settings::{Basis, Toml};

/// The sections and lists, in the order of the manual.
const ORDER: [&str; 7] = ["gateway", "journal", "http", "mqtt", "intercom", "bus", "panel"];
/// Where the comments begin, in columns.
const COMMENT: usize = 40;

impl Written {
    /// Returns the configuration as TOML that can be loaded again and means the same: one setting a line, tables below
    /// items by dotted keys, and after each setting the file and line or the variable it comes from, or that it is a
    /// default. Files are named in full, and not read.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.write_toml(&mut text).unwrap_or_default();
        text
    }

    fn write_toml(&self, out: &mut String) -> fmt::Result {
        for header in ORDER {
            let mut current = "";
            let of_header = |(path, setting)| {
                let (part, key) = str::split_once(path, '.')?;
                let name = part.split_once('[').map_or(part, |(list, _)| list);
                (name == header).then_some((path, part, key, setting))
            };
            for (path, part, key, setting) in self.settings.iter().filter_map(of_header) {
                if part != current {
                    let gap = if out.is_empty() { "" } else { "\n" };
                    let brackets = if part == header { ("[", "]") } else { ("[[", "]]") };
                    writeln!(out, "{gap}{}{header}{}", brackets.0, brackets.1)?;
                    current = part;
                }
                let from = if setting.basis != Basis::Set {
                    "default".to_owned()
                } else {
                    self.config.place(path).to_string()
                };
                // A name with a line break in it must not end the comment.
                let from = from.replace(char::is_control, "\u{fffd}");
                writeln!(out, "{:<COMMENT$} # {from}", format!("{key} = {}", Toml(&setting.shown)))?;
            }
        }
        Ok(())
    }
}

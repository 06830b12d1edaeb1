//! Reading settings out of the merged layers.
//!
//! Not serde: a derived reader stops at its first complaint and cannot say where it stands, while an installer
//! wants all of them at once, each with its line and what would be right. A [`Section`] therefore hands out its
//! keys one by one, notes what is wrong with each and goes on; what nobody asked for is unknown and refused.

use std::{cell::RefCell, fmt::Debug, path::PathBuf};

use config::{Map, Value, ValueKind};

use super::{
    place::{ConfigErrors, Place, Places, Problem, Problems},
    secret::Credentials,
    settings::{Basis, Setting, Settings},
    values::{Input, shown},
};

/// What all sections share while a configuration is read.
pub(super) struct Reader<'a> {
    places: &'a Places,
    problems: RefCell<Problems>,
    settings: RefCell<Settings>,
    credentials: Credentials,
    empty: Map<String, Value>,
}

impl<'a> Reader<'a> {
    pub fn new(places: &'a Places, credentials: Credentials) -> Self {
        Self {
            places,
            problems: RefCell::default(),
            settings: RefCell::default(),
            credentials,
            empty: Map::new(),
        }
    }

    /// Notes that the setting at `path` is wrong.
    pub fn problem(&self, path: &str, message: impl Into<String>) {
        if !self.problems.borrow().has(path) {
            self.problems.borrow_mut().add(self.places.of(path), path, message);
        }
    }

    /// The table at `path`, which is `value`; an empty one where that is absent or, which is noted, no table.
    pub fn section(&'a self, path: &str, value: Option<&'a Value>) -> Section<'a> {
        let (table, is_table) = match value.map(|value| &value.kind) {
            None => (&self.empty, true),
            Some(ValueKind::Table(table)) => (table, true),
            Some(ValueKind::Array(_)) if !path.contains('.') => {
                self.problem(path, format!("is no list: write its header as [{path}]"));
                (&self.empty, false)
            }
            Some(other) => {
                self.problem(path, format!("must be a table with keys of its own, found {}", shown(other)));
                (&self.empty, false)
            }
        };
        Section { reader: self, path: path.to_owned(), table, is_table, is_implied: false, known: Vec::new() }
    }

    /// The top of a file, as a section: keys there have no prefix.
    pub fn top(&'a self, table: &'a Map<String, Value>) -> Section<'a> {
        Section {
            reader: self,
            path: String::new(),
            table,
            is_table: true,
            is_implied: false,
            known: Vec::new(),
        }
    }

    /// Returns everything that is wrong.
    pub fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }

    /// Returns every setting that was read, in the order of reading.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn into_settings(self) -> Result<Settings, ConfigErrors> {
        self.problems.into_inner().into_result()?;
        Ok(self.settings.into_inner())
    }

    /// All elements of the list `name` of the root, each as a section.
    pub fn list(&'a self, name: &str, root: &'a Map<String, Value>) -> Vec<Section<'a>> {
        let elements = match root.get(name).map(|value| &value.kind) {
            None => return Vec::new(),
            Some(ValueKind::Array(elements)) => elements,
            Some(_) => {
                self.problem(name, format!("is a list: write its header as [[{name}]]"));
                return Vec::new();
            }
        };
        let section =
            |(index, element): (usize, &'a Value)| self.section(&format!("{name}[{index}]"), Some(element));
        elements.iter().enumerate().map(section).collect()
    }
}

/// One table of the configuration, read key by key.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    path: String,
    table: &'a Map<String, Value>,
    /// Where it is no table, that is the problem, and not the keys that it lacks.
    is_table: bool,
    /// It is absent, and another setting gives its keys their defaults.
    is_implied: bool,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The full path of one of its keys.
    pub fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the key is set.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.kind != ValueKind::Nil)
    }

    /// The setting `key`, `None` where it is absent or wrong; what is wrong is noted.
    pub fn get<T: Debug>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Input<'_>) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key).filter(|value| value.kind != ValueKind::Nil)?;
        match self.read(key, &value.kind, Basis::Set, read) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(key, message);
                None
            }
        }
    }

    /// Like [`Section::get`]; where the key is absent or wrong, reads `default`, a value as a file has it.
    pub fn get_or<T: Debug>(
        &mut self,
        key: &'static str,
        default: impl Into<ValueKind>,
        read: impl Fn(&Input<'_>) -> Result<T, String>,
    ) -> T {
        self.get(key, &read).unwrap_or_else(|| {
            let basis = if self.is_implied { Basis::Implied } else { Basis::Default };
            let default = self.read(key, &default.into(), basis, read);
            default.unwrap_or_else(|message| panic!("the default of {}: {message}", self.key(key)))
        })
    }

    fn read<T: Debug>(
        &self,
        key: &str,
        kind: &ValueKind,
        basis: Basis,
        read: impl Fn(&Input<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let path = self.key(key);
        let input = Input {
            kind,
            variable: basis == Basis::Set && self.reader.places.is_variable(&path),
            base: &|| self.reader.places.base(&path),
            credentials: &self.reader.credentials,
            shown: RefCell::default(),
        };
        let value = read(&input)?;
        let shown = input.shown.into_inner().unwrap_or_else(|| kind.clone());
        let setting = Setting { meaning: format!("{value:?}"), shown, basis };
        self.reader.settings.borrow_mut().set(path, setting);
        Ok(value)
    }

    /// Notes a setting that [`Section::get`] does not read, or whose value does not say all that it means. `meaning` is
    /// what is compared, `shown` what is printed.
    pub fn note(&self, key: &str, shown: ValueKind, meaning: &impl Debug) {
        let setting = Setting { meaning: format!("{meaning:?}"), shown, basis: Basis::Set };
        self.reader.settings.borrow_mut().set(self.key(key), setting);
    }

    /// Like [`Section::get`]; that the key is absent is noted too, with `example` as what could be written.
    pub fn require<T: Debug>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&Input<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if self.is_table && !self.has(key) {
            self.problem(key, format!("is missing; write for example {key} = {example}"));
        }
        self.get(key, read)
    }

    /// The table `key` below this one.
    pub fn below(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        Some(self.reader.section(&self.key(key), Some(value)))
    }

    /// The elements of the list `key`; `None` where it is absent or, which is noted, no list.
    pub fn elements(&mut self, key: &'static str) -> Option<&'a [Value]> {
        self.known.push(key);
        match &self.table.get(key)?.kind {
            ValueKind::Nil => None,
            ValueKind::Array(elements) => Some(elements),
            other => {
                self.problem(key, format!("must be a list in brackets, found {}", shown(other)));
                None
            }
        }
    }

    /// Returns the table `key` below this one where it is absent and another setting implies it: all defaults.
    pub fn implied(&self, key: &str) -> Section<'a> {
        Section { is_implied: true, ..self.reader.section(&self.key(key), None) }
    }

    /// The directory from which a relative path at the key is meant.
    pub fn base(&self, key: &str) -> PathBuf {
        self.reader.places.base(&self.key(key))
    }

    /// Takes over what is wrong with another file that is named here.
    pub fn adopt(&self, errors: ConfigErrors) {
        for Problem { place, key, message } in errors.into_problems() {
            self.reader.problems.borrow_mut().add(place, key, message);
        }
    }

    /// Notes that the key is wrong.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.reader.problem(&self.key(key), message);
    }

    /// Keys that are known though nothing reads them here.
    pub fn allow(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// Where a key is set.
    pub fn place(&self, key: &str) -> Place {
        self.reader.places.of(&self.key(key))
    }

    /// Refuses every key that was not asked for.
    pub fn finish(&self) {
        for key in self.table.keys().filter(|key| !self.known.contains(&key.as_str())) {
            self.problem(key, unknown(key, &self.known));
        }
    }
}

/// The message for a key that does not exist, with the nearest or all of those that do.
pub(super) fn unknown(key: &str, known: &[&str]) -> String {
    let near = |known: &&&str| distance(key, known) <= 1 + known.len() / 4 || known.starts_with(key);
    match known.iter().filter(near).min_by_key(|known| distance(key, known)) {
        Some(known) => format!("there is no such key; did you mean {known}?"),
        None => format!("there is no such key; known here are {}", known.join(", ")),
    }
}

/// Edits (insert, delete, replace) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_offered_only_where_it_is_near() {
        assert_eq!(distance("listne", "listen"), 2);
        assert_eq!(unknown("listn", &["listen", "tls"]), "there is no such key; did you mean listen?");
        assert_eq!(
            unknown("password", &["url", "password_file"]),
            "there is no such key; did you mean password_file?"
        );
        assert_eq!(
            unknown("colour", &["url", "confirm"]),
            "there is no such key; known here are url, confirm"
        );
    }
}

//! Reading settings out of the merged layers.
//!
//! Not serde: a derived reader stops at its first complaint and cannot say where it stands, while an installer
//! wants all of them at once, each with its line and what would be right. A [`Section`] therefore hands out its
//! keys one by one, notes what is wrong with each and goes on; what nobody asked for is unknown and refused.

use std::{cell::RefCell, ops::RangeInclusive, path::PathBuf, time::Duration};

use config::{Map, Value, ValueKind};

use super::{
    SecretFile,
    place::{ConfigErrors, Place, Places, Problem, Problems},
    secret::Credentials,
};

/// What all sections share while a configuration is read.
pub(super) struct Reader<'a> {
    places: &'a Places,
    problems: RefCell<Problems>,
    credentials: Credentials,
    empty: Map<String, Value>,
}

impl<'a> Reader<'a> {
    pub fn new(places: &'a Places, credentials: Credentials) -> Self {
        Self { places, problems: RefCell::default(), credentials, empty: Map::new() }
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
        Section { reader: self, path: path.to_owned(), table, is_table, known: Vec::new() }
    }

    /// The top of a file, as a section: keys there have no prefix.
    pub fn top(&'a self, table: &'a Map<String, Value>) -> Section<'a> {
        Section { reader: self, path: String::new(), table, is_table: true, known: Vec::new() }
    }

    /// Everything that was noted.
    pub fn into_problems(self) -> Problems {
        self.problems.into_inner()
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

/// A value with what its reading depends on.
pub(super) struct Input<'a> {
    pub kind: &'a ValueKind,
    /// Variables are all text, so numbers and truths may be written as such there.
    variable: bool,
    base: &'a dyn Fn() -> PathBuf,
    credentials: &'a Credentials,
}

/// One table of the configuration, read key by key.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    path: String,
    table: &'a Map<String, Value>,
    /// Where it is no table, that is the problem, and not the keys that it lacks.
    is_table: bool,
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
    pub fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Input<'_>) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key).filter(|value| value.kind != ValueKind::Nil)?;
        let path = self.key(key);
        let input = Input {
            kind: &value.kind,
            variable: self.reader.places.is_variable(&path),
            base: &|| self.reader.places.base(&path),
            credentials: &self.reader.credentials,
        };
        match read(&input) {
            Ok(value) => Some(value),
            Err(message) => {
                self.reader.problem(&path, message);
                None
            }
        }
    }

    /// Like [`Section::get`]; that the key is absent is noted too, with `example` as what could be written.
    pub fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Input<'_>) -> Result<T, String>,
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

    /// A table `key` below this one with nothing in it, for defaults.
    pub fn empty(&self, key: &str) -> Section<'a> {
        self.reader.section(&self.key(key), None)
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

pub(super) fn text(input: &Input<'_>) -> Result<String, String> {
    match input.kind {
        ValueKind::String(text) => Ok(text.clone()),
        other => Err(format!("must be a text in quotes, found {}", shown(other))),
    }
}

pub(super) fn truth(input: &Input<'_>) -> Result<bool, String> {
    match input.kind {
        ValueKind::Boolean(truth) => Ok(*truth),
        ValueKind::String(text) if input.variable => {
            text.parse().map_err(|_| format!("must be true or false, found {text:?}"))
        }
        other => Err(format!("must be true or false, found {}", shown(other))),
    }
}

/// A whole number in `range`.
pub(super) fn whole<N: TryFrom<i128> + Copy + Into<i128>>(
    range: RangeInclusive<N>,
) -> impl FnOnce(&Input<'_>) -> Result<N, String> {
    move |input| {
        let number = match input.kind {
            ValueKind::I64(number) => Some(i128::from(*number)),
            ValueKind::String(text) if input.variable => text.parse().ok(),
            _ => None,
        };
        let quoted = !input.variable && matches!(input.kind, ValueKind::String(_));
        let (first, last): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
        number
            .filter(|number| (first..=last).contains(number))
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| {
                let quotes = if quoted { " without quotes" } else { "" };
                format!("must be a whole number{quotes} from {first} to {last}, found {}", shown(input.kind))
            })
    }
}

/// A finite number, whole or not, in `range`.
pub(super) fn number(range: RangeInclusive<f64>) -> impl FnOnce(&Input<'_>) -> Result<f64, String> {
    move |input| {
        let number = match input.kind {
            // No integer that anybody writes here is too large for a float.
            ValueKind::I64(number) => Some(*number as f64),
            ValueKind::Float(number) => Some(*number),
            _ => None,
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            format!("must be a number from {first} to {last}, found {}", shown(input.kind))
        })
    }
}

/// One of the words.
pub(super) fn choice<T: Copy + 'static>(
    words: &'static [(&'static str, T)],
) -> impl FnOnce(&Input<'_>) -> Result<T, String> {
    move |input| {
        let found = match input.kind {
            ValueKind::String(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        found.map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("must be one of {}, found {}", all.join(", "), shown(input.kind))
        })
    }
}

/// A duration in `range`, written with its unit.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl FnOnce(&Input<'_>) -> Result<Duration, String> {
    move |input| {
        let form = r#"write a number and a unit in quotes, like "3s", "250ms" or "2m""#;
        let ValueKind::String(text) = input.kind else {
            return Err(format!("must be a duration: {form}, found {}", shown(input.kind)));
        };
        let starts_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
        let parsed = text.parse::<jiff::SignedDuration>().ok().filter(|_| starts_with_digit);
        let duration = parsed
            .and_then(|duration| Duration::try_from(duration).ok())
            .ok_or_else(|| format!("{text:?} is no duration: {form}"))?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let first = if range.start().is_zero() { "0s".to_owned() } else { format!("{:?}", range.start()) };
        Err(format!("must be from {first} to {:?}, found {text:?}", range.end()))
    }
}

/// A path; relative ones are meant from the directory of the file that has them.
pub(super) fn path(input: &Input<'_>) -> Result<PathBuf, String> {
    match text(input)? {
        text if text.is_empty() => Err("is empty; write the path of a file".into()),
        text => Ok((input.base)().join(text)),
    }
}

/// A `*_file` of contract §2: a path, or `credential:NAME`.
pub(super) fn secret_file(input: &Input<'_>) -> Result<SecretFile, String> {
    SecretFile::new(&text(input)?, &(input.base)(), input.credentials)
}

/// A value as a message may show it. Tables and lists are only named.
pub(super) fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Nil => "nothing".into(),
        ValueKind::Boolean(truth) => truth.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::Float(number) => number.to_string(),
        ValueKind::String(text) if text.chars().count() > 80 => "a longer text".into(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Array(_) => "a list".into(),
        _ => "something else".into(),
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

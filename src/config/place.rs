//! Where a setting comes from, and what is wrong with it.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use litemap::LiteMap;

/// Where a setting was made: a line of a file, or a variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file and the number of a line, from 1 on; 0: the file as a whole.
    Line(Arc<Path>, usize),
    /// The name of an environment variable.
    Variable(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, 0) => write!(f, "{}", file.display()),
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Where a setting was made, and the file from whose directory relative paths are meant there.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub place: Place,
    pub file: Arc<Path>,
}

/// Origins of all settings by their path (`http.listen`, `panel[2].lock.open`): config-rs merges values and
/// forgets where they stood.
#[derive(Clone, Debug)]
pub(super) struct Places {
    by_path: HashMap<String, Origin>,
    main: Origin,
}

impl Places {
    /// Origins in a configuration whose main file is `main`, and is called `name` in messages.
    pub fn new(name: Arc<Path>, main: Arc<Path>) -> Self {
        Self { by_path: HashMap::new(), main: Origin { place: Place::Line(name, 0), file: main } }
    }

    /// A later layer takes the place of an earlier one.
    pub fn set(&mut self, path: String, origin: Origin) {
        self.by_path.insert(path, origin);
    }

    /// A variable of the environment sets the path.
    pub fn set_variable(&mut self, path: String, place: Place) {
        let file = self.main.file.clone();
        self.set(path, Origin { place, file });
    }

    /// The place of the setting, else of what is around it, else the main file.
    pub fn of(&self, path: &str) -> Place {
        self.origin(path).place.clone()
    }

    /// The directory from which relative paths are meant at a setting: that of its file.
    pub fn base(&self, path: &str) -> PathBuf {
        self.origin(path).file.parent().map(Path::to_owned).unwrap_or_default()
    }

    pub fn is_variable(&self, path: &str) -> bool {
        matches!(self.by_path.get(path), Some(Origin { place: Place::Variable(_), .. }))
    }

    /// Returns the origins at `path` and below, each with the rest of its path.
    pub fn below(&self, path: &str) -> Vec<(String, Origin)> {
        let rest =
            |(known, origin): (&String, &Origin)| Some((rest_below(known, path)?.to_owned(), origin.clone()));
        self.by_path.iter().filter_map(rest).collect()
    }

    /// Puts origins, each with the rest of its path, in place of those at `path` and below.
    pub fn replace(&mut self, path: &str, origins: Vec<(String, Origin)>) {
        self.by_path.retain(|known, _| rest_below(known, path).is_none());
        for (rest, origin) in origins {
            self.set(format!("{path}{rest}"), origin);
        }
    }

    fn origin(&self, path: &str) -> &Origin {
        let mut rest = path;
        loop {
            if let Some(origin) = self.by_path.get(rest) {
                return origin;
            }
            match rest.rfind(['.', '[']) {
                Some(end) => rest = &rest[..end],
                None => return &self.main,
            }
        }
    }
}

/// What follows `path` in the path of something at it or below it.
fn rest_below<'a>(known: &'a str, path: &str) -> Option<&'a str> {
    known.strip_prefix(path).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// One thing that is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The setting, like `panel[2].lock.open`; empty where a whole file is at fault.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.message)
        } else {
            write!(f, "{}: {}: {}", self.place, without_numbers(&self.key), self.message)
        }
    }
}

/// A path as a person writes it: the line tells which element of a list is meant.
pub(super) fn without_numbers(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for part in path.split('[') {
        plain.push_str(part.split_once(']').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// Everything that is wrong with a configuration, one line each, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// The single problems, in the order of the files.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects problems, at most one for each setting: the first is the cause, the next ones its shadows.
#[derive(Debug, Default)]
pub(super) struct Problems(LiteMap<(Place, String), String>);

impl Problems {
    pub fn add(&mut self, place: Place, key: impl Into<String>, message: impl Into<String>) {
        self.0.entry((place, key.into())).or_insert_with(|| message.into());
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.keys().any(|(_, known)| known == key)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Err` where there are any.
    pub fn into_result(self) -> Result<(), ConfigErrors> {
        if self.is_empty() { Ok(()) } else { Err(self.into_errors()) }
    }

    pub fn into_errors(self) -> ConfigErrors {
        let problem = |((place, key), message)| Problem { place, key, message };
        ConfigErrors(self.0.into_iter().map(problem).collect())
    }
}

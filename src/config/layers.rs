//! The layers of the configuration, merged by the `config` crate: FILE, FILE.d/*.toml in name order, then the
//! environment. Defaults are not a layer: each reader knows its own, so that a section can stay absent.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use config::{Map, Source, Value, ValueKind};
use toml_edit::{Item, Table, TableLike};

use super::{
    place::{Origin, Place, Places, Problems},
    secret::Credentials,
};
use crate::domain::order;

/// What surrounds the process, as far as the configuration depends on it. Tests make their own.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Environment variables.
    pub variables: Vec<(OsString, OsString)>,
    /// The host's name, the default of `gateway.id`.
    pub host_name: String,
}

impl Environment {
    /// That of this process. Variables of others, which may hold their secrets, are not taken.
    pub fn of_process() -> Self {
        let ours = |name: &OsString| {
            name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
                || name == CREDENTIALS_DIRECTORY
                || name == NOTIFY_SOCKET
        };
        let host_name = nix::unistd::gethostname().unwrap_or_default();
        let variables = std::env::vars_os().filter(|(name, _)| ours(name)).collect();
        Self { variables, host_name: host_name.to_string_lossy().into_owned() }
    }

    /// An empty one on a host of this name.
    pub fn empty(host_name: &str) -> Self {
        Self { variables: Vec::new(), host_name: host_name.to_owned() }
    }

    /// With one variable more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(super) fn credentials(&self) -> Credentials {
        let of = |wanted: &str| {
            let found = self.variables.iter().find(|(name, value)| name == wanted && !value.is_empty());
            found.map(|(_, value)| PathBuf::from(value))
        };
        match of(CREDENTIALS_DIRECTORY) {
            Some(directory) => Credentials::In(directory),
            None if of(NOTIFY_SOCKET).is_some() => Credentials::Nothing,
            None => Credentials::Outside,
        }
    }
}

/// Sections whose keys the environment can set; lists of things are set in files.
const SECTIONS: [&str; 4] = ["gateway", "http", "journal", "mqtt"];
const PREFIX: &str = "INTERCOM_GATEWAY";
/// Larger files are no configuration and no profile, in bytes: a thousand panels need a quarter of it.
const MAX_BYTES: u64 = 1 << 20;
/// Where systemd puts the files of LoadCredential=.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// What systemd gives to a service of Type=notify, and to nothing that is run by hand.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// A text that stands in place of the main file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instead<'a> {
    /// What messages call it.
    pub name: &'a Path,
    /// The text.
    pub text: &'a str,
}

/// Merges all layers of the configuration at `main`. What cannot be read or parsed is added to `problems` and left
/// out, so the result is only of use where there were none.
pub(super) fn merge(
    main: &Path,
    instead: Option<Instead<'_>>,
    environment: &Environment,
    problems: &mut Problems,
) -> (Map<String, Value>, Places) {
    let main: Arc<Path> = main.into();
    let name = instead.map_or(main.clone(), |instead| instead.name.into());
    let mut places = Places::new(name.clone(), main.clone());
    let mut builder = config::Config::builder();
    let mut lists = HashMap::new();
    let mut read = |names: &Names, text: io::Result<String>, problems: &mut Problems| match text {
        Ok(text) => parse_file(names, &text, &mut lists, &mut places, problems),
        Err(error) => {
            unreadable(&names.shown, &error, MISSING_CONFIG, problems);
            None
        }
    };
    let text = match instead {
        None => read_text(&main),
        Some(Instead { text, .. }) if text.len() as u64 > MAX_BYTES => {
            Err(io::ErrorKind::FileTooLarge.into())
        }
        Some(Instead { text, .. }) => Ok(text.to_owned()),
    };
    let mut layers = vec![read(&Names { shown: name.clone(), file: main.clone() }, text, problems)];
    for file in parts(&main, problems) {
        let text = read_text(&file);
        layers.push(read(&Names { shown: file.clone(), file }, text, problems));
    }
    for layer in layers.into_iter().flatten() {
        builder = builder.add_source(layer);
    }
    builder = builder.add_source(variables(environment, &mut places, problems));
    let merged = builder.build().and_then(|merged| merged.cache.into_table());
    let root = merged.unwrap_or_else(|error| {
        problems.add(Place::Line(name, 0), "", format!("cannot be merged: {error}"));
        Map::new()
    });
    (root, places)
}

/// One file that is no layer: its values and where each stands.
pub(super) fn single(
    path: &Path,
    text: Option<&str>,
    problems: &mut Problems,
) -> (Map<String, Value>, Places) {
    let file: Arc<Path> = path.into();
    let mut places = Places::new(file.clone(), file.clone());
    let names = Names { shown: file.clone(), file };
    let text = text.map_or_else(|| read_text(path), |text| Ok(text.to_owned()));
    let layer = match text {
        Ok(text) => parse_file(&names, &text, &mut HashMap::new(), &mut places, problems),
        Err(error) => {
            unreadable(path, &error, MISSING_PROFILE, problems);
            None
        }
    };
    (layer.map(|layer| layer.0).unwrap_or_default(), places)
}

/// FILE and FILE.d/*.toml in name order.
pub(super) fn files(main: &Path, problems: &mut Problems) -> Vec<Arc<Path>> {
    let mut files = vec![main.into()];
    files.extend(parts(main, problems));
    files
}

/// FILE.d/*.toml of FILE in name order. That there is no FILE.d is usual.
fn parts(main: &Path, problems: &mut Problems) -> Vec<Arc<Path>> {
    let mut directory = main.as_os_str().to_owned();
    directory.push(".d");
    let directory = PathBuf::from(directory);
    let mut parts: Vec<Arc<Path>> = Vec::new();
    match std::fs::read_dir(&directory) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => {
                        let path = entry.path();
                        let hidden = entry.file_name().to_string_lossy().starts_with('.');
                        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
                            parts.push(path.into());
                        }
                    }
                    Err(error) => unreadable(&directory, &error, MISSING_CONFIG, problems),
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => unreadable(&directory, &error, MISSING_CONFIG, problems),
    }
    order::sort(&mut parts);
    parts
}

/// What a file is not there for, and the next step.
const MISSING_CONFIG: &str = "there is no such file; name another with --config FILE";
const MISSING_PROFILE: &str =
    "there is no such profile; name the file of one, as in /etc/intercom-gateway/profiles";

fn unreadable(path: &Path, error: &io::Error, missing: &str, problems: &mut Problems) {
    let next = match error.kind() {
        io::ErrorKind::FileTooLarge => "is above 1 MiB: this is no configuration and no profile".to_owned(),
        io::ErrorKind::NotFound => missing.to_owned(),
        io::ErrorKind::PermissionDenied => {
            "may not be read by this user; run as root, or as a user who may".to_owned()
        }
        io::ErrorKind::InvalidData => "is no text in UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    problems.add(Place::Line(path.into(), 0), "", next);
}

/// One parsed file. Its lists already begin with the elements of the files before it, because config-rs replaces
/// lists where the contract appends them.
#[derive(Clone, Debug)]
struct FileLayer(Map<String, Value>);

impl Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// What messages call a file, and the file from whose directory its relative paths are meant.
struct Names {
    shown: Arc<Path>,
    file: Arc<Path>,
}

/// Reads at most [`MAX_BYTES`]: it may be a device that never ends.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn parse_file(
    names: &Names,
    text: &str,
    lists: &mut HashMap<String, Vec<Value>>,
    places: &mut Places,
    problems: &mut Problems,
) -> Option<FileLayer> {
    let document = match toml_edit::Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map_or(0, |span| line_of(text, span.start));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let key = line.checked_sub(1).and_then(|index| text.lines().nth(index)).and_then(key_of_line);
            problems.add(
                Place::Line(names.shown.clone(), line),
                key.unwrap_or_default(),
                format!("no valid TOML: {message}"),
            );
            return None;
        }
    };
    let mut file = Walk { names, text, places };
    let mut layer = Map::new();
    for (key, item) in document.as_table() {
        if !is_word(key) {
            let start = file.key_start(document.as_table(), key).unwrap_or_default();
            let place = Place::Line(names.shown.clone(), line_of(text, start));
            problems.add(place, "", format!("{key:?} is no key; keys are of a-z and _"));
            continue;
        }
        if let Some(elements) = elements(item) {
            let list = lists.entry(key.to_owned()).or_default();
            if list.is_empty() {
                file.note(key, file.key_start(document.as_table(), key));
            }
            for (element, start) in elements {
                let at = format!("{key}[{}]", list.len());
                file.note(&at, start);
                list.push(file.value(&at, &element));
            }
            layer.insert(key.to_owned(), Value::new(None, ValueKind::from(list.clone())));
        } else {
            file.note(key, file.key_start(document.as_table(), key));
            layer.insert(key.to_owned(), file.value(key, item));
        }
    }
    Some(FileLayer(layer))
}

/// The elements of a list of tables in either of its two forms, with their offsets in the file.
fn elements(item: &Item) -> Option<Vec<(Item, Option<usize>)>> {
    let start = |span: Option<std::ops::Range<usize>>| span.map(|span| span.start);
    match item {
        Item::ArrayOfTables(tables) => {
            Some(tables.iter().map(|table| (Item::Table(table.clone()), start(table.span()))).collect())
        }
        Item::Value(toml_edit::Value::Array(array)) => {
            Some(array.iter().map(|value| (Item::Value(value.clone()), start(value.span()))).collect())
        }
        _ => None,
    }
}

/// Turns items of one file into config-rs's values, and notes the line of each.
struct Walk<'a> {
    names: &'a Names,
    text: &'a str,
    places: &'a mut Places,
}

impl Walk<'_> {
    fn note(&mut self, at: &str, start: Option<usize>) {
        if let Some(start) = start {
            let Names { shown, file } = self.names;
            let place = Place::Line(shown.clone(), line_of(self.text, start));
            self.places.set(at.to_owned(), Origin { place, file: file.clone() });
        }
    }

    fn key_start(&self, table: &Table, key: &str) -> Option<usize> {
        let (key, item) = table.get_key_value(key)?;
        key.span().or_else(|| item.span()).map(|span| span.start)
    }

    fn value(&mut self, at: &str, item: &Item) -> Value {
        use toml_edit::Value as Toml;
        let kind = match item {
            Item::None => ValueKind::Nil,
            Item::Table(table) => self.table(at, table),
            Item::ArrayOfTables(tables) => {
                let tables: Vec<Item> = tables.iter().map(|table| Item::Table(table.clone())).collect();
                self.array(at, &tables)
            }
            Item::Value(Toml::InlineTable(table)) => self.table(at, table),
            Item::Value(Toml::Array(array)) => {
                let values: Vec<Item> = array.iter().map(|value| Item::Value(value.clone())).collect();
                self.array(at, &values)
            }
            Item::Value(Toml::String(text)) => ValueKind::String(text.value().clone()),
            Item::Value(Toml::Integer(number)) => ValueKind::I64(*number.value()),
            Item::Value(Toml::Float(number)) => ValueKind::Float(*number.value()),
            Item::Value(Toml::Boolean(truth)) => ValueKind::Boolean(*truth.value()),
            Item::Value(Toml::Datetime(time)) => ValueKind::String(time.value().to_string()),
        };
        Value::new(None, kind)
    }

    fn table(&mut self, at: &str, table: &dyn TableLike) -> ValueKind {
        let mut map = Map::new();
        for (name, item) in table.iter() {
            let path = format!("{at}.{name}");
            let span = table.get_key_value(name).and_then(|(key, item)| key.span().or_else(|| item.span()));
            self.note(&path, span.map(|span| span.start));
            map.insert(name.to_owned(), self.value(&path, item));
        }
        ValueKind::Table(map)
    }

    fn array(&mut self, at: &str, items: &[Item]) -> ValueKind {
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{at}[{index}]");
            self.note(&path, item.span().map(|span| span.start));
            values.push(self.value(&path, item));
        }
        ValueKind::Array(values)
    }
}

/// The variables that belong to us, checked to name a section and a key.
fn variables(environment: &Environment, places: &mut Places, problems: &mut Problems) -> config::Environment {
    let mut ours = Map::new();
    for (name, value) in &environment.variables {
        let Some(name) = name.to_str() else { continue };
        let Some(key) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix("__")) else { continue };
        let place = Place::Variable(name.into());
        let Some(value) = value.to_str() else {
            problems.add(place, "", "its value is no text in UTF-8");
            continue;
        };
        let key = key.to_lowercase();
        match key.split_once("__") {
            Some((section, key)) if SECTIONS.contains(&section) && is_word(key) && !key.contains("__") => {
                places.set_variable(format!("{section}.{key}"), place);
                ours.insert(name.to_owned(), value.to_owned());
            }
            _ => {
                let sections = SECTIONS.map(str::to_uppercase).join(", ");
                let message = format!(
                    "names no setting: write {PREFIX}__SECTION__KEY with one of the sections {sections} (intercoms, buses and panels are set in files)"
                );
                problems.add(place, "", message);
            }
        }
    }
    config::Environment::with_prefix(PREFIX).prefix_separator("__").separator("__").source(Some(ours))
}

/// Whether config-rs takes the key as it is: in others it finds paths, and makes lists as long as they say.
fn is_word(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The key of a line that is no TOML, where there is one.
fn key_of_line(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    Some(key.trim()).filter(|key| is_word(key))
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

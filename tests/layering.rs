//! The rooms of docs/architecture.md and who may know whom: a wrong arrow is seen the day it is drawn.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A room and the rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("access", &["domain"]),
    ("api", &["bus", "clock", "commissioning", "domain", "doors", "faults", "flats", "store", "sys", "tls"]),
    ("backup", &["domain", "store", "sys"]),
    ("bundle", &[]),
    ("bus", &["access", "clock", "domain", "faults", "lines", "panel", "survey", "sys", "wire"]),
    ("cli", EVERYTHING),
    ("clock", &["domain", "sys"]),
    ("cloud", &["clock", "domain", "doors", "faults", "flats", "store", "sys", "tls"]),
    ("commissioning", &["domain"]),
    ("config", &["domain", "tls"]),
    ("domain", &[]),
    ("doors", &["bus", "domain", "store"]),
    ("faults", &[]),
    ("flats", &["domain"]),
    ("gateway", EVERYTHING),
    ("lines", &["domain"]),
    ("panel", &["domain", "wire"]),
    ("simulate", &["config", "domain", "sys", "wire"]),
    ("store", &["domain", "faults", "flats"]),
    ("survey", &["domain", "panel", "wire"]),
    ("sys", &[]),
    ("tls", &["domain", "sys"]),
    ("wire", &[]),
];

/// What the two rooms that wire the others up may use; themselves nobody may, but the command line the gateway.
const EVERYTHING: &[&str] = &[
    "access",
    "api",
    "backup",
    "bundle",
    "bus",
    "clock",
    "cloud",
    "commissioning",
    "config",
    "domain",
    "doors",
    "faults",
    "flats",
    "gateway",
    "lines",
    "panel",
    "simulate",
    "store",
    "survey",
    "sys",
    "tls",
    "wire",
];

/// Crates that belong to some rooms alone.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["api"]),
    ("clap", &["cli"]),
    ("config", &["config"]),
    ("csv", &["cli"]),
    ("flate2", &["api", "bundle"]),
    ("hyper", &["api"]),
    ("hyper_util", &["api"]),
    ("libc", &["sys"]),
    ("qrcode", &["cli"]),
    ("ratatui", &["cli"]),
    ("rumqttc", &["cloud"]),
    ("rusqlite", &["store"]),
    ("rustls", &["cloud", "tls"]),
    ("rustls_native_certs", &["tls"]),
    ("schemars", &["api", "cloud", "commissioning", "domain", "flats"]),
    ("scrypt", &["backup"]),
    ("strsim", &["cli"]),
    ("tar", &["backup", "bundle"]),
    ("tokio", &["api", "bus", "cli", "cloud", "doors", "gateway", "store", "sys"]),
    ("tokio_rustls", &["api"]),
    ("tokio_serial", &["bus"]),
    ("toml", &["config"]),
    ("toml_edit", &["config"]),
    ("toml_writer", &["config"]),
    ("x509_parser", &["tls"]),
    ("yasna", &["tls"]),
];

/// The only room with `unsafe`.
const UNSAFE: &str = "sys";

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let mut wrong = Vec::new();
    for file in sources() {
        for used in file.rooms() {
            let allowed = used == file.room || room(&file.room).contains(&used.as_str());
            if !allowed {
                wrong.push(format!("{}: {} may not use {used}", file.path.display(), file.room));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_and_unsafe_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (name, rooms) in CRATES {
            if file.uses_crate(name) && !rooms.contains(&file.room.as_str()) {
                wrong.push(format!("{}: {name} belongs to {}", file.path.display(), rooms.join(", ")));
            }
        }
        if file.tokens.iter().any(|token| token == "unsafe") && file.room != UNSAFE {
            wrong.push(format!("{}: unsafe belongs to {UNSAFE}", file.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `{:#}` of an error says again what the error's own sentence has.
#[test]
fn causes_are_said_by_the_one_function_for_it() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file.path).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(":#}"));
        wrong.extend(lines.map(|(index, line)| format!("{}:{}: {line}", file.path.display(), index + 1)));
    }
    assert!(wrong.is_empty(), "write domain::with_causes: {}", wrong.join("\n"));
}

/// A `?` in a tracing macro writes a value's Debug form, which is for us and not for installers.
#[test]
fn nothing_is_logged_by_its_debug_form() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file.path).unwrap();
        for (index, line) in text.lines().enumerate() {
            // `= ?1` is SQL.
            let is_value = |rest: &str| rest.starts_with(|first: char| first.is_ascii_lowercase());
            let marks = ["= ?", "!(?", ", ?"];
            let begins = line.trim_start().strip_prefix('?');
            let by_debug =
                marks.iter().filter_map(|mark| Some(line.split_once(mark)?.1)).chain(begins).any(is_value);
            if by_debug {
                wrong.push(format!("{}:{}: {line}", file.path.display(), index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_and_the_folders_are_the_same() {
    let known: BTreeSet<String> = ROOMS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found: BTreeSet<String> = sources().into_iter().map(|file| file.room).collect();
    let strangers: Vec<_> = found.difference(&known).collect();
    assert!(strangers.is_empty(), "not in the table: {strangers:?}");
    assert!(found.len() >= 15, "{found:?}");
}

#[test]
fn the_scanner_sees_every_way_to_name_a_room() {
    let file =
        |text: &str| Source { path: PathBuf::new(), room: "panel".into(), depth: 2, tokens: tokens(text) };
    let rooms = |text: &str| file(text).rooms().into_iter().collect::<Vec<_>>();
    assert_eq!(rooms("use crate::store::Store;"), ["store"]);
    assert_eq!(rooms("use crate::{a::{b, c}, d, e::f as g};"), ["a", "d", "e"]);
    assert_eq!(rooms("fn f() -> crate::api::X { crate :: cloud::y() }"), ["api", "cloud"]);
    assert_eq!(rooms("pub(crate) fn f() {} pub(in crate::panel) struct X;"), ["panel"]);
    assert_eq!(rooms("use super::super::store; use super::sibling;"), ["store"]);
    assert_eq!(rooms("use super::super::{store::X, cloud};"), ["cloud", "store"]);
    assert_eq!(rooms("mod tests { use super::super::X; use super::super::super::bus; }"), ["bus"]);
    assert_eq!(
        rooms(
            "// crate::a\n/* crate::b /* */ crate::c */ const X: &str = \"crate::d\"; const Y: &str = r#\"\"crate::e\"#;"
        ),
        [""; 0]
    );
    assert_eq!(rooms("const QUOTE: char = '\"'; use crate::f; const OTHER: char = '\"';"), ["f"]);
    assert_eq!(rooms("fn f<'a>(x: &'a crate::g::X) {}"), ["g"]);
    assert!(file("use tokio::sync;").uses_crate("tokio"));
    assert!(file("use {std::io, tokio::sync};").uses_crate("tokio"));
    assert!(
        !file("use crate::config::Config; let config = 1; x.config(); self::config::y").uses_crate("config")
    );
    assert!(!file("use crate::{a, config}; fn f() -> config::Config {}").uses_crate("config"));
    assert!(file("let c = ::config::Config::builder();").uses_crate("config"));
}

fn room(name: &str) -> &'static [&'static str] {
    ROOMS.iter().find(|(room, _)| *room == name).map_or(&[], |(_, allowed)| allowed)
}

/// A file of a room.
struct Source {
    path: PathBuf,
    room: String,
    /// How many modules deep it is: 1 for `src/room/mod.rs`, 2 for `src/room/file.rs`.
    depth: usize,
    /// Words and punctuation, without comments and literals.
    tokens: Vec<String>,
}

impl Source {
    /// Rooms that it names by a path from the crate's root.
    fn rooms(&self) -> BTreeSet<String> {
        let mut rooms = BTreeSet::new();
        // For each open brace whether a module began with it.
        let mut braces = Vec::new();
        for start in 0..self.tokens.len() {
            let before = start.checked_sub(1).map(|before| self.tokens[before].as_str());
            let at = |offset: usize| self.tokens.get(start + offset).map(String::as_str);
            let rest = match at(0) {
                Some("crate") if at(1) == Some("::") => start + 2,
                Some("super") if before != Some("::") => {
                    let supers = (0..).take_while(|step| at(step * 2) == Some("super")).count();
                    let inline = braces.iter().filter(|is_module| **is_module).count();
                    if supers < self.depth + inline || at(supers * 2 - 1) != Some("::") {
                        continue;
                    }
                    start + supers * 2
                }
                Some("{") => {
                    let word = start.checked_sub(2).map(|word| self.tokens[word].as_str());
                    braces.push(word == Some("mod"));
                    continue;
                }
                Some("}") => {
                    braces.pop();
                    continue;
                }
                _ => continue,
            };
            match self.tokens.get(rest).map(String::as_str) {
                Some("{") => rooms.extend(heads(&self.tokens[rest + 1..])),
                Some(name) => drop(rooms.insert(name.to_owned())),
                None => {}
            }
        }
        rooms
    }

    /// Whether it names something of an external crate: `name::` that no path leads to but one from outside. A room of
    /// the same name that it uses takes the bare name's place.
    fn uses_crate(&self, name: &str) -> bool {
        let taken = self.rooms().contains(name);
        (0..self.tokens.len()).any(|at| {
            let before = at.checked_sub(1).map(|before| self.tokens[before].as_str());
            let root = match before {
                Some("::") => at.checked_sub(2).is_none_or(|two| !is_word(&self.tokens[two])),
                Some("{" | ",") => !taken && !self.is_in_group_of_a_path(at),
                _ => !taken,
            };
            self.tokens[at] == name && self.tokens.get(at + 1).is_some_and(|next| next == "::") && root
        })
    }

    /// Whether the `{` around this token belongs to a path, as in `crate::{config::Config}`.
    fn is_in_group_of_a_path(&self, at: usize) -> bool {
        let mut depth = 0;
        for before in (0..at).rev() {
            match self.tokens[before].as_str() {
                "}" => depth += 1,
                "{" if depth > 0 => depth -= 1,
                "{" => return before.checked_sub(1).is_some_and(|path| self.tokens[path] == "::"),
                ";" => return false,
                _ => {}
            }
        }
        false
    }
}

/// The first words of the members of a group, up to its end.
fn heads(tokens: &[String]) -> Vec<String> {
    let (mut heads, mut depth, mut is_head) = (Vec::new(), 0_usize, true);
    for token in tokens {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => is_head = true,
            word if is_head => {
                heads.push(word.to_owned());
                is_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn is_word(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Words, `::` and single characters; comments, strings and characters are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// The length of `r"…"`, `r#"…"#`, `br#"…"#`, … at the beginning.
fn raw_string(text: &str) -> Option<usize> {
    let body = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(text.len() - inside.len() + inside.find(&close)? + close.len())
}

/// A character, not a lifetime: `'x'` or `'\…'`.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    characters.next() == Some('\\') || characters.next() == Some('\'')
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// All files of all rooms; what stands in `src` itself belongs to nobody.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let parts: Vec<String> = path
                .strip_prefix(&root)
                .unwrap()
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            if path.extension().is_none_or(|extension| extension != "rs") || parts.len() < 2 {
                continue;
            }
            let depth = parts.len() - usize::from(path.ends_with("mod.rs"));
            let tokens = tokens(&fs::read_to_string(&path).unwrap());
            sources.push(Source { path: path.clone(), room: parts[0].clone(), depth, tokens });
        }
    }
    sources
}

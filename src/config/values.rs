//! What values of settings may be: each reader takes a value as it is written, and says what would be right.

use std::{
    cell::RefCell,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use config::ValueKind;

use super::{SecretFile, secret::Credentials};

/// A value with what its reading depends on.
pub(super) struct Input<'a> {
    pub kind: &'a ValueKind,
    /// Variables are all text, so numbers and truths may be written as such there.
    pub variable: bool,
    pub base: &'a dyn Fn() -> PathBuf,
    pub credentials: &'a Credentials,
    /// The value as it can be written in any file, where it differs from `kind`.
    pub shown: RefCell<Option<ValueKind>>,
}

impl Input<'_> {
    fn show(&self, kind: ValueKind) {
        self.shown.replace(Some(kind));
    }

    /// Shows a path in full: a relative one means another file elsewhere.
    fn show_path(&self, path: &Path) {
        let full = std::path::absolute(path);
        if let Some(text) = full.as_deref().unwrap_or(path).to_str() {
            self.show(text.into());
        }
    }
}

pub(super) fn text(input: &Input<'_>) -> Result<String, String> {
    match input.kind {
        ValueKind::String(text) => Ok(text.clone()),
        other => Err(format!("must be a text in quotes, found {}", shown(other))),
    }
}

pub(super) fn truth(input: &Input<'_>) -> Result<bool, String> {
    let truth = match input.kind {
        ValueKind::Boolean(truth) => *truth,
        ValueKind::String(text) if input.variable => {
            text.parse().map_err(|_| format!("must be true or false, found {text:?}"))?
        }
        other => return Err(format!("must be true or false, found {}", shown(other))),
    };
    input.show(ValueKind::Boolean(truth));
    Ok(truth)
}

/// A whole number in `range`.
pub(super) fn whole<N: TryFrom<i128> + Copy + Into<i128>>(
    range: RangeInclusive<N>,
) -> impl Fn(&Input<'_>) -> Result<N, String> {
    move |input| {
        let number = match input.kind {
            ValueKind::I64(number) => Some(i128::from(*number)),
            ValueKind::String(text) if input.variable => text.parse().ok(),
            _ => None,
        };
        let quoted = !input.variable && matches!(input.kind, ValueKind::String(_));
        let (first, last): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
        let number = number.filter(|number| (first..=last).contains(number));
        if let Some(number) = number.and_then(|number| i64::try_from(number).ok()) {
            input.show(ValueKind::I64(number));
        }
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| {
            let quotes = if quoted { " without quotes" } else { "" };
            format!("must be a whole number{quotes} from {first} to {last}, found {}", shown(input.kind))
        })
    }
}

/// A finite number, whole or not, in `range`.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&Input<'_>) -> Result<f64, String> {
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
) -> impl Fn(&Input<'_>) -> Result<T, String> {
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
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Input<'_>) -> Result<Duration, String> {
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
        text => {
            let path = (input.base)().join(text);
            input.show_path(&path);
            Ok(path)
        }
    }
}

/// A `*_file` of contract §2: a path, or `credential:NAME`.
pub(super) fn secret_file(input: &Input<'_>) -> Result<SecretFile, String> {
    let file = SecretFile::new(&text(input)?, &(input.base)(), input.credentials)?;
    if !file.is_credential()
        && let Ok(path) = file.path()
    {
        input.show_path(&path);
    }
    Ok(file)
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

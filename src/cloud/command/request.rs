//! What a command asks for: the payload of `commands` as types.

use std::{num::NonZeroU16, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Failure;
#[cfg(test)]
use crate::domain::schema;
use crate::domain::{ErrorCode, asked_tenths, json};

/// Names of the commands (contract §4), as `info` lists them.
pub const KINDS: &[&str] = &["unlock", "measure_line", "resync", "replay", "report", "log_level"];

/// Longest payload, bytes. The longest command, a `log_level`, needs a fiftieth.
pub(super) const LONGEST: usize = 64 << 10;

/// Longest name of an unknown command that is given back.
const LONGEST_NAME: usize = 64;

/// Longest time for which another log level holds, seconds, and the longest filter, bytes: who needs more edits the
/// unit.
const LOG_SECONDS: std::ops::RangeInclusive<f64> = 1.0..=86_400.0;
const LONGEST_FILTER: usize = 1024;

/// A command that is understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Opens a door.
    Unlock(Unlock),
    /// Measures one line now.
    MeasureLine {
        /// The intercom.
        intercom: u64,
        /// The flat's number on the door.
        flat: u64,
    },
    /// Asks for the flats anew.
    Resync,
    /// Publishes a range of events again.
    Replay {
        /// The journal.
        journal: String,
        /// Which events of it.
        range: EventRange,
    },
    /// Examines the installation.
    Report,
    /// Logs more, or less, for a while.
    LogLevel {
        /// A filter like `RUST_LOG`'s.
        filter: String,
        /// For how long.
        time: Duration,
    },
}

/// Which events of a journal are to be published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRange {
    /// From one sequence to another, both included.
    Sequences {
        /// The first one, at least 1.
        from: u64,
        /// The last one, at least `from`.
        to: u64,
    },
    /// What happened in this time: all between the first and the last of these events in the journal.
    Times {
        /// Not before.
        since: Timestamp,
        /// Before; later than `since`.
        until: Timestamp,
    },
}

/// Which lock to open, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlock {
    /// The panel's name.
    pub panel: Option<String>,
    /// Its intercom, whose only lock is meant where no panel is named.
    pub intercom: Option<u64>,
    /// Units of 100 ms; `None`: as the lock is configured.
    pub tenths: Option<NonZeroU16>,
}

impl Command {
    /// The command's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unlock(_) => "unlock",
            Self::MeasureLine { .. } => "measure_line",
            Self::Resync => "resync",
            Self::Replay { .. } => "replay",
            Self::Report => "report",
            Self::LogLevel { .. } => "log_level",
        }
    }

    /// How far ahead its `expires_at` may lie (contract §4).
    pub fn longest_validity(&self) -> Duration {
        match self {
            Self::Unlock(_) => Duration::from_secs(60),
            _ => Duration::from_secs(86_400),
        }
    }
}

/// A message on `commands`, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its id.
    pub id: Uuid,
    /// What is asked.
    pub command: Command,
    /// When it is too late.
    pub expires_at: Timestamp,
    /// The connection that it is meant for.
    pub session: Option<Uuid>,
}

/// A message on `commands` that is not obeyed, and what of it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its id.
    pub id: Option<Uuid>,
    /// The command's name.
    pub command: Option<String>,
    /// Why.
    pub failure: Failure,
}

impl Request {
    /// Reads a payload. Unknown members are ignored, an absent one is a null; a member that comes twice is a mistake.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`] or [`ErrorCode::UnknownCommand`], with what could be read.
    pub fn parse(payload: &[u8]) -> Result<Self, Rejected> {
        let (envelope, id, command) = match Envelope::read(payload) {
            Ok(envelope) => {
                let id = envelope.id();
                let command = text(envelope.command);
                (envelope, id, command)
            }
            Err(message) => return Err(Rejected::new(None, None, ErrorCode::Invalid, message)),
        };
        let rejected = |code, message: String| Rejected::new(id, command.clone(), code, message);
        let invalid = |message: &str| rejected(ErrorCode::Invalid, message.to_owned());
        let id = id.ok_or_else(|| invalid("id must be a UUID"))?;
        let name = command.clone().ok_or_else(|| invalid("command must be a command's name"))?;
        let command = parse_command(&name, envelope.args)
            .ok_or_else(|| {
                let known = KINDS.join(", ");
                rejected(ErrorCode::UnknownCommand, format!("there is no such command; there are {known}"))
            })?
            .map_err(|message| invalid(&message))?;
        let expires_at = text(envelope.expires_at)
            .and_then(|time| time.parse().ok())
            .ok_or_else(|| invalid("expires_at must be a time like 2026-11-23T22:00:01Z"))?;
        let session = match envelope.session {
            None => None,
            some => match text(some).and_then(|session| Uuid::parse_str(&session).ok()) {
                None => return Err(invalid("session must be that of the retained status")),
                session => session,
            },
        };
        Ok(Self { id, command, expires_at, session })
    }

    /// Id and name of a message that is refused for another reason than its content.
    pub fn names(payload: &[u8]) -> (Option<Uuid>, Option<String>) {
        Envelope::read(payload).map(|envelope| (envelope.id(), text(envelope.command))).unwrap_or_default()
    }
}

impl Rejected {
    /// A rejection of what could be read.
    pub fn new(
        id: Option<Uuid>,
        command: Option<String>,
        code: ErrorCode,
        message: impl Into<String>,
    ) -> Self {
        let cut = |name: String| name.chars().take(LONGEST_NAME).collect();
        Self { id, command: command.map(cut), failure: Failure { code, message: message.into() } }
    }
}

/// The members of a message, so that a wrong one does not hide the others.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    command: Option<&'a RawValue>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    expires_at: Option<&'a RawValue>,
    #[serde(borrow)]
    session: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, String> {
        if payload.len() > LONGEST {
            return Err(format!("the message is longer than a command ever is, {LONGEST} bytes"));
        }
        // An array would do as well for serde.
        if payload.trim_ascii_start().first() != Some(&b'{') {
            return Err("the message is no JSON object".into());
        }
        json::from_slice(payload).map_err(|error| format!("the message is no JSON object: {error}"))
    }

    fn id(&self) -> Option<Uuid> {
        // Other ways to write a UUID would make two texts one id.
        text(self.id).filter(|id| id.len() == 36).and_then(|id| Uuid::parse_str(&id).ok())
    }
}

fn text(member: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(member?.get()).ok()
}

/// `None`: there is no such command. An error is a sentence.
fn parse_command(name: &str, args: Option<&RawValue>) -> Option<Result<Command, String>> {
    Some(match name {
        "unlock" => read(args).and_then(unlock),
        "measure_line" => read(args).and_then(measure_line),
        "resync" => read(args).map(|Nothing {}| Command::Resync),
        "replay" => read(args).and_then(replay),
        "report" => read(args).map(|Nothing {}| Command::Report),
        "log_level" => read(args).and_then(log_level),
        _ => return None,
    })
}

fn read<T: DeserializeOwned>(args: Option<&RawValue>) -> Result<T, String> {
    let args = args.map_or("{}", RawValue::get);
    // How PHP writes an object without members.
    let is_empty_array = args
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|rest| rest.trim().is_empty());
    let args = if is_empty_array { "{}" } else { args };
    if !args.starts_with('{') {
        return Err("args must be an object".into());
    }
    serde_json::from_str(args).map_err(|error| format!("args: {error}"))
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Nothing {}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("anyOf" = [
    {"required": ["panel"], "properties": {"panel": {"type": "string"}}},
    {"required": ["intercom"], "properties": {"intercom": {"type": "integer"}}},
])))]
pub(super) struct UnlockArgs {
    /// The panel's name.
    panel: Option<String>,
    /// Its intercom, whose only lock is meant where no panel is named.
    #[cfg_attr(test, schemars(with = "Option<schema::Id>"))]
    intercom: Option<u64>,
    /// Seconds; by default as the lock is configured.
    #[cfg_attr(test, schemars(range(min = 0.1, max = 60)))]
    duration: Option<f64>,
}

fn unlock(args: UnlockArgs) -> Result<Command, String> {
    let UnlockArgs { panel, intercom, duration } = args;
    if panel.is_none() && intercom.is_none() {
        return Err("args must name a panel or an intercom".into());
    }
    let tenths = duration
        .map(|seconds| {
            asked_tenths(seconds).ok_or("args.duration must be a number of seconds from 0.1 to 60")
        })
        .transpose()?;
    Ok(Command::Unlock(Unlock { panel, intercom, tenths }))
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct LineArgs {
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    intercom: u64,
    /// The flat's number on the door.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    flat: u64,
}

fn measure_line(args: LineArgs) -> Result<Command, String> {
    Ok(Command::MeasureLine { intercom: args.intercom, flat: args.flat })
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ReplayArgs {
    #[cfg_attr(test, schemars(with = "schema::Journal"))]
    journal: String,
    /// The first sequence; goes with `to`.
    #[cfg_attr(test, schemars(with = "Option<schema::Sequence>"))]
    from: Option<u64>,
    /// The last sequence.
    #[cfg_attr(test, schemars(with = "Option<schema::Sequence>"))]
    to: Option<u64>,
    /// Not before this time; goes with `until`, in the place of sequences.
    #[cfg_attr(test, schemars(with = "Option<schema::Time>"))]
    since: Option<String>,
    /// Before this time.
    #[cfg_attr(test, schemars(with = "Option<schema::Time>"))]
    until: Option<String>,
}

fn replay(args: ReplayArgs) -> Result<Command, String> {
    let ReplayArgs { journal, from, to, since, until } = args;
    let range = match (from, to, since, until) {
        (Some(from), Some(to), None, None) => {
            if from == 0 || from > to {
                return Err("args.from must be at least 1, and at most args.to".into());
            }
            EventRange::Sequences { from, to }
        }
        (None, None, Some(since), Some(until)) => {
            let time = |name, text: String| {
                text.parse::<Timestamp>()
                    .map_err(|_| format!("args.{name} must be an RFC 3339 time like 2026-11-23T22:00:00Z"))
            };
            let (since, until) = (time("since", since)?, time("until", until)?);
            if since >= until {
                return Err("args.since must be before args.until".into());
            }
            EventRange::Times { since, until }
        }
        _ => return Err("args must have from and to, or since and until".into()),
    };
    Ok(Command::Replay { journal, range })
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct LogArgs {
    /// A filter like `RUST_LOG`'s.
    #[cfg_attr(test, schemars(length(max = LONGEST_FILTER)))]
    filter: String,
    /// Seconds.
    #[cfg_attr(test, schemars(range(min = 1, max = 86400)))]
    r#for: f64,
}

fn log_level(args: LogArgs) -> Result<Command, String> {
    if !LOG_SECONDS.contains(&args.r#for) {
        return Err("args.for must be a number of seconds from 1 to 86400".into());
    }
    if args.filter.len() > LONGEST_FILTER {
        return Err(format!("args.filter must be at most {LONGEST_FILTER} bytes long"));
    }
    Ok(Command::LogLevel { filter: args.filter, time: Duration::from_secs_f64(args.r#for) })
}

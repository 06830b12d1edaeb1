//! What became of a command, and the message that says so.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

#[cfg(test)]
use crate::domain::schema;
use crate::{
    cloud::{message::to_json, signature::Refused},
    domain::{Check, ErrorCode, LineStatus, Name},
};

impl From<Refused> for ErrorCode {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unsigned => Self::Unsigned,
            Refused::WrongGateway => Self::WrongGateway,
        }
    }
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResultError"))]
pub struct Failure {
    /// The word for programs.
    pub code: ErrorCode,
    /// A sentence.
    pub message: String,
}

/// What a command that was done answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResultData"))]
#[serde(untagged)]
pub enum Answer {
    /// `unlock`.
    Unlocked {
        /// The panel that opened.
        panel: Name,
    },
    /// `measure_line`.
    Measured(LineStatus),
    /// `replay`.
    Replayed {
        /// Events that the broker has taken.
        events: u64,
        /// What of the range is not in the journal: pairs of a first and a last sequence, ascending.
        #[cfg_attr(test, schemars(with = "Vec<[schema::Sequence; 2]>"))]
        absent: Vec<(u64, u64)>,
    },
    /// `report`.
    Examined(Vec<Check>),
    /// `resync`, `log_level`.
    Nothing,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done; its [`Answer`].
    Done(Value),
    /// It was begun, and not done.
    Failed(Failure),
    /// Its time was over.
    Expired,
    /// It was acted on before, and this came of it: a result, or null while it is performed.
    Duplicate(Value),
    /// It was not begun.
    Rejected(Failure),
}

impl Outcome {
    /// A command that was done.
    pub fn done(answer: &Answer) -> Self {
        // As a value: what is told to a repetition is read from the disk, and is to be the same text.
        Self::Done(serde_json::to_value(answer).expect("answers have only JSON types"))
    }

    /// A failure with this code and sentence.
    pub fn failed(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Failed(Failure { code, message: message.into() })
    }

    /// A rejection with this code and sentence.
    pub fn rejected(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Rejected(Failure { code, message: message.into() })
    }

    /// The payload of `results` for the command with this id, where it is known, and this name.
    ///
    /// ```
    /// use intercom_gateway::{cloud::command::Outcome, domain::ErrorCode};
    /// let outcome = Outcome::rejected(ErrorCode::Invalid, "the message is no JSON object");
    /// assert_eq!(
    ///     outcome.to_json(None, None),
    ///     r#"{"id":null,"command":null,"status":"rejected","error":{"code":"invalid","message":"the message is no JSON object"},"data":null}"#
    /// );
    /// ```
    pub fn to_json(&self, id: Option<Uuid>, command: Option<&str>) -> String {
        let (status, error, data) = match self {
            Self::Done(data) => (Status::Done, None, Some(Said::Own(data))),
            Self::Failed(failure) => (Status::Failed, Some(failure), None),
            Self::Expired => (Status::Expired, None, None),
            Self::Duplicate(first) => (Status::Duplicate, None, Some(Said::Earlier { first })),
            Self::Rejected(failure) => (Status::Rejected, Some(failure), None),
        };
        to_json(&Message { id, command, status, error, data })
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResultStatus"))]
#[serde(rename_all = "lowercase")]
enum Status {
    Done,
    Failed,
    Expired,
    Duplicate,
    Rejected,
}

/// What became of a command: the payload of `results`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Result"))]
pub(in crate::cloud) struct Message<'a> {
    /// The command's id; null where it could not be read.
    #[cfg_attr(test, schemars(with = "Option<schema::Uuid>"))]
    id: Option<Uuid>,
    /// The command's name; null where it could not be read.
    command: Option<&'a str>,
    status: Status,
    error: Option<&'a Failure>,
    data: Option<Said<'a>>,
}

/// The command's own data, or with `duplicate` the first result.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResultSaid"))]
#[serde(untagged)]
enum Said<'a> {
    Own(#[cfg_attr(test, schemars(with = "Answer"))] &'a Value),
    Earlier {
        /// The first result; null while the command is performed.
        #[cfg_attr(test, schemars(with = "Option<Message<'a>>"))]
        first: &'a Value,
    },
}

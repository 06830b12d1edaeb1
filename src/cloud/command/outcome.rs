//! What became of a command, and the message that says so.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    cloud::{message::to_json, signature::Refused},
    domain::ErrorCode,
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
pub struct Failure {
    /// The contract's word.
    pub code: ErrorCode,
    /// A sentence.
    pub message: String,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done; `data` is the command's own, or null.
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
        #[derive(Serialize)]
        struct Message<'a> {
            id: Option<Uuid>,
            command: Option<&'a str>,
            status: &'static str,
            error: Option<&'a Failure>,
            data: Option<Value>,
        }
        let (status, error, data) = match self {
            Self::Done(data) => ("done", None, Some(data.clone())),
            Self::Failed(failure) => ("failed", Some(failure), None),
            Self::Expired => ("expired", None, None),
            Self::Duplicate(first) => ("duplicate", None, Some(serde_json::json!({ "first": first }))),
            Self::Rejected(failure) => ("rejected", Some(failure), None),
        };
        to_json(&Message { id, command, status, error, data })
    }
}

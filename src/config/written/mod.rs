//! The configuration as it is written, kept beside what it means: to compare, to hold back in parts, to show.
//!
//! - A [`Written`] is valid: it holds the [`Config`] that it means, so names are there and unique.
//! - What the readers understood at loading is compared: a profile counts as it was then. The same value written in
//!   another way, a default written down, and another order of keys or items are no change.
//! - Settings are known by the name of their item, never by its number: [`SettingPath`].

mod changes;
mod hold_back;
mod path;
mod plan;
#[cfg(test)]
mod random;
mod show;
#[cfg(test)]
mod tests;

use std::path::Path;

use config::{Map, Value};

pub use changes::{Change, Difference};
pub use path::{Part, SettingPath};
pub use plan::{Plan, Wait, plan};

use super::{
    Config, ConfigErrors, Environment,
    layers::{self, Instead},
    place::{Places, Problems},
    read::Reader,
    read_all,
    settings::Settings,
};

/// A valid configuration with its layers merged, as it is written.
#[derive(Clone, Debug)]
pub struct Written {
    root: Map<String, Value>,
    environment: Environment,
    settings: Settings,
    config: Config,
}

impl Written {
    /// Loads and validates the configuration at `path`, with `path`.d/*.toml and the environment.
    ///
    /// # Errors
    /// All problems that were found, in the order of the files.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigErrors> {
        Self::merged(path, None, environment)
    }

    /// Like [`Written::load`], with `text` in place of the content of `path`, which need not exist. Errors and places
    /// call the text `name`; relative paths in it are meant from the directory of `path`.
    ///
    /// # Errors
    /// All problems that were found, in the order of the files.
    pub fn with_main(
        path: &Path,
        name: &Path,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, ConfigErrors> {
        Self::merged(path, Some(Instead { name, text }), environment)
    }

    /// Returns what it means.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what it means, and forgets how it is written.
    pub fn into_config(self) -> Config {
        self.config
    }

    fn merged(
        path: &Path,
        instead: Option<Instead<'_>>,
        environment: &Environment,
    ) -> Result<Self, ConfigErrors> {
        let mut problems = Problems::default();
        let (root, places) = layers::merge(path, instead, environment, &mut problems);
        problems.into_result()?;
        Self::read(root, places, environment.clone())
    }

    fn read(
        root: Map<String, Value>,
        places: Places,
        environment: Environment,
    ) -> Result<Self, ConfigErrors> {
        let reader = Reader::new(&places, environment.credentials());
        let config = read_all(&root, &reader, &places, &environment);
        let settings = reader.into_settings()?;
        Ok(Self { root, environment, settings, config })
    }
}

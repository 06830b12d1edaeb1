//! The configuration: TOML files and the environment, merged, read, validated (contract §2).
//!
//! ```text
//! FILE ─┐
//! FILE.d/*.toml ─┼─ layers (config-rs) ─→ merged values + places ─→ read (keys, types) ─→ validated Config
//! environment ─┘                              (file:line of each)     service, building       │
//!                                                     │                      │            check: findings
//!                                                     └─────────→ Written ←──┘ settings as they were understood
//!                                                  changes, hold back, plan, show
//! ```
//!
//! Nothing here opens a port or reads a secret while loading; [`findings`] looks at the files that a
//! configuration names, and [`plan`] looks whether new credentials are there. All problems of a configuration are reported together, one line each, as
//! `file:line: key: what is wrong and what would be right`.

mod address;
mod building;
mod certificates;
mod check;
mod commutator;
mod cycle;
mod files;
mod layers;
mod place;
mod profile;
mod read;
mod runtime;
mod secret;
mod service;
mod settings;
mod types;
mod values;
mod written;
mod zone;

use std::path::Path;

use config::{Map, Value};

pub use check::{Finding, Severity, findings};
pub use files::layer_files;
pub use layers::Environment;
pub use place::{ConfigErrors, Place, Problem};
pub use profile::{SHIPPED as SHIPPED_PROFILES, load_profile, shipped_profiles};
pub use runtime::{own_status_socket, status_socket};
pub use secret::{SecretError, SecretFile};
pub use types::*;
pub use written::{Change, Difference, Part, Plan, SettingPath, Wait, Written, plan};

use place::Places;
use read::Reader;

/// Where the configuration is looked for unless `--config` names another (contract §1).
pub const DEFAULT_PATH: &str = "/etc/intercom-gateway/gateway.toml";

impl Config {
    /// Loads and validates the configuration at `path`, with `path`.d/*.toml and this process's environment.
    ///
    /// # Errors
    /// All problems that were found, in the order of the files.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(path, &Environment::of_process())
    }

    /// Like [`Config::load`], in an environment of the caller's.
    ///
    /// # Errors
    /// All problems that were found, in the order of the files.
    pub fn load_with(path: &Path, environment: &Environment) -> Result<Self, ConfigErrors> {
        Written::load(path, environment).map(Written::into_config)
    }
}

/// Reads every section; where a setting is wrong, the reader knows and the result is of no use.
fn read_all(
    root: &Map<String, Value>,
    reader: &Reader<'_>,
    places: &Places,
    environment: &Environment,
) -> Config {
    const LISTS: [&str; 3] = ["intercom", "bus", "panel"];
    const SECTIONS: [&str; 4] = ["gateway", "journal", "http", "mqtt"];

    for key in root.keys() {
        if !LISTS.contains(&key.as_str()) && !SECTIONS.contains(&key.as_str()) {
            reader.problem(key, read::unknown(key, &[SECTIONS.as_slice(), LISTS.as_slice()].concat()));
        }
    }
    let section = |name: &str| reader.section(name, root.get(name));
    let mqtt = root.get("mqtt").map(|_| section("mqtt"));
    let gateway = service::gateway(section("gateway"), &environment.host_name, mqtt.is_some());
    let intercoms = building::intercoms(reader.list("intercom", root));
    let (buses, known_buses) = building::buses(reader.list("bus", root));
    let panels = building::panels(reader.list("panel", root), &known_buses, &intercoms);
    Config {
        gateway,
        journal: service::journal(section("journal")),
        http: service::http(section("http")),
        mqtt: mqtt.and_then(service::mqtt),
        intercoms,
        buses,
        panels,
        places: places.clone(),
    }
}

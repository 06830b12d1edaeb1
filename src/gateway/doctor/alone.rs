//! What can be seen of an installation while no daemon runs.

use tokio::runtime::Builder;

use super::{VERSION, broker, check, clock, configuration, figures, machine};
use crate::{
    config::Config,
    domain::{Check, Verdict, with_causes},
    gateway::{self, certificates},
    store::ReadOnlyStore,
    tls::Expiries,
};

/// Why nothing is known of lines and panels.
const NOT_KNOWN: &str = "not known: no daemon is running with this configuration; start it, then ask again";

/// Says what there is to be said of databases.
pub type Reading = fn(&ReadOnlyStore) -> anyhow::Result<String>;

/// Looks without a daemon.
pub struct Alone<'a> {
    /// The configuration.
    pub config: &'a Config,
}

impl Alone<'_> {
    /// Looks at what can be seen, in the order of [`Doctor::examine`](super::Doctor::examine). `with_store`
    /// has the databases read. Blocks.
    pub fn examine(&self, with_store: impl FnOnce(Reading) -> anyhow::Result<String>) -> Vec<Check> {
        let config = self.config;
        let time = gateway::clock(config);
        let mut checks = configuration(config);
        checks.push(check("daemon", Verdict::Bad, "it does not run: `systemctl start intercom-gateway`"));
        checks.extend(machine::ports(config));
        checks.extend(machine::latencies(config));
        let unknown = |kind: &str, name| check(format!("{kind} {name}"), Verdict::Warn, NOT_KNOWN);
        checks.extend(config.buses.iter().map(|bus| unknown("bus", &bus.name)));
        checks.extend(config.panels.iter().map(|panel| unknown("panel", &panel.name)));
        checks.push(clock(time.is_synchronized()));
        checks.extend(machine::disk(&config.gateway.state_dir));
        checks.push(database(with_store(read)));
        checks.push(self.broker(time.is_synchronized()));
        checks.extend(certificates::checks(config, &Expiries::default(), time.known()));
        checks.push(check("version", Verdict::Ok, VERSION));
        checks
    }

    fn broker(&self, clock_synchronized: bool) -> Check {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return check("broker", Verdict::Warn, format!("not reached for: {error}")),
        };
        let config = self.config;
        runtime.block_on(broker::reach(config.mqtt.as_ref(), &config.gateway.id, clock_synchronized))
    }
}

/// What there is to be said of the databases.
fn read(store: &ReadOnlyStore) -> anyhow::Result<String> {
    let position = store.journal().position_on_disk()?;
    let state = store.cache().state_on_disk()?;
    Ok(figures(&position, position.delivered, &state))
}

fn database(read: anyhow::Result<String>) -> Check {
    match read {
        Ok(figures) => check("database", Verdict::Ok, figures),
        Err(error) => check("database", Verdict::Bad, with_causes(error.as_ref())),
    }
}

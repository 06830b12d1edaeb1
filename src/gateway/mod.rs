//! Wires the rooms to a daemon: starts them in order, supervises them, ends them in order.
//!
//! ```text
//!  store ─► directory ─► buses (a thread each) ──reports──► journal ─► cloud
//!    └─► control socket, api                                   └─────► control socket, api
//! ```
//! Invariants: a bus is never waited for by anything but its own unlocks; a store failure never stops a bus; the
//! end of any unit of the table (see [`units`]) is the end of the process, which systemd starts again. [`serve`] is a
//! list: when a unit starts and ends is what its row says, and each step uses what those before it returned.

mod base;
mod building;
mod certificates;
mod commands;
mod commissioning;
mod configured;
pub mod control;
mod directory;
pub mod doctor;
mod door_log;
mod end;
mod endpoint;
mod following;
mod health;
mod journal_new;
mod lines;
mod log_filter;
mod notify;
mod outside;
mod rates;
mod records;
pub mod reload;
pub mod replay;
mod reports;
mod statuses;
mod summary;
mod timekeeping;
mod tokens;
mod traces;
mod units;
mod uplink;

use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use tokio::sync::{Notify, watch};

pub use building::tenths;
pub use commissioning::COMMISSIONING;
pub use log_filter::LogFilter;
pub use records::{Records, known_panel_keys};
pub use tokens::TOKENS;
pub use traces::Traces;

use self::{
    base::Base,
    building::Building,
    control::Sockets,
    end::End,
    health::Watched,
    journal_new::JournalNew,
    notify::Notifier,
    outside::Outside,
    records::Writers,
    reload::Source,
    units::{Start, Units},
};
use crate::{
    backup::{self, Finished},
    clock::{Clock, Trust},
    config::{ClockMode, Config, ConfigErrors, Environment, Written, own_status_socket},
    domain::{EventBody, event::GatewayStarted, with_causes},
    tls::Expiries,
};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the daemon is started with.
pub struct Origin {
    /// Where the configuration comes from.
    pub source: Source,
    /// The configuration.
    pub written: Written,
}

impl Origin {
    /// Loads the configuration at `path`, with what is laid over it and this process's environment.
    ///
    /// # Errors
    /// All problems that were found, in the order of the files.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let source = Source { path: path.to_owned(), environment: Environment::of_process() };
        let written = Written::load(&source.path, &source.environment)?;
        Ok(Self { source, written })
    }
}

/// What the daemon is told while it runs.
pub struct Wishes {
    /// Becomes true when it is to end.
    pub stop: watch::Receiver<bool>,
    /// Its configuration is to be loaded again.
    pub reload: Arc<Notify>,
}

impl Wishes {
    /// Nobody wishes anything but the end.
    pub fn to_stop(stop: watch::Receiver<bool>) -> Self {
        Self { stop, reload: Arc::default() }
    }
}

/// Runs the daemon until it is wished to stop; `log` is what the cloud may change for a while. Blocks.
///
/// # Errors
/// It could not start (the message says what to do), or a vital part of it has ended.
pub fn run(origin: Origin, log: LogFilter, wishes: Wishes) -> anyhow::Result<()> {
    // Everything below state_dir is its owner's alone (contract §2).
    umask(Mode::from_bits_truncate(0o077));
    // What cannot be kept there is told by those who need it.
    if let Err(error) = make_state_dir(&origin.written.config().gateway.state_dir) {
        tracing::error!("{}", with_causes(error.as_ref()));
    }
    finish_restore(&origin.written.config().gateway.state_dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("gateway")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(serve(origin, log, wishes));
    // What still reads from a caller that stalls has nothing in force, and holds no end up.
    runtime.shutdown_background();
    served
}

/// Returns the machine's clock, trusted as configured.
pub fn clock(config: &Config) -> Clock {
    Clock::system(match config.gateway.clock {
        ClockMode::Auto => Trust::Auto,
        ClockMode::Trusted => Trust::Always,
    })
}

fn make_state_dir(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the state directory {} (gateway.state_dir)", dir.display()))
}

/// Makes up for a restore that a power cut interrupted.
fn finish_restore(state_dir: &Path) {
    match backup::finish(state_dir) {
        Ok(Finished::Nothing) => {}
        Ok(Finished::Undone) => tracing::warn!(
            "a restore was interrupted before it changed anything: stop the gateway and run `restore` again"
        ),
        Ok(Finished::Completed) => tracing::info!("a restore that was interrupted is complete now"),
        Ok(Finished::ConfigurationIsLeft) => tracing::error!(
            "a restore was interrupted, and files of the configuration are not in their places: stop the gateway and run `sudo intercom-gateway restore` again"
        ),
        Err(error) => tracing::error!("{}", with_causes(error.as_ref())),
    }
}

async fn serve(origin: Origin, log: LogFilter, mut wishes: Wishes) -> anyhow::Result<()> {
    let config = origin.written.config().clone();
    // Before the store, whose lock would refuse as well, but could not say who holds it.
    control::refuse_a_second(&config.gateway.control_socket())?;
    let units = Units::default();
    let runtime = units.add_runtime();
    let base = Base::open(config)?;
    units.add_writers(&base.store);

    units.begin(Start::Doors);
    base.record(EventBody::GatewayStarted(GatewayStarted { version: VERSION.to_owned() }));
    let (outlet, inlet) = reports::channel();
    let (recalling, recalled) = watch::channel(None);
    let traces = Traces::new(&base.config.now());
    let building = Building::new(&base, outlet, traces.clone(), recalled.clone());
    let buses = building.start_all(&base.config.now())?;
    units.add_buses(&buses);
    directory::start(&units, &base.keys, recalling);

    units.begin(Start::Services);
    let end = End::default();
    let (statuses, views) = statuses::channels(&base);
    let (tokens, no_tokens) = tokens::open(&base.config.now().gateway.state_dir);
    let certificates = Expiries::default();
    let outside = Outside::new(&base, &buses, &views, tokens, certificates.clone());
    let commissioning = commissioning::start(&units, &base, statuses.commissioning);
    let watched = Watched {
        journal: base.store.journal(),
        journal_new: JournalNew::new(&base.config.now().gateway.state_dir),
        keys: base.keys.trouble(),
        reports_lost: inlet.lost_in_all(),
        buses: buses.clone(),
        views: views.clone(),
        tokens: no_tokens,
        certificates: certificates.clone(),
        clock: base.clock.clone(),
        units: units.clone(),
    };
    inlet.start(&units, &base);
    lines::start(&units, &base, &buses, recalled);
    rates::start(&units, &base, &buses);
    let writers = Writers::start(&units, &base.records, &buses);
    if let Err(error) = traces.start(&units, end.begins()) {
        tracing::error!(%error, "no trace of a line is written: the thread for it cannot be started; doors open all the same");
    }
    let handles = outside.of_endpoint(commissioning);
    endpoint::start(&units, base.config.clone(), handles.clone(), statuses.endpoint, end.begins());
    certificates::start(&units, base.config.clone(), certificates);
    timekeeping::start(&units, &base);
    watched.start(&units, statuses.health.clone());
    uplink::start(&units, outside.of_uplink(log), statuses.uplink, statuses.sync, end.of_uplink());
    let reload = reload::start(
        &units,
        reload::Parts {
            source: origin.source,
            written: origin.written,
            ground: outside.of_reload(building, writers, &units, statuses.missing),
            views: views.clone(),
            clock: base.clock.clone(),
            hung_up: wishes.reload,
            stop: end.begins(),
        },
    );
    let sockets =
        Sockets { control: base.config.now().gateway.control_socket(), status: own_status_socket() };
    outside.of_control(reload, traces, handles, end.begins()).start(&units, sockets, statuses.control);

    units.begin(Start::Ready);
    let notifier = Notifier::start(&units, buses.clone(), views.health.clone())
        .context("cannot start the watchdog's thread")?;
    #[cfg(feature = "faults")]
    crate::faults::list(&units.lines());
    announce(&base.config.now());
    let tell = |reason| health::tell_end(&statuses.health, reason, base.clock.wall());
    let result = units::supervise(&units, &runtime.beat, &mut wishes.stop, tell).await;

    drop(runtime);
    let _in_time = units::exit_at_the_latest();
    if let Err(failure) = &result {
        tell(units.fail(failure));
        tracing::error!("{failure}");
    }
    let ended = end.in_order(&units, base, &buses, &notifier, result.is_err()).await;
    result.map_err(anyhow::Error::from).and(ended)
}

/// Says that the daemon runs.
fn announce(config: &Config) {
    tracing::info!(
        gateway = %config.gateway.id,
        version = VERSION,
        buses = config.buses.len(),
        panels = config.panels.len(),
        "started"
    );
}

//! Wires the rooms to a daemon: starts them in order, supervises them, ends them in order.
//!
//! ```text
//!  store ─► directory ─► buses (a thread each) ──reports──► journal ─► cloud
//!    └─► control socket, api                                   └─────► control socket, api
//! ```
//! Invariants: a bus is never waited for by anything but its own unlocks; a store failure never stops a bus; the
//! end of any unit of the table (see [`units`]) is the end of the process, which systemd starts again.

mod building;
mod certificates;
mod commands;
pub mod control;
mod directory;
pub mod doctor;
mod endpoint;
mod following;
mod health;
mod lines;
mod log_filter;
mod notify;
mod records;
mod reports;
mod timekeeping;
mod units;
mod uplink;

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use tokio::sync::{mpsc, watch};

pub use building::tenths;
pub use log_filter::LogFilter;

use self::{
    commands::Commands,
    directory::Keys,
    doctor::Doctor,
    notify::Notifier,
    records::Records,
    units::{Beat, Ending, Kind, Stage, Units},
};
use crate::{
    api::{Handles, Tokens, TokensError},
    bus::{BusHandle, Buses, Shared},
    clock::{Clock, Trust},
    config::{ClockMode, Config},
    domain::{
        EventBody, Health,
        HealthCode::{Certificate, Clock as ClockCode, Endpoint, Storage},
        Occurrence, SyncStatus, UplinkStatus,
        event::{GatewayStarted, GatewayStopping},
    },
    doors::{Doors, Flats},
    store::{Journal, Store, StoreOptions},
    tls::Expiries,
};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// File of the API tokens in the state directory.
pub const TOKENS: &str = "tokens.json";

/// Reports of the buses that may wait for the journal: a building's worst is some tens a second. When it is full,
/// the bus counts and goes on.
const REPORTS: usize = 4096;
const SECONDS_PER_DAY: u64 = 86_400;

/// Runs the daemon until `stop` becomes true; `log` is what the cloud may change for a while. Blocks.
///
/// # Errors
/// It could not start (the message says what to do), or a vital part of it has ended.
pub fn run(config: Config, stop: watch::Receiver<bool>, log: LogFilter) -> anyhow::Result<()> {
    // Everything below state_dir is its owner's alone (contract §2).
    umask(Mode::from_bits_truncate(0o077));
    // What cannot be kept there is told by those who need it.
    if let Err(error) = make_state_dir(&config.gateway.state_dir) {
        tracing::error!("{error:#}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("gateway")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(serve(config, stop, log));
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

async fn serve(config: Config, mut stop: watch::Receiver<bool>, log: LogFilter) -> anyhow::Result<()> {
    let units = Units::default();
    let clock = Arc::new(clock(&config));
    // Before the store, whose lock would refuse as well, but could not say who holds it.
    control::refuse_a_second(&config.gateway.control_socket())?;
    let store = open_store(&config, &clock)?;
    let (journal, cache) = (store.journal(), store.cache());
    let with_line = lines::configured(&config);
    let keys = Keys::new(cache.clone(), config.gateway.timezone.clone(), with_line.clone());
    let records = Records::at(&config.gateway.state_dir);

    let (reports, reports_receiver) = mpsc::channel(REPORTS);
    let lost = Arc::new(AtomicU64::new(0));
    let (recalled_sender, recalled) = watch::channel(None);
    let shared = Shared {
        in_force: keys.in_force(),
        clock: clock.clone(),
        reports,
        lost: lost.clone(),
        recalled: recalled.clone(),
    };
    append(&journal, &clock, EventBody::GatewayStarted(GatewayStarted { version: VERSION.to_owned() }));
    let buses = building::start_buses(&config, &records, &shared)?;
    drop(shared);

    // Told at the end, whatever ended us: `stop` is only a wish from outside.
    let (ending, ended) = watch::channel(false);
    let (end_uplink, uplink_ends) = watch::channel(false);
    let (tokens, no_tokens) = open_tokens(&config.gateway.state_dir);
    let (health_sender, health) = watch::channel(Health { since: clock.wall(), ..Health::default() });
    let (uplink_sender, uplink) =
        watch::channel(UplinkStatus { configured: config.mqtt.is_some(), ..Default::default() });
    let (sync_sender, sync) = watch::channel(SyncStatus::default());
    let (trouble_sender, trouble) = watch::channel(None);
    let (control_sender, control_trouble) = watch::channel(None);
    let reports_lost = Arc::new(AtomicU64::new(0));
    let doors = Doors::new(buses.clone());
    let expiries = Expiries::default();
    let intercoms: Vec<u64> = config.intercoms.iter().map(|intercom| intercom.id).collect();
    let refresh = keys.clone();
    let flats = Flats::new(cache.clone(), &intercoms, Arc::new(move || refresh.refresh()));
    let handles = Handles {
        cache: cache.clone(),
        journal: journal.clone(),
        buses: buses.clone(),
        doors: doors.clone(),
        health: health.clone(),
        uplink: uplink.clone(),
        sync: sync.clone(),
        clock: clock.clone(),
        tokens: tokens.clone(),
        certificates: expiries.clone(),
    };
    let doctor = Arc::new(Doctor {
        config: config.clone(),
        buses: buses.clone(),
        clock: clock.clone(),
        journal: journal.clone(),
        cache: cache.clone(),
        uplink: uplink.clone(),
        certificates: expiries.clone(),
    });
    let control = control::Control {
        gateway: config.gateway.id.clone(),
        state_dir: config.gateway.state_dir.clone(),
        journal: journal.clone(),
        cache: cache.clone(),
        flats: flats.clone(),
        clock: clock.clone(),
        doors: doors.clone(),
        tokens,
        stop: ended.clone(),
    };
    let watched = health::Watched {
        journal: journal.clone(),
        reports_lost: reports_lost.clone(),
        buses: buses.clone(),
        uplink,
        sync,
        endpoint: trouble,
        control: control_trouble,
        tokens: no_tokens,
        certificates: expiries.clone(),
        clock: clock.clone(),
        units: units.clone(),
    };
    let parts = uplink::Parts {
        store: &store,
        buses: &buses,
        clock: &clock,
        flats,
        health,
        uplink: uplink_sender,
        sync: sync_sender,
        perform: Commands { doors, doctor, log }.performer(),
    };

    // The table: what each is called, what health says where it fails, and when it ends.
    let runtime = Beat::new("the runtime");
    let (supervising, supervised) = watch::channel(());
    let is_over = move || supervised.has_changed().is_err();
    units.add(Kind::new("the runtime", Endpoint, Stage::Last), runtime.clone(), is_over);
    units.add_buses(&buses);
    units.add_writers(&store);
    units.spawn(Kind::new("the recall of the keys", Storage, Stage::Last).may_end(true), |beat| {
        keys.clone().recall(recalled_sender, beat)
    });
    let no_bus = buses.handles().is_empty();
    units.spawn(Kind::new("the journal's inlet", Storage, Stage::Handover).may_end(no_bus), |beat| {
        reports::pump(reports_receiver, journal.clone(), clock.clone(), lost, reports_lost, beat)
    });
    let kind = Kind::new("the view of the lines", Storage, Stage::Handover);
    let lines = following::follow(&units, kind, &buses, |bus| bus.lines.clone(), Buses::lines);
    units.spawn(Kind::new("the memory of lines", Storage, Stage::Handover).may_end(no_bus), |beat| {
        lines::remember(cache, lines, recalled, with_line, beat)
    });
    records::start_writers(&units, &records, &buses);
    units.spawn(Kind::new("the endpoint", Endpoint, Stage::Handover), |beat| {
        endpoint::serve(config.clone(), handles, trouble_sender, beat, ended)
    });
    if let Some(mqtt) = config.mqtt.clone() {
        units.spawn(Kind::new("the certificates", Certificate, Stage::Last), |beat| {
            certificates::follow_files(mqtt, expiries, beat)
        });
    }
    units.spawn(Kind::new("the directory", Storage, Stage::Last), |beat| keys.follow(beat));
    units.spawn(Kind::new("timekeeping", ClockCode, Stage::Last), |beat| {
        timekeeping::keep_time(clock.clone(), journal.clone(), beat)
    });
    units.spawn(Kind::new("health", Endpoint, Stage::Last), |beat| {
        health::watch_health(health_sender.clone(), watched, beat)
    });
    // Before the start is announced: a command may follow at once.
    let socket = config.gateway.control_socket();
    let made = control::listen(&socket);
    units.spawn(Kind::new("the control socket", Storage, Stage::Last), |beat| async move {
        control.serve(&socket, made, control_sender, &beat).await;
    });
    uplink::start(&units, &config, parts, uplink_ends);
    let notifier = Notifier::start(&units, buses.clone()).context("cannot start the watchdog's thread")?;
    #[cfg(feature = "faults")]
    crate::faults::list(&units.lines());
    tracing::info!(
        gateway = %config.gateway.id,
        version = VERSION,
        buses = config.buses.len(),
        panels = config.panels.len(),
        "started"
    );

    let tell = |reason| health::tell_end(&health_sender, reason, clock.wall());
    let result = units::supervise(&units, &runtime, &mut stop, tell).await;
    drop(supervising);
    units::exit_at_the_latest();
    if let Err(failure) = &result {
        tell(units.fail(failure));
        tracing::error!("{failure}");
    }
    tracing::info!("stopping");
    notifier.stopping();
    ending.send_replace(true);
    append(&journal, &clock, EventBody::GatewayStopping(GatewayStopping {}));
    let end = Ending::of(&units);
    let mut store = Some(store);
    for stage in Stage::order(result.is_err()) {
        match stage {
            Stage::Buses => end.stage(stage, buses.stop()).await,
            // They end with the buses; the endpoint was told.
            Stage::Handover => end.stage(stage, async {}).await,
            Stage::Farewell => end.stage(stage, async { _ = end_uplink.send_replace(true) }).await,
            Stage::Last => {
                notifier.stop();
                if let Some(floor) = clock.refresh() {
                    journal.set_time_floor(floor);
                }
                end.stage(stage, shut_down(store.take())).await;
            }
        }
    }
    let _ = fs::remove_file(config.gateway.control_socket());
    tracing::info!("stopped");
    result.map_err(anyhow::Error::from).and(joined(&buses))
}

fn append(journal: &Journal, clock: &Clock, body: EventBody) {
    reports::append(journal, Occurrence { stamp: clock.stamp(), body });
}

/// Closes the store on a thread that nobody has to wait for.
async fn shut_down(store: Option<Store>) {
    let closing = tokio::task::spawn_blocking(move || store.map(Store::shutdown));
    // A panic of it is logged, and its time is over.
    let _ = closing.await;
}

/// Returns how the buses have ended; one that has not is left as it is.
fn joined(buses: &Buses) -> anyhow::Result<()> {
    let mut ended = buses.handles().iter().filter(|bus| bus.is_finished());
    ended.try_for_each(BusHandle::join).context("a bus has failed")
}

fn open_store(config: &Config, clock: &Arc<Clock>) -> anyhow::Result<Store> {
    let (now, steady) = (clock.clone(), clock.clone());
    let store = Store::start(StoreOptions {
        dir: config.gateway.state_dir.clone(),
        keep: Duration::from_secs(u64::from(config.journal.keep_days) * SECONDS_PER_DAY),
        max_events: config.journal.max_events,
        max_journal_bytes: None,
        alone: config.mqtt.is_none(),
        now: Arc::new(move || now.stamp()),
        clock_is_steady: Arc::new(move || steady.is_steady()),
    })?;
    if let Some(floor) = store.time_floor() {
        clock.restore(&floor);
    }
    Ok(store)
}

/// Returns the tokens, and what is wrong with them. Without any nobody gets in, but the doors open: a damaged file is set
/// aside, and one that cannot be read is left as it is.
fn open_tokens(state_dir: &Path) -> (Tokens, Option<String>) {
    let path = state_dir.join(TOKENS);
    let opened = match Tokens::open(&path) {
        Err(error @ TokensError::Damaged { .. }) => {
            let aside = path.with_extension("json.damaged");
            fs::rename(&path, &aside).map_err(|_| error.to_string()).and_then(|()| {
                tracing::error!("{error}; it was moved to {}", aside.display());
                Tokens::open(&path).map_err(|error| error.to_string())
            })
        }
        opened => opened.map_err(|error| error.to_string()),
    };
    match opened {
        Ok(tokens) => (tokens, None),
        Err(cause) => {
            let trouble = format!("no API token is known, so the endpoint admits nobody: {cause}");
            tracing::error!("{trouble}");
            (Tokens::unread(&path, cause), Some(trouble))
        }
    }
}

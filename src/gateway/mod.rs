//! Wires the rooms to a daemon: starts them in order, supervises them, ends them in order.
//!
//! ```text
//!  store ─► directory ─► buses (a thread each) ──reports──► journal ─► cloud
//!    └─► control socket, api                                   └─────► control socket, api
//! ```
//! Invariants: a bus is never waited for by anything but its own unlocks; a store failure never stops a bus; the
//! end of any long-lived task is the end of the process, which systemd starts again.

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
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

pub use building::tenths;
pub use log_filter::LogFilter;

use self::{
    commands::Commands,
    directory::Keys,
    doctor::Doctor,
    notify::{Beat, Notifier, Vital},
    records::{Records, Writers},
    units::Unit,
};
use crate::{
    api::{Handles, Tokens, TokensError},
    bus::{BusHandle, Buses, Shared},
    clock::{Clock, Trust},
    config::{ClockMode, Config},
    domain::{
        EventBody, Health, Occurrence, SyncStatus, UplinkStatus,
        event::{GatewayStarted, GatewayStopping},
    },
    doors::{Doors, Flats},
    store::{Store, StoreOptions},
    tls::Expiries,
};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// File of the API tokens in the state directory.
pub const TOKENS: &str = "tokens.json";

/// Reports of the buses that may wait for the journal: a building's worst is some tens a second. When it is full,
/// the bus counts and goes on.
const REPORTS: usize = 4096;
/// How often the supervisor looks whether the threads live.
const SUPERVISION: Duration = Duration::from_secs(1);
/// How long the buses may take to finish what is on the wire: an OUT and its answer at the lowest rate are below 2 s.
const BUSES_END: Duration = Duration::from_secs(5);
/// How long what the buses said last may take to be taken over.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// How long the endpoint may take to end; it drains for 2 s.
const ENDPOINT_END: Duration = Duration::from_secs(3);
/// How long the uplink may take to say good-bye.
const UPLINK_END: Duration = Duration::from_secs(4);
const SECONDS_PER_DAY: u64 = 86_400;

/// Runs the daemon until `stop` becomes true; `log` is what the cloud may change for a while. Blocks.
///
/// # Errors
/// It could not start (the message says what to do), or a vital part of it has ended.
pub fn run(config: Config, stop: watch::Receiver<bool>, log: LogFilter) -> anyhow::Result<()> {
    // Everything below state_dir is its owner's alone (contract §2).
    umask(Mode::from_bits_truncate(0o077));
    // Whatever cannot be kept there is told by whoever needs it.
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
    let clock = Arc::new(clock(&config));
    // Before the store, whose lock would refuse as well, but could not say who holds it.
    control::refuse_a_second(&config.gateway.control_socket())?;
    let store = open_store(&config, &clock)?;
    let journal = store.journal();
    let with_line = lines::configured(&config);
    let keys = Keys::new(store.cache(), config.gateway.timezone.clone(), with_line.clone());
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
    reports::append(
        &journal,
        Occurrence {
            stamp: clock.stamp(),
            body: EventBody::GatewayStarted(GatewayStarted { version: VERSION.to_owned() }),
        },
    );
    let buses = building::start_buses(&config, &records, &shared)?;
    tokio::spawn(keys.clone().recall(recalled_sender));
    let writers = Writers::start(&records, &buses);
    drop(shared);
    let (lines, line_followers) = following::follow(&buses, |bus| bus.lines.clone(), Buses::lines);
    let lines_memory = tokio::spawn(lines::remember(store.cache(), lines, recalled, with_line));

    // Told at the end, whatever ended us: `stop` is only a wish from outside.
    let (ending, ended) = watch::channel(false);
    let (tokens, no_tokens) = open_tokens(&config.gateway.state_dir);
    let (health_sender, health) = watch::channel(Health { since: clock.wall(), ..Health::default() });
    let (uplink_sender, uplink) =
        watch::channel(UplinkStatus { configured: config.mqtt.is_some(), ..Default::default() });
    let (sync_sender, sync) = watch::channel(SyncStatus::default());
    let reports_lost = Arc::new(AtomicU64::new(0));
    let pump = tokio::spawn(reports::pump(
        reports_receiver,
        journal.clone(),
        clock.clone(),
        lost,
        reports_lost.clone(),
    ));
    let (trouble_sender, trouble) = watch::channel(None);
    let (control_sender, control_trouble) = watch::channel(None);
    let doors = Doors::new(buses.clone());
    let expiries = Expiries::default();
    let handles = Handles {
        cache: store.cache(),
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
    let (runtime_beat, endpoint_beat, uplink_beat) =
        (Beat::new(Vital::Runtime), Beat::new(Vital::Endpoint), Beat::new(Vital::Uplink));
    let of_bus = |bus: &BusHandle| Beat::of(Vital::Bus(bus.name.clone()), bus.beat.clone());
    let mut beats: Vec<Beat> = buses.handles().iter().map(of_bus).collect();
    beats.extend([runtime_beat.clone(), endpoint_beat.clone()]);
    beats.extend(config.mqtt.is_some().then(|| uplink_beat.clone()));
    let endpoint =
        tokio::spawn(endpoint::serve(config.clone(), handles, trouble_sender, endpoint_beat, ended.clone()));
    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let mut vital = |name: &'static str, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn(async move {
            task.await;
            name
        });
    };
    let doctor = Arc::new(Doctor {
        config: config.clone(),
        buses: buses.clone(),
        clock: clock.clone(),
        journal: journal.clone(),
        cache: store.cache(),
        uplink: uplink.clone(),
        certificates: expiries.clone(),
    });
    if let Some(mqtt) = config.mqtt.clone() {
        vital("the certificates", Box::pin(certificates::follow_files(mqtt, expiries.clone())));
    }
    vital("the directory", Box::pin(keys.clone().follow()));
    vital("timekeeping", Box::pin(timekeeping::keep_time(clock.clone(), journal.clone())));
    vital(
        "health",
        Box::pin(health::watch_health(
            health_sender,
            health::Watched {
                journal: journal.clone(),
                reports_lost,
                buses: buses.clone(),
                uplink,
                sync,
                endpoint: trouble,
                control: control_trouble,
                tokens: no_tokens,
                certificates: expiries.clone(),
                clock: clock.clone(),
                beats: beats.clone(),
            },
        )),
    );
    let intercoms: Vec<u64> = config.intercoms.iter().map(|intercom| intercom.id).collect();
    let flats = Flats::new(store.cache(), &intercoms, Arc::new(move || keys.refresh()));
    let control = control::Control {
        gateway: config.gateway.id.clone(),
        state_dir: config.gateway.state_dir.clone(),
        journal: journal.clone(),
        cache: store.cache(),
        flats: flats.clone(),
        clock: clock.clone(),
        doors: doors.clone(),
        tokens,
        stop: ended,
    };
    let socket = config.gateway.control_socket();
    vital("the control socket", Box::pin(async move { control.serve(&socket, control_sender).await }));
    let (end_uplink, uplink_ends) = watch::channel(false);
    let parts = uplink::Parts {
        store: &store,
        buses: &buses,
        clock: &clock,
        flats,
        health,
        uplink: uplink_sender,
        sync: sync_sender,
        beat: uplink_beat.cell(),
        perform: Commands { doors, doctor, log }.performer(),
    };
    let (uplink, view) = uplink::start(&config, parts, uplink_ends).unzip();
    let mut units = vec![Unit::task("the endpoint", &endpoint)];
    units.extend(uplink.as_ref().map(|uplink| Unit::task("the uplink", uplink)));
    units.extend(view);
    // Where there is no bus, what lives by them ends at once.
    if !buses.handles().is_empty() {
        units.extend([
            Unit::task("the journal's inlet", &pump),
            Unit::task("the memory of lines", &lines_memory),
            Unit::tasks("what follows the lines", line_followers),
            Unit::tasks("a writer of panel keys", writers.handles()),
        ]);
    }
    let notifier = Notifier::start(beats, buses.clone()).context("cannot start the watchdog's thread")?;
    tracing::info!(
        gateway = %config.gateway.id,
        version = VERSION,
        buses = config.buses.len(),
        panels = config.panels.len(),
        "started"
    );

    let result = supervise(&mut tasks, &units, &buses, &store, &runtime_beat, &mut stop).await;
    if let Err(error) = &result {
        tracing::error!("{error:#}");
    }
    tracing::info!("stopping");
    notifier.stopping();
    ending.send_replace(true);
    reports::append(
        &journal,
        Occurrence { stamp: clock.stamp(), body: EventBody::GatewayStopping(GatewayStopping {}) },
    );
    let joined = stop_buses(buses).await;
    // The buses have ended, so their reports end.
    let _ = tokio::time::timeout(LAST_WRITES, pump).await;
    // What the panels proved last is on the disk before the process ends.
    writers.join().await;
    // Likewise, and its last write is short.
    let _ = tokio::time::timeout(LAST_WRITES, lines_memory).await;
    // It gives its requests two seconds; one that was about to end by itself is told nothing.
    let _ = tokio::time::timeout(ENDPOINT_END, endpoint).await;
    // Last of all that speak: what the buses reported to the end goes up too, as far as a few seconds allow.
    end_uplink.send_replace(true);
    if let Some(uplink) = uplink {
        match tokio::time::timeout(UPLINK_END, uplink).await {
            Ok(Ok(Err(error))) => tracing::warn!("the uplink ended badly: {error:#}"),
            Ok(Err(error)) => tracing::warn!("the uplink ended badly: {error}"),
            Ok(Ok(Ok(()))) => {}
            Err(_) => tracing::warn!(
                "the uplink did not end in time; what is not delivered goes up at the next start"
            ),
        }
    }
    tasks.shutdown().await;
    let _ = fs::remove_file(config.gateway.control_socket());
    if let Some(floor) = clock.refresh() {
        journal.set_time_floor(floor);
    }
    tokio::task::spawn_blocking(move || store.shutdown()).await.context("closing the store")?;
    tracing::info!("stopped");
    result.and(joined)
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

/// Waits for the wish to stop, or for the end of something that must not end.
async fn supervise(
    tasks: &mut JoinSet<&'static str>,
    units: &[Unit],
    buses: &Buses,
    store: &Store,
    beat: &Beat,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(SUPERVISION);
    loop {
        tokio::select! {
            // An error: nobody is left who could ask us to stop.
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            Some(ended) = tasks.join_next() => match ended {
                Ok(name) => anyhow::bail!("{name} has ended"),
                Err(error) => anyhow::bail!("a task has failed: {error}"),
            },
            _ = ticks.tick() => {
                beat.stamp();
                if let Some(name) = units::ended(units) {
                    anyhow::bail!("{name} has ended");
                }
                if let Some(bus) = buses.handles().iter().find(|bus| bus.is_finished()) {
                    anyhow::bail!("the thread of bus {} has ended", bus.name);
                }
                if let Some(name) = store.ended_writer() {
                    anyhow::bail!("the writer of the {name} has ended");
                }
            }
        }
    }
}

/// Lets every bus finish its transaction, and waits for the threads, but not for ever: a port may hang.
async fn stop_buses(buses: Buses) -> anyhow::Result<()> {
    let joined = async {
        for bus in buses.handles() {
            bus.stop().await;
        }
        let joined =
            tokio::task::spawn_blocking(move || buses.handles().iter().try_for_each(|bus| bus.join()));
        joined.await.context("waiting for the buses")?.context("a bus has failed")
    };
    match tokio::time::timeout(BUSES_END, joined).await {
        Ok(joined) => joined,
        Err(_) => {
            tracing::error!("a bus does not end: it is left as it is");
            Ok(())
        }
    }
}

//! `run`: the daemon.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};

use super::logging;
use crate::{
    gateway::{self, Origin, Wishes},
    sys,
};

/// Runs the daemon, until SIGTERM or SIGINT; SIGHUP reloads the configuration
#[derive(Debug, clap::Args)]
pub struct Run {}

impl Run {
    /// # Errors
    /// The configuration is invalid, the daemon cannot start, or a vital part of it has ended.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        sys::give_large_blocks_back();
        let origin = Origin::load(config)?;
        let log = logging::start()?;
        logging::log_panics();
        let (stop, stopped) = watch::channel(false);
        let reload = Arc::new(Notify::new());
        watch_signals(stop, reload.clone())?;
        gateway::run(origin, log, Wishes { stop: stopped, reload })
    }
}

/// A thread of its own: signals are heard whatever the daemon's runtime is doing.
fn watch_signals(stop: watch::Sender<bool>, reload: Arc<Notify>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    drop(entered);
    let listen = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminated.recv() => break,
                    _ = interrupted.recv() => break,
                    _ = hung_up.recv() => reload.notify_one(),
                }
            }
            stop.send_replace(true);
            // A second one finds the default action again only by SIGKILL: the shutdown has its own deadlines.
            std::future::pending::<()>().await;
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).context("cannot start a thread")?;
    Ok(())
}

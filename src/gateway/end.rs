//! The end in order: who is told what, and when.

use std::fs;

use anyhow::Context;
use tokio::sync::watch;

use super::{
    base::Base,
    notify::Notifier,
    units::{Ending, Stage, Units},
};
use crate::{
    bus::Buses,
    domain::{EventBody, event::GatewayStopping},
    store::Store,
    sys,
};

/// Tells those of the end who cannot see it by what they stand on: the wish from outside is only a wish.
#[derive(Default)]
pub struct End {
    has_begun: watch::Sender<bool>,
    uplink: watch::Sender<bool>,
}

impl End {
    /// Becomes true when the end begins.
    pub fn begins(&self) -> watch::Receiver<bool> {
        self.has_begun.subscribe()
    }

    /// Becomes true when the uplink is to say good-bye.
    pub fn of_uplink(&self) -> watch::Receiver<bool> {
        self.uplink.subscribe()
    }

    /// Ends everything, stage by stage; whatever hangs is left as it is.
    ///
    /// # Errors
    /// A bus has failed.
    pub async fn in_order(
        self,
        units: &Units,
        base: Base,
        buses: &Buses,
        notifier: &Notifier,
        has_failed: bool,
    ) -> anyhow::Result<()> {
        tracing::info!("stopping");
        notifier.stopping();
        self.has_begun.send_replace(true);
        base.record(EventBody::GatewayStopping(GatewayStopping {}));
        let Base { config, clock, store, .. } = base;
        let socket = config.now().gateway.control_socket();
        let journal = store.journal();
        let mut store = Some(store);
        let ending = Ending::of(units);
        for stage in Stage::order(has_failed) {
            match stage {
                Stage::Buses => ending.stage(stage, buses.stop()).await,
                // They end with the buses; the endpoint was told.
                Stage::Handover => ending.stage(stage, async {}).await,
                Stage::Farewell => ending.stage(stage, async { _ = self.uplink.send_replace(true) }).await,
                Stage::Last => {
                    notifier.stop();
                    if let Some(floor) = clock.refresh() {
                        journal.set_time_floor(floor);
                    }
                    ending.stage(stage, shut_down(store.take())).await;
                }
            }
        }
        let _ = fs::remove_file(socket);
        tracing::info!("stopped");
        joined(buses)
    }
}

/// Closes the store on a thread that nobody has to wait for.
async fn shut_down(store: Option<Store>) {
    let closing = sys::blocking(move || store.map(Store::shutdown));
    // A panic of it is logged, and its time is over.
    let _ = closing.await;
}

/// Returns how the buses have ended; one that has not is left as it is.
fn joined(buses: &Buses) -> anyhow::Result<()> {
    let buses = buses.handles();
    let mut ended = buses.iter().filter(|bus| bus.is_finished());
    ended.try_for_each(|bus| bus.join()).context("a bus has failed")
}

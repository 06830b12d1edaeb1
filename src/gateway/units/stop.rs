//! The end, stage by stage.

use std::{
    process,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use futures_util::future::{join, join_all};
use tokio::time::{sleep, timeout};

use super::{Units, table::TABLE, unit::Unit};
use crate::{clock, domain::Mono};

/// How long the end may take in all, whatever hangs: systemd waits for 15 s.
pub const END: Duration = Duration::from_secs(10);
/// What is left of [`END`] for the end of the process itself.
const EXIT: Duration = Duration::from_millis(200);
/// How often it is looked whether the units of a stage have ended.
const LOOK: Duration = Duration::from_millis(5);

/// When a unit ends: all of a stage at once, one stage after the other. How long each may take stands in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The buses finish what is on the wire, and shut the locks that they time.
    Buses,
    /// What takes over the buses' last reports, records and lines; and the endpoint, which was told before.
    Handover,
    /// The uplink says good-bye: what the buses reported to the end goes up too, as far as its time allows.
    Farewell,
    /// The store, and what is of use to the end.
    Last,
}

impl Stage {
    /// The order of an end that was wished for.
    const ORDER: [Self; 4] = [Self::Buses, Self::Handover, Self::Farewell, Self::Last];
    /// The order after a failure: the broker is told before anything that can hang.
    const AFTER_FAILURE: [Self; 4] = [Self::Farewell, Self::Buses, Self::Handover, Self::Last];

    /// Returns the stages in order.
    pub fn order(has_failed: bool) -> [Self; 4] {
        if has_failed { Self::AFTER_FAILURE } else { Self::ORDER }
    }

    /// Returns the time of the stage: that of the unit which may take longest.
    fn within(self) -> Duration {
        let rows = TABLE.iter().filter(|row| row.stage == self);
        rows.map(|row| row.within).max().unwrap_or_default()
    }
}

/// An end under way.
pub struct Ending<'a> {
    units: &'a Units,
    since: Mono,
}

impl<'a> Ending<'a> {
    /// Begins now.
    pub fn of(units: &'a Units) -> Self {
        Self { units, since: clock::mono() }
    }

    /// Asks the units of a stage to end by `ask`, and waits for each as long as its row says. Those that have not ended by
    /// then are named in the log, and left as they are. Tasks of the last stage are not asked.
    pub async fn stage(&self, stage: Stage, ask: impl Future<Output = ()>) {
        let units: Vec<_> = self.units.all().into_iter().filter(|unit| unit.row().stage == stage).collect();
        if stage == Stage::Last {
            units.iter().filter_map(|unit| unit.task.as_ref()).for_each(tokio::task::AbortHandle::abort);
        }
        let left = (self.since + (END - EXIT)).since(clock::mono());
        // The last stage has what the others have left.
        let time = |within| if stage == Stage::Last { left } else { within };
        let ends = units.iter().map(|unit| timeout(time(unit.row().within), ended(unit)));
        // An error: what it asked for is missed in a unit, which is told.
        _ = join(timeout(time(stage.within()), ask), join_all(ends)).await;
        for unit in units.iter().filter(|unit| !unit.has_ended()) {
            tracing::error!(
                part = unit.name(),
                "does not end in time: it is left as it is, and what it has not done is lost or done at the next start"
            );
        }
    }
}

async fn ended(unit: &Unit) {
    while !unit.has_ended() {
        sleep(LOOK).await;
    }
}

/// The end comes in time as long as this is dropped before [`END`].
pub struct InTime {
    _ended: SyncSender<()>,
}

/// Ends the process when the end takes too long for what it has promised: the runtime itself stands still. A daemon that has
/// ended drops what this returns, for the process may go on without it.
pub fn exit_at_the_latest() -> InTime {
    let (ended, is_over) = sync_channel(0);
    let exit = move || {
        if is_over.recv_timeout(END) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        tracing::error!("the end takes too long: the process ends as it is");
        process::exit(1);
    };
    if let Err(error) = thread::Builder::new().name("end".into()).spawn(exit) {
        tracing::error!(%error, "nothing but systemd ends the process where the runtime hangs");
    }
    InTime { _ended: ended }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_together_take_no_longer_than_the_end_may() {
        for has_failed in [false, true] {
            let order = Stage::order(has_failed);
            let sum: Duration = order.iter().map(|stage| stage.within()).sum();
            assert_eq!(sum, END - EXIT);
            assert_eq!(order[0], if has_failed { Stage::Farewell } else { Stage::Buses });
        }
    }
}

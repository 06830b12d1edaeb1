//! Remembers the states of lines across restarts.
//!
//! Invariant: a state is written down a little later than its event, so that what a power cut takes is rather told
//! again than never told.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    base::Base,
    following::follow,
    units::{Beat, Part, Units},
};
use crate::{
    bus::{Buses, KeptLines, KnownLine},
    config::Config,
    lines::KeptLine,
    store::{Cache, LineChanges, LineRecord},
    sys,
};

/// Flats by intercom and number on the door.
pub type Flats = HashSet<(u64, u64)>;

/// Changes share a write, and the journal has committed their events by then.
const SETTLE: Duration = Duration::from_secs(1);
/// How long to wait before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The flats that have a line in the configuration.
pub fn configured(config: &Config) -> Flats {
    let of_panel = |panel: &crate::config::Panel| {
        let intercom = panel.intercom;
        let lines = panel.modbus.clone().map(|modbus| modbus.lines).unwrap_or_default();
        lines.into_iter().map(move |(_, flat)| (intercom, flat))
    };
    config.panels.iter().flat_map(of_panel).collect()
}

/// What is remembered. Where it cannot be read, lines begin as unknown.
pub fn recall(cache: &Cache) -> KeptLines {
    let records = cache.lines().unwrap_or_else(|error| {
        tracing::warn!(%error, "the last states of lines are not known");
        Vec::new()
    });
    records.iter().map(kept).collect()
}

/// Starts to remember the lines of the buses. `recalled`: what is remembered already.
pub fn start(units: &Units, base: &Base, buses: &Buses, recalled: watch::Receiver<Option<Arc<KeptLines>>>) {
    let lines = follow(units, Part::LinesView, buses, |bus| bus.lines.clone(), Buses::lines);
    let (cache, configured) = (base.store.cache(), configured(&base.config.now()));
    units.spawn(Part::LinesMemory, |beat| remember(cache, lines, recalled, configured, beat));
}

/// Writes down what changes of `lines`, until the buses have ended. `recalled`: what is written down already; `configured`: what
/// else is there may go.
async fn remember(
    cache: Cache,
    mut lines: watch::Receiver<Vec<KnownLine>>,
    mut recalled: watch::Receiver<Option<Arc<KeptLines>>>,
    configured: Flats,
    beat: Beat,
) {
    // An error: the daemon ends before they were read.
    let Ok(mut written) = beat
        .wait(recalled.wait_for(Option::is_some))
        .await
        .map(|kept| KeptLines::clone(kept.as_deref().unwrap_or(&KeptLines::new())))
    else {
        return;
    };
    let mut forget: Vec<_> = written.keys().filter(|flat| !configured.contains(flat)).copied().collect();
    let mut has_ended = false;
    let mut told = None;
    loop {
        let changes = LineChanges { keep: differing(&lines.borrow_and_update(), &written), forget };
        let failed = match beat.wait(write(&cache, &changes)).await {
            Ok(()) => {
                written.extend(changes.keep.iter().map(kept));
                (forget, told) = (Vec::new(), None);
                false
            }
            Err(error) => {
                if told.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "the states of lines cannot be written down; after a restart some may be told again"
                    );
                    told = Some(error);
                }
                forget = changes.forget;
                true
            }
        };
        if has_ended {
            return;
        }
        if failed {
            has_ended = beat.wait(sleep_until_end(&mut lines, RETRY)).await;
            continue;
        }
        has_ended =
            beat.wait(lines.changed()).await.is_err() || beat.wait(sleep_until_end(&mut lines, SETTLE)).await;
    }
}

/// Lines whose state, or what was told of it, is another than what is written down.
fn differing(lines: &[KnownLine], written: &KeptLines) -> Vec<LineRecord> {
    let differs = |line: &&KnownLine| {
        let before = written.get(&(line.status.intercom, line.status.flat));
        before.is_none_or(|before| {
            (before.state, before.told, before.since) != (line.status.state, line.told, line.status.since)
        })
    };
    let record = |line: &KnownLine| {
        let KeptLine { state, told, raw, since, measured_at } = line.kept();
        let (intercom, flat) = (line.status.intercom, line.status.flat);
        LineRecord { intercom, flat, state, told, raw, since, measured_at }
    };
    lines.iter().filter(differs).map(record).collect()
}

fn kept(record: &LineRecord) -> ((u64, u64), KeptLine) {
    let LineRecord { intercom, flat, state, told, raw, since, measured_at } = *record;
    ((intercom, flat), KeptLine { state, told, raw, since, measured_at })
}

async fn write(cache: &Cache, changes: &LineChanges) -> Result<(), String> {
    if changes.is_empty() {
        return Ok(());
    }
    let (cache, changes) = (cache.clone(), changes.clone());
    let written = sys::finished(sys::blocking(move || cache.keep_lines(changes))).await;
    written.map_err(|error| error.to_string())
}

/// Sleeps, but not longer than the buses live; whether they have ended.
async fn sleep_until_end(lines: &mut watch::Receiver<Vec<KnownLine>>, time: Duration) -> bool {
    let ended = async { while lines.changed().await.is_ok() {} };
    tokio::time::timeout(time, ended).await.is_ok()
}

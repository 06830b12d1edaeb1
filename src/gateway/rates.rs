//! Remembers the rates of lines with `baud = "auto"` across restarts.
//!
//! Invariant: a bus is told that a rate is written down when it is, and not before: it tells its panels nothing until then.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    base::Base,
    following::follow,
    units::{Beat, Part, Units},
};
use crate::{
    bus::{Buses, KeptRate, KeptRates},
    domain::Name,
    store::{Cache, RateRecord},
    sys,
};

/// How long to wait before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// A rate that a bus wants written down, with how often it has changed.
type Wanted = (Name, KeptRate, u64);

/// What is remembered. Where it cannot be read, all rates are tried.
pub fn recall(cache: &Cache) -> KeptRates {
    let records = cache.rates().unwrap_or_else(|error| {
        tracing::warn!(%error, "the last rates of lines are not known: all are tried");
        Vec::new()
    });
    let kept = |record: RateRecord| {
        let RateRecord { bus, baud, other } = record;
        Some((Name::new(&bus).ok()?, KeptRate { baud, to: other }))
    };
    records.into_iter().filter_map(kept).collect()
}

/// Starts to remember the rates of the buses.
pub fn start(units: &Units, base: &Base, buses: &Buses) {
    let wanted = follow(units, Part::RatesView, buses, |bus| bus.kept_rate.clone(), wanted);
    let (cache, buses, known) = (base.store.cache(), buses.clone(), base.keys.rates());
    units.spawn(Part::RatesMemory, |beat| async move { remember(cache, buses, wanted, &known, beat).await });
}

fn wanted(buses: &Buses) -> Vec<Wanted> {
    let of = |bus: &Arc<crate::bus::BusHandle>| {
        let (rate, version) = (*bus.kept_rate.borrow())?;
        Some((bus.name.clone(), rate, version))
    };
    buses.handles().iter().filter_map(of).collect()
}

/// Writes down what is new of `wanted`, until the buses have ended.
async fn remember(
    cache: Cache,
    buses: Buses,
    mut wanted: watch::Receiver<Vec<Wanted>>,
    known: &arc_swap::ArcSwap<KeptRates>,
    beat: Beat,
) {
    let mut written: Vec<Wanted> = Vec::new();
    let mut has_ended = false;
    let mut is_failing = false;
    loop {
        let now = wanted.borrow_and_update().clone();
        let mut failed = false;
        for one in now.iter().filter(|one| !written.contains(one)) {
            let (bus, rate, version) = one.clone();
            match beat.wait(write(&cache, &bus, rate)).await {
                Ok(()) => {
                    known.rcu(|known| {
                        let mut known = KeptRates::clone(known);
                        known.insert(bus.clone(), rate);
                        known
                    });
                    let handle = buses.handles().iter().find(|handle| handle.name == bus).cloned();
                    if let Some(handle) = handle {
                        beat.wait(handle.rate_stored(version)).await;
                    }
                    is_failing = false;
                }
                Err(error) => {
                    failed = true;
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            %bus, error,
                            "the rate of the line cannot be written down: it is not raised before it can"
                        );
                    }
                }
            }
        }
        if !failed {
            written = now;
        }
        if has_ended {
            return;
        }
        let changed = async {
            if failed {
                tokio::time::timeout(RETRY, wanted.changed()).await.unwrap_or(Ok(()))
            } else {
                wanted.changed().await
            }
        };
        has_ended = beat.wait(changed).await.is_err();
    }
}

async fn write(cache: &Cache, bus: &Name, rate: KeptRate) -> Result<(), String> {
    let record = RateRecord { bus: bus.to_string(), baud: rate.baud, other: rate.to };
    let cache = cache.clone();
    let written = sys::finished(sys::blocking(move || cache.keep_rate(record))).await;
    written.map_err(|error| error.to_string())
}

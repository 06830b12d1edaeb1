//! When events happened, as the journal has it.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context, ensure};
use intercom_gateway::{
    domain::{Mono, StoredEvent},
    store::Store,
};
use nix::time::{ClockId, clock_gettime};

/// When each card's event happened, by the stamp that the line's thread gave it: milliseconds since boot, rounded down.
pub fn swipes(state: &Path) -> anyhow::Result<HashMap<u32, Mono>> {
    let suspended = suspended()?;
    let at = |event: &StoredEvent| Mono::from_nanos(event.stamp.uptime_ms * 1_000_000) - suspended;
    let store = Store::open_read_only(state)?;
    let mut times = HashMap::new();
    for event in
        store.journal().read(1, usize::MAX)?.iter().filter(|event| event.kind == "intercom.key.swiped")
    {
        let data: serde_json::Value = serde_json::from_str(&event.data)?;
        let raw = data["raw"].as_str().context("a swipe without a code")?;
        times.insert(u32::from_str_radix(raw, 16)?, at(event));
    }
    ensure!(!times.is_empty(), "the journal has no swipes");
    Ok(times)
}

/// By how much time since boot, which counts suspended time as well, is ahead of the monotonic clock.
pub fn suspended() -> anyhow::Result<Duration> {
    let now = |clock| anyhow::Ok(Duration::from(clock_gettime(clock)?));
    Ok(now(ClockId::CLOCK_BOOTTIME)?.saturating_sub(now(ClockId::CLOCK_MONOTONIC)?))
}

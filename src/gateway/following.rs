//! What all buses say as one value.

use futures_util::future::select_all;
use tokio::sync::watch;

use super::units::{Part, Units};
use crate::bus::{BusHandle, Buses};

/// Collects anew whenever what `of` picks at any bus has changed. Returns the value; the task ends with the last bus.
pub fn follow<T, U>(
    units: &Units,
    part: Part,
    buses: &Buses,
    of: impl Fn(&BusHandle) -> watch::Receiver<U>,
    collect: impl Fn(&Buses) -> T + Send + Sync + 'static,
) -> watch::Receiver<T>
where
    T: Send + Sync + 'static,
    U: Send + Sync + 'static,
{
    let (sender, receiver) = watch::channel(collect(buses));
    let mut said: Vec<_> = buses.handles().iter().map(of).collect();
    let buses = buses.clone();
    units.spawn(part, |beat| async move {
        while !said.is_empty() {
            let changes = said.iter_mut().map(|said| Box::pin(said.changed()));
            let (changed, bus, _) = beat.wait(select_all(changes)).await;
            match changed {
                Ok(()) => drop(sender.send_replace(collect(&buses))),
                // The bus has ended, and what it said last is collected.
                Err(_) => drop(said.swap_remove(bus)),
            }
        }
    });
    receiver
}

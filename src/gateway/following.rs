//! What all buses say as one value.

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::sync::watch;

use super::units::{Part, Units};
use crate::bus::{BusHandle, BusSet, Buses};

/// Collects anew whenever what `of` picks at any bus has changed, or buses have come or gone. Returns the value; the task
/// ends with the last bus, when no more will come.
pub fn follow<T, U>(
    units: &Units,
    part: Part,
    buses: &Buses,
    of: impl Fn(&BusHandle) -> watch::Receiver<U> + Send + Sync + 'static,
    collect: impl Fn(&Buses) -> T + Send + Sync + 'static,
) -> watch::Receiver<T>
where
    T: Send + Sync + 'static,
    U: Send + Sync + 'static,
{
    let (sender, receiver) = watch::channel(collect(buses));
    let buses = buses.clone();
    units.spawn(part, |beat| async move {
        let mut set = buses.watch();
        let said_by = |set: &BusSet| set.buses.iter().map(|bus| of(bus)).collect::<Vec<_>>();
        let mut said = said_by(&set.borrow_and_update());
        loop {
            if said.is_empty() && set.borrow().is_final {
                return;
            }
            let news = async {
                let changes = said.iter_mut().map(|said| Box::pin(said.changed()));
                let mut changes: FuturesUnordered<_> = changes
                    .enumerate()
                    .map(|(bus, change)| change.map(move |change| (bus, change)))
                    .collect();
                tokio::select! {
                    // The sender is in `buses`.
                    Ok(()) = set.changed() => News::Set,
                    Some((bus, change)) = changes.next() => match change {
                        Ok(()) => News::Said,
                        Err(_) => News::Ended(bus),
                    },
                }
            };
            match beat.wait(news).await {
                News::Said => {}
                News::Set => said = said_by(&set.borrow_and_update()),
                // What it said last is collected.
                News::Ended(bus) => {
                    drop(said.swap_remove(bus));
                    continue;
                }
            }
            drop(sender.send_replace(collect(&buses)));
        }
    });
    receiver
}

enum News {
    /// Something that a bus says.
    Said,
    /// Buses have come or gone, or no more will come.
    Set,
    /// A bus has ended.
    Ended(usize),
}

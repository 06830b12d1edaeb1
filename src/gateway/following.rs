//! What all buses say as one value.

use std::sync::Arc;

use tokio::{sync::watch, task::AbortHandle};

use crate::bus::{BusHandle, Buses};

/// Collects anew whenever what `of` picks at any bus has changed. Returns the value and the tasks, which end with the buses.
pub fn follow<T, U>(
    buses: &Buses,
    of: impl Fn(&BusHandle) -> watch::Receiver<U>,
    collect: impl Fn(&Buses) -> T + Copy + Send + Sync + 'static,
) -> (watch::Receiver<T>, Vec<AbortHandle>)
where
    T: Send + Sync + 'static,
    U: Send + Sync + 'static,
{
    let (sender, receiver) = watch::channel(collect(buses));
    let sender = Arc::new(sender);
    let follow = |bus: &BusHandle| {
        let (mut said, sender, buses) = (of(bus), sender.clone(), buses.clone());
        let follower = tokio::spawn(async move {
            while said.changed().await.is_ok() {
                sender.send_replace(collect(&buses));
            }
        });
        follower.abort_handle()
    };
    let followers = buses.handles().iter().map(follow).collect();
    (receiver, followers)
}

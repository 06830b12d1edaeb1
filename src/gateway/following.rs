//! What all buses say as one value.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};

use crate::bus::{BusHandle, Buses};

/// Collects anew whenever what `of` picks at any bus has changed. Ends with the buses.
pub fn follow<T, U>(
    buses: &Buses,
    of: impl Fn(&BusHandle) -> watch::Receiver<U>,
    collect: impl Fn(&Buses) -> T + Copy + Send + Sync + 'static,
) -> watch::Receiver<T>
where
    T: Send + Sync + 'static,
    U: Send + Sync + 'static,
{
    let (sender, receiver) = watch::channel(collect(buses));
    let sender = Arc::new(sender);
    let mut followers = JoinSet::new();
    for bus in buses.handles() {
        let (mut said, sender, buses) = (of(bus), sender.clone(), buses.clone());
        followers.spawn(async move {
            while said.changed().await.is_ok() {
                sender.send_replace(collect(&buses));
            }
        });
    }
    followers.detach_all();
    receiver
}

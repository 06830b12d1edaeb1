//! All buses of a building: the handle by which the rest reaches panels by name.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use super::{
    BusHandle, BusStatus, IdentifyError, KnownLine, MeasureError, PairError, PairRefused, PanelHandle,
    PanelKey, RekeyError, RekeyRefused, UnknownFlat, UnknownPanel, UnlockError, UnlockRefused,
};
use tokio::sync::watch;

use crate::domain::{LineStatus, Mono, Name, PanelStatus, event::UnlockedBy};

/// The running buses; cheap to clone. All clones see the same ones, whichever come and go.
#[derive(Clone, Default)]
pub struct Buses {
    set: Arc<watch::Sender<BusSet>>,
}

/// Which buses run.
#[derive(Clone, Default)]
pub struct BusSet {
    /// In the order of the configuration.
    pub buses: Arc<[Arc<BusHandle>]>,
    /// No more will come: the daemon ends.
    pub is_final: bool,
}

impl Buses {
    /// Takes the handles of all buses.
    pub fn new(buses: Vec<BusHandle>) -> Self {
        let running = Self::default();
        running.replace(buses.into_iter().map(Arc::new).collect());
        running
    }

    /// Puts these in the place of all.
    pub fn replace(&self, buses: Vec<Arc<BusHandle>>) {
        self.set.send_modify(|set| set.buses = buses.into());
    }

    /// Returns the handles.
    pub fn handles(&self) -> Arc<[Arc<BusHandle>]> {
        self.set.borrow().buses.clone()
    }

    /// Returns which buses run, and a notice of every change of that.
    pub fn watch(&self) -> watch::Receiver<BusSet> {
        self.set.subscribe()
    }

    /// How each bus is, by name.
    pub fn statuses(&self) -> Vec<(Name, BusStatus)> {
        self.handles().iter().map(|bus| (bus.name.clone(), bus.status.borrow().clone())).collect()
    }

    /// How each panel is, bus by bus in the order of the configuration.
    pub fn panels(&self) -> Vec<PanelStatus> {
        self.handles().iter().flat_map(|bus| bus.status.borrow().panels.clone()).collect()
    }

    /// How each line is, bus by bus and panel by panel in the order of the configuration.
    pub fn lines(&self) -> Vec<KnownLine> {
        self.handles().iter().flat_map(|bus| bus.lines.borrow().to_vec()).collect()
    }

    /// Measures the line of a flat, by its number on the door, and waits for what comes of it, at most 2 s.
    ///
    /// # Errors
    /// [`MeasureError`]: nothing new is known of the line.
    pub async fn measure(&self, intercom: u64, flat: u64) -> Result<LineStatus, MeasureError> {
        let is_it = |line: &KnownLine| line.status.intercom == intercom && line.status.flat == flat;
        let bus = self.handles().iter().find(|bus| bus.lines.borrow().iter().any(is_it)).cloned();
        bus.ok_or(UnknownFlat)?.measure(intercom, flat).await
    }

    /// Returns the panels of an intercom, or of all, that have a lock.
    pub fn locks(&self, intercom: Option<u64>) -> Vec<Name> {
        let has_lock = |panel: &&PanelHandle| {
            panel.has_lock && intercom.is_none_or(|intercom| panel.intercom == intercom)
        };
        let of_bus = |bus: &Arc<BusHandle>| -> Vec<Name> {
            bus.panels().iter().filter(has_lock).map(|panel| panel.name.clone()).collect()
        };
        self.handles().iter().flat_map(of_bus).collect()
    }

    /// Asks all buses at once to end after the transactions on their wires. No more will come.
    pub async fn stop(&self) {
        self.set.send_modify(|set| set.is_final = true);
        futures_util::future::join_all(self.handles().iter().map(|bus| bus.stop())).await;
    }

    /// Unlocks and waits until the panel has taken it, at most 2 s from `caused` on. `tenths`: units of 100 ms, by
    /// default as the lock is configured.
    ///
    /// # Errors
    /// [`UnlockError`]: nothing opened, or nobody knows whether it did.
    pub async fn unlock(
        &self,
        panel: &Name,
        tenths: Option<NonZeroU16>,
        by: UnlockedBy,
        caused: Mono,
    ) -> Result<(), UnlockError> {
        let bus = self.bus_of(panel).ok_or(UnlockError::Refused(UnlockRefused::UnknownPanel))?;
        bus.unlock(panel, tenths, by, caused).await
    }

    /// Has a panel blink and beep for `tenths` of 100 ms, and waits until it has taken that, at most 2 s.
    ///
    /// # Errors
    /// [`IdentifyError`]: it does not, or nobody knows.
    pub async fn identify(&self, panel: &Name, tenths: NonZeroU16) -> Result<(), IdentifyError> {
        self.bus_of(panel).ok_or(UnknownPanel)?.identify(panel, tenths).await
    }

    /// Lets a swapped panel in by the default key for `time`.
    ///
    /// # Errors
    /// [`PairError`]: nobody is let in.
    pub async fn pair(&self, panel: &Name, time: Duration) -> Result<(), PairError> {
        let bus = self.bus_of(panel).ok_or(PairError::Refused(PairRefused::UnknownPanel))?;
        bus.pair(panel, time).await
    }

    /// Sets another key in a panel's session, and waits until the panel has proven it.
    ///
    /// # Errors
    /// [`RekeyError`]: it has its old key, or nobody knows which.
    pub async fn rekey(&self, panel: &Name, to: Option<PanelKey>) -> Result<(), RekeyError> {
        let bus = self.bus_of(panel).ok_or(RekeyError::Refused(RekeyRefused::UnknownPanel))?;
        bus.rekey(panel, to).await
    }

    fn bus_of(&self, panel: &Name) -> Option<Arc<BusHandle>> {
        let has_it = |bus: &&Arc<BusHandle>| bus.panels().iter().any(|known| known.name == *panel);
        self.handles().iter().find(has_it).cloned()
    }
}

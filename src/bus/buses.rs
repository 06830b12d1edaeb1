//! All buses of a building: the handle by which the rest reaches panels by name.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use super::{
    BusHandle, BusStatus, IdentifyError, KnownLine, MeasureError, PairError, PairRefused, UnknownPanel,
    UnlockError, UnlockRefused, core::UnknownFlat,
};
use crate::domain::{LineStatus, Mono, Name, PanelStatus, event::UnlockedBy};

/// The running buses; cheap to clone.
#[derive(Clone, Default)]
pub struct Buses {
    buses: Arc<[BusHandle]>,
}

impl Buses {
    /// Takes the handles of all buses.
    pub fn new(buses: Vec<BusHandle>) -> Self {
        Self { buses: buses.into() }
    }

    /// The handles.
    pub fn handles(&self) -> &[BusHandle] {
        &self.buses
    }

    /// How each bus is, by name.
    pub fn statuses(&self) -> Vec<(Name, BusStatus)> {
        self.buses.iter().map(|bus| (bus.name.clone(), bus.status.borrow().clone())).collect()
    }

    /// How each panel is, bus by bus in the order of the configuration.
    pub fn panels(&self) -> Vec<PanelStatus> {
        self.buses.iter().flat_map(|bus| bus.status.borrow().panels.clone()).collect()
    }

    /// How each line is, bus by bus and panel by panel in the order of the configuration.
    pub fn lines(&self) -> Vec<KnownLine> {
        self.buses.iter().flat_map(|bus| bus.lines.borrow().to_vec()).collect()
    }

    /// Measures the line of a flat, by its number on the door, and waits for what comes of it, at most 2 s.
    ///
    /// # Errors
    /// [`MeasureError`]: nothing new is known of the line.
    pub async fn measure(&self, intercom: u64, flat: u64) -> Result<LineStatus, MeasureError> {
        let is_it = |line: &KnownLine| line.status.intercom == intercom && line.status.flat == flat;
        let bus = self.buses.iter().find(|bus| bus.lines.borrow().iter().any(is_it));
        bus.ok_or(UnknownFlat)?.measure(intercom, flat).await
    }

    /// Returns the panels of an intercom, or of all, that have a lock.
    pub fn locks(&self, intercom: Option<u64>) -> Vec<Name> {
        let locks = self.buses.iter().flat_map(|bus| &bus.locks);
        let meant = locks.filter(|(_, of)| intercom.is_none_or(|intercom| *of == intercom));
        meant.map(|(panel, _)| panel.clone()).collect()
    }

    /// Asks all buses at once to end after the transactions on their wires.
    pub async fn stop(&self) {
        futures_util::future::join_all(self.buses.iter().map(BusHandle::stop)).await;
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

    /// Tells the panel's bus that a version of its record, or a later one, is on the disk, synced.
    pub async fn record_stored(&self, panel: &Name, version: u64) {
        if let Some(bus) = self.bus_of(panel) {
            bus.record_stored(panel, version).await;
        }
    }

    fn bus_of(&self, panel: &Name) -> Option<&BusHandle> {
        self.buses.iter().find(|bus| bus.panels.contains(panel))
    }
}

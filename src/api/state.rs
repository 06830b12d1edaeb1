//! What the handlers of requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Handles, Settings, age::Age, counters::Counters, error::Invalid, room::Room, stream::Hub};

/// Lists that may be read at once: each scans all rows of its intercom, milliseconds of a core.
const WALKS: usize = 2;

/// What handlers share.
pub(super) struct Api {
    pub(super) settings: Settings,
    pub(super) handles: Handles,
    pub(super) age: Age,
    /// Turns of those who read lists.
    pub(super) walks: Arc<Semaphore>,
    pub(super) counters: Counters,
    pub(super) room: Arc<Room>,
    pub(super) streams: Arc<Hub>,
}

impl Api {
    pub(super) fn new(settings: Settings, handles: Handles) -> Self {
        Self {
            age: Age::new(handles.cache.state()),
            room: Arc::new(Room::new(&settings.limits, handles.tokens.clone())),
            settings,
            handles,
            walks: Arc::new(Semaphore::new(WALKS)),
            counters: Counters::default(),
            streams: Arc::new(Hub::new()),
        }
    }

    /// Returns the 422 of an intercom that neither the configuration nor the cache has.
    pub(super) fn known_intercom(&self, intercom: u64) -> Result<(), Invalid> {
        // A cache that cannot be read tells so in what is asked of it next.
        if self.settings.intercoms.has(intercom) || self.handles.cache.has_intercom(intercom).unwrap_or(true)
        {
            return Ok(());
        }
        Err(Invalid::field("intercom", format!("There is no intercom {intercom} here.")))
    }
}

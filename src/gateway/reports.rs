//! What the buses report goes to the journal.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;

use super::{
    base::Base,
    door_log::DoorLog,
    units::{Beat, Part, Units},
};
use crate::{
    clock::{self, Clock},
    domain::{EventBody, Name, Occurrence, event::JournalPruned},
    store::Journal,
};

/// Reports that may wait for the journal: a building's worst is some tens a second. When it is full, the bus counts and
/// goes on.
const WAITING: usize = 4096;

/// The buses' end: where reports go, and where those are counted that found no place.
pub struct Outlet {
    pub reports: mpsc::Sender<Occurrence>,
    pub lost: Arc<AtomicU64>,
}

/// The journal's end.
pub struct Inlet {
    reports: mpsc::Receiver<Occurrence>,
    /// Those that the buses had no place for since the last look.
    lost: Arc<AtomicU64>,
    lost_in_all: Arc<AtomicU64>,
}

/// Opens the way from the buses to the journal.
pub fn channel() -> (Outlet, Inlet) {
    let (sender, reports) = mpsc::channel(WAITING);
    let lost = Arc::<AtomicU64>::default();
    (Outlet { reports: sender, lost: lost.clone() }, Inlet { reports, lost, lost_in_all: Arc::default() })
}

impl Inlet {
    /// Returns the count of reports that were lost since the start, for `/healthz`.
    pub fn lost_in_all(&self) -> Arc<AtomicU64> {
        self.lost_in_all.clone()
    }

    /// Starts to take reports, until all buses have ended.
    pub fn start(self, units: &Units, base: &Base) {
        let (journal, clock) = (base.store.journal(), base.clock.clone());
        units.spawn(Part::Inlet, |beat| self.pump(journal, clock, beat));
    }

    async fn pump(mut self, journal: Journal, clock: Arc<Clock>, beat: Beat) {
        let mut doors = DoorLog::default();
        while let Some(occurrence) = beat.wait(self.reports.recv()).await {
            let line = doors.line(clock::mono(), &occurrence.body);
            let subject = occurrence.body.subject().cloned();
            append(&journal, occurrence);
            // After the journal has it: a log that stalls holds up no event.
            if let Some(line) = line {
                tracing::info!(subject = subject.as_ref().map(Name::as_str), "{line}");
            }
            let count = self.lost.swap(0, Ordering::Relaxed);
            if count > 0 {
                self.lost_in_all.fetch_add(count, Ordering::Relaxed);
                tracing::error!(
                    count,
                    "reports of the buses were lost: they came faster than they could be taken"
                );
                let cause = format!("{count} events were lost: they came faster than they could be taken");
                let pruned = JournalPruned {
                    pruned_journal: journal.identity().to_string(),
                    from: None,
                    to: None,
                    cause,
                };
                append(&journal, Occurrence { stamp: clock.stamp(), body: EventBody::JournalPruned(pruned) });
            }
        }
    }
}

/// A lost event is counted by the journal; the door was opened all the same.
pub fn append(journal: &Journal, occurrence: Occurrence) {
    let kind = occurrence.body.kind();
    let subject = occurrence.body.subject().cloned();
    let subject = subject.as_ref().map(Name::as_str);
    let data = is_notable(&occurrence.body).then(|| occurrence.body.to_parts().1);
    match (journal.append(occurrence), data) {
        (Ok(()), Some(data)) => tracing::info!(subject, "{kind} {data}"),
        (Ok(()), None) => tracing::debug!(subject, "{kind}"),
        (Err(error), _) => tracing::error!(subject, %error, "{kind} is not recorded"),
    }
}

/// What an installer looks for in the log with all its data. Swipes and digits are personal data, and are in the journal
/// alone; that there was a swipe is what [`DoorLog`] says.
fn is_notable(body: &EventBody) -> bool {
    match body {
        EventBody::LineWiring(_)
        | EventBody::PanelOnline(_)
        | EventBody::PanelOffline(_)
        | EventBody::PanelTamper(_)
        | EventBody::PanelPower(_)
        | EventBody::PanelSecured(_)
        | EventBody::PanelReplaced(_)
        | EventBody::PanelSuspect(_)
        | EventBody::GatewayStarted(_)
        | EventBody::GatewayStopping(_)
        | EventBody::ClockStepped(_)
        | EventBody::SyncApplied(_)
        | EventBody::SyncRejected(_)
        | EventBody::CommittedIgnored(_)
        | EventBody::JournalPruned(_) => true,
        EventBody::KeySwiped(_)
        | EventBody::KeypadEntered(_)
        | EventBody::CodeEntered(_)
        | EventBody::DoorUnlocked(_)
        | EventBody::DoorUnlockFailed(_)
        | EventBody::DoorOpened(_)
        | EventBody::DoorClosed(_)
        | EventBody::DoorForced(_)
        | EventBody::DoorHeld(_)
        | EventBody::LineChanged(_)
        | EventBody::InputChanged(_) => false,
    }
}

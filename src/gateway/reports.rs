//! What the buses report goes to the journal.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;

use super::units::Beat;
use crate::{
    clock::Clock,
    domain::{EventBody, Name, Occurrence, event::JournalPruned},
    store::Journal,
};

/// Takes reports until all buses have ended. `lost`: reports that the buses had no place for since the last look;
/// `lost_in_all`: those since the start, for `/healthz`.
pub async fn pump(
    mut reports: mpsc::Receiver<Occurrence>,
    journal: Journal,
    clock: Arc<Clock>,
    lost: Arc<AtomicU64>,
    lost_in_all: Arc<AtomicU64>,
    beat: Beat,
) {
    while let Some(occurrence) = beat.wait(reports.recv()).await {
        append(&journal, occurrence);
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            lost_in_all.fetch_add(count, Ordering::Relaxed);
            tracing::error!(
                count,
                "reports of the buses were lost: they came faster than they could be taken"
            );
            let cause = format!("{count} events were lost: they came faster than they could be taken");
            let pruned =
                JournalPruned { journal: journal.identity().to_string(), from: None, to: None, cause };
            append(&journal, Occurrence { stamp: clock.stamp(), body: EventBody::JournalPruned(pruned) });
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

/// What an installer looks for in the log. Everything else is in the journal alone: swipes and digits are personal
/// data.
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

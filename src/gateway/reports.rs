//! What the buses report goes to the journal and to the panels' memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::memory::PanelMemory;
use crate::{
    bus::{Keep, Report},
    clock::Clock,
    domain::{EventBody, Name, Occurrence, event::JournalPruned},
    store::Journal,
};

/// How long to wait before a proof that could not be written is tried again.
const PROOF_RETRY: Duration = Duration::from_secs(10);

/// Takes reports until all buses have ended.
pub async fn pump(
    mut reports: mpsc::Receiver<Report>,
    journal: Journal,
    memory: Arc<PanelMemory>,
    clock: Arc<Clock>,
    lost: Arc<AtomicU64>,
) {
    while let Some(report) = reports.recv().await {
        match report {
            Report::Event(occurrence) => append(&journal, occurrence),
            Report::Keep { panel, keep, stored } => keep_in_background(memory.clone(), panel, keep, stored),
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
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
    let data = is_notable(kind).then(|| occurrence.body.to_parts().1);
    match (journal.append(occurrence), data) {
        (Ok(()), Some(data)) => tracing::info!(subject, "{kind} {data}"),
        (Ok(()), None) => tracing::debug!(subject, "{kind}"),
        (Err(error), _) => tracing::error!(subject, %error, "{kind} is not recorded"),
    }
}

/// What an installer looks for in the log. Everything else is in the journal alone: swipes and digits are personal
/// data.
fn is_notable(kind: &str) -> bool {
    ["intercom.panel.", "intercom.line.wiring", "gateway."].iter().any(|notable| kind.starts_with(notable))
}

/// A key that could not be written before KEYSET is the bus's to ask for again; a proof is only told once, so it is
/// tried until it is written: without it the default key would be let in at the next start.
fn keep_in_background(
    memory: Arc<PanelMemory>,
    panel: Name,
    keep: Keep,
    mut stored: Option<oneshot::Sender<bool>>,
) {
    let proof = matches!(keep, Keep::Key { proven: true, .. });
    tokio::spawn(async move {
        loop {
            let (memory, name, wanted) = (memory.clone(), panel.clone(), keep.clone());
            let kept = tokio::task::spawn_blocking(move || memory.keep(&name, &wanted)).await;
            let kept = kept.unwrap_or_else(|error| Err(io::Error::other(error)));
            log_kept(&panel, &keep, &kept);
            if let Some(stored) = stored.take() {
                // The bus may have ended.
                let _ = stored.send(kept.is_ok());
            }
            if kept.is_ok() || !proof {
                return;
            }
            tokio::time::sleep(PROOF_RETRY).await;
        }
    });
}

fn log_kept(panel: &Name, keep: &Keep, kept: &io::Result<()>) {
    match (kept, keep) {
        (Err(error), _) => {
            tracing::error!(%panel, %error, "what is known of the panel cannot be written down")
        }
        (Ok(()), Keep::Key { proven: false, .. }) => {
            tracing::info!(%panel, "a new key is stored; the panel gets it now");
        }
        (Ok(()), Keep::Key { proven: true, .. }) => tracing::info!(%panel, "the panel has proven its key"),
        (Ok(()), Keep::Serial(_)) => {}
    }
}

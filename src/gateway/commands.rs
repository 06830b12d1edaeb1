//! Performs the cloud's commands that need more than the uplink.

use std::{sync::Arc, time::Duration};

use super::{LogFilter, doctor::Doctor};
use crate::{
    bus::{Buses, MeasureError, UnlockError},
    cloud::command::{Command, ErrorCode, Order, Outcome, Performer, Unlock},
    domain::{
        Mono, Name,
        event::{UnlockId, UnlockKind, UnlockedBy},
    },
    panel::Failure,
};

/// A bus withdraws an unlock after 2 s (contract §5). Only one whose thread hangs does not say so.
const BUS_HANGS: Duration = Duration::from_secs(3);

/// What commands reach.
#[derive(Clone)]
pub struct Commands {
    pub buses: Buses,
    pub doctor: Arc<Doctor>,
    pub log: LogFilter,
}

impl Commands {
    /// The handle for the uplink.
    pub fn performer(self) -> Performer {
        Arc::new(move |order| {
            let commands = self.clone();
            Box::pin(async move { commands.perform(order).await })
        })
    }

    async fn perform(&self, order: Order) -> Outcome {
        let Order { id, command, caused } = order;
        match command {
            Command::Unlock(unlock) => {
                let by = UnlockedBy { kind: UnlockKind::Command, id: Some(UnlockId::Text(id.to_string())) };
                self.unlock(&unlock, by, caused).await
            }
            Command::MeasureLine { intercom, flat } => self.measure_line(intercom, flat).await,
            Command::Report => Outcome::Done(serde_json::json!(self.doctor.examine().await)),
            Command::LogLevel { filter, time } => match self.log.set_for(&filter, time) {
                Ok(()) => Outcome::Done(serde_json::Value::Null),
                Err(error) => Outcome::failed(ErrorCode::Invalid, format!("args.filter: {error}")),
            },
            // The uplink's own.
            Command::Resync | Command::Replay { .. } => {
                Outcome::rejected(ErrorCode::UnknownCommand, "the gateway has no such command")
            }
        }
    }

    async fn unlock(&self, unlock: &Unlock, by: UnlockedBy, caused: Mono) -> Outcome {
        let panel = match self.choose(unlock) {
            Ok(panel) => panel,
            Err(outcome) => return outcome,
        };
        let unlocking = self.buses.unlock_caused(&panel, unlock.tenths, by, caused);
        match tokio::time::timeout(BUS_HANGS, unlocking).await {
            Ok(Ok(())) => Outcome::Done(serde_json::json!({ "panel": panel })),
            Ok(Err(error)) => {
                let (code, message) = why_not(&panel, error);
                Outcome::failed(code, message)
            }
            Err(_) => Outcome::failed(
                ErrorCode::Unconfirmed,
                format!("nobody knows whether panel {panel} opened: its bus does not answer"),
            ),
        }
    }

    /// The lock that is meant.
    fn choose(&self, unlock: &Unlock) -> Result<Name, Outcome> {
        let locks = match unlock.intercom {
            Some(intercom) => self.buses.locks(intercom),
            None => self.buses.all_locks(),
        };
        let names = || locks.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        let unknown = |message: String| Outcome::failed(ErrorCode::UnknownPanel, message);
        match (&unlock.panel, locks.as_slice()) {
            (_, []) => Err(unknown("there is no panel with a lock".to_owned())),
            (Some(panel), locks) => {
                locks.iter().find(|lock| lock.as_str() == panel).cloned().ok_or_else(|| {
                    unknown(format!("there is no such panel with a lock; there are {}", names()))
                })
            }
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(Outcome::failed(
                ErrorCode::AmbiguousPanel,
                format!("the intercom has several locks, name one as \"panel\": {}", names()),
            )),
        }
    }

    async fn measure_line(&self, intercom: u64, flat: u64) -> Outcome {
        let what = format!("flat {flat} of intercom {intercom}");
        let (code, message) = match tokio::time::timeout(BUS_HANGS, self.buses.measure(intercom, flat)).await
        {
            Ok(Ok(status)) => return Outcome::Done(serde_json::json!(status)),
            Ok(Err(MeasureError::UnknownFlat(_))) => {
                (ErrorCode::UnknownFlat, format!("{what} has no line at this gateway"))
            }
            Ok(Err(MeasureError::Busy)) => {
                (ErrorCode::PanelOffline, format!("the bus of {what} takes no commands just now"))
            }
            Ok(Err(MeasureError::Failed(Failure::Offline))) => {
                (ErrorCode::PanelOffline, format!("the panel with the line of {what} does not answer"))
            }
            Ok(Err(error @ MeasureError::Failed(failure))) => (code(failure), format!("{what}: {error}")),
            Err(_) => (ErrorCode::Unconfirmed, format!("the bus of {what} does not answer")),
        };
        Outcome::failed(code, message)
    }
}

/// The contract's code, and a sentence.
fn why_not(panel: &Name, error: UnlockError) -> (ErrorCode, String) {
    match error {
        UnlockError::Refused(refused) => (ErrorCode::UnknownPanel, format!("panel {panel}: {refused}")),
        UnlockError::Busy => {
            (ErrorCode::PanelOffline, format!("the bus of panel {panel} takes no commands just now"))
        }
        UnlockError::Failed(failure) => {
            let message = match failure {
                Failure::Offline => format!("panel {panel} does not answer; the door stays locked"),
                Failure::Insecure => format!(
                    "panel {panel} is not connected as securely as the configuration demands; the door stays locked"
                ),
                Failure::Unconfirmed => {
                    format!("panel {panel} did not confirm in time; nobody knows whether it opened")
                }
                Failure::Refused => {
                    format!("panel {panel} refused to open: check its `lock` against the outputs that it has")
                }
                Failure::Stopping => format!("the gateway is stopping; panel {panel} was not asked to open"),
            };
            (code(failure), message)
        }
    }
}

fn code(failure: Failure) -> ErrorCode {
    match failure {
        Failure::Offline => ErrorCode::PanelOffline,
        Failure::Insecure => ErrorCode::Insecure,
        Failure::Unconfirmed => ErrorCode::Unconfirmed,
        Failure::Refused => ErrorCode::Refused,
        Failure::Stopping => ErrorCode::Interrupted,
    }
}

//! Performs the cloud's commands that need more than the uplink.

use std::sync::Arc;

use super::{LogFilter, doctor::Doctor};
use crate::{
    cloud::command::{Answer, Command, Order, Outcome, Performer, Unlock},
    domain::ErrorCode,
    doors::{Asker, Doors, Opening, Refusal},
};

/// What commands reach.
#[derive(Clone)]
pub struct Commands {
    pub doors: Doors,
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
            Command::Unlock(Unlock { panel, intercom, tenths }) => {
                let opening = Opening { asker: Asker::Command(id), panel, intercom, tenths, caused };
                outcome(self.doors.open(opening).await.map(|panel| Answer::Unlocked { panel }))
            }
            Command::MeasureLine { intercom, flat } => {
                outcome(self.doors.measure(intercom, flat).await.map(Answer::Measured))
            }
            Command::Report => Outcome::done(&Answer::Examined(self.doctor.examine().await)),
            Command::LogLevel { filter, time } => match self.log.set_for(&filter, time) {
                Ok(()) => Outcome::done(&Answer::Nothing),
                Err(error) => Outcome::failed(ErrorCode::Invalid, format!("args.filter: {error}")),
            },
            // The uplink's own.
            Command::Resync | Command::Replay { .. } => {
                Outcome::rejected(ErrorCode::UnknownCommand, "the gateway has no such command")
            }
        }
    }
}

/// Returns what `results` says of what the doors were asked for.
fn outcome(done: Result<Answer, Refusal>) -> Outcome {
    match done {
        Ok(answer) => Outcome::done(&answer),
        Err(refusal) => Outcome::failed(refusal.code(), refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doors::samples;

    #[test]
    fn every_refusal_is_a_failure_with_its_code_and_its_words() {
        for refusal in samples() {
            let (code, words) = (refusal.code(), refusal.to_string());
            let result: Value = serde_json::from_str(&outcome(Err(refusal)).to_json(None, None)).unwrap();
            assert_eq!(result["status"], "failed");
            assert_eq!(result["error"], json!({"code": code, "message": words}));
        }
    }
}

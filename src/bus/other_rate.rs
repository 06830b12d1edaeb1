//! A line at another rate for a while, for somebody who measures it there: how the thread of a bus waits for its panels.

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{core::Core, refused::HoldError, shell::Shell};
use crate::clock;

/// Who measures the line at another rate.
pub(super) struct Holding {
    /// Hears once that all panels are there, or why they are not.
    reached: Option<oneshot::Sender<Result<(), HoldError>>>,
    /// Closed when he has done.
    until: oneshot::Receiver<()>,
}

impl Shell {
    /// Has all panels go to a rate.
    pub(super) fn hold_rate(
        &mut self,
        core: &mut Core,
        baud: u32,
        reached: oneshot::Sender<Result<(), HoldError>>,
        until: oneshot::Receiver<()>,
    ) {
        let begun = if self.holding.is_some() || self.stopping.is_some() {
            Err(HoldError::Between)
        } else {
            core.hold_rate(clock::mono(), baud)
        };
        match begun {
            Ok(()) => self.holding = Some(Holding { reached: Some(reached), until }),
            // A caller that went away needs no answer; so below.
            Err(why) => drop(reached.send(Err(why))),
        }
    }

    /// Tells who waits that all panels are there; has them come home where he has done, or they did not come.
    pub(super) fn go_on_holding(&mut self, core: &mut Core) {
        let Some(holding) = &mut self.holding else { return };
        let has_done = matches!(holding.until.try_recv(), Err(TryRecvError::Closed) | Ok(()));
        match core.held_rate() {
            Ok(true) => {
                if let Some(reached) = holding.reached.take() {
                    drop(reached.send(Ok(())));
                }
            }
            Ok(false) => {}
            Err(why) => {
                if let Some(reached) = holding.reached.take() {
                    drop(reached.send(Err(why)));
                }
                core.release_rate();
                self.holding = None;
                return;
            }
        }
        if has_done {
            core.release_rate();
            self.holding = None;
        }
    }
}

//! An examination of a running line: what is counted of it beside its statistics, from a moment on. Deterministic: takes its
//! time from the caller.

use std::time::Duration;

use tokio::sync::watch;

use super::{core::Core, shell::Shell, statistics::Times};
use crate::{
    domain::Name,
    survey::{Ear, LineSample, PanelSample, Speed},
};

/// What is counted while a line is examined.
#[derive(Default)]
pub(super) struct Examination {
    /// By the panels' numbers.
    panels: Vec<Counts>,
    ear: Ear,
    has_sent: bool,
    noise: u64,
}

#[derive(Default)]
struct Counts {
    timeouts: u64,
    broken: u64,
    round_trips: Times,
    turnarounds: Times,
}

impl Examination {
    fn counts(&mut self, number: usize) -> &mut Counts {
        if self.panels.len() <= number {
            self.panels.resize_with(number.saturating_add(1), Counts::default);
        }
        // It has just been made long enough.
        &mut self.panels[number]
    }

    /// Takes what is sent, which an adapter may give back.
    pub(super) fn sent(&mut self, frame: &[u8]) {
        self.has_sent = true;
        self.ear.sent(frame);
    }

    /// Takes what is heard, in any panel's turn. What was sent before the examination began is not known when it comes back:
    /// nothing is heard until more is sent.
    pub(super) fn heard(&mut self, bytes: &[u8]) {
        if self.has_sent {
            self.ear.hear(bytes);
        }
    }

    /// Counts an answer.
    pub(super) fn answered(&mut self, number: usize, took: Duration, began: Duration) {
        let counts = self.counts(number);
        counts.round_trips.note(took);
        counts.turnarounds.note(began);
    }

    /// Counts a command that was not answered: nothing came in time, or something broken.
    pub(super) fn unanswered(&mut self, number: usize, is_broken: bool) {
        let counts = self.counts(number);
        counts.broken += u64::from(is_broken);
        counts.timeouts += u64::from(!is_broken);
    }

    /// Counts bytes that nobody sent on purpose.
    pub(super) fn noise(&mut self, bytes: u64) {
        self.noise += bytes;
    }

    /// Returns what was counted of a panel.
    fn panel(&mut self, number: usize, panel: Name, address: u8) -> PanelSample {
        let replies = self.ear.replies(address);
        let counts = self.counts(number);
        PanelSample {
            panel,
            address,
            exchanges: counts.round_trips.count(),
            timeouts: counts.timeouts,
            broken: counts.broken,
            replies,
            round_trip: counts.round_trips.spread(),
            turnaround: counts.turnarounds.spread(),
        }
    }

    /// Returns what was counted of these panels, and of the line.
    pub(super) fn sample(
        &mut self,
        panels: Vec<(usize, Name, u8)>,
        speed: Speed,
        is_buffered: bool,
    ) -> LineSample {
        let panels =
            panels.into_iter().map(|(number, panel, address)| self.panel(number, panel, address)).collect();
        let (echoes, masters) = (self.ear.echoes(), self.ear.masters());
        LineSample { speed, is_buffered, panels, echoes, masters, noise: self.noise }
    }
}

impl Shell {
    /// Begins to examine the line again, for this watcher.
    pub(super) fn begin_examination(&mut self, core: &mut Core, watched: watch::Sender<Option<LineSample>>) {
        core.examine();
        self.examined = Some(watched);
    }

    /// Shows what was counted so far; ends the examination where nobody watches any more.
    pub(super) fn show_examination(&mut self, core: &mut Core) {
        let Some(watched) = &self.examined else { return };
        if watched.is_closed() {
            core.end_examination();
            self.examined = None;
            return;
        }
        let speed = Speed { baud: core.line_baud().unwrap_or(self.port.baud), parity: self.port.parity };
        watched.send_replace(core.sample(speed, self.port.is_buffered()));
    }
}

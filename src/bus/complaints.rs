//! What no event tells and somebody has to do something about: said in the log once, not every second.

use std::collections::BTreeSet;

use litemap::LiteMap;

use super::schedule::Exchanges;
use crate::domain::{Name, PanelState, PanelStatus, Trouble};

/// Lines whose periods are stretched by the second or more are told of, until it is the first or less.
const STRETCHED: (f64, f64) = (1.2, 1.5);

/// Different troubles of one panel that are said until it is well: more tell nothing new, and the device chooses some words.
const TROUBLES: usize = 16;

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Of panels that have not been well since.
    troubles: LiteMap<Name, Vec<Trouble>>,
    /// By how much lines were read too seldom when that was said last.
    stretches: LiteMap<Name, f64>,
    /// Panels whose answers are lost.
    lossy: BTreeSet<Name>,
}

#[derive(Debug, PartialEq)]
enum Stretch {
    TooSeldom,
    WellAgain,
}

impl Complaints {
    /// Says what is new about panels: that one is insecure, or works and something is wrong all the same. Each is said once
    /// until the panel is well; that one is silent is an event.
    pub(super) fn panels(&mut self, panels: &[PanelStatus]) {
        for status in panels {
            let Some(trouble) = self.trouble(status) else { continue };
            let panel = &status.panel;
            if status.state == PanelState::Online {
                tracing::warn!(%panel, "the panel works, but {trouble}");
            } else {
                tracing::warn!(%panel, "the panel is insecure: {trouble}");
            }
        }
    }

    /// Says whose answers are lost, and whose are not any more.
    pub(super) fn losses(&mut self, minute: &[(Name, Exchanges)]) {
        for (panel, exchanges) in minute {
            if exchanges.is_lossy() && self.lossy.insert(panel.clone()) {
                tracing::warn!(%panel, "{exchanges}");
            } else if exchanges.lost == 0 && self.lossy.remove(panel) {
                tracing::info!(%panel, "its answers arrive again");
            }
        }
    }

    fn trouble<'a>(&mut self, status: &'a PanelStatus) -> Option<&'a Trouble> {
        let Some(trouble) = &status.trouble else {
            self.troubles.remove(&status.panel);
            return None;
        };
        if !matches!(status.state, PanelState::Online | PanelState::Insecure) {
            return None;
        }
        let said = self.troubles.entry(status.panel.clone()).or_default();
        if said.contains(trouble) || said.len() >= TROUBLES {
            return None;
        }
        said.push(trouble.clone());
        Some(trouble)
    }

    /// Says of which panels the lines are read too seldom, and by how much.
    pub(super) fn stretches(&mut self, stretches: &[(Name, f64)]) {
        for (panel, stretch) in stretches {
            match self.stretch(panel, *stretch) {
                Some(Stretch::TooSeldom) => tracing::warn!(
                    %panel,
                    "its lines are read {stretch:.1} times more seldom than their period says: the line carries no more; raise the baud rate, or use more buses"
                ),
                Some(Stretch::WellAgain) => {
                    tracing::info!(%panel, "its lines are read in their period again");
                }
                None => {}
            }
        }
    }

    /// Once, again when it has become twice as bad, and when it is over.
    fn stretch(&mut self, panel: &Name, stretch: f64) -> Option<Stretch> {
        let said = self.stretches.get(panel).copied();
        if stretch >= said.map_or(STRETCHED.1, |said| 2.0 * said) {
            self.stretches.insert(panel.clone(), stretch);
            return Some(Stretch::TooSeldom);
        }
        if said.is_some() && stretch <= STRETCHED.0 {
            self.stretches.remove(panel);
            return Some(Stretch::WellAgain);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_once_until_the_panel_is_well() {
        let mut complaints = Complaints::default();
        let mut said = |state, trouble: Option<Trouble>| {
            let status = PanelStatus {
                trouble,
                ..PanelStatus::new(Name::new("entrance-1").unwrap(), 1, state, jiff::Timestamp::UNIX_EPOCH)
            };
            complaints.trouble(&status).is_some()
        };
        let silent = || Some(Trouble::Silent { seconds: 8 });
        for _ in 0..2 {
            assert!(said(PanelState::Insecure, Some(Trouble::WrongKey)));
            assert!(!said(PanelState::Insecure, Some(Trouble::WrongKey)));
            assert!(!said(PanelState::Offline, silent()), "an event tells it");
            assert!(!said(PanelState::Insecure, Some(Trouble::WrongKey)), "it was said");
            assert!(said(PanelState::Insecure, Some(Trouble::NoKey)));
            assert!(said(PanelState::Online, Some(Trouble::ReaderDisconnected { reader: 0 })));
            assert!(!said(PanelState::Online, None));
        }
    }

    #[test]
    fn lines_that_are_read_too_seldom_are_told_of_once_each_time() {
        let (mut complaints, panel) = (Complaints::default(), Name::new("risers").unwrap());
        let mut said = |stretch| complaints.stretch(&panel, stretch);
        assert_eq!(said(1.49), None);
        assert_eq!(said(1.6), Some(Stretch::TooSeldom));
        assert_eq!((said(1.6), said(3.1), said(1.3)), (None, None, None));
        assert_eq!((said(3.2), said(3.3)), (Some(Stretch::TooSeldom), None));
        assert_eq!((said(1.2), said(1.0)), (Some(Stretch::WellAgain), None));
        assert_eq!(said(1.5), Some(Stretch::TooSeldom));
    }
}

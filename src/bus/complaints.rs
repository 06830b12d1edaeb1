//! What no event tells and somebody has to do something about: said in the log once, not every second.

use std::collections::BTreeMap;

use crate::domain::{Name, PanelState, PanelStatus, Trouble};

/// Lines whose periods are stretched by the second or more are told of, until it is the first or less.
const STRETCHED: (f64, f64) = (1.2, 1.5);

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    troubles: BTreeMap<Name, Trouble>,
    /// By how much lines were read too seldom when that was said last.
    stretches: BTreeMap<Name, f64>,
}

#[derive(Debug, PartialEq)]
enum Stretch {
    TooSeldom,
    WellAgain,
}

impl Complaints {
    /// Says what is new about panels: that one is insecure, or another than its profile is for.
    pub(super) fn panels(&mut self, panels: &[PanelStatus]) {
        for PanelStatus { panel, state, trouble, .. } in panels {
            let Some(trouble) = trouble else {
                self.troubles.remove(panel);
                continue;
            };
            if self.troubles.get(panel) == Some(trouble) {
                continue;
            }
            self.troubles.insert(panel.clone(), trouble.clone());
            match state {
                PanelState::Insecure => tracing::warn!(%panel, "the panel is insecure: {trouble}"),
                PanelState::Online => tracing::warn!(%panel, "the panel works, but {trouble}"),
                PanelState::Offline | PanelState::Unconfigured => {}
            }
        }
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

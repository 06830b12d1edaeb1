//! How many answers of each panel were lost within the last minute.

use std::{collections::VecDeque, fmt, time::Duration};

use litemap::LiteMap;

use super::schedule::Exchanges;
use crate::domain::{Mono, Name, PanelState, PanelStatus};

/// What is counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Counters are noted this often.
const PERIOD: Duration = Duration::from_secs(1);
/// Fewer lost answers than this within the window are not worth telling: a panel was restarted, a lift started.
const FEW: u64 = 10;
/// Below this share of the exchanges, one in 20, resends make up for them.
const SHARE: u64 = 20;

impl Exchanges {
    /// Returns whether enough answers are lost for swipes to be lost too: at least ten, and more than 5 %.
    pub fn is_lossy(&self) -> bool {
        self.lost >= FEW && self.lost.saturating_mul(SHARE) > self.answered.saturating_add(self.lost)
    }
}

/// Writes what an installer reads of a lossy panel.
impl fmt::Display for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.answered.saturating_add(self.lost);
        write!(
            f,
            "the line loses its answers, {} of {all} in the last minute: check termination, wiring and power",
            self.lost
        )
    }
}

/// The counters of the last minute. A panel that is offline is no matter of lost answers: it begins anew.
#[derive(Debug, Default)]
pub(super) struct Losses(LiteMap<Name, VecDeque<(Mono, Exchanges)>>);

impl Losses {
    /// Notes the counters since the start, and returns those of the last minute for panels that answer.
    pub(super) fn note(
        &mut self,
        now: Mono,
        exchanges: Vec<(Name, Exchanges)>,
        panels: &[PanelStatus],
    ) -> Vec<(Name, Exchanges)> {
        let mut minute = Vec::with_capacity(exchanges.len());
        for (panel, total) in exchanges {
            let status = panels.iter().find(|status| status.panel == panel);
            let is_up = status
                .is_some_and(|status| matches!(status.state, PanelState::Online | PanelState::Insecure));
            let history = self.0.entry(panel.clone()).or_default();
            if !is_up {
                history.clear();
                continue;
            }
            while history.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
                history.pop_front();
            }
            let before = history.front().map_or(total, |(_, before)| *before);
            if history.back().is_none_or(|(at, _)| now.since(*at) >= PERIOD) {
                history.push_back((now, total));
            }
            let of_minute = Exchanges {
                answered: total.answered.saturating_sub(before.answered),
                lost: total.lost.saturating_sub(before.lost),
            };
            minute.push((panel, of_minute));
        }
        minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: PanelState) -> PanelStatus {
        PanelStatus::new(Name::new("entrance-1").unwrap(), 1, state, jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn answers_that_are_lost_are_told_after_ten_and_one_in_twenty_and_forgotten_after_a_minute() {
        let lossy = |answered, lost| Exchanges { answered, lost }.is_lossy();
        assert_eq!([lossy(0, 9), lossy(190, 10), lossy(189, 10), lossy(0, 0)], [false, false, true, false]);

        let mut losses = Losses::default();
        let at = |seconds: u64| Mono::from_nanos(seconds * 1_000_000_000);
        let mut minute = |seconds, answered, lost, state| {
            let exchanges = vec![(Name::new("entrance-1").unwrap(), Exchanges { answered, lost })];
            losses.note(at(seconds), exchanges, &[status(state)]).first().map(|(_, minute)| *minute)
        };
        assert_eq!(minute(1, 500, 400, PanelState::Online), Some(Exchanges::default()), "nothing before");
        assert_eq!(minute(2, 510, 412, PanelState::Online), Some(Exchanges { answered: 10, lost: 12 }));
        assert_eq!(minute(61, 900, 412, PanelState::Online), Some(Exchanges { answered: 400, lost: 12 }));
        assert_eq!(minute(63, 910, 412, PanelState::Online), Some(Exchanges { answered: 10, lost: 0 }));
        assert_eq!(minute(64, 910, 500, PanelState::Offline), None);
        assert_eq!(minute(65, 911, 501, PanelState::Insecure), Some(Exchanges::default()), "begins anew");
    }
}

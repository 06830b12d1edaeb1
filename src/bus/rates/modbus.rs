//! How the rate of a Modbus line is found: one is tried after the other until somebody answers.

use std::time::Duration;

use super::{Act, KeptRate, Rates, Said, Seen};
use crate::domain::Mono;

/// How long a Modbus line is tried at a rate: several panels are asked meanwhile.
const STAY: Duration = Duration::from_millis(1500);
/// A Modbus line on which nobody was heard for so long is looked for anew.
const LOST_AFTER: Duration = Duration::from_secs(60);

impl Rates {
    /// Tries one rate after the other until somebody answers.
    pub(super) fn find_modbus(&mut self, now: Mono, seen: &[Seen], acts: &mut Vec<Act>) {
        let (place, since) = self.tried;
        let heard = seen.iter().filter_map(|seen| seen.last_heard).max();
        if place != usize::MAX {
            let likely = self.kept.map(|kept| kept.baud);
            let usual = [9600, 19_200, 115_200, 38_400, 57_600];
            let rare = self.rates.iter().copied().filter(|rate| !usual.contains(rate));
            let all = usual.into_iter().filter(|rate| self.rates.contains(rate)).chain(rare);
            let others = all.filter(|rate| Some(*rate) != likely);
            let order: Vec<u32> = likely.into_iter().chain(others).collect();
            let rate = |place: usize| order.get(place.checked_rem(order.len()).unwrap_or(0)).copied();
            let Some(now_tried) = rate(place) else { return };
            if heard.is_some_and(|heard| heard >= since) {
                self.tried = (usize::MAX, now);
                self.home = Some(now_tried);
                acts.extend([Act::Line(now_tried), Act::Say(Said::Found(now_tried))]);
                return self.keep(KeptRate { baud: now_tried, to: None }, acts);
            }
            if place == 0 && self.known.is_empty() {
                acts.push(Act::Line(now_tried));
            } else if now >= since + STAY {
                let next = place.saturating_add(1);
                self.tried = (next, now);
                acts.extend(rate(next).map(Act::Line));
            }
        } else if heard.is_none_or(|heard| now >= heard + LOST_AFTER) && now >= since + LOST_AFTER {
            self.tried = (0, now);
            acts.extend(self.home.map(Act::Line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Exchanges;

    fn seen(last_heard: Option<Mono>) -> [Seen; 1] {
        [Seen { number: 0, bearing: None, exchanges: Exchanges::default(), last_heard }]
    }

    fn lines(acts: &[Act]) -> Vec<u32> {
        let line = |act: &Act| if let Act::Line(baud) = act { Some(*baud) } else { None };
        acts.iter().filter_map(line).collect()
    }

    #[test]
    fn each_rate_is_tried_until_somebody_answers_and_that_one_is_kept() {
        let all = vec![1200, 9600, 19_200, 230_400];
        let at = |tenths: u64| Mono::from_nanos(1_000_000_000 + tenths * 100_000_000);
        for kept in [None, Some(KeptRate { baud: 19_200, to: None })] {
            let mut rates = Rates::new(true, all.clone(), kept, at(0));
            let mut tried = Vec::new();
            let mut heard = None;
            for tenths in 0..200 {
                let acts = rates.look(at(tenths), &seen(heard));
                tried.extend(lines(&acts));
                if tried.last() == Some(&230_400) && heard.is_none() {
                    heard = Some(at(tenths) + Duration::from_millis(50));
                }
            }
            let begin = if kept.is_some() { [19_200, 9600] } else { [9600, 19_200] };
            assert_eq!(tried, [begin[0], begin[1], 1200, 230_400, 230_400]);
            assert_eq!(rates.home(), Some(230_400));
            // Nobody for a minute: it begins with what it was, and goes on to the others.
            let mut again = Vec::new();
            for tenths in 200..900 {
                again.extend(lines(&rates.look(at(tenths), &seen(heard))));
            }
            assert_eq!(again[..3], [230_400, 9600, 19_200]);
        }
    }
}

//! Exchanges a second, against what the frames and gaps really sent would allow.

use std::time::Duration;

use super::rig::{IDLE, Rig};
use crate::subject::Kind;

/// What a line carried.
pub struct Exchanges {
    pub per_second: f64,
    /// At the length of the frames that were sent, with the idle characters that each side keeps, and nothing else.
    pub limit: f64,
}

impl Exchanges {
    /// Of the limit, 0 to 1.
    pub fn share(&self) -> f64 {
        self.per_second / self.limit
    }
}

/// Counts for `time`, while nothing happens but polls.
pub fn measure(rig: &Rig, time: Duration) -> Exchanges {
    let traffic = rig.watch(time);
    let mut replies = traffic.iter().filter(|passage| passage.panel.is_some());
    let (Some(first), Some(last)) = (replies.next(), replies.next_back()) else {
        return Exchanges { per_second: 0.0, limit: f64::INFINITY };
    };
    let counted = traffic.iter().filter(|passage| passage.start >= first.end && passage.end <= last.end);
    let (mut exchanges, mut characters) = (0u32, 0usize);
    for passage in counted {
        exchanges += u32::from(passage.panel.is_some());
        characters += passage.characters;
    }
    // libosdp keeps no idle characters before a command; the panels do before their answers.
    let idle = match rig.setting.kind {
        Kind::Gateway => 2 * IDLE,
        Kind::Libosdp => IDLE,
    };
    let exchange =
        rig.character().as_secs_f64() * (characters as f64 / f64::from(exchanges) + f64::from(idle));
    Exchanges {
        per_second: f64::from(exchanges) / last.end.since(first.end).as_secs_f64(),
        limit: 1.0 / exchange,
    }
}

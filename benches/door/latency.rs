//! Card → event and card → last byte of OUT.

use std::{thread, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{
    common::figures::Samples,
    rig::{IDLE, Rig, Setting},
};

/// Characters of a poll and its answer in a secure channel with their marks, and the idle ones before both.
const CYCLE: u32 = 2 * (15 + IDLE);
/// Idle characters and a reply with a 4-byte card; or idle characters and OUT.
const CARD: u32 = IDLE + 31;

/// Cards that brought about nothing after which the rest is not waited for: libosdp leaves a panel alone for 300 s after
/// a lost reply, which happens on a machine with other work.
const HOPELESS: usize = 5;

/// What was measured in one setting.
pub struct Latency {
    pub setting: Setting,
    pub event: Samples,
    pub out: Samples,
    pub pause: Samples,
    pub missed: usize,
    pub cards: usize,
    /// The line's own lateness, 95 % of hand-overs.
    pub line_p95: Duration,
}

/// Presents `cards` at random panels at random moments, one after the other.
pub fn measure(rig: &mut Rig, cards: usize) -> anyhow::Result<Latency> {
    let mut random = StdRng::seed_from_u64(u64::from(rig.setting.baud) + u64::from(rig.setting.panels));
    let mut latency = Latency {
        setting: rig.setting,
        event: Samples::default(),
        out: Samples::default(),
        pause: Samples::default(),
        missed: 0,
        cards: 0,
        line_p95: Duration::ZERO,
    };
    // Then the next card's answer has nothing to do with this one's, and any moment of whole cycles is as likely as any
    // other.
    let cycle = rig.character() * CYCLE * u32::from(rig.setting.panels);
    let rest = rig.character() * 150;
    let spread = cycle * (100.0 / cycle.as_secs_f64() / 1e3).ceil() as u32;
    let panels = rig.panels().to_vec();
    for _ in 0..cards {
        thread::sleep(rest + spread.mul_f64(random.random()));
        let Some(panel) = panels.choose(&mut random) else { break };
        let swipe = rig.swipe(panel)?;
        swipe.event.into_iter().for_each(|time| latency.event.push(time));
        swipe.out.into_iter().for_each(|time| latency.out.push(time));
        swipe.pause.into_iter().for_each(|time| latency.pause.push(time));
        latency.cards += 1;
        latency.missed += usize::from(swipe.event.is_none() || swipe.out.is_none());
        if latency.missed == HOPELESS {
            break;
        }
    }
    latency.line_p95 = rig.report().lateness.quantile(0.95);
    Ok(latency)
}

/// What the line itself allows where both sides keep two idle characters: the card waits for U(0, a cycle), then for
/// the reply.
pub fn event_limit(character: Duration, panels: u8, share: f64) -> Duration {
    (character * CYCLE * u32::from(panels)).mul_f64(share) + character * CARD
}

/// And OUT comes behind it.
pub fn out_limit(character: Duration, panels: u8, share: f64) -> Duration {
    event_limit(character, panels, share) + character * CARD
}

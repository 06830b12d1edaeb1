//! Cards at simulated panels, and the OUTs that open for them.

use std::{thread, time::Duration};

use intercom_gateway::{
    domain::{Mono, Name},
    simulate::{
        action::{Action, Card},
        panel::Observation,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    daemon::{CARDS, FIRST_CARD},
    figures::Samples,
    premises::Premises,
};

/// An OUT that has not come by then is missed: the gateway withdraws it.
const WITHDRAWN: Duration = Duration::from_secs(2);

/// How long after each card its OUT had come to its panel, and how many cards had none.
#[derive(Default)]
pub struct Openings {
    pub times: Samples,
    pub missed: usize,
}

/// Residents: each card is another one of the document's.
pub struct Residents {
    random: StdRng,
    pause: Duration,
    cards: u32,
}

impl Residents {
    /// `pause` is the time from one card to the next, give or take a quarter: longer than until its OUT and its light are
    /// over.
    pub fn new(seed: u64, pause: Duration) -> Self {
        Self { random: StdRng::seed_from_u64(seed), pause, cards: 0 }
    }

    /// Presents the next card at a random panel, after a pause: the panel, the card's number, and when it was there.
    pub fn come<'a>(
        &mut self,
        premises: &Premises,
        panels: &'a [Name],
    ) -> anyhow::Result<(&'a Name, u32, Mono)> {
        thread::sleep(self.pause.mul_f64(0.75 + 0.5 * self.random.random::<f64>()));
        let panel = &panels[self.random.random_range(0..panels.len())];
        let card = FIRST_CARD + self.cards % CARDS;
        self.cards += 1;
        let data = card.to_be_bytes().to_vec();
        Ok((panel, card, premises.building.act(panel, Action::Card(Card { format: 0, bits: 32, data }))?))
    }

    /// Presents cards at random panels at random moments, as long as `more` says so of how many there were.
    pub fn present(
        &mut self,
        premises: &Premises,
        panels: &[Name],
        more: impl Fn(usize) -> bool,
        openings: &mut Openings,
    ) -> anyhow::Result<()> {
        while premises.sightings.try_recv().is_ok() {}
        let (mut presented, mut seen) = (Vec::new(), Vec::new());
        while more(presented.len()) {
            let (panel, _, at) = self.come(premises, panels)?;
            presented.push((panel, at));
            seen.extend(premises.sightings.try_iter());
        }
        thread::sleep(WITHDRAWN);
        seen.extend(premises.sightings.try_iter());
        seen.retain(|sighting| matches!(sighting.what, Observation::Output(_)));
        let out_of = |(panel, at): &(&Name, Mono)| {
            let mut outs = seen.iter().filter(|out| out.panel == **panel && out.at >= *at);
            outs.next().map(|out| out.at.since(*at)).filter(|time| *time < WITHDRAWN)
        };
        let times: Vec<_> = presented.iter().filter_map(out_of).collect();
        openings.missed += presented.len() - times.len();
        openings.times.extend(times);
        Ok(())
    }
}

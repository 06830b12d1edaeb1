//! How long until a panel serves again: after one lost reply, one broken one, an absence.

use std::{thread, time::Duration};

use anyhow::Context;
use intercom_gateway::{
    clock,
    simulate::{action::Fault, panel::Observation},
};

use super::{
    common::figures::Samples,
    rig::{Rig, Setting},
};

/// How long the panel is away.
const ABSENCE: Duration = Duration::from_secs(15);
/// Where no event comes, another card is presented after this time, then after twice as long, and so on.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two disturbances.
const REST: Duration = Duration::from_secs(1);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    LostReply,
    BrokenReply,
    Absence,
}

impl Outage {
    pub const ALL: [Self; 3] = [Self::LostReply, Self::BrokenReply, Self::Absence];

    pub fn title(self) -> &'static str {
        match self {
            Self::LostReply => "a lost reply (until a card's event)",
            Self::BrokenReply => "a bad CRC (until a card's event)",
            Self::Absence => "an absence of 15 s (until secured)",
        }
    }
}

/// Disturbs one of the panels `times` times; the times until it served again, `None` where one was longer than
/// `patience`.
pub fn measure(
    setting: Setting,
    outage: Outage,
    times: usize,
    patience: Duration,
) -> anyhow::Result<Option<Samples>> {
    let mut rig = Rig::start(setting)?;
    let mut backs = Samples::default();
    for _ in 0..times {
        match once(&mut rig, outage, patience)? {
            Some(back) => backs.push(back),
            None => return Ok(None),
        }
        thread::sleep(REST);
    }
    Ok(Some(backs))
}

fn once(rig: &mut Rig, outage: Outage, patience: Duration) -> anyhow::Result<Option<Duration>> {
    let panel = rig.panels().first().context("no panel")?.clone();
    let fault = match outage {
        Outage::LostReply => Fault::Drop(1),
        Outage::BrokenReply => Fault::Corrupt(1),
        Outage::Absence => {
            rig.fault(&panel, Fault::Gone(true))?;
            thread::sleep(ABSENCE);
            let returned = rig.fault(&panel, Fault::Gone(false))?;
            let secured = Observation::Secured { default_key: false };
            let back = rig.sighted(&panel, patience, |what| *what == secured)?;
            return Ok(back.map(|back| back.since(returned)));
        }
    };
    let disturbed = rig.fault(&panel, fault)?;
    let mut again = AGAIN;
    let mut cards = Vec::new();
    loop {
        cards.push(rig.present(&panel)?.0);
        let left = (disturbed + patience).since(clock::mono());
        if left.is_zero() {
            return Ok(None);
        }
        if let Some(event) = rig.event_of_any(&cards, again.min(left)) {
            return Ok(Some(event.since(disturbed)));
        }
        again *= 2;
    }
}

//! A line with simulated panels in this process, a control panel in another one, and a probe on the wires.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use intercom_gateway::{
    clock,
    domain::{Mono, Name},
    simulate::{
        action::{Action, Card, Fault},
        bank::Sighting,
        building::{Building, PlacedPanel},
        line::{LineRate, LineSettings},
        panel::{ChannelSetup, Observation, PanelSetup},
        shell::{LineReport, LineSpec, Traffic},
    },
    wire::osdp::Scbk,
};

use super::subject::{self, CARDS, FIRST_CARD, KEY, Kind, Subject};

/// How long all panels may take until they are secured: libosdp needs some seconds for 16.
const SETTLING: Duration = Duration::from_secs(60);
/// After the last one is secured, its status is asked; then the line does nothing but poll.
const CALM: Duration = Duration::from_secs(2);
/// A card that has brought about nothing for so long is counted as missed.
const MISSED: Duration = Duration::from_secs(5);
/// The line's thread spins before characters are due: an idle core wakes as late as a character at 115200 baud is long.
const SPIN: Duration = Duration::from_micros(120);
/// Transmissions that nobody has looked at: two minutes at 115200 baud. Full: the newest are dropped and counted.
const TRAFFIC: usize = 1 << 17;
/// RAW with a 4-byte card in a secure channel, with its mark; every other answer to a poll is shorter here.
const RAW_CHARACTERS: usize = 31;
/// Idle characters that the simulated panels keep before they answer, and the gateway before it asks.
pub const IDLE: u32 = 2;

/// What is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub kind: Kind,
    pub baud: u32,
    pub panels: u8,
    /// The last panel is dead from the start.
    pub one_dead: bool,
}

/// What a card brought about, as times since the panel had it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swipe {
    /// The control panel's event.
    pub event: Option<Duration>,
    /// The last byte of OUT, at the panel.
    pub out: Option<Duration>,
    /// From the last byte of the reply with the card to the first one of OUT.
    pub pause: Option<Duration>,
}

/// A running line with panels and somebody who polls them.
pub struct Rig {
    pub setting: Setting,
    /// Before the building: it ends first, else it would find its port gone.
    subject: Subject,
    building: Building,
    bus: Name,
    panels: Vec<Name>,
    sightings: Receiver<Sighting>,
    traffic: Receiver<Traffic>,
    next_card: u32,
}

impl Rig {
    /// Starts everything and waits until all panels that live are secured and the line is calm.
    pub fn start(setting: Setting) -> anyhow::Result<Self> {
        let Setting { kind, baud, panels, one_dead } = setting;
        let dead = if one_dead { ", one of them dead" } else { "" };
        eprintln!("{}, {baud} baud, {panels} panels{dead} …", kind.title());
        let bus = Name::new("street")?;
        let (tap, traffic) = sync_channel(TRAFFIC);
        let line = LineSpec {
            spin: SPIN,
            tap: Some(tap),
            ..LineSpec::new(bus.clone(), LineSettings::clean(Some(LineRate::osdp(baud))))
        };
        let key = Scbk::from_hex(KEY).context("the key")?;
        let place = |address| {
            let channel = ChannelSetup::Key(key.clone());
            let setup = PanelSetup { enforce: true, ..PanelSetup::new(address, channel, 1) };
            Ok(PlacedPanel { name: subject::panel_name(address)?, bus: bus.clone(), setup })
        };
        let placed: Vec<_> = (0..panels).map(place).collect::<anyhow::Result<_>>()?;
        let mut names: Vec<_> = placed.iter().map(|panel| panel.name.clone()).collect();
        let (building, sightings) = Building::start(&[line], placed)?;
        if one_dead && let Some(dead) = names.pop() {
            building.act(&dead, Action::Fault(Fault::Gone(true)))?;
        }
        let port = building.port(&bus).context("no port")?;
        let subject = Subject::start(kind, port, baud, panels)?;
        let rig = Self {
            setting,
            building,
            bus,
            panels: names,
            subject,
            sightings,
            traffic,
            next_card: FIRST_CARD,
        };
        rig.settle()?;
        Ok(rig)
    }

    /// The panels that live.
    pub fn panels(&self) -> &[Name] {
        &self.panels
    }

    /// Time of one character.
    pub fn character(&self) -> Duration {
        LineRate::osdp(self.setting.baud).character()
    }

    /// Figures about the line itself.
    pub fn report(&self) -> LineReport {
        self.building.report(&self.bus).unwrap_or_default()
    }

    /// What breaks or heals.
    pub fn fault(&self, panel: &Name, fault: Fault) -> anyhow::Result<Mono> {
        Ok(self.building.act(panel, Action::Fault(fault))?)
    }

    /// Presents a card that opens; gives its number and when the panel had it.
    pub fn present(&mut self, panel: &Name) -> anyhow::Result<(u32, Mono)> {
        let card = self.next_card;
        self.next_card = FIRST_CARD + (card - FIRST_CARD + 1) % CARDS;
        let data = card.to_be_bytes().to_vec();
        let at = self.building.act(panel, Action::Card(Card { format: 0, bits: 32, data }))?;
        Ok((card, at))
    }

    /// Presents a card and follows it to the last byte of OUT.
    pub fn swipe(&mut self, panel: &Name) -> anyhow::Result<Swipe> {
        while self.sightings.try_recv().is_ok() {}
        while self.traffic.try_recv().is_ok() {}
        let (card, queued) = self.present(panel)?;
        let mut swipe = Swipe { event: self.event_of(card).map(|at| at.since(queued)), ..Swipe::default() };
        let Some(out_end) = self.out_at(panel, queued)? else { return Ok(swipe) };
        swipe.out = Some(out_end.since(queued));
        swipe.pause = self.pause_before(out_end);
        Ok(swipe)
    }

    /// When the subject told of this card.
    fn event_of(&self, card: u32) -> Option<Mono> {
        self.event_of_any(&[card], MISSED)
    }

    /// When the subject first tells of one of these cards, within `patience`.
    pub fn event_of_any(&self, cards: &[u32], patience: Duration) -> Option<Mono> {
        let deadline = clock::mono() + patience;
        loop {
            let told = self.subject.told.recv_timeout(deadline.since(clock::mono())).ok()?;
            if cards.contains(&told.card) {
                return Some(told.at);
            }
        }
    }

    /// When a panel is seen to do something.
    pub fn sighted(
        &self,
        panel: &Name,
        patience: Duration,
        wanted: impl Fn(&Observation) -> bool,
    ) -> anyhow::Result<Option<Mono>> {
        let deadline = clock::mono() + patience;
        loop {
            match self.sightings.recv_timeout(deadline.since(clock::mono())) {
                Ok(sighting) if sighting.panel == *panel && wanted(&sighting.what) => {
                    return Ok(Some(sighting.at));
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => bail!("the simulated line has ended"),
            }
        }
    }

    /// All transmissions of the next `time`.
    pub fn watch(&self, time: Duration) -> Vec<Traffic> {
        while self.traffic.try_recv().is_ok() {}
        thread::sleep(time);
        self.traffic.try_iter().collect()
    }

    fn settle(&self) -> anyhow::Result<()> {
        let mut waiting = self.panels.clone();
        let deadline = clock::mono() + SETTLING;
        while !waiting.is_empty() {
            let Ok(sighting) = self.sightings.recv_timeout(deadline.since(clock::mono())) else {
                bail!("{:?}: {} panels are not secured after a minute", self.setting, waiting.len());
            };
            if sighting.what == (Observation::Secured { default_key: false }) {
                waiting.retain(|panel| *panel != sighting.panel);
            }
        }
        thread::sleep(CALM);
        Ok(())
    }

    fn out_at(&self, panel: &Name, queued: Mono) -> anyhow::Result<Option<Mono>> {
        let patience = (queued + MISSED).since(clock::mono());
        self.sighted(panel, patience, |what| matches!(what, Observation::Output(_)))
    }

    /// From the reply with the card, which its length tells, to OUT, whose end the panel told.
    fn pause_before(&self, out_end: Mono) -> Option<Duration> {
        let mut reply_end: Option<Mono> = None;
        while let Ok(passage) = self.traffic.recv_timeout(Duration::from_secs(1)) {
            if passage.from_port && passage.end == out_end {
                return reply_end.map(|end| passage.start.since(end));
            }
            if !passage.from_port && passage.characters >= RAW_CHARACTERS {
                reply_end = Some(passage.end);
            }
        }
        None
    }
}

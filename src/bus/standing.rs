//! How a panel is, and what is wrong with it: what its status shows and what its events have said of it.
//!
//! Invariant: what is wrong is derived, never assigned: what the panel's driver says goes first, then, while it is online,
//! what its configuration and its wiring are found to be. Tamper, power and what the device says of itself are shown as they
//! were told, within the panel's budget.

use jiff::Timestamp;

use super::{door::Door, doorway::DoorwaySettings, paced::Paced};
use crate::domain::{Bucket, Capabilities, Device, Mono, PanelState, PanelStatus, Trouble};

/// A turn in a panel's presence.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Presence {
    Online,
    /// It left `online`, or was not from the first verdict on.
    Away(Trouble),
}

pub(super) struct Standing {
    state: PanelState,
    since: Timestamp,
    trouble: Option<Trouble>,
    /// What events have said of it last; `None`: nothing since the start.
    told_online: Option<bool>,
    pub(super) capabilities: Capabilities,
    /// The first reader that is not connected.
    pub(super) disconnected: Option<u8>,
    /// What a Modbus panel said that it is, and what its profile expects.
    pub(super) model: Option<(String, String)>,
    case_tamper: bool,
    reader_tamper: bool,
    tamper: Paced<bool>,
    power_failed: Paced<bool>,
    device: Paced<Device>,
}

impl Standing {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            state: PanelState::Offline,
            since: now,
            trouble: None,
            told_online: None,
            capabilities: Capabilities::default(),
            disconnected: None,
            model: None,
            case_tamper: false,
            reader_tamper: false,
            tamper: Paced::default(),
            power_failed: Paced::default(),
            device: Paced::default(),
        }
    }

    /// Takes the driver's verdict; returns what events have to say of it. A change between insecure and offline is
    /// not one of presence.
    pub(super) fn change(
        &mut self,
        wall: Timestamp,
        state: PanelState,
        trouble: Option<Trouble>,
    ) -> Option<Presence> {
        if std::mem::replace(&mut self.state, state) != state {
            self.since = wall;
        }
        self.trouble = trouble;
        let online = state == PanelState::Online;
        let is_verdict = online || self.trouble.is_some();
        if self.told_online.is_none() && !is_verdict {
            return None;
        }
        if self.told_online.replace(online) == Some(online) {
            return None;
        }
        let cause = || self.trouble.clone().unwrap_or(Trouble::NoLink);
        Some(if online { Presence::Online } else { Presence::Away(cause()) })
    }

    pub(super) fn case(&mut self, tamper: bool, power_failed: bool) {
        self.case_tamper = tamper;
        self.tamper.set(self.case_tamper || self.reader_tamper);
        self.power_failed.set(power_failed);
    }

    pub(super) fn readers(&mut self, tamper: bool, disconnected: Option<u8>) {
        self.reader_tamper = tamper;
        self.disconnected = disconnected;
        self.tamper.set(self.case_tamper || self.reader_tamper);
    }

    pub(super) fn identified(&mut self, device: Device) {
        self.device.set(device);
    }

    /// Returns a change of tamper that is to be told now.
    pub(super) fn tell_tamper(&mut self, now: Mono, budget: &mut Bucket) -> Option<bool> {
        tell_flag(&mut self.tamper, now, budget)
    }

    /// Returns a change of power failure that is to be told now.
    pub(super) fn tell_power(&mut self, now: Mono, budget: &mut Bucket) -> Option<bool> {
        tell_flag(&mut self.power_failed, now, budget)
    }

    /// Shows the device as it says that it is.
    pub(super) fn show_device(&mut self, now: Mono, budget: &mut Bucket) {
        // A first one is nothing that alternates.
        if self.device.pending().is_some() && (self.device.told().is_none() || budget.take(now)) {
            self.device.tell();
        }
    }

    /// Returns when one of the above has something to tell.
    pub(super) fn next_time(&self, budget: &Bucket) -> Mono {
        let waits = self.tamper.pending().is_some()
            || self.power_failed.pending().is_some()
            || self.device.pending().is_some();
        if waits { budget.next_time(1) } else { Mono::NEVER }
    }

    pub(super) fn status(&self, settings: &DoorwaySettings, door: &Door) -> PanelStatus {
        // Of a panel that is away nobody knows what its contact says.
        let door = Some(door).filter(|_| self.state == PanelState::Online);
        PanelStatus {
            tamper: self.tamper.told().copied(),
            power_failed: self.power_failed.told().copied(),
            door: door.and_then(Door::position),
            held: door.is_some_and(Door::is_held),
            trouble: self.trouble.clone().or_else(|| self.wiring(settings)),
            device: self.device.told().cloned(),
            capabilities: self.capabilities,
            ..PanelStatus::new(settings.panel.clone(), settings.intercom, self.state, self.since)
        }
    }

    /// What the configuration names and the panel does not have, and what is not connected to it.
    fn wiring(&self, settings: &DoorwaySettings) -> Option<Trouble> {
        if self.state != PanelState::Online {
            return None;
        }
        let other_model = self.model.clone().filter(|(found, expected)| found != expected);
        let other_model = other_model.map(|(found, expected)| Trouble::OtherModel { found, expected });
        let Capabilities { inputs, outputs, .. } = self.capabilities;
        let output = settings.lock.map(|lock| lock.output);
        let no_output = output.zip(outputs).filter(|(output, has)| output >= has);
        let door = settings.door.as_ref();
        let named = [door.and_then(|door| door.contact), door.and_then(|door| door.exit)];
        let no_input =
            |has: u8| named.into_iter().flatten().find(|input| *input >= has).map(|input| (input, has));
        other_model
            .or_else(|| no_output.map(|(output, has)| Trouble::NoSuchOutput { output, has }))
            .or_else(|| inputs.and_then(no_input).map(|(input, has)| Trouble::NoSuchInput { input, has }))
            .or_else(|| self.disconnected.map(|reader| Trouble::ReaderDisconnected { reader }))
    }
}

/// A first report is an event only where it tells of something wrong.
fn tell_flag(flag: &mut Paced<bool>, now: Mono, budget: &mut Bucket) -> Option<bool> {
    let active = *flag.pending()?;
    let quietly = flag.told().is_none() && !active;
    if !quietly && !budget.take(now) {
        return None;
    }
    flag.tell();
    (!quietly).then_some(active)
}

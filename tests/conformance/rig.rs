//! Our control panel at one end of a line, in virtual time, and a simulated panel at the other. Everything that goes over
//! the line is kept as bytes with its times, and what the panel answers may be changed on its way.

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use intercom_gateway::{
    access::{Directory, DirectoryBuilder, DirectoryEntry, KeyOrder, Now},
    bus::{
        DoorSettings, DoorwaySettings, LineStats, LockSettings, Timing,
        core::{Core, Moment, Output},
    },
    domain::{
        EventBody, KeyCode, Mono, Name, OutputActive, PanelState, PanelStatus,
        event::{UnlockId, UnlockKind, UnlockedBy},
    },
    panel::{
        Driver, Entropy, Failure,
        osdp::{KeyRecord, Panel, PanelKey, Security, Settings},
    },
    simulate::{
        action::{Action, Card, Keys},
        chance::Chance,
        line::{Line, LineRate, LineSettings, StationId},
        panel::{ChannelSetup, Observation, PanelSetup, SimulatedPanel},
        receiver::{Heard, Receiver},
    },
    wire::osdp::Scbk,
};

use crate::{
    layout::{Layout, layout},
    table::Channel,
};

pub const ADDRESS: u8 = 5;
/// From the last stop bit of a command to the first start bit of the answer.
pub const SOON: Duration = Duration::from_millis(3);
/// A card that opens, and one that nobody knows.
pub const KNOWN: [u8; 4] = [0x30, 0x42, 0xCA, 0xAC];
pub const UNKNOWN: [u8; 4] = [0xDE, 0xAD, 0xBE, 0xEF];
/// How long an unlock lasts that a card leads to, in units of 100 ms: two bytes on the line.
pub const OPEN_TENTHS: u16 = 300;

/// A command as the panel heard it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub code: u8,
    pub sequence: u8,
}

/// Bytes that the panel's end puts on the line.
#[derive(Clone, Debug)]
pub struct Say {
    /// From the end of the command, or of what was said before.
    pub after: Duration,
    pub bytes: Vec<u8>,
}

impl Say {
    pub fn soon(bytes: Vec<u8>) -> Vec<Self> {
        vec![Self { after: SOON, bytes }]
    }
}

/// What becomes of the panel's answers.
type Twist = Box<dyn FnMut(&Asked, Vec<u8>) -> Vec<Say>>;

/// Something that went over the line.
#[derive(Clone, Debug)]
pub struct Passed {
    pub start: Mono,
    pub end: Mono,
    pub bytes: Vec<u8>,
}

impl Passed {
    pub fn layout(&self) -> Layout {
        layout(&self.bytes)
    }
}

/// A panel and how it is configured.
#[derive(Clone)]
pub struct Setting {
    pub baud: u32,
    pub setup: PanelSetup,
    pub security: Security,
    /// `secure_key_file`.
    pub key: Option<Scbk>,
}

impl Setting {
    /// As it is built in and configured in most buildings.
    pub fn usual(channel: Channel) -> Self {
        match channel {
            Channel::Basic => Self {
                baud: 9600,
                setup: PanelSetup::new(ADDRESS, ChannelSetup::Unsupported, 7),
                security: Security::Off,
                key: None,
            },
            Channel::Secure => Self {
                baud: 9600,
                setup: PanelSetup::new(ADDRESS, ChannelSetup::Key(own_key()), 7),
                security: Security::Required,
                key: Some(own_key()),
            },
        }
    }

    /// New from the box, to be paired.
    pub fn unpaired() -> Self {
        Self {
            setup: PanelSetup::new(ADDRESS, ChannelSetup::Install, 7),
            security: Security::Install,
            key: None,
            ..Self::usual(Channel::Secure)
        }
    }
}

pub fn own_key() -> Scbk {
    Scbk::new([0x5A; 16])
}

pub struct Rig {
    pub now: Mono,
    pub panel: SimulatedPanel,
    /// What the gateway sent.
    pub sent: Vec<Passed>,
    /// What the panel's end said.
    pub said: Vec<Passed>,
    pub events: Vec<EventBody>,
    pub seen: Vec<Observation>,
    /// This many of the next commands arrive with a wrong check.
    pub damage: u32,
    pub record: KeyRecord,
    setting: Setting,
    core: Core,
    directory: Directory,
    chance: Chance,
    twist: Twist,
    unlocked: BTreeMap<u64, Result<(), Failure>>,
    rekeyed: Option<Result<(), Failure>>,
    line: Line,
    gateway: StationId,
    station: StationId,
    receiver: Receiver,
    next_request: u64,
}

impl Rig {
    /// Both are just switched on.
    pub fn new(mut setting: Setting) -> Self {
        setting.setup.baud = Some(setting.baud);
        let mut line = Line::new(LineSettings::clean(Some(LineRate::osdp(setting.baud))));
        let (gateway, station) = (line.add_station(usize::MAX), line.add_station(1));
        let (directory, mut chance, record) = (directory(), Chance::new(1), KeyRecord::default());
        let core = new_core(&setting, &record, &mut chance, Mono::ZERO, &directory);
        Self {
            now: Mono::ZERO,
            panel: SimulatedPanel::new(setting.setup.clone()),
            sent: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
            seen: Vec::new(),
            damage: 0,
            record,
            setting,
            core,
            directory,
            chance,
            twist: Box::new(|_, bytes| Say::soon(bytes)),
            unlocked: BTreeMap::new(),
            rekeyed: None,
            line,
            gateway,
            station,
            receiver: Receiver::default(),
            next_request: 0,
        }
    }

    /// With the usual panel online, whose states have been asked for.
    pub fn at_work(channel: Channel) -> Self {
        Self::new(Setting::usual(channel)).working()
    }

    pub fn working(mut self) -> Self {
        self.until("the panel is online", |rig| rig.state() == PanelState::Online);
        self.run(Duration::from_secs(1));
        self
    }

    /// Changes the answers from now on.
    pub fn twist(&mut self, twist: impl FnMut(&Asked, Vec<u8>) -> Vec<Say> + 'static) {
        self.twist = Box::new(twist);
    }

    /// Changes no answer from now on.
    pub fn untwist(&mut self) {
        self.twist(|_, bytes| Say::soon(bytes));
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_while(end, |_| true);
    }

    /// Runs until something holds, which must be within 10 s.
    pub fn until(&mut self, what: &str, holds: impl Fn(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(10);
        assert!(!self.run_while(end, |rig| !holds(rig)), "it did not come to this: {what}");
    }

    pub fn status(&mut self) -> PanelStatus {
        let statuses = self.core.statuses(&moment(self.now, &self.directory));
        statuses.into_iter().next().unwrap()
    }

    pub fn state(&mut self) -> PanelState {
        self.status().state
    }

    /// What happened on the line.
    pub fn counted(&self) -> LineStats {
        self.core.stats()
    }

    pub fn act(&mut self, action: Action) {
        self.panel.act(self.now, action).unwrap();
        self.observe();
    }

    pub fn card(&mut self, data: [u8; 4]) {
        self.act(Action::Card(Card { format: 0, bits: 32, data: data.to_vec() }));
    }

    pub fn keys(&mut self, keys: &[u8]) {
        self.act(Action::Keys(Keys(keys.to_vec())));
    }

    /// Asks for an unlock; its number.
    pub fn unlock(&mut self, tenths: u16) -> u64 {
        self.next_request += 1;
        let by = UnlockedBy { kind: UnlockKind::Token, id: Some(UnlockId::Text("tester".to_owned())) };
        let moment = moment(self.now, &self.directory);
        let tenths = NonZeroU16::new(tenths);
        self.core.unlock(&moment, &name(), tenths, by, self.next_request, self.now).unwrap();
        self.next_request
    }

    /// Asks for an unlock, and how it ended.
    pub fn unlock_ends(&mut self, tenths: u16) -> Result<(), Failure> {
        let request = self.unlock(tenths);
        self.until("the unlock ends", |rig| rig.unlocked.contains_key(&request));
        self.unlocked[&request]
    }

    pub fn identify(&mut self, tenths: u16) {
        let moment = moment(self.now, &self.directory);
        self.core.identify(&moment, &name(), NonZeroU16::new(tenths).unwrap(), 0, self.now).unwrap();
    }

    /// `panel pair`.
    pub fn arm_pairing(&mut self) {
        let until = self.now + Duration::from_secs(600);
        self.core.arm_pairing(&moment(self.now, &self.directory), &name(), until).unwrap();
        self.take_outputs();
    }

    /// `baud = "auto"`, with these rates.
    pub fn find_rate(&mut self, rates: &[u32]) {
        self.core.find_rate(&moment(self.now, &self.directory), rates.to_vec(), None);
        self.take_outputs();
    }

    /// The rate of the line; `None`: it is not found.
    pub fn line_baud(&self) -> Option<u32> {
        self.core.line_baud()
    }

    /// `panel rekey`, and how it ended.
    pub fn rekey(&mut self) -> Result<(), Failure> {
        self.core.rekey(&moment(self.now, &self.directory), &name(), None, 0).unwrap();
        self.take_outputs();
        self.until("the key is changed", |rig| rig.rekeyed.is_some());
        self.rekeyed.take().unwrap()
    }

    /// Another device in the place of this one.
    pub fn swap(&mut self, setup: PanelSetup) {
        self.panel = SimulatedPanel::new(setup);
    }

    /// The gateway starts anew with what it has kept.
    pub fn restart_gateway(&mut self) {
        self.run(Duration::from_millis(100));
        self.core = new_core(&self.setting, &self.record, &mut self.chance, self.now, &self.directory);
        self.receiver = Receiver::default();
    }

    /// Forgets what went over the line, but for the last command, and what was told.
    pub fn forget(&mut self) {
        self.sent.drain(..self.sent.len().saturating_sub(1));
        let since = self.sent.first().map_or(Mono::ZERO, |last| last.end);
        self.said.retain(|said| said.start >= since);
        self.events.clear();
        self.seen.clear();
    }

    /// The frames that were sent with this code.
    pub fn sent_of(&self, code: u8) -> Vec<Layout> {
        self.sent.iter().map(Passed::layout).filter(|frame| frame.code == code).collect()
    }

    pub fn was_told(&self, is_it: impl Fn(&EventBody) -> bool) -> bool {
        self.events.iter().any(is_it)
    }

    pub fn was_seen(&self, is_it: impl Fn(&Observation) -> bool) -> bool {
        self.seen.iter().any(is_it)
    }

    /// Runs until `end`, or until `go_on` says that it is enough; whether the former.
    fn run_while(&mut self, end: Mono, go_on: impl Fn(&mut Self) -> bool) -> bool {
        while go_on(self) {
            self.transmit();
            self.take_outputs();
            let due = [self.line.next_due(), self.receiver.next_timeout(), self.panel.next_timeout()];
            let next = due.into_iter().flatten().fold(self.core.next_time(), Mono::min);
            if next > end {
                self.now = end;
                return true;
            }
            self.now = self.now.max(next);
            self.turn();
        }
        false
    }

    fn transmit(&mut self) {
        let mut bytes = Vec::new();
        if !self.core.poll_transmit(self.now, &mut bytes) {
            return;
        }
        let end = self.now + self.line.character() * bytes.len() as u32;
        self.sent.push(Passed { start: self.now, end, bytes: bytes.clone() });
        // What is sent at one rate makes no sense at another.
        self.line.tune(self.gateway, self.core.port_baud());
        self.line.tune(self.station, self.panel.baud().unwrap_or(self.setting.baud));
        if self.damage > 0 {
            self.damage -= 1;
            *bytes.last_mut().unwrap() ^= 0x10;
        }
        self.line.transmit(self.gateway, &bytes, self.now);
    }

    fn turn(&mut self) {
        let mut bytes = Vec::new();
        while let Some(run) = self.line.take_due(self.now, &mut bytes) {
            let end = run.end_of(bytes.len() - 1);
            let mut read = bytes.clone();
            if run.from != self.gateway {
                self.line.hear(self.gateway, &run, &mut read);
                self.core.receive(&moment(self.now, &self.directory), &read);
                self.take_outputs();
                read.clone_from(&bytes);
            }
            self.line.hear(self.station, &run, &mut read);
            self.hear(|receiver, each| receiver.hear(&read, end, |heard, _| each(heard)));
        }
        let now = self.now;
        self.hear(|receiver, each| receiver.handle_timeout(now, |heard, _| each(heard)));
        if self.panel.next_timeout().is_some_and(|at| at <= self.now) {
            self.panel.handle_timeout(self.now);
            self.observe();
        }
        if self.core.next_time() <= self.now {
            self.core.advance(&moment(self.now, &self.directory));
        }
        self.take_outputs();
    }

    /// The panel hears what is on the line, and answers.
    fn hear(&mut self, hear: impl FnOnce(&mut Receiver, &mut dyn FnMut(Heard<'_>))) {
        let mut receiver = std::mem::take(&mut self.receiver);
        hear(&mut receiver, &mut |heard| {
            let (asked, answer) = match &heard {
                Heard::Frame(frame) if frame.reply || frame.address != self.panel.address() => return,
                Heard::Frame(frame) => {
                    let asked = Asked { code: frame.code, sequence: frame.sequence };
                    (asked, self.panel.handle_frame(self.now, frame))
                }
                Heard::Broken(raw) => {
                    (Asked { code: 0, sequence: 0 }, self.panel.handle_broken(self.now, raw))
                }
            };
            self.observe();
            let Some(answer) = answer else { return };
            let mut at = self.now + answer.delay;
            for say in (self.twist)(&asked, answer.bytes) {
                let start = at + say.after;
                at = start + self.line.character() * say.bytes.len() as u32;
                self.line.transmit(self.station, &say.bytes, start);
                self.said.push(Passed { start, end: at, bytes: say.bytes });
            }
        });
        self.receiver = receiver;
    }

    fn observe(&mut self) {
        self.seen.extend(std::iter::from_fn(|| self.panel.poll_observation()));
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Event(body) => self.events.push(body),
                Output::Unlocked { request, result } => drop(self.unlocked.insert(request, result)),
                Output::Rekeyed { result, .. } => self.rekeyed = Some(result),
                Output::Keep { panel, record, version } => {
                    self.record = *record;
                    self.core.record_stored(&moment(self.now, &self.directory), panel, version);
                }
                Output::KeepRate { version, .. } => {
                    self.core.rate_stored(&moment(self.now, &self.directory), version);
                }
                _ => {}
            }
        }
    }
}

/// Randomness that a seed repeats.
struct Seeded(Chance);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        out.fill_with(|| self.0.byte());
        true
    }
}

fn new_core(
    setting: &Setting,
    record: &KeyRecord,
    chance: &mut Chance,
    now: Mono,
    directory: &Directory,
) -> Core {
    let open = NonZeroU16::new(OPEN_TENTHS).unwrap();
    let doorway = DoorwaySettings {
        panel: name(),
        intercom: 1,
        lock: Some(LockSettings { output: 0, open, active: OutputActive::On }),
        door: None::<DoorSettings>,
        feedback: true,
        key_order: KeyOrder::AsRead,
    };
    let from_config = setting.key.clone().map(|key| PanelKey::new(key).unwrap());
    let settings = Settings {
        address: setting.setup.address,
        security: setting.security,
        record: KeyRecord { from_config, ..record.clone() },
        key_fault: None,
        strays: Vec::new(),
        reply_timeout: Duration::from_millis(200),
        stale_after: Duration::from_secs(3),
    };
    let panel = Panel::new(settings, Box::new(Seeded(Chance::new(chance.next_u64()))));
    let timing = Timing::new(setting.baud, 10, false);
    Core::new(timing, vec![(doorway, Driver::Osdp(Box::new(panel)))], &moment(now, directory))
}

fn name() -> Name {
    Name::new("entrance-1").unwrap()
}

fn moment(now: Mono, directory: &Directory) -> Moment<'_> {
    let wall = jiff::Timestamp::from_nanosecond(1_800_000_000_000_000_000 + i128::from(now.as_nanos()));
    Moment { mono: now, wall: wall.unwrap(), now: Now::Unknown, directory }
}

fn directory() -> Directory {
    let mut builder = DirectoryBuilder::new(jiff::tz::TimeZone::UTC);
    builder.add(&DirectoryEntry {
        intercom: 1,
        flat_id: 1,
        flat: 1,
        key_id: 1,
        code: KeyCode::from_bytes(&KNOWN).unwrap(),
        user_id: None,
        permitted: true,
        expired_at: None,
    });
    builder.build(Some(1))
}

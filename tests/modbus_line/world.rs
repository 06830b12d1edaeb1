//! A Modbus line in virtual time: the gateway's own `Schedule` and drivers, and model panels that answer as devices do, in
//! the order in which they were asked, with faults from a seed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use intercom_gateway::{
    bus::{Timing, schedule::Schedule},
    domain::{
        Mono, Profile,
        line::Thresholds,
        profile::{
            DoorProfile, IdentityProfile, KeysProfile, LinesProfile, LockProfile, Register, RegisterKind,
        },
    },
    panel::{
        Driver, Event,
        modbus::{Limits, Panel, Settings},
    },
    wire::modbus::{Answer, Exception, ParsedRequest, Request, Table, emit_reply, parse_request},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

pub const BAUD: u32 = 19_200;
/// How long the content of a line's register lasts.
pub const EPOCH: Duration = Duration::from_millis(50);

/// What goes wrong, each as a probability an exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub late: f64,
    pub short: f64,
    pub long: f64,
    pub wrong_unit: f64,
    pub noise: f64,
    pub garbled: f64,
    pub lost: f64,
}

impl Faults {
    pub const MANY: Self = Self {
        late: 0.06,
        short: 0.02,
        long: 0.02,
        wrong_unit: 0.02,
        noise: 0.03,
        garbled: 0.02,
        lost: 0.03,
    };
}

/// A device.
pub struct Model {
    pub unit: u8,
    pub dead: bool,
    pub turnaround: Duration,
    /// Registers that do not change by themselves; lines' values are a function of time.
    pub registers: BTreeMap<(Table, u16), u16>,
    /// The table and the addresses of line values.
    pub lines: Option<(Table, u16, u16)>,
    /// Reads of the table that begin here or cover it get exception 02.
    pub hole: Option<(Table, u16)>,
    /// Requests for any of these registers get exception 02, or no answer where [`Model::is_mute`].
    pub absent: Vec<(Table, std::ops::Range<u16>)>,
    pub is_mute: bool,
    /// This many of the next requests get exception 02, whatever they are for: it is booting.
    pub refuses: u32,
    /// Codes that wait; the queue of the profile of [`profile`].
    pub queue: VecDeque<u64>,
    pub busy_until: Mono,
    /// Writes as they were carried out.
    pub written: Vec<(Mono, Request)>,
}

/// What a panel told.
#[derive(Debug)]
pub struct Told {
    pub now: Mono,
    /// When the panel was last asked for anything.
    pub asked: Mono,
    pub number: usize,
    pub event: Event,
}

enum Action {
    /// A panel has received a request, which was sent then.
    Process(usize, Mono, Vec<u8>),
    /// Characters of one transmission, sent from then on.
    Arrive(Mono, Vec<u8>),
}

pub struct World {
    pub now: Mono,
    pub line: Schedule,
    pub models: Vec<Model>,
    pub faults: Faults,
    pub echo: bool,
    /// What the panels told: when, since when the panel had been asked, which panel.
    pub events: Vec<Told>,
    /// What the gateway sent, and when.
    pub sent: Vec<(Mono, Vec<u8>)>,
    /// Answers that came when nobody waited for them any more.
    pub late: u64,
    asked: Vec<Mono>,
    rng: StdRng,
    actions: BTreeMap<(Mono, u64), Action>,
    order: u64,
    character: Duration,
    /// When somebody was on the wire lately: begin and end.
    air: VecDeque<(Mono, Mono)>,
}

pub fn at(kind: RegisterKind, address: u16) -> Register {
    Register { kind, address }
}

/// The contract's sample of a profile, in parts.
pub fn profile(lines: bool, keys: bool, lock: Option<LockProfile>, door: bool, identity: bool) -> Profile {
    let fast = Duration::from_millis(100);
    let thresholds = Thresholds {
        short_below: Some(1.0),
        on_hook_below: 6.5,
        off_hook_below: 9.2,
        door_button_below: Some(9.8),
        hysteresis: 0.2,
    };
    let lines = lines.then(|| LinesProfile {
        count: 100,
        unit: "V".into(),
        value: at(RegisterKind::Input, 0),
        scale: 0.1,
        enable: Some(0),
        unsupported: Some(65_535),
        busy: Some(65_534),
        thresholds,
        range: (0.0, 980.0),
        debounce: 3,
        period: Duration::from_secs(1),
        columns: None,
    });
    let keys = keys.then(|| KeysProfile {
        count: at(RegisterKind::Input, 400),
        code: at(RegisterKind::Input, 401),
        words: 4,
        bits: 56,
        little: false,
        next: at(RegisterKind::Coil, 410),
        period: fast,
    });
    let door = door.then(|| DoorProfile {
        contact: Some(at(RegisterKind::Discrete, 440)),
        exit: Some(at(RegisterKind::Discrete, 441)),
        period: fast,
    });
    let model = at(RegisterKind::Holding, 500);
    let identity =
        identity.then(|| IdentityProfile { model, words: 8, text: true, is: Some("KM-100".into()) });
    Profile { name: "sample".into(), lines, keys, lock, door, identity }
}

pub fn timing() -> Timing {
    Timing::modbus(BAUD, 11, false)
}

/// `reply_timeout` where nothing is configured.
const REPLY_TIMEOUT: Duration = Duration::from_millis(200);

/// A driver for a panel with these lines.
pub fn driver(unit: u8, profile: &Profile, lines: u16, limits: Limits) -> Driver {
    let (profile, lines) = (Arc::new(profile.clone()), (1..=lines).collect());
    Driver::Modbus(Box::new(Panel::new(Settings {
        unit,
        profile,
        lines,
        limits,
        reply_timeout: REPLY_TIMEOUT,
    })))
}

/// What the register of a line holds at a time.
pub fn value(unit: u8, address: u16, at: Mono) -> u16 {
    let epoch = at.as_nanos() / EPOCH.as_nanos() as u64;
    (u64::from(unit) * 4001 + u64::from(address) * 131 + epoch * 7919 + epoch * u64::from(address) * 17)
        as u16
}

impl World {
    pub fn new(seed: u64, panels: Vec<(Driver, Model)>) -> Self {
        let now = Mono::from_nanos(3_600_000_000_000);
        let (drivers, models): (Vec<_>, Vec<_>) = panels.into_iter().unzip();
        let timing = timing();
        Self {
            now,
            asked: vec![now; models.len()],
            line: Schedule::new(timing, drivers, now),
            models,
            faults: Faults::default(),
            echo: false,
            events: Vec::new(),
            sent: Vec::new(),
            late: 0,
            rng: StdRng::seed_from_u64(seed),
            actions: BTreeMap::new(),
            order: 0,
            character: timing.character,
            air: VecDeque::new(),
        }
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let mut idle = 0;
        while self.now < until {
            let mut frame = Vec::new();
            let sent = self.line.poll_transmit(self.now, &mut frame);
            if sent {
                self.transmit(frame);
            }
            self.collect();
            let next = self.line.next_time().min(self.next_action()).min(until);
            idle = if next <= self.now && !sent { idle + 1 } else { 0 };
            assert!(idle < 10, "the line spins");
            self.now = self.now.max(next);
            while let Some(entry) = self.actions.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let action = entry.remove();
                self.act(action);
            }
            self.line.advance(self.now);
        }
        self.collect();
    }

    /// The panel with this number, for what Modbus alone has.
    pub fn modbus(&mut self, number: usize) -> &mut Panel {
        self.driver(number).modbus().unwrap()
    }

    /// The panel with this number.
    pub fn driver(&mut self, number: usize) -> &mut Driver {
        self.line.driver(number).unwrap()
    }

    /// The next time at which something was asked to happen.
    fn next_action(&self) -> Mono {
        self.actions.first_key_value().map_or(Mono::NEVER, |((at, _), _)| *at)
    }

    fn schedule(&mut self, at: Mono, action: Action) {
        self.order += 1;
        self.actions.insert((at, self.order), action);
    }

    fn collect(&mut self) {
        for number in 0..self.models.len() {
            while let Some(event) = self.line.driver(number).and_then(Driver::poll_event) {
                self.events.push(Told { now: self.now, asked: self.asked[number], number, event });
            }
        }
    }

    fn transmit(&mut self, frame: Vec<u8>) {
        let begin = self.now;
        let end = begin + self.character * frame.len() as u32;
        let collided = self.is_taken(begin, end);
        self.air.push_back((begin, end));
        if self.air.len() > 8 {
            self.air.pop_front();
        }
        if self.echo {
            self.arrive(begin, &frame);
        }
        let asked = self.models.iter().position(|model| model.unit == frame[0]);
        if let Some(number) = asked {
            self.asked[number] = begin;
            if !collided && !self.models[number].dead {
                let heard = end.max(self.models[number].busy_until);
                self.schedule(heard, Action::Process(number, begin, frame.clone()));
            }
        }
        self.sent.push((begin, frame));
    }

    fn is_taken(&self, begin: Mono, end: Mono) -> bool {
        self.air.iter().any(|(from, to)| begin < *to && *from < end)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Process(number, sent, frame) => self.process(number, sent, &frame),
            Action::Arrive(begin, mut bytes) => {
                let end = begin + self.character * bytes.len() as u32;
                // Somebody else spoke in between: nothing of it arrives as it was sent.
                let others = self.air.iter().filter(|(from, to)| begin < *to && *from < end).count();
                if others > 1 {
                    bytes.iter_mut().for_each(|byte| *byte ^= self.rng.random_range(1..=255_u8));
                }
                self.line.receive(self.now, &bytes);
                self.collect();
            }
        }
    }

    /// Bytes of one transmission that begins at `begin`, in the pieces in which a UART hands them over.
    fn arrive(&mut self, begin: Mono, bytes: &[u8]) {
        let mut from = begin;
        for piece in bytes.chunks(8) {
            let to = from + self.character * piece.len() as u32;
            self.schedule(to, Action::Arrive(from, piece.to_vec()));
            from = to;
        }
    }

    fn process(&mut self, number: usize, sent: Mono, frame: &[u8]) {
        if self.now < self.models[number].busy_until {
            // Asked while it is busy, a device does it afterwards.
            let later = self.models[number].busy_until;
            return self.schedule(later, Action::Process(number, sent, frame.to_vec()));
        }
        let ParsedRequest::Frame { unit, request, function, .. } = parse_request(frame) else {
            panic!("the gateway sent {frame:02x?}");
        };
        let late = self.chance(self.faults.late);
        let turnaround = if late {
            Duration::from_millis(self.rng.random_range(150..1500))
        } else {
            self.models[number].turnaround
        };
        if self.chance(self.faults.lost / 2.0) {
            return;
        }
        let answer = match &request {
            Ok(request) => self.models[number].carry_out(self.now, request),
            Err(exception) => Some(Answer::Exception(*exception)),
        };
        let Some(mut answer) = answer else { return };
        // An answer that is late, and of another length or under another's address as well, is the timely answer to
        // another request as far as anybody can tell: one fault at a time.
        let in_time = !late && sent == self.asked[number] && self.now < sent + Duration::from_millis(100);
        if let (true, Ok(Request::Read { .. }), Answer::Words(words)) = (in_time, &request, &mut answer) {
            if words.len() > 1 && self.chance(self.faults.short) {
                words.truncate(words.len() - 1);
            } else if self.chance(self.faults.long) {
                words.push(0xbad);
            }
        }
        let mut reply = Vec::new();
        let unit = if in_time && self.chance(self.faults.wrong_unit) { unit ^ 1 } else { unit };
        emit_reply(unit, request.as_ref().map_err(|_| function), &answer, &mut reply);
        if self.chance(self.faults.garbled) {
            let at = self.rng.random_range(0..reply.len());
            reply[at] ^= 1 << self.rng.random_range(0..8);
        }
        if self.chance(self.faults.noise) {
            let noise = self.rng.random_range(1..4);
            for _ in 0..noise {
                reply.insert(0, self.rng.random());
            }
        }
        let begin = self.now + turnaround;
        let end = begin + self.character * reply.len() as u32;
        self.models[number].busy_until = end;
        if self.chance(self.faults.lost / 2.0) {
            return;
        }
        self.late += u64::from(late);
        self.air.push_back((begin, end));
        self.arrive(begin, &reply);
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }
}

impl Model {
    pub fn new(unit: u8) -> Self {
        Self {
            unit,
            dead: false,
            turnaround: Duration::from_millis(5),
            registers: BTreeMap::new(),
            lines: Some((Table::Input, 0, 100)),
            hole: None,
            absent: Vec::new(),
            is_mute: false,
            refuses: 0,
            queue: VecDeque::new(),
            busy_until: Mono::ZERO,
            written: Vec::new(),
        }
    }

    pub fn set_text(&mut self, address: u16, text: &str) {
        for (offset, pair) in text.as_bytes().chunks(2).enumerate() {
            let word = u16::from(pair[0]) << 8 | u16::from(pair.get(1).copied().unwrap_or(0));
            self.registers.insert((Table::Holding, address + offset as u16), word);
        }
    }

    pub fn coil(&self, address: u16) -> bool {
        self.registers.get(&(Table::Coil, address)) == Some(&1)
    }

    fn register(&self, now: Mono, table: Table, address: u16) -> u16 {
        if let Some((of_lines, first, count)) = self.lines
            && table == of_lines
            && (first..first + count).contains(&address)
        {
            return value(self.unit, address, now);
        }
        match (table, address) {
            (Table::Input, 400) => self.queue.len() as u16,
            (Table::Input, 401..=404) => {
                let code = self.queue.front().copied().unwrap_or(0);
                (code >> (16 * (404 - address))) as u16
            }
            _ => self.registers.get(&(table, address)).copied().unwrap_or(0),
        }
    }

    /// What it answers; `None`: nothing.
    pub fn carry_out(&mut self, now: Mono, request: &Request) -> Option<Answer> {
        if self.refuses > 0 {
            self.refuses -= 1;
            return Some(Answer::Exception(Exception::IllegalDataAddress));
        }
        if self.lacks(request) {
            return (!self.is_mute).then_some(Answer::Exception(Exception::IllegalDataAddress));
        }
        Some(self.do_it(now, request))
    }

    fn lacks(&self, request: &Request) -> bool {
        let (start, count) = request.span();
        let table = match request {
            Request::Read { table, .. } => *table,
            Request::WriteCoil { .. } | Request::WriteCoils { .. } => Table::Coil,
            Request::WriteRegister { .. } | Request::WriteRegisters { .. } => Table::Holding,
        };
        let end = start + count as u16;
        self.absent.iter().any(|(of, range)| *of == table && start < range.end && range.start < end)
    }

    fn do_it(&mut self, now: Mono, request: &Request) -> Answer {
        if let Request::Read { table, start, count } = *request {
            let addresses = start..start + count;
            if self.hole.is_some_and(|(of, hole)| of == table && addresses.contains(&hole)) {
                return Answer::Exception(Exception::IllegalDataAddress);
            }
            let words = addresses.map(|address| self.register(now, table, address));
            return if table.is_bits() {
                Answer::Bits(words.map(|word| word != 0).collect())
            } else {
                Answer::Words(words.collect())
            };
        }
        self.written.push((now, request.clone()));
        match request {
            Request::WriteCoil { address: 410, on: true } => drop(self.queue.pop_front()),
            Request::WriteCoil { address, on } => {
                self.registers.insert((Table::Coil, *address), u16::from(*on));
            }
            Request::WriteRegister { address, value } => {
                self.registers.insert((Table::Holding, *address), *value);
            }
            Request::WriteCoils { start, values } => {
                for (address, on) in (*start..).zip(values) {
                    self.registers.insert((Table::Coil, address), u16::from(*on));
                }
            }
            Request::WriteRegisters { start, values } => {
                for (address, value) in (*start..).zip(values) {
                    self.registers.insert((Table::Holding, address), *value);
                }
            }
            Request::Read { .. } => {}
        }
        Answer::Written
    }
}

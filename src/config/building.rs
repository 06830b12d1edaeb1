//! The lists of the building: `[[intercom]]`, `[[bus]]`, `[[panel]]`, and how they hang together.

use std::{collections::HashMap, hash::Hash, time::Duration};

use litemap::LiteMap;

use super::{
    Bus, Direction, Door, Intercom, KeyOrder, Lock, OpenWhen, Panel, Parity, Port, Protocol, SecretFile,
    SecureChannel, Trace,
    address::host_and_port,
    commutator::{self, TakenFlats},
    read::Section,
    service::name,
    values::{Input, choice, duration, path, secret_file, shown, text, truth, whole},
};
use crate::domain::{Name, OutputActive};

/// Default of `bus.baud`, OSDP's own.
const BAUD: i64 = 9600;
/// What an OSDP line is at before it is raised, and what is reckoned with while its rate is not known.
const SLOWEST: u32 = 9600;
/// `bus.baud` where the rate is to be found.
const AUTO: &str = "auto";
/// Default of `lock.open`, and its range: the panel's timer has 16 bits of 100 ms.
const OPEN: &str = "3s";
const OPEN_STEP: Duration = Duration::from_millis(100);
const OPEN_MAX: Duration = Duration::from_millis(6_553_500);
/// Default of `door.held_after`, and its range.
const HELD_AFTER: &str = "30s";
const HELD_AFTER_MIN: Duration = Duration::from_secs(1);
const HELD_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Default of `door.exit_grace`, and its longest.
const EXIT_GRACE: &str = "10s";
const EXIT_GRACE_MAX: Duration = Duration::from_secs(3600);
/// Default of `door.debounce`, and its longest: more than any contact bounces.
const DEBOUNCE: &str = "100ms";
const DEBOUNCE_MAX: Duration = Duration::from_secs(5);
/// Default of `bus.reply_timeout`, OSDP's own (2.2, 5.7), and its range: no panel begins its answer at once, and a dead
/// one must not hold the others up for longer than a second.
const REPLY_TIMEOUT: &str = "200ms";
const REPLY_TIMEOUT_MIN: Duration = Duration::from_millis(20);
const REPLY_TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// The largest integer that JSON carries everywhere (contract §4).
pub(super) const MAX_ID: u64 = (1 << 53) - 1;

/// Remembers who had a value first, to refuse the second with both places.
pub(super) struct Taken<K>(HashMap<K, String>);

impl<K: Hash + Eq> Taken<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Notes a problem at `key` where `value` was taken before; `what` describes it.
    pub(super) fn take(&mut self, section: &Section<'_>, key: &str, value: K, what: &str) {
        match self.0.get(&value) {
            Some(first) => section.problem(key, format!("{what} is used already at {first}")),
            None => {
                self.0.insert(value, section.place(key).to_string());
            }
        }
    }
}

/// All `[[intercom]]`.
pub(super) fn intercoms(sections: Vec<Section<'_>>) -> Vec<Intercom> {
    let mut ids = Taken::new();
    let mut intercoms = Vec::new();
    for mut section in sections {
        let id = section.require("id", "1", whole(1..=MAX_ID));
        let name = section.get_or("name", Intercom::unnamed(id.unwrap_or_default()), text);
        if let Some(id) = id {
            ids.take(&section, "id", id, &format!("the id {id}"));
            intercoms.push(Intercom { id, name });
        }
        section.finish();
    }
    intercoms
}

/// The buses that are named, whether right in all else or not, with their protocol where it is known: a panel on a
/// bus that is in error is not blamed as well.
pub(super) type KnownBuses = LiteMap<Name, Option<Protocol>>;

/// All `[[bus]]`.
pub(super) fn buses(sections: Vec<Section<'_>>) -> (Vec<Bus>, KnownBuses) {
    let (mut names, mut ports, mut traces) = (Taken::new(), Taken::new(), Taken::new());
    let mut known = KnownBuses::new();
    let mut buses = Vec::new();
    for mut section in sections {
        let name = section.require("name", "\"street\"", name);
        let port = section.require("port", "\"/dev/serial/by-id/usb-…\"", port);
        let protocol = section.require("protocol", "\"osdp\"", choice(PROTOCOL));
        if let Some(name) = &name {
            names.take(&section, "name", name.clone(), &format!("the name {name}"));
            known.insert(name.clone(), protocol);
        }
        if let Some(port) = &port {
            ports.take(&section, "port", port.to_string(), &format!("the port {port}"));
        }
        let baud = section.get_or("baud", BAUD, baud(protocol.unwrap_or(Protocol::Modbus)));
        let finds_baud = baud.is_none();
        if finds_baud && port.as_ref().is_some_and(|port| port.tty().is_none()) {
            section.problem(
                "baud",
                "\"auto\" needs a tty: the rate of a serial server's line is its own, and cannot be set from here; write that rate, like 9600",
            );
        }
        let baud = baud.unwrap_or(SLOWEST);
        let parity = section.get_or("parity", "none", choice(PARITY));
        let stop_bits = section.get_or("stop_bits", 1, whole(1..=2));
        let direction = section.get_or("direction", "auto", choice(DIRECTION));
        let reply_timeout =
            section.get_or("reply_timeout", REPLY_TIMEOUT, duration(REPLY_TIMEOUT_MIN..=REPLY_TIMEOUT_MAX));
        let trace_file = section.get("trace_file", path);
        let trace_keys = section.get_or("trace_keys", false, truth);
        if let Some(file) = &trace_file {
            traces.take(&section, "trace_file", file.clone(), &format!("the file {}", file.display()));
        } else if trace_keys {
            section.problem("trace_keys", "is of a trace_file, and the bus has none; remove it");
        }
        let trace = trace_file.map(|file| Trace { file, keys: trace_keys });
        if direction == Direction::Rts && port.as_ref().is_some_and(|port| port.tty().is_none()) {
            section.problem(
                "direction",
                "\"rts\" is the kernel's and needs a tty; a serial server switches by itself: write \"auto\"",
            );
        }
        section.finish();
        if let (Some(name), Some(port), Some(protocol)) = (name, port, protocol) {
            buses.push(Bus {
                name,
                port,
                protocol,
                baud,
                finds_baud,
                parity,
                stop_bits,
                direction,
                reply_timeout,
                trace,
            });
        }
    }
    (buses, known)
}

/// All `[[panel]]`, on these buses and intercoms.
pub(super) fn panels(sections: Vec<Section<'_>>, buses: &KnownBuses, intercoms: &[Intercom]) -> Vec<Panel> {
    let (mut names, mut addresses) = (Taken::new(), Taken::new());
    let mut flats = TakenFlats::new();
    let mut panels = Vec::new();
    for mut section in sections {
        let name = section.require("name", "\"entrance-1\"", name);
        let intercom = section.require("intercom", "1", whole(1..=MAX_ID));
        let bus = section.require("bus", "\"street\"", self::name);
        let protocol = bus.as_ref().and_then(|bus| buses.get(bus).copied().flatten());
        let range = protocol.map_or(0..=247, Protocol::addresses);
        let address = section.require("address", "0", whole(range));
        if let Some(name) = &name {
            names.take(&section, "name", name.clone(), &format!("the name {name}"));
        }
        if let (Some(bus), Some(address)) = (&bus, address) {
            let what = format!("the address {address} on the bus {bus}");
            addresses.take(&section, "address", (bus.clone(), address), &what);
        }
        if let Some(id) = intercom.filter(|id| intercoms.iter().all(|known| known.id != *id)) {
            let known = listed(intercoms.iter().map(|intercom| intercom.id.to_string()));
            section.problem("intercom", format!("there is no [[intercom]] with the id {id}; {known}"));
        }
        if let Some(bus) = bus.as_ref().filter(|bus| !buses.contains_key(*bus)) {
            let known = listed(buses.keys().map(Name::to_string));
            section.problem("bus", format!("there is no [[bus]] with the name {bus}; {known}"));
        }
        if protocol == Some(Protocol::Modbus) {
            refuse_keys(
                &section,
                &["secure_channel", "secure_key_file"],
                "an OSDP panel's key, and the bus is Modbus",
            );
        }
        if protocol == Some(Protocol::Osdp) {
            refuse_keys(&section, &["profile", "lines"], "a Modbus panel's key, and the bus is OSDP");
        }
        let is_modbus = protocol == Some(Protocol::Modbus);
        let modbus = if is_modbus { commutator::modbus(&mut section, intercom, &mut flats) } else { None };
        let (lock, door) = if is_modbus {
            let profile = modbus.as_ref().map(|modbus| &*modbus.profile);
            let lock = commutator::lock(&mut section, profile);
            (lock, commutator::door(&mut section, profile, lock.is_some()))
        } else {
            let lock = section.below("lock").and_then(lock);
            (lock, section.below("door").map(|door| self::door(door, lock.is_some(), &Doors::Configured)))
        };
        let (secure_channel, secure_key_file) = if is_modbus {
            (SecureChannel::Required, None)
        } else {
            let channel = section.get_or("secure_channel", "required", choice(SECURE_CHANNEL));
            (channel, section.get("secure_key_file", key_file))
        };
        let feedback = section.get_or("feedback", true, truth);
        let key_order = section.get_or("key_order", "as-read", choice(KEY_ORDER));
        section.allow(&["profile", "lines", "secure_channel", "secure_key_file"]);
        section.finish();
        if let (Some(name), Some(intercom), Some(bus), Some(address)) = (name, intercom, bus, address) {
            panels.push(Panel {
                name,
                intercom,
                bus,
                address,
                lock,
                door,
                modbus,
                secure_channel,
                secure_key_file,
                feedback,
                key_order,
            });
        }
    }
    panels
}

const PROTOCOL: &[(&str, Protocol)] = &[("osdp", Protocol::Osdp), ("modbus", Protocol::Modbus)];
const PARITY: &[(&str, Parity)] = &[("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
const DIRECTION: &[(&str, Direction)] = &[("auto", Direction::Auto), ("rts", Direction::Rts)];
pub(super) const OUTPUT_ACTIVE: &[(&str, OutputActive)] =
    &[("on", OutputActive::On), ("off", OutputActive::Off)];
const OPEN_WHEN: &[(&str, OpenWhen)] = &[("active", OpenWhen::Active), ("inactive", OpenWhen::Inactive)];
const SECURE_CHANNEL: &[(&str, SecureChannel)] = &[
    ("required", SecureChannel::Required),
    ("install", SecureChannel::Install),
    ("off", SecureChannel::Off),
];
const KEY_ORDER: &[(&str, KeyOrder)] = &[("as-read", KeyOrder::AsRead), ("reversed", KeyOrder::Reversed)];

fn lock(mut section: Section<'_>) -> Option<Lock> {
    let output = section.require("output", "0", whole(0..=u8::MAX));
    let open = open(&mut section);
    let active = section.get_or("active", "on", choice(OUTPUT_ACTIVE));
    section.finish();
    Some(Lock { output: output?, open, active })
}

/// `lock.open`.
pub(super) fn open(section: &mut Section<'_>) -> Duration {
    let open = section.get_or("open", OPEN, duration(OPEN_STEP..=OPEN_MAX));
    if !open.as_nanos().is_multiple_of(OPEN_STEP.as_nanos()) {
        section
            .problem("open", "must be a multiple of 100 ms, the steps of a panel's timer, like \"2500ms\"");
    }
    open
}

/// Where a door's inputs come from.
pub(super) enum Doors {
    /// From its own keys.
    Configured,
    /// From the profile, which says which of them there are.
    Profile {
        /// Number of the contact.
        contact: Option<u8>,
        /// Number of the button.
        exit: Option<u8>,
    },
}

/// `door`.
pub(super) fn door(mut section: Section<'_>, has_lock: bool, doors: &Doors) -> Door {
    let configured =
        [section.get("input", whole(0..=u8::MAX)), section.get("exit_input", whole(0..=u8::MAX))];
    let [input, exit_input] = match *doors {
        Doors::Configured => configured,
        Doors::Profile { contact, exit } => {
            for (key, written, known) in
                [("input", configured[0], contact), ("exit_input", configured[1], exit)]
            {
                let right = known.map_or("none".to_owned(), |known| known.to_string());
                if written.is_some() && written != known {
                    let message =
                        format!("is {right} with a Modbus panel: what [door] of its profile says; remove it");
                    section.problem(key, message);
                }
            }
            [contact, exit]
        }
    };
    let door = Door {
        input,
        open_when: section.get_or("open_when", "active", choice(OPEN_WHEN)),
        held_after: section.get_or("held_after", HELD_AFTER, duration(HELD_AFTER_MIN..=HELD_AFTER_MAX)),
        exit_input,
        exit_unlocks: section.get_or("exit_unlocks", false, truth),
        exit_grace: section.get_or("exit_grace", EXIT_GRACE, duration(Duration::ZERO..=EXIT_GRACE_MAX)),
        debounce: section.get_or("debounce", DEBOUNCE, duration(Duration::ZERO..=DEBOUNCE_MAX)),
    };
    if door.input.is_some() && door.input == door.exit_input {
        section.problem("exit_input", "is the input of the door contact; the button needs one of its own");
    }
    if door.exit_unlocks && door.exit_input.is_none() {
        section.problem("exit_unlocks", "needs an exit_input, the number of the button's input");
    } else if door.exit_unlocks && !has_lock {
        section.problem("exit_unlocks", "needs a lock, and the panel has none; add lock = { output = 0 }");
    }
    section.finish();
    door
}

fn port(input: &Input<'_>) -> Result<Port, String> {
    let text = text(input)?;
    match text.split_once("://") {
        Some(("tcp", rest)) => match host_and_port(rest)? {
            (host, Some(port)) => Ok(Port::Tcp { host, port }),
            (_, None) => Err("has no port number; write \"tcp://host:port\"".into()),
        },
        Some((scheme, _)) => {
            Err(format!("{scheme}:// is unknown; write the path of a serial device or \"tcp://host:port\""))
        }
        None => path(input).map(Port::Tty),
    }
}

/// A rate of the protocol; `None`: it is to be found.
fn baud(protocol: Protocol) -> impl Fn(&Input<'_>) -> Result<Option<u32>, String> {
    move |input| {
        if matches!(input.kind, config::ValueKind::String(word) if word == AUTO) {
            return Ok(None);
        }
        let rates = protocol.baud_rates();
        whole(0..=u32::MAX)(input).ok().filter(|rate| rates.contains(rate)).map(Some).ok_or_else(|| {
            let rates: Vec<String> = rates.iter().map(u32::to_string).collect();
            format!(
                "must be one of the rates {} (no quotes), or \"auto\", found {}",
                rates.join(", "),
                shown(input.kind)
            )
        })
    }
}

/// A key's file. A key itself written here by mistake must not be shown as if it were a path.
fn key_file(input: &Input<'_>) -> Result<SecretFile, String> {
    if text(input).is_ok_and(|text| text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(
            "looks like a key itself; put it into a file that only root can read, and name that".into()
        );
    }
    secret_file(input)
}

fn refuse_keys(section: &Section<'_>, keys: &[&str], why: &str) {
    for key in keys.iter().filter(|key| section.has(key)) {
        section.problem(key, format!("is {why}; remove it"));
    }
}

fn listed(known: impl Iterator<Item = String>) -> String {
    let known: Vec<String> = known.collect();
    match known.as_slice() {
        [] => "none is configured".into(),
        known => format!("configured are {}", known.join(", ")),
    }
}

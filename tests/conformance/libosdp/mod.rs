//! The same rows with panels by somebody else: the daemon itself with libosdp's panels on two lines, once through
//! everything that a door does, recorded by the daemon's own trace. Each row is then looked up in what came of it.

pub mod rows;

use std::{fs, os::fd::AsFd, path::Path, thread, time::Duration};

use intercom_gateway::{
    sys,
    wire::osdp::{
        Parsed,
        code::{command, reply},
        parse,
    },
};
use nix::sys::termios::{self, ControlFlags};
use serde_json::Value;

use crate::{
    layout::{Layout, pieces},
    support::{
        Daemon, Events, Site,
        flats::{self, KNOWN, UNKNOWN},
        libosdp::{self, Panels},
    },
    table::Channel,
};

const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";
/// After so long something is tried again.
const AGAIN: Duration = Duration::from_secs(4);
/// Colours of lights.
const RED: u8 = 1;
const GREEN: u8 = 2;
/// In plaintext, by a configured key, and to be paired.
const BASIC: u8 = 1;
const SECURE: u8 = 2;
const PAIRED: u8 = 3;

/// Everything that came of it.
pub struct Evidence {
    /// Of each line: its rate as the daemon set it, and what was recorded of it.
    street: Recorded,
    yard: Recorded,
    /// What the panels told of commands.
    told: Vec<Value>,
    events: Vec<Value>,
    statuses: Value,
}

struct Recorded {
    baud: u32,
    is_8n1: bool,
    /// What the daemon sent, and what it received, without marks.
    frames: Vec<Vec<u8>>,
    /// What it sent, as it sent it.
    sent: Vec<Vec<u8>>,
}

/// Answers are waited for as long as may be: these panels are processes on a machine that may be busy, and what is lost of
/// a pairing is tried again after a minute.
fn site() -> Site {
    let mut text = "[[intercom]]\nid = 1\n".to_owned();
    for (bus, baud) in [("street", 115_200), ("yard", 9600)] {
        text.push_str(&format!(
            "[[bus]]\nname = \"{bus}\"\nport = \"{{dir}}/{bus}\"\nprotocol = \"osdp\"\nbaud = {baud}\nreply_timeout = \"1s\"\n\
             trace_file = \"{{dir}}/state/{bus}.osdpcap\"\ntrace_keys = true\n"
        ));
    }
    for (bus, address, channel) in [
        ("street", BASIC, "secure_channel = \"off\""),
        ("street", SECURE, "secure_key_file = \"{dir}/key\""),
        ("yard", PAIRED, "secure_channel = \"install\""),
    ] {
        text.push_str(&format!(
            "[[panel]]\nname = \"panel-{address}\"\nintercom = 1\nbus = \"{bus}\"\naddress = {address}\n\
             lock = {{ output = 0, open = \"30s\" }}\ndoor = {{ input = 0, exit_input = 1 }}\n{channel}\n"
        ));
    }
    let site = Site::new(&text);
    site.write("key", KEY);
    site
}

/// Lets it all happen.
pub fn gather() -> Evidence {
    let site = site();
    site.import(57, &[flats::known()]).ok();
    let token = site.run(["token", "add", "tester"]).ok();
    let lines = [("street", 115_200), ("yard", 9600)].map(|(bus, baud)| libosdp::line(&site.path(bus), baud));
    let mut street = Panels::start(&lines[0].ports()[1], 115_200, "1,2", &["--scbk", KEY]);
    let mut yard = Panels::start(&lines[1].ports()[1], 9600, "3", &[]);
    let mut daemon = Daemon::start(&site);
    for address in [BASIC, SECURE, PAIRED] {
        daemon.events(&site, 1).wait_panel("intercom.panel.online", &format!("panel-{address}"));
    }
    let mut events = daemon.events(&site, 1);
    let rates = ["street", "yard"].map(|bus| rate(&site.path(bus)));
    for address in [BASIC, SECURE, PAIRED] {
        let panels = if address == PAIRED { &mut yard } else { &mut street };
        insist("red", || {
            swipe(panels, &mut events, address, UNKNOWN);
            panels.light_within(AGAIN, address, RED)
        });
        insist("the door", || {
            swipe(panels, &mut events, address, KNOWN);
            panels.command_within(AGAIN, address, "Output").is_some()
                && panels.light_within(AGAIN, address, GREEN)
                && panels.command_within(AGAIN, address, "Buzzer").is_some()
        });
    }
    for address in [BASIC, SECURE] {
        let panel = format!("panel-{address}");
        let mut comes = |panels: &mut Panels, words: &[&str], kind: &str| {
            for word in words {
                let (name, rest) = word.split_once(' ').unwrap_or((word, ""));
                panels.tell(&format!("{name} {address} {rest}"));
            }
            let is_it = |event: &Value| event["type"] == kind && event["subject"] == panel.as_str();
            events.wait_within(AGAIN, is_it).is_some()
        };
        insist("digits", || comes(&mut street, &["key 99*12#"], "intercom.keypad.entered"));
        insist("the contact", || {
            comes(&mut street, &["input 0 0 0 0", "input 1 0 0 0"], "intercom.door.opened")
        });
        insist("tamper and power", || {
            comes(&mut street, &["local 0 0", "local 1 1"], "intercom.panel.tamper")
                && comes(&mut street, &[], "intercom.panel.power")
        });
        // An answer is broken, and the panel still there after it.
        street.tell(&format!("corrupt {address} 1"));
        thread::sleep(Duration::from_millis(300));
        insist("more digits", || comes(&mut street, &["key 7#"], "intercom.keypad.entered"));
        street.tell(&format!("nak {address} on"));
        insist("a refusal", || {
            swipe(&mut street, &mut events, address, KNOWN);
            let is_it = |event: &Value| {
                event["type"] == "intercom.door.unlock_failed" && event["data"]["cause"] == "refused"
            };
            events.wait_within(AGAIN, is_it).is_some()
        });
        street.tell(&format!("nak {address} off"));
    }
    insist("another key", || {
        let is_changed = site.run(["panel", "rekey", "panel-3"]).status == Some(0);
        if !is_changed {
            thread::sleep(AGAIN);
        }
        is_changed
    });
    let (_, statuses) = daemon.ask("GET", "/api/local/v1/panels", token.trim());
    swipe(&mut yard, &mut events, PAIRED, KNOWN);
    // Panels that begin anew.
    let before = street.told.so_far();
    drop(street);
    let mut street = Panels::start(&lines[0].ports()[1], 115_200, "1,2", &["--scbk", KEY]);
    for address in [BASIC, SECURE] {
        swipe(&mut street, &mut events, address, KNOWN);
    }
    let (told, events) = ([before, street.told.so_far(), yard.told.so_far()].concat(), events.so_far());
    daemon.stop();
    let [street, yard] = [("street", rates[0]), ("yard", rates[1])].map(|(bus, (baud, is_8n1))| {
        recorded(&site.state_dir().join(format!("{bus}.osdpcap")), (baud, is_8n1))
    });
    Evidence { street, yard, told, events, statuses }
}

/// Tries again what a busy machine is too late for: libosdp's panels do not keep what was lost.
fn insist(what: &str, works: impl FnMut() -> bool) {
    assert!(std::iter::repeat_with(works).take(15).any(|works| works), "it does not come to this: {what}");
}

/// Presents a card until it is judged as live.
fn swipe(panels: &mut Panels, events: &mut Events, address: u8, card: &str) {
    let panel = format!("panel-{address}");
    let is_it = |event: &Value| {
        event["type"] == "intercom.key.swiped"
            && event["subject"] == panel.as_str()
            && event["data"]["raw"] == card
    };
    insist(&format!("{panel} reads"), || {
        panels.tell(&format!("card {address} {card} 32 0"));
        match events.wait_within(AGAIN, is_it) {
            Some(event) if event["data"]["reason"] != "stale" => true,
            // Cards one after another would leave no poll empty.
            _ => {
                thread::sleep(Duration::from_millis(300));
                false
            }
        }
    });
}

/// What the daemon has set a port to.
fn rate(port: &Path) -> (u32, bool) {
    let port = fs::File::options().read(true).write(true).open(port).unwrap();
    let set = termios::tcgetattr(port.as_fd()).unwrap();
    let flags = set.control_flags;
    let odd = ControlFlags::PARENB | ControlFlags::CSTOPB;
    let is_8n1 = flags & ControlFlags::CSIZE == ControlFlags::CS8 && !flags.intersects(odd);
    (sys::baud_of(&port).unwrap(), is_8n1)
}

fn recorded(recording: &Path, (baud, is_8n1): (u32, bool)) -> Recorded {
    let text = fs::read_to_string(recording).unwrap();
    let (mut frames, mut sent) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        // A remark of the recorder is no frame.
        let Some(data) = record["data"].as_str().filter(|_| record["note"].is_null()) else { continue };
        let bytes = hex::decode(data.replace([' ', '-'], "")).unwrap();
        if let Some(start) = bytes.iter().position(|byte| *byte != 0xFF).filter(|start| bytes[*start] == 0x53)
        {
            frames.push(bytes[start..].to_vec());
        }
        if record["io"] == "out" {
            sent.push(bytes);
        }
    }
    Recorded { baud, is_8n1, frames, sent }
}

impl Recorded {
    /// The frames that begin with an address.
    fn of_address(&self, first: u8) -> impl Iterator<Item = &Vec<u8>> {
        let is_by_checksum = |frame: &Vec<u8>| {
            frame.len() >= 6 && frame[4] & 0x04 == 0 && matches!(frame[5], command::ID | reply::PDID)
        };
        self.frames.iter().filter(move |frame| frame.get(1) == Some(&first) && !is_by_checksum(frame))
    }

    /// The sound frames to or from a panel, but for those by which a panel that was late is sought by checksum.
    fn of(&self, address: u8, is_reply: bool) -> Vec<Layout> {
        let first = address | if is_reply { 0x80 } else { 0 };
        let is_sound =
            |frame: &&Vec<u8>| matches!(parse(frame), Parsed::Frame(_, length) if length == frame.len());
        let of = self.of_address(first).filter(is_sound);
        of.map(|frame| pieces(frame)).collect()
    }
}

fn address(channel: Channel) -> u8 {
    match channel {
        Channel::Basic => BASIC,
        Channel::Secure => SECURE,
    }
}

impl Evidence {
    fn sent(&self, channel: Channel) -> Vec<Layout> {
        self.street.of(address(channel), false)
    }

    fn replies(&self, channel: Channel) -> Vec<Layout> {
        self.street.of(address(channel), true)
    }

    fn sent_of(&self, channel: Channel, code: u8) -> Vec<Layout> {
        self.sent(channel).into_iter().filter(|frame| frame.code == code).collect()
    }

    /// What a panel told of commands of this name.
    fn told(&self, channel: Channel, name: &str) -> Vec<&Value> {
        let is_it =
            |word: &&Value| word["ev"] == "cmd" && word["name"] == name && word["addr"] == address(channel);
        self.told.iter().filter(is_it).collect()
    }

    fn has_event(&self, channel: Channel, is_it: impl Fn(&Value) -> bool) -> bool {
        let panel = format!("panel-{}", address(channel));
        self.events.iter().any(|event| event["subject"] == panel.as_str() && is_it(event))
    }

    fn has_type(&self, channel: Channel, kind: &str) -> bool {
        self.has_event(channel, |event| event["type"] == kind)
    }
}

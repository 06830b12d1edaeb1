//! What must hold at every moment, whatever the cable does.

use std::{collections::HashSet, time::Duration};

use intercom_gateway::{
    bus::{LineStats, Timing, UNLOCK_EXPIRES},
    domain::{
        EventBody, Mono,
        event::{Decision, InputState},
    },
    panel::osdp::{CurrentKey, KeyRecord, Security},
    simulate::panel::Observation,
    wire::osdp::{
        Check, Frame, Parsed, Scbk,
        code::command::{CHLNG, KEYSET, OUT, POLL},
        control::OutputAction,
        parse,
    },
};

use crate::{
    building::{EXIT, OPEN_TENTHS, OPENING_ID, code, opens},
    world::Peer,
};

/// The standard's idle characters before a transmission.
const IDLE_CHARACTERS: u32 = 2;
/// From the last moment at which an unlock may be sent to the moment at which a panel has carried it out: the
/// frame on the wire, with time to spare.
const ONE_EXCHANGE: Duration = Duration::from_millis(50);

/// The state of all checks; a check that fails panics.
pub struct Checks {
    timing: Timing,
    panels: Vec<Watched>,
    /// End of the last character on the line that the gateway can have heard, or has sent.
    line_end: Mono,
    transmissions: u64,
    exchanges: u64,
    challenges: HashSet<Vec<u8>>,
    /// Since when the present gateway runs, and what it has done for whom.
    pub turns: Vec<Turn>,
}

/// One transmission of the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub at: Mono,
    pub panel: usize,
    pub code: u8,
    pub answered: bool,
}

struct Watched {
    address: u8,
    plain: bool,
    is_given_up: bool,
    /// Somebody is or was on its line, and may have told that it knows no CRC.
    is_attacked: bool,
    last_frame: Option<(u8, Vec<u8>)>,
    session_by_default_key: bool,
    /// When an unlock was caused.
    causes: Vec<Mono>,
    /// When OUT was carried out.
    outs: Vec<Mono>,
    keys_on_disk: Vec<Scbk>,
    /// To the gateway that runs now.
    key_is_proven: bool,
    may_pair_until: Mono,
    installs: bool,
    /// SCBK-D was offered so often.
    default_key_offered: u32,
    /// New POLLs, as secure as configured: all but the last have been answered, or given up.
    polls: u64,
}

impl Checks {
    pub fn new(peers: &[Peer], timing: Timing) -> Self {
        let watch = |peer: &Peer| Watched {
            address: peer.door.setup.address,
            plain: peer.door.is_plain(),
            is_given_up: false,
            is_attacked: false,
            last_frame: None,
            session_by_default_key: false,
            causes: Vec::new(),
            outs: Vec::new(),
            keys_on_disk: keys_of(&peer.disk),
            key_is_proven: peer.disk.current.is_some(),
            may_pair_until: Mono::ZERO,
            installs: peer.door.security == Security::Install,
            default_key_offered: 0,
            polls: 0,
        };
        Self {
            timing,
            panels: peers.iter().map(watch).collect(),
            line_end: Mono::ZERO,
            transmissions: 0,
            exchanges: 0,
            challenges: HashSet::new(),
            turns: Vec::new(),
        }
    }

    pub fn line_was_busy_until(&mut self, end: Mono) {
        self.line_end = self.line_end.max(end);
    }

    pub fn gateway_restarted(&mut self, peers: &[Peer]) {
        (self.transmissions, self.exchanges) = (0, 0);
        for (number, peer) in peers.iter().enumerate() {
            self.panel_restarted(number, peer);
        }
    }

    /// A panel begins anew, and all others run on.
    pub fn panel_restarted(&mut self, panel: usize, peer: &Peer) {
        let panel = &mut self.panels[panel];
        panel.last_frame = None;
        panel.may_pair_until = Mono::ZERO;
        panel.key_is_proven = peer.disk.current.is_some();
    }

    /// Of a plaintext panel that is attacked nothing is certain.
    pub fn give_up(&mut self, panel: usize) {
        self.panels[panel].is_given_up = true;
    }

    /// Notes that a panel is attacked.
    pub fn attack(&mut self, panel: usize) {
        self.panels[panel].is_attacked = true;
    }

    pub fn key_proven(&mut self, panel: usize, proven: bool) {
        self.panels[panel].key_is_proven |= proven;
    }

    pub fn pairing_armed(&mut self, panel: usize, until: Mono) {
        self.panels[panel].may_pair_until = until;
    }

    pub fn record_on_disk(&mut self, panel: usize, record: &KeyRecord) {
        self.panels[panel].keys_on_disk.extend(keys_of(record));
    }

    pub fn unlock_asked(&mut self, panel: usize, now: Mono) {
        self.panels[panel].causes.push(now);
    }

    pub fn default_key_offered(&self, panel: usize) -> u32 {
        self.panels[panel].default_key_offered
    }

    /// How many new POLLs a panel has had, as secure as configured.
    pub fn polls(&self, panel: usize) -> u64 {
        self.panels[panel].polls
    }

    /// When OUT was carried out at a panel.
    pub fn outs(&self, panel: usize) -> &[Mono] {
        &self.panels[panel].outs
    }

    /// A question of a survey, which no panel of the configuration answers.
    pub fn question(&mut self, now: Mono, bytes: &[u8]) {
        let idle = self.timing.character * IDLE_CHARACTERS;
        assert!(now >= self.line_end + idle, "{now:?}: no two idle characters since {:?}", self.line_end);
        self.line_end = now + self.timing.character * bytes.len() as u32;
    }

    /// The panel's number and the frame.
    pub fn transmission<'a>(&mut self, now: Mono, bytes: &'a [u8], stats: &LineStats) -> (usize, Frame<'a>) {
        let idle = self.timing.character * IDLE_CHARACTERS;
        assert!(now >= self.line_end + idle, "{now:?}: no two idle characters since {:?}", self.line_end);
        let ended = stats.exchanges + stats.timeouts;
        assert_eq!(ended, self.transmissions, "{now:?}: a second transaction at once");
        self.transmissions += 1;
        self.line_end = now + self.timing.character * bytes.len() as u32;

        let (&[0xFF], rest) = bytes.split_at(1) else { panic!("no mark") };
        let Parsed::Frame(frame, length) = parse(rest) else { panic!("no frame") };
        assert_eq!((length, frame.reply), (rest.len(), false));
        let number = self.panels.iter().position(|panel| panel.address == frame.address).unwrap();
        if let Some(last) = self.turns.last_mut() {
            last.answered = stats.exchanges > self.exchanges;
        }
        self.exchanges = stats.exchanges;
        self.turns.push(Turn { at: now, panel: number, code: frame.code, answered: false });
        let is_new = self.follows_rules_of_numbers(now, number, &frame, bytes);
        self.contents(now, number, &frame, is_new);
        let panel = &mut self.panels[number];
        let as_configured = panel.plain || frame.security.is_some_and(|block| block.kind == 0x15);
        panel.polls += u64::from(is_new && as_configured && frame.code == POLL);
        (number, frame)
    }

    /// Whether the frame was not sent before.
    fn follows_rules_of_numbers(
        &mut self,
        now: Mono,
        number: usize,
        frame: &Frame<'_>,
        bytes: &[u8],
    ) -> bool {
        let last = self.panels[number].last_frame.replace((frame.sequence, bytes.to_vec()));
        match (last, frame.sequence) {
            (_, 0) => true,
            (None, other) => panic!("{now:?}: a link begins with number {other}"),
            (Some((last, before)), sequence) if sequence == last => {
                assert_eq!(hex::encode(before), hex::encode(bytes), "{now:?}: other bytes, same number");
                false
            }
            (Some((last, _)), sequence) => {
                assert_eq!(sequence, last % 3 + 1, "{now:?}: number {sequence} after {last}");
                true
            }
        }
    }

    fn contents(&mut self, now: Mono, number: usize, frame: &Frame<'_>, is_new: bool) {
        let panel = &mut self.panels[number];
        let kind = frame.security.map(|block| block.kind);
        match frame.code {
            OUT => assert!(panel.plain || kind == Some(0x17), "{now:?}: OUT in plaintext"),
            KEYSET => assert_eq!(kind, Some(0x17), "{now:?}: KEYSET in plaintext"),
            CHLNG => {
                assert_eq!((kind, frame.data.len()), (Some(0x11), 8));
                if is_new {
                    assert!(self.challenges.insert(frame.data.to_vec()), "{now:?}: RND.A is used again");
                }
                if frame.security.is_some_and(|block| block.data == [0]) {
                    let first_time = panel.installs && !panel.key_is_proven;
                    // What was begun in time is brought to its end.
                    let until = panel.may_pair_until + Duration::from_secs(1);
                    assert!(first_time || now < until, "{now:?}: SCBK-D, and nobody asked for pairing");
                    panel.default_key_offered += 1;
                }
            }
            _ => {}
        }
        if frame.check == Check::Checksum && !panel.is_attacked {
            assert_ne!(frame.code, OUT, "{now:?}: OUT under a checksum, where no panel needs it");
        }
    }

    pub fn observation(&mut self, number: usize, now: Mono, what: &Observation, peer: &Peer) {
        let panel = &mut self.panels[number];
        match what {
            Observation::Secured { default_key } => panel.session_by_default_key = *default_key,
            Observation::KeySet => {
                let key = peer.panel.key().unwrap();
                let known = panel.keys_on_disk.contains(key) || peer.door.fixed_key.as_ref() == Some(key);
                assert!(known, "{now:?}: KEYSET with a key that is not on disk");
            }
            Observation::Output(record) => {
                assert_eq!((record.output, record.timer), (0, OPEN_TENTHS), "{now:?}");
                assert_eq!(record.action, OutputAction::TemporaryOn, "{now:?}");
                if !panel.plain {
                    assert!(
                        peer.panel.is_secured() && !panel.session_by_default_key,
                        "{now:?}: insecure OUT"
                    );
                }
                let limit = UNLOCK_EXPIRES + ONE_EXCHANGE;
                let caused = panel.causes.iter().any(|cause| *cause <= now && now.since(*cause) <= limit);
                assert!(caused, "{now:?}: the door opens, and nobody asked for it: {:?}", panel.causes);
                panel.outs.push(now);
            }
            _ => {}
        }
    }

    pub fn event(&mut self, now: Mono, body: &EventBody) {
        match body {
            EventBody::KeySwiped(swipe) if swipe.decision == Decision::Granted => {
                let known = (0..u32::from(u8::MAX)).find(|n| hex::encode_upper(code(*n)) == swipe.raw.0);
                assert!(known.is_some_and(opens), "{now:?}: a wrong grant");
                self.panel_of(swipe.panel.as_str()).causes.push(now);
            }
            EventBody::CodeEntered(entered) if entered.decision == Decision::Granted => {
                assert_eq!(entered.code_id, Some(OPENING_ID), "{now:?}: a wrong grant");
                self.panel_of(entered.panel.as_str()).causes.push(now);
            }
            EventBody::InputChanged(changed) if (changed.input, changed.to) == (EXIT, InputState::Active) => {
                self.panel_of(changed.panel.as_str()).causes.push(now);
            }
            EventBody::DoorUnlocked(unlocked) => {
                let limit = UNLOCK_EXPIRES + Duration::from_secs(1);
                let panel = self.panel_of(unlocked.panel.as_str());
                let done = panel.outs.last().is_some_and(|out| now.since(*out) <= limit);
                assert!(done || panel.is_given_up, "{now:?}: told to be unlocked, and is not");
            }
            _ => {}
        }
    }

    fn panel_of(&mut self, name: &str) -> &mut Watched {
        let is_it = |panel: &&mut Watched| format!("panel-{}", panel.address) == name;
        self.panels.iter_mut().find(is_it).unwrap()
    }
}

/// All keys of a record that are known.
pub fn keys_of(record: &KeyRecord) -> Vec<Scbk> {
    let current = match &record.current {
        Some(CurrentKey::Known(key)) => Some(key),
        _ => None,
    };
    record.pending.iter().chain(current).map(|key| key.scbk().clone()).collect()
}

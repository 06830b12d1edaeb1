//! What must hold at every moment, whatever is on the line: what a panel is believed to be and to have said.
//!
//! They are checked from outside: what the panels really did is compared with what the core tells. A panel that works
//! in plaintext has no defence, so it is given up where it is attacked ([`Invariants::give_up`]).

use std::time::Duration;

use intercom_gateway::{
    domain::{
        EventBody, Mono, Name, PanelState, PanelStatus,
        event::{CodeReason, Decision, InputState, UnlockKind},
    },
    simulate::action::{Action, Status},
    wire::osdp::{
        Frame, Parsed,
        code::{
            command::{CAP, COMSET, ID, POLL},
            reply::{ACK, BUSY, NAK},
        },
        parse,
    },
};

use crate::{
    building::{CONTACT, EXIT, KNOWN, STALE_AFTER, card_number, code},
    checks::keys_of,
    forgery::FORGED_CARDS,
    world::Peer,
};

/// Without a POLL answered in order for this long a panel is not online (contract §4).
pub const ONLINE_FOR: Duration = Duration::from_secs(8);
/// What is unproven makes this many events a minute and panel at most.
const UNPROVEN_A_MINUTE: usize = 10;
/// How often the core is asked for states though it told of no change.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The state of all invariants; one that is violated panics.
pub struct Invariants {
    panels: Vec<Watched>,
    /// The panel of the command that was sent last and has not been answered.
    asked: Option<usize>,
    /// What the gateway has heard since.
    heard: Vec<u8>,
    look_at: Mono,
    /// A frame that stands behind a broken one is seen when that one has stood still for this long.
    unfinished: Duration,
}

struct Watched {
    name: Name,
    is_plain: bool,
    is_given_up: bool,
    state: PanelState,
    was_online: bool,
    /// The POLL that waits for its answer.
    poll: Option<Poll>,
    /// Frames that would be answers to it.
    answers: Vec<Vec<u8>>,
    /// When a POLL was last answered in order.
    in_order: Option<Mono>,
    /// When the last POLL that was answered by ACK in this link was first sent.
    empty: Option<Mono>,
    presented: Vec<(u32, Mono)>,
    /// The states that each input really had.
    inputs: Vec<Vec<u8>>,
    input_changes: usize,
    openings: usize,
    openings_told: usize,
    /// Of events that anybody can cause.
    unproven: Vec<Mono>,
}

struct Poll {
    frame: Vec<u8>,
    sequence: u8,
    first_sent: Mono,
}

impl Invariants {
    pub fn new(peers: &[Peer], unfinished: Duration) -> Self {
        let watch = |peer: &Peer| Watched {
            name: peer.door.name(),
            is_plain: peer.door.is_plain(),
            is_given_up: false,
            state: PanelState::Offline,
            was_online: false,
            poll: None,
            answers: Vec::new(),
            in_order: None,
            empty: None,
            presented: Vec::new(),
            inputs: vec![vec![0]; usize::from(peer.door.setup.inputs)],
            input_changes: 0,
            openings: 0,
            openings_told: 0,
            unproven: Vec::new(),
        };
        Self {
            panels: peers.iter().map(watch).collect(),
            asked: None,
            heard: Vec::new(),
            look_at: Mono::ZERO,
            unfinished,
        }
    }

    /// Expects no more of a plaintext panel than anybody on the line can undo.
    pub fn give_up(&mut self, panel: usize) {
        assert!(self.panels[panel].is_plain, "a secured panel is not given up");
        self.panels[panel].is_given_up = true;
    }

    pub fn is_given_up(&self, panel: usize) -> bool {
        self.panels[panel].is_given_up
    }

    /// When a panel's POLL was last answered in order, as the gateway heard it.
    pub fn in_order(&self, name: &str) -> Option<Mono> {
        self.panels.iter().find(|panel| panel.name.as_str() == name)?.in_order
    }

    /// Whether a panel has just said that it has nothing to tell, so that a card is a new one.
    pub fn is_empty(&self, panel: usize, now: Mono) -> bool {
        self.panels[panel].empty.is_some_and(|sent| now <= sent + Duration::from_secs(1))
    }

    pub fn gateway_restarted(&mut self) {
        self.asked = None;
        self.heard.clear();
        for panel in 0..self.panels.len() {
            self.panel_restarted(panel);
        }
    }

    /// A panel begins anew, and all others run on.
    pub fn panel_restarted(&mut self, panel: usize) {
        if self.asked == Some(panel) {
            self.asked = None;
        }
        let panel = &mut self.panels[panel];
        (panel.state, panel.was_online) = (PanelState::Offline, false);
        (panel.poll, panel.in_order, panel.empty) = (None, None, None);
        panel.answers.clear();
        // What it has told is nothing to the new one.
        panel.unproven.clear();
    }

    /// Something really happened at a panel.
    pub fn acted(&mut self, panel: usize, now: Mono, action: &Action) {
        let panel = &mut self.panels[panel];
        if let Some(number) = card_number(action) {
            panel.presented.push((number, now));
        }
        let Action::Status(Status::Inputs(states)) = action else { return };
        for (input, state) in states.iter().enumerate() {
            let seen = &mut panel.inputs[input];
            if seen.last() != Some(state) {
                seen.push(*state);
                panel.input_changes += 1;
                panel.openings += usize::from(input == usize::from(CONTACT) && *state == 1);
            }
        }
    }

    /// The gateway sent a frame.
    pub fn command(&mut self, now: Mono, number: usize, frame: &Frame<'_>) {
        self.asked = Some(number);
        self.heard.clear();
        let panel = &mut self.panels[number];
        let in_clear = frame.security.is_none() && !panel.is_plain;
        assert!(
            !in_clear || matches!(frame.code, ID | CAP | COMSET),
            "{now:?}: command {:02x} in the clear to {}",
            frame.code,
            panel.name
        );
        if frame.sequence == 0 {
            panel.empty = None;
        }
        if panel.poll.as_ref().is_some_and(|poll| poll.frame == frame.raw && frame.sequence != 0) {
            return;
        }
        panel.answers.clear();
        let counts = frame.code == POLL && (panel.is_plain || frame.security.is_some());
        panel.poll =
            counts.then(|| Poll { frame: frame.raw.to_vec(), sequence: frame.sequence, first_sent: now });
    }

    /// Somebody answers a command to this panel, with a mark; `genuine`: the panel itself.
    pub fn reply(&mut self, number: usize, bytes: &[u8], genuine: bool) {
        let panel = &mut self.panels[number];
        let (Some(poll), Parsed::Frame(frame, _)) = (&panel.poll, parse(&bytes[1..])) else { return };
        let in_session = genuine && frame.security.is_some_and(|block| block.has_mac());
        let counts = if panel.is_plain { frame.security.is_none() } else { in_session };
        let fits = frame.sequence == poll.sequence && !matches!(frame.code, BUSY | NAK);
        if counts && fits && !panel.answers.iter().any(|answer| answer == frame.raw) {
            panel.answers.push(frame.raw.to_vec());
        }
    }

    /// The gateway heard bytes.
    pub fn heard(&mut self, now: Mono, bytes: &[u8]) {
        let Some(panel) = self.asked.map(|asked| &mut self.panels[asked]) else { return };
        if panel.answers.is_empty() {
            return;
        }
        self.heard.extend_from_slice(bytes);
        let came = |answer: &Vec<u8>| {
            let from = self.heard.len().saturating_sub(answer.len() + bytes.len());
            self.heard[from..].windows(answer.len()).any(|window| window == answer)
        };
        let Some(answer) = panel.answers.iter().find(|answer| came(answer)) else { return };
        panel.in_order = Some(now);
        let Parsed::Frame(frame, _) = parse(answer) else { return };
        // Only the first counts; one that is held back until the POLL is sent again is the right one again.
        self.asked = None;
        if let Some(poll) = panel.poll.as_ref().filter(|_| frame.code == ACK) {
            panel.empty = Some(poll.first_sent);
        }
    }

    /// Whether the core is to be asked for its states.
    pub fn wants_look(&self, now: Mono) -> bool {
        now >= self.look_at
    }

    /// The states that the core tells.
    pub fn look(&mut self, now: Mono, statuses: &[PanelStatus]) {
        self.look_at = now + LOOK_EVERY;
        for status in statuses {
            let panel = self.panels.iter_mut().find(|panel| panel.name == status.panel).unwrap();
            panel.state = status.state;
            panel.was_online |= status.state == PanelState::Online;
            let is_well = status.state == PanelState::Online || !panel.was_online;
            assert!(
                is_well || status.trouble.is_some(),
                "{now:?}: {} is {:?}, and nothing is wrong",
                panel.name,
                status.state
            );
        }
    }

    /// `online` means that a POLL was answered in order within 8 s.
    pub fn check(&self, now: Mono) {
        for panel in &self.panels {
            let in_order = panel.in_order.is_some_and(|at| now <= at + self.unfinished + ONLINE_FOR);
            assert!(
                panel.state != PanelState::Online || in_order,
                "{now:?}: {} is online, its last POLL answered in order at {:?}",
                panel.name,
                panel.in_order
            );
        }
    }

    /// The core told of something.
    pub fn event(&mut self, now: Mono, body: &EventBody, peers: &[Peer]) {
        let Some(name) = panel_of(body) else { return };
        let number = self.panels.iter().position(|panel| panel.name == *name).unwrap();
        let (panel, peer) = (&mut self.panels[number], &peers[number]);
        match body {
            EventBody::PanelSecured(_) => {
                let ours = keys_of(&peer.disk).into_iter().chain(peer.door.fixed_key.clone());
                let shared = ours.into_iter().any(|key| peer.panel.key() == Some(&key));
                assert!(shared, "{now:?}: secured, and the panel has not the key that is on the disk");
            }
            _ if panel.is_given_up => return,
            EventBody::KeySwiped(swipe) => {
                let number = (0..KNOWN).find(|number| hex::encode_upper(code(*number)) == swipe.raw.0);
                let is_forged = number.is_some_and(|number| FORGED_CARDS.contains(&number));
                assert!(!is_forged, "{now:?}: a card that only an attacker sent: {:?}", swipe.reason);
                if swipe.decision == Decision::Granted {
                    panel.granted(now, number.unwrap());
                }
            }
            EventBody::CodeEntered(entered) => {
                // What people type is known and opens nothing: no guess, which would block the reader.
                let is_typed = matches!(entered.reason, CodeReason::NotPermitted | CodeReason::Stale);
                assert!(is_typed, "{now:?}: a code that only an attacker sent: {:?}", entered.reason);
            }
            EventBody::KeypadEntered(_) => panic!("{now:?}: digits are told where there are codes"),
            EventBody::InputChanged(changed) => {
                let was =
                    panel.inputs[usize::from(changed.input)].iter().any(|was| state(*was) == changed.to);
                assert!(was, "{now:?}: input {} was never {:?}", changed.input, changed.to);
            }
            EventBody::DoorUnlocked(unlocked) => panel.nobody_claims_the_button(now, unlocked.by.kind),
            EventBody::DoorOpened(moved) => {
                moved.by.iter().for_each(|by| panel.nobody_claims_the_button(now, by.kind));
                panel.opened(now);
            }
            EventBody::DoorForced(_) => panel.opened(now),
            _ => {}
        }
        if matches!(
            body,
            EventBody::PanelReplaced(_) | EventBody::PanelSuspect(_) | EventBody::InputChanged(_)
        ) {
            panel.note_unproven(now);
        }
    }
}

impl Watched {
    fn granted(&self, now: Mono, number: u32) {
        let at = self.presented.iter().rev().find(|(presented, _)| *presented == number);
        let (_, at) = at.unwrap_or_else(|| panic!("{now:?}: card {number} opens, and nobody presented it"));
        assert!(now <= *at + STALE_AFTER, "{now:?}: card {number} opens, presented at {at:?}");
        assert!(
            self.empty.is_some_and(|sent| now <= sent + STALE_AFTER),
            "{now:?}: card {number} opens, the last POLL answered by ACK sent at {:?}",
            self.empty
        );
    }

    fn nobody_claims_the_button(&self, now: Mono, kind: UnlockKind) {
        let pressed = self.inputs[usize::from(EXIT)].contains(&1);
        assert!(kind != UnlockKind::Exit || pressed, "{now:?}: by the exit button, which nobody pressed");
    }

    fn opened(&mut self, now: Mono) {
        self.openings_told += 1;
        let (told, were) = (self.openings_told, self.openings);
        assert!(told <= were, "{now:?}: {told} openings are told, {were} there were");
    }

    fn note_unproven(&mut self, now: Mono) {
        self.unproven.push(now);
        self.unproven.retain(|at| now <= *at + Duration::from_secs(60));
        let allowed = UNPROVEN_A_MINUTE + self.input_changes;
        assert!(self.unproven.len() <= allowed, "{now:?}: {} events in a minute", self.unproven.len());
    }
}

fn panel_of(body: &EventBody) -> Option<&Name> {
    Some(match body {
        EventBody::PanelSecured(at) => &at.panel,
        EventBody::KeySwiped(swipe) => &swipe.panel,
        EventBody::KeypadEntered(entered) => &entered.panel,
        EventBody::CodeEntered(entered) => &entered.panel,
        EventBody::InputChanged(changed) => &changed.panel,
        EventBody::DoorUnlocked(unlocked) => &unlocked.panel,
        EventBody::DoorOpened(moved) | EventBody::DoorForced(moved) => &moved.panel,
        EventBody::PanelReplaced(replaced) => &replaced.panel,
        EventBody::PanelSuspect(suspect) => &suspect.panel,
        _ => return None,
    })
}

fn state(raw: u8) -> InputState {
    match raw {
        0 => InputState::Inactive,
        1 => InputState::Active,
        2 => InputState::Short,
        3 => InputState::Open,
        4 => InputState::Fault,
        _ => InputState::Unknown,
    }
}

//! What goes over the line: commands, replies, what the cable does to them, and what an attacker does.

use std::time::Duration;

use intercom_gateway::{
    domain::Mono,
    simulate::receiver::Heard,
    wire::osdp::{Parsed, parse},
};

use super::{Peer, World};
use crate::{attacker::Passage, faults::Fate};

impl World {
    /// The panels hear what is on the line, each other included.
    pub(super) fn hear(&mut self, bytes: &[u8], end: Mono) {
        let mut receiver = std::mem::take(&mut self.receiver);
        receiver.hear(bytes, end, |heard, _| self.distribute(&heard));
        self.receiver = receiver;
    }

    pub(super) fn distribute(&mut self, heard: &Heard<'_>) {
        for number in 0..self.peers.len() {
            let command = match heard {
                Heard::Frame(frame) => Some(frame)
                    .filter(|frame| !frame.reply && frame.address == self.peers[number].panel.address()),
                Heard::Broken(_) => None,
            };
            let passage = match (&mut self.attacker, command) {
                (Some(attacker), Some(frame)) => attacker.command(self.now, number, frame),
                _ => Passage::default(),
            };
            // Before the panel's own answer he waits for it: else that would come in another panel's turn.
            let is_alone = passage.swallowed || passage.mute;
            let pause = if is_alone { passage.pause } else { self.peers[number].turnaround };
            let from = self.intrude(number, pause, &passage.says);
            if passage.swallowed {
                continue;
            }
            let peer = &mut self.peers[number];
            let answer = match heard {
                Heard::Frame(frame) => peer.temper.answer(&mut peer.panel, self.now, frame),
                Heard::Broken(raw) => peer.panel.handle_broken(self.now, raw),
            };
            self.observe(number);
            let Some(answer) = answer else { continue };
            let code = command.map_or(0, |frame| frame.code);
            self.invariants.reply(number, &answer.bytes, true);
            let passes =
                self.attacker.as_mut().is_none_or(|attacker| attacker.reply(number, code, &answer.bytes));
            if passes && !passage.mute {
                self.answer(number, answer.bytes, answer.delay, from);
            }
        }
    }

    /// The attacker speaks; when he is done.
    fn intrude(&mut self, number: usize, pause: Duration, says: &[Vec<u8>]) -> Mono {
        let mut start = self.now + pause;
        for bytes in says {
            if self.trace {
                self.trace_frame("attacker", bytes, "");
            }
            self.invariants.reply(number, bytes, false);
            self.line.transmit(self.intruder, bytes, start);
            start = start + self.character() * bytes.len() as u32;
        }
        if says.is_empty() { self.now } else { start }
    }

    /// `from`: the line is taken until then.
    fn answer(&mut self, number: usize, mut bytes: Vec<u8>, delay: Duration, from: Mono) {
        let peer = &self.peers[number];
        let start = (self.now + peer.turnaround + delay).max(from);
        let station = peer.station;
        let fate = self.faults.of_reply(&mut self.chance, peer.door.is_plain());
        if self.trace {
            self.trace_frame("reply", &bytes, &format!("{fate:?}"));
        }
        match fate {
            Fate::Arrives => self.line.transmit(station, &bytes, start),
            Fate::Lost => {}
            Fate::Damaged => {
                self.faults.damage(&mut self.chance, &mut bytes);
                self.line.transmit(station, &bytes, start);
            }
            Fate::Twice(gap) => {
                self.line.transmit(station, &bytes, start);
                let again = start + self.character() * bytes.len() as u32 + gap;
                self.line.transmit(station, &bytes, again);
            }
            Fate::Late(late) => self.line.transmit(station, &bytes, start + late),
        }
    }

    pub(super) fn transmit(&mut self) {
        let mut bytes = Vec::new();
        if self.is_off || !self.core.poll_transmit(self.now, &mut bytes) {
            return;
        }
        // After the mark and SOM.
        let is_panel = |peer: &Peer| peer.is_configured && Some(&peer.panel.address()) == bytes.get(2);
        if self.core.guest().is_some() && !self.peers.iter().any(is_panel) {
            self.checks.question(self.now, &bytes);
            return self.line.transmit(self.gateway, &bytes, self.now);
        }
        let (number, frame) = self.checks.transmission(self.now, &bytes, &self.core.stats());
        self.invariants.command(self.now, number, &frame);
        let fate = self.faults.of_command(&mut self.chance);
        if self.trace {
            self.trace_frame("command", &bytes, &format!("{fate:?}"));
        }
        match fate {
            Fate::Lost => return,
            Fate::Damaged => self.faults.damage(&mut self.chance, &mut bytes),
            _ => {}
        }
        self.line.transmit(self.gateway, &bytes, self.now);
    }

    fn trace_frame(&self, what: &str, bytes: &[u8], fate: &str) {
        let Parsed::Frame(frame, _) = parse(&bytes[1..]) else { panic!("{what}: {}", hex::encode(bytes)) };
        self.note(&format!(
            "{what} {} seq {} {:02x} block {:?} ({} bytes) {fate}",
            frame.address,
            frame.sequence,
            frame.code,
            frame.security.map(|block| block.kind),
            bytes.len()
        ));
    }
}

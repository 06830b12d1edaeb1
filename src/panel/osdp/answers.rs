//! What a panel says, and what follows from it: an answer to the turn that is under way, BUSY, a refusal.

use super::{
    Panel, Security,
    keyring::Candidate,
    link::{Answer, Over, Phase, Received},
    rate::{Mover, Next, Unmoved},
    work::{Comset, Work},
};
use crate::{
    domain::{Mono, event::SuspectCause},
    panel::{Event, Failure, Heard},
    wire::osdp::{NakCode, Parsed, Reply, parse},
};

impl Panel {
    /// See [`crate::panel::Driver::hear`].
    pub fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        match parse(buffer) {
            Parsed::Incomplete { .. } => Heard::Waiting,
            Parsed::Noise(length) => Heard::Noise(length),
            Parsed::Broken { drop, .. } => Heard::Broken(drop),
            Parsed::Frame(frame, length) => {
                if !self.link.is_from(&frame) {
                    return Heard::Wrong(length);
                }
                self.presence.heard(now);
                let handshake = self.handshake();
                let mut is_improper = false;
                let is_extra =
                    matches!(self.link.work(), Some(Work::Out(_) | Work::Feedback(_) | Work::Status(_)));
                let ends_turn = match self.link.receive(now, &frame) {
                    Received::Nothing(suspect) => {
                        self.events.extend(suspect.map(Event::Suspect));
                        false
                    }
                    Received::Over(over) => {
                        self.heard_at_its_rate(matches!(self.link.work(), Some(Work::Comset(_))));
                        self.turn_over(now, over, handshake);
                        true
                    }
                    Received::Answer(answer) => {
                        is_improper = answer.is_improper();
                        self.answered(now, *answer);
                        true
                    }
                };
                if ends_turn {
                    self.pacing.answered(now, is_extra);
                }
                self.tell_standing(now);
                match ends_turn {
                    true if is_improper => Heard::Improper(length),
                    true => Heard::Done(length),
                    false => Heard::Wrong(length),
                }
            }
        }
    }

    /// BUSY, NAK 1, or a new link wanted.
    pub(super) fn turn_over(&mut self, now: Mono, over: Over, handshake: Option<Candidate>) {
        match over.suspect {
            // The restart of a panel looks like one of these.
            Some(SuspectCause::Sequence) if self.endings.take(now) => {}
            suspect => self.events.extend(suspect.map(Event::Suspect)),
        }
        self.given_up(now, handshake, over.given_up);
    }

    pub(super) fn answered(&mut self, now: Mono, answer: Answer) {
        let Answer { work, first_sent, resent, reply, encrypted, flag } = answer;
        self.handshakes.resent |= resent;
        if !matches!(work, Work::Comset(_)) {
            self.heard_at_its_rate(false);
        }
        if matches!(self.link.phase(), Phase::Start) {
            self.pacing.link_begins(now);
        }
        let refusal = match &reply {
            Some(Reply::Nak(nak)) => Some(nak.reason),
            _ => None,
        };
        match (work, reply) {
            (Work::Poll, Some(reply)) if refusal.is_none() => self.polled(now, first_sent, &reply, encrypted),
            (Work::Poll, _) => self.poll_not_taken(now, first_sent, refusal),
            (Work::Status(_), Some(reply)) => self.report(now, &reply, encrypted),
            (Work::Status(_), None) => {}
            (Work::Id, Some(Reply::PdId(id))) => self.identified(now, &id),
            (Work::Id, _) => self.link.enter(Phase::Cap),
            (Work::Cap, Some(Reply::PdCap(all))) => self.capable(now, Some(all)),
            (Work::Cap, _) => self.capable(now, None),
            (Work::Challenge, Some(Reply::Ccrypt(ccrypt))) => self.challenged(now, flag, &ccrypt),
            (Work::Scrypt, Some(Reply::RmacI(rmac))) => self.scrypted(now, flag, &rmac),
            (Work::Challenge, reply) => self.challenge_not_taken(now, reply.as_ref()),
            (Work::Scrypt, _) => self.scrypt_not_taken(now, refusal.is_some()),
            (Work::Keyset(_), _) => {
                // Taken or not, the session is good for nothing else; some panels go on with it, some end it.
                if refusal.is_some() {
                    self.keyring.change_refused();
                }
                self.keyring.set();
                self.end_link(now);
            }
            (Work::Comset(comset), reply) => self.comset_answered(now, comset, reply.as_ref()),
            (Work::Out(out), Some(Reply::Ack | Reply::OStatR(_))) => {
                self.unlocks.runs(now, &out);
                self.done(out.tokens(), Ok(()));
            }
            (Work::Out(out), _) => self.done(out.tokens(), Err(Failure::Refused)),
            (Work::Feedback(feedback), reply) => self.shown(feedback, reply == Some(Reply::Ack)),
        }
    }

    /// A POLL was answered by what is no NAK.
    pub(super) fn polled(&mut self, now: Mono, first_sent: Mono, reply: &Reply, encrypted: bool) {
        // What was read belongs to the POLL before, as far as its age is concerned. The panel keeps no copy of it.
        self.report(now, reply, encrypted);
        if !self.link.is_running() {
            // It opened the link: who is it?
            return self.link.enter(Phase::Id);
        }
        self.in_order(now, first_sent, *reply == Reply::Ack);
    }

    /// A POLL was refused, or answered by what cannot be read: the first proves nothing.
    pub(super) fn poll_not_taken(&mut self, now: Mono, first_sent: Mono, refusal: Option<NakCode>) {
        if !self.link.is_running() {
            return self.link.enter(Phase::Id);
        }
        match refusal {
            Some(NakCode::SecurityUnsupported | NakCode::EncryptionRequired) => self.demands_security = true,
            Some(_) => {}
            None => self.in_order(now, first_sent, false),
        }
    }

    pub(super) fn in_order(&mut self, now: Mono, first_sent: Mono, empty: bool) {
        self.demands_security = false;
        self.presence.polled(now, first_sent, empty);
        self.pacing.in_order();
        if let Some(whereabouts) = &mut self.whereabouts {
            whereabouts.polled();
        }
        if self.keyring.security() == Security::Off {
            self.keyring.answers(self.serial());
            self.keep_record();
        }
    }

    /// It has answered at the rate at which it was asked, whatever it said. `between`: it is told to take another just now.
    pub(super) fn heard_at_its_rate(&mut self, between: bool) {
        match &mut self.whereabouts {
            Some(whereabouts) if between => Mover::put_off(whereabouts),
            Some(whereabouts) => whereabouts.heard(),
            None => {}
        }
    }

    /// COMSET was answered, or the same bytes sent again.
    pub(super) fn comset_answered(&mut self, now: Mono, comset: Comset, reply: Option<&Reply>) {
        let Some(whereabouts) = &mut self.whereabouts else { return };
        let is_clear = self.link.held().is_none();
        let goal = self.mover.goal();
        match reply {
            Some(Reply::Com { baud, .. }) if !is_clear => {
                let is_hurried = self.unlocks.deadline().is_some();
                match self.mover.answered(now, *baud, is_hurried, whereabouts) {
                    Some(Next::Repeat) if self.link.repeat(Work::Comset(comset)).is_ok() => {}
                    Some(Next::Repeat) => {}
                    Some(Next::Over(result)) => self.moved(result, goal),
                    None => {}
                }
            }
            // In the clear: it goes over, and its link begins anew where it is then.
            Some(Reply::Com { baud, .. }) => {
                whereabouts.goes_unasked(*baud);
                self.end_link(now);
            }
            _ => {
                self.mover.refused(whereabouts);
                self.moved(Err(Unmoved::Refused), goal);
                if is_clear {
                    self.end_link(now);
                }
            }
        }
    }

    pub(super) fn moved(&mut self, result: Result<(), Unmoved>, goal: Option<u32>) {
        if let Some(to) = goal {
            self.events.push_back(Event::Moved { to, result });
        }
    }
}

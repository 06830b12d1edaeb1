//! Somebody on the wire who hears everything, makes well-formed frames, and holds back, swallows and repeats those of
//! others. He has no keys. He keeps to the half-duplex line: he speaks where a panel would, before it or in its place.
//!
//! He has moods, each for 0.1 to 20 s: most attacks succeed only if they are kept up longer than a deadline.

use std::{collections::VecDeque, time::Duration};

use intercom_gateway::{
    domain::Mono,
    simulate::chance::Chance,
    wire::osdp::{
        Frame, Header, Parsed, Reply,
        code::{
            command::{CAP, CHLNG, ID, OUT, POLL, SCRYPT},
            reply::{CCRYPT, PDCAP, PDID, RAW, RMAC_I},
        },
        parse,
        reply::PdId,
    },
};

use crate::forgery::{self, Deed, Deeds, Forgery};

/// Sealed replies that he remembers of a panel.
const REMEMBERED: usize = 16;
/// Longest pause before he speaks: as a panel may make it.
const LONGEST_PAUSE_MICROS: u64 = 30_000;

pub struct Attacker {
    chance: Chance,
    victims: Vec<Victim>,
    /// What he has done.
    pub deeds: Deeds,
}

struct Victim {
    /// Number of the panel.
    panel: usize,
    mood: Mood,
    until: Mono,
    sealed: VecDeque<Vec<u8>>,
    challenge_answer: Option<Vec<u8>>,
    handshake_end: Option<Vec<u8>>,
    identity: Option<PdId>,
    capabilities: Option<Vec<u8>>,
    /// A reply that is held back, from its mark on.
    held: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum Mood {
    Calm,
    /// Plaintext; `None`: of any kind, each time another.
    Talk {
        forgery: Option<Forgery>,
        odds: f64,
        manner: Manner,
    },
    Replay {
        odds: f64,
        manner: Manner,
    },
    Guess {
        odds: f64,
        manner: Manner,
    },
    /// Replies do not get through until the mood ends; what is asked meanwhile is answered by `cover`, if at all.
    Hold {
        what: Held,
        cover: Option<Forgery>,
    },
    /// The panel does not hear this command.
    Swallow {
        code: u8,
        cover: Option<Forgery>,
    },
    /// The panel hears nothing, and is answered for.
    Impersonate,
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    /// The panel does not hear the command.
    Instead,
    /// The panel hears and answers, but nobody hears it.
    Over,
    /// The panel's answer follows.
    Before,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    All,
    Polls,
    Cards,
}

/// What becomes of a command on its way to a panel.
#[derive(Debug, Default)]
pub struct Passage {
    /// The panel does not hear it.
    pub swallowed: bool,
    /// The panel's answer is not heard.
    pub mute: bool,
    /// What is said in the panel's place or before it, one after the other.
    pub says: Vec<Vec<u8>>,
    /// From the command's last bit to the first of these.
    pub pause: Duration,
}

impl Passage {
    fn by(manner: Manner, says: Vec<Vec<u8>>) -> Self {
        let (swallowed, mute) = match manner {
            Manner::Instead => (true, false),
            Manner::Over => (false, true),
            Manner::Before => (false, false),
        };
        Self { swallowed, mute, says, pause: Duration::ZERO }
    }
}

impl Attacker {
    /// Somebody who attacks these panels.
    pub fn new(seed: u64, panels: impl IntoIterator<Item = usize>) -> Self {
        let victim = |panel| Victim {
            panel,
            mood: Mood::Calm,
            until: Mono::ZERO,
            sealed: VecDeque::new(),
            challenge_answer: None,
            handshake_end: None,
            identity: None,
            capabilities: None,
            held: None,
        };
        Self {
            chance: Chance::new(seed),
            victims: panels.into_iter().map(victim).collect(),
            deeds: Deeds::default(),
        }
    }

    /// Decides what becomes of a command to a panel.
    pub fn command(&mut self, now: Mono, panel: usize, frame: &Frame<'_>) -> Passage {
        let Self { chance, victims, deeds } = self;
        let Some(victim) = victims.iter_mut().find(|victim| victim.panel == panel) else {
            return Passage::default();
        };
        if now >= victim.until {
            victim.change_mood(now, chance);
        }
        let pause = Duration::from_micros(chance.next_u64() % LONGEST_PAUSE_MICROS);
        Passage { pause, ..victim.meet(chance, deeds, frame) }
    }

    /// Whether a panel's reply, from its mark on, gets through. `command`: the code of what it answers.
    pub fn reply(&mut self, panel: usize, command: u8, bytes: &[u8]) -> bool {
        let Self { chance, victims, deeds } = self;
        let Some(victim) = victims.iter_mut().find(|victim| victim.panel == panel) else { return true };
        let Parsed::Frame(frame, _) = parse(&bytes[1..]) else { return true };
        victim.remember(&frame, bytes);
        let Mood::Hold { what, .. } = victim.mood else { return true };
        let (holds, deed) = match what {
            Held::All => (true, Deed::HoldAll),
            Held::Polls => (command == POLL, Deed::HoldPolls),
            Held::Cards => (frame.code == RAW, Deed::HoldCards),
        };
        if !holds {
            return true;
        }
        deeds.note(deed);
        if victim.held.is_none() || chance.happens(0.3) {
            victim.held = Some(bytes.to_vec());
        }
        false
    }
}

impl Victim {
    fn change_mood(&mut self, now: Mono, chance: &mut Chance) {
        // From 0.1 to 20 s, as often short as long.
        let exponent = (chance.next_u64() % 1_000) as f64 / 1_000.0;
        self.until = now + Duration::from_secs_f64(0.1 * 200_f64.powf(exponent));
        let odds = [0.05, 0.3, 1.0][usize::from(chance.byte() % 3)];
        let manner = [Manner::Instead, Manner::Over, Manner::Before][usize::from(chance.byte() % 3)];
        let covers =
            [None, Some(Forgery::Busy), Some(Forgery::Nak), Some(Forgery::NumberZero), Some(Forgery::Ack)];
        let cover = covers[usize::from(chance.byte() % 5)];
        self.mood = match chance.byte() % 10 {
            0 => {
                self.until = self.until.min(now + Duration::from_secs(3));
                Mood::Calm
            }
            1..=3 => {
                let forgery = Some(Forgery::any(chance)).filter(|_| chance.happens(0.7));
                Mood::Talk { forgery, odds, manner }
            }
            4 => Mood::Replay { odds, manner },
            5 => Mood::Guess { odds, manner },
            6 | 7 => {
                let what = [Held::All, Held::Polls, Held::Cards][usize::from(chance.byte() % 3)];
                Mood::Hold { what, cover }
            }
            8 => {
                let code = [CHLNG, SCRYPT, POLL, OUT][usize::from(chance.byte() % 4)];
                Mood::Swallow { code, cover }
            }
            _ => Mood::Impersonate,
        };
    }

    fn remember(&mut self, frame: &Frame<'_>, bytes: &[u8]) {
        match frame.code {
            CCRYPT => self.challenge_answer = Some(bytes.to_vec()),
            RMAC_I => self.handshake_end = Some(bytes.to_vec()),
            PDCAP => self.capabilities = Some(frame.data.to_vec()),
            PDID => {
                if let Ok(Reply::PdId(id)) = Reply::decode(PDID, frame.data) {
                    self.identity = Some(id);
                }
            }
            _ if frame.security.is_some() => {
                if self.sealed.len() == REMEMBERED {
                    self.sealed.pop_front();
                }
                self.sealed.push_back(bytes.to_vec());
            }
            _ => {}
        }
    }

    fn meet(&mut self, chance: &mut Chance, deeds: &mut Deeds, frame: &Frame<'_>) -> Passage {
        if !matches!(self.mood, Mood::Hold { .. })
            && let Some(held) = self.held.take()
        {
            deeds.note(Deed::Release);
            let fits = sequence_of(&held) == frame.sequence;
            return Passage::by(if fits { Manner::Instead } else { Manner::Before }, vec![held]);
        }
        let header = frame.header();
        match self.mood {
            Mood::Calm => Passage::default(),
            Mood::Talk { forgery, odds, manner } if chance.happens(odds) => {
                let forgery = forgery.unwrap_or_else(|| Forgery::any(chance));
                deeds.note(forgery.deed());
                Passage::by(manner, vec![forgery.frame(chance, &header, self.identity)])
            }
            Mood::Replay { odds, manner } if chance.happens(odds) => match self.old_reply(chance, &header) {
                Some(old) => {
                    deeds.note(Deed::Replay);
                    Passage::by(manner, vec![old])
                }
                None => Passage::default(),
            },
            Mood::Guess { odds, manner } if chance.happens(odds) => {
                let guesses: Vec<_> =
                    (0..1 + chance.byte() % 3).map(|_| forgery::guess(chance, &header)).collect();
                guesses.iter().for_each(|_| deeds.note(Deed::Guess));
                Passage::by(manner, guesses)
            }
            Mood::Hold { cover, .. } => {
                // What is held stays the right answer as long as the panel hears nothing new.
                let again = self.held.as_ref().is_some_and(|held| sequence_of(held) == frame.sequence);
                if again { self.cover(chance, deeds, &header, cover) } else { Passage::default() }
            }
            Mood::Swallow { code, cover } if code == frame.code => {
                deeds.note(match code {
                    CHLNG => Deed::SwallowChallenge,
                    SCRYPT => Deed::SwallowScrypt,
                    POLL => Deed::SwallowPoll,
                    _ => Deed::SwallowOut,
                });
                self.cover(chance, deeds, &header, cover)
            }
            // A handshake is there to be swallowed once the session is over.
            Mood::Swallow { code: CHLNG | SCRYPT, cover }
                if frame.security.is_some_and(|block| block.has_mac()) =>
            {
                self.cover(chance, deeds, &header, cover)
            }
            Mood::Impersonate => {
                deeds.note(Deed::Impersonate);
                Passage::by(Manner::Instead, self.answer_in_its_place(chance, frame).into_iter().collect())
            }
            Mood::Talk { .. } | Mood::Replay { .. } | Mood::Guess { .. } | Mood::Swallow { .. } => {
                Passage::default()
            }
        }
    }

    fn cover(
        &self,
        chance: &mut Chance,
        deeds: &mut Deeds,
        header: &Header,
        cover: Option<Forgery>,
    ) -> Passage {
        let says = cover.map(|forgery| {
            deeds.note(forgery.deed());
            forgery.frame(chance, header, self.identity)
        });
        Passage::by(Manner::Instead, says.into_iter().collect())
    }

    /// A sealed reply of earlier, rather one with the right number.
    fn old_reply(&self, chance: &mut Chance, header: &Header) -> Option<Vec<u8>> {
        let fitting: Vec<_> = self.sealed.iter().filter(|old| sequence_of(old) == header.sequence).collect();
        let from_all = chance.happens(0.2) || fitting.is_empty();
        let pool = if from_all { self.sealed.iter().collect() } else { fitting };
        let index = chance.next_u64() as usize % pool.len().max(1);
        pool.get(index).map(|old| (*old).clone())
    }

    fn answer_in_its_place(&self, chance: &mut Chance, frame: &Frame<'_>) -> Option<Vec<u8>> {
        let header = frame.header();
        let reply = Header { reply: true, ..header };
        let sealed = frame.security.is_some_and(|block| block.has_mac());
        Some(match frame.code {
            ID => {
                let known = self.identity.filter(|_| chance.happens(0.8));
                known.map_or_else(
                    || Forgery::Identity.frame(chance, &header, None),
                    |id| forgery::plain(&reply, &Reply::PdId(id)),
                )
            }
            CAP => match &self.capabilities {
                Some(known) => {
                    let known = Reply::decode(PDCAP, known).unwrap();
                    forgery::plain(&reply, &known)
                }
                None => forgery::refusal(&header, 3),
            },
            CHLNG => match (chance.byte() % 4, &self.challenge_answer) {
                (0, Some(old)) if sequence_of(old) == header.sequence => old.clone(),
                (1, _) => return None,
                (2, _) => forgery::refusal(&header, 5 + chance.byte() % 2),
                _ => forgery::challenge_answer(chance, &header),
            },
            SCRYPT => match &self.handshake_end {
                Some(old) if sequence_of(old) == header.sequence && chance.happens(0.5) => old.clone(),
                _ => forgery::handshake_end(chance, &header),
            },
            _ if sealed && chance.happens(0.3) => {
                self.old_reply(chance, &header).unwrap_or_else(|| forgery::guess(chance, &header))
            }
            _ => Forgery::any(chance).frame(chance, &header, self.identity),
        })
    }
}

/// The number of a frame, from its mark on.
fn sequence_of(bytes: &[u8]) -> u8 {
    bytes[5] & 3
}

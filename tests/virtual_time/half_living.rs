//! Panels that are half alive: they answer, but not as a panel should. What they are told to be, what they cost the
//! others, and that they are back once they are well.

use std::time::Duration;

use intercom_gateway::{
    domain::{
        EventBody, Mono, PanelState, Trouble,
        event::{Decision, SuspectCause},
    },
    simulate::{
        action::{Action, Fault},
        panel::{Answer, ChannelSetup, PanelSetup, SimulatedPanel},
    },
    wire::osdp::{
        Frame,
        code::command::{CHLNG, ID, OUT, POLL},
    },
};

use crate::{
    building::{Door, KNOWN, card, directory},
    forgery::refusal,
    world::{Planned, Told, World},
};

/// How far a panel does what it should.
#[derive(Clone, Copy, Debug, Default)]
pub enum Temper {
    #[default]
    Well,
    /// It does not hear CHLNG.
    NoChallenge,
    /// It hears nothing but ID.
    IdentityAlone,
    /// It answers everything by NAK 4.
    WrongNumber,
    /// It has read a card whenever it is polled, each time another.
    Reads { next: u32 },
    /// It refuses OUT.
    NoOut,
    /// It begins anew after this many commands.
    Forgets { after: u32, left: u32 },
}

impl Temper {
    pub fn answer(&mut self, panel: &mut SimulatedPanel, now: Mono, frame: &Frame<'_>) -> Option<Answer> {
        if frame.reply || frame.address != panel.address() {
            return panel.handle_frame(now, frame);
        }
        match self {
            Self::NoChallenge if frame.code == CHLNG => return None,
            Self::IdentityAlone if frame.code != ID => return None,
            Self::WrongNumber => {
                return Some(Answer { bytes: refusal(&frame.header(), 4), delay: Duration::ZERO });
            }
            Self::Reads { next } if frame.code == POLL && panel.waiting() == 0 => {
                *next += 1;
                panel.act(now, card(*next)).unwrap();
            }
            Self::NoOut => panel.act(now, Action::Fault(Fault::Nak(frame.code == OUT))).unwrap(),
            Self::Forgets { after, left } => {
                *left = left.checked_sub(1).unwrap_or(*after);
                if *left == 0 {
                    panel.act(now, Action::Restart).unwrap();
                }
            }
            _ => {}
        }
        panel.handle_frame(now, frame)
    }
}

/// The panel that is half alive; the others are well.
const SICK: usize = 0;
const OTHERS: [usize; 2] = [1, 2];
const SETTLED: Duration = Duration::from_secs(3);
/// When a panel has been half alive for this long, its state is told.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Once it is well it is back within this time.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// A card at another panel is told within this time, whatever the sick one does.
const OTHERS_WAIT: Duration = Duration::from_millis(500);
/// The least part of their polls that the others keep.
const SHARE: f64 = 0.75;

/// What is expected of a panel with a fault, after ten seconds of it.
struct Case {
    temper: Temper,
    faults: Vec<Fault>,
    cure: Vec<Fault>,
    /// The longest that it is half alive.
    lasts: Duration,
    state: PanelState,
    trouble: fn(Option<&Trouble>) -> bool,
    /// A card opens its door.
    opens: bool,
    /// Told as such.
    suspect: Option<SuspectCause>,
}

impl Case {
    fn of(temper: Temper, state: PanelState, trouble: fn(Option<&Trouble>) -> bool) -> Self {
        let (faults, cure) = (Vec::new(), Vec::new());
        let opens = state == PanelState::Online;
        let lasts = Duration::from_secs(20);
        Self { temper, faults, cure, lasts, state, trouble, opens, suspect: None }
    }

    fn well(temper: Temper) -> Self {
        Self::of(temper, PanelState::Online, |trouble| trouble.is_none())
    }

    fn with(self, fault: Fault, cure: Fault) -> Self {
        Self { faults: vec![fault], cure: vec![cure], ..self }
    }

    /// In a secure channel, and from its first moment on or later.
    fn secured(&self) {
        self.run(Door::secured(5, 1), true);
        self.run(Door::secured(5, 2), false);
    }

    fn plain(&self) {
        let door = |seed| Door::plain(PanelSetup::new(5, ChannelSetup::Unsupported, seed));
        self.run(door(3), true);
        self.run(door(4), false);
    }

    fn run(&self, sick: Door, settles: bool) {
        let doors = vec![sick, Door::secured(40, 5), Door::secured(80, 6)];
        let mut world = World::new(7, 9600, false, doors, directory());
        let settled = Mono::ZERO + SETTLED;
        if settles {
            world.run_until(settled);
            assert_eq!(world.state(SICK), PanelState::Online);
        }
        let began = world.now;
        world.peers[SICK].temper = self.temper;
        self.faults.iter().for_each(|fault| act(&mut world, SICK, Action::Fault(*fault)));
        world.run_until(began + SETTLED);
        let (from, before) = (world.now, OTHERS.map(|panel| world.checks.polls(panel)));
        world.run_until(began + TOLD_WITHIN);
        self.is_told(&mut world);
        others_have_their_polls(&world, from, before);
        others_open(&mut world);
        if self.opens {
            opens(&mut world, SICK, 20);
        } else {
            // It is read while the panel is half alive, and opens nothing when it is well: see the invariants.
            act(&mut world, SICK, card(22));
        }
        let outs = world.checks.outs(SICK).len();
        world.run_until(began + self.lasts);
        self.is_told(&mut world);
        assert_eq!(world.checks.outs(SICK).len(), outs, "a door opens that should not");
        let suspected = world.told.iter().any(|(_, what)| {
            matches!(what, Told::Event(EventBody::PanelSuspect(suspect)) if Some(suspect.cause) == self.suspect)
        });
        assert!(suspected || self.suspect.is_none(), "nobody was told of {:?}", self.suspect);

        self.cure.iter().for_each(|fault| act(&mut world, SICK, Action::Fault(*fault)));
        world.peers[SICK].temper = Temper::Well;
        act(&mut world, SICK, Action::Fault(Fault::Nak(false)));
        let (limit, polls) = (world.now + BACK_WITHIN, world.checks.polls(SICK));
        let away = |world: &mut World| {
            world.state(SICK) != PanelState::Online
                || world.checks.polls(SICK) < polls + 2
                || world.peers[SICK].panel.waiting() > 0
        };
        assert!(world.run_while(limit, away), "not back within {BACK_WITHIN:?}");
        world.run_for(Duration::from_millis(500));
        assert_eq!(world.status(SICK).trouble, None);
        opens(&mut world, SICK, 24);
    }

    fn is_told(&self, world: &mut World) {
        let status = world.status(SICK);
        assert_eq!(status.state, self.state, "{:?}", status.trouble);
        assert!((self.trouble)(status.trouble.as_ref()), "{:?}: {:?}", status.state, status.trouble);
        for panel in OTHERS {
            assert_eq!(world.state(panel), PanelState::Online, "another panel suffers");
        }
    }
}

fn act(world: &mut World, panel: usize, action: Action) {
    world.plan(world.now, Planned::Act { panel, action });
}

fn others_have_their_polls(world: &World, from: Mono, before: [u64; 2]) {
    // Secure POLLs of three panels that answer after 2 ms.
    let round = (world.character() * 34 + Duration::from_millis(2)) * 3;
    let alone = world.now.since(from).as_secs_f64() / round.as_secs_f64();
    for (panel, before) in OTHERS.into_iter().zip(before) {
        let polls = (world.checks.polls(panel) - before) as f64;
        assert!(polls >= SHARE * alone, "panel {panel} had {polls} polls, alone it has {alone:.0}");
    }
}

fn others_open(world: &mut World) {
    for (panel, number) in OTHERS.into_iter().zip([30, 32]) {
        opens(world, panel, number);
    }
}

/// A card is told in time, and opens.
fn opens(world: &mut World, panel: usize, number: u32) {
    let (told, outs, at) = (world.told.len(), world.checks.outs(panel).len(), world.now);
    act(world, panel, card(number));
    let shut = |world: &mut World| world.checks.outs(panel).len() == outs;
    assert!(world.run_while(at + Duration::from_secs(2), shut), "a known key does not open panel {panel}");
    let granted = world.told[told..].iter().find(|(_, what)| {
        matches!(what, Told::Event(EventBody::KeySwiped(swipe)) if swipe.decision == Decision::Granted)
    });
    let waited = granted.unwrap().0.since(at);
    assert!(panel == SICK || waited <= OTHERS_WAIT, "a card waits for {waited:?} at panel {panel}");
}

fn no_link(trouble: Option<&Trouble>) -> bool {
    trouble == Some(&Trouble::NoLink)
}

#[test]
fn a_panel_that_is_busy_for_a_minute_is_not_online() {
    let busy = |state| Case {
        lasts: Duration::from_secs(60),
        ..Case::of(Temper::Well, state, no_link).with(Fault::Busy(u32::MAX), Fault::Busy(0))
    };
    busy(PanelState::Insecure).secured();
    busy(PanelState::Offline).plain();
}

#[test]
fn a_panel_that_answers_everything_with_nak_4_is_not_online() {
    Case::of(Temper::WrongNumber, PanelState::Insecure, no_link).secured();
    Case::of(Temper::WrongNumber, PanelState::Offline, no_link).plain();
}

#[test]
fn a_panel_that_answers_id_alone_is_not_online() {
    Case::of(Temper::IdentityAlone, PanelState::Insecure, |trouble| trouble.is_some()).secured();
    Case::of(Temper::IdentityAlone, PanelState::Offline, no_link).plain();
}

#[test]
fn a_panel_that_ignores_chlng_is_insecure() {
    // A panel that has a session is not challenged.
    let case = Case::of(Temper::NoChallenge, PanelState::Insecure, |trouble| trouble.is_some());
    case.run(Door::secured(5, 2), false);
}

#[test]
fn a_panel_that_begins_anew_every_third_frame_is_insecure() {
    let forgets = Temper::Forgets { after: 2, left: 2 };
    Case::of(forgets, PanelState::Insecure, |trouble| trouble.is_some()).secured();
}

#[test]
fn a_panel_that_begins_anew_every_forty_frames_is_online_and_opens() {
    let forgets = Temper::Forgets { after: 40, left: 40 };
    Case::well(forgets).secured();
    Case::well(forgets).plain();
}

#[test]
fn a_panel_that_refuses_out_is_online() {
    let refuses = Case { opens: false, ..Case::well(Temper::NoOut) };
    refuses.secured();
    refuses.plain();
}

#[test]
fn a_panel_that_answers_late_is_online_and_opens() {
    let late = || {
        let delay = Fault::Delay(Duration::from_millis(188));
        Case::well(Temper::Well).with(delay, Fault::Delay(Duration::ZERO))
    };
    late().secured();
    late().plain();
}

#[test]
fn a_panel_that_reads_at_every_poll_is_online_and_opens_nothing() {
    // No POLL is ever answered by ACK, so every read may be an old one.
    let reads = Case { opens: false, ..Case::well(Temper::Reads { next: KNOWN }) };
    reads.secured();
    reads.plain();
}

#[test]
fn a_panel_that_does_not_encrypt_is_online_and_opens_nothing() {
    let clear = Fault::Unencrypted(true);
    let case = Case::well(Temper::Well).with(clear, Fault::Unencrypted(false));
    Case { opens: false, suspect: Some(SuspectCause::Plaintext), ..case }.secured();
}

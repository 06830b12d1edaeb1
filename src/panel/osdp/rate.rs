//! At which rate a panel is, and how it comes to another one (COMSET).
//!
//! ```text
//!            COMSET, at the old rate                 COM: it goes over
//!  Settled ──────────────────────────► Unsure(old, new) ──────────────► the same bytes again, at the new rate ──► Settled(new)
//!     ▲                                      │ nobody knows where it is        │ they are lost, or damaged
//!     └─ heard at either rate ◄──────────────┴─────────────────────────────────┘
//! ```
//! What goes over the line is sent again as the same bytes with the same number, at either rate in turn: a panel answers what it
//! has carried out as it did before. So a COMSET whose answer was lost is found out without being carried out twice, and a new
//! rate is tried before anything depends on it.
//!
//! Invariant: at which rate a panel is to be found is a guess, which the panel's own answers alone make certain. All rates are
//! tried in the end, and never given up.

use std::time::Duration;

use crate::domain::Mono;

/// The rates of OSDP, in bits a second.
pub const RATES: [u32; 6] = [9600, 19_200, 38_400, 57_600, 115_200, 230_400];
/// Transmissions without an answer after which a panel is looked for at other rates.
const PATIENT: u32 = 3;
/// The same after which it is asked often and waited for shortly, as one that hears one command of many.
const LOST: u32 = 12;
/// How long a panel may take to go over, once it has said so: it writes its flash, or restarts.
const GOES_OVER_WITHIN: Duration = Duration::from_secs(3);
/// Commands in a row without an answer after which one that strayed is told its rate in the clear: its session is over.
const CALLED: u32 = 40;
/// The same where nobody knows that every panel holds its line's rate: it is told a slower one.
const CALLED_DOWN: u32 = 120;

/// Where a panel is looked for.
#[derive(Clone, Debug)]
pub(super) struct Whereabouts {
    /// Where it was last heard, or should be.
    at: u32,
    /// Where it may be as well: it was told to go from one to the other.
    other: Option<u32>,
    /// Where its line is.
    home: u32,
    /// The rate that it was told to take and was not heard at.
    sent_to: Option<u32>,
    /// The rate at which it last answered a POLL in order.
    held: Option<u32>,
    /// The rate of the last transmission.
    last: u32,
    /// Transmissions in a row that were not answered.
    misses: u32,
    is_known: bool,
    /// That is where its line is, and every panel holds it.
    is_home_certain: bool,
}

impl Whereabouts {
    /// Returns those of a panel that was never heard, on a line that was left at these rates.
    pub(super) fn new(home: u32, other: Option<u32>) -> Self {
        let other = other.filter(|other| *other != home);
        Self {
            at: home,
            other,
            home,
            sent_to: other,
            held: None,
            last: home,
            misses: 0,
            is_known: false,
            is_home_certain: false,
        }
    }

    /// Returns where it was last heard; `None`: it never was.
    pub(super) fn known(&self) -> Option<u32> {
        (self.is_known && self.other.is_none()).then_some(self.at)
    }

    /// Sets where its line is.
    pub(super) fn set_home(&mut self, home: u32, is_certain: bool) {
        if !self.is_known && self.other.is_none() {
            self.at = home;
        }
        (self.home, self.is_home_certain) = (home, is_certain);
        self.sent_to.take_if(|_| self.at == home && self.other.is_none());
    }

    /// Whether it may be at another rate than its line.
    pub(super) fn is_astray(&self) -> bool {
        self.other.is_some() || (self.is_known && self.at != self.home)
    }

    /// Whether it was not heard for so long that it is to be asked the more often, and waited for the less.
    pub(super) fn is_lost(&self) -> bool {
        self.misses >= LOST
    }

    /// The rate that it was told to take, where it was not heard since.
    pub(super) fn sent_to(&self) -> Option<u32> {
        self.sent_to
    }

    /// The rate that it is to be told in the clear, where it has been lost for long: the one at which it was well, else its
    /// line's, or, where it may be that the cable does not carry that, a slower one than the one at which it is asked.
    pub(super) fn call(&self) -> Option<u32> {
        let next = self.next_rate();
        let is_turn = (self.misses / 2).is_multiple_of(2);
        let slower = || RATES.into_iter().rev().find(|rate| *rate < next);
        match self.held.or(Some(self.home).filter(|_| self.is_home_certain)) {
            _ if !is_turn => None,
            Some(held) => Some(held).filter(|held| *held != next && self.misses >= CALLED),
            None => slower().filter(|_| self.misses >= CALLED_DOWN),
        }
    }

    /// Chooses the rate of the next transmission.
    pub(super) fn choose(&mut self) {
        self.last = self.next_rate();
    }

    fn next_rate(&self) -> u32 {
        let misses = self.misses;
        let round = misses.checked_div(PATIENT).unwrap_or_default();
        let is_third = misses % PATIENT == 2;
        match self.other {
            Some(_) if misses >= PATIENT && is_third && round % 4 == 3 => self.stranger(round / 4),
            // Its line may have gone elsewhere meanwhile.
            Some(_) if misses >= PATIENT && is_third && round % 4 == 1 => self.home,
            // The one that it was told to take has most of them; where it was not heard for long, both have half.
            Some(other) if misses % 4 == 3 || (misses > 8 && misses % 4 == 1) => other,
            None if misses >= PATIENT && is_third => self.stranger(round),
            None if misses >= PATIENT && misses % PATIENT == 1 => self.home,
            _ => self.at,
        }
    }

    /// A rate that there is no reason to believe in.
    fn stranger(&self, round: u32) -> u32 {
        let is_strange = |rate: &u32| ![Some(self.at), self.other, Some(self.home)].contains(&Some(*rate));
        let strange = || RATES.into_iter().filter(is_strange);
        let count = strange().count().max(1);
        let place = usize::try_from(round).unwrap_or_default().checked_rem(count).unwrap_or_default();
        strange().nth(place).unwrap_or(self.at)
    }

    /// The rate of the last transmission.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// It did not answer.
    pub(super) fn missed(&mut self) {
        self.misses = self.misses.saturating_add(1);
    }

    /// It answered the last transmission, which of two rates that it may be at says little of: one answer may be one of many.
    pub(super) fn heard(&mut self) {
        if self.other.is_none() {
            self.answered();
        } else {
            if self.other == Some(self.last) {
                self.other = Some(self.at);
            }
            (self.at, self.misses, self.is_known) = (self.last, 0, true);
        }
    }

    /// It answered a POLL in order.
    pub(super) fn polled(&mut self) {
        // The first one where it has come may be luck.
        if self.other.is_none() {
            self.held = Some(self.last);
        }
        self.answered();
    }

    /// It answered the last transmission: it is there.
    pub(super) fn answered(&mut self) {
        (self.at, self.misses, self.is_known, self.other) = (self.last, 0, true, None);
        self.sent_to.take_if(|_| self.at == self.home);
    }

    /// It answered, and is told to go from one rate to the other just now: it may be at either after this.
    fn answered_between(&mut self) {
        (self.misses, self.is_known) = (0, true);
    }

    /// It is told to take another rate.
    fn told(&mut self, to: u32) {
        if to != self.at {
            // Where it goes home, it is the rate that it is at that may not be carried.
            let strange = if to == self.home { self.at } else { to };
            (self.other, self.sent_to) = (Some(to), Some(strange));
        }
    }

    /// It was told in the clear to take its line's rate, and says that it takes this one.
    pub(super) fn goes_unasked(&mut self, says: u32) {
        self.is_known = true;
        self.goes(self.last, if RATES.contains(&says) { says } else { self.last });
    }

    /// It has said that it goes over.
    fn goes(&mut self, from: u32, to: u32) {
        (self.at, self.other, self.misses) = (to, Some(from).filter(|from| *from != to), 0);
    }
}

/// Why a panel is not at the rate that it was to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmoved {
    /// It has refused.
    Refused,
    /// It has said that it takes this rate instead.
    Other(u32),
    /// It has said that it goes over, and is where it was.
    Stays,
    /// It has gone over, and what is sent at the new rate is lost or damaged.
    Lossy,
    /// It is not heard, or has begun its link anew: nobody knows.
    Unheard,
}

/// A panel on its way to another rate.
#[derive(Clone, Debug)]
struct Way {
    from: u32,
    to: u32,
    /// When it said that it goes over.
    said: Option<Mono>,
    /// Answers at the new rate that are wanted yet.
    wanted: u32,
    /// It has answered at the new rate.
    is_there: bool,
    /// How often it has answered at the old one since it said so.
    stayed: u32,
    /// Back from a rate that is not carried: the panel was told of it already.
    is_back: bool,
}

/// The change of a panel's rate.
#[derive(Clone, Debug, Default)]
pub(super) struct Mover {
    /// Where it is to go, with the answers that are wanted there.
    due: Option<(u32, u32)>,
    /// Where it came from to a rate that is not carried.
    back: Option<u32>,
    way: Option<Way>,
}

/// What comes next on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The same bytes again.
    Repeat,
    /// It is over.
    Over(Result<(), Unmoved>),
}

impl Mover {
    /// Has it go to another rate as soon as it may, where it is to answer so often before it counts as arrived.
    pub(super) fn set_due(&mut self, to: u32, answers: u32) {
        self.due = Some((to, answers.max(1)));
    }

    /// The rate that is to be told to it.
    pub(super) fn due(&self) -> Option<u32> {
        self.back.or(self.due.map(|(to, _)| to))
    }

    /// Whether it is to go back, or on its way, from a rate that is not carried: nothing else is asked of it, for what is
    /// withdrawn would cost the session in which it can be told so.
    pub(super) fn goes_back(&self) -> bool {
        self.back.is_some() || self.way.as_ref().is_some_and(|way| way.is_back)
    }

    /// Whether it is on its way.
    pub(super) fn is_under_way(&self) -> bool {
        self.way.is_some()
    }

    /// Where it was told to go by somebody who waits for what comes of it.
    pub(super) fn goal(&self) -> Option<u32> {
        self.way.as_ref().filter(|way| !way.is_back).map(|way| way.to)
    }

    /// COMSET is about to be sent.
    pub(super) fn begins(&mut self, whereabouts: &mut Whereabouts) {
        let is_back = self.back.is_some();
        let due = self.back.take().map(|back| (back, 1)).or_else(|| self.due.take());
        let Some((to, wanted)) = due else { return };
        let from = whereabouts.at;
        self.way = Some(Way { from, to, said: None, wanted, is_there: false, stayed: 0, is_back });
        whereabouts.told(to);
    }

    /// It has answered COMSET, or the same bytes again, with this rate.
    pub(super) fn answered(
        &mut self,
        now: Mono,
        says: u32,
        is_hurried: bool,
        whereabouts: &mut Whereabouts,
    ) -> Option<Next> {
        let way = self.way.as_mut()?;
        if says != way.to {
            // It is where it says, or has not moved.
            let (from, to) = (way.from, if RATES.contains(&says) { says } else { way.from });
            self.way = None;
            whereabouts.told(to);
            whereabouts.goes(from, to);
            return Some(Next::Over(Err(Unmoved::Other(says))));
        }
        let is_at_goal = whereabouts.last() == way.to;
        let said = *way.said.get_or_insert(now);
        if is_at_goal {
            (way.wanted, way.is_there) = (way.wanted.saturating_sub(1), true);
            whereabouts.answered();
            let is_over = way.wanted == 0 || is_hurried;
            self.way.take_if(|_| is_over);
            return Some(if is_over { Next::Over(Ok(())) } else { Next::Repeat });
        }
        let is_first = said == now && way.stayed == 0;
        way.stayed = way.stayed.saturating_add(u32::from(!is_first));
        // Somebody waits for its lock: what it does not do soon is left for later.
        if now > said + GOES_OVER_WITHIN || (is_hurried && way.stayed > 0) {
            self.way = None;
            whereabouts.answered();
            return Some(Next::Over(Err(Unmoved::Stays)));
        }
        whereabouts.goes(way.from, way.to);
        Some(Next::Repeat)
    }

    /// It has answered something that is no answer to COMSET, and asks for the same again.
    pub(super) fn put_off(whereabouts: &mut Whereabouts) {
        whereabouts.answered_between();
    }

    /// It has refused COMSET.
    pub(super) fn refused(&mut self, whereabouts: &mut Whereabouts) {
        self.way = None;
        whereabouts.answered();
    }

    /// What was sent was not answered: whether that is the end of the way. It is not while nobody knows whether the panel has
    /// begun it.
    pub(super) fn missed(&mut self, now: Mono) -> Option<Unmoved> {
        let way = self.way.as_ref()?;
        let is_late = way.said.is_some_and(|said| now > said + GOES_OVER_WITHIN);
        // It answers at the old rate; and on its way back it is waited for as long as it takes.
        if (!way.is_there && !is_late) || way.stayed > 0 || way.is_back {
            return None;
        }
        self.back = Some(way.from);
        self.way = None;
        Some(Unmoved::Lossy)
    }

    /// Its link has ended on the way: where it was heard at its goal just now it has arrived. A panel that restarts to go over
    /// answers so. How well it is there shows in the trial.
    pub(super) fn link_ended(&mut self, whereabouts: &Whereabouts) -> Option<Result<(), Unmoved>> {
        self.back = None;
        let way = self.way.take().filter(|way| !way.is_back)?;
        let is_there = whereabouts.at == way.to && whereabouts.misses == 0;
        Some(if is_there { Ok(()) } else { Err(Unmoved::Unheard) })
    }
}

//! Whose turn it is, from what every panel of a line wants. All fairness between panels is here; it takes its time from
//! the caller.
//!
//! 1. **Requests**, the earliest deadline first. A panel whose last turn was one gets no second before a poll was given to
//!    another panel that waits: eight unlocks at once at one door cost a resident at another one turn in two, no more.
//! 2. **Set-ups** of links, every second turn at most.
//! 3. **Probes**, while any panel wants something else: from their deadline on, the earliest first, answered or not a quarter
//!    of the time all together. After a long one the next may go before its three times are paid, so that a panel that is
//!    back need not wait for what another that is dead has had; what is owed so is never more than 600 ms. Where all panels
//!    want probes there is nobody to disturb, and each goes as soon as it may.
//! 4. **Polls**, the earliest deadline first; among equals, the panel that has waited longest. A panel whose turns take
//!    longer than twice what their bytes need pays for it: after each turn those of the others that are due go first, for
//!    three times the mean of that excess. So a slow or hostile panel takes about a quarter from the others at most; so
//!    does one whose requests are answered late: from its second in a row on they wait for the same time.
//!
//! A guest, who asks addresses that are no panel's, wants probes alone. It gets one a round of polls at most: no poll waits for
//! two of them.
//!
//! No turn is left unused while anybody wants one: what a rule puts off goes when nothing else is due.

use std::time::Duration;

use crate::{
    domain::Mono,
    panel::{Turn, TurnKind},
};

/// For each unit of time that a panel takes too long, or a probe takes, the others have this many.
const SHARE: u32 = 3;
/// A probe that takes no longer is paid for before the next one.
const SHORT_PROBE: Duration = Duration::from_millis(80);
/// The most that probes may owe the others: the pay of one that took 200 ms, as long as OSDP lets an answer take.
const MOST_OWED: Duration = Duration::from_millis(600);
/// One part in this many of a panel's mean excess is its latest turn's.
const LATEST_PART: u32 = 8;

/// What a panel has had of the line.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// When its last turn began.
    last: Option<Mono>,
    /// Its last turn was a request, and no other panel had a poll since.
    owes_poll: bool,
    /// Its last turn was a request.
    requested: bool,
    /// By how much its turns take longer than twice what their bytes need, in the mean.
    excess: Duration,
    /// The polls of others go first until then.
    pays_until: Option<Mono>,
}

impl Standing {
    fn pays(&self, now: Mono) -> bool {
        self.pays_until.is_some_and(|until| until > now)
    }

    fn is_put_off(&self, now: Mono) -> bool {
        self.requested && (self.owes_poll || self.pays(now))
    }
}

/// The order of turns on one line. See the module for its rules.
#[derive(Debug)]
pub(super) struct Order {
    /// By number; behind them, the guest's.
    panels: Vec<Standing>,
    /// The last turn was a set-up.
    was_set_up: bool,
    /// There is no probe before this moment while anybody wants something else.
    probes_from: Mono,
    /// When the probes so far have been paid for.
    probes_paid: Mono,
}

impl Default for Order {
    fn default() -> Self {
        let panels = vec![Standing::default()];
        Self { panels, was_set_up: false, probes_from: Mono::ZERO, probes_paid: Mono::ZERO }
    }
}

impl Order {
    /// Takes a panel, which has had nothing of the line yet; its number is the next one.
    pub(super) fn add(&mut self) {
        let guest = self.guest();
        self.panels.insert(guest, Standing::default());
    }

    /// Returns the number of the guest, which wants turns and is no panel: it follows those of the panels.
    pub(super) fn guest(&self) -> usize {
        self.panels.len().saturating_sub(1)
    }

    /// Returns the number of the panel whose turn it is now, where what each wants is at its number in `turns`.
    pub(super) fn choose(&self, now: Mono, turns: &[Option<Turn>]) -> Option<usize> {
        let first = |kind, passes: &dyn Fn(&Standing) -> bool| {
            let wanted = turns.iter().zip(&self.panels).enumerate();
            let due = wanted.filter_map(|(number, (turn, standing))| {
                let turn = turn.filter(|turn| turn.kind == kind && turn.from <= now)?;
                passes(standing).then_some((turn.deadline, standing.last, number))
            });
            due.min().map(|(.., number)| number)
        };
        let any = |_: &Standing| true;
        first(TurnKind::Request, &|standing| !standing.is_put_off(now))
            .or_else(|| first(TurnKind::SetUp, &any).filter(|_| !self.was_set_up))
            .or_else(|| self.due_probe(now, turns))
            .or_else(|| first(TurnKind::Poll, &|standing| !standing.pays(now)))
            .or_else(|| first(TurnKind::Request, &any))
            .or_else(|| first(TurnKind::SetUp, &any))
            .or_else(|| first(TurnKind::Poll, &any))
    }

    /// Returns when a turn can be given, as far as what the panels want now tells.
    pub(super) fn ready_at(&self, turns: &[Option<Turn>]) -> Mono {
        let anyone_live = is_anyone_live(turns);
        let ready_at = |turn: &Turn| match turn.kind {
            TurnKind::Probe if anyone_live => self.probe_at(turn),
            _ => turn.from,
        };
        turns.iter().flatten().map(ready_at).min().unwrap_or(Mono::NEVER)
    }

    /// Notes that a turn begins.
    pub(super) fn begins(&mut self, now: Mono, number: usize, kind: TurnKind) {
        self.was_set_up = kind == TurnKind::SetUp;
        for (other, standing) in self.panels.iter_mut().enumerate() {
            if other == number {
                standing.last = Some(now);
                standing.requested = kind == TurnKind::Request;
                standing.owes_poll = standing.requested;
            } else if kind == TurnKind::Poll {
                standing.owes_poll = false;
            }
        }
    }

    /// Notes that a turn is over, answered or not: it took `took`, and its bytes alone need `needed`.
    pub(super) fn ended(
        &mut self,
        now: Mono,
        number: usize,
        kind: TurnKind,
        took: Duration,
        needed: Duration,
    ) {
        let Some(standing) = self.panels.get_mut(number) else { return };
        if kind == TurnKind::Probe {
            let began = standing.last.unwrap_or(now);
            // Probes that went while nobody wanted anything else owe nothing more.
            let most = now + took * SHARE + MOST_OWED;
            self.probes_paid = (self.probes_paid.max(began) + took * (1 + SHARE)).min(most);
            self.probes_from = (now + took.min(SHORT_PROBE) * SHARE).max(self.probes_paid - MOST_OWED);
            return;
        }
        // Twice as long as its bytes is nothing unusual.
        let excess = took.saturating_sub(needed * 2);
        standing.excess = (standing.excess * (LATEST_PART - 1) + excess) / LATEST_PART;
        if !standing.excess.is_zero() {
            let from = standing.pays_until.map_or(now, |until| until.max(now));
            // What a bad minute of the line has piled up is forgotten with the mean.
            let most = now + standing.excess * (2 * SHARE);
            standing.pays_until = Some((from + standing.excess * SHARE).min(most));
        }
    }

    fn due_probe(&self, now: Mono, turns: &[Option<Turn>]) -> Option<usize> {
        let anyone_live = is_anyone_live(turns);
        let is_guest_put_off = self.is_guest_put_off(now, turns);
        let due = turns.iter().zip(&self.panels).enumerate().filter_map(|(number, (turn, standing))| {
            let turn = turn.filter(|turn| turn.kind == TurnKind::Probe && turn.from <= now)?;
            if number == self.guest() && is_guest_put_off {
                return None;
            }
            let is_due = !anyone_live || self.probe_at(&turn) <= now;
            is_due.then_some((turn.deadline, standing.last, number))
        });
        due.min().map(|(.., number)| number)
    }

    /// Whether anybody who wants to be polled has had no turn since the guest's last one: no poll waits for two of its.
    fn is_guest_put_off(&self, now: Mono, turns: &[Option<Turn>]) -> bool {
        let Some(last) = self.panels.get(self.guest()).and_then(|guest| guest.last) else { return false };
        let waits = |(turn, standing): (&Option<Turn>, &Standing)| {
            turn.is_some_and(|turn| turn.kind == TurnKind::Poll && turn.from <= now)
                && standing.last.is_none_or(|had| had <= last)
        };
        turns.iter().zip(&self.panels).any(waits)
    }

    fn probe_at(&self, turn: &Turn) -> Mono {
        turn.from.max(turn.deadline).max(self.probes_from)
    }
}

/// Whether any panel wants something else than a probe.
fn is_anyone_live(turns: &[Option<Turn>]) -> bool {
    turns.iter().flatten().any(|turn| turn.kind != TurnKind::Probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TurnKind::{Poll, Probe, Request, SetUp};

    fn of(panels: usize) -> Order {
        let mut order = Order::default();
        (0..panels).for_each(|_| order.add());
        order
    }

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn turn(kind: TurnKind, deadline: u64) -> Option<Turn> {
        let window = Duration::from_millis(200);
        Some(Turn { kind, from: Mono::ZERO, deadline: at(deadline), window, answer_characters: 0 })
    }

    /// Gives turns of 10 ms to panels that go on wanting the same; the numbers of those that got them.
    fn run(order: &mut Order, turns: &[Option<Turn>], from: u64, count: u64) -> Vec<usize> {
        let took = Duration::from_millis(10);
        let give = |step| {
            let now = at(from + 10 * step);
            let number = order.choose(now, turns)?;
            let kind = turns[number].unwrap().kind;
            order.begins(now, number, kind);
            order.ended(now + took, number, kind, took, took);
            Some(number)
        };
        (0..count).filter_map(give).collect()
    }

    #[test]
    fn a_flood_at_one_panel_takes_every_second_turn_and_the_earliest_request_goes_first() {
        let mut order = of(4);
        let mut turns = [turn(Request, 2000), turn(Poll, 0), turn(Poll, 0), turn(Poll, 0)];
        assert_eq!(run(&mut order, &turns, 0, 8), [0, 1, 0, 2, 0, 3, 0, 1]);
        turns[2] = turn(Request, 2500);
        assert_eq!(
            run(&mut order, &turns, 100, 2),
            [0, 2],
            "the later deadline goes before the second of one panel"
        );
        turns = [turn(Request, 2000), None, None, None];
        assert_eq!(run(&mut order, &turns, 200, 3), [0, 0, 0], "nobody else wants the line");
        let mut order = of(2);
        assert_eq!(order.choose(at(0), &[turn(Request, 2000), turn(Request, 1900)]), Some(1));
        order.begins(at(0), 1, Request);
        assert_eq!(order.choose(at(0), &[turn(Request, 2000), turn(Request, 1900)]), Some(0));
    }

    #[test]
    fn links_are_set_up_in_every_second_turn() {
        let mut order = of(3);
        let turns = [turn(SetUp, 0), turn(SetUp, 0), turn(Poll, 0)];
        assert_eq!(run(&mut order, &turns, 0, 6), [0, 2, 1, 2, 0, 2]);
        assert_eq!(run(&mut order, &turns[..2], 100, 4), [1, 0, 1, 0]);
    }

    #[test]
    fn probes_take_a_quarter_answered_or_not_and_all_of_it_where_nobody_lives() {
        let mut order = of(3);
        let turns = [turn(Poll, 0), turn(Probe, 0), turn(Probe, 0)];
        let given = run(&mut order, &turns, 0, 400);
        assert_eq!(given.iter().filter(|number| **number != 0).count(), 100);
        let dead = [None, turn(Probe, 90_000), turn(Probe, 90_001)];
        assert_eq!(run(&mut order, &dead, 10_000, 3), [1, 1, 1], "no deadline is waited for");
        let waiting = [turn(Poll, 0), turn(Probe, 90_000), None];
        assert_eq!(run(&mut order, &waiting, 20_000, 2), [0, 0]);
        let future = Some(Turn { from: at(99_000), ..turn(Poll, 0).unwrap() });
        assert_eq!(order.ready_at(&[future, turn(Probe, 90_000), None]), at(90_000));
        assert_eq!(order.ready_at(&[None, turn(Probe, 90_000), None]), Mono::ZERO);
    }

    #[test]
    fn a_long_probe_does_not_keep_the_next_one_waiting_and_all_of_them_take_a_quarter() {
        let mut order = of(3);
        let (mut now, mut probes, mut ends) = (at(0), Duration::ZERO, Vec::new());
        while now < at(60_000) {
            let probe = Some(Turn { deadline: now, ..turn(Probe, 0).unwrap() });
            let number = order.choose(now, &[turn(Poll, 0), probe, probe]).unwrap();
            let kind = if number == 0 { Poll } else { Probe };
            order.begins(now, number, kind);
            let took = Duration::from_millis(if number == 0 { 10 } else { 200 });
            now = now + took;
            order.ended(now, number, kind, took, took);
            if kind == Probe {
                probes += took;
                ends.push(now);
            }
        }
        let share = probes.as_secs_f64() / 60.0;
        assert!((0.2..0.26).contains(&share), "{share}");
        assert_eq!(
            ends[1].since(ends[0]),
            Duration::from_millis(240 + 200),
            "the second did not wait for 600 ms"
        );

        let mut order = of(3);
        for step in 0..100 {
            let (began, took) = (at(step * 200), Duration::from_millis(200));
            order.begins(began, 1, Probe);
            order.ended(began + took, 1, Probe, took, took);
        }
        let dead = turn(Probe, 0);
        assert_eq!(order.probes_from, at(20_600), "nobody lived who could be owed anything");
        assert_eq!(order.choose(at(20_600), &[turn(Poll, 0), dead, dead]), Some(2));
    }

    #[test]
    fn a_panel_that_takes_its_time_takes_a_quarter_at_most() {
        for alternates in [false, true] {
            let mut order = of(4);
            let turns = [turn(Poll, 0); 4];
            let (mut now, mut slow) = (at(0), Duration::ZERO);
            let mut late = false;
            while now < at(60_000) {
                let number = order.choose(now, &turns).unwrap();
                order.begins(now, number, Poll);
                late = if number == 0 { !alternates || !late } else { late };
                let took = Duration::from_millis(if number == 0 && late { 200 } else { 10 });
                slow += if number == 0 { took } else { Duration::ZERO };
                now = now + took;
                order.ended(now, number, Poll, took, Duration::from_millis(10));
            }
            let share = slow.as_secs_f64() / 60.0;
            assert!((0.1..0.29).contains(&share), "{share}");
            assert_eq!(order.choose(now, &turns[..1]), Some(0), "alone it pays nobody");
        }
    }

    #[test]
    fn a_slow_panel_cannot_make_up_for_it_by_requests() {
        let mut order = of(3);
        let (mut now, mut slow, mut asked) = (at(0), Duration::ZERO, 0);
        while now < at(60_000) {
            // Each poll of the slow panel brings a card that opens.
            let wanted = if asked > 0 { turn(Request, 0) } else { turn(Poll, 0) };
            let turns = [wanted, turn(Poll, 0), turn(Poll, 0)];
            let number = order.choose(now, &turns).unwrap();
            let kind = turns[number].unwrap().kind;
            order.begins(now, number, kind);
            let took = Duration::from_millis(if number == 0 { 200 } else { 10 });
            if number == 0 {
                slow += took;
                asked = if kind == Poll { 3 } else { asked - 1 };
            }
            now = now + took;
            order.ended(now, number, kind, took, Duration::from_millis(10));
        }
        let share = slow.as_secs_f64() / 60.0;
        assert!(share < 0.32, "{share}");
    }
}

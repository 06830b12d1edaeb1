//! What is left in the end, held against what was seen.

use std::{collections::BTreeSet, path::Path, time::Duration};

use intercom_gateway::domain::Mono;
use serde_json::Value;

use crate::{consumer, load::Accepted, window::Figures};

/// What may be lost in a kill (docs/architecture.md, the commit window): the events of the last 20 ms and of the commit under
/// way. A machine that compiles and tests other things beside has five seconds to begin and end a commit, and the disk besides
/// as long as it was seen to take. What proves more is [`ORDER`], and what the gateway itself has measured.
const WINDOW: Duration = Duration::from_millis(20 + 5000);

/// What is lost is the end of what was accepted before a kill: nothing that was accepted so much later is recorded. Panels see
/// their swipes accepted a round of polls, and some unlocks, apart.
const ORDER: Duration = Duration::from_millis(500);

/// What was seen while everything was killed.
pub struct Seen {
    pub accepted: Vec<Accepted>,
    /// Cards in all.
    pub presented: u32,
    pub gateway_kills: Vec<Mono>,
    /// Syncs that the disk took long for, from when to when.
    pub slow_syncs: Vec<(Mono, Mono)>,
    /// What the gateway has measured itself.
    pub window: Figures,
    /// Events that the consumer knew to lack, and had replayed.
    pub gaps: usize,
    /// Times that the cloud has changed its flats.
    pub revisions: u64,
}

impl Seen {
    /// How long before the kill that may have lost it a swipe was accepted; how long that may be.
    fn before_a_kill(&self, at: Mono) -> (Duration, Duration) {
        let kill = self.gateway_kills.iter().find(|kill| **kill >= at);
        let kill = *kill.expect("nobody was killed, but a swipe was lost");
        let meanwhile = self.slow_syncs.iter().filter(|(begun, ended)| *begun <= kill && *ended >= at);
        let syncs: Duration = meanwhile.map(|(begun, ended)| ended.since(*begun)).sum();
        (kill.since(at), WINDOW + syncs)
    }
}

/// Figures of a proof that has held.
pub struct Verdict {
    gateway_kills: usize,
    presented: u32,
    /// The slowest sync of the disk; `None`: none was slow.
    slowest_sync: Option<Duration>,
    accepted: usize,
    journalled: usize,
    /// How long before the kill those were accepted that the journal lacks.
    lost_to_kills: Vec<Duration>,
    window: Figures,
    /// Events that the consumer knew to lack, and had replayed.
    gaps: usize,
    revisions: u64,
}

impl Verdict {
    /// # Panics
    /// Something was lost or doubled that may not be.
    pub fn of(seen: &Seen, journal: &[String], file: &Path) -> Self {
        let Seen { accepted, presented, gateway_kills, slow_syncs, window, gaps, revisions } = seen;
        window.hold();
        let events: Vec<Value> = journal.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sequences =
            events.iter().map(|event| event["sequence"].as_str().unwrap().parse::<u64>().unwrap());
        assert!(sequences.eq(1..=journal.len() as u64), "the journal has a hole");

        let mut cards = BTreeSet::new();
        for event in events.iter().filter(|event| event["type"] == "intercom.key.swiped") {
            let card = u32::from_str_radix(event["data"]["raw"].as_str().unwrap(), 16).unwrap();
            assert!(cards.insert(card), "recorded twice: {event}");
        }
        let mut lost_to_kills = Vec::new();
        for Accepted { card, at } in accepted.iter().filter(|accepted| !cards.contains(&accepted.card)) {
            let (before, window) = seen.before_a_kill(*at);
            assert!(
                before <= window,
                "card {card} was accepted {before:?} before the kill, and is lost; to be accounted for: {window:?}"
            );
            let kill = *at + before;
            let recorded = |later: &&Accepted| cards.contains(&later.card) && later.at <= kill;
            let later = accepted.iter().filter(recorded).find(|later| later.at > *at + ORDER);
            assert!(
                later.is_none(),
                "card {card} is lost, and one that was accepted after it, and before the kill, is not"
            );
            lost_to_kills.push(before);
        }

        let consumed = consumer::committed(file);
        let identity = events[0]["data"]["journal"].as_str().unwrap();
        assert!(consumed.keys().all(|(journal, _)| journal == identity), "one journal all along");
        let of = |sequence: u64| consumed.get(&(identity.to_owned(), sequence));
        let highest = consumed.keys().map(|(_, sequence)| *sequence).max().unwrap_or(0);
        for (sequence, event) in (1..).zip(journal) {
            // What the very end brought about goes up at the next start.
            let expected = Some(event).filter(|_| sequence <= highest);
            assert_eq!(of(sequence), expected, "the consumer has something else at {sequence}");
        }
        assert!(highest <= journal.len() as u64, "never recorded");
        Self {
            gateway_kills: gateway_kills.len(),
            presented: *presented,
            slowest_sync: slow_syncs.iter().map(|(begun, ended)| ended.since(*begun)).max(),
            accepted: accepted.len(),
            journalled: journal.len(),
            lost_to_kills,
            window: *window,
            gaps: *gaps,
            revisions: *revisions,
        }
    }

    pub fn print(&self) {
        let Self { gateway_kills, presented, accepted, journalled, gaps, revisions, .. } = self;
        println!(
            "  {presented} cards, {accepted} seen accepted by their panels, {journalled} events recorded; the gateway was \
             killed {gateway_kills} times"
        );
        let longest = self.lost_to_kills.iter().max().copied().unwrap_or_default();
        println!(
            "  {} swipes were accepted and not yet recorded when a kill came, at most {longest:.1?} before it; the disk's \
             slowest sync took {:.1?}",
            self.lost_to_kills.len(),
            self.slowest_sync.unwrap_or_default()
        );
        self.window.print();
        println!(
            "  the consumer has every event once; {gaps} of them, lost by the broker, were seen to lack and replayed"
        );
        println!(
            "  the cloud changed its flats {revisions} times; in the end the gateway's have the same digest"
        );
    }
}

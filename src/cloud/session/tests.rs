//! The rules of the contract one by one, by the exact effects and times.

use std::sync::Arc;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A session and its clock; reads of the journal are answered at once.
struct Bench {
    session: Session,
    now: Mono,
    last: u64,
}

impl Bench {
    fn new(confirm: Confirm, last: u64) -> Self {
        let session = Session::new(confirm, "j".into(), 0, last, 7, Mono::ZERO);
        Self { session, now: Mono::ZERO, last }
    }

    /// What the session does now, but for reading.
    fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(effect) = self.session.poll(self.now) {
            match effect {
                Effect::Read { id, from, limit, .. } => {
                    let event = |sequence| Event { sequence, payload: String::new() };
                    self.session.read(id, (from..=self.last).take(limit).map(event).collect());
                }
                effect => effects.push(effect),
            }
        }
        effects
    }

    /// The events that are published now.
    fn published(&mut self) -> Vec<(Token, u64)> {
        let publish = |effect| match effect {
            Effect::Publish { token, event } => Some((token, event.sequence)),
            _ => None,
        };
        self.effects().into_iter().filter_map(publish).collect()
    }

    fn sequences(&mut self) -> Vec<u64> {
        self.published().into_iter().map(|(_, sequence)| sequence).collect()
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Up to the SUBACK.
    fn connect(&mut self, identity: &str, receive_maximum: u16) {
        assert!(matches!(self.effects()[..], [.., Effect::Connect { .. }]));
        self.session.connected(identity, receive_maximum, self.now);
        assert_eq!(self.effects(), [Effect::Subscribe]);
        self.session.subscribed(self.now);
        assert_eq!(self.effects(), []);
    }

    fn online(&mut self, receive_maximum: u16) {
        self.connect("s", receive_maximum);
        self.wait(SECOND);
    }

    fn ack(&mut self, tokens: &[(Token, u64)], ack: &Ack) {
        for (token, _) in tokens {
            self.session.acknowledged(*token, ack.clone(), self.now);
        }
    }

    fn committed(&mut self, journal: &str, through: u64) {
        self.committed_as(journal, through, RETAINED);
    }

    fn committed_as(&mut self, journal: &str, through: u64, retained: bool) {
        self.session.committed_seen(&Committed { journal: journal.into(), through }, retained, self.now);
    }
}

/// The broker had it before the subscription.
const RETAINED: bool = true;

fn status(session: &str, journal: &str, last: u64) -> StatusSeen {
    StatusSeen {
        status: None,
        session: Some(session.into()),
        journal: Some(journal.into()),
        last: Some(last),
    }
}

#[test]
fn status_comes_first_a_second_after_the_suback() {
    let mut bench = Bench::new(Confirm::Broker, 2);
    bench.connect("s", 10);
    bench.wait(SECOND - MS);
    assert_eq!(bench.effects(), []);
    assert!(!bench.session.is_online());
    assert_eq!(bench.session.deadline(bench.now), bench.now + MS);
    bench.wait(MS);
    let effects = bench.effects();
    assert_eq!(effects[..2], [Effect::Status { online: true, last: 2 }, Effect::Announce]);
    assert!(matches!(effects[2..], [Effect::Publish { .. }, Effect::Publish { .. }]));
}

#[test]
fn status_comes_as_soon_as_both_retained_messages_were_seen() {
    let mut bench = Bench::new(Confirm::Broker, 0);
    bench.connect("s", 10);
    bench.session.status_seen(&status("before", "j", 0), RETAINED, bench.now);
    assert_eq!(bench.effects(), []);
    bench.committed("j", 0);
    assert_eq!(bench.effects(), [Effect::Status { online: true, last: 0 }, Effect::Announce]);
}

#[test]
fn an_old_copy_is_told_by_either_retained_message_and_publishes_nothing() {
    for by_status in [true, false] {
        let mut bench = Bench::new(Confirm::Broker, 5);
        // Happened since the start: the cloud cannot know of it.
        bench.last = 9;
        bench.session.journal_is(&"j".into(), 0, 9);
        bench.connect("s", 10);
        if by_status {
            bench.session.status_seen(&status("before", "j", 6), RETAINED, bench.now);
        } else {
            bench.committed("j", 6);
        }
        bench.wait(SECOND);
        assert!(matches!(bench.effects()[..], [Effect::BeginNewJournal { .. }]));
        let new: Arc<str> = "k".into();
        bench.session.journal_is(&new, 0, 9);
        bench.session.renewed();
        assert_eq!(bench.effects(), [Effect::Disconnect]);
        bench.session.disconnected(End::Broken, bench.now);
        assert_eq!(bench.effects(), [Effect::Connect { last: 9 }]);
    }
}

#[test]
fn what_is_ahead_of_us_and_not_retained_or_too_late_is_told_once_a_minute_and_nothing_more() {
    let mut bench = Bench::new(Confirm::Cloud, 5);
    bench.connect("s", 10);
    // Before we are online, but of now: nobody can know of it.
    bench.committed_as("j", 6, false);
    bench.wait(SECOND);
    let effects = bench.effects();
    let ignored = |through, count| Effect::Ignored { journal: "j".into(), through, count };
    assert!(effects.contains(&ignored(6, 1)), "{effects:?}");
    assert!(bench.session.is_online());
    for through in 7..20 {
        bench.committed_as("j", through, RETAINED);
        bench.session.status_seen(&status("forged", "j", through), false, bench.now);
    }
    bench.wait(SECOND);
    assert!(!bench.effects().iter().any(|effect| matches!(effect, Effect::Ignored { .. })));
    bench.wait(60 * SECOND);
    let effects = bench.effects();
    assert!(effects.contains(&ignored(19, 26)), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::BeginNewJournal { .. })));
    assert_eq!(bench.session.cursor(), 0, "nothing counts as delivered by it");
}

#[test]
fn a_new_journal_is_begun_once_a_day() {
    let mut bench = Bench::new(Confirm::Broker, 5);
    let mut begun = 0;
    for (hours, journal) in [(0, "j"), (1, "k"), (22, "k"), (2, "k")] {
        bench.now = bench.now + Duration::from_secs(hours * 3600);
        bench.session.disconnected(End::Broken, bench.now);
        bench.now = bench.session.deadline(bench.now).max(bench.now);
        bench.effects();
        bench.session.connected("s", 10, bench.now);
        bench.session.status_seen(&status("forged", journal, 1_000_000), RETAINED, bench.now);
        bench.session.subscribed(bench.now);
        bench.wait(SECOND);
        if bench.effects().iter().any(|effect| matches!(effect, Effect::BeginNewJournal { .. })) {
            begun += 1;
            bench.session.journal_is(&"k".into(), 0, 0);
            bench.session.renewed();
            bench.effects();
        }
    }
    assert_eq!(begun, 2);
}

#[test]
fn another_journal_and_what_we_told_ourselves_are_no_old_copy() {
    let mut bench = Bench::new(Confirm::Broker, 5);
    bench.connect("s", 10);
    bench.session.status_seen(&status("before", "other", 99), RETAINED, bench.now);
    bench.committed("j", 5);
    assert!(matches!(bench.effects()[..], [Effect::Status { .. }, ..]));
}

#[test]
fn the_window_is_the_brokers_and_at_most_a_hundred() {
    for (receive_maximum, window) in [(3, 3), (20, 20), (u16::MAX, WINDOW)] {
        let mut bench = Bench::new(Confirm::Broker, 1000);
        bench.online(receive_maximum);
        let published = bench.published();
        assert_eq!(published.len(), window);
        bench.ack(&published[..2], &Ack::Accepted);
        assert_eq!(bench.sequences(), [window as u64 + 1, window as u64 + 2]);
    }
}

#[test]
fn the_cursor_is_where_everything_before_is_acknowledged() {
    let mut bench = Bench::new(Confirm::Broker, 4);
    bench.online(10);
    let published = bench.published();
    bench.ack(&[published[1], published[3]], &Ack::Accepted);
    assert_eq!(bench.effects(), []);
    bench.ack(&published[..1], &Ack::Accepted);
    assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 2 }]);
    bench.ack(&published, &Ack::Accepted);
    assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 4 }]);
}

#[test]
fn after_a_refusal_everything_from_there_on_is_sent_again_one_by_one_at_first() {
    for refusal in [Ack::NoSubscribers, Ack::Refused("not authorized".into())] {
        let mut bench = Bench::new(Confirm::Broker, 6);
        bench.online(4);
        let published = bench.published();
        bench.ack(&published[..1], &Ack::Accepted);
        bench.ack(&published[1..2], &refusal);
        bench.ack(&published[2..], &Ack::Accepted);
        assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 1 }]);
        assert!(bench.session.trouble().is_some());

        let mut waits = Vec::new();
        for _ in 0..9 {
            let before = bench.now;
            bench.now = bench.session.deadline(bench.now);
            waits.push(bench.now.since(before));
            let again = bench.published();
            assert_eq!(again.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [2]);
            bench.ack(&again, &refusal);
        }
        assert!(waits[0] >= SECOND / 2 && waits[0] <= SECOND, "{waits:?}");
        assert!(waits[8] >= 30 * SECOND && waits[8] <= 60 * SECOND, "{waits:?}");

        bench.now = bench.session.deadline(bench.now);
        let again = bench.published();
        bench.ack(&again, &Ack::Accepted);
        assert_eq!(bench.session.trouble(), None);
        assert_eq!(bench.sequences(), [3, 4, 5, 6]);
    }
}

#[test]
fn what_the_cloud_does_not_confirm_comes_again_the_oldest_window_only() {
    let mut bench = Bench::new(Confirm::Cloud, 10);
    bench.online(4);
    for expected in [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10], vec![]] {
        let published = bench.published();
        assert_eq!(published.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), expected);
        bench.ack(&published, &Ack::Accepted);
    }
    assert_eq!(bench.session.cursor(), 0);

    let mut waits = Vec::new();
    for _ in 0..8 {
        let before = bench.now;
        bench.now = bench.session.deadline(bench.now);
        waits.push(bench.now.since(before));
        let again = bench.published();
        assert_eq!(again.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
        bench.ack(&again, &Ack::Accepted);
        assert!(bench.sequences().is_empty());
    }
    assert!(waits[0] >= 30 * SECOND && waits[0] <= 31 * SECOND, "{waits:?}");
    assert!(waits[7] >= 300 * SECOND && waits[7] <= 600 * SECOND, "{waits:?}");
    assert!(matches!(bench.session.trouble(), Some(Trouble::Unconfirmed { from: 1, is_hole: false })));

    // It took the whole round: the next one follows at once. Then it has everything.
    bench.committed("j", 4);
    assert_eq!(bench.session.trouble(), None);
    assert_eq!(bench.sequences(), [5, 6, 7, 8]);
    bench.committed("j", 10);
    assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 10 }]);
    bench.wait(700 * SECOND);
    assert!(bench.sequences().is_empty());
}

#[test]
fn a_consumer_that_acknowledges_what_it_has_not_stored_gets_it_again_and_is_named() {
    let mut bench = Bench::new(Confirm::Cloud, 6);
    bench.online(10);
    let published = bench.published();
    bench.ack(&published, &Ack::Accepted);
    // It has 1, 2, 4, 5 and 6.
    bench.committed_as("j", 2, false);
    assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 2 }]);
    for _ in 0..5 {
        bench.now = bench.session.deadline(bench.now);
        let again = bench.published();
        assert_eq!(again.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [3, 4, 5, 6]);
        bench.ack(&again, &Ack::Accepted);
        // What stands still says so again.
        bench.committed_as("j", 2, false);
        assert_eq!(bench.session.cursor(), 2);
        let trouble = bench.session.trouble().unwrap();
        assert_eq!(*trouble, Trouble::Unconfirmed { from: 3, is_hole: true });
        let sentence = trouble.to_string();
        assert!(sentence.contains("sequence 3") && sentence.contains("acknowledge what it has not stored"));
    }
    bench.committed_as("j", 6, false);
    assert_eq!(bench.session.trouble(), None);
    assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 6 }]);
}

#[test]
fn a_keeper_that_is_one_too_high_moves_nothing_and_what_happens_then_is_sent() {
    let mut bench = Bench::new(Confirm::Cloud, 5);
    bench.online(10);
    let published = bench.published();
    bench.ack(&published, &Ack::Accepted);
    bench.committed_as("j", 6, false);
    let effects = bench.effects();
    assert_eq!(effects, [Effect::Ignored { journal: "j".into(), through: 6, count: 1 }]);
    assert_eq!((bench.session.cursor(), bench.session.named()), (0, None));
    bench.last = 6;
    bench.session.journal_is(&"j".into(), 0, 6);
    assert_eq!(bench.sequences(), [6]);
    // Where it is right, it counts.
    bench.committed_as("j", 6, false);
    assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 6 }]);
    assert_eq!(bench.session.named(), Some("j"));
}

#[test]
fn a_disk_that_the_broker_does_not_know_is_noticed_before_anything_was_delivered() {
    for (delivered, journal, known_as) in
        [(0, "old", Some("old")), (0, "j", None), (0, "kept", None), (1, "old", None)]
    {
        for by_status in [true, false] {
            let session = Session::new(Confirm::Broker, "j".into(), delivered, 5, 7, Mono::ZERO);
            let mut bench = Bench { session, now: Mono::ZERO, last: 5 };
            bench.session.kept_are(vec![kept("kept", 4, 4)]);
            bench.connect("s", 10);
            if by_status {
                bench.session.status_seen(&status("before", journal, 3), RETAINED, bench.now);
            } else {
                bench.committed(journal, 3);
            }
            assert_eq!(bench.session.known_as(), known_as, "{journal} after {delivered}");
        }
    }
}

#[test]
fn only_our_journals_confirmations_count_and_only_in_that_mode() {
    for (confirm, journal, cursor) in
        [(Confirm::Cloud, "j", 2), (Confirm::Cloud, "other", 0), (Confirm::Broker, "j", 0)]
    {
        let mut bench = Bench::new(confirm, 3);
        bench.online(10);
        bench.effects();
        bench.committed(journal, 2);
        assert_eq!(bench.session.cursor(), cursor);
    }
}

#[test]
fn what_the_cloud_has_already_is_not_sent() {
    let mut bench = Bench::new(Confirm::Cloud, 5);
    bench.connect("s", 10);
    bench.committed("j", 3);
    bench.wait(SECOND);
    assert_eq!(bench.sequences(), [4, 5]);
}

#[test]
fn a_broken_connection_forgets_what_was_under_way_and_begins_at_the_cursor() {
    let mut bench = Bench::new(Confirm::Broker, 5);
    bench.online(10);
    let published = bench.published();
    bench.ack(&published[..2], &Ack::Accepted);
    bench.effects();
    bench.session.disconnected(End::Broken, bench.now);
    assert_eq!(bench.effects(), []);
    let wait = bench.session.deadline(bench.now).since(bench.now);
    assert!(wait <= 10 * SECOND, "{wait:?}");
    bench.wait(wait);
    bench.online(10);
    // A late answer of the old connection says nothing.
    bench.ack(&published[2..], &Ack::Accepted);
    assert_eq!(bench.sequences(), [3, 4, 5]);
    assert_eq!(bench.session.cursor(), 2);
}

#[test]
fn waits_between_connections_grow_to_a_minute() {
    let mut bench = Bench::new(Confirm::Broker, 0);
    let mut last = Duration::ZERO;
    for _ in 0..10 {
        assert!(matches!(bench.effects()[..], [Effect::Connect { .. }]));
        bench.session.disconnected(End::Broken, bench.now);
        last = bench.session.deadline(bench.now).since(bench.now);
        bench.wait(last);
    }
    assert!(last >= 30 * SECOND && last <= 60 * SECOND, "{last:?}");
}

#[test]
fn a_broker_that_owes_an_acknowledgement_for_a_minute_is_left() {
    let mut bench = Bench::new(Confirm::Broker, 3);
    bench.online(10);
    let published = bench.published();
    bench.wait(30 * SECOND);
    bench.ack(&published[..1], &Ack::Accepted);
    let after = bench.session.counts().acknowledged_after;
    assert_eq!((after.count(), after.sum()), (1, 30 * SECOND));
    bench.effects();
    assert_eq!(bench.session.deadline(bench.now), bench.now + 30 * SECOND);
    bench.wait(30 * SECOND);
    assert_eq!(bench.effects(), [Effect::Disconnect]);
}

#[test]
fn anothers_status_is_replaced_once_a_second_and_our_own_is_not() {
    let mut bench = Bench::new(Confirm::Broker, 0);
    bench.online(10);
    bench.effects();
    bench.wait(SECOND);
    bench.session.status_seen(&status("s", "j", 0), false, bench.now);
    assert_eq!(bench.effects(), []);
    bench.session.status_seen(&status("late will", "j", 0), false, bench.now);
    assert_eq!(bench.effects(), [Effect::Status { online: true, last: 0 }]);
    bench.session.status_seen(&status("late will", "j", 0), false, bench.now);
    assert_eq!(bench.effects(), []);
    assert_eq!(bench.session.deadline(bench.now), bench.now + SECOND);
    bench.wait(SECOND);
    assert_eq!(bench.effects(), [Effect::Status { online: true, last: 0 }]);
}

#[test]
fn a_lost_connection_is_made_again_within_ten_seconds_and_the_first_one_at_once() {
    let mut waits = Vec::new();
    for (seed, held) in (0..400).zip([1, 59, 61, 3600].into_iter().cycle()) {
        let mut bench = Bench {
            session: Session::new(Confirm::Broker, "j".into(), 0, 0, seed, Mono::ZERO),
            ..Bench::new(Confirm::Broker, 0)
        };
        bench.online(10);
        bench.effects();
        bench.wait(held * SECOND);
        bench.session.disconnected(End::Broken, bench.now);
        waits.push(bench.session.deadline(bench.now).since(bench.now));
        // What fails then is tried again soon.
        bench.now = bench.session.deadline(bench.now);
        bench.effects();
        bench.session.disconnected(End::Broken, bench.now);
        let again = bench.session.deadline(bench.now).since(bench.now);
        assert!(again >= 2 * SECOND && again <= 4 * SECOND, "{again:?}");
    }
    for second in 0..10 {
        let within = |wait: &&Duration| **wait >= second * SECOND && **wait < (second + 1) * SECOND;
        let count = waits.iter().filter(within).count();
        assert!((15..=70).contains(&count), "{count} of {} in second {second}", waits.len());
    }
    assert!(waits.iter().all(|wait| *wait <= 10 * SECOND));
}

#[test]
fn another_client_of_our_id_is_noticed_between_two_connections_and_told_for_a_quarter_of_an_hour() {
    let mut bench = Bench::new(Confirm::Broker, 9);
    bench.online(10);
    bench.effects();
    let rival = |yields| Some(Rival { journal: Some("other".to_owned()), yields });
    for (session, last, known) in [("s", 3, None), ("strange", 3, rival(false)), ("strange", 30, rival(true))]
    {
        bench.session.disconnected(End::Broken, bench.now);
        bench.now = bench.session.deadline(bench.now);
        bench.connect("t", 10);
        bench.session.status_seen(&status(session, "other", last), RETAINED, bench.now);
        assert_eq!(bench.session.rival(bench.now), known);
        bench.wait(SECOND);
        bench.effects();
    }
    bench.wait(15 * 60 * SECOND);
    assert_eq!(bench.session.rival(bench.now), None);
}

#[test]
fn a_session_of_which_we_never_heard_is_our_own() {
    let mut bench = Bench::new(Confirm::Broker, 0);
    bench.online(10);
    bench.effects();
    bench.session.disconnected(End::Broken, bench.now);
    bench.now = bench.session.deadline(bench.now);
    bench.effects();
    bench.session.connecting("unheard");
    bench.session.disconnected(End::Broken, bench.now);
    bench.now = bench.session.deadline(bench.now);
    bench.connect("t", 10);
    bench.session.status_seen(&status("unheard", "j", 0), RETAINED, bench.now);
    assert_eq!(bench.session.rival(bench.now), None);
}

#[test]
fn another_gateway_that_answers_our_status_with_its_own_is_answered_ever_more_seldom() {
    // At two brokers with a bridge neither throws the other out.
    let mut bench = Bench::new(Confirm::Broker, 0);
    bench.online(10);
    bench.effects();
    let its = StatusSeen { status: Some("online".into()), ..status("strange", "other", 3) };
    let mut answers = 0;
    for _ in 0..3600 {
        bench.wait(SECOND);
        bench.session.status_seen(&its, false, bench.now);
        answers += bench.effects().iter().filter(|effect| matches!(effect, Effect::Status { .. })).count();
    }
    assert!((50..=70).contains(&answers), "{answers}");
    assert!(bench.session.rival(bench.now).is_some());
}

#[test]
fn a_good_bye_waits_for_what_is_under_way_and_not_for_ever() {
    for answered in [true, false] {
        let mut bench = Bench::new(Confirm::Broker, 3);
        bench.online(2);
        let published = bench.published();
        bench.session.status_acknowledged(bench.now);
        bench.session.shut_down(bench.now);
        assert_eq!(bench.effects(), [Effect::Status { online: false, last: 3 }]);
        if answered {
            bench.ack(&published, &Ack::Accepted);
            assert_eq!(bench.effects(), [Effect::Delivered { journal: "j".into(), through: 2 }]);
            bench.session.status_acknowledged(bench.now);
        } else {
            assert_eq!(bench.session.deadline(bench.now), bench.now + CLOSE);
            bench.wait(CLOSE);
        }
        assert_eq!(bench.effects(), [Effect::Disconnect]);
        bench.session.disconnected(End::Broken, bench.now);
        assert!(bench.session.is_done());
    }
}

#[test]
fn a_good_bye_before_anything_was_published_says_nothing() {
    let mut waiting = Bench::new(Confirm::Broker, 0);
    waiting.session.shut_down(waiting.now);
    assert!(waiting.session.is_done());

    let mut settling = Bench::new(Confirm::Broker, 3);
    settling.connect("s", 10);
    settling.session.shut_down(settling.now);
    assert_eq!(settling.effects(), [Effect::Disconnect]);
    settling.session.disconnected(End::Broken, settling.now);
    assert!(settling.session.is_done());
}

fn kept(journal: &str, delivered: u64, last: u64) -> Kept {
    Kept { journal: journal.into(), delivered, last }
}

impl Bench {
    /// The reads that it asks for, answered, and what else it does.
    fn reads(&mut self, last_of: impl Fn(&str) -> u64) -> (Vec<(String, u64)>, Vec<Effect>) {
        let (mut reads, mut effects) = (Vec::new(), Vec::new());
        while let Some(effect) = self.session.poll(self.now) {
            match effect {
                Effect::Read { id, journal, from, limit } => {
                    reads.push((journal.to_string(), from));
                    let event = |sequence| Event { sequence, payload: journal.to_string() };
                    self.session.read(id, (from..=last_of(&journal)).take(limit).map(event).collect());
                }
                effect => effects.push(effect),
            }
        }
        (reads, effects)
    }
}

fn payloads(effects: &[Effect]) -> Vec<(Token, String, u64)> {
    let publish = |effect: &Effect| match effect {
        Effect::Publish { token, event } => Some((*token, event.payload.clone(), event.sequence)),
        _ => None,
    };
    effects.iter().filter_map(publish).collect()
}

#[test]
fn what_is_not_delivered_of_a_kept_journal_goes_after_what_is_new_and_is_noted_there() {
    let last_of = |journal: &str| if journal == "m" { 4 } else { 2 };
    let mut bench = Bench::new(Confirm::Broker, 2);
    bench.session.kept_are(vec![kept("m", 1, 4), kept("done", 9, 9)]);
    bench.online(20);
    let (reads, effects) = bench.reads(last_of);
    assert_eq!(reads, [("j".to_owned(), 1), ("m".to_owned(), 2)]);
    let published = payloads(&effects);
    let shown: Vec<_> =
        published.iter().map(|(_, journal, sequence)| (journal.as_str(), *sequence)).collect();
    assert_eq!(shown, [("j", 1), ("j", 2), ("m", 2), ("m", 3), ("m", 4)]);
    for (token, ..) in &published {
        bench.session.acknowledged(*token, Ack::Accepted, bench.now);
    }
    let delivered = |journal: &str, through| Effect::Delivered { journal: journal.into(), through };
    assert_eq!(bench.reads(last_of).1, [delivered("j", 2), delivered("m", 4)]);
    // Once is enough.
    bench.session.disconnected(End::Broken, bench.now);
    bench.wait(60 * SECOND);
    bench.online(20);
    assert_eq!(payloads(&bench.reads(last_of).1), []);
}

#[test]
fn a_kept_journal_is_sent_on_each_connection_until_the_cloud_has_it() {
    let last_of = |journal: &str| if journal == "m" { 2 } else { 0 };
    let mut bench = Bench::new(Confirm::Cloud, 0);
    bench.session.kept_are(vec![kept("m", 0, 2)]);
    for _ in 0..2 {
        bench.online(20);
        let published = payloads(&bench.reads(last_of).1);
        assert_eq!(published.len(), 2);
        for (token, ..) in &published {
            bench.session.acknowledged(*token, Ack::Accepted, bench.now);
        }
        assert_eq!(bench.reads(last_of).1, [], "the broker has it, and the cloud may not");
        bench.session.disconnected(End::Broken, bench.now);
        bench.wait(60 * SECOND);
    }
    bench.online(20);
    bench.reads(last_of);
    bench.committed("m", 7);
    let delivered = Effect::Delivered { journal: "m".into(), through: 2 };
    assert!(bench.reads(last_of).1.contains(&delivered));
    bench.session.disconnected(End::Broken, bench.now);
    bench.wait(60 * SECOND);
    bench.online(20);
    assert_eq!(payloads(&bench.reads(last_of).1), []);
}

#[test]
fn the_cloud_may_ask_for_a_kept_journal_again() {
    let last_of = |journal: &str| if journal == "m" { 4 } else { 0 };
    let mut bench = Bench::new(Confirm::Broker, 0);
    bench.session.kept_are(vec![kept("m", 4, 4)]);
    bench.online(20);
    bench.reads(last_of);
    let id = bench.session.replay("m", 3, 99).unwrap();
    assert!(bench.session.replay("x", 3, 99).unwrap_err().is_unknown());
    let published = payloads(&bench.reads(last_of).1);
    assert_eq!(published.iter().map(|(.., sequence)| *sequence).collect::<Vec<_>>(), [3, 4]);
    for (token, ..) in &published {
        bench.session.acknowledged(*token, Ack::Accepted, bench.now);
    }
    let replayed = Effect::Replayed { id, end: ReplayEnd::Sent { events: 2, absent: Vec::new() } };
    assert_eq!(bench.reads(last_of).1, [replayed]);
}

#[test]
fn a_replay_says_what_is_not_in_the_journal_and_nothing_of_what_has_yet_to_happen() {
    let session = Session::new(Confirm::Broker, "j".into(), 8, 8, 7, Mono::ZERO);
    let mut bench = Bench { session, now: Mono::ZERO, last: 8 };
    bench.online(20);
    let id = bench.session.replay("j", 1, 99).unwrap();
    // 1 to 3 and 6 are gone; 9 happens while the broker has the others.
    let there = [4, 5, 7, 8, 9];
    let mut ended = Vec::new();
    while let Some(effect) = bench.session.poll(bench.now) {
        match effect {
            Effect::Read { id, from, limit, .. } => {
                let events = there.into_iter().filter(|number| (from..=bench.last).contains(number));
                let event = |sequence| Event { sequence, payload: String::new() };
                bench.session.read(id, events.take(limit).map(event).collect());
            }
            Effect::Publish { token, .. } => {
                bench.last = 9;
                bench.session.journal_is(&"j".into(), 8, 9);
                bench.session.acknowledged(token, Ack::Accepted, bench.now);
            }
            effect @ Effect::Replayed { .. } => ended.push(effect),
            _ => {}
        }
    }
    let end = ReplayEnd::Sent { events: 5, absent: vec![(1, 3), (6, 6)] };
    assert_eq!(ended, [Effect::Replayed { id, end }]);
}

#[test]
fn sixteen_replays_wait_and_a_lost_connection_repeats_the_batch_that_was_under_way() {
    let session = Session::new(Confirm::Broker, "j".into(), 120, 120, 7, Mono::ZERO);
    let mut bench = Bench { session, now: Mono::ZERO, last: 120 };
    bench.online(100);
    bench.effects();
    let mut waiting: Vec<ReplayId> = (0..16).map(|_| bench.session.replay("j", 1, 120).unwrap()).collect();
    let refused = bench.session.replay("j", 1, 120).unwrap_err();
    assert_eq!((refused.is_unknown(), refused.to_string().as_str()), (false, "16 replays are under way"));

    // One batch at a time; the next one when the broker has all of it.
    let first = bench.published();
    assert_eq!(first.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    bench.ack(&first[..49], &Ack::Accepted);
    assert!(bench.sequences().is_empty());
    bench.ack(&first[49..], &Ack::Accepted);
    let second = bench.published();
    bench.ack(&second[..30], &Ack::Accepted);
    bench.session.disconnected(End::Broken, bench.now);
    bench.now = bench.session.deadline(bench.now);
    bench.online(100);
    let again = bench.published();
    assert_eq!(
        again.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(),
        (51..=100).collect::<Vec<_>>()
    );
    bench.ack(&again, &Ack::Accepted);

    let mut ended = Vec::new();
    loop {
        let effects = bench.effects();
        if effects.is_empty() {
            break;
        }
        for effect in effects {
            match effect {
                Effect::Publish { token, .. } => bench.session.acknowledged(token, Ack::Accepted, bench.now),
                Effect::Replayed { id, end } => {
                    assert_eq!(end, ReplayEnd::Sent { events: 120, absent: Vec::new() });
                    ended.push(id);
                }
                _ => {}
            }
        }
    }
    assert_eq!(ended, waiting, "in the order in which they were asked for");
    waiting.clear();
    assert!(bench.session.replay("j", 1, 120).is_ok());
}

#[test]
fn status_names_the_journal_that_events_go_into_now_and_the_cursor_is_its_own() {
    let mut bench = Bench::new(Confirm::Broker, 5);
    bench.online(20);
    let published = bench.published();
    bench.ack(&published, &Ack::Accepted);
    bench.effects();
    bench.last = 1;
    bench.session.journal_is(&"m".into(), 0, 1);
    bench.wait(SECOND);
    let effects = bench.effects();
    assert_eq!(effects[0], Effect::Status { online: true, last: 1 });
    assert_eq!(payloads(&effects).iter().map(|(.., sequence)| *sequence).collect::<Vec<_>>(), [1]);
    // And back: nothing of it is sent again.
    bench.last = 6;
    bench.session.kept_are(vec![kept("m", 0, 1)]);
    bench.session.journal_is(&"j".into(), 5, 6);
    bench.wait(SECOND);
    let effects = bench.effects();
    assert_eq!(effects[0], Effect::Status { online: true, last: 6 });
    let shown: Vec<_> = payloads(&effects).iter().map(|(.., sequence)| *sequence).collect();
    assert_eq!(shown, [6, 1], "what is new, then what was not acknowledged of the kept one");
}

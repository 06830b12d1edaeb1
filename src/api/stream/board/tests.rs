use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::api::{Tokens, stream::asked::LastSeen};

const OURS: &str = "9f3c2a41";
const OTHER: &str = "00000001";

struct Rig {
    board: Board,
    tokens: Tokens,
    now: Mono,
    _dir: tempfile::TempDir,
}

/// Events of a journal as messages.
fn events(journal: &str, sequences: impl IntoIterator<Item = u64>) -> Vec<(u64, Bytes)> {
    let event = |sequence| (sequence, frames::event(journal, sequence, "{}"));
    sequences.into_iter().map(event).collect()
}

fn text(text: &str) -> Bytes {
    frames::message(text, &text)
}

/// What messages say: the names of states, the ids of events, the whole data of a gap and an end.
fn said(messages: &Bytes) -> Vec<String> {
    let text = std::str::from_utf8(messages).unwrap();
    let message = |message: &str| {
        let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
        match (field("id: "), field("event: "), field("data: ")) {
            (Some(id), Some("event"), Some("{}")) => id.to_owned(),
            (None, Some(name @ ("gap" | "end")), Some(data)) => format!("{name} {data}"),
            (None, Some(name), Some(_)) => name.to_owned(),
            (None, None, None) if message == ":" => "comment".to_owned(),
            _ => panic!("{message}"),
        }
    };
    assert!(text.ends_with("\n\n"), "{text}");
    text.trim_end_matches('\n').split("\n\n").map(message).collect()
}

fn gap(from: u64, to: u64) -> String {
    format!("gap {{\"journal\":\"{OURS}\",\"from\":{from},\"to\":{to}}}")
}

fn ids(sequences: impl IntoIterator<Item = u64>) -> Vec<String> {
    sequences.into_iter().map(|sequence| format!("{OURS}-{sequence}")).collect()
}

fn seen(journal: &str, sequence: u64) -> Option<LastSeen> {
    Some(LastSeen { journal: journal.to_owned(), sequence })
}

impl Rig {
    /// A board of our journal, behind this event.
    fn new(last: u64) -> Self {
        let mut rig = Self::unopened();
        rig.board.journal_is(rig.now, &OURS.into(), last);
        rig
    }

    /// A board whose journal is not open yet.
    fn unopened() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("tokens.json")).unwrap();
        tokens.add("a", false, jiff::Timestamp::UNIX_EPOCH).unwrap();
        tokens.add("b", false, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let mut rig = Self { board: Board::new(), tokens, now: Mono::from_nanos(1), _dir: dir };
        rig.set(Kind::Panel, 0, "panel");
        rig
    }

    fn set(&mut self, kind: Kind, place: usize, name: &str) {
        self.board.set(self.now, kind, place, text(name), true);
    }

    fn join(&mut self, last_seen: Option<LastSeen>) -> u64 {
        let token = self.tokens.list().swap_remove(0);
        self.board.join(self.now, token, Asked { last_seen, watch: None }).expect("a place")
    }

    /// Joins, and takes the states.
    fn joined(&mut self, last_seen: Option<LastSeen>) -> u64 {
        let reader = self.join(last_seen);
        assert_eq!(self.take(reader), ["panel"]);
        reader
    }

    fn pass(&mut self, time: Duration) -> Vec<u64> {
        self.now = self.now + time;
        self.board.advance(self.now)
    }

    fn happen(&mut self, sequences: impl IntoIterator<Item = u64>) {
        self.board.events(self.now, events(OURS, sequences));
    }

    /// The next messages.
    fn take(&mut self, reader: u64) -> Vec<String> {
        match self.board.next(self.now, reader) {
            Next::Send(messages) => said(&messages),
            other => panic!("{other:?}"),
        }
    }

    /// All messages up to now, where the journal has these events.
    fn take_all(&mut self, reader: u64, journal: impl Fn(u64) -> Vec<u64>) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let next = match self.board.next(self.now, reader) {
                Next::Read { journal: of, from } => {
                    assert_eq!(&*of, OURS);
                    self.board.supply(self.now, reader, OURS, events(OURS, journal(from)))
                }
                next => next,
            };
            match next {
                Next::Send(messages) => all.extend(said(&messages)),
                Next::Wait | Next::Over => return all,
                Next::Read { .. } => {}
            }
        }
    }

    fn none(_: u64) -> Vec<u64> {
        panic!("nothing is to be read")
    }
}

#[test]
fn a_reader_gets_all_states_in_order_and_then_the_newest_of_what_changes() {
    let mut rig = Rig::new(7);
    rig.set(Kind::Health, 0, "health");
    rig.set(Kind::Bus, 0, "bus");
    rig.set(Kind::Line, 0, "line");
    rig.set(Kind::Line, 1, "line2");
    rig.board.comment(rig.now);
    let reader = rig.join(None);
    assert_eq!(rig.take(reader), ["panel", "line", "line2", "bus", "health"]);
    assert_eq!(rig.board.next(rig.now, reader), Next::Wait);
    rig.set(Kind::Line, 1, "off");
    rig.set(Kind::Line, 1, "on");
    rig.board.set(rig.now, Kind::Line, 0, text("measured"), false);
    rig.board.is_gone(rig.now, text("gone"));
    rig.board.comment(rig.now);
    assert_eq!(rig.take(reader), ["on", "gone", "comment"]);
    assert_eq!(rig.board.next(rig.now, reader), Next::Wait);
    rig.board.truncate(Kind::Line, 1);
    let later = rig.join(None);
    assert_eq!(rig.take(later), ["panel", "measured", "bus", "health"], "as it is now");
}

#[test]
fn events_come_behind_the_states_and_begin_where_the_reader_joined_or_left_off() {
    let mut rig = Rig::new(7);
    let reader = rig.join(None);
    rig.happen([8]);
    assert_eq!(rig.take_all(reader, Rig::none), ["panel", "9f3c2a41-8"]);
    rig.happen([8, 9]);
    rig.set(Kind::Panel, 0, "online");
    assert_eq!(rig.take_all(reader, Rig::none), ["9f3c2a41-9", "online"], "no event twice");
    rig.set(Kind::Panel, 0, "panel");

    let again = rig.joined(seen(OURS, 8));
    assert_eq!(rig.take_all(again, Rig::none), ids([9]), "it is still here");
    let nothing_new = rig.joined(seen(OURS, 9));
    assert_eq!(rig.board.next(rig.now, nothing_new), Next::Wait);
    let long_away = rig.joined(seen(OURS, 2));
    let three = |from: u64| (from..=9).take(3).collect();
    assert_eq!(rig.take_all(long_away, three), ids(3..=9));
    rig.happen([10]);
    for reader in [reader, again, nothing_new, long_away] {
        let mut news = ids([10]);
        // It was here when that changed.
        news.extend((reader == 1).then(|| "panel".to_owned()));
        assert_eq!(rig.take_all(reader, Rig::none), news);
    }
}

#[test]
fn what_is_gone_is_told_as_a_gap_with_what_there_is_behind_it() {
    let mut rig = Rig::new(9);
    let kept = |from: u64| (from.max(5)..=9).collect::<Vec<_>>();
    let pruned = rig.joined(seen(OURS, 2));
    assert_eq!(rig.take_all(pruned, kept), [vec![gap(3, 4)], ids(5..=9)].concat());
    let complete = rig.joined(seen(OURS, 4));
    assert_eq!(rig.take_all(complete, kept), ids(5..=9), "nothing is missing");
    for strange in [seen(OTHER, 3), seen(OURS, 10)] {
        let strange = rig.joined(strange);
        assert_eq!(rig.take_all(strange, kept), [vec![gap(1, 4)], ids(5..=9)].concat());
    }
    let all_gone = rig.joined(seen(OURS, 2));
    assert_eq!(rig.take_all(all_gone, |_| Vec::new()), [gap(3, 9)]);
    // A hole among what happens, and one behind it.
    rig.happen([11, 14]);
    rig.board.events_are_gone(rig.now, 16);
    let rest = [vec![gap(10, 10)], ids([11]), vec![gap(12, 13)], ids([14]), vec![gap(15, 16)]].concat();
    assert_eq!(rig.take_all(all_gone, Rig::none), rest);
    assert_eq!(rig.take_all(pruned, Rig::none), rest);
}

#[test]
fn another_journal_is_told_even_where_it_is_empty_and_given_whole() {
    let mut rig = Rig::new(0);
    let strange = rig.joined(seen(OTHER, 3));
    assert_eq!(rig.take_all(strange, Rig::none), [gap(1, 0)]);
    rig.happen([1]);
    assert_eq!(rig.take_all(strange, Rig::none), ids([1]));

    let mut rig = Rig::unopened();
    rig.board.journal_is(rig.now, &OTHER.into(), 70);
    let reader = rig.joined(None);
    rig.board.events(rig.now, events(OTHER, 71..=72));
    assert_eq!(rig.take(reader), ["00000001-71"]);
    // One begins while it reads: what it has not read of the other is not told any more.
    rig.board.journal_is(rig.now, &OURS.into(), 3);
    assert_eq!(rig.take_all(reader, |from| (from..=3).collect()), [vec![gap(1, 0)], ids(1..=3)].concat());
    let late = events(OTHER, [72]);
    assert_eq!(
        rig.board.supply(rig.now, reader, OTHER, late),
        Next::Wait,
        "an answer to what was asked before"
    );
}

#[test]
fn before_the_journal_is_open_readers_wait_for_it_with_what_they_asked() {
    let mut rig = Rig::unopened();
    let (fresh, back) = (rig.joined(None), rig.joined(seen(OURS, 5)));
    for reader in [fresh, back] {
        assert_eq!(rig.board.next(rig.now, reader), Next::Wait);
    }
    rig.board.journal_is(rig.now, &OURS.into(), 7);
    rig.happen([8]);
    assert_eq!(rig.take_all(fresh, Rig::none), ids([8]));
    assert_eq!(rig.take_all(back, |from| (from..=7).collect()), ids(6..=8));
}

#[test]
fn who_is_256_events_behind_for_a_second_is_slow_and_a_burst_is_no_reason() {
    let mut rig = Rig::new(0);
    let (reads, slow) = (rig.joined(None), rig.joined(None));
    rig.happen(1..=256);
    assert_eq!(rig.pass(Duration::from_secs(2)), [0; 0], "exactly that many may wait");
    rig.happen(257..=300);
    assert_eq!(rig.take_all(reads, |from| (from..=300).take(64).collect()), ids(1..=300));
    assert_eq!(rig.pass(BURST - Duration::from_millis(1)), [0; 0]);
    assert_eq!(rig.pass(Duration::from_millis(1)), [0; 0]);
    assert_eq!(rig.take_all(slow, Rig::none), [r#"end {"reason":"slow"}"#], "and not what waited");
    assert_eq!(rig.board.next(rig.now, slow), Next::Over);
    assert_eq!(rig.pass(ENDS_WITHIN), [slow], "to be cut off");
    rig.happen([301]);
    assert_eq!(rig.take_all(reads, Rig::none), ids([301]));
    rig.board.leave(slow);
    assert_eq!(rig.pass(Duration::from_secs(100)), [0; 0], "who waits is not slow, for however long");
}

#[test]
fn who_takes_nothing_for_ten_seconds_is_slow() {
    let mut rig = Rig::new(9);
    let stalled = rig.joined(None);
    assert_eq!(rig.board.next(rig.now, stalled), Next::Wait);
    rig.pass(Duration::from_secs(60));
    rig.set(Kind::Bus, 0, "bus");
    rig.pass(PATIENCE - Duration::from_nanos(1));
    rig.set(Kind::Bus, 0, "bus2");
    assert_eq!(rig.take(stalled), ["bus2"], "just in time");
    assert_eq!(rig.board.next(rig.now, stalled), Next::Wait);
    rig.happen([10, 11]);
    rig.pass(PATIENCE / 2);
    assert_eq!(rig.take(stalled), ids([10]));
    // It has taken something, but the other event waits for ten seconds now.
    rig.pass(PATIENCE / 2);
    assert_eq!(rig.take(stalled), [r#"end {"reason":"slow"}"#]);

    // Who catches up may take its time, as long as it takes anything.
    let back = rig.join(seen(OURS, 0));
    assert_eq!(rig.take(back), ["panel", "bus2"]);
    for from in 1..=8 {
        assert_eq!(rig.pass(PATIENCE - Duration::from_nanos(1)), [stalled; 1]);
        assert_eq!(rig.board.next(rig.now, back), Next::Read { journal: OURS.into(), from });
        let next = rig.board.supply(rig.now, back, OURS, events(OURS, [from]));
        assert_eq!(next, Next::Send(events(OURS, [from]).swap_remove(0).1));
    }
    rig.pass(PATIENCE);
    assert_eq!(rig.take(back), [r#"end {"reason":"slow"}"#]);
}

#[test]
fn a_revocation_ends_the_streams_of_its_token_at_once_and_the_end_those_of_all() {
    let mut rig = Rig::new(9);
    let mine = rig.join(None);
    let token = rig.tokens.list().swap_remove(1);
    let other = rig.board.join(rig.now, token, Asked::default()).unwrap();
    rig.happen([10]);
    rig.tokens.revoke("a").unwrap();
    let tokens = rig.tokens.clone();
    rig.board.revoke(rig.now, |token| tokens.in_force(token));
    assert_eq!(rig.take_all(mine, Rig::none), [r#"end {"reason":"revoked"}"#], "before anything else");
    assert_eq!(rig.take_all(other, Rig::none), ["panel", "9f3c2a41-10"]);
    rig.board.stop(rig.now);
    assert_eq!(rig.board.next(rig.now, mine), Next::Over, "one end is enough");
    assert_eq!(rig.take_all(other, Rig::none), [r#"end {"reason":"stopping"}"#]);
}

#[test]
fn sixteen_read_at_a_time_and_the_last_one_leaves_nothing_behind() {
    let mut rig = Rig::new(9);
    let readers: Vec<u64> = (0..16).map(|_| rig.join(None)).collect();
    let token = rig.tokens.list().swap_remove(0);
    assert_eq!(rig.board.join(rig.now, token.clone(), Asked::default()), None);
    rig.board.leave(readers[3]);
    let watcher = rig.board.join(rig.now, token, Asked { watch: Some((1, 12)), ..Asked::default() }).unwrap();
    rig.board.sample(rig.now, (1, 12), text("sample"));
    rig.board.sample(rig.now, (1, 13), text("nobody's"));
    assert_eq!(rig.take_all(watcher, Rig::none), ["panel", "sample"]);
    assert_eq!(rig.take_all(readers[0], Rig::none), ["panel"], "watched by another");
    rig.happen([10]);
    for reader in readers.into_iter().chain([watcher]) {
        assert!(!rig.board.is_idle());
        rig.board.leave(reader);
        assert_eq!(rig.board.next(rig.now, reader), Next::Over);
    }
    assert!(rig.board.is_idle() && rig.board.states.iter().all(Vec::is_empty));
    assert!(rig.board.events.newest.is_empty() && rig.board.samples.is_empty());
}

/// Something that happens to a board.
#[derive(Clone, Debug)]
enum Act {
    Happen(u64),
    Skip(u64),
    Prune(u64),
    Take(u8),
    Pass(u16),
}

/// Whatever happens, and however a reader reads: every event once and in order, or in a gap, and nothing after the end.
#[test]
fn nothing_is_lost_without_a_word() {
    let act = prop_oneof![
        4 => (1_u64..200).prop_map(Act::Happen),
        1 => (1_u64..5).prop_map(Act::Skip),
        1 => (1_u64..300).prop_map(Act::Prune),
        6 => any::<u8>().prop_map(Act::Take),
        2 => (0_u16..1500).prop_map(Act::Pass),
    ];
    let strategy = (0_u64..50, prop::collection::vec(act, 1..80));
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&strategy, |(from, acts)| {
            let mut rig = Rig::new(50);
            // What the journal has: all up to `last` but what was skipped or pruned.
            let (mut last, mut oldest, mut holes) = (50_u64, 1_u64, Vec::new());
            let reader = rig.joined(seen(OURS, from));
            let (mut next, mut is_over) = (from + 1, false);
            for act in acts {
                match act {
                    Act::Happen(count) => {
                        rig.happen(last + 1..=last + count);
                        last += count;
                    }
                    Act::Skip(count) => {
                        holes.extend(last + 1..=last + count);
                        rig.happen([last + count + 1]);
                        last += count + 1;
                    }
                    Act::Prune(count) => oldest = (oldest + count).min(last + 1),
                    Act::Pass(millis) => drop(rig.pass(Duration::from_millis(millis.into()))),
                    Act::Take(count) => {
                        for _ in 0..count {
                            let gets = match rig.board.next(rig.now, reader) {
                                Next::Read { from, .. } => {
                                    let kept = (from.max(oldest)..=last).filter(|kept| !holes.contains(kept));
                                    let read = events(OURS, kept.take(64));
                                    rig.board.supply(rig.now, reader, OURS, read)
                                }
                                gets => gets,
                            };
                            let Next::Send(messages) = gets else { break };
                            for message in said(&messages) {
                                prop_assert!(!is_over, "{message} after the end");
                                if let Some(sequence) = message.strip_prefix("9f3c2a41-") {
                                    prop_assert_eq!(sequence.parse::<u64>().unwrap(), next);
                                    next += 1;
                                } else if let Some(gap) = message.strip_prefix("gap ") {
                                    let gap: serde_json::Value = serde_json::from_str(gap).unwrap();
                                    prop_assert_eq!(gap["from"].as_u64().unwrap(), next);
                                    let to = gap["to"].as_u64().unwrap();
                                    let is_gone = |gone: u64| holes.contains(&gone) || gone < oldest;
                                    prop_assert!(to >= next && (next..=to).all(is_gone), "{gap}");
                                    next = to + 1;
                                } else {
                                    prop_assert_eq!(message.as_str(), r#"end {"reason":"slow"}"#);
                                    is_over = true;
                                }
                            }
                        }
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

//! What the broker should show of us, and what it shows: the retained topics but for `status`.
//!
//! Invariants:
//! - On every connection everything wanted is published again, and everything that an earlier run published and that
//!   is not wanted any more is cleared.
//! - A topic whose name depends on the configuration is in the file before it is published, so a crash in between
//!   leaves at most a name too many.
//! - What moves to other topics is told on the old ones first, then published on the new ones, and then the old ones are
//!   cleared; each step begins when the broker has taken the one before, and those who read have had time for it.
//!   Whatever ends a move, it begins anew on the next connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::topic::{Root, Topic};
use crate::domain::{Mono, Ordered};

/// How long Home Assistant may take for a step of a move: an entity that is still there when it is told again is a
/// second one of that name, and ignored.
const STEP: Duration = Duration::from_secs(2);

/// Tells Home Assistant, on an entity's topic, to put it aside until its device's message comes.
const MOVED: &str = r#"{"migrate_discovery":true}"#;

/// The retained topics.
#[derive(Debug)]
pub(super) struct Board {
    root: Root,
    wanted: BTreeMap<Topic, Shown>,
    /// To be published: wanted ones are set, others cleared.
    due: BTreeSet<Topic>,
    /// Topics that the broker may have of us.
    remembered: BTreeSet<Topic>,
    /// Given to be published; the broker has not taken them yet.
    open: BTreeSet<Topic>,
    /// Topics of an earlier version that are not wanted because others have taken their place.
    moved: BTreeSet<Topic>,
    /// Those of them that the broker has.
    moving: BTreeSet<Topic>,
    step: Step,
    /// The file does not say what `remembered` says.
    unsaved: bool,
}

#[derive(Debug)]
struct Shown {
    payload: String,
    /// Two payloads with the same mark are no change.
    mark: String,
}

/// How far the move has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Nothing moves.
    #[default]
    Over,
    /// The old topics tell of it.
    Tell,
    /// The new ones come, from a moment on.
    Publish(Mono),
    /// The old ones are cleared at a moment.
    Clear(Mono),
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    root: String,
    topics: Vec<String>,
}

impl Board {
    /// A board for the topics below `root`, with what the file's text remembers; that of another root is dropped, for
    /// the broker lets nobody write below another gateway's.
    pub(super) fn new(root: Root, remembered: &str) -> Self {
        let remembered: BTreeSet<Topic> = serde_json::from_str::<Remembered>(remembered)
            .ok()
            .filter(|remembered| remembered.root == root.as_str())
            .map(|remembered| remembered.topics.iter().filter_map(|topic| topic.parse().ok()).ordered())
            .unwrap_or_default();
        Self {
            root,
            wanted: BTreeMap::new(),
            due: BTreeSet::new(),
            remembered,
            open: BTreeSet::new(),
            moved: BTreeSet::new(),
            moving: BTreeSet::new(),
            step: Step::Over,
            unsaved: false,
        }
    }

    /// Names the topics, as far as the broker has them, whose place those of devices take.
    pub(super) fn moved_are(&mut self, moved: BTreeSet<Topic>) {
        self.moved = moved;
    }

    /// The broker should show `payload`. Published where `mark` differs from the last one.
    pub(super) fn set(&mut self, topic: Topic, payload: String, mark: String) {
        if self.wanted.get(&topic).is_some_and(|shown| shown.mark == mark) {
            return;
        }
        if is_named_by_configuration(&topic) {
            self.unsaved |= self.remembered.insert(topic.clone());
        }
        self.due.insert(topic.clone());
        self.wanted.insert(topic, Shown { payload, mark });
    }

    /// The broker should show none of the topics that `is_gone` picks. Of one whose name does not depend on the
    /// configuration it keeps what it shows, until that is set again.
    pub(super) fn remove(&mut self, is_gone: impl Fn(&Topic) -> bool) {
        self.wanted.retain(|topic, _| !is_gone(topic));
        self.due.retain(|topic| !is_gone(topic));
        let shown = self.remembered.iter().filter(|topic| is_gone(topic) && !self.wanted.contains_key(topic));
        self.due.extend(shown.cloned());
    }

    /// A connection is up, of whose past nothing is known.
    pub(super) fn announce(&mut self) {
        self.open.clear();
        self.due = self.wanted.keys().chain(&self.remembered).cloned().ordered();
        self.moving = self.remembered.intersection(&self.moved).cloned().ordered();
        self.step = if self.moving.is_empty() { Step::Over } else { Step::Tell };
    }

    /// The next topic to publish, and its payload: an empty one clears it.
    pub(super) fn next(&mut self, now: Mono) -> Option<(Topic, String)> {
        self.advance(now);
        let waits = |topic: &Topic| match self.step {
            Step::Tell => is_device(topic),
            Step::Publish(from) => is_device(topic) && now < from,
            Step::Clear(_) | Step::Over => false,
        };
        let topic = self.due.iter().find(|topic| !waits(topic)).cloned()?;
        self.due.remove(&topic);
        self.open.insert(topic.clone());
        let payload = match self.wanted.get(&topic) {
            Some(shown) => shown.payload.clone(),
            None if self.step == Step::Tell && self.moving.contains(&topic) => MOVED.to_owned(),
            None => String::new(),
        };
        Some((topic, payload))
    }

    /// The broker has done what [`Board::next`] said of `topic`. What it refuses stays as it is: nothing is cleared before
    /// what takes its place is there.
    pub(super) fn done(&mut self, topic: &Topic) {
        self.open.remove(topic);
        if !self.wanted.contains_key(topic) && !self.moving.contains(topic) {
            self.unsaved |= self.remembered.remove(topic);
        }
    }

    fn advance(&mut self, now: Mono) {
        let is_under_way = |is_it: &dyn Fn(&Topic) -> bool| self.due.iter().chain(&self.open).any(is_it);
        match self.step {
            Step::Tell if !is_under_way(&|topic| self.moving.contains(topic)) => {
                self.step = Step::Publish(now + STEP);
            }
            Step::Publish(from) if from <= now && !is_under_way(&is_device) => {
                self.step = Step::Clear(now + STEP);
            }
            Step::Clear(at) if at <= now => {
                self.due.append(&mut self.moving);
                self.step = Step::Over;
            }
            _ => {}
        }
    }

    /// What the file should hold, where that has changed.
    pub(super) fn take_unsaved(&mut self) -> Option<String> {
        std::mem::take(&mut self.unsaved).then(|| {
            let topics = self.remembered.iter().map(ToString::to_string).collect();
            super::message::to_json(&Remembered { root: self.root.as_str().to_owned(), topics })
        })
    }
}

fn is_named_by_configuration(topic: &Topic) -> bool {
    matches!(topic, Topic::Panel(_) | Topic::Line { .. } | Topic::Device(_) | Topic::Entity(_))
}

fn is_device(topic: &Topic) -> bool {
    matches!(topic, Topic::Device(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Name;

    fn panel(name: &str) -> Topic {
        Topic::Panel(Name::new(name).unwrap())
    }

    fn board(remembered: &str) -> Board {
        Board::new(Root::new("intercom/v1", &Name::new("g").unwrap()), remembered)
    }

    fn drain(board: &mut Board) -> Vec<(String, String)> {
        std::iter::from_fn(|| board.next(Mono::ZERO))
            .map(|(topic, payload)| (topic.to_string(), payload))
            .collect()
    }

    #[test]
    fn only_changes_are_published_but_everything_on_a_new_connection() {
        let mut board = board("");
        board.set(panel("a"), "1 seen at 5".into(), "1".into());
        board.set(Topic::Info, "i".into(), "i".into());
        let all = [("info", "i"), ("panels/a", "1 seen at 5")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(drain(&mut board), all);
        board.set(panel("a"), "1 seen at 9".into(), "1".into());
        assert_eq!(drain(&mut board), []);
        board.announce();
        assert_eq!(drain(&mut board), all);
    }

    #[test]
    fn a_panel_that_is_gone_since_the_last_run_is_cleared_and_forgotten() {
        let mut before = board("");
        before.set(panel("a"), "x".into(), "x".into());
        before.set(panel("b"), "x".into(), "x".into());
        let file = before.take_unsaved().unwrap();
        assert_eq!(before.take_unsaved(), None);

        let mut after = board(&file);
        after.set(panel("a"), "y".into(), "y".into());
        assert_eq!(after.take_unsaved(), None);
        after.announce();
        let published = drain(&mut after);
        assert_eq!(
            published,
            [("panels/a", "y"), ("panels/b", "")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        after.done(&panel("a"));
        after.done(&panel("b"));
        assert_eq!(after.take_unsaved().unwrap(), r#"{"root":"intercom/v1/g","topics":["panels/a"]}"#);
    }

    #[test]
    fn a_topic_of_every_gateway_is_not_cleared_but_left_until_it_is_set_again() {
        let mut board = board("");
        board.set(Topic::Health, "ok".into(), "ok".into());
        board.remove(|topic| *topic == Topic::Health);
        assert_eq!(drain(&mut board), []);
        board.announce();
        assert_eq!(drain(&mut board), []);
        board.set(Topic::Health, "ok".into(), "ok".into());
        assert_eq!(drain(&mut board), [("health".to_owned(), "ok".to_owned())]);
    }

    #[test]
    fn what_another_gateway_published_is_left_alone() {
        let mut board = board(r#"{"root":"intercom/v1/other","topics":["panels/a"]}"#);
        board.announce();
        assert_eq!(drain(&mut board), []);
    }

    /// Publishes what is due at a second, and what the broker takes of it.
    fn turn(board: &mut Board, second: u64) -> Vec<(String, String)> {
        let due: Vec<_> =
            std::iter::from_fn(|| board.next(Mono::ZERO + Duration::from_secs(second))).collect();
        due.iter().for_each(|(topic, _)| board.done(topic));
        due.into_iter().map(|(topic, payload)| (topic.to_string(), payload)).collect()
    }

    const FILE: &str =
        r#"{"root":"intercom/v1/g","topics":["homeassistant/event/a_swipe","homeassistant/event/b_swipe"]}"#;

    /// An earlier version told of swipes at the panels `a` and `b`; of these `a` is still there.
    fn moving() -> Board {
        let mut board = board(FILE);
        board.set(Topic::Device(Some(Name::new("a").unwrap())), "d".into(), "d".into());
        board.moved_are(BTreeSet::from(["homeassistant/event/a_swipe".parse().unwrap()]));
        board
    }

    #[test]
    fn what_moves_is_told_then_published_then_cleared_and_what_is_gone_is_cleared_at_once() {
        let pair = |(topic, payload): (&str, &str)| (topic.to_owned(), payload.to_owned());
        let mut board = moving();
        board.announce();
        let told = [("homeassistant/event/a_swipe", MOVED), ("homeassistant/event/b_swipe", "")].map(pair);
        assert_eq!(turn(&mut board, 0), told);
        assert_eq!(turn(&mut board, 1), []);
        let file = board.take_unsaved().unwrap();
        assert!(file.contains("a_swipe") && !file.contains("b_swipe"), "{file}");
        assert_eq!(turn(&mut board, 2), []);
        assert_eq!(turn(&mut board, 3), [("homeassistant/device/a", "d")].map(pair));
        assert_eq!(turn(&mut board, 4), []);
        assert_eq!(turn(&mut board, 5), []);
        assert_eq!(turn(&mut board, 6), [("homeassistant/event/a_swipe", "")].map(pair));
        assert_eq!(
            board.take_unsaved().unwrap(),
            r#"{"root":"intercom/v1/g","topics":["homeassistant/device/a"]}"#
        );
        board.announce();
        assert_eq!(turn(&mut board, 14), [("homeassistant/device/a", "d")].map(pair));
    }

    #[test]
    fn nothing_is_cleared_before_the_broker_has_what_takes_its_place_and_a_move_begins_anew() {
        let mut board = moving();
        for _ in 0..2 {
            board.announce();
            turn(&mut board, 0);
            turn(&mut board, 1);
            let (topic, payload) = board.next(Mono::ZERO + Duration::from_secs(6)).unwrap();
            assert_eq!((topic.to_string().as_str(), payload.as_str()), ("homeassistant/device/a", "d"));
            assert_eq!(turn(&mut board, 3600), [], "the broker has not taken it");
            let file = board.take_unsaved();
            assert!(file.is_none_or(|file| file.contains("a_swipe")), "the old topic is remembered");
        }
    }

    #[test]
    fn a_home_that_is_told_nothing_any_more_has_all_of_it_cleared() {
        let mut board = board(FILE);
        board.announce();
        let cleared: Vec<_> = turn(&mut board, 0).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(cleared, ["", ""]);
    }
}

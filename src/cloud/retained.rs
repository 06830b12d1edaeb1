//! What the broker should show of us, and what it shows: the retained topics but for `status`.
//!
//! Invariants:
//! - On every connection everything wanted is published again, and everything that an earlier run published and that
//!   is not wanted any more is cleared.
//! - A topic whose name depends on the configuration is in the file before it is published, so a crash in between
//!   leaves at most a name too many.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::topic::{Root, Topic};

/// The retained topics.
#[derive(Debug)]
pub(super) struct Board {
    root: Root,
    wanted: BTreeMap<Topic, Shown>,
    /// To be published: wanted ones are set, others cleared.
    due: BTreeSet<Topic>,
    /// Topics that the broker may have of us.
    remembered: BTreeSet<Topic>,
    /// The file does not say what `remembered` says.
    unsaved: bool,
}

#[derive(Debug)]
struct Shown {
    payload: String,
    /// Two payloads with the same mark are no change.
    mark: String,
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
            .map(|remembered| remembered.topics.iter().filter_map(|topic| topic.parse().ok()).collect())
            .unwrap_or_default();
        Self { root, wanted: BTreeMap::new(), due: BTreeSet::new(), remembered, unsaved: false }
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
        self.due = self.wanted.keys().chain(&self.remembered).cloned().collect();
    }

    /// The next topic to publish, and its payload: an empty one clears it.
    pub(super) fn next(&mut self) -> Option<(Topic, String)> {
        let topic = self.due.pop_first()?;
        let payload = self.wanted.get(&topic).map(|shown| shown.payload.clone()).unwrap_or_default();
        Some((topic, payload))
    }

    /// The broker has done what [`Board::next`] said of `topic`.
    pub(super) fn done(&mut self, topic: &Topic) {
        if !self.wanted.contains_key(topic) {
            self.unsaved |= self.remembered.remove(topic);
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
    matches!(topic, Topic::Panel(_) | Topic::Line { .. } | Topic::Discovery(_))
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
        std::iter::from_fn(|| board.next()).map(|(topic, payload)| (topic.to_string(), payload)).collect()
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
}

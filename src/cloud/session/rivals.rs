//! Another client that goes by our id: at the broker each connection of the one ends that of the other.
//!
//! Who stays is decided by what both can see, the retained `status` of the other one: the gateway whose journal has more
//! events has been in service longer. It is back within seconds. The other one yields: it comes back after a minute, and
//! then ever more seldom, and sends what waits until it is thrown out again. So the first one works nearly all of the
//! time, and nothing is lost at the second.
//!
//! Invariants:
//! - Never do both yield: what a `status` says of a journal's length is never more than there is by now.
//! - A session of our own is no other one, however late the broker lets go of it.

use std::{collections::VecDeque, time::Duration};

use super::{Backoff, End};
use crate::{cloud::message::StatusSeen, domain::Mono};

/// First and longest wait of the one that stays.
const STAY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// First and longest wait of the one that yields.
const YIELD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

/// The other one is told of for so long after it was last noticed, which is longer than it yields.
const SHOWN: Duration = Duration::from_secs(900);

/// A connection that held for so long was not ended by another one that comes back at once.
const SHORT: Duration = Duration::from_secs(60);

/// This many of our own sessions are told from those of another client.
const REMEMBERED: usize = 16;

/// What is known of another client that goes by our id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// The journal that its `status` names.
    pub journal: Option<String>,
    /// Whether this gateway leaves the broker to it, but for a while now and then.
    pub yields: bool,
}

/// The length of a journal and its identity, by which gateways are compared.
pub(super) type Rank<'a> = (u64, &'a str);

/// Notices another client, and says how long to stay away from it.
#[derive(Debug)]
pub(super) struct Rivals {
    /// Our sessions that the broker accepted, and those of which we never heard.
    accepted: VecDeque<String>,
    tried: VecDeque<String>,
    /// Length and identity of the journal that the last `status` of another session named.
    other: Option<(u64, String)>,
    noticed: Option<Mono>,
    /// It had the broker before this connection.
    was_before: bool,
    staying: Backoff,
    yielding: Backoff,
}

impl Rivals {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            accepted: VecDeque::new(),
            tried: VecDeque::new(),
            other: None,
            noticed: None,
            was_before: false,
            staying: Backoff::new(STAY.0, STAY.1, seed),
            yielding: Backoff::new(YIELD.0, YIELD.1, seed.wrapping_add(1)),
        }
    }

    /// We try to connect as this session: the broker may know it although we never hear of it.
    pub(super) fn trying(&mut self, session: &str) {
        remember(&mut self.tried, session);
    }

    /// The broker has accepted this session.
    pub(super) fn connected(&mut self, session: &str) {
        remember(&mut self.accepted, session);
        self.was_before = false;
    }

    /// The broker had this `status` before it accepted our present session.
    pub(super) fn found(&mut self, status: &StatusSeen, now: Mono) {
        if self.is_own(status) {
            return;
        }
        self.look_at(status);
        // Before our first connection it may be that of an earlier run.
        if self.accepted.len() > 1 {
            self.was_before = true;
            self.notice(now);
        }
    }

    /// Another session's `status` came while ours was there; whether another client is behind it.
    pub(super) fn seen(&mut self, status: &StatusSeen, now: Mono) -> bool {
        let is_other = !self.is_own(status) && status.status.as_deref() == Some("online");
        if is_other {
            self.look_at(status);
            self.notice(now);
        }
        is_other
    }

    /// Our connection, which held for `held` where it was online, has ended: how long to stay away, where another client
    /// is behind that.
    pub(super) fn wait(
        &mut self,
        end: End,
        held: Option<Duration>,
        ours: Rank<'_>,
        now: Mono,
    ) -> Option<Duration> {
        let is_short = held.is_some_and(|held| held < SHORT);
        let is_theirs = match end {
            End::TakenOver => true,
            // Not every broker says so.
            End::Broken => self.was_before && is_short,
            End::Rejected => false,
        };
        if !is_theirs {
            return None;
        }
        self.notice(now);
        if held.is_some() && !is_short {
            self.staying.reset();
        }
        Some(if self.yields(ours) { self.yielding.wait() } else { self.staying.wait() })
    }

    /// What is known of another client that was noticed lately.
    pub(super) fn known(&self, ours: Rank<'_>, now: Mono) -> Option<Rival> {
        let noticed = self.noticed?;
        let journal = || self.other.as_ref().map(|(_, journal)| journal.clone());
        (now < noticed + SHOWN).then(|| Rival { journal: journal(), yields: self.yields(ours) })
    }

    fn is_own(&self, status: &StatusSeen) -> bool {
        let is_it = |session: &String| self.accepted.contains(session) || self.tried.contains(session);
        status.session.as_ref().is_some_and(is_it)
    }

    fn look_at(&mut self, status: &StatusSeen) {
        self.other = status.last.zip(status.journal.clone());
    }

    fn notice(&mut self, now: Mono) {
        if self.noticed.is_none_or(|before| now >= before + SHOWN) {
            self.staying.reset();
            self.yielding.reset();
        }
        self.noticed = Some(now);
    }

    fn yields(&self, ours: Rank<'_>) -> bool {
        self.other.as_ref().is_some_and(|(last, journal)| (*last, journal.as_str()) > ours)
    }
}

fn remember(sessions: &mut VecDeque<String>, session: &str) {
    sessions.push_back(session.to_owned());
    let surplus = sessions.len().saturating_sub(REMEMBERED);
    sessions.drain(..surplus);
}

//! The core in exact steps: each asserts the whole list of effects.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::domain::{EventBody, Mono, Silence, SyncCode, SyncError};

struct Gateway {
    sync: Sync,
    now: Mono,
}

fn digest(of: u64) -> String {
    format!("{of:064x}")
}

fn ours(revision: u64) -> Ours {
    Ours { revision: Some(revision), digest: digest(revision) }
}

fn head(request: Option<Uuid>, revision: u64) -> Head {
    Head { request, revision, digest: digest(revision) }
}

fn part(request: Option<Uuid>, revision: u64, part: u32, parts: u32) -> Header {
    Header::Part(Part { head: head(request, revision), part, parts, empty: false, bytes: 100 })
}

fn delta(request: Option<Uuid>, base: u64, revision: u64) -> Header {
    Header::Delta(Change { head: head(request, revision), base, empty: false })
}

fn current(request: Uuid, revision: u64) -> Header {
    Header::Current(Current { head: head(Some(request), revision) })
}

fn target(revision: u64) -> Target {
    Target { revision, digest: digest(revision), empty: false }
}

impl Gateway {
    /// Revision 57 is in force; not connected.
    fn new() -> Self {
        Self { sync: Sync::new(ours(57), 7), now: Mono::from_nanos(1_000_000_000) }
    }

    /// As [`Gateway::new`], and what the first request of the connection was answered with was `current`.
    fn settled() -> Self {
        let mut copy = Self::new();
        let request = copy.connect();
        assert_eq!(copy.gets(&current(request, 57)), Verdict::Drop);
        assert_eq!(copy.effects(), [Effect::Show]);
        assert_eq!(copy.sync.deadline(), Mono::NEVER);
        copy.pass(10);
        copy
    }

    fn connect(&mut self) -> Uuid {
        self.sync.online(self.now);
        self.asks(Reason::Connected)
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.sync.poll(self.now)).collect()
    }

    /// Exactly one request comes out, and its reason is this.
    fn asks(&mut self, expected: Reason) -> Uuid {
        match self.effects().as_slice() {
            [Effect::Ask { id, reason }] if *reason == expected => *id,
            other => panic!("{other:?}"),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn gets(&mut self, header: &Header) -> Verdict {
        self.sync.received(header, self.now)
    }

    fn keeps(&mut self, header: &Header, fresh: bool) {
        assert_eq!(self.gets(header), Verdict::Keep { fresh }, "{header:?}");
        assert!(self.sync.is_busy());
        self.sync.kept(self.now);
    }

    /// Everything is there: it is applied, and comes into force.
    fn applies_snapshot(&mut self, revision: u64) {
        assert_eq!(self.effects(), [Effect::ApplySnapshot(target(revision))]);
        self.sync.applied(ours(revision), self.now);
        let effects = self.effects();
        assert!(
            matches!(
                effects.as_slice(),
                [Effect::Clear, Effect::Record(EventBody::SyncApplied(applied)), Effect::Show]
                    if applied.revision == revision
            ),
            "{effects:?}"
        );
        assert_eq!(self.sync.ours(), &ours(revision));
    }

    /// The next effects are a refusal of this kind.
    fn refuses(&mut self, code: SyncCode, revision: Option<u64>) {
        let error = match (self.sync.poll(self.now), self.sync.poll(self.now)) {
            (Some(Effect::Record(EventBody::SyncRejected(rejected))), Some(Effect::Show)) => rejected.error,
            other => panic!("{other:?}"),
        };
        assert_eq!((error.code, error.revision), (code, revision));
        assert_eq!(self.sync.error(), Some(&error));
    }
}

#[test]
fn a_connection_asks_and_current_is_an_answer() {
    let mut copy = Gateway::settled();
    copy.sync.offline();
    assert_eq!((copy.effects(), copy.sync.deadline()), (vec![], Mono::NEVER));
    copy.connect();
}

#[test]
fn no_answer_is_asked_for_again_later_and_later() {
    let mut copy = Gateway::new();
    let mut ids = vec![copy.connect()];
    for least in [60, 120, 240, 480, 720, 720, 720] {
        let (least, most) = (Duration::from_secs(least), Duration::from_secs(least + least / 4));
        let wait = copy.sync.deadline().since(copy.now);
        assert!(wait >= least && wait <= most && most <= Duration::from_secs(900), "{wait:?}");
        copy.now = copy.now + wait;
        ids.push(copy.asks(Reason::Timeout));
    }
    // An answer that took its time is one.
    assert_eq!(copy.gets(&current(ids[5], 57)), Verdict::Drop);
    assert_eq!((copy.effects(), copy.sync.deadline()), (vec![Effect::Show], Mono::NEVER));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8, "every request has an id of its own");
}

#[test]
fn what_nobody_heard_is_asked_again_in_five_seconds_until_somebody_does() {
    let mut copy = Gateway::new();
    let mut request = copy.connect();
    for _ in 0..20 {
        copy.sync.taken(false, copy.now);
        assert_eq!(copy.sync.silence(), Some(Silence::NobodySubscribed));
        let wait = copy.sync.deadline().since(copy.now);
        assert!(wait >= Duration::from_secs(4) && wait <= Duration::from_secs(6), "{wait:?}");
        copy.now = copy.now + wait;
        request = copy.asks(Reason::Timeout);
    }
    // Somebody has it now, and all the time that an answer may take.
    copy.sync.taken(true, copy.now);
    assert_eq!(copy.sync.silence(), None);
    let wait = copy.sync.deadline().since(copy.now);
    assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(75), "{wait:?}");
    assert_eq!(copy.gets(&current(request, 57)), Verdict::Drop);
    assert_eq!((copy.effects(), copy.sync.silence()), (vec![Effect::Show], None));
    copy.sync.taken(false, copy.now);
    assert_eq!(copy.sync.silence(), None, "it was answered all the same");
}

#[test]
fn silence_is_told_after_a_minute_until_there_is_an_answer() {
    let mut copy = Gateway::new();
    copy.connect();
    copy.sync.taken(true, copy.now);
    copy.pass(59);
    assert_eq!((copy.effects(), copy.sync.silence()), (vec![], None));
    copy.pass(16);
    let request = copy.asks(Reason::Timeout);
    copy.sync.taken(true, copy.now);
    assert_eq!(copy.sync.silence(), Some(Silence::NoAnswer));
    assert_eq!(copy.gets(&current(request, 57)), Verdict::Drop);
    assert_eq!(copy.sync.silence(), None);
    assert_eq!(copy.effects(), [Effect::Show]);

    // The parts of an answer are one, though their rest is asked for.
    copy.sync.resync(copy.now + Duration::from_secs(5));
    copy.pass(5);
    let request = copy.asks(Reason::Command);
    copy.keeps(&part(Some(request), 58, 1, 2), true);
    copy.pass(75);
    copy.asks(Reason::Timeout);
    assert_eq!(copy.sync.silence(), None);

    // A connection that is gone is another matter.
    copy.sync.offline();
    copy.connect();
    copy.pass(75);
    copy.asks(Reason::Timeout);
    assert_eq!(copy.sync.silence(), Some(Silence::NoAnswer));
    copy.sync.offline();
    assert_eq!(copy.sync.silence(), None);
}

#[test]
fn parts_come_in_any_order_and_more_than_once() {
    let mut copy = Gateway::settled();
    copy.keeps(&part(None, 58, 3, 3), true);
    copy.keeps(&part(None, 58, 1, 3), false);
    assert_eq!(copy.gets(&part(None, 58, 3, 3)), Verdict::Drop);
    assert_eq!(copy.gets(&part(None, 58, 1, 3)), Verdict::Drop);
    assert_eq!(copy.effects(), []);
    copy.keeps(&part(None, 58, 2, 3), false);
    copy.applies_snapshot(58);
    assert_eq!(copy.sync.deadline(), Mono::NEVER);
}

#[test]
fn the_rest_of_a_snapshot_is_asked_for_when_it_does_not_come() {
    let mut copy = Gateway::settled();
    copy.keeps(&part(None, 58, 1, 2), true);
    assert_eq!(copy.sync.deadline(), copy.now + Duration::from_secs(60));
    copy.pass(60);
    let request = copy.asks(Reason::Timeout);
    // What is there need not come again; whose request it is makes no difference.
    copy.keeps(&part(Some(request), 58, 2, 2), false);
    copy.applies_snapshot(58);
    assert_eq!(copy.sync.deadline(), Mono::NEVER);
}

#[test]
fn while_parts_come_nothing_is_asked() {
    let mut copy = Gateway::new();
    let request = copy.connect();
    for number in 1..=9 {
        copy.pass(50);
        copy.keeps(&part(Some(request), 58, number, 10), number == 1);
        assert_eq!(copy.effects(), []);
    }
    copy.keeps(&part(Some(request), 58, 10, 10), false);
    copy.applies_snapshot(58);
}

#[test]
fn a_newer_snapshot_replaces_an_unfinished_one() {
    for requested in [false, true] {
        let mut copy = Gateway::new();
        let request = Some(copy.connect()).filter(|_| requested);
        copy.keeps(&part(request, 58, 1, 2), true);
        copy.keeps(&part(None, 59, 1, 2), true);
        assert_eq!(copy.gets(&part(request, 58, 2, 2)), Verdict::Drop);
        copy.keeps(&part(None, 59, 2, 2), false);
        copy.applies_snapshot(59);
    }
}

#[test]
fn only_a_revision_above_ours_comes_unasked() {
    let mut copy = Gateway::settled();
    for header in [part(None, 56, 1, 1), delta(None, 57, 56), part(Some(Uuid::nil()), 56, 1, 1)] {
        assert_eq!(copy.gets(&header), Verdict::Drop);
        assert_eq!(copy.effects(), []);
    }
    assert_eq!(copy.gets(&delta(None, 57, 58)), Verdict::Apply { base: 57, target: target(58) });
    copy.sync.applied(ours(58), copy.now);
    assert_eq!(copy.effects().len(), 2);
}

#[test]
fn the_way_back_is_gone_when_it_was_asked_for() {
    let mut copy = Gateway::settled();
    copy.sync.resync(copy.now);
    let request = copy.asks(Reason::Command);
    copy.keeps(&part(None, 99, 1, 2), true);
    copy.keeps(&part(Some(request), 40, 1, 2), true);
    assert_eq!(copy.gets(&part(None, 99, 2, 2)), Verdict::Drop, "that was before the way back");
    copy.keeps(&part(Some(request), 40, 2, 2), false);
    assert_eq!(copy.effects(), [Effect::ApplySnapshot(target(40))]);
    copy.sync.applied(ours(40), copy.now);
    assert_eq!(copy.effects().len(), 3);
    // The request is answered: its answer is no way back any more.
    assert_eq!(copy.gets(&part(Some(request), 39, 1, 1)), Verdict::Drop);
    // But something newer was heard of.
    copy.pass(1);
    copy.asks(Reason::Gap);
}

#[test]
fn a_way_back_may_be_a_delta() {
    let mut copy = Gateway::new();
    let request = copy.connect();
    assert_eq!(copy.gets(&delta(Some(request), 57, 56)), Verdict::Apply { base: 57, target: target(56) });
}

#[test]
fn what_is_ours_already_only_shows_the_state_again() {
    let mut copy = Gateway::settled();
    for header in [part(None, 57, 1, 4), part(None, 57, 1, 4), delta(None, 56, 57), delta(None, 57, 57)] {
        assert_eq!(copy.gets(&header), Verdict::Drop);
        assert_eq!(copy.effects(), [Effect::Show]);
    }
    copy.sync.resync(copy.now);
    let request = copy.asks(Reason::Command);
    assert_eq!(copy.gets(&part(Some(request), 57, 1, 4)), Verdict::Drop);
    assert_eq!((copy.effects(), copy.sync.deadline()), (vec![Effect::Show], Mono::NEVER));
}

#[test]
fn a_gap_changes_nothing_and_is_asked_about_once() {
    let mut copy = Gateway::settled();
    assert_eq!(copy.gets(&delta(None, 58, 59)), Verdict::Drop);
    copy.refuses(SyncCode::Base, Some(59));
    let request = copy.asks(Reason::Gap);
    // Another one while the answer is on its way.
    copy.pass(5);
    assert_eq!(copy.gets(&delta(None, 59, 60)), Verdict::Drop);
    copy.refuses(SyncCode::Base, Some(60));
    assert_eq!(copy.effects(), []);
    copy.keeps(&part(Some(request), 59, 1, 1), true);
    assert_eq!(copy.effects(), [Effect::ApplySnapshot(target(59))]);
    copy.sync.applied(ours(59), copy.now);
    assert_eq!(copy.sync.error(), None);
    let effects = copy.effects();
    assert!(matches!(effects.last(), Some(Effect::Ask { reason: Reason::Gap, .. })), "{effects:?}");
}

#[test]
fn a_wrong_digest_is_asked_about_at_once_and_then_patiently() {
    let mut copy = Gateway::settled();
    let wrong = || Failure(SyncError::new(SyncCode::Digest, "another"));
    assert!(matches!(copy.gets(&delta(None, 57, 58)), Verdict::Apply { .. }));
    copy.sync.failed(wrong(), copy.now);
    copy.refuses(SyncCode::Digest, Some(58));
    let request = copy.asks(Reason::Digest);
    copy.keeps(&part(Some(request), 58, 1, 1), true);
    assert_eq!(copy.effects(), [Effect::ApplySnapshot(target(58))]);
    copy.sync.failed(wrong(), copy.now);
    assert_eq!(copy.sync.poll(copy.now), Some(Effect::Clear));
    copy.refuses(SyncCode::Digest, Some(58));
    assert_eq!(copy.effects(), [], "a cloud that is wrong is not asked in a circle");
    assert!(copy.sync.deadline().since(copy.now) >= Duration::from_secs(50));
    copy.now = copy.sync.deadline();
    copy.asks(Reason::Digest);
    assert_eq!(copy.sync.ours(), &ours(57));
}

#[test]
fn a_current_that_is_not_ours_is_refused() {
    let mut copy = Gateway::new();
    let request = copy.connect();
    assert_eq!(copy.gets(&current(request, 58)), Verdict::Drop);
    copy.refuses(SyncCode::Digest, Some(58));
    copy.now = copy.sync.deadline();
    copy.asks(Reason::Digest);
}

#[test]
fn other_flats_under_our_own_number_are_asked_about() {
    let mut copy = Gateway::settled();
    let mut head = head(None, 57);
    head.digest = digest(1);
    let other = Header::Part(Part { head, part: 1, parts: 1, empty: false, bytes: 1 });
    assert_eq!(copy.gets(&other), Verdict::Drop);
    copy.asks(Reason::Digest);
}

#[test]
fn an_import_is_shown_and_asked_about() {
    let mut copy = Gateway::settled();
    copy.sync.in_force(ours(57), copy.now);
    assert_eq!(copy.effects(), []);
    copy.sync.in_force(Ours { revision: None, digest: digest(3) }, copy.now);
    let effects = copy.effects();
    assert!(matches!(effects.as_slice(), [Effect::Show, Effect::Ask { reason: Reason::Digest, .. }]));
}

#[test]
fn a_full_disk_is_tried_again_later() {
    let mut copy = Gateway::settled();
    assert_eq!(copy.gets(&part(None, 58, 1, 1)), Verdict::Keep { fresh: true });
    copy.sync.failed(Failure(SyncError::new(SyncCode::Storage, "full")), copy.now);
    assert_eq!(copy.sync.poll(copy.now), Some(Effect::Clear));
    copy.refuses(SyncCode::Storage, Some(58));
    assert_eq!(copy.effects(), []);
    assert!(copy.sync.deadline().since(copy.now) >= Duration::from_secs(60));
    copy.now = copy.sync.deadline();
    copy.asks(Reason::Timeout);
}

#[test]
fn a_snapshot_is_bounded() {
    let mut copy = Gateway::settled();
    let large = |number| {
        Header::Part(Part { head: head(None, 58), part: number, parts: 4096, empty: false, bytes: 1 << 20 })
    };
    for number in 1..=256 {
        copy.keeps(&large(number), number == 1);
    }
    assert_eq!(copy.gets(&large(257)), Verdict::Drop);
    assert_eq!(copy.sync.poll(copy.now), Some(Effect::Clear));
    copy.refuses(SyncCode::Invalid, Some(58));
}

#[test]
fn a_flood_of_refusals_is_counted_and_recorded_in_part() {
    let mut copy = Gateway::settled();
    let mut recorded = 0;
    for _ in 0..1000 {
        copy.sync.refused(SyncError::new(SyncCode::Invalid, "no"), copy.now);
        recorded += copy.effects().iter().filter(|effect| matches!(effect, Effect::Record(_))).count();
    }
    assert_eq!((recorded, copy.sync.counts().rejected[0]), (60, 1000));
    copy.pass(20);
    for _ in 0..1000 {
        copy.sync.refused(SyncError::new(SyncCode::Invalid, "no"), copy.now);
        recorded += copy.effects().iter().filter(|effect| matches!(effect, Effect::Record(_))).count();
    }
    assert_eq!(recorded, 62);
}

#[test]
fn whatever_the_cloud_sends_requests_are_a_second_apart() {
    let mut copy = Gateway::settled();
    let mut requests = 0;
    for round in 0..100 {
        copy.gets(&delta(None, 1000, 2000 + round));
        for effect in copy.effects() {
            if let Effect::Ask { id, .. } = effect {
                requests += 1;
                copy.gets(&current(id, 57));
            }
        }
        copy.now = copy.now + Duration::from_millis(100);
    }
    assert!(requests <= 11, "{requests}");
}

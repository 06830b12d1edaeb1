//! The rules of contract §5, "Decision".

use crate::domain::{
    KeyCode,
    event::{Decision, FlatRef, Reason},
};

use super::{
    Credential, Directory,
    directory::{Record, Terms},
};

/// What time it is for the purpose of expiry dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// Seconds since the epoch: the wall clock, or the last synchronised time plus the time since boot.
    At(i64),
    /// Never synchronised: `expired_at` denies nobody.
    Unknown,
}

impl Now {
    /// Returns whether a date, in seconds since the epoch, is certain to have come.
    pub(super) fn is_past(self, date: i64) -> bool {
        match self {
            Self::At(seconds) => date <= seconds,
            Self::Unknown => false,
        }
    }
}

/// A decision with all that its event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Open or not.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The credential's code; `None` where it is unreadable.
    pub key: Option<KeyCode>,
    /// Flats that have a record of the key: those of this intercom, or where it has none, of the others.
    pub flats: Vec<FlatRef>,
    /// The deciding record: the lowest id that allows, else the lowest.
    pub key_id: Option<u64>,
    /// That record's user.
    pub user_id: Option<u64>,
    /// Unknown, but known with its bytes reversed.
    pub reversed_known: bool,
}

/// Decides whether `credential` (`None`: unreadable), read at a panel of `intercom`, opens its door. `stale`: it was not
/// certainly read just now.
///
/// A key opens if any record of it on a flat of this intercom allows it; a record allows unless its user has an expiry
/// date at or before now, or may not open by key at this flat. A key without a user opens. Nothing opens for a stale
/// swipe, whatever the records say; the event still tells whose key it was.
pub fn decide(
    directory: &Directory,
    intercom: u64,
    credential: Option<Credential>,
    stale: bool,
    now: Now,
) -> Verdict {
    let verdict = match credential {
        Some(credential) => look_up(directory, intercom, credential, now),
        None => denied(None, Reason::Unreadable),
    };
    if stale { Verdict { decision: Decision::Denied, reason: Reason::Stale, ..verdict } } else { verdict }
}

fn look_up(directory: &Directory, intercom: u64, credential: Credential, now: Now) -> Verdict {
    let key = credential.key;
    if directory.is_empty() {
        return denied(Some(key), Reason::CacheEmpty);
    }
    let records = directory.records(key);
    if records.is_empty() {
        let reversed_known = credential.reversed.is_some_and(|code| !directory.records(code).is_empty());
        return Verdict { reversed_known, ..denied(Some(key), Reason::KeyUnknown) };
    }
    let here: Vec<&Record> =
        records.iter().filter(|record| directory.flat_of(record).0 == intercom).collect();
    let allowing = here.iter().find(|record| refusal(directory.terms(record), now).is_none()).copied();
    let considered = if here.is_empty() { records.iter().collect() } else { here.clone() };
    let deciding = allowing.or_else(|| considered.iter().min_by_key(|record| record.key_id).copied());
    let refused = || deciding.and_then(|record| refusal(directory.terms(record), now));
    let (decision, reason) = match (allowing, here.is_empty()) {
        (Some(_), _) => (Decision::Granted, Reason::KeyKnown),
        (None, false) => (Decision::Denied, refused().unwrap_or(Reason::UserExpired)),
        (None, true) => (Decision::Denied, Reason::OtherIntercom),
    };
    let mut flats: Vec<FlatRef> = considered.iter().map(|record| directory.flat_of(record).1).collect();
    flats.sort_unstable();
    flats.dedup();
    Verdict {
        decision,
        reason,
        key: Some(key),
        flats,
        key_id: deciding.map(|record| record.key_id),
        user_id: deciding.and_then(|record| record.user_id).map(u64::from),
        reversed_known: false,
    }
}

/// Why a record does not allow its key; `None`: it does.
fn refusal(terms: Terms, now: Now) -> Option<Reason> {
    if now.is_past(terms.user_expires) {
        Some(Reason::UserExpired)
    } else {
        (!terms.permitted).then_some(Reason::NotPermitted)
    }
}

fn denied(key: Option<KeyCode>, reason: Reason) -> Verdict {
    Verdict {
        decision: Decision::Denied,
        reason,
        key,
        flats: Vec::new(),
        key_id: None,
        user_id: None,
        reversed_known: false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::access::{CredentialFormat, DirectoryBuilder, DirectoryEntry, KeyOrder, read_credential};

    const TAG: [u8; 4] = [0x30, 0x42, 0xCA, 0xAC];

    fn entry(
        intercom: u64,
        flat_id: u64,
        key_id: u64,
        user: Option<(u64, Option<&'static str>)>,
    ) -> DirectoryEntry<'static> {
        DirectoryEntry {
            intercom,
            flat_id,
            flat: flat_id + 100,
            key_id,
            code: KeyCode::from_bytes(&TAG).unwrap(),
            user_id: user.map(|(id, _)| id),
            expired_at: user.and_then(|(_, date)| date),
            permitted: true,
        }
    }

    fn directory(entries: &[DirectoryEntry<'_>]) -> Directory {
        let mut builder = DirectoryBuilder::new(TimeZone::get("Europe/Moscow").unwrap());
        for entry in entries {
            builder.add(entry);
        }
        builder.build(Some(57))
    }

    fn swipe(directory: &Directory, now: Now) -> Verdict {
        let credential = read_credential(CredentialFormat::Raw, 32, &TAG, KeyOrder::AsRead);
        decide(directory, 1, credential, false, now)
    }

    fn at(time: &str) -> Now {
        Now::At(time.parse::<jiff::Timestamp>().unwrap().as_second())
    }

    #[test]
    fn a_key_without_a_user_opens() {
        let verdict = swipe(&directory(&[entry(1, 9, 4, None)]), Now::Unknown);
        assert_eq!((verdict.decision, verdict.reason), (Decision::Granted, Reason::KeyKnown));
        assert_eq!((verdict.key_id, verdict.user_id), (Some(4), None));
        assert_eq!(verdict.flats, [FlatRef { id: 9, flat: 109 }]);
    }

    #[test]
    fn expiry_is_meant_in_the_configured_zone_and_ends_at_its_second() {
        let expiring = directory(&[entry(1, 9, 4, Some((6, Some("2026-01-01 03:00:00"))))]);
        let before = swipe(&expiring, at("2025-12-31T23:59:59Z"));
        assert_eq!(before.decision, Decision::Granted);
        let then = swipe(&expiring, at("2026-01-01T00:00:00Z"));
        assert_eq!((then.decision, then.reason), (Decision::Denied, Reason::UserExpired));
        assert_eq!((then.key_id, then.user_id), (Some(4), Some(6)));
        assert_eq!(swipe(&expiring, Now::Unknown).decision, Decision::Granted);
    }

    #[test]
    fn any_allowing_record_opens_and_the_lowest_allowing_one_is_named() {
        let expired = Some((6, Some("2020-01-01 00:00:00")));
        let several = directory(&[
            entry(1, 12, 30, Some((8, None))),
            entry(1, 11, 20, None),
            entry(1, 10, 10, expired),
            entry(2, 10, 1, None),
        ]);
        let verdict = swipe(&several, at("2026-01-01T00:00:00Z"));
        assert_eq!((verdict.decision, verdict.key_id, verdict.user_id), (Decision::Granted, Some(20), None));
        let ids: Vec<u64> = verdict.flats.iter().map(|flat| flat.id).collect();
        assert_eq!(ids, [10, 11, 12]);
    }

    #[test]
    fn whom_the_platform_forbids_opens_by_no_key_of_that_flat() {
        let user = Some((6, None));
        let forbidden = DirectoryEntry { permitted: false, ..entry(1, 10, 10, user) };
        let verdict = swipe(&directory(&[forbidden]), Now::Unknown);
        assert_eq!((verdict.decision, verdict.reason), (Decision::Denied, Reason::NotPermitted));
        assert_eq!((verdict.key_id, verdict.user_id, verdict.flats.len()), (Some(10), Some(6), 1));
        let elsewhere = directory(&[forbidden, entry(1, 11, 20, user)]);
        let verdict = swipe(&elsewhere, Now::Unknown);
        assert_eq!((verdict.decision, verdict.key_id), (Decision::Granted, Some(20)));

        let expired = entry(1, 11, 20, Some((6, Some("2020-01-01 00:00:00"))));
        let both = swipe(&directory(&[forbidden, expired]), at("2026-01-01T00:00:00Z"));
        assert_eq!(both.reason, Reason::NotPermitted, "of the lowest record");
        let expired = entry(1, 11, 2, Some((6, Some("2020-01-01 00:00:00"))));
        let both = swipe(&directory(&[forbidden, expired]), at("2026-01-01T00:00:00Z"));
        assert_eq!((both.reason, both.key_id), (Reason::UserExpired, Some(2)));
    }

    #[test]
    fn a_key_of_another_intercom_is_told_apart_from_an_unknown_one() {
        let elsewhere = directory(&[entry(2, 5, 7, Some((6, None)))]);
        let verdict = swipe(&elsewhere, Now::Unknown);
        assert_eq!((verdict.decision, verdict.reason), (Decision::Denied, Reason::OtherIntercom));
        assert_eq!((verdict.key_id, verdict.user_id, verdict.flats.len()), (Some(7), Some(6), 1));

        assert_eq!(swipe(&Directory::default(), Now::Unknown).reason, Reason::CacheEmpty);
        let mut builder = DirectoryBuilder::new(TimeZone::UTC);
        builder.add_flat(1, 1, 1);
        assert_eq!(swipe(&builder.build(Some(1)), Now::Unknown).reason, Reason::KeyUnknown);
    }

    #[test]
    fn a_wrong_key_order_is_hinted_at_and_opens_nothing() {
        let known = directory(&[entry(1, 9, 4, None)]);
        let credential = read_credential(CredentialFormat::Raw, 32, &TAG, KeyOrder::Reversed);
        let verdict = decide(&known, 1, credential, false, Now::Unknown);
        assert_eq!((verdict.decision, verdict.reason), (Decision::Denied, Reason::KeyUnknown));
        assert!(verdict.reversed_known);
        assert_eq!(verdict.flats, []);
    }

    #[test]
    fn nothing_opens_for_stale_or_unreadable() {
        let known = directory(&[entry(1, 9, 4, None)]);
        let credential = read_credential(CredentialFormat::Raw, 32, &TAG, KeyOrder::AsRead);
        for (credential, stale, expected) in [
            (credential, true, (Decision::Denied, Reason::Stale, Some(4))),
            (None, true, (Decision::Denied, Reason::Stale, None)),
            (None, false, (Decision::Denied, Reason::Unreadable, None)),
        ] {
            let verdict = decide(&known, 1, credential, stale, Now::Unknown);
            assert_eq!((verdict.decision, verdict.reason, verdict.key_id), expected);
            assert_eq!(verdict.key, credential.map(|credential| credential.key));
        }
    }
}

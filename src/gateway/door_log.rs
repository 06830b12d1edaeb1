//! What the log says of doors: that a key was read, and what became of the door.
//!
//! Invariants: no key, flat, user or name of a token stands in a line, and a panel has [`BURST`] lines at once and one more
//! every [`EVERY`]: who stands at a door, or plays with its wires, does not wear an SD card out. Those left out are counted.

use std::time::Duration;

use litemap::LiteMap;

use crate::domain::{
    Bucket, EventBody, Mono, Name,
    event::{CodeReason, Decision, Reason, UnlockKind, UnlockedBy},
};

/// A busy morning at one door: a swipe and an unlock each.
const BURST: u32 = 40;
/// What a panel may cost that is never quiet: about 2 MB a day.
const EVERY: Duration = Duration::from_secs(6);

/// How much was said of each panel's door.
#[derive(Default)]
pub struct DoorLog {
    panels: LiteMap<Name, Said>,
}

struct Said {
    allowed: Bucket,
    left_out: u64,
}

impl DoorLog {
    /// Returns what is to be said of an event at a door; `None`: nothing, or its panel has said enough for now.
    pub fn line(&mut self, now: Mono, body: &EventBody) -> Option<String> {
        let line = sentence(body)?;
        let panel = body.subject()?.clone();
        let said = self
            .panels
            .entry(panel)
            .or_insert_with(|| Said { allowed: Bucket::new(BURST, EVERY), left_out: 0 });
        if !said.allowed.take(now) {
            said.left_out = said.left_out.saturating_add(1);
            return None;
        }
        Some(match std::mem::take(&mut said.left_out) {
            0 => line,
            left_out => format!("{line} ({left_out} more before it are in the journal alone)"),
        })
    }
}

fn sentence(body: &EventBody) -> Option<String> {
    Some(match body {
        EventBody::KeySwiped(swiped) => {
            let reason = word(swiped.reason);
            match swiped.decision {
                Decision::Granted => format!("a key was read: granted ({reason})"),
                Decision::Denied if swiped.reason == Reason::KeyUnknown => format!(
                    "a key was read: denied ({reason}); its number is in: intercom-gateway journal | grep intercom.key.swiped"
                ),
                Decision::Denied => format!("a key was read: denied ({reason})"),
            }
        }
        EventBody::CodeEntered(entered) => {
            let decision = if entered.decision == Decision::Granted { "granted" } else { "denied" };
            format!("a code was entered: {decision} ({})", code_word(entered.reason))
        }
        EventBody::DoorUnlocked(unlocked) => {
            format!("the door was unlocked for {} s by {}", unlocked.duration, cause(&unlocked.by))
        }
        EventBody::DoorUnlockFailed(failed) => {
            format!("the door was not unlocked by {}: {}", cause(&failed.by), failed.cause.as_str())
        }
        _ => return None,
    })
}

fn cause(by: &UnlockedBy) -> &'static str {
    match by.kind {
        UnlockKind::Key => "a key",
        UnlockKind::Code => "a code",
        UnlockKind::Command => "a command",
        UnlockKind::Token => "an API token",
        UnlockKind::Exit => "the exit button",
    }
}

/// The contract's word for a reason.
fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::KeyKnown => "key_known",
        Reason::KeyUnknown => "key_unknown",
        Reason::UserExpired => "user_expired",
        Reason::NotPermitted => "not_permitted",
        Reason::OtherIntercom => "other_intercom",
        Reason::CacheEmpty => "cache_empty",
        Reason::Unreadable => "unreadable",
        Reason::Stale => "stale",
    }
}

/// The contract's word for a reason.
fn code_word(reason: CodeReason) -> &'static str {
    match reason {
        CodeReason::CodeKnown => "code_known",
        CodeReason::CodeUnknown => "code_unknown",
        CodeReason::CodeExpired => "code_expired",
        CodeReason::NotPermitted => "not_permitted",
        CodeReason::Blocked => "blocked",
        CodeReason::Clock => "clock",
        CodeReason::Stale => "stale",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ErrorCode, KeyCode,
        event::{CodeEntered, DoorUnlockFailed, DoorUnlocked, FlatRef, KeySwiped, RawCredential, UnlockId},
    };

    fn swiped(panel: &str, reason: Reason) -> EventBody {
        let decision = if reason == Reason::KeyKnown { Decision::Granted } else { Decision::Denied };
        EventBody::KeySwiped(KeySwiped {
            panel: Name::new(panel).unwrap(),
            intercom: 1,
            reader: 0,
            key: "0000003042CAAC".parse::<KeyCode>().ok(),
            raw: RawCredential("3042CAAC".into()),
            bits: 32,
            decision,
            reason,
            flats: vec![FlatRef { id: 4711, flat: 4712 }],
            key_id: Some(4713),
            user_id: Some(4714),
            reversed_known: false,
            revision: Some(57),
        })
    }

    #[test]
    fn a_line_says_what_happened_and_nothing_of_who_it_was() {
        let (mut log, panel) = (DoorLog::default(), Name::new("entrance-1").unwrap());
        let mut line = |body: EventBody| log.line(Mono::ZERO, &body);
        for reason in Reason::ALL {
            let said = line(swiped("entrance-1", reason)).unwrap();
            assert_eq!(serde_json::to_value(reason).unwrap(), word(reason));
            assert!(said.contains(&format!("({})", word(reason))), "{said}");
            assert!(!said.contains("3042CAAC") && !said.contains("471"), "{said}");
            assert_eq!(said.contains("intercom-gateway journal"), reason == Reason::KeyUnknown, "{said}");
        }
        assert_eq!(
            line(swiped("entrance-1", Reason::KeyKnown)).as_deref(),
            Some("a key was read: granted (key_known)")
        );
        for reason in CodeReason::ALL {
            let entered = CodeEntered {
                panel: panel.clone(),
                intercom: 1,
                reader: 0,
                decision: if reason == CodeReason::CodeKnown { Decision::Granted } else { Decision::Denied },
                reason,
                code_id: Some(4713),
                flats: vec![FlatRef { id: 4711, flat: 4712 }],
                revision: Some(57),
            };
            let said = line(EventBody::CodeEntered(entered)).unwrap();
            let granted = if reason == CodeReason::CodeKnown { "granted" } else { "denied" };
            assert_eq!(serde_json::to_value(reason).unwrap(), code_word(reason));
            assert_eq!(said, format!("a code was entered: {granted} ({})", code_word(reason)));
        }
        let by = |kind, id| UnlockedBy { kind, id: Some(id) };
        assert_eq!(
            line(EventBody::DoorUnlocked(DoorUnlocked {
                panel: panel.clone(),
                intercom: 1,
                by: by(UnlockKind::Key, UnlockId::Number(4713)),
                duration: 3.5
            }))
            .as_deref(),
            Some("the door was unlocked for 3.5 s by a key")
        );
        assert_eq!(
            line(EventBody::DoorUnlockFailed(DoorUnlockFailed {
                panel,
                intercom: 1,
                by: by(UnlockKind::Token, UnlockId::Text("janitor".into())),
                duration: 3.0,
                cause: ErrorCode::Unconfirmed
            }))
            .as_deref(),
            Some("the door was not unlocked by an API token: unconfirmed")
        );
    }

    #[test]
    fn a_flood_at_one_door_is_counted_and_leaves_the_others_their_lines() {
        let mut log = DoorLog::default();
        let second = |second| Mono::ZERO + Duration::from_secs(second);
        let said = (0..600).filter(|tenth| {
            let now = Mono::ZERO + Duration::from_millis(100 * tenth);
            log.line(now, &swiped("entrance-1", Reason::KeyUnknown)).is_some()
        });
        // In a minute.
        assert_eq!(said.count(), 40 + 9);
        assert!(log.line(second(60), &swiped("entrance-2", Reason::KeyKnown)).is_some());
        let next = log.line(second(70), &swiped("entrance-1", Reason::KeyKnown)).unwrap();
        assert!(next.starts_with("a key was read: granted (key_known) ("), "{next}");
        assert!(next.ends_with(" more before it are in the journal alone)"), "{next}");
    }
}

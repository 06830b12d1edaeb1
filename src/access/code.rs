//! The rules of contract §5 for codes.

use crate::domain::{
    DoorCode,
    event::{CodeReason, Decision, FlatRef},
};

use super::{Directory, Now, directory::Terms};

/// A decision about a code with all that its event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeVerdict {
    /// Open or not.
    pub decision: Decision,
    /// Why.
    pub reason: CodeReason,
    /// The code's id; `None` where it is unknown, or was not looked at.
    pub code_id: Option<u64>,
    /// The flat that has it.
    pub flats: Vec<FlatRef>,
}

impl CodeVerdict {
    /// Returns a refusal of what was not looked at.
    pub fn denied(reason: CodeReason) -> Self {
        Self { decision: Decision::Denied, reason, code_id: None, flats: Vec::new() }
    }
}

/// Decides whether what was typed at a panel of `intercom` opens its door.
///
/// A code opens if a flat of this intercom has it, it is not expired, and its user, where it has one, is neither
/// expired nor forbidden to open by code at that flat. Where the time was never known a code with an expiry date does
/// not open: a visitor's right ends, a resident's door does not.
pub fn decide_code(directory: &Directory, intercom: u64, typed: &str, now: Now) -> CodeVerdict {
    let known = typed.parse::<DoorCode>().ok().and_then(|code| directory.code(intercom, code));
    let Some((code, terms, flat)) = known else { return CodeVerdict::denied(CodeReason::CodeUnknown) };
    let (decision, reason) = match refusal(terms, now) {
        None => (Decision::Granted, CodeReason::CodeKnown),
        Some(reason) => (Decision::Denied, reason),
    };
    CodeVerdict { decision, reason, code_id: Some(code.code_id), flats: vec![flat] }
}

/// Why a known code does not open; `None`: it does.
fn refusal(terms: Terms, now: Now) -> Option<CodeReason> {
    if now == Now::Unknown && terms.expires != i64::MAX {
        Some(CodeReason::Clock)
    } else if now.is_past(terms.expires) || now.is_past(terms.user_expires) {
        Some(CodeReason::CodeExpired)
    } else {
        (!terms.permitted).then_some(CodeReason::NotPermitted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use jiff::{Timestamp, tz::TimeZone};

    use super::*;
    use crate::access::{DirectoryBuilder, DirectoryCode, Keypads};

    /// The code 0012 of a flat, with all that opens.
    static CODE: LazyLock<DirectoryCode<'static>> = LazyLock::new(|| DirectoryCode {
        intercom: 1,
        flat_id: 9,
        flat: 109,
        code_id: 7,
        code: "0012".parse().unwrap(),
        expired_at: None,
        user_expired_at: None,
        permitted: true,
    });

    fn directory(codes: &[DirectoryCode<'_>]) -> Directory {
        let mut builder = DirectoryBuilder::new(TimeZone::get("Europe/Moscow").unwrap());
        codes.iter().for_each(|code| builder.add_code(code));
        builder.build(Some(57))
    }

    fn reason(code: DirectoryCode<'_>, now: Now) -> CodeReason {
        let verdict = decide_code(&directory(&[code]), 1, "0012", now);
        assert_eq!(verdict.decision == Decision::Granted, verdict.reason == CodeReason::CodeKnown);
        assert_eq!((verdict.code_id, verdict.flats), (Some(7), vec![FlatRef { id: 9, flat: 109 }]));
        verdict.reason
    }

    fn at(time: &str) -> Now {
        Now::At(time.parse::<Timestamp>().unwrap().as_second())
    }

    #[test]
    fn a_code_opens_at_its_intercom_and_with_all_of_its_digits() {
        assert_eq!(reason(*CODE, Now::Unknown), CodeReason::CodeKnown);
        let two = directory(&[*CODE, DirectoryCode { intercom: 2, code_id: 8, ..*CODE }]);
        assert_eq!(decide_code(&two, 2, "0012", Now::Unknown).code_id, Some(8));
        for (intercom, typed) in [(3, "0012"), (1, "12"), (1, "00012"), (1, "00120"), (1, ""), (1, "A0012")] {
            let verdict = decide_code(&two, intercom, typed, Now::Unknown);
            assert_eq!(verdict, CodeVerdict::denied(CodeReason::CodeUnknown), "{typed}");
        }
    }

    #[test]
    fn a_code_ends_with_its_date_and_with_its_users() {
        let date = Some("2026-01-01 03:00:00");
        let (before, then) = (at("2025-12-31T23:59:59Z"), at("2026-01-01T00:00:00Z"));
        for code in
            [DirectoryCode { expired_at: date, ..*CODE }, DirectoryCode { user_expired_at: date, ..*CODE }]
        {
            assert_eq!(reason(code, before), CodeReason::CodeKnown);
            assert_eq!(reason(code, then), CodeReason::CodeExpired);
        }
        let of_visitor = DirectoryCode { expired_at: date, ..*CODE };
        assert_eq!(reason(of_visitor, Now::Unknown), CodeReason::Clock);
        let of_resident = DirectoryCode { user_expired_at: date, ..*CODE };
        assert_eq!(reason(of_resident, Now::Unknown), CodeReason::CodeKnown);
    }

    #[test]
    fn whom_the_platform_forbids_opens_by_no_code() {
        let forbidden = DirectoryCode { permitted: false, ..*CODE };
        assert_eq!(reason(forbidden, Now::Unknown), CodeReason::NotPermitted);
        let expired = DirectoryCode { expired_at: Some("2020-01-01 00:00:00"), ..forbidden };
        assert_eq!(reason(expired, at("2026-01-01T00:00:00Z")), CodeReason::CodeExpired);
    }

    #[test]
    fn digits_are_told_where_they_are_nobodys_code() {
        let now = at("2026-01-31T00:00:00Z");
        let coded = directory(&[*CODE, DirectoryCode { intercom: 3, ..*CODE }]);
        assert_eq!([1, 2, 3, 4].map(|intercom| coded.keypads(intercom, now)), {
            [Keypads::Codes, Keypads::Digits, Keypads::Codes, Keypads::Digits]
        });
        assert_eq!(Directory::default().keypads(1, now), Keypads::Hidden, "not read yet");

        let had = |intercom, until: Option<&str>| {
            let mut builder = DirectoryBuilder::new(TimeZone::UTC);
            builder.had_codes(intercom, until.map(|until| until.parse().unwrap()));
            builder.build(None)
        };
        for (until, hidden) in [
            (None, true),
            (Some("2026-01-01T00:00:01Z"), true),
            (Some("2026-01-01T00:00:00Z"), false),
            (Some("2036-01-01T00:00:00Z"), true),
        ] {
            let expected = if hidden { Keypads::Hidden } else { Keypads::Digits };
            assert_eq!(had(Some(1), until).keypads(1, now), expected, "{until:?}");
            assert_eq!(had(None, until).keypads(1, now), expected, "{until:?}");
            assert_eq!(had(Some(1), until).keypads(1, Now::Unknown), Keypads::Hidden, "{until:?}");
            assert_eq!(had(Some(2), until).keypads(1, now), Keypads::Digits, "{until:?}");
        }
    }
}

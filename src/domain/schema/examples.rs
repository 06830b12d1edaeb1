//! An event of every type, for the examples of the documents.

use crate::domain::{
    ClockQuality, ErrorCode, EventBody, Form, LineState, Name, Stamp, StoredEvent, SyncCode, SyncError,
    event::*,
};

/// The digest of no flats at all.
pub(crate) const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(crate) const JOURNAL: &str = "9f3c2a41";

/// A version that has all that is shown.
pub(crate) const VERSION: &str = "0.3.0";

pub(crate) const BOOT: &str = "1b4a8c1e-6f3d-4a52-9c0e-2f5d8a7b6c10";

/// The moment at which everything happens.
pub(crate) fn time() -> jiff::Timestamp {
    "2026-11-23T22:00:01.123Z".parse().unwrap()
}

pub(crate) fn panel() -> Name {
    Name::new("entrance-1").unwrap()
}

/// Returns one as it is published.
pub(crate) fn event(body: &EventBody, sequence: u64) -> String {
    let (kind, data) = body.to_parts();
    let stamp =
        Stamp { time: time(), boot: BOOT.into(), uptime_ms: 12345, clock: ClockQuality::Synchronized };
    let stored = StoredEvent {
        sequence,
        journal: JOURNAL.into(),
        stamp,
        online: true,
        kind: kind.to_owned(),
        subject: body.subject().map(ToString::to_string),
        data,
        form: Form::CURRENT,
    };
    stored.to_json(&Name::new("building-7").unwrap())
}

/// Returns one body of each type, in the order of [`EventBody::KINDS`].
pub(crate) fn bodies() -> Vec<EventBody> {
    let (intercom, reader) = (1, 0);
    let by_key = || UnlockedBy { kind: UnlockKind::Key, id: Some(UnlockId::Number(1)) };
    let at = || PanelAt { panel: panel(), intercom };
    let flag = || PanelFlag { panel: panel(), intercom, active: true };
    let moved = |by| DoorMoved { panel: panel(), intercom, by };
    let flats = || vec![FlatRef { id: 1, flat: 1 }];
    vec![
        EventBody::KeySwiped(KeySwiped {
            panel: panel(),
            intercom,
            reader,
            key: Some("0000003042CAAC".parse().unwrap()),
            raw: RawCredential("3042CAAC".into()),
            bits: 32,
            decision: Decision::Granted,
            reason: Reason::KeyKnown,
            flats: flats(),
            key_id: Some(1),
            user_id: Some(6),
            reversed_known: false,
            revision: Some(57),
        }),
        EventBody::KeypadEntered(KeypadEntered {
            panel: panel(),
            intercom,
            reader,
            digits: Some("12".into()),
        }),
        EventBody::CodeEntered(CodeEntered {
            panel: panel(),
            intercom,
            reader,
            decision: Decision::Granted,
            reason: CodeReason::CodeKnown,
            code_id: Some(7),
            flats: flats(),
            revision: Some(57),
        }),
        EventBody::DoorUnlocked(DoorUnlocked { panel: panel(), intercom, by: by_key(), duration: 3.0 }),
        EventBody::DoorUnlockFailed(DoorUnlockFailed {
            panel: panel(),
            intercom,
            by: UnlockedBy { kind: UnlockKind::Token, id: Some(UnlockId::Text("office".into())) },
            duration: 3.0,
            cause: ErrorCode::PanelOffline,
        }),
        EventBody::DoorOpened(moved(Some(by_key()))),
        EventBody::DoorClosed(moved(Some(by_key()))),
        EventBody::DoorForced(moved(None)),
        EventBody::DoorHeld(moved(Some(UnlockedBy { kind: UnlockKind::Exit, id: None }))),
        EventBody::LineChanged(LineChanged {
            panel: panel(),
            intercom,
            flat: 7,
            flat_id: Some(3),
            from: LineState::OnHook,
            to: LineState::OffHook,
            raw: Some(78),
            value: Some(7.8),
            unit: "V".into(),
        }),
        EventBody::LineWiring(LineWiring {
            panel: panel(),
            intercom,
            lines: vec![1, 11],
            state: LineState::Break,
            cleared: false,
        }),
        EventBody::InputChanged(InputChanged {
            panel: panel(),
            intercom,
            input: 1,
            from: InputState::Inactive,
            to: InputState::Active,
        }),
        EventBody::PanelOnline(at()),
        EventBody::PanelOffline(PanelCause {
            panel: panel(),
            intercom,
            cause: "nothing was heard of it for 8 s".into(),
        }),
        EventBody::PanelTamper(flag()),
        EventBody::PanelPower(flag()),
        EventBody::PanelSecured(at()),
        EventBody::PanelReplaced(PanelSerial { panel: panel(), intercom, serial: "0A0B0C0D".into() }),
        EventBody::PanelSuspect(PanelSuspect {
            panel: panel(),
            intercom,
            cause: SuspectCause::WrongMac,
            count: 41,
        }),
        EventBody::GatewayStarted(GatewayStarted { version: VERSION.into() }),
        EventBody::GatewayStopping(GatewayStopping {}),
        EventBody::ClockStepped(ClockStepped { offset_ms: -5000 }),
        EventBody::SyncApplied(SyncApplied { revision: 57, digest: DIGEST.into() }),
        EventBody::SyncRejected(SyncRejected { error: refused() }),
        EventBody::CommittedIgnored(CommittedIgnored {
            committed_journal: JOURNAL.into(),
            through: 1_000_000,
            count: 3,
        }),
        EventBody::JournalPruned(JournalPruned {
            pruned_journal: JOURNAL.into(),
            from: Some(1),
            to: Some(120),
            cause: "the disk is full".into(),
        }),
    ]
}

/// Why flats were refused.
pub(crate) fn refused() -> SyncError {
    SyncError {
        code: SyncCode::Invalid,
        message: "`flats[3].keys[0].key` is not 14 hexadecimal digits".into(),
        revision: Some(58),
        intercom: Some(1),
        id: Some(12),
        field: Some("flats[3].keys[0].key".into()),
    }
}

use super::*;
use crate::{
    simulate::action::Status,
    wire::{
        osdp::{Check, Header, Reply, capture::Io, emit},
        recording::{Content, Entry, Form, Remark},
    },
};

/// A recording of a line: who, code, data; each 10 ms after the one before.
fn recording(frames: &[(Io, u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, (io, code, data)) in (0_u64..).zip(frames) {
        let mut bytes = Vec::new();
        // Each its own number, or it would be a repetition.
        let sequence = (number / 2 % 3) as u8 + 1;
        let header = Header { address: 3, reply: *io == Io::In, sequence, check: Check::Crc };
        emit(&header, None, *code, data, &mut bytes).unwrap();
        let content = Content::Bytes { io: *io, bytes, redacted: *code == 0x53 };
        Entry { nanos: 1_000_000_000 + number * 10_000_000, content }.emit(Form::Osdpcap, &mut out);
    }
    Entry { nanos: 1, content: Content::Remark(Remark::Dropped(1)) }.emit(Form::Osdpcap, &mut out);
    out
}

#[test]
fn what_panels_said_and_where_they_were_silent() {
    let poll = (Io::Out, 0x60, &[][..]);
    let raw = [1, 0, 32, 0, 1, 2, 3, 4];
    let trace = recording(&[
        poll,
        (Io::In, 0x40, &[]), // 0
        poll,
        (Io::In, Reply::IStatR(vec![0, 1]).code(), &[0, 1]), // 20
        poll,                                                // 40: lost
        poll,
        (Io::In, 0x50, &raw), // 50
        poll,
        poll,
        poll,
        poll, // 70: gone
        poll,
        (Io::In, 0x53, &[0, 2, b'0', b'0']), // 110
    ]);
    let script = Script::read(trace.as_slice(), None, |_| None).unwrap();
    let at = |milliseconds: u64| 1_000_000_000 + milliseconds * 1_000_000;
    let steps: Vec<_> = script.steps.iter().map(|step| (step.nanos, step.what.clone())).collect();
    let act = |action| What::Act(action);
    let card = super::super::action::Card { format: 0, bits: 32, data: vec![1, 2, 3, 4] };
    let keys = super::super::action::Keys(b"00".to_vec());
    assert_eq!(
        steps,
        [
            (at(30), act(Action::Status(Status::Inputs(vec![0, 1])))),
            (at(40), act(Action::Fault(Fault::Drop(1)))),
            (at(60), act(Action::CardAt { reader: 1, card })),
            (at(70), act(Action::Fault(Fault::Gone(true)))),
            (at(110), act(Action::Fault(Fault::Gone(false)))),
            (at(120), What::Redacted(Action::Keys(keys))),
        ]
    );
    assert_eq!((script.panels[&3].inputs, script.panels[&3].is_secure), (2, false));
    assert_eq!(script.span, (at(0), at(120)));
}

#[test]
fn a_recording_without_frames_is_refused() {
    assert!(matches!(Script::read(&b"{}\n"[..], None, |_| None), Err(ScriptError::Empty)));
    assert!(matches!(Script::read(&b""[..], None, |_| None), Err(ScriptError::Empty)));
}

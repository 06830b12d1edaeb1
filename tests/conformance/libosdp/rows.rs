//! The rows, looked up in what came of it.

use intercom_gateway::wire::osdp::code::{command, reply};
use serde_json::Value;

use super::{BASIC, Evidence, PAIRED, SECURE, address};
use crate::{
    layout::Layout,
    support::flats::{KNOWN, UNKNOWN},
    table::Channel,
};

pub fn at_115200(evidence: &Evidence, channel: Channel) {
    assert_eq!((evidence.street.baud, evidence.street.is_8n1), (115_200, true));
    assert!(evidence.has_type(channel, "intercom.door.unlocked"));
}

/// The panel there is in a secure channel; what differs from plaintext is not the rate.
pub fn at_9600(evidence: &Evidence, _: Channel) {
    assert_eq!((evidence.yard.baud, evidence.yard.is_8n1), (9600, true));
    let is_it = |event: &Value| event["type"] == "intercom.door.unlocked" && event["subject"] == "panel-3";
    assert!(evidence.events.iter().any(is_it));
}

/// Sums, numbers and what is sealed take all values in the course of time.
pub fn every_byte_passes(evidence: &Evidence, channel: Channel) {
    let first = address(channel);
    let mut seen = [false; 256];
    for frame in
        evidence.street.frames.iter().filter(|frame| frame.get(1).map(|byte| byte & 0x7F) == Some(first))
    {
        frame.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    // In plaintext few values occur; every one that does has come through.
    assert!(channel == Channel::Basic || missing == 0, "{missing} values were never sent");
    assert!(evidence.has_event(channel, |event| event["data"]["raw"] == KNOWN));
}

pub fn one_reply(evidence: &Evidence, channel: Channel) {
    let (asked, said) = (evidence.sent(channel).len(), evidence.replies(channel).len());
    // A busy machine is late with some.
    assert!(asked > 50 && said <= asked && said * 2 > asked, "{said} replies to {asked} commands");
}

pub fn little_endian(evidence: &Evidence, channel: Channel) {
    let out = evidence.told(channel, "Output");
    assert!(out.iter().all(|out| out["timer_count"] == 300), "{out:?}");
    assert!(evidence.has_event(channel, |event| event["data"]["bits"] == 32));
}

pub fn marks(evidence: &Evidence, channel: Channel) {
    let of = evidence.street.sent.iter().filter(|sent| sent.get(2) == Some(&address(channel)));
    let all: Vec<&Vec<u8>> = of.collect();
    assert!(all.len() > 50 && all.iter().all(|sent| sent[..2] == [0xFF, 0x53]));
}

pub fn frame_layout(evidence: &Evidence, channel: Channel) {
    // `pieces` holds every frame to table 1: SOM, length, control, CRC.
    let sent = evidence.sent(channel);
    assert!(sent.len() > 50 && sent.iter().all(|frame| !frame.is_reply));
    let all = evidence.street.of_address(address(channel)).count();
    assert_eq!(all, sent.len(), "every frame that was sent is sound");
}

pub fn number_0(evidence: &Evidence, channel: Channel) {
    let sent = evidence.sent(channel);
    assert!(
        sent.iter()
            .all(|frame| frame.sequence != 0 || frame.code == command::ID || channel == Channel::Basic)
    );
    let beginnings = sent.iter().filter(|frame| frame.sequence == 0).count();
    assert!(beginnings >= 2, "at the start, and when the panel began anew");
}

pub fn addresses(evidence: &Evidence, _: Channel) {
    let mut all: Vec<u8> = evidence.street.frames.iter().filter_map(|frame| frame.get(1).copied()).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.iter().all(|address| matches!(address & 0x7F, BASIC | SECURE)), "{all:02X?}");
}

pub fn security_block(evidence: &Evidence, _: Channel) {
    for frame in evidence.sent(Channel::Secure) {
        let kind = frame.block.as_ref().map(|(kind, _)| *kind);
        let expected = match frame.code {
            command::ID | command::CAP => None,
            command::CHLNG => Some(0x11),
            command::SCRYPT => Some(0x13),
            _ if frame.data.is_empty() => Some(0x15),
            _ => Some(0x17),
        };
        assert_eq!(kind, expected, "{:02X}", frame.code);
    }
    assert!(evidence.sent(Channel::Basic).iter().all(|frame| frame.block.is_none()));
}

pub fn codes(evidence: &Evidence, channel: Channel) {
    assert!(evidence.sent(channel).iter().all(|frame| (0x60..=0x7F).contains(&frame.code)));
    let of = |name| evidence.told(channel, name).len();
    // What libosdp took them for is what was meant.
    assert!(of("Output") > 0 && of("LED") > 0 && of("Buzzer") > 0);
}

pub fn bad_crc(evidence: &Evidence, channel: Channel) {
    let of = address(channel) | 0x80;
    let frames = evidence.street.frames.iter().filter(|frame| frame.get(1) == Some(&of)).count();
    assert!(frames > evidence.replies(channel).len(), "one is broken");
    let sent = evidence.sent(channel);
    assert!(sent.windows(2).any(|both| both[0] == both[1]), "it is asked for again");
}

pub fn cleartext(evidence: &Evidence, _: Channel) {
    for frame in evidence.sent(Channel::Secure) {
        let is_sealed = frame.mac.is_some();
        let may_be = [command::ID, command::CAP, command::CHLNG, command::SCRYPT];
        assert!(is_sealed || may_be.contains(&frame.code), "{:02X}", frame.code);
    }
}

pub fn poll(evidence: &Evidence, channel: Channel) {
    let polls = evidence.sent_of(channel, command::POLL);
    assert!(polls.len() > 30 && polls.iter().all(|poll| poll.data.is_empty()));
}

pub fn id(evidence: &Evidence, channel: Channel) {
    assert!(evidence.sent_of(channel, command::ID).iter().all(|id| id.data == [0]));
    assert!(
        evidence.replies(channel).iter().any(|reply| reply.code == reply::PDID && reply.data.len() == 12)
    );
    // The serial number as tests/peers gives it to panels.
    let serial = format!("{:08X}", 0x1000 + u32::from(address(channel)));
    assert!(evidence.statuses.to_string().contains(&serial), "{serial} in {}", evidence.statuses);
}

pub fn cap(evidence: &Evidence, channel: Channel) {
    assert!(evidence.sent_of(channel, command::CAP).iter().all(|cap| cap.data == [0]));
    let said = evidence.replies(channel);
    let said = said.iter().find(|reply| reply.code == reply::PDCAP).expect("PDCAP");
    let has = |function| said.data.chunks(3).any(|one| one[0] == function && one[1] > 0);
    // CRC, secure channel, version, inputs, lights, sounds: and they are used.
    assert!([8, 9, 1, 4, 5].into_iter().all(has), "{said:?}");
    assert!(said.data.chunks(3).any(|one| one[0] == 16), "{said:?}");
    for code in [command::ISTAT, command::LED, command::BUZ] {
        assert!(!evidence.sent_of(channel, code).is_empty(), "{code:02X}");
    }
}

pub fn lstat(evidence: &Evidence, channel: Channel) {
    let asked = evidence.sent_of(channel, command::LSTAT);
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.data.is_empty()));
    assert!(evidence.replies(channel).iter().any(|reply| reply.code == reply::LSTATR));
}

pub fn istat(evidence: &Evidence, channel: Channel) {
    let asked = evidence.sent_of(channel, command::ISTAT);
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.data.is_empty()));
}

/// Of the panel that was paired.
fn keysets(evidence: &Evidence) -> Vec<Layout> {
    let sent = evidence.yard.of(PAIRED, false);
    sent.into_iter().filter(|frame| frame.code == command::KEYSET).collect()
}

pub fn keyset(evidence: &Evidence, _: Channel) {
    let is_it = |word: &&Value| word["name"] == "Keyset" && word["addr"] == PAIRED;
    let keys: Vec<&Value> = evidence.told.iter().filter(is_it).collect();
    assert!(keys.len() >= 2, "at first, and when it was changed");
    assert!(keys.iter().all(|key| key["data"].as_str().is_some_and(|key| key.len() == 32)));
    assert!(keysets(evidence).iter().all(|frame| frame.mac.is_some() && frame.data.len() == 32));
}

pub fn key_in_force(evidence: &Evidence, _: Channel) {
    let sent = evidence.yard.of(PAIRED, false);
    let (mut by_own_key, mut is_proven, mut was_default) = (false, false, false);
    for frame in sent {
        match (frame.code, &frame.block) {
            (command::CHLNG, Some((_, flag))) => {
                by_own_key = flag[0] == 1;
                was_default |= !by_own_key;
                assert!(by_own_key || !is_proven, "by the default key after its own");
            }
            _ => is_proven |= by_own_key && frame.mac.is_some(),
        }
    }
    assert!(was_default && is_proven, "by the default key, and by its own");
    let is_it = |event: &Value| event["type"] == "intercom.panel.secured" && event["subject"] == "panel-3";
    assert!(evidence.events.iter().any(is_it));
}

pub fn rotation(evidence: &Evidence, _: Channel) {
    let is_it = |event: &&Value| event["type"] == "intercom.panel.secured" && event["subject"] == "panel-3";
    assert!(evidence.events.iter().filter(is_it).count() >= 2, "by the first key, and by the second");
    assert!(keysets(evidence).len() >= 2);
}

pub fn handshake(evidence: &Evidence, _: Channel) {
    let (sent, said) = (evidence.sent(Channel::Secure), evidence.replies(Channel::Secure));
    for (code, is_ours) in
        [(command::CHLNG, true), (reply::CCRYPT, false), (command::SCRYPT, true), (reply::RMAC_I, false)]
    {
        let frames = if is_ours { &sent } else { &said };
        assert!(frames.iter().any(|frame| frame.code == code && frame.block.is_some()), "{code:02X}");
    }
    assert!(evidence.has_type(Channel::Secure, "intercom.panel.secured"));
    let is_open = |word: &Value| word["ev"] == "sc" && word["addr"] == SECURE && word["active"] == true;
    assert!(evidence.told.iter().any(is_open), "libosdp says so, too");
}

pub fn ack(evidence: &Evidence, channel: Channel) {
    assert!(evidence.replies(channel).iter().filter(|reply| reply.code == reply::ACK).count() > 30);
    assert!(evidence.has_type(channel, "intercom.door.unlocked"), "OUT was acknowledged");
}

pub fn inputs(evidence: &Evidence, channel: Channel) {
    assert!(evidence.has_type(channel, "intercom.door.opened"), "input 0, in answer to POLL");
}

pub fn nak(evidence: &Evidence, channel: Channel) {
    assert!(evidence.replies(channel).iter().any(|reply| reply.code == reply::NAK));
    let is_refused =
        |event: &Value| event["type"] == "intercom.door.unlock_failed" && event["data"]["cause"] == "refused";
    assert!(evidence.has_event(channel, is_refused));
}

pub fn tamper_and_power(evidence: &Evidence, channel: Channel) {
    for kind in ["intercom.panel.tamper", "intercom.panel.power"] {
        assert!(
            evidence.has_event(channel, |event| event["type"] == kind && event["data"]["active"] == true)
        );
    }
}

pub fn raw(evidence: &Evidence, channel: Channel) {
    for (card, decision) in [(KNOWN, "granted"), (UNKNOWN, "denied")] {
        let is_it = |event: &Value| event["data"]["raw"] == card && event["data"]["decision"] == decision;
        assert!(evidence.has_event(channel, is_it), "{card} is not {decision}");
    }
}

pub fn keypad(evidence: &Evidence, channel: Channel) {
    assert!(evidence.has_event(channel, |event| event["data"]["digits"] == "12"));
}

pub fn out(evidence: &Evidence, channel: Channel) {
    let all = evidence.told(channel, "Output");
    let is_right = |out: &&Value| out["output_no"] == 0 && out["control_code"] == 5;
    assert!(!all.is_empty() && all.iter().all(is_right), "{all:?}");
}

pub fn led(evidence: &Evidence, channel: Channel) {
    let colours: Vec<&Value> = evidence.told(channel, "LED").iter().map(|light| &light["on_color"]).collect();
    assert!(colours.contains(&&Value::from(1)) && colours.contains(&&Value::from(2)), "{colours:?}");
}

pub fn buz(evidence: &Evidence, channel: Channel) {
    assert!(!evidence.told(channel, "Buzzer").is_empty());
}

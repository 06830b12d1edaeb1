//! The table of OSDP Verified for a control panel, in our own words, and what shows each row. It is the source of
//! docs/conformance.md.
//!
//! Names of rows, and what is asked of which profile, are those of the SIA's public list
//! (github.com/Security-Industry-Association/osdp-verified, edition 2.7 of December 2025).

use crate::{
    commands, frame,
    libosdp::{Evidence, rows as libosdp},
    line, replies,
};

/// The profile: a link in plaintext by configuration, or in a secure channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Basic,
    Secure,
}

/// What is asked of which profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Both,
    Secure,
    /// Of both, but only where a panel's PDCAP says that there is something.
    Fitted,
}

/// How a row is shown.
pub enum Shown<F> {
    /// By a test, of which this is the name.
    By(&'static str, F),
    /// In a secure channel alone, by a test; in plaintext it is missing, for this reason.
    InChannel(&'static str, &'static str, F),
    /// Not applicable, for this reason.
    Not(&'static str),
}

/// A row.
pub struct Row {
    pub id: &'static str,
    pub what: &'static str,
    pub asked: Asked,
    /// With our simulated panel, in virtual time and with the bytes looked at.
    pub ours: Shown<fn(Channel)>,
    /// With panels on libosdp and the daemon itself.
    pub libosdp: Shown<fn(&Evidence, Channel)>,
}

macro_rules! by {
    ($test:path) => {
        Shown::By(stringify!($test), $test)
    };
}

macro_rules! in_channel {
    ($why:expr, $test:path) => {
        Shown::InChannel($why, stringify!($test), $test)
    };
}

const BOTH: Asked = Asked::Both;
const SECURE: Asked = Asked::Secure;
const FITTED: Asked = Asked::Fitted;

/// Of libosdp's panels.
const UNABLE: &str = "libosdp's panels cannot be made to do that";
const OTHER_RATE: &str = "asked at 9600 and 115200 alone";

const PLAIN: &str =
    "outside of a secure channel no panel is told another rate, but one that was lost on its way";
const ONE_RATE: &str = "the line with libosdp's panels is a pseudo-terminal, which has no rate";

macro_rules! rows {
    ($($id:literal, $what:literal, $asked:ident, $ours:expr, $libosdp:expr;)*) => {
        /// All rows, in the order of the list; those for what a panel may have or not are at the end.
        pub const ROWS: &[Row] = &[$(Row { id: $id, what: $what, asked: $asked, ours: $ours, libosdp: $libosdp },)*];
    };
}

rows! {
    "050-01-01", "two-wire RS-485", BOTH,
        Shown::Not("hardware: the adapter's; nothing is sent while a panel may send (050-07-01)"),
        Shown::Not("hardware");
    "050-02-01", "9600", BOTH, by!(line::at_9600), by!(libosdp::at_9600);
    "050-02-02", "19200", BOTH, by!(line::at_19200), Shown::Not(OTHER_RATE);
    "050-02-03", "38400", BOTH, by!(line::at_38400), Shown::Not(OTHER_RATE);
    "050-02-04", "115200", BOTH, by!(line::at_115200), by!(libosdp::at_115200);
    "050-02-05", "57600", BOTH, by!(line::at_57600), Shown::Not(OTHER_RATE);
    "050-02-06", "230400; 8N1, one of the six at least", BOTH, by!(line::at_230400), Shown::Not(OTHER_RATE);
    "050-03-01", "every byte value passes", BOTH, by!(line::every_byte_passes), by!(libosdp::every_byte_passes);
    "050-04-01", "one command, one reply, within 200 ms", BOTH,
        by!(line::one_reply_within_200_ms), by!(libosdp::one_reply);
    "050-05-01", "multi-byte fields little-endian, no padding", BOTH,
        by!(line::little_endian), by!(libosdp::little_endian);
    "050-06-02", "replies from 128 up to 1440 bytes are taken", BOTH,
        by!(line::long_replies), Shown::Not(UNABLE);
    "050-07-01", "two idle characters and a mark before sending; 200 ms for the reply", BOTH,
        by!(line::idle_characters_and_a_mark), by!(libosdp::marks);
    "050-08-01", "20 ms between characters; frames found behind a mark", BOTH,
        by!(line::pauses_and_marks), Shown::Not(UNABLE);
    "050-09-01", "frame layout", BOTH, by!(frame::frame_layout), by!(libosdp::frame_layout);
    "050-09-02", "number 0 restarts the link", BOTH, by!(frame::number_0), by!(libosdp::number_0);
    "050-09-03", "every frame begins with SOM", BOTH, by!(frame::som), by!(libosdp::frame_layout);
    "050-09-04", "addresses 0 to 7E, 7F for set-up", BOTH, by!(frame::addresses), by!(libosdp::addresses);
    "050-09-05", "7F only for ID, CAP, COMSET and their replies", BOTH,
        by!(frame::set_up_address), by!(libosdp::addresses);
    "050-09-06", "length field", BOTH, by!(frame::length), by!(libosdp::frame_layout);
    "050-09-07", "control byte", BOTH, by!(frame::control), by!(libosdp::frame_layout);
    "050-09-08", "security block when its flag is set", SECURE,
        by!(frame::security_block), by!(libosdp::security_block);
    "050-09-09", "code byte", BOTH, by!(frame::code_byte), by!(libosdp::codes);
    "050-09-10", "codes in range", BOTH, by!(frame::codes_in_range), by!(libosdp::codes);
    "050-09-12", "SOM sent", BOTH, by!(frame::som), by!(libosdp::frame_layout);
    "050-09-15", "CRC, not checksum", BOTH, by!(frame::crc_alone), by!(libosdp::frame_layout);
    "050-09-16", "a reply with a bad CRC is noticed", BOTH, by!(frame::bad_crc), by!(libosdp::bad_crc);
    "050-09-18", "where a secure channel is wanted, in the clear only ID, CAP, COMSET, CHLNG", BOTH,
        by!(frame::cleartext), by!(libosdp::cleartext);
    "050-09-19", "a wrong number (not 0) is noticed", BOTH, by!(frame::wrong_number), Shown::Not(UNABLE);
    "060-02-01", "POLL", BOTH, by!(commands::poll), by!(libosdp::poll);
    "060-02-02", "LSTATR in answer to POLL", BOTH, by!(replies::lstatr), by!(libosdp::tamper_and_power);
    "060-03-01", "ID and PDID", BOTH, by!(commands::id), by!(libosdp::id);
    "060-04-01", "CAP and PDCAP", BOTH, by!(commands::cap), by!(libosdp::cap);
    "060-05-01", "LSTAT", BOTH, by!(commands::lstat), by!(libosdp::lstat);
    "060-13-01", "COMSET", BOTH, in_channel!(PLAIN, commands::comset), Shown::Not(ONE_RATE);
    "060-16-01", "KEYSET", SECURE, by!(commands::keyset), by!(libosdp::keyset);
    "060-16-02", "the key that was set is in force", SECURE,
        by!(commands::key_in_force), by!(libosdp::key_in_force);
    "060-16-03", "a paired key can be removed and set anew", SECURE,
        by!(commands::paired_anew), Shown::Not("shown by the daemon's own tests: a_swapped_panel_gets_a_key_only_when_somebody_says_so");
    "060-16-04", "KEYSET within a session under the panel's own key: rotation", SECURE,
        by!(commands::rotation), by!(libosdp::rotation);
    "060-16-05", "COMSET inside a secure channel", SECURE,
        by!(commands::comset_in_session), Shown::Not(ONE_RATE);
    "060-17-01", "CHLNG", SECURE, by!(commands::chlng), by!(libosdp::handshake);
    "060-18-01", "SCRYPT", SECURE, by!(commands::scrypt), by!(libosdp::handshake);
    "070-02-01", "ACK", BOTH, by!(replies::ack), by!(libosdp::ack);
    "070-02-02", "ISTATR in answer to POLL", BOTH, by!(replies::istatr), by!(libosdp::inputs);
    "070-03-01", "NAK of any kind", BOTH, by!(replies::nak), by!(libosdp::nak);
    "070-03-03", "NAK with code 0 is never sent and does not pass unnoticed", BOTH,
        by!(replies::nak_0), Shown::Not(UNABLE);
    "070-03-04", "NAK 1: bad check", BOTH, by!(replies::nak_1), Shown::Not(UNABLE);
    "070-04-01", "PDID", BOTH, by!(replies::pdid), by!(libosdp::id);
    "070-05-01", "PDCAP: what it reports is used", BOTH, by!(replies::pdcap), by!(libosdp::cap);
    "070-05-09", "capability 8: check characters", BOTH, by!(replies::check_characters), by!(libosdp::cap);
    "070-05-10", "capability 9: secure channel", SECURE, by!(replies::secure_channel), by!(libosdp::cap);
    "070-05-17", "capability 16: version", BOTH, by!(replies::version), by!(libosdp::cap);
    "070-06-01", "LSTATR", SECURE, by!(replies::lstatr), by!(libosdp::tamper_and_power);
    "070-06-02", "tamper", SECURE, by!(replies::lstatr), by!(libosdp::tamper_and_power);
    "070-06-03", "power", SECURE, by!(replies::lstatr), by!(libosdp::tamper_and_power);
    "070-10-01", "RAW", BOTH, by!(replies::raw), by!(libosdp::raw);
    "070-12-01", "KEYPAD", BOTH, by!(replies::keypad), by!(libosdp::keypad);
    "070-13-01", "COM", BOTH, in_channel!(PLAIN, replies::com), Shown::Not(ONE_RATE);
    "070-16-01", "CCRYPT", SECURE, by!(replies::ccrypt), by!(libosdp::handshake);
    "070-17-01", "RMAC_I", SECURE, by!(replies::rmac_i), by!(libosdp::handshake);
    "070-17-02", "a malformed RMAC_I ends the session", SECURE,
        by!(replies::malformed_rmac_i), Shown::Not(UNABLE);

    "060-06-01", "ISTAT", FITTED, by!(commands::istat), by!(libosdp::istat);
    "060-07-01", "OSTAT", FITTED,
        Shown::Not("the gateway asks no panel for its outputs: an unlock is over with its acknowledgement and its time"),
        Shown::Not("not sent");
    "060-09-01", "OUT", FITTED, by!(commands::out), by!(libosdp::out);
    "060-10-01", "LED, any colour", FITTED, by!(commands::led), by!(libosdp::led);
    "060-10-02", "LED, black", FITTED, by!(commands::led_black), Shown::Not("nobody looked for these panels");
    "060-10-03", "LED, red", FITTED, by!(commands::led), by!(libosdp::led);
    "060-10-04", "LED, green", FITTED, by!(commands::led), by!(libosdp::led);
    "060-10-05", "LED, amber", FITTED, Shown::Not("the gateway shows granted and denied: green and red"),
        Shown::Not("not sent");
    "060-10-06", "LED, blue", FITTED, Shown::Not("as amber"), Shown::Not("not sent");
    "060-10-07", "LED, magenta (version 2.2)", FITTED, Shown::Not("as amber"), Shown::Not("not sent");
    "060-10-08", "LED, cyan (version 2.2)", FITTED, Shown::Not("as amber"), Shown::Not("not sent");
    "060-10-09", "LED, white (version 2.2)", FITTED, Shown::Not("as amber"), Shown::Not("not sent");
    "060-11-01", "BUZ", FITTED, by!(commands::buz), by!(libosdp::buz);
    "060-12-01", "TEXT", FITTED, Shown::Not("the gateway has nothing to write on a display"),
        Shown::Not("not sent");
    "070-07-01", "ISTATR", FITTED, by!(replies::istatr), by!(libosdp::inputs);
    "070-08-01", "OSTATR", FITTED, by!(replies::ostatr), Shown::Not("no panel of these tests sends it");
}

impl Row {
    /// The profiles that it is asked of.
    pub fn channels(&self) -> &'static [Channel] {
        match self.asked {
            Asked::Both | Asked::Fitted => &[Channel::Basic, Channel::Secure],
            Asked::Secure => &[Channel::Secure],
        }
    }
}

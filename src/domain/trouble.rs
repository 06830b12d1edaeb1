//! What may be wrong with a panel, and what an installer reads about it.
//!
//! Cores say which [`Trouble`] it is and compare values; every sentence stands here, once. A sentence says what is wrong
//! and what to do next.

use std::fmt;

/// What is wrong with a panel. [`fmt::Display`] writes the sentence, [`Trouble::code`] gives the word for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It has not answered since the start.
    NeverHeard,
    /// It used to answer and has not for this many seconds.
    Silent {
        /// Seconds without a reply after which it counts as silent.
        seconds: u64,
    },
    /// It answers, but no POLL in order: no link comes about.
    NoLink,
    /// There is no key to try.
    NoKey,
    /// It has another key than ours.
    WrongKey,
    /// It answers the handshake of a secure channel too late or not at all: nothing is known of its key.
    NoHandshake,
    /// It refuses a secure channel.
    NoSecureChannel,
    /// It does not take the default key, and there is no other to try.
    NoDefaultKey,
    /// It is getting its own key.
    Pairing,
    /// Its new key is not on the disk yet, so it cannot be set.
    KeyNotStored,
    /// It was sent a new key as often as allowed and has not proven it.
    PairingFailed,
    /// Its key cannot be used.
    KeyUnusable(KeyFault),
    /// The system gives no random numbers.
    NoRandomness,
    /// It demands a secure channel, and none is configured.
    NeedsSecureChannel,
    /// It was told to take this rate and has not been heard since: the cable does not carry it.
    UnreachableAt {
        /// Bits a second.
        baud: u32,
    },
    /// The configuration names an input that it does not have.
    NoSuchInput {
        /// The configured number.
        input: u8,
        /// How many inputs it says it has.
        has: u8,
    },
    /// The configuration names an output that it does not have.
    NoSuchOutput {
        /// The configured number.
        output: u8,
        /// How many outputs it says it has.
        has: u8,
    },
    /// It says that a reader is not connected.
    ReaderDisconnected {
        /// Number of the reader, from 0.
        reader: u8,
    },
    /// A Modbus panel is another than its profile is for.
    OtherModel {
        /// What it says it is.
        found: String,
        /// What the profile expects.
        expected: String,
    },
    /// A Modbus panel does not have registers that its profile names.
    NoSuchRegisters {
        /// The section of the profile: `keys`, `door`, `lock`.
        section: &'static str,
        /// Address of the first of them.
        address: u16,
        /// Whether it refuses them (exceptions 01 to 03) or gives no answer when they are asked for.
        refused: bool,
    },
}

/// Why a configured or kept panel key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// The file cannot be read.
    Unreadable,
    /// The file holds something else than 32 hex digits.
    Malformed,
    /// SCBK-D, the key that every panel leaves the factory with.
    Default,
    /// Sixteen zero bytes.
    Zero,
    /// What an earlier run kept of it cannot be read.
    RecordUnreadable,
    /// Only its hash is known: the configuration gave the key and does no more.
    HashOnly,
}

impl Trouble {
    /// Returns the word for programs: `error_code` of a panel's status.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NeverHeard => "never_heard",
            Self::Silent { .. } => "silent",
            Self::NoLink => "no_link",
            Self::NoKey => "no_key",
            Self::WrongKey => "wrong_key",
            Self::NoHandshake => "no_handshake",
            Self::NoSecureChannel => "no_secure_channel",
            Self::NoDefaultKey => "no_default_key",
            Self::Pairing => "pairing",
            Self::KeyNotStored => "key_not_stored",
            Self::PairingFailed => "pairing_failed",
            Self::KeyUnusable(_) => "key_unusable",
            Self::NoRandomness => "no_randomness",
            Self::NeedsSecureChannel => "needs_secure_channel",
            Self::UnreachableAt { .. } => "unreachable_at_rate",
            Self::NoSuchInput { .. } => "no_such_input",
            Self::NoSuchOutput { .. } => "no_such_output",
            Self::ReaderDisconnected { .. } => "reader_disconnected",
            Self::OtherModel { .. } => "other_model",
            Self::NoSuchRegisters { .. } => "no_such_registers",
        }
    }

    /// Returns whether it is our side that lacks a key that can be used; what a panel does with a good key is no such
    /// trouble.
    pub fn is_of_our_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::KeyUnusable(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverHeard => f.write_str(
                "no reply since the start: check wiring, power, address, baud rate and parity",
            ),
            Self::Silent { seconds } => {
                write!(f, "no valid reply for {seconds} s: check its power and the wiring")
            }
            Self::NoLink => f.write_str(
                "it answers, but no link comes about: look for a second device on its address, and restart the panel",
            ),
            Self::NoKey => f.write_str("there is no key for it: name one in secure_key_file, or pair it with `panel pair`"),
            Self::WrongKey => {
                f.write_str("it has another key: correct secure_key_file, or pair it with `panel pair`")
            }
            Self::NoHandshake => f.write_str(
                "it answers the handshake of its secure channel too late or not at all: check wiring and power, raise reply_timeout if the panel is slow, and see that its secure channel is switched on",
            ),
            Self::NoSecureChannel => {
                f.write_str("it refuses a secure channel: switch it on in the panel, or replace the panel")
            }
            Self::NoDefaultKey => f.write_str(
                "it takes no pairing: reset it to its factory state (or switch its secure channel on), or name its key in secure_key_file",
            ),
            Self::Pairing => f.write_str("it is being paired: it gets its own key"),
            Self::KeyNotStored => f.write_str(
                "its new key cannot be written to the disk, so it is not paired: check state_dir and the disk",
            ),
            Self::PairingFailed => f.write_str(
                "it was sent a new key ten times and has not proven it: restart the panel, then run `panel pair`",
            ),
            Self::KeyUnusable(fault) => write!(f, "its key cannot be used: {fault}"),
            Self::NoRandomness => {
                f.write_str("the system's random source fails, so no secure channel can be opened: restart the gateway")
            }
            Self::NeedsSecureChannel => f.write_str(
                "it demands a secure channel: set secure_channel to \"required\" or \"install\"",
            ),
            Self::UnreachableAt { baud } => write!(
                f,
                "unreachable at {baud} baud, which it was told to take and which the cable does not carry to it: check its wiring and the termination, or set the panel to the line's rate; it is sought at both rates until it is found"
            ),
            Self::NoSuchInput { input, has } => {
                write!(f, "it has no input {input}: {}; correct `door`", Numbered("input", *has))
            }
            Self::NoSuchOutput { output, has } => {
                write!(f, "it has no output {output}: {}; correct `lock`", Numbered("output", *has))
            }
            Self::ReaderDisconnected { reader } => {
                write!(f, "its reader {reader} is not connected: check the cable between reader and panel")
            }
            Self::OtherModel { found, expected } => write!(
                f,
                "it says that it is {found:?}, and its profile is for {expected:?}: check its address and the profile"
            ),
            Self::NoSuchRegisters { section, address, refused: true } => write!(
                f,
                "it refuses the registers of [{section}] at address {address}: check that address in the profile (addresses count from 0)"
            ),
            Self::NoSuchRegisters { section, address, refused: false } => write!(
                f,
                "it does not answer when asked for the registers of [{section}] at address {address}, while it answers everything else: check that address in the profile (addresses count from 0)"
            ),
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the file that secure_key_file names cannot be read; `check` says why",
            Self::Malformed => "the file that secure_key_file names must hold 32 hex digits and nothing else",
            Self::Default => {
                "it is SCBK-D, the key that every panel leaves the factory with and that protects nothing; make one of your own"
            }
            Self::Zero => "it is all zeros, which protects nothing; make one of your own",
            Self::RecordUnreadable => {
                "its file in `panels` of state_dir cannot be read; check the disk and the file's owner, then restart the gateway"
            }
            Self::HashOnly => {
                "it came from secure_key_file, and the configuration does not give it any more; name that file again, or pair the panel with `panel pair`"
            }
        })
    }
}

/// Writes which numbers a panel's inputs or outputs have.
struct Numbered(&'static str, u8);

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what, has) = self;
        match has.checked_sub(1) {
            None => write!(f, "it says that it has no {what}s"),
            Some(0) => write!(f, "it says that it has one {what}, number 0 (they count from 0)"),
            Some(last) => {
                write!(f, "it says that it has {has} {what}s, numbers 0 to {last} (they count from 0)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_0_and_the_sentence_says_so() {
        let missing = |has| Trouble::NoSuchInput { input: 4, has }.to_string();
        assert!(missing(4).contains("4 inputs, numbers 0 to 3 (they count from 0)"), "{}", missing(4));
        assert!(missing(1).contains("one input, number 0"));
        assert!(missing(0).contains("has no inputs"));
    }
}

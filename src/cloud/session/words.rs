//! What goes into a session, and what comes out of it.

use std::{fmt, sync::Arc};

use super::{ReadId, ReplayEnd, ReplayId};

/// When an event counts as delivered (contract §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// When the broker has acknowledged it with reason 0x00.
    #[default]
    Broker,
    /// When `events/committed` covers it.
    Cloud,
}

/// An event, ready to be published.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the journal.
    pub sequence: u64,
    /// The CloudEvents object.
    pub payload: String,
}

/// The payload may hold a key number: not for logs.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", self.sequence)
    }
}

/// Names one publish of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub(super) u64);

/// How a connection ended, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It broke, or could not be made.
    Broken,
    /// The broker means us to stay away for a while.
    Rejected,
    /// Another client connected with our id (MQTT's 0x8E).
    TakenOver,
}

/// What the broker answered to a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// 0x00: the broker has it, and somebody is subscribed.
    Accepted,
    /// 0x10: nobody is subscribed, so it went nowhere.
    NoSubscribers,
    /// 0x80 and above: the broker does not want it; its reason in words.
    Refused(String),
    /// It was not sent, for the broker takes no packet so large.
    TooLarge {
        /// Bytes of the packet.
        bytes: usize,
        /// Most bytes that the broker takes.
        limit: usize,
    },
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a connection with a session identity of its own.
    Connect {
        /// The will's `last`.
        last: u64,
    },
    /// Subscribe to what comes from below; tell the SUBACK.
    Subscribe,
    /// Publish `status`, and tell the acknowledgement.
    Status {
        /// `online`, or `offline`.
        online: bool,
        /// Its `last`.
        last: u64,
    },
    /// Publish everything else that is retained.
    Announce,
    /// Publish an event.
    Publish {
        /// To be told with the acknowledgement.
        token: Token,
        /// The event.
        event: Event,
    },
    /// Read events from a journal.
    Read {
        /// To be told with the events.
        id: ReadId,
        /// The journal.
        journal: Arc<str>,
        /// The first sequence.
        from: u64,
        /// Most events.
        limit: usize,
    },
    /// Keep in the journal that everything up to `through` is delivered.
    Delivered {
        /// The journal.
        journal: Arc<str>,
        /// The last sequence.
        through: u64,
    },
    /// A replay is over.
    Replayed {
        /// Which one.
        id: ReplayId,
        /// How.
        end: ReplayEnd,
    },
    /// Begin a new journal.
    BeginNewJournal {
        /// Why, for the log.
        reason: String,
    },
    /// Tell that somebody claimed to know more of our journal than there is, and that nothing follows from it.
    Ignored {
        /// Our journal.
        journal: Arc<str>,
        /// The highest sequence that was claimed.
        through: u64,
        /// How many messages did since the last effect of this kind.
        count: u64,
    },
    /// Say good-bye to the broker, and tell when the connection is gone.
    Disconnect,
}

/// Why events are not delivered although the broker is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The broker says that nobody is subscribed.
    NoSubscribers,
    /// The broker refuses events.
    Refused {
        /// Its reason in words.
        reason: String,
    },
    /// An event does not fit into a packet.
    TooLarge {
        /// The event.
        sequence: u64,
        /// Bytes of the packet.
        bytes: usize,
        /// Most bytes that the broker takes.
        limit: usize,
    },
    /// The cloud does not confirm.
    Unconfirmed {
        /// The oldest event that it has not confirmed.
        from: u64,
        /// It confirms others of this journal, so it lacks this one.
        is_hole: bool,
    },
    /// The journal cannot be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// A sentence for the installer.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSubscribers => f.write_str(
                "events are kept here, for nobody is subscribed to them at the broker: is the cloud's consumer running?",
            ),
            Self::Refused { reason } => write!(
                f,
                "events are kept here, for the broker refuses them ({reason}): let this gateway write its topic `events`"
            ),
            Self::TooLarge { sequence, bytes, limit } => write!(
                f,
                "events are kept here from sequence {sequence} on, for it needs {bytes} bytes and the broker takes {limit}: raise its maximum packet size to 1 MiB"
            ),
            Self::Unconfirmed { from, is_hole: true } => write!(
                f,
                "the cloud confirms events of this journal, and not sequence {from}, which the broker has taken: it is sent again until the cloud has it; does a consumer acknowledge what it has not stored, or has what publishes `events/committed` stopped?"
            ),
            Self::Unconfirmed { from, is_hole: false } => write!(
                f,
                "the cloud has not confirmed the events from sequence {from} on, so they are sent again: does its consumer publish `events/committed`?"
            ),
            Self::Unreadable { reason } => write!(f, "events are kept here, for the journal cannot be read: {reason}"),
        }
    }
}

//! Certificates and keys of the endpoint, of the uplink and of `check`: read, matched, renewed, and how long they hold.
//!
//! Invariants:
//! - No clock is read here: what is known of the time comes with every call ([`KnownTime`](crate::domain::KnownTime)).
//! - What a PEM file should hold and does not is one error, [`PemError`], for all who read one.
//! - How long a certificate holds is judged by [`Expiry`] alone, and only while the clock is synchronised.
//! - The self-signed certificate keeps its key: every certificate after the first has another fingerprint, the
//!   fingerprint of the key stays. Only a key that is missing, or damaged, is replaced.
//! - Files that cannot be read just now are not replaced; files that do not fit together are not put into force.
//!
//! **Without a real-time clock.** A self-signed certificate is valid for 825 days, the most that Apple's clients
//! accept, from a day before it is made. While the clock is not synchronised, "now" is the last synchronised time plus
//! the time since boot, which is never late; where there was never one, the date of the program. Neither lies ahead of
//! the true time, so clients do not find the certificate "not valid yet". It is provisional: valid for 800 days, by
//! which it is known again, also after a restart, and made again as soon as the clock is synchronised. Before that
//! nothing is renewed, however old a certificate looks.

mod certificate;
mod client;
mod expiry;
mod issue;
mod pem;
mod self_signed;
mod served;

pub use self::{
    certificate::{fingerprint, key_fingerprint},
    client::{ClientError, client_config},
    expiry::{CertificateUse, Expiries, Expiry, Remaining},
    pem::{Pem, PemError, PemProblem, pair},
    self_signed::SelfSigned,
    served::{CertificateError, InForce, Served, Source},
};

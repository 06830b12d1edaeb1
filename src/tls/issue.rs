//! What a self-signed certificate holds: names, use, and when it is valid.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, SerialNumber, date_time_ymd,
};

use super::{SelfSigned, certificate::Validity, served::CertificateError};
use crate::{
    domain::{KnownTime, order},
    sys::files::executable_time,
};

/// How long a certificate is valid: 825 days with both its ends, the most that Apple's clients accept.
pub(super) const VALID: SignedDuration = SignedDuration::from_secs(825 * 86_400 - 1);

/// How long one is valid that was made while the clock was not synchronised: by this it is known again.
const PROVISIONALLY_VALID: SignedDuration = SignedDuration::from_secs(800 * 86_400 - 1);

/// A client's clock may be this late.
const MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// No program is older, whatever the file system says: 2026-11-01.
const EARLIEST: Timestamp = Timestamp::constant(1_793_491_200, 0);

/// Returns when a certificate is valid that is made now (see the head of the room).
pub(super) fn valid_from(now: KnownTime) -> Validity {
    let (made, valid) = match now {
        KnownTime::Synchronized(now) => (now, VALID),
        KnownTime::AtLeast(earliest) => (earliest, PROVISIONALLY_VALID),
        KnownTime::Never => (built(), PROVISIONALLY_VALID),
    };
    let begins = made.saturating_sub(MARGIN).unwrap_or(Timestamp::UNIX_EPOCH);
    // A certificate counts in seconds.
    let begins = Timestamp::from_second(begins.as_second().max(0)).unwrap_or(Timestamp::UNIX_EPOCH);
    Validity { begins, ends: begins.saturating_add(valid).unwrap_or(Timestamp::MAX) }
}

/// Returns when this program was built, as well as the file system knows.
pub(super) fn built() -> Timestamp {
    let written = executable_time().and_then(|time| Timestamp::try_from(time).ok());
    written.unwrap_or(EARLIEST).max(EARLIEST)
}

/// Returns a certificate in PEM.
pub(super) fn issue(of: &SelfSigned, key: &KeyPair, valid: Validity) -> Result<String, CertificateError> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut names: Vec<String> =
        host.into_iter().chain(["localhost".into(), of.gateway.to_string()]).collect();
    names.retain(|name| !name.is_empty() && name.is_ascii());
    order::sort(&mut names);
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    let loopback: [IpAddr; 2] = [[127, 0, 0, 1].into(), Ipv6Addr::LOCALHOST.into()];
    let own = (!of.address.is_unspecified() && !of.address.is_loopback()).then_some(of.address);
    params.subject_alt_names.extend(loopback.into_iter().chain(own).map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, format!("intercom-gateway {}", of.gateway));
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|error| CertificateError::NoRandomness(error.to_string()))?;
    // Browsers refuse two certificates of one issuer with the same number, and the key's hash would be the same.
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let at = |time: Timestamp| {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
    };
    (params.not_before, params.not_after) = (at(valid.begins), at(valid.ends));
    Ok(params.self_signed(key)?.pem())
}

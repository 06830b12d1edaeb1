//! What is written in a certificate.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use yasna::{ASN1Result, BERReaderSeq, Tag, tags::TAG_UTCTIME};

/// Returns the SHA-256 of a certificate (DER), as browsers and `openssl x509 -fingerprint -sha256` show it: `AB:CD:…`.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(certificate)
}

/// Returns the SHA-256 of a certificate's public key (DER of its SubjectPublicKeyInfo) in the form of [`fingerprint`];
/// `None` where it is no certificate. It stays when a certificate is renewed with its key.
pub fn key_fingerprint(certificate: &CertificateDer<'_>) -> Option<String> {
    Some(hex(&Contents::of(certificate)?.public_key))
}

/// From when to when a certificate is valid, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
}

/// Returns when a certificate is valid; `None` where it is no certificate. Times that no clock here can show, as the
/// "no end" of RFC 5280, section 4.1.2.5, are the last that it can.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    Some(Contents::of(certificate)?.validity)
}

/// What is of interest in a certificate.
struct Contents {
    validity: Validity,
    /// DER of its SubjectPublicKeyInfo.
    public_key: Vec<u8>,
}

impl Contents {
    /// `None` where it is no certificate.
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = yasna::parse_der(certificate, |certificate| {
            certificate.read_sequence(|certificate| {
                let contents = certificate.next().read_sequence(Self::read)?;
                let _algorithm = certificate.next().read_der()?;
                let _signature = certificate.next().read_der()?;
                Ok(contents)
            })
        });
        certificate.ok()
    }

    /// Reads a TBSCertificate (RFC 5280, section 4.1).
    fn read(members: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Self> {
        let _version = members
            .read_optional(|version| version.read_tagged(Tag::context(0), |version| version.read_u8()))?;
        let _serial_number = members.next().read_der()?;
        let _algorithm = members.next().read_der()?;
        let _issuer = members.next().read_der()?;
        let validity = members
            .next()
            .read_sequence(|times| Ok(Validity { begins: time(times)?, ends: time(times)? }))?;
        let _subject = members.next().read_der()?;
        let public_key = members.next().read_der()?;
        while members.read_optional(|rest| rest.read_der())?.is_some() {}
        Ok(Self { validity, public_key })
    }
}

/// Reads a Time (RFC 5280, section 4.1.2.5).
fn time(times: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Timestamp> {
    let time = times.next();
    let time = match time.lookahead_tag()? {
        TAG_UTCTIME => *time.read_utctime()?.datetime(),
        _ => *time.read_generalized_time()?.datetime(),
    };
    let second = time.unix_timestamp();
    let end = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Ok(Timestamp::from_second(second).unwrap_or(end))
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use x509_parser::{certificate::X509Certificate, prelude::FromDer};

    use super::*;

    /// As another reads it: with times of both kinds (until 2049, and from 2050 on), and with no end.
    #[test]
    fn what_is_in_a_certificate() {
        let key = KeyPair::generate().unwrap();
        for (begins, ends) in
            [((1950, 1, 1), (1999, 12, 31)), ((2026, 11, 30), (2049, 12, 31)), ((2050, 1, 1), (9999, 12, 31))]
        {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_before = date_time_ymd(begins.0, begins.1, begins.2);
            params.not_after = date_time_ymd(ends.0, ends.1, ends.2);
            let made = params.self_signed(&key).unwrap();
            let (_, other) = X509Certificate::from_der(made.der()).unwrap();
            let is = Contents::of(made.der()).unwrap();
            assert_eq!(is.validity.begins.as_second(), other.validity().not_before.timestamp());
            let ends = other.validity().not_after.timestamp().min(Timestamp::MAX.as_second());
            assert_eq!(is.validity.ends.as_second(), ends);
            assert_eq!(is.public_key, other.tbs_certificate.subject_pki.raw);
            for length in 0..made.der().len() {
                let cut = CertificateDer::from_slice(&made.der()[..length]);
                assert!(Contents::of(&cut).is_none(), "{length} bytes");
            }
        }
    }
}

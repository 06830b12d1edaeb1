//! What is written in a certificate.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, time::ASN1Time};

/// Returns the SHA-256 of a certificate (DER), as browsers and `openssl x509 -fingerprint -sha256` show it: `AB:CD:…`.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(certificate)
}

/// Returns the SHA-256 of a certificate's public key (DER of its SubjectPublicKeyInfo) in the form of [`fingerprint`];
/// `None` where it is no certificate. It stays when a certificate is renewed with its key.
pub fn key_fingerprint(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(hex(certificate.tbs_certificate.subject_pki.raw))
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
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let at = |time: ASN1Time| {
        let second = time.timestamp();
        let end = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_second(second).unwrap_or(end)
    };
    Some(Validity { begins: at(validity.not_before), ends: at(validity.not_after) })
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

//! PEM files: what is read from them, and which file holds something else.

use std::{fmt, fs::File, io::Read, path::Path};

use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::served::CertificateError;
use crate::domain::BYTE_ORDER_MARK;

/// What stands before the 32 bytes of an Ed25519 public key (RFC 8410 §10.1).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A file does not hold what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} {problem}")]
pub struct PemError {
    /// The file, as its reader calls it.
    pub file: String,
    /// What is wrong with it, and what would be right.
    pub problem: PemProblem,
}

/// What is wrong with a PEM file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemProblem {
    /// It is no file of certificates or keys.
    #[error("is above 256 KiB: this is no certificate and no key")]
    TooLarge,
    /// No certificate.
    #[error("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// What stands for a certificate cannot be read as one.
    #[error("holds a damaged certificate, or one of an unknown form")]
    DamagedCertificate,
    /// No private key.
    #[error("holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or one with a passphrase")]
    NoPrivateKey,
    /// The private key of another certificate.
    #[error("is not the private key of the certificate in cert_file")]
    OtherKey,
    /// A private key of an unknown kind.
    #[error("holds a private key of a kind that TLS does not use here")]
    UnusableKey,
    /// No public key.
    #[error("holds no public key in PEM (-----BEGIN PUBLIC KEY-----; openssl pkey -pubout makes one)")]
    NoPublicKey,
    /// A public key that signs nothing here.
    #[error("holds a public key that is not of Ed25519")]
    NotEd25519,
}

/// The content of a PEM file, and what the file is called.
pub struct Pem {
    file: String,
    bytes: Zeroizing<Vec<u8>>,
}

impl Pem {
    /// Larger files are no certificates and no keys, in bytes.
    const MAX_BYTES: u64 = 256 * 1024;

    /// `file` is what errors call it.
    pub fn new(file: impl Into<String>, mut bytes: Zeroizing<Vec<u8>>) -> Self {
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Self { file: file.into(), bytes }
    }

    /// Reads a file. Blocks on the disk.
    pub(super) fn read(path: &Path) -> Result<Self, CertificateError> {
        let failed = |source| CertificateError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        // All at once: what a growing vector leaves behind in memory would not be wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(Self::MAX_BYTES).unwrap_or(0) + 1));
        file.take(Self::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        let is_too_large = bytes.len() as u64 > Self::MAX_BYTES;
        let pem = Self::new(path.display().to_string(), bytes);
        if is_too_large { Err(pem.error(PemProblem::TooLarge).into()) } else { Ok(pem) }
    }

    /// Returns all certificates, at least one.
    ///
    /// # Errors
    /// Where there is no certificate, or something is no PEM.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
        certificates.ok_or_else(|| self.error(PemProblem::NoCertificate))
    }

    /// Returns all certificates as trust anchors.
    ///
    /// # Errors
    /// As [`Pem::certificates`], or where one of them cannot be a trust anchor.
    pub fn roots(&self) -> Result<RootCertStore, PemError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|_| self.error(PemProblem::DamagedCertificate))?;
        }
        Ok(roots)
    }

    /// Returns the private key.
    ///
    /// # Errors
    /// Where there is no private key, or one with a passphrase.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, PemError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|_| self.error(PemProblem::NoPrivateKey))
    }

    /// Returns all public keys, at least one, each of Ed25519.
    ///
    /// # Errors
    /// Where there is no public key, or one of another kind.
    pub fn ed25519_keys(&self) -> Result<Vec<[u8; 32]>, PemError> {
        let keys: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(&self.bytes).collect();
        let keys = keys.ok().filter(|keys| !keys.is_empty());
        let raw = |key: SubjectPublicKeyInfoDer<'_>| key.strip_prefix(&ED25519)?.try_into().ok();
        let keys = keys.ok_or_else(|| self.error(PemProblem::NoPublicKey))?;
        keys.into_iter().map(raw).collect::<Option<_>>().ok_or_else(|| self.error(PemProblem::NotEd25519))
    }

    /// Returns what errors call the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn error(&self, problem: PemProblem) -> PemError {
        PemError { file: self.file.clone(), problem }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Returns a chain (own certificate first) with its private key, ready for rustls.
///
/// # Errors
/// Where one of the two holds something else, or the key is not the certificate's.
pub fn pair(chain: &Pem, key: &Pem) -> Result<CertifiedKey, PemError> {
    let provider = ring::default_provider();
    CertifiedKey::from_der(chain.certificates()?, key.private_key()?, &provider).map_err(
        |error| match error {
            rustls::Error::InconsistentKeys(_) => key.error(PemProblem::OtherKey),
            rustls::Error::InvalidCertificate(_) => chain.error(PemProblem::DamagedCertificate),
            _ => key.error(PemProblem::UnusableKey),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(file: &str, text: impl AsRef<[u8]>) -> Pem {
        Pem::new(file, Zeroizing::new(text.as_ref().to_vec()))
    }

    #[test]
    fn what_a_file_does_not_hold_is_told_with_its_name_and_without_its_content() {
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (own, other) = (made("a"), made("b"));
        let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let marked = [BYTE_ORDER_MARK, certificate.as_bytes()].concat();
        let damaged = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n";
        let paired = |chain: &[u8], key: &str| pair(&pem("c.pem", chain), &pem("k.pem", key));
        assert!(paired(&marked, &key).is_ok(), "an editor's byte order mark");
        for (chain, key, file, problem) in [
            (certificate.as_bytes(), other.signing_key.serialize_pem(), "k.pem", PemProblem::OtherKey),
            (certificate.as_bytes(), "s3cret".into(), "k.pem", PemProblem::NoPrivateKey),
            (b"s3cret", key.clone(), "c.pem", PemProblem::NoCertificate),
            (damaged.as_bytes(), key, "c.pem", PemProblem::DamagedCertificate),
        ] {
            let error = paired(chain, &key).unwrap_err();
            assert_eq!(error, PemError { file: file.into(), problem });
            let told = error.to_string();
            assert!(told.starts_with(file) && !told.contains("s3cret"), "{told}");
        }
        assert_eq!(pem("ca.pem", damaged).roots().unwrap_err().problem, PemProblem::DamagedCertificate);
        assert_eq!(pem("ca.pem", &marked).roots().unwrap().len(), 1);
        let public = own.signing_key.public_key_pem();
        assert_eq!(pem("s.pem", public).ed25519_keys().unwrap_err().problem, PemProblem::NotEd25519);
        assert_eq!(pem("s.pem", "").ed25519_keys().unwrap_err().problem, PemProblem::NoPublicKey);
        assert!(!format!("{:?}", pem("k.pem", "s3cret")).contains("s3cret"));
    }

    #[test]
    fn what_is_too_large_is_not_read_to_its_end() {
        let error = Pem::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "/dev/zero is above 256 KiB: this is no certificate and no key");
    }
}

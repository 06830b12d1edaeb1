//! Certificates, private keys and signing keys, read from PEM files.

use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use tokio_rustls::rustls::{self, RootCertStore, sign::CertifiedKey};

use super::{CertificateFiles, SecretError, SecretFile};

/// A chain (own certificate first) and its private key, ready for rustls.
pub type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What stands before the 32 bytes of an Ed25519 public key (RFC 8410 §10.1).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl SecretFile {
    /// All Ed25519 public keys of a PEM file, at least one. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SecretFile::read`], or where the file holds no public key in PEM, or one of another kind.
    pub fn read_signing_keys(&self) -> Result<Vec<[u8; 32]>, SecretError> {
        let bytes = self.read()?;
        let keys: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(&bytes).collect();
        let keys = keys.ok().filter(|keys| !keys.is_empty()).ok_or_else(|| {
            self.form(
                "holds no public key in PEM (-----BEGIN PUBLIC KEY-----; openssl pkey -pubout makes one)",
            )
        })?;
        let raw = |key: SubjectPublicKeyInfoDer<'_>| key.strip_prefix(&ED25519)?.try_into().ok();
        keys.into_iter()
            .map(raw)
            .collect::<Option<_>>()
            .ok_or_else(|| self.form("holds a public key that is not of Ed25519"))
    }

    /// All certificates of a PEM file, at least one. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SecretFile::read`], or where the file holds no certificate in PEM.
    pub fn read_certificates(&self) -> Result<Vec<CertificateDer<'static>>, SecretError> {
        let bytes = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(self.form("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")),
        }
    }

    /// The certificates of a PEM file as trust anchors. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SecretFile::read_certificates`], or where one of them cannot be a trust anchor.
    pub fn read_roots(&self) -> Result<RootCertStore, SecretError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.read_certificates()? {
            let added = roots.add(certificate);
            added.map_err(|_| self.form("holds a damaged certificate, or one of an unknown form"))?;
        }
        Ok(roots)
    }
}

impl CertificateFiles {
    /// Reads both files and makes sure that they belong together. Blocks on the disk.
    ///
    /// # Errors
    /// Where a file cannot be read, holds something else, or the key is not the certificate's.
    pub fn read(&self) -> Result<ChainAndKey, SecretError> {
        let chain = self.cert_file.read_certificates()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key_file.read()?).map_err(|_| {
            self.key_file
                .form("holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or one with a passphrase")
        })?;
        let provider = rustls::crypto::ring::default_provider();
        match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
            Ok(_) => Ok((chain, key)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(self.key_file.form("is not the private key of the certificate in cert_file"))
            }
            Err(rustls::Error::InvalidCertificate(_)) => {
                Err(self.cert_file.form("holds a damaged certificate, or one of an unknown form"))
            }
            Err(_) => Err(self.key_file.form("holds a private key of a kind that TLS does not use here")),
        }
    }
}

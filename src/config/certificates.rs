//! Certificates, private keys and signing keys: the files of `*_file` keys as [`crate::tls`] reads them.

use super::{SecretError, SecretFile};
use crate::tls::Pem;

impl SecretFile {
    /// Returns the file's content, to be read as PEM. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SecretFile::read`].
    pub fn read_pem(&self) -> Result<Pem, SecretError> {
        let path = self.path()?;
        Ok(Pem::new(path.display().to_string(), self.read()?))
    }

    /// Returns all Ed25519 public keys of a PEM file, at least one. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SecretFile::read`], or where the file holds no public key in PEM, or one of another kind.
    pub fn read_signing_keys(&self) -> Result<Vec<[u8; 32]>, SecretError> {
        Ok(self.read_pem()?.ed25519_keys()?)
    }
}

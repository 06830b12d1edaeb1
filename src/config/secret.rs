//! Secrets are never values of the configuration: they lie in files, or are handed over by systemd.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{domain::BYTE_ORDER_MARK, tls::PemError};

/// What a `*_file` key names: a path, or with `credential:NAME` a file that systemd puts into
/// `$CREDENTIALS_DIRECTORY` (contract §2), as `NAME` or, from the folder that the unit loads whole, as `secrets_NAME`.
/// Certificates use it too, as LoadCredential may carry them.
///
/// Nothing is read before [`SecretFile::read`], so `Debug` and `Display` can only show where the secret lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(Source);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Path(PathBuf),
    Credential { name: String, among: Credentials },
}

/// What systemd has handed over to this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The files of this directory.
    In(PathBuf),
    /// Nothing: the unit has no LoadCredential=.
    Nothing,
    /// This process is no service.
    Outside,
}

/// What systemd puts before the names of files from [`FOLDER`]: the id of the unit's LoadCredential= and a line.
const PREFIX: &str = "secrets_";

/// The folder that the shipped unit loads whole.
const FOLDER: &str = "/etc/intercom-gateway/secrets";

/// SCBK-D, the key that every OSDP panel leaves the factory with.
const SCBK_D: [u8; 16] = *b"0123456789:;<=>?";

/// Why a secret could not be read. Names the file and the next step, never the content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// `credential:NAME` outside of a unit that hands credentials over.
    #[error(
        "credential:{0} can only be read under systemd: add LoadCredential={0}:/path/of/the/secret to the unit (systemctl edit intercom-gateway)"
    )]
    NoCredentials(String),
    /// The unit hands no credentials over at all.
    #[error(
        "there is no credential {0}: the unit hands none over; put the secret into {FOLDER}/{0} (mode 0600), add LoadCredential=secrets:{FOLDER} to the unit (systemctl edit intercom-gateway), and restart the service"
    )]
    NothingHandedOver(String),
    /// systemd handed credentials over, and this is not among them.
    #[error(
        "there is no credential {name}: neither {name} nor {PREFIX}{name} is in {directory}; put the secret into {FOLDER}/{name} (mode 0600) and restart the service",
        directory = .directory.display()
    )]
    Missing {
        /// Its name in the configuration.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The file cannot be read.
    #[error("{path}: {hint}", path = .path.display(), hint = read_hint(.error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said; no `source`, as the sentence has it.
        error: io::Error,
    },
    /// The file is no secret of the expected form.
    #[error("{path}: {expected}", path = .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The file is no PEM of the expected form.
    #[error("{}: {}", .0.file, .0.problem)]
    Pem(#[from] PemError),
}

impl SecretFile {
    /// Larger files are no secret, key or certificate chain, in bytes.
    pub const MAX_BYTES: u64 = 256 * 1024;

    /// From the text of a `*_file` key; `base` is the directory that relative paths are meant from. `Err` says what would
    /// be right.
    pub(super) fn new(text: &str, base: &Path, credentials: &Credentials) -> Result<Self, String> {
        match text.strip_prefix("credential:") {
            Some(name) => {
                let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
                if !plain || name.len() > 255 || name.chars().any(char::is_control) {
                    return Err(
                        "credential: is followed by the name of a LoadCredential= of the unit, without slashes"
                            .into(),
                    );
                }
                Ok(Self(Source::Credential { name: name.to_owned(), among: credentials.clone() }))
            }
            None if text.is_empty() => Err("is empty; write the path of a file, or credential:NAME".into()),
            None => Ok(Self(Source::Path(base.join(text)))),
        }
    }

    /// The file of this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(Source::Path(path.into()))
    }

    /// Returns where the secret lies. A credential is looked for, which blocks on the disk.
    ///
    /// # Errors
    /// [`SecretError::NoCredentials`] for a credential outside of systemd, [`SecretError::NothingHandedOver`] and
    /// [`SecretError::Missing`] for one that systemd did not hand over.
    pub fn path(&self) -> Result<PathBuf, SecretError> {
        match &self.0 {
            Source::Path(path) => Ok(path.clone()),
            Source::Credential { name, among: Credentials::In(directory) } => {
                let files = [directory.join(name), directory.join(format!("{PREFIX}{name}"))];
                let found = files.into_iter().find(|file| file.exists());
                found.ok_or_else(|| SecretError::Missing { name: name.clone(), directory: directory.clone() })
            }
            Source::Credential { name, among: Credentials::Nothing } => {
                Err(SecretError::NothingHandedOver(name.clone()))
            }
            Source::Credential { name, among: Credentials::Outside } => {
                Err(SecretError::NoCredentials(name.clone()))
            }
        }
    }

    /// Returns where the secret lies for those who are not handed it over: a credential in the folder that the
    /// shipped unit loads. Asks no disk.
    pub fn source(&self) -> PathBuf {
        match &self.0 {
            Source::Path(path) => path.clone(),
            Source::Credential { name, .. } => Path::new(FOLDER).join(name),
        }
    }

    /// Whether it is handed over by systemd.
    pub fn is_credential(&self) -> bool {
        matches!(self.0, Source::Credential { .. })
    }

    /// The file's bytes, as they are. Blocks on the disk.
    ///
    /// # Errors
    /// Where there is no file, or none that may be read, or one above [`SecretFile::MAX_BYTES`].
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let path = self.path()?;
        let failed = |error| SecretError::Read { path: path.clone(), error };
        let file = File::open(&path).map_err(failed)?;
        // All at once: what a growing vector leaves behind in memory would not be wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(Self::MAX_BYTES).unwrap_or(0) + 1));
        file.take(Self::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > Self::MAX_BYTES {
            return Err(SecretError::Form { path, expected: "is above 256 KiB: this is no secret" });
        }
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(bytes)
    }

    /// The file as text, without the line break at its end (an editor leaves one behind a password).
    ///
    /// # Errors
    /// As [`SecretFile::read`], or where the file is no UTF-8.
    pub fn read_text(&self) -> Result<Zeroizing<String>, SecretError> {
        let bytes = self.read()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| self.form("is no text in UTF-8"))?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }

    /// A 128-bit key: 32 hex digits, nothing else but white space around them.
    ///
    /// # Errors
    /// As [`SecretFile::read`], or where the file holds anything else.
    pub fn read_key(&self) -> Result<Zeroizing<[u8; 16]>, SecretError> {
        let text = self.read_text()?;
        let mut key = Zeroizing::new([0; 16]);
        hex::decode_to_slice(text.trim(), key.as_mut())
            .map_err(|_| self.form("must hold a key of 32 hex digits and nothing else"))?;
        Ok(key)
    }

    /// A panel's SCBK: as [`SecretFile::read_key`], and a key that protects something.
    ///
    /// # Errors
    /// As [`SecretFile::read_key`]; also for SCBK-D and sixteen zero bytes.
    pub fn read_panel_key(&self) -> Result<Zeroizing<[u8; 16]>, SecretError> {
        let key = self.read_key()?;
        if *key == SCBK_D {
            return Err(self.form(
                "holds the default key of all OSDP panels, which protects nothing; make one of your own",
            ));
        }
        if *key == [0; 16] {
            return Err(self.form("holds nothing but zeros, which protects nothing; make a key of your own"));
        }
        Ok(key)
    }

    /// The error for a file of the wrong form.
    pub(super) fn form(&self, expected: &'static str) -> SecretError {
        SecretError::Form { path: self.path().unwrap_or_default(), expected }
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Path(path) => write!(f, "{}", path.display()),
            Source::Credential { name, .. } => write!(f, "credential:{name}"),
        }
    }
}

fn read_hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => {
            "may not be read: put it into /etc/intercom-gateway/secrets and write credential:NAME, or give the service's user access"
                .into()
        }
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_read_from_systemds_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "s3cret\n").unwrap();
        let secret =
            SecretFile::new("credential:pw", Path::new("/"), &Credentials::In(dir.path().into())).unwrap();
        assert_eq!(*secret.read_text().unwrap(), "s3cret");
        assert_eq!(secret.to_string(), "credential:pw");

        let outside = SecretFile::new("credential:pw", Path::new("/"), &Credentials::Outside).unwrap();
        assert!(outside.read().unwrap_err().to_string().contains("LoadCredential=pw:"));
        let unit = SecretFile::new("credential:pw", Path::new("/"), &Credentials::Nothing).unwrap();
        let told = unit.read().unwrap_err().to_string();
        assert!(
            !told.contains("only") && told.contains("/etc/intercom-gateway/secrets/pw (mode 0600)"),
            "{told}"
        );
        for bad in ["credential:", "credential:../x", "credential:..", ""] {
            assert!(SecretFile::new(bad, Path::new("/"), &Credentials::Outside).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_credential_of_the_folder_has_a_prefix_and_one_of_its_own_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let secret =
            SecretFile::new("credential:pw", Path::new("/"), &Credentials::In(dir.path().into())).unwrap();
        let missing = secret.read().unwrap_err().to_string();
        assert!(!missing.contains("only"), "it runs under systemd: {missing}");
        let next = format!("put the secret into {FOLDER}/pw (mode 0600) and restart the service");
        for said in ["neither pw nor secrets_pw is in", dir.path().to_str().unwrap(), &next] {
            assert!(missing.contains(said), "{said}: {missing}");
        }
        // What the unit sets in place of a folder that is not there, and a neighbour.
        std::fs::write(dir.path().join("secrets"), "none").unwrap();
        std::fs::write(dir.path().join("secrets_pw2"), "another").unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Missing { .. })));
        assert!(matches!(secret.path(), Err(SecretError::Missing { .. })));

        std::fs::write(dir.path().join("secrets_pw"), "of the folder\n").unwrap();
        assert_eq!(*secret.read_text().unwrap(), "of the folder");
        std::fs::write(dir.path().join("pw"), "its own\n").unwrap();
        assert_eq!(*secret.read_text().unwrap(), "its own");
    }

    #[test]
    fn the_unit_loads_the_folder_under_the_prefix() {
        let unit =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/intercom-gateway.service"))
                .unwrap();
        let id = PREFIX.strip_suffix('_').unwrap();
        assert!(unit.lines().any(|line| line == format!("LoadCredential={id}:{FOLDER}")));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_secret_and_a_device_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let secret = SecretFile::new("key", dir.path(), &Credentials::Outside).unwrap();
        std::fs::write(dir.path().join("key"), "\u{feff}303132333435363738393A3B3C3D3E40\r\n").unwrap();
        assert_eq!(secret.read_key().unwrap()[15], 0x40);
        std::fs::write(dir.path().join("key"), "\u{feff}s3cret").unwrap();
        assert_eq!(*secret.read_text().unwrap(), "s3cret");
        let endless = SecretFile::new("/dev/zero", dir.path(), &Credentials::Outside).unwrap();
        assert!(endless.read().unwrap_err().to_string().contains("256 KiB"));
    }

    #[test]
    fn keys_are_32_hex_digits_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let secret = SecretFile::new("key", dir.path(), &Credentials::Outside).unwrap();
        std::fs::write(&file, " 303132333435363738393A3B3C3D3E3F\n").unwrap();
        assert_eq!(secret.read_key().unwrap()[15], 0x3F);
        for bad in ["303132333435363738393A3B3C3D3E", "303132333435363738393A3B3C3D3E3F00", "zz", ""] {
            std::fs::write(&file, bad).unwrap();
            let error = secret.read_key().unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
        assert!(!format!("{secret:?}").contains("3031"));
    }
}

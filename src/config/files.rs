//! Which files a configuration consists of, and which it names.

use std::path::{self, Path, PathBuf};

use super::{CertificateFiles, Config, ConfigErrors, SecretFile, Tls, layers, place::Problems};
use crate::domain::order;

/// Returns the files of the configuration at `main`: itself, then those of `main`.d in the order in which they are
/// read. The paths are absolute.
///
/// # Errors
/// `main`.d cannot be read.
pub fn layer_files(main: &Path) -> Result<Vec<PathBuf>, ConfigErrors> {
    let mut problems = Problems::default();
    let files = layers::files(main, &mut problems);
    problems.into_result()?;
    Ok(files.iter().map(|file| absolute(file)).collect())
}

impl Config {
    /// Returns the files that the configuration names: secrets, certificates, profiles that are not shipped. Each
    /// once, by an absolute path. Not all of them need exist.
    pub fn named_files(&self) -> Vec<PathBuf> {
        let mut secrets: Vec<&SecretFile> = Vec::new();
        if let Tls::Files(CertificateFiles { cert_file, key_file }) = &self.http.tls {
            secrets.extend([cert_file, key_file]);
        }
        if let Some(mqtt) = &self.mqtt {
            secrets
                .extend([&mqtt.password_file, &mqtt.ca_file, &mqtt.signing_key_file].into_iter().flatten());
            secrets
                .extend(mqtt.client_certificate.iter().flat_map(|files| [&files.cert_file, &files.key_file]));
        }
        secrets.extend(self.panels.iter().filter_map(|panel| panel.secure_key_file.as_ref()));
        let profiles = self.panels.iter().filter_map(|panel| panel.modbus.as_ref()?.profile_file.as_deref());
        let mut files: Vec<PathBuf> = secrets.iter().map(|secret| plain(&secret.source())).collect();
        files.extend(profiles.map(plain));
        order::sort(&mut files);
        files.dedup();
        files
    }
}

/// Returns the absolute path without steps upwards, which archives do not take. A link that the file itself is stays
/// one.
fn plain(path: &Path) -> PathBuf {
    let path = absolute(path);
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.zip(path.file_name()).map_or(path.clone(), |(folder, name)| folder.join(name))
}

/// Paths of a configuration that was named by a relative one are relative, too.
fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

//! Certificates: the one made at the first start, and files that are read again when they change.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Settings, Tls};
use crate::sys::files::{private_dir, write_private};

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl CertificateError {
    /// Whether the files may be sound, and only cannot be read now.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound)
    }
}

/// SHA-256 of a certificate (DER), as browsers and `openssl x509 -fingerprint -sha256` show it: `AB:CD:…`.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// What a listener serves TLS with.
pub(super) struct Certificates {
    pub(super) config: Arc<ServerConfig>,
    /// SHA-256 fingerprint of the certificate served at the start.
    pub(super) fingerprint: String,
    /// Looks after the files of [`Tls::Files`].
    pub(super) reload: Option<Reload>,
}

impl Certificates {
    /// Reads or makes the certificate; `None` with [`Tls::Off`]. Blocks on the disk.
    pub(super) fn prepare(settings: &Settings) -> Result<Option<Self>, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let (files, certified) = match &settings.tls {
            Tls::Off => return Ok(None),
            Tls::SelfSigned => (None, self_signed(settings, &provider)?),
            Tls::Files { cert, key } => {
                let files = Files { cert: cert.clone(), key: key.clone() };
                let stamp = files.stamp();
                let certified = files.read(&provider)?;
                (Some((files, stamp)), certified)
            }
        };
        let fingerprint = certified.end_entity_cert().map(fingerprint).unwrap_or_default();
        let served = Arc::new(Served { current: ArcSwap::from_pointee(certified) });
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(served.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let reload = files.map(|(files, stamp)| Reload {
            files,
            seen: stamp,
            served,
            provider,
            trouble: watch::Sender::new(None),
        });
        Ok(Some(Self { config: Arc::new(config), fingerprint, reload }))
    }
}

#[derive(Debug)]
struct Served {
    current: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Puts changed files into force; broken ones leave the old certificate there.
pub(super) struct Reload {
    files: Files,
    seen: Option<Stamp>,
    served: Arc<Served>,
    provider: Arc<CryptoProvider>,
    trouble: watch::Sender<Option<String>>,
}

impl Reload {
    /// Why the files as they are now are not in force; `None`: they are.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Looks whether the files have changed. Blocks on the disk.
    pub(super) fn look(&mut self) {
        let stamp = self.files.stamp();
        if stamp == self.seen {
            return;
        }
        self.seen = stamp;
        match self.files.read(&self.provider) {
            Ok(certified) => {
                let fingerprint = certified.end_entity_cert().map(fingerprint).unwrap_or_default();
                self.served.current.store(Arc::new(certified));
                self.trouble.send_replace(None);
                tracing::info!(%fingerprint, "the changed certificate is in force");
            }
            Err(error) => {
                let message = format!("the changed certificate is not used, the old one stays: {error}");
                tracing::warn!("{message}");
                self.trouble.send_replace(Some(message));
            }
        }
    }
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What tells one version of the two files from another: inode, size, time of change (seconds, nanoseconds).
type Stamp = [(u64, u64, i64, i64); 2];

impl Files {
    fn stamp(&self) -> Option<Stamp> {
        let of = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        };
        Some([of(&self.cert)?, of(&self.key)?])
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|source| CertificateError::Read { path: path.clone(), source })
        };
        let (cert, key) = (read(&self.cert)?, zeroize::Zeroizing::new(read(&self.key)?));
        self.parse(&cert, &key, provider)
    }

    fn parse(
        &self,
        cert: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, CertificateError> {
        let wrong_cert = |problem| CertificateError::Form { path: self.cert.clone(), problem };
        let wrong_key = |problem| CertificateError::Form { path: self.key.clone(), problem };
        let chain = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| wrong_cert("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            wrong_key("holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or one with a passphrase")
        })?;
        CertifiedKey::from_der(chain, key, provider)
            .map_err(|_| wrong_key("is not the private key of the certificate, or one of the two is damaged"))
    }
}

/// Returns the certificate of `state_dir/tls`; makes one where there is none, or a damaged one. A certificate that cannot be
/// read now is not replaced, for clients trust its fingerprint. One that cannot be written is served until the process ends.
fn self_signed(settings: &Settings, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let dir = settings.state_dir.join("tls");
    let files = Files { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    if files.cert.exists() || files.key.exists() {
        match files.read(provider) {
            Ok(certified) => return Ok(certified),
            Err(error) if error.may_pass() => return Err(error),
            // Nobody gets in by the old one, so nothing is lost but a trusted fingerprint.
            Err(error) => tracing::warn!(%error, "a new certificate is made, with another fingerprint"),
        }
    }
    let (certificate, key) = make(settings)?;
    let written = private_dir(&dir).map_err(|source| (dir.clone(), source)).and_then(|()| {
        [(&files.key, key.as_str()), (&files.cert, certificate.as_str())].into_iter().try_for_each(
            |(path, pem)| write_private(path, pem.as_bytes()).map_err(|source| (path.clone(), source)),
        )
    });
    if let Err((path, error)) = written {
        tracing::warn!(
            "{} cannot be written ({error}): the certificate has another fingerprint after a restart",
            path.display()
        );
    }
    files.parse(certificate.as_bytes(), key.as_bytes(), provider)
}

/// A certificate and its key (P-256), PEM. Valid from 2020 and without a well-defined end (RFC 5280, section
/// 4.1.2.5): the gateway has no clock that could be relied on to renew it, and clients know it by its fingerprint.
fn make(settings: &Settings) -> Result<(String, zeroize::Zeroizing<String>), rcgen::Error> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut names: Vec<String> =
        host.into_iter().chain(["localhost".into(), settings.gateway.to_string()]).collect();
    names.retain(|name| !name.is_empty() && name.is_ascii());
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    let own = settings.listen.ip();
    let loopback: [IpAddr; 2] = [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
    let others = (!own.is_unspecified() && !own.is_loopback()).then_some(own);
    params.subject_alt_names.extend(loopback.into_iter().chain(others).map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, format!("intercom-gateway {}", settings.gateway));
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem().into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{api::Limits, domain::Name};

    fn settings(dir: &Path, tls: Tls) -> Settings {
        Settings {
            listen: "192.0.2.7:8443".parse().unwrap(),
            tls,
            gateway: Name::new("building_7").unwrap(),
            state_dir: dir.to_path_buf(),
            intercoms: vec![1],
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let prepare = || Certificates::prepare(&settings(dir.path(), Tls::SelfSigned));
        let first = prepare().unwrap().unwrap();
        let (key, aside) = (dir.path().join("tls/key.pem"), dir.path().join("aside"));
        fs::rename(&key, &aside).unwrap();
        fs::create_dir(&key).unwrap();
        let error = prepare().err().unwrap().to_string();
        assert!(error.contains("cannot read") && error.contains("key.pem"), "{error}");
        fs::remove_dir(&key).unwrap();
        fs::rename(&aside, &key).unwrap();
        assert_eq!(prepare().unwrap().unwrap().fingerprint, first.fingerprint);
    }

    #[test]
    fn where_nothing_can_be_written_the_certificate_is_in_force_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tls"), "in the way").unwrap();
        let served = Certificates::prepare(&settings(dir.path(), Tls::SelfSigned)).unwrap().unwrap();
        assert_eq!(served.fingerprint.len(), 32 * 3 - 1);
    }

    #[test]
    fn the_self_signed_certificate_stays_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Certificates::prepare(&settings(dir.path(), Tls::SelfSigned)).unwrap().unwrap();
        let again = Certificates::prepare(&settings(dir.path(), Tls::SelfSigned)).unwrap().unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("tls"), mode("tls/key.pem")), (0o700, 0o600));

        fs::write(dir.path().join("tls/key.pem"), "broken by a bad card").unwrap();
        let other = Certificates::prepare(&settings(dir.path(), Tls::SelfSigned)).unwrap().unwrap();
        assert_ne!(first.fingerprint, other.fingerprint);
    }

    #[test]
    fn changed_files_come_into_force_and_broken_ones_do_not() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &two] {
            Certificates::prepare(&settings(dir.path(), Tls::SelfSigned)).unwrap();
        }
        let file = |dir: &tempfile::TempDir, name: &str| dir.path().join("tls").join(name);
        let tls = Tls::Files { cert: file(&one, "cert.pem"), key: file(&one, "key.pem") };
        let certificates = Certificates::prepare(&settings(one.path(), tls)).unwrap().unwrap();
        let mut reload = certificates.reload.unwrap();
        let served = |reload: &Reload| fingerprint(reload.served.current.load().end_entity_cert().unwrap());
        let trouble = reload.trouble();
        reload.look();
        assert_eq!(served(&reload), certificates.fingerprint);

        fs::copy(file(&two, "cert.pem"), file(&one, "cert.pem")).unwrap();
        reload.look();
        assert_eq!(served(&reload), certificates.fingerprint, "a certificate without its key");
        assert!(trouble.borrow().as_ref().unwrap().contains("key.pem"));

        fs::copy(file(&two, "key.pem"), file(&one, "key.pem")).unwrap();
        reload.look();
        assert_ne!(served(&reload), certificates.fingerprint);
        assert_eq!(*trouble.borrow(), None);
    }

    #[test]
    fn wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        let tls = Tls::Files { cert: cert.clone(), key };
        let error =
            |tls: &Tls| Certificates::prepare(&settings(dir.path(), tls.clone())).err().unwrap().to_string();
        assert!(error(&tls).contains("cannot read"));
        fs::write(&cert, "x").unwrap();
        fs::write(dir.path().join("k.pem"), "x").unwrap();
        assert!(error(&tls).contains("c.pem holds no certificate in PEM"));
    }
}

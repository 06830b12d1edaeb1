//! What the endpoint serves TLS with, and how it changes while it runs.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    CertificateUse, Expiry, Pem, PemError, SelfSigned, fingerprint, key_fingerprint, pair, self_signed::Kept,
};
use crate::domain::KnownTime;

/// Why there is no certificate to serve with, or none but the old one.
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
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The system gives no random bytes.
    #[error("cannot make a self-signed certificate: the system gives no random bytes ({0})")]
    NoRandomness(String),
    /// The old certificate stays in force.
    #[error("the self-signed certificate cannot be renewed, the old one stays: {0}")]
    Renew(Box<CertificateError>),
}

/// Where the endpoint's certificate comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The gateway signs it itself.
    SelfSigned(SelfSigned),
    /// PEM files, read again when they change.
    Files {
        /// The chain, own certificate first.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// The certificate in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// SHA-256 of its public key, which stays when it is renewed with the same key.
    pub key_fingerprint: String,
    /// When it ends; `None` where that cannot be read.
    pub expiry: Option<Expiry>,
}

/// What a listener serves TLS with.
pub struct Served {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    keeper: Keeper,
    in_force: InForce,
    trouble: Option<String>,
}

enum Keeper {
    SelfSigned(Kept),
    Files { files: Files, seen: Option<Stamp> },
}

impl Served {
    /// Reads or makes the certificate. Blocks on the disk.
    ///
    /// # Errors
    /// [`CertificateError`], for the installer to read.
    pub fn open(source: Source, now: KnownTime) -> Result<Self, CertificateError> {
        let (keeper, certified) = match source {
            Source::SelfSigned(own) => {
                let (kept, certified) = own.open(now)?;
                (Keeper::SelfSigned(kept), certified)
            }
            Source::Files { cert, key } => {
                let files = Files { cert, key };
                let seen = files.stamp();
                let certified = files.read()?;
                (Keeper::Files { files, seen }, certified)
            }
        };
        let in_force = keeper.in_force(&certified);
        let resolver = Arc::new(Resolver(ArcSwap::from_pointee(certified)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(resolver.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), resolver, keeper, in_force, trouble: None })
    }

    /// Returns what TLS is accepted with; it follows the certificate in force.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Returns the certificate in force.
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// Returns why what there is now is not in force, a sentence; `None`: it is.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Returns whether [`Served::look`] may have something to do, as far as that is known without the disk.
    pub fn is_due(&self, now: KnownTime) -> bool {
        match &self.keeper {
            Keeper::SelfSigned(kept) => kept.is_due(now),
            Keeper::Files { .. } => true,
        }
    }

    /// Returns whether the certificate comes from files of somebody else's, so that only the disk tells of a change.
    pub fn is_of_files(&self) -> bool {
        matches!(self.keeper, Keeper::Files { .. })
    }

    /// Renews a self-signed certificate where it is time, and puts changed files into force; where either fails, the
    /// old certificate stays there. Blocks on the disk.
    pub fn look(&mut self, now: KnownTime) {
        let (certified, news) = match &mut self.keeper {
            Keeper::SelfSigned(kept) if kept.is_due(now) => (
                kept.renew(now).map_err(|error| error.to_string()),
                "the self-signed certificate was renewed: it has another fingerprint, its key has the same",
            ),
            Keeper::SelfSigned(_) => return,
            Keeper::Files { files, seen } => {
                let stamp = files.stamp();
                if stamp == *seen {
                    return;
                }
                *seen = stamp;
                let refused =
                    |error| format!("the changed certificate is not used, the old one stays: {error}");
                (files.read().map_err(refused), "the changed certificate is in force")
            }
        };
        match certified {
            Ok(certified) => {
                self.in_force = self.keeper.in_force(&certified);
                self.resolver.0.store(Arc::new(certified));
                self.trouble = None;
                let InForce { fingerprint, key_fingerprint, .. } = &self.in_force;
                tracing::info!(%fingerprint, %key_fingerprint, "{news}");
            }
            Err(message) => {
                if self.trouble.as_ref() != Some(&message) {
                    tracing::warn!("{message}");
                }
                self.trouble = Some(message);
            }
        }
    }
}

impl Keeper {
    fn in_force(&self, certified: &CertifiedKey) -> InForce {
        let (file, renews_itself) = match self {
            Self::SelfSigned(kept) => (kept.file(), true),
            Self::Files { files, .. } => (files.cert.clone(), false),
        };
        let own = certified.end_entity_cert().ok();
        InForce {
            fingerprint: own.map(fingerprint).unwrap_or_default(),
            key_fingerprint: own.and_then(key_fingerprint).unwrap_or_default(),
            expiry: Expiry::of_chain(
                CertificateUse::Endpoint,
                &file.display().to_string(),
                &certified.cert,
                renews_itself,
            ),
        }
    }
}

#[derive(Debug)]
struct Resolver(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
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

    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        Ok(pair(&Pem::read(&self.cert)?, &Pem::read(&self.key)?)?)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{domain::Name, tls::Remaining};

    const THEN: KnownTime = KnownTime::Synchronized(Timestamp::constant(1_800_000_000, 0));

    fn own(dir: &Path) -> Source {
        let gateway = Name::new("building-7").unwrap();
        Source::SelfSigned(SelfSigned { dir: dir.join("tls"), gateway, address: [127, 0, 0, 1].into() })
    }

    fn shown(served: &Served) -> String {
        fingerprint(served.resolver.0.load().end_entity_cert().unwrap())
    }

    #[test]
    fn changed_files_come_into_force_and_broken_ones_do_not() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [first, second] = [&one, &two].map(|dir| Served::open(own(dir.path()), THEN).unwrap());
        let file = |dir: &tempfile::TempDir, name: &str| dir.path().join("tls").join(name);
        let source = Source::Files { cert: file(&one, "cert.pem"), key: file(&one, "key.pem") };
        let mut served = Served::open(source, KnownTime::Never).unwrap();
        served.look(KnownTime::Never);
        assert_eq!(served.in_force().fingerprint, first.in_force().fingerprint);

        fs::copy(file(&two, "cert.pem"), file(&one, "cert.pem")).unwrap();
        served.look(KnownTime::Never);
        assert_eq!(shown(&served), first.in_force().fingerprint, "a certificate without its key");
        assert!(served.trouble().unwrap().contains("key.pem"));

        fs::copy(file(&two, "key.pem"), file(&one, "key.pem")).unwrap();
        served.look(KnownTime::Never);
        let in_force = served.in_force();
        assert_eq!((shown(&served), served.trouble()), (in_force.fingerprint.clone(), None));
        assert_eq!(in_force.key_fingerprint, second.in_force().key_fingerprint);
    }

    #[test]
    fn our_own_is_renewed_while_it_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let mut served = Served::open(own(dir.path()), THEN).unwrap();
        let first = served.in_force().clone();
        let late = KnownTime::Synchronized(first.expiry.as_ref().unwrap().ends());
        served.look(THEN);
        assert_eq!((served.is_due(THEN), served.in_force()), (false, &first));
        assert!(served.is_due(late));
        served.look(late);
        let second = served.in_force().clone();
        assert_eq!((shown(&served), second.fingerprint == first.fingerprint), (second.fingerprint, false));
        assert_eq!(second.key_fingerprint, first.key_fingerprint);
        assert_eq!(first.expiry.unwrap().remaining(late), Remaining::Over);
        assert_eq!(second.expiry.unwrap().remaining(late), Remaining::Enough);
        assert!(!served.is_due(late));
    }

    #[test]
    fn wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        let source = Source::Files { cert: cert.clone(), key: key.clone() };
        let error = || Served::open(source.clone(), THEN).err().unwrap().to_string();
        assert!(error().contains("cannot read"));
        fs::write(&cert, "x").unwrap();
        fs::write(&key, "x").unwrap();
        assert!(error().contains("c.pem holds no certificate in PEM"));
    }
}

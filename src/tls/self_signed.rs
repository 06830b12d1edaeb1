//! The certificate that the gateway signs itself: made, kept in a directory, renewed with the same key.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::KeyPair;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::{
    Pem,
    certificate::{Validity, validity},
    expiry::RENEW,
    issue::{VALID, issue, valid_from},
    pair,
    served::CertificateError,
};
use crate::{
    domain::{KnownTime, Name},
    sys::files::{private_dir, write_private},
};

/// Which certificate is kept, and where.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// Holds `cert.pem` and `key.pem`; made when needed, 0700.
    pub dir: PathBuf,
    /// Gateway's id: a name of the certificate.
    pub gateway: Name,
    /// What the endpoint listens on: a name too, where clients can reach it.
    pub address: IpAddr,
}

/// The certificate in use, and the key that the next one will have.
pub(super) struct Kept {
    of: SelfSigned,
    key: Pem,
    validity: Option<Validity>,
}

impl SelfSigned {
    pub(super) fn certificate_file(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    fn key_file(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    /// Returns the certificate of `dir`: the one that is there, renewed where it is time, or a new one. One that cannot
    /// be written is served until the process ends. Blocks on the disk.
    ///
    /// # Errors
    /// Where a file cannot be read just now: it is not replaced, for clients trust its fingerprints.
    pub(super) fn open(self, now: KnownTime) -> Result<(Kept, CertifiedKey), CertificateError> {
        let (certificate, key) = (present(&self.certificate_file())?, present(&self.key_file())?);
        let certified = match (&certificate, &key) {
            (Some(certificate), Some(key)) => pair(certificate, key).ok(),
            _ => None,
        };
        let usable = key.filter(|key| certified.is_some() || key_pair(key).is_ok());
        let key_is_new = usable.is_none();
        let key = match usable {
            Some(key) => key,
            None => self.new_key()?,
        };
        let validity = certified.as_ref().and_then(validity_of);
        let mut kept = Kept { of: self, key, validity };
        let certified = match certified {
            Some(certified) if kept.is_due(now) => kept.renew(now).unwrap_or_else(|error| {
                tracing::warn!("{error}");
                certified
            }),
            Some(certified) => certified,
            None => {
                kept.of.tell_of_loss(key_is_new);
                kept.make(now, key_is_new)?
            }
        };
        Ok((kept, certified))
    }

    fn new_key(&self) -> Result<Pem, CertificateError> {
        let pem = KeyPair::generate()?.serialize_pem();
        Ok(Pem::new(self.key_file().display().to_string(), Zeroizing::new(pem.into_bytes())))
    }

    /// Nobody gets in by what is lost, so nothing is lost but fingerprints that clients trust.
    fn tell_of_loss(&self, key_is_new: bool) {
        let (certificate, key) = (self.certificate_file(), self.key_file());
        if !key_is_new {
            let file = certificate.display();
            tracing::warn!(
                "{file} is missing, damaged or not of its key: another one is made for the same key"
            );
        } else if certificate.exists() || key.exists() {
            let file = key.display();
            tracing::warn!(
                "{file} is missing or damaged: key and certificate are made, with other fingerprints"
            );
        }
    }
}

impl Kept {
    /// Returns the directory's certificate file.
    pub(super) fn file(&self) -> PathBuf {
        self.of.certificate_file()
    }

    /// Returns whether the certificate is to be renewed now: its end is near; it is not as this version makes one, or
    /// provisional; or it was made at a time that turned out to lie ahead.
    pub(super) fn is_due(&self, now: KnownTime) -> bool {
        let KnownTime::Synchronized(now) = now else { return false };
        let Some(Validity { begins, ends }) = self.validity else { return true };
        ends.duration_since(begins) != VALID || now < begins || ends.duration_since(now) < RENEW
    }

    /// Makes the next certificate, with the same key, and keeps it. Blocks on the disk.
    pub(super) fn renew(&mut self, now: KnownTime) -> Result<CertifiedKey, CertificateError> {
        let key_is_lost = !self.of.key_file().exists();
        self.make(now, key_is_lost).map_err(|error| CertificateError::Renew(error.into()))
    }

    fn make(&mut self, now: KnownTime, with_key: bool) -> Result<CertifiedKey, CertificateError> {
        let file = self.of.certificate_file();
        let text = issue(&self.of, &key_pair(&self.key)?, valid_from(now))?;
        let pem = Pem::new(file.display().to_string(), Zeroizing::new(text.into_bytes()));
        let certified = pair(&pem, &self.key)?;
        let key = with_key.then(|| (self.of.key_file(), &self.key));
        if let Err((path, error)) = keep(&self.of.dir, key.into_iter().chain([(file, &pem)])) {
            let whose =
                if with_key { "key and certificate have other fingerprints" } else { "it is made again" };
            tracing::warn!("{} cannot be written ({error}): {whose} after a restart", path.display());
        }
        self.validity = validity_of(&certified);
        Ok(certified)
    }
}

fn keep<'a>(
    dir: &Path,
    mut files: impl Iterator<Item = (PathBuf, &'a Pem)>,
) -> Result<(), (PathBuf, io::Error)> {
    private_dir(dir).map_err(|error| (dir.to_owned(), error))?;
    files.try_for_each(|(path, pem)| write_private(&path, pem.bytes()).map_err(|error| (path, error)))
}

/// Returns what a file holds; `None` where there is none, or one that can be no PEM.
///
/// # Errors
/// Where it is there and cannot be read just now.
fn present(path: &Path) -> Result<Option<Pem>, CertificateError> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match Pem::read(path) {
        Ok(pem) => Ok(Some(pem)),
        Err(CertificateError::Read { source, .. }) if matches!(source.kind(), NotFound | NotADirectory) => {
            Ok(None)
        }
        Err(error @ CertificateError::Read { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

fn validity_of(certified: &CertifiedKey) -> Option<Validity> {
    certified.end_entity_cert().ok().and_then(validity)
}

/// Returns the key as it signs certificates: PKCS #8, as the gateway writes it.
fn key_pair(pem: &Pem) -> Result<KeyPair, CertificateError> {
    Ok(KeyPair::try_from(&pem.private_key()?)?)
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv6Addr, os::unix::fs::PermissionsExt};

    use jiff::Timestamp;
    use rcgen::{CertificateParams, date_time_ymd};
    use rustls::pki_types::CertificateDer;
    use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

    use super::*;
    use crate::tls::{fingerprint, issue::built, key_fingerprint};

    const DAYS: i64 = 86_400;

    fn own(dir: &Path) -> SelfSigned {
        let gateway = Name::new("building_7").unwrap();
        SelfSigned { dir: dir.join("tls"), gateway, address: [192, 0, 2, 7].into() }
    }

    fn day(day: i64) -> Timestamp {
        let first: Timestamp = "2027-03-01T12:00:00Z".parse().unwrap();
        Timestamp::from_second(first.as_second() + day * DAYS).unwrap()
    }

    fn synchronized(after: i64) -> KnownTime {
        KnownTime::Synchronized(day(after))
    }

    /// What clients know of a certificate: fingerprint, the key's, first and last second.
    fn prints(certified: &CertifiedKey) -> (String, String, Validity) {
        let own = certified.end_entity_cert().unwrap();
        (fingerprint(own), key_fingerprint(own).unwrap(), validity_of(certified).unwrap())
    }

    fn opened(dir: &Path, now: KnownTime) -> (String, String, Validity) {
        prints(&own(dir).open(now).unwrap().1)
    }

    /// As version 0.1 made it.
    fn make_old(dir: &Path) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(9999, 12, 31));
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        fs::create_dir(dir.join("tls")).unwrap();
        fs::write(dir.join("tls/cert.pem"), made.pem()).unwrap();
        fs::write(dir.join("tls/key.pem"), key.serialize_pem()).unwrap();
        (fingerprint(made.der()), key_fingerprint(made.der()).unwrap())
    }

    #[test]
    fn browsers_accept_its_time_its_use_and_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let serials = [0, 800].map(|after| {
            let (_, certified) = own(dir.path()).open(synchronized(after)).unwrap();
            let der: CertificateDer<'_> = certified.end_entity_cert().unwrap().clone();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            let validity = certificate.validity();
            let seconds = validity.not_after.timestamp() - validity.not_before.timestamp() + 1;
            assert!(seconds <= 825 * DAYS, "{seconds} s, both ends included");
            assert!(validity.not_before.timestamp() < day(after).as_second(), "a client's clock may be late");
            let usage = certificate.extended_key_usage().unwrap().unwrap().value;
            assert!(usage.server_auth && !usage.client_auth && !usage.any);
            let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
            for name in ["localhost", "building_7"] {
                assert!(names.contains(&GeneralName::DNSName(name)), "{name} in {names:?}");
            }
            for address in [&[127, 0, 0, 1][..], &[192, 0, 2, 7], &Ipv6Addr::LOCALHOST.octets()] {
                assert!(names.contains(&GeneralName::IPAddress(address)), "{address:?} in {names:?}");
            }
            certificate.serial.clone()
        });
        assert_ne!(serials[0], serials[1], "Firefox refuses a number that it has seen of this issuer");
    }

    #[test]
    fn it_stays_over_restarts_until_30_days_are_left_and_the_key_stays_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path(), synchronized(0));
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("tls"), mode("tls/key.pem"), mode("tls/cert.pem")), (0o700, 0o600, 0o600));
        assert_eq!(first.0.len(), 32 * 3 - 1);
        for later in [synchronized(1), synchronized(793), KnownTime::AtLeast(day(900)), KnownTime::Never] {
            assert_eq!(opened(dir.path(), later), first, "{later:?}");
        }
        // Valid from the day before.
        let second = opened(dir.path(), synchronized(795));
        assert_ne!(second.0, first.0);
        assert_eq!(second.1, first.1);
        assert_eq!(opened(dir.path(), synchronized(796)), second, "once");
        let third = opened(dir.path(), synchronized(5000));
        assert_eq!((third.1 == first.1, third.0 == second.0), (true, false), "long over");
    }

    #[test]
    fn one_of_an_earlier_version_is_exchanged_once_the_time_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = make_old(dir.path());
        for unset in [KnownTime::Never, KnownTime::AtLeast(day(0))] {
            assert_eq!(opened(dir.path(), unset).0, certificate);
        }
        let (renewed, same, validity) = opened(dir.path(), synchronized(0));
        assert_eq!((renewed == certificate, same), (false, key));
        assert_eq!(validity.ends.duration_since(validity.begins), VALID);
    }

    #[test]
    fn one_made_without_a_clock_is_valid_in_the_true_era_and_made_again_when_there_is_one() {
        for (unset, is_valid_from) in [(KnownTime::Never, built()), (KnownTime::AtLeast(day(-3)), day(-3))] {
            let dir = tempfile::tempdir().unwrap();
            let (mut kept, certified) = own(dir.path()).open(unset).unwrap();
            let (first, key, validity) = prints(&certified);
            let (from, to) = (validity.begins.as_second(), validity.ends.as_second());
            let expected = is_valid_from.as_second();
            assert!(from < expected && expected < from + 2 * DAYS && to - from < 801 * DAYS, "{validity:?}");
            for still in [unset, KnownTime::AtLeast(day(3000))] {
                assert!(!kept.is_due(still), "{still:?}");
            }
            // After a restart too.
            assert_eq!(opened(dir.path(), unset).0, first);
            assert!(kept.is_due(synchronized(0)));
            let (second, same, validity) = prints(&kept.renew(synchronized(0)).unwrap());
            assert_eq!((second == first, &same), (false, &key));
            assert_eq!(validity.begins, day(-1));
            assert!(!kept.is_due(synchronized(0)));
            assert_eq!(opened(dir.path(), synchronized(0)).0, second);
        }
    }

    #[test]
    fn one_of_a_future_that_was_none_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let future = opened(dir.path(), synchronized(20_000));
        let present = opened(dir.path(), synchronized(0));
        assert_eq!((present.1, present.2.begins), (future.1, day(-1)));
    }

    #[test]
    fn what_cannot_be_read_now_is_not_replaced_and_what_is_lost_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let first = opened(dir.path(), synchronized(0));
        let file = |name: &str| dir.path().join("tls").join(name);
        for name in ["key.pem", "cert.pem"] {
            let aside = dir.path().join("aside");
            fs::rename(file(name), &aside).unwrap();
            fs::create_dir(file(name)).unwrap();
            let error = own(dir.path()).open(synchronized(0)).err().unwrap().to_string();
            assert!(error.contains("cannot read") && error.contains(name), "{error}");
            fs::remove_dir(file(name)).unwrap();
            fs::rename(&aside, file(name)).unwrap();
        }
        assert_eq!(opened(dir.path(), synchronized(0)), first);

        fs::write(file("cert.pem"), "broken by a bad card").unwrap();
        let second = opened(dir.path(), synchronized(0));
        assert_eq!((second.0 == first.0, &second.1), (false, &first.1), "the key is there");
        fs::remove_file(file("cert.pem")).unwrap();
        assert_eq!(opened(dir.path(), synchronized(0)).1, first.1);

        fs::write(file("key.pem"), "broken by a bad card").unwrap();
        let other = opened(dir.path(), synchronized(0));
        assert_ne!(other.1, first.1);
        assert_eq!(opened(dir.path(), synchronized(0)), other, "it was kept");
    }

    #[test]
    fn where_nothing_can_be_written_it_is_in_force_and_renewed_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tls"), "in the way").unwrap();
        let (mut kept, certified) = own(dir.path()).open(KnownTime::Never).unwrap();
        let renewed = prints(&kept.renew(synchronized(0)).unwrap());
        assert_eq!((renewed.1, kept.is_due(synchronized(0))), (prints(&certified).1, false));
        // The disk is there again.
        fs::remove_file(dir.path().join("tls")).unwrap();
        let kept = prints(&kept.renew(synchronized(0)).unwrap());
        assert_eq!(opened(dir.path(), synchronized(0)), kept, "with its key");
    }

    #[test]
    fn one_whose_key_cannot_sign_stays() {
        let dir = tempfile::tempdir().unwrap();
        make_old(dir.path());
        let (mut kept, certified) = own(dir.path()).open(KnownTime::Never).unwrap();
        kept.key = Pem::new("key.pem", Zeroizing::new(b"nothing".to_vec()));
        let error = kept.renew(synchronized(0)).unwrap_err().to_string();
        assert!(
            error.starts_with("the self-signed certificate cannot be renewed, the old one stays"),
            "{error}"
        );
        assert_eq!(opened(dir.path(), KnownTime::Never).0, prints(&certified).0);
    }
}

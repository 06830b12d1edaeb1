//! How long certificates hold: judged in one place for health, `/metrics`, `report` and `check`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use litemap::LiteMap;
use rustls::pki_types::CertificateDer;

use super::{Pem, PemError, PemProblem, certificate::validity};
use crate::domain::KnownTime;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A certificate that holds for less is to be renewed.
pub(super) const RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What renews itself has had a day for it before anybody is told.
const RENEWS_WITHIN: SignedDuration = DAY;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateUse {
    /// The endpoint shows it.
    Endpoint,
    /// The uplink shows it to the broker.
    MqttClient,
    /// The broker's certificate is signed by it.
    MqttCa,
}

impl CertificateUse {
    /// Returns the label of `/metrics`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::MqttClient => "mqtt_client",
            Self::MqttCa => "mqtt_ca",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Endpoint => "the endpoint's certificate",
            Self::MqttClient => "the client certificate of [mqtt]",
            Self::MqttCa => "ca_file of [mqtt]",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Endpoint => "changed files are taken up without a restart",
            Self::MqttClient => "the files are read again for the next connection",
            Self::MqttCa => "a new CA may stand in the file beside the old one",
        }
    }
}

/// When a certificate ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    usage: CertificateUse,
    file: String,
    ends: Timestamp,
    renews_itself: bool,
}

/// What is left of a certificate's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// The clock is not synchronised: nobody knows.
    Unknown,
    /// Enough.
    Enough,
    /// This many whole days: it is to be renewed.
    Days(i64),
    /// Nothing.
    Over,
}

impl Expiry {
    /// Returns when the certificates of a file end: a chain with its first one, of several CAs the last one counts.
    ///
    /// # Errors
    /// Where there is none, or one of them cannot be read.
    pub fn of(usage: CertificateUse, pem: &Pem) -> Result<Self, PemError> {
        Self::of_chain(usage, pem.file(), &pem.certificates()?, false)
            .ok_or_else(|| pem.error(PemProblem::DamagedCertificate))
    }

    pub(super) fn of_chain(
        usage: CertificateUse,
        file: &str,
        chain: &[CertificateDer<'_>],
        renews_itself: bool,
    ) -> Option<Self> {
        let ends = chain.iter().map(|certificate| Some(validity(certificate)?.ends));
        let ends = ends.collect::<Option<Vec<_>>>()?.into_iter();
        let ends = if usage == CertificateUse::MqttCa { ends.max() } else { ends.min() };
        Some(Self { usage, file: file.to_owned(), ends: ends?, renews_itself })
    }

    /// Returns what the certificate is for.
    pub fn usage(&self) -> CertificateUse {
        self.usage
    }

    /// Returns the last second of its validity.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Judges what is left.
    pub fn remaining(&self, now: KnownTime) -> Remaining {
        let KnownTime::Synchronized(now) = now else { return Remaining::Unknown };
        let left = self.ends.duration_since(now);
        let enough = if self.renews_itself { RENEW - RENEWS_WITHIN } else { RENEW };
        match left {
            left if left <= SignedDuration::ZERO => Remaining::Over,
            left if left < enough => Remaining::Days(left.as_hours() / 24),
            _ => Remaining::Enough,
        }
    }

    /// Returns what a judgement is called: `expires on 2027-06-30, in 10 days; renew it`.
    pub fn describe(&self, now: KnownTime) -> String {
        let day = self.ends.strftime("%Y-%m-%d");
        let renew = if self.renews_itself { "it was not renewed by itself, see the log" } else { "renew it" };
        let by_itself = if self.renews_itself { "self-signed, renewed by itself, " } else { "" };
        match self.remaining(now) {
            Remaining::Unknown => {
                format!("{by_itself}valid to {day}, which is not judged while the clock is not synchronised")
            }
            Remaining::Enough => format!("{by_itself}valid to {day}"),
            Remaining::Days(0) => format!("expires on {day}, in less than a day; {renew}"),
            Remaining::Days(1) => format!("expires on {day}, in 1 day; {renew}"),
            Remaining::Days(days) => format!("expires on {day}, in {days} days; {renew}"),
            Remaining::Over => format!("expired on {day}; {renew}"),
        }
    }

    /// Returns the sentence of health: the file, when it ends and what to do; `None` where there is nothing to do.
    pub fn warning(&self, now: KnownTime) -> Option<String> {
        match self.remaining(now) {
            Remaining::Unknown | Remaining::Enough => None,
            Remaining::Days(_) | Remaining::Over => {
                let (subject, file, judgement) = (self.usage.subject(), &self.file, self.describe(now));
                let advice = if self.renews_itself { "" } else { self.usage.advice() };
                let colon = if advice.is_empty() { "" } else { ": " };
                Some(format!("{subject}, {file}, {judgement}{colon}{advice}"))
            }
        }
    }
}

/// The certificates in use, by what they are for; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Expiries(Arc<Mutex<LiteMap<CertificateUse, Expiry>>>);

impl Expiries {
    /// Takes this one for the one in use; `None`: there is none that could be read.
    pub fn set(&self, usage: CertificateUse, expiry: Option<Expiry>) {
        match expiry {
            Some(expiry) => drop(self.lock().insert(usage, expiry)),
            None => drop(self.lock().remove(&usage)),
        }
    }

    /// Returns the one of this use.
    pub fn get(&self, usage: CertificateUse) -> Option<Expiry> {
        self.lock().get(&usage).cloned()
    }

    /// Returns all, in the order of [`CertificateUse`].
    pub fn all(&self) -> Vec<Expiry> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, LiteMap<CertificateUse, Expiry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use zeroize::Zeroizing;

    use super::*;

    fn file(years: &[i32]) -> Pem {
        let key = KeyPair::generate().unwrap();
        let until = |year: &i32| {
            let mut params = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(*year, 6, 30));
            params.self_signed(&key).unwrap().pem()
        };
        let text: String = years.iter().map(until).collect();
        Pem::new("/etc/gateway/cert.pem", Zeroizing::new(text.into_bytes()))
    }

    fn at(time: &str) -> KnownTime {
        KnownTime::Synchronized(time.parse().unwrap())
    }

    #[test]
    fn a_chain_ends_with_its_first_one_and_authorities_with_their_last() {
        let pem = file(&[2030, 2027]);
        let of = |usage, now| Expiry::of(usage, &pem).unwrap().remaining(now);
        let (chain, authorities) = (CertificateUse::Endpoint, CertificateUse::MqttCa);
        assert_eq!(of(chain, at("2027-05-31T00:00:00Z")), Remaining::Enough);
        assert_eq!(of(chain, at("2027-05-31T00:00:01Z")), Remaining::Days(29));
        assert_eq!(of(chain, at("2027-06-29T12:00:00Z")), Remaining::Days(0));
        assert_eq!(of(chain, at("2027-06-30T00:00:00Z")), Remaining::Over);
        assert_eq!(of(authorities, at("2029-01-01T00:00:00Z")), Remaining::Enough);
        let damaged = Pem::new(
            "c.pem",
            Zeroizing::new(b"-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n".to_vec()),
        );
        assert_eq!(Expiry::of(chain, &damaged).unwrap_err().problem, PemProblem::DamagedCertificate);
    }

    #[test]
    fn what_is_told_names_the_file_the_day_and_what_to_do() {
        let expiry = Expiry::of(CertificateUse::MqttClient, &file(&[2027])).unwrap();
        let told = |now| expiry.warning(at(now));
        assert_eq!(told("2026-11-23T00:00:00Z"), None);
        assert_eq!(
            told("2027-06-20T00:00:00Z").as_deref(),
            Some(
                "the client certificate of [mqtt], /etc/gateway/cert.pem, expires on 2027-06-30, in 10 days; renew it: the files are read again for the next connection"
            )
        );
        let over = told("2028-01-01T00:00:00Z").unwrap();
        assert!(over.contains("expired on 2027-06-30; renew it"), "{over}");
    }

    #[test]
    fn nothing_is_judged_by_a_clock_that_nobody_has_set() {
        let expiry = Expiry::of(CertificateUse::Endpoint, &file(&[2027])).unwrap();
        let late = "2028-01-01T00:00:00Z".parse().unwrap();
        for now in [KnownTime::AtLeast(late), KnownTime::Never] {
            assert_eq!((expiry.remaining(now), expiry.warning(now)), (Remaining::Unknown, None));
            assert!(expiry.describe(now).ends_with("while the clock is not synchronised"));
        }
        assert!(expiry.warning(KnownTime::Synchronized(late)).is_some());
    }

    #[test]
    fn no_well_defined_end_is_no_damage_and_what_renews_itself_has_a_day_for_it() {
        let endless = Expiry::of(CertificateUse::Endpoint, &file(&[9999])).unwrap();
        assert_eq!(endless.remaining(at("2090-01-01T00:00:00Z")), Remaining::Enough);

        let own =
            Expiry { renews_itself: true, ..Expiry::of(CertificateUse::Endpoint, &file(&[2027])).unwrap() };
        assert_eq!(own.warning(at("2027-05-31T23:00:00Z")), None);
        let told = own.warning(at("2027-06-02T00:00:00Z")).unwrap();
        assert!(told.ends_with("in 28 days; it was not renewed by itself, see the log"), "{told}");
    }

    #[test]
    fn what_is_no_longer_there_is_no_longer_told() {
        let (expiries, usage) = (Expiries::default(), CertificateUse::MqttCa);
        let expiry = Expiry::of(usage, &file(&[2027])).unwrap();
        expiries.clone().set(usage, Some(expiry.clone()));
        assert_eq!((expiries.get(usage), expiries.all()), (Some(expiry.clone()), vec![expiry]));
        expiries.set(usage, None);
        assert_eq!((expiries.get(usage), expiries.all()), (None, vec![]));
    }
}

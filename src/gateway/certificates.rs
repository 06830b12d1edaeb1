//! How long certificates hold, as health and `report` say it. The uplink reads its files for each connection, and one
//! may last for months: that a file has been renewed meanwhile, or has not, is seen here.

use std::time::Duration;

use super::{
    configured::Configured,
    doctor::check,
    units::{Beat, Part, Units},
};
use crate::{
    config::{self, Config, Mqtt, SecretError, SecretFile},
    domain::{Check, HealthCode, KnownTime, Reason, Verdict},
    sys,
    tls::{CertificateUse, Expiries, Expiry, Remaining},
};

/// How often the files are read: what is judged are days.
const PERIOD: Duration = Duration::from_secs(60);

/// Starts to follow the files of the uplink, where the configuration has one.
pub fn start(units: &Units, config: Configured, expiries: Expiries) {
    if config.now().mqtt.is_some() {
        units.spawn(Part::Certificates, |beat| follow_files(config, expiries, beat));
    }
}

/// Keeps `expiries` as the files are, for the life of the daemon.
async fn follow_files(config: Configured, expiries: Expiries, beat: Beat) {
    let mut changes = config.watch();
    loop {
        let config = changes.borrow_and_update().clone();
        let reading = sys::blocking(move || config.mqtt.as_ref().map(of_uplink).unwrap_or_default());
        let read = beat.wait(sys::finished(reading)).await;
        // What cannot be read is told where the uplink needs it.
        read.into_iter().for_each(|(usage, expiry)| expiries.set(usage, expiry.ok()));
        // An error: it is time, or nobody is left who could change the configuration.
        let _ = beat.wait(tokio::time::timeout(PERIOD, changes.changed())).await;
    }
}

/// Returns a reason for each certificate that is to be renewed, or over.
pub fn reasons(expiries: &Expiries, now: KnownTime) -> Vec<Reason> {
    let warnings = expiries.all().into_iter().filter_map(|expiry| expiry.warning(now));
    warnings.map(|warning| Reason::new(HealthCode::Certificate, warning)).collect()
}

/// Returns a check for each certificate of the configuration. Blocks on the disk.
pub fn checks(config: &Config, expiries: &Expiries, now: KnownTime) -> Vec<Check> {
    let judged = |usage: CertificateUse, expiry: Result<Expiry, SecretError>| {
        let name = match usage {
            CertificateUse::Endpoint => "certificate http",
            CertificateUse::MqttClient => "certificate mqtt",
            CertificateUse::MqttCa => "certificate mqtt ca",
        };
        match expiry {
            Ok(expiry) => check(name, verdict(&expiry, now), expiry.describe(now)),
            Err(error) => check(name, Verdict::Bad, error.to_string()),
        }
    };
    let usage = CertificateUse::Endpoint;
    let endpoint = match &config.http.tls {
        config::Tls::Files(files) => Some(judged(usage, read(usage, &files.cert_file))),
        config::Tls::SelfSigned => Some(match expiries.get(usage) {
            Some(expiry) => judged(usage, Ok(expiry)),
            None => check("certificate http", Verdict::Warn, "self-signed: not served"),
        }),
        config::Tls::Off => None,
    };
    let uplink = config.mqtt.iter().flat_map(of_uplink).map(|(usage, expiry)| judged(usage, expiry));
    endpoint.into_iter().chain(uplink).collect()
}

fn verdict(expiry: &Expiry, now: KnownTime) -> Verdict {
    match expiry.remaining(now) {
        Remaining::Unknown | Remaining::Enough => Verdict::Ok,
        Remaining::Days(_) => Verdict::Warn,
        Remaining::Over => Verdict::Bad,
    }
}

fn of_uplink(mqtt: &Mqtt) -> Vec<(CertificateUse, Result<Expiry, SecretError>)> {
    let client = mqtt.client_certificate.as_ref().map(|files| (CertificateUse::MqttClient, &files.cert_file));
    let authorities = mqtt.ca_file.as_ref().map(|file| (CertificateUse::MqttCa, file));
    client.into_iter().chain(authorities).map(|(usage, file)| (usage, read(usage, file))).collect()
}

fn read(usage: CertificateUse, file: &SecretFile) -> Result<Expiry, SecretError> {
    Ok(Expiry::of(usage, &file.read_pem()?)?)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::config::Environment;

    #[test]
    fn a_report_has_a_check_for_each_certificate_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2027, 6, 30));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        std::fs::write(dir.path().join("cert.pem"), made).unwrap();
        let files = "cert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";
        let configured = |http: &str, mqtt: &str| {
            let file = dir.path().join("gateway.toml");
            let text = format!("[gateway]\nid = \"b\"\n[http]\n{http}\n[mqtt]\nurl = \"mqtts://h\"\n{mqtt}");
            std::fs::write(&file, text).unwrap();
            Config::load_with(&file, &Environment::empty("pi")).unwrap()
        };
        let now = KnownTime::Synchronized("2027-06-20T00:00:00Z".parse().unwrap());
        let told = |config: &Config, expiries: &Expiries| {
            let checks = checks(config, expiries, now).into_iter();
            checks.map(|found| (found.check, found.verdict, found.detail)).collect::<Vec<_>>()
        };
        let soon = "expires on 2027-06-30, in 10 days; renew it".to_owned();
        let expiries = Expiries::default();
        let config =
            configured(&format!("tls = \"files\"\n{files}"), &format!("{files}ca_file = \"missing.pem\""));
        let missing = format!("{}: there is no such file", dir.path().join("missing.pem").display());
        assert_eq!(
            told(&config, &expiries),
            [
                ("certificate http".to_owned(), Verdict::Warn, soon.clone()),
                ("certificate mqtt".to_owned(), Verdict::Warn, soon.clone()),
                ("certificate mqtt ca".to_owned(), Verdict::Bad, missing),
            ]
        );
        let config = configured("tls = \"self-signed\"", "");
        assert_eq!(told(&config, &expiries)[0].1, Verdict::Warn, "not served");
        let served = read(CertificateUse::Endpoint, &SecretFile::at(dir.path().join("cert.pem"))).unwrap();
        expiries.set(CertificateUse::Endpoint, Some(served));
        assert_eq!(told(&config, &expiries), [("certificate http".to_owned(), Verdict::Warn, soon)]);
        assert_eq!(told(&configured("tls = \"off\"\nallow_plaintext = true", ""), &Expiries::default()), []);
    }

    #[test]
    fn a_certificate_is_judged_by_the_one_that_ends_first() {
        let key = KeyPair::generate().unwrap();
        let until = |year| {
            let mut params = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 6, 30));
            params.self_signed(&key).unwrap().pem()
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chain.pem");
        std::fs::write(&file, [until(2030), until(2027)].concat()).unwrap();
        let expiry = |usage| read(usage, &SecretFile::at(&file)).unwrap();
        let synchronized = |now: &str| KnownTime::Synchronized(now.parse().unwrap());
        let at = |now: &str| {
            let (expiry, now) = (expiry(CertificateUse::Endpoint), synchronized(now));
            (verdict(&expiry, now), expiry.describe(now))
        };
        assert_eq!(at("2026-11-23T00:00:00Z"), (Verdict::Ok, "valid to 2027-06-30".into()));
        assert_eq!(
            at("2027-06-20T00:00:00Z"),
            (Verdict::Warn, "expires on 2027-06-30, in 10 days; renew it".into())
        );
        assert_eq!(at("2027-06-30T00:00:00Z"), (Verdict::Bad, "expired on 2027-06-30; renew it".into()));
        let now = synchronized("2029-01-01T00:00:00Z");
        assert_eq!(verdict(&expiry(CertificateUse::MqttCa), now), Verdict::Ok);

        let expiries = Expiries::default();
        for usage in [CertificateUse::Endpoint, CertificateUse::MqttCa] {
            expiries.set(usage, Some(expiry(usage)));
        }
        let told = reasons(&expiries, now);
        assert_eq!((told.len(), told[0].code), (1, HealthCode::Certificate), "{told:?}");
        assert!(told[0].message.contains("chain.pem, expired on 2027-06-30"), "{told:?}");
        let unset = KnownTime::AtLeast("2029-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(reasons(&expiries, unset), []);
        assert_eq!(verdict(&expiry(CertificateUse::Endpoint), unset), Verdict::Ok);
    }
}

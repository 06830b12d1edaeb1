//! Keeps the HTTP endpoint served: a port that is taken, or a certificate that cannot be read, is no reason for the
//! doors to stay shut.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{
    configured::Configured,
    units::{Beat, Part, Units},
};
use crate::{
    api::{self, BindError, Handles, Intercoms, Settings},
    clock,
    config::{self, Config, SecretError},
    domain::{HealthCode, Reason, with_causes},
};

/// How long to wait before another attempt to serve.
const RETRY: Duration = Duration::from_secs(10);
/// How often the watchdog is told that this loop turns, served or not.
const BEAT: Duration = Duration::from_secs(1);

/// The endpoint as configured.
///
/// # Errors
/// A `credential:` without systemd's `$CREDENTIALS_DIRECTORY`, or one that is not in it.
fn settings(config: &Config, intercoms: &Intercoms) -> Result<Settings, SecretError> {
    Ok(Settings {
        listen: config.http.listen,
        tls: match &config.http.tls {
            config::Tls::SelfSigned => api::Tls::SelfSigned,
            config::Tls::Files(files) => {
                api::Tls::Files { cert: files.cert_file.path()?, key: files.key_file.path()? }
            }
            config::Tls::Off => api::Tls::Off,
        },
        gateway: config.gateway.id.clone(),
        state_dir: config.gateway.state_dir.clone(),
        timezone: config.gateway.timezone.iana_name().unwrap_or("UTC").to_owned(),
        intercoms: intercoms.clone(),
        limits: api::Limits::default(),
    })
}

/// Starts to serve.
pub fn start(
    units: &Units,
    config: Configured,
    handles: Handles,
    trouble: watch::Sender<Option<Reason>>,
    stop: watch::Receiver<bool>,
) {
    units.spawn(Part::Endpoint, |beat| serve(config, handles, trouble, beat, stop));
}

/// Serves until `stop`, as the configuration says at the time; `trouble` tells `/healthz` why it is not served, or not as it
/// should be. `beat` turns with the loop that takes connections, and while there is none with the attempts to serve.
async fn serve(
    config: Configured,
    handles: Handles,
    trouble: watch::Sender<Option<Reason>>,
    beat: Beat,
    stop: watch::Receiver<bool>,
) {
    let mut changes = config.watch();
    let intercoms = Intercoms::default();
    while !is_over(&stop) {
        let served = changes.borrow_and_update().clone();
        take_intercoms(&served, &intercoms);
        let (end, ends) = watch::channel(false);
        let mut serving = std::pin::pin!(serve_as(&served, &intercoms, &handles, &trouble, &beat, ends));
        let over = async {
            let mut stop = stop.clone();
            tokio::select! {
                // An error of either: nobody is left who could say so.
                _ = stop.wait_for(|stop| *stop) => {}
                () = served_otherwise(&mut changes, &served, &intercoms) => {}
            }
        };
        tokio::select! {
            () = &mut serving => {}
            () = over => {
                end.send_replace(true);
                serving.await;
            }
        }
    }
}

/// Whether the daemon ends, or nobody is left who could say so.
fn is_over(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Waits until the endpoint is another by the configuration than by `served`. What it can take while it is served it is
/// given meanwhile.
async fn served_otherwise(
    changes: &mut watch::Receiver<Arc<Config>>,
    served: &Config,
    intercoms: &Intercoms,
) {
    // An error: nobody is left who could change it.
    while changes.changed().await.is_ok() {
        let config = changes.borrow_and_update().clone();
        if !is_served_alike(&config, served) {
            return;
        }
        take_intercoms(&config, intercoms);
    }
}

fn take_intercoms(config: &Config, intercoms: &Intercoms) {
    let named = |intercom: &config::Intercom| {
        (intercom.name != config::Intercom::unnamed(intercom.id)).then(|| intercom.name.clone())
    };
    intercoms.set(config.intercoms.iter().map(|intercom| (intercom.id, named(intercom))));
}

/// Whether the endpoint is the same by both configurations, but for what it can take while it is served.
fn is_served_alike(one: &Config, other: &Config) -> bool {
    one.http == other.http && one.gateway.timezone == other.gateway.timezone
}

/// Serves by one configuration until `stop`.
async fn serve_as(
    config: &Config,
    intercoms: &Intercoms,
    handles: &Handles,
    trouble: &watch::Sender<Option<Reason>>,
    beat: &Beat,
    stop: watch::Receiver<bool>,
) {
    // What systemd handed over is the same for the life of the process.
    match settings(config, intercoms) {
        Ok(settings) => serve_by(settings, handles, trouble, beat, stop).await,
        Err(error) => {
            let code = match &error {
                SecretError::NoCredentials(_) | SecretError::NothingHandedOver(_) => HealthCode::Endpoint,
                _ => HealthCode::Certificate,
            };
            let error = format!("the endpoint is not served: {error}");
            tracing::error!("{error}");
            trouble.send_replace(Some(Reason::new(code, error)));
            wait(None, beat, stop).await;
        }
    }
}

async fn serve_by(
    settings: Settings,
    handles: &Handles,
    trouble: &watch::Sender<Option<Reason>>,
    beat: &Beat,
    stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        match api::bind(&settings, &handles.clock).await {
            Ok(bound) => {
                trouble.send_replace(None);
                tracing::info!(address = %bound.address(), tls = bound.certificate().is_some(), "the endpoint is served");
                let mut certificate = bound.certificate_trouble();
                let turned = bound.beat();
                let serving = bound.serve(handles.clone(), stop.clone());
                tokio::pin!(serving);
                loop {
                    tokio::select! {
                        () = &mut serving => return,
                        Ok(()) = certificate.changed() => {
                            let message = certificate.borrow_and_update().clone();
                            trouble.send_replace(message.map(|message| Reason::new(HealthCode::Certificate, message)));
                        }
                        () = sleep(clock::until_next(BEAT)) => beat.follow(&turned),
                    }
                }
            }
            Err(error) => {
                let code = match &error {
                    BindError::Certificate(_) => HealthCode::Certificate,
                    BindError::Listen { .. } => HealthCode::Endpoint,
                };
                let message = format!("the endpoint is not served: {}", with_causes(&error));
                let reason = Reason::new(code, message);
                if trouble.send_replace(Some(reason.clone())).as_ref() != Some(&reason) {
                    tracing::error!("{}", reason.message);
                }
            }
        }
        wait(Some(RETRY), beat, stop.clone()).await;
    }
}

/// Waits for `time`, or for the end alone; `beat` turns meanwhile.
async fn wait(time: Option<Duration>, beat: &Beat, mut stop: watch::Receiver<bool>) {
    let over = async {
        match time {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let waited = async {
        tokio::select! {
            // An error: nobody is left who could stop us.
            _ = stop.wait_for(|stop| *stop) => {}
            () = over => {}
        }
    };
    beat.wait(waited).await;
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use crate::{
        api::{Commissioning, Tokens},
        bus::Buses,
        clock::{Clock, Trust},
        domain::{Health, Name, SyncStatus, UplinkStatus},
        doors::Doors,
        store::{Store, StoreOptions},
        tls::Expiries,
    };

    use super::*;

    #[tokio::test]
    async fn the_loop_turns_and_says_what_is_wrong_while_it_cannot_serve_and_while_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock::system(Trust::Always));
        let stamps = clock.clone();
        let (store, _) = Store::open(StoreOptions {
            dir: dir.path().to_path_buf(),
            keep: Duration::ZERO,
            max_events: 1000,
            max_journal_bytes: None,
            alone: true,
            now: Arc::new(move || stamps.stamp()),
            clock_is_steady: Arc::new(|| true),
        })
        .unwrap();
        let handles = Handles {
            cache: store.cache(),
            journal: store.journal(),
            buses: Buses::default(),
            doors: Doors::default(),
            commissioning: Commissioning::default(),
            health: watch::channel(Health::default()).1,
            uplink: watch::channel(UplinkStatus::default()).1,
            sync: watch::channel(SyncStatus::default()).1,
            clock,
            certificates: Expiries::default(),
            tokens: Tokens::open(&dir.path().join("tokens.json")).unwrap(),
        };
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (taken, free) = (taken.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap());
        let missing = || dir.path().join("missing.pem");
        for (listen, tls, code) in [
            (taken, api::Tls::Off, Some(HealthCode::Endpoint)),
            (free, api::Tls::Files { cert: missing(), key: missing() }, Some(HealthCode::Certificate)),
            (free, api::Tls::Off, None),
        ] {
            let settings = Settings {
                listen,
                tls,
                gateway: Name::new("building-7").unwrap(),
                state_dir: dir.path().to_path_buf(),
                timezone: "UTC".into(),
                intercoms: [1].into(),
                limits: api::Limits::default(),
            };
            let beaten = Arc::new(AtomicU64::new(0));
            let (stop, stopped) = watch::channel(false);
            let (trouble, troubles) = watch::channel(None);
            let beat = Beat::of("the endpoint", beaten.clone());
            let handles = handles.clone();
            let serving =
                tokio::spawn(async move { serve_by(settings, &handles, &trouble, &beat, stopped).await });
            for _ in 0..2 {
                beaten.store(0, Ordering::Relaxed);
                while beaten.load(Ordering::Relaxed) == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            assert_eq!(troubles.borrow().as_ref().map(|reason| reason.code), code);
            stop.send_replace(true);
            serving.await.unwrap();
        }
    }
}

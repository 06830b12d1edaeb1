//! Keeps the HTTP endpoint served: a port that is taken, or a certificate that cannot be read, is no reason for the
//! doors to stay shut.

use std::time::Duration;

use tokio::sync::watch;

use crate::{
    api::{self, Handles, Settings},
    config::{self, Config},
};

/// How long to wait before another attempt to serve.
const RETRY: Duration = Duration::from_secs(10);

/// The endpoint as configured.
///
/// # Errors
/// A `credential:` without systemd's `$CREDENTIALS_DIRECTORY`.
pub fn settings(config: &Config) -> anyhow::Result<Settings> {
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
        intercoms: config.intercoms.iter().map(|intercom| intercom.id).collect(),
        limits: api::Limits::default(),
    })
}

/// Serves until `stop`; `trouble` tells why it is not served, or not as it should be.
pub async fn serve(
    settings: Settings,
    handles: Handles,
    trouble: watch::Sender<Option<String>>,
    mut stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        match api::bind(&settings).await {
            Ok(bound) => {
                trouble.send_replace(None);
                tracing::info!(address = %bound.address(), tls = bound.fingerprint().is_some(), "the endpoint is served");
                let mut certificate = bound.certificate_trouble();
                let serving = bound.serve(handles.clone(), stop.clone());
                tokio::pin!(serving);
                loop {
                    tokio::select! {
                        () = &mut serving => return,
                        Ok(()) = certificate.changed() => drop(trouble.send_replace(certificate.borrow().clone())),
                    }
                }
            }
            Err(error) => {
                let error = format!("the endpoint is not served: {:#}", anyhow::Error::from(error));
                if trouble.send_replace(Some(error.clone())).as_ref() != Some(&error) {
                    tracing::error!("{error}");
                }
            }
        }
        // An error: whoever could stop us is gone.
        let _ = tokio::time::timeout(RETRY, stop.wait_for(|stop| *stop)).await;
    }
}

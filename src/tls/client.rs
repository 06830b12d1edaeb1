//! TLS as the uplink speaks it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring, sign::SingleCertAndKey};

use super::{Pem, PemError, PemProblem, pair};

/// Why TLS cannot be spoken with the broker.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file holds something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Certificate and key are not each other's.
    #[error("cert_file and key_file of [mqtt] do not go together: {0}")]
    Apart(PemError),
    /// `ca_file` is not set, and there is nothing in its place.
    #[error(
        "this system has no root certificates: install the package ca-certificates, or set ca_file of [mqtt]"
    )]
    NoRoots,
    /// The library refuses.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Returns how to speak TLS 1.2 or newer: with a broker whose certificate `roots` have signed (`None`: the system's),
/// and with our own certificate and its key. Blocks on the disk for the system's.
///
/// # Errors
/// [`ClientError`], for the installer to read.
pub fn client_config(
    roots: Option<&Pem>,
    own: Option<(&Pem, &Pem)>,
) -> Result<Arc<ClientConfig>, ClientError> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(pem) => {
            let (added, _) = store.add_parsable_certificates(pem.certificates()?);
            if added == 0 {
                return Err(pem.error(PemProblem::DamagedCertificate).into());
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(ClientError::NoRoots);
            }
        }
    }
    let own = own.map(|(chain, key)| paired(chain, key)).transpose()?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store);
    Ok(Arc::new(match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(own)),
        None => builder.with_no_client_auth(),
    }))
}

fn paired(chain: &Pem, key: &Pem) -> Result<SingleCertAndKey, ClientError> {
    match pair(chain, key) {
        Ok(certified) => Ok(certified.into()),
        Err(error) if error.problem == PemProblem::OtherKey => Err(ClientError::Apart(error)),
        Err(error) => Err(error.into()),
    }
}

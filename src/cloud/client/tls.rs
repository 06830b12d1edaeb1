//! Certificates and keys for TLS.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use zeroize::Zeroizing;

/// How TLS is spoken.
pub struct Tls {
    /// The CAs that the broker's certificate may be signed by, PEM; `None`: those of the system.
    pub roots: Option<Vec<u8>>,
    /// Our own certificate.
    pub client: Option<Certificate>,
}

/// A certificate with its key.
pub struct Certificate {
    /// The certificate, and those between it and the root, PEM.
    pub chain: Vec<u8>,
    /// Its private key, PEM.
    pub key: Zeroizing<Vec<u8>>,
}

/// TLS 1.2 or newer, as `tls` says.
pub(super) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match &tls.roots {
        Some(pem) => {
            let (added, _) = roots.add_parsable_certificates(certificates(pem, "ca_file")?);
            if added == 0 {
                return Err("ca_file of [mqtt] holds no certificate that can be used as a root".into());
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("this system has no root certificates: install the package ca-certificates, or set ca_file of [mqtt]".into());
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::from_pem_slice(&client.key)
                .map_err(|_| "key_file of [mqtt] holds no private key in PEM".to_owned())?;
            builder
                .with_client_auth_cert(certificates(&client.chain, "cert_file")?, key)
                .map_err(|error| format!("cert_file and key_file of [mqtt] do not go together: {error}"))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{key} of [mqtt] is no PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{key} of [mqtt] holds no certificate in PEM"));
    }
    Ok(certificates)
}

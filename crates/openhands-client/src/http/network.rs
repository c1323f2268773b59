//! Network settings: TLS roots and proxies.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::proxy::{Proxies, ProxyError};
use crate::secret::Secret;
use crate::text;

/// Settings of the network.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Certificate authorities in addition to the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Proxy for `http://`. Its URL may contain a password.
    pub http_proxy: Option<Secret>,
    /// Proxy for `https://`. Its URL may contain a password.
    pub https_proxy: Option<Secret>,
    /// Proxy for both, if the specific one is not set. Its URL may contain a password.
    pub all_proxy: Option<Secret>,
    /// Hosts without a proxy.
    pub no_proxy: Option<String>,
}

impl Network {
    /// Returns the errors in the URLs of the proxies.
    #[must_use]
    pub fn proxy_errors(&self) -> Vec<ProxyError> {
        Proxies::new(self).err().unwrap_or_default()
    }
}

/// The client could not be created with the network settings.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// `SSL_CERT_FILE` could not be read.
    #[error("failed to read the certificates in {path}")]
    Certificates {
        /// The path of the file.
        path: String,
        /// The error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The URL of a proxy is not valid.
    #[error(transparent)]
    Proxy(ProxyError),
    /// The HTTP client rejected its configuration.
    #[error("failed to set up the HTTP client")]
    Client(#[source] Box<dyn Error + Send + Sync>),
    /// The TLS library rejected its configuration.
    #[error("failed to set up TLS")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
}

impl fmt::Debug for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

pub(super) fn tls_config(network: &Network) -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &network.ca_file {
        let unusable = |source: Box<dyn Error + Send + Sync>| SetupError::Certificates {
            path: path.display().to_string(),
            source,
        };
        let pem = std::fs::read(path).map_err(|error| unusable(error.into()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string().into()))?;
            // A system's bundle may contain certificates that this library rejects; the others are still used.
            if let Err(error) = roots.add(certificate) {
                tracing::debug!(%error, "skipping an invalid certificate of the extra file");
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

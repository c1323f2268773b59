//! TLS in front of a plain server, at first with a certificate that no one trusts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A listener whose first connections show a wrong certificate.
pub struct TlsFront {
    port: u16,
    /// The certificate to trust for the right one.
    pub trusted_pem: String,
    failed: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl TlsFront {
    pub async fn of(port: u16, wrong_at_first: usize) -> Self {
        Self::named(&["localhost"], port, wrong_at_first).await
    }

    /// One that answers to these names; a client has to find it by them.
    pub async fn named(names: &[&str], port: u16, wrong_at_first: usize) -> Self {
        let (right, trusted_pem) = certificate(names);
        let (wrong, _) = certificate(names);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let failed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&failed);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let failed = count.load(Ordering::SeqCst);
                let acceptor = if failed < wrong_at_first { &wrong } else { &right };
                let Ok(mut client) = acceptor.accept(client).await else {
                    count.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                if failed < wrong_at_first {
                    // One at a time: a client that does not trust us says so within the handshake or right after it.
                    let passed = copy_bidirectional(&mut client, &mut server).await;
                    assert!(passed.is_err(), "the wrong certificate was trusted");
                    count.fetch_add(1, Ordering::SeqCst);
                } else {
                    tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
                }
            }
        })
        .abort_handle();
        Self { port: own_port, trusted_pem, failed, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub fn handshakes_that_failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn certificate(names: &[&str]) -> (TlsAcceptor, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(cert.der().to_vec())], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

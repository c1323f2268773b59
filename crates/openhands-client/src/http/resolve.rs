//! Name resolution by the operating system, which also works if no thread can be started.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::off_thread::off_thread;

/// Resolves names with the system's own function, on a separate thread if one can be started.
#[derive(Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        // The port is not used: the client sets its own.
        Box::pin(async move { Ok(Box::new(addresses(name.as_str(), 0).await?.into_iter()) as Addrs) })
    }
}

/// Returns the addresses of a host.
pub(super) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host == "localhost" || host.parse::<IpAddr>().is_ok() {
        // The hosts file, or the text itself, contains the address, so the lookup does not block.
        return lookup(host, port);
    }
    let host = host.to_owned();
    off_thread("resolver", move || lookup(&host, port)).await
}

fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_has_an_address() {
        let found = addresses("localhost", 7).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
        assert_eq!(addresses("::1", 7).await.unwrap(), ["[::1]:7".parse().unwrap()]);
        assert!(addresses("no-such-name.invalid", 7).await.is_err());
    }
}

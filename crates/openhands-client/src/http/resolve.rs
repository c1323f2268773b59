//! Name resolution by the operating system, which works where no thread can be started.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::off_thread::off_thread;

/// Resolves names with the system's own function, on a thread where there can be one.
#[derive(Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            // The hosts file answers for this name: no one has to be waited for.
            let addresses =
                if host == "localhost" { lookup(&host) } else { off_thread("resolver", move || lookup(&host)).await };
            Ok(Box::new(addresses?.into_iter()) as Addrs)
        })
    }
}

/// The port does not matter: the client sets its own.
fn lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_an_address() {
        assert!(lookup("localhost").unwrap().iter().all(|address| address.ip().is_loopback()));
        assert!(lookup("no-such-name.invalid").is_err());
    }
}

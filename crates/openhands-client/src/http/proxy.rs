//! Selects the proxy for a server with the rules of curl, for HTTP requests and the events socket.

use std::net::IpAddr;

use url::{Host, Url};

use super::{Network, without_secrets};
use crate::secret::Secret;

/// The URL of a proxy is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
#[non_exhaustive]
pub struct ProxyError {
    /// The name of the setting for users: `HTTP_PROXY`, `HTTPS_PROXY` or `ALL_PROXY`.
    pub variable: &'static str,
    /// What is wrong. It never contains the URL itself, which may contain a password.
    pub reason: String,
}

/// The proxies of a network, and the hosts that need none.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Vec<Exemption>,
}

#[derive(Debug, Clone)]
struct Proxy {
    url: Url,
    /// The name of the setting for users.
    variable: &'static str,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone)]
struct Exemption {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone)]
enum Hosts {
    Any,
    /// This host and its subdomains.
    Domain(String),
    /// Addresses with the same leading bits.
    Addresses(IpAddr, u32),
}

impl Proxies {
    pub(super) fn new(network: &Network) -> Result<Self, Vec<ProxyError>> {
        let mut errors = Vec::new();
        let mut read = |variable, proxy: &Option<Secret>| match proxy.as_ref().map(address) {
            None => None,
            Some(Ok(url)) => Some(Proxy { url, variable }),
            Some(Err(reason)) => {
                errors.push(ProxyError { variable, reason });
                None
            }
        };
        let (http, https) = (read("HTTP_PROXY", &network.http_proxy), read("HTTPS_PROXY", &network.https_proxy));
        // An invalid `ALL_PROXY` is not an error if it would not be used.
        let all = (network.http_proxy.is_none() || network.https_proxy.is_none())
            .then(|| read("ALL_PROXY", &network.all_proxy))
            .flatten();
        let (http, https) = (http.or_else(|| all.clone()), https.or(all));
        let exempt = network.no_proxy.as_deref().unwrap_or_default();
        let exempt = exempt.split([',', ' ']).filter_map(Exemption::parse).collect();
        if errors.is_empty() { Ok(Self { http, https, exempt }) } else { Err(errors) }
    }

    /// Returns the proxy for this URL. There is none for this machine, because a proxy could not reach it.
    pub(super) fn of(&self, url: &Url) -> Option<&Url> {
        self.proxy_of(url).map(|proxy| &proxy.url)
    }

    fn proxy_of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if matches!(url.scheme(), "https" | "wss") { &self.https } else { &self.http };
        let is_exempt = || is_this_machine(url) || self.exempt.iter().any(|exemption| exemption.covers(url));
        proxy.as_ref().filter(|_| !is_exempt())
    }

    /// Returns the proxy for this URL as errors show it.
    pub(super) fn shown(&self, url: &Url) -> Option<String> {
        self.proxy_of(url)
            .map(|Proxy { url, variable }| format!("{} of {variable}", without_secrets(url).trim_end_matches('/')))
    }
}

/// Parses the URL of a proxy. Without a scheme it is an HTTP proxy.
fn address(proxy: &Secret) -> Result<Url, String> {
    let text = proxy.expose().trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|error| format!("not the address of a proxy ({error})"))?;
    match url.scheme() {
        _ if url.host_str().is_none_or(str::is_empty) => Err("an address without a host".to_owned()),
        "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" => Ok(url),
        scheme => Err(format!("a proxy that speaks `{scheme}`, which is not supported")),
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Exemption {
    /// Parses `*`, `host`, `.host`, `*.host`, an IP address, or `10.0.0.0/8`; all but the last may have a `:port`.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        let any_port = |hosts| Some(Self { hosts, port: None });
        if let Some(hosts) = addresses(&entry) {
            return any_port(hosts);
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        if let Some(hosts) = addresses(host.trim_start_matches('[').trim_end_matches(']')) {
            return Some(Self { hosts, port });
        }
        let domain = host.strip_prefix('*').unwrap_or(host).trim_matches('.');
        match (host, domain) {
            ("*", _) => Some(Self { hosts: Hosts::Any, port }),
            (_, "") => None,
            (_, domain) => Some(Self { hosts: Hosts::Domain(domain.to_owned()), port }),
        }
    }

    fn covers(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let covers_host = match &self.hosts {
            Hosts::Any => true,
            Hosts::Domain(domain) => {
                host.strip_suffix(domain.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            Hosts::Addresses(network, bits) => {
                let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
                address.is_some_and(|address| share_bits(*network, address, *bits))
            }
        };
        covers_host && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

fn addresses(entry: &str) -> Option<Hosts> {
    let (address, bits) = entry.split_once('/').map_or((entry, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(all), |bits| bits.parse().ok().filter(|bits| *bits <= all))?;
    Some(Hosts::Addresses(address, bits))
}

fn share_bits(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    let differing = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(http: Option<&str>, https: Option<&str>, no_proxy: &str) -> Network {
        Network {
            http_proxy: http.map(Secret::new),
            https_proxy: https.map(Secret::new),
            no_proxy: Some(no_proxy.to_owned()),
            ..Network::default()
        }
    }

    fn proxy_of(network: &Network, url: &str) -> Option<String> {
        Proxies::new(network).unwrap().of(&Url::parse(url).unwrap()).map(Url::to_string)
    }

    #[test]
    fn the_scheme_of_the_server_chooses_the_proxy_and_this_machine_needs_none() {
        let network = network(Some("plain:1"), Some("socks5h://secure:2"), "");
        assert_eq!(proxy_of(&network, "http://h/").as_deref(), Some("http://plain:1/"));
        assert_eq!(proxy_of(&network, "https://h/").as_deref(), Some("socks5h://secure:2"));
        assert_eq!(proxy_of(&network, "wss://h/").as_deref(), Some("socks5h://secure:2"));
        for here in ["http://localhost:1/", "http://127.0.0.9/", "http://[::1]/"] {
            assert_eq!(proxy_of(&network, here), None, "{here}");
        }
    }

    #[test]
    fn exemptions_are_those_of_curl() {
        for (no_proxy, without, with) in [
            ("example.test", "http://a.example.test/", "http://an-example.test/"),
            (".example.test", "http://example.test/", "http://example.test.evil/"),
            ("*.example.test", "http://a.example.test/", "http://h/"),
            ("h:8080", "http://h:8080/", "http://h/"),
            ("h:80", "http://h/", "http://h:81/"),
            ("10.0.0.0/8 , x", "http://10.9.9.9/", "http://11.0.0.1/"),
            ("192.168.1.7", "http://192.168.1.7/", "http://192.168.1.8/"),
            ("fd00::/8", "http://[fd12::1]/", "http://[fe12::1]/"),
            ("x,H", "http://h./", "http://hh/"),
        ] {
            let network = network(Some("http://p:1"), None, no_proxy);
            assert_eq!(proxy_of(&network, without), None, "{no_proxy}: {without}");
            assert!(proxy_of(&network, with).is_some(), "{no_proxy}: {with}");
        }
        assert_eq!(proxy_of(&network(Some("p"), None, "*"), "http://h/"), None);
        assert!(proxy_of(&network(Some("p"), None, "h:x, ,."), "http://h/").is_some());
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named_by_its_variable_and_not_shown() {
        let errors = network(Some("http://u:hunter22@[x/"), Some("ftp://u:hunter22@p:1"), "").proxy_errors();
        let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.starts_with("HTTP_PROXY: not the address of a proxy"), "{text}");
        assert!(text.contains("HTTPS_PROXY: a proxy that speaks `ftp`") && !text.contains("hunter22"), "{text}");
    }

    #[test]
    fn an_error_names_the_proxy_and_its_variable_without_its_password() {
        let proxies = Proxies::new(&network(None, Some("http://u:hunter22@proxy:3128"), "")).unwrap();
        let shown = proxies.shown(&Url::parse("https://h/").unwrap());
        assert_eq!(shown.as_deref(), Some("http://proxy:3128 of HTTPS_PROXY"));
    }

    #[test]
    fn one_proxy_for_all_is_used_and_named_where_there_is_no_other() {
        let all =
            |proxy: &str| Network { all_proxy: Some(Secret::new(proxy)), ..network(None, Some("http://secure:1"), "") };
        let proxies = Proxies::new(&all("socks4://old:2")).unwrap();
        let shown = |url: &str| proxies.shown(&Url::parse(url).unwrap());
        assert_eq!(shown("http://h/").as_deref(), Some("socks4://old:2 of ALL_PROXY"));
        assert_eq!(shown("https://h/").as_deref(), Some("http://secure:1 of HTTPS_PROXY"));
        let errors = all("ftp://old:2").proxy_errors();
        assert_eq!(errors.iter().map(|error| error.variable).collect::<Vec<_>>(), ["ALL_PROXY"]);
        let unused = Network { http_proxy: Some(Secret::new("http://plain:1")), ..all("ftp://old:2") };
        assert_eq!(unused.proxy_errors(), []);
    }
}

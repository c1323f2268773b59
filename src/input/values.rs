//! Parses single values of the environment and the flags.

use jiff::Timestamp;
use openhands_client::cloud;
use openhands_client::http::{Network, ProxyError};
use openhands_client::ids::ConversationId;
use openhands_client::secret::Secret;
use url::Url;

use super::deadline::{DEADLINE_HELP, moment};
use super::env::RawEnv;
use super::working_dirs::{WORKING_DIR_HELP, WorkingDirs};
use crate::problem::{Problem, shown};

pub(super) fn text(value: Option<&String>) -> Option<String> {
    value.map(|value| value.trim().to_owned())
}

pub(super) fn secret(value: Option<&String>) -> Option<Secret> {
    value.map(|value| Secret::new(value.trim()))
}

/// Returns whether a key is valid in a header.
pub(super) fn is_header_value(key: &str) -> bool {
    key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

pub(super) fn default_cloud_api_url() -> Url {
    Url::parse(cloud::DEFAULT_URL).expect("a valid address")
}

fn invalid(value: &str) -> String {
    format!("invalid value {}", shown(value))
}

/// Parses values, and records what is wrong with them.
pub(super) struct Reader<'p> {
    pub(super) problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn refuse<T>(&mut self, name: &str, found: impl Into<String>, help: &str) -> Option<T> {
        self.problems.push(Problem::new(name, found, help));
        None
    }

    /// Checks the keys: each must be valid in a header. Their values are not shown.
    pub(super) fn keys(&mut self, raw: &RawEnv) {
        for (name, value) in raw.keys() {
            if !is_header_value(value.trim()) {
                let found = "a key with a line break, a control character or a character outside of ASCII in it";
                self.problems.push(Problem::new(name, found, "set it to the key alone"));
            }
        }
    }

    pub(super) fn proxies(&mut self, network: &Network) {
        for ProxyError { variable, reason, .. } in network.proxy_errors() {
            let help = "give the address of a proxy, such as http://proxy:3128";
            self.problems.push(Problem::new(variable, reason, help));
        }
    }

    pub(super) fn path(&mut self, name: &str, value: &str, dirs: &WorkingDirs) -> Option<String> {
        dirs.absolute(value).or_else(|found| self.refuse(name, found, WORKING_DIR_HELP).ok_or(())).ok()
    }

    pub(super) fn port(&mut self, name: &str, value: Option<&str>) -> Option<u16> {
        let value = value?.trim();
        // Kubernetes sets the variable in every pod if a Service is called `agent-server`.
        if value.starts_with("tcp://") || value.starts_with("udp://") {
            tracing::warn!("AGENT_SERVER_PORT is a service link of Kubernetes and is not used; set AGENT_SERVER_URL");
            return None;
        }
        match value.parse() {
            Ok(port) if port != 0 => Some(port),
            _ => self.refuse(name, invalid(value), "give a port from 1 to 65535"),
        }
    }

    pub(super) fn http_url(&mut self, name: &str, value: Option<&str>) -> Option<Url> {
        let value = value?.trim();
        if let Some(found) = misread(value) {
            return self.refuse(name, found, "give the address alone, such as http://localhost:60000");
        }
        match Url::parse(value) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Some(url),
            // The value is not shown, because it may contain a password.
            Ok(url) => {
                let found = format!("an address that starts with `{}:`", url.scheme());
                self.refuse(name, found, "give an address that starts with http:// or https://")
            }
            Err(error) => {
                self.refuse(name, format!("not an address ({error})"), "give an address such as http://localhost:60000")
            }
        }
    }

    pub(super) fn deadline(&mut self, name: &str, value: Option<&str>) -> Option<Timestamp> {
        let value = value?;
        moment(value).or_else(|| self.refuse(name, format!("found {}", shown(value.trim())), DEADLINE_HELP))
    }

    pub(super) fn conversation_id(&mut self, name: &str, value: Option<&str>) -> Option<ConversationId> {
        let value = value?.trim();
        match value.parse() {
            Ok(id) => Some(id),
            Err(_) => self.refuse(name, invalid(value), "give a UUID, such as 1b716b4b-78d1-5f02-9247-f78169819a82"),
        }
    }
}

/// Returns what is wrong with a text that a URL parser would read as another address. Such a parser removes line breaks, encodes spaces,
/// and takes a part of the path for the host where there is no host.
pub(crate) fn misread(address: &str) -> Option<&'static str> {
    let behind_scheme = ["http:", "https:"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let names_host = |rest: &str| rest.strip_prefix("//").is_some_and(|host| !host.starts_with('/'));
    if address.contains(|char: char| char.is_whitespace() || char.is_control()) {
        Some("an address with a space, a line break or a control character in it")
    } else if address.contains('\\') || behind_scheme.is_some_and(|rest| !names_host(rest)) {
        Some("an address with a `\\`, or without `//` and a host behind its scheme")
    } else {
        None
    }
}

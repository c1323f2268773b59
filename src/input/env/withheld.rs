//! The parts of the environment that other processes must not see: keys, user parts of URLs, and the files of a job.

use openhands_client::collections::inserted;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::raw::SECRET_NAMES;
use super::whole;

/// Variables for reporting. Programs that the run starts do not need them, and a URL may contain a key.
const REPORTING_NAMES: &[&str] = &["AUTOMATION_CALLBACK_URL", "CALLBACK_URL", "AUTOMATION_PHASE_URL"];

/// Files with which a step of GitHub Actions changes its job. The agent must not write to them.
const JOB_NAMES: &[&str] = &["GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"];

/// URLs of which a program that we start only needs the server. This includes every variable that ends in `_PROXY`.
const ADDRESSES: &[&str] =
    &["LLM_BASE_URL", "AGENT_SERVER_URL", "OPENHANDS_CLOUD_API_URL", "RUNTIME_API_URL", "AUTOMATION_API_URL"];

/// Returns the variables that are withheld from an agent-server that this process starts, and for some of them the part that it
/// gets.
#[must_use]
pub(crate) fn withheld() -> Vec<(OsString, Option<OsString>)> {
    withheld_of(whole())
}

fn withheld_of(variables: Vec<(OsString, OsString)>) -> Vec<(OsString, Option<OsString>)> {
    let mut withheld = Vec::new();
    for (name, value) in variables {
        let upper = name.to_string_lossy().to_uppercase();
        if [SECRET_NAMES, REPORTING_NAMES, JOB_NAMES].into_iter().flatten().any(|secret| name.as_os_str() == *secret) {
            withheld.push((name, None));
        } else if is_proxy(&name) || ADDRESSES.contains(&upper.as_str()) {
            let whole = value.to_string_lossy();
            let rest = without_access(&whole, ADDRESSES.contains(&upper.as_str()));
            if rest != whole {
                withheld.push((name, Some(rest.into())));
            }
        }
    }
    withheld
}

/// Returns a URL without its user part, and without its query if that may contain a key. The URL may be invalid: programs accept
/// proxies without a scheme.
fn without_access(address: &str, query_may_be_secret: bool) -> String {
    let address = if query_may_be_secret { address.split(['?', '#']).next().unwrap_or_default() } else { address };
    let start = address.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = address.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}{}", &rest[host..])
}

/// Splits the variables for a process whose environment others may read: what is [`withheld`] from it is returned separately, in
/// full.
#[must_use]
pub(crate) fn part(variables: Vec<(OsString, OsString)>) -> Parted {
    let mut parted = Parted::default();
    let withheld: BTreeMap<_, _> = inserted(withheld_of(variables.clone()));
    for (name, value) in variables {
        let Some(rest) = withheld.get(&name) else {
            parted.open.push((name, value));
            continue;
        };
        parted.open.extend(rest.clone().map(|rest| (name.clone(), rest)));
        parted.hidden.push((name, value));
    }
    parted
}

/// An environment in two parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parted {
    /// The part that others may read.
    pub(crate) open: Vec<(OsString, OsString)>,
    /// The part that others may not read; a URL is in both parts.
    pub(crate) hidden: Vec<(OsString, OsString)>,
}

impl Parted {
    /// Joins both parts.
    pub(super) fn joined(self) -> Vec<(OsString, OsString)> {
        let is_hidden = |name: &OsString| self.hidden.iter().any(|(hidden, _)| hidden == name);
        let mut whole: Vec<_> = self.open.into_iter().filter(|(name, _)| !is_hidden(name)).collect();
        whole.extend(self.hidden);
        whole
    }
}

pub(super) fn is_proxy(name: &OsStr) -> bool {
    name.to_string_lossy().to_uppercase().ends_with("_PROXY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_user_parts_of_addresses_are_hidden_and_come_back() {
        let pair = |(name, value): (&str, &str)| (OsString::from(name), OsString::from(value));
        let (proxy, key) = (("https_proxy", "http://me:pw@proxy:3128"), ("LLM_API_KEY", "sk-1"));
        let variables = [("PATH", "/bin"), proxy, key, ("HTTP_PROXY", "http://proxy:3128")].map(pair);
        let parted = part(variables.to_vec());
        let open = [("PATH", "/bin"), ("https_proxy", "http://proxy:3128"), ("HTTP_PROXY", "http://proxy:3128")];
        assert_eq!(parted, Parted { open: open.map(pair).into(), hidden: [proxy, key].map(pair).into() });
        let sorted = |mut variables: Vec<_>| {
            variables.sort();
            variables
        };
        assert_eq!(sorted(parted.joined()), sorted(variables.into()));
    }

    #[test]
    fn a_program_that_we_start_gets_no_key_and_no_user_part_of_an_address() {
        for (name, value, left) in [
            ("OPENHANDS_API_KEY", "key", Some(None)),
            ("CALLBACK_URL", "https://h/", Some(None)),
            ("HTTP_PROXY", "http://me:pw@proxy:3128", Some(Some("http://proxy:3128"))),
            ("https_proxy", "me:p@w@proxy:3128", Some(Some("proxy:3128"))),
            ("all_proxy", "socks5h://me@proxy/", Some(Some("socks5h://proxy/"))),
            ("FTP_PROXY", "http://me:@[::1]:1/a@b", Some(Some("http://[::1]:1/a@b"))),
            ("LLM_BASE_URL", "https://me:pw@llm/v1?token=t#x", Some(Some("https://llm/v1"))),
            ("AGENT_SERVER_URL", "http://h/?k=v", Some(Some("http://h/"))),
            ("GITHUB_OUTPUT", "/run/output", Some(None)),
            ("GITHUB_ENV", "/run/env", Some(None)),
            ("NO_PROXY", "localhost,.example", None),
            ("HTTP_PROXY", "http://proxy:3128/?a=b", None),
            ("LLM_BASE_URL", "https://llm/v1/a@b", None),
            ("DATABASE_URL", "postgres://me:pw@db/x", None),
        ] {
            let withheld = withheld_of(vec![(name.into(), value.into())]);
            let expected = left.map(|left: Option<&str>| (name.into(), left.map(OsString::from)));
            assert_eq!(withheld, expected.into_iter().collect::<Vec<_>>(), "{name}={value}");
        }
    }
}

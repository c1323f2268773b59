//! The repositories to clone, and their directories. Pure.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::input::task::repos::{Address, GitProvider, RepoSource};
use crate::plan::access::Access;

/// A repository that a run clones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RepoPlan {
    /// The address without secrets.
    pub(crate) shown: String,
    /// The address for git, without credentials.
    pub(crate) clone_url: String,
    /// A branch, a tag or a commit.
    pub(crate) git_ref: Option<String>,
    /// The name of its directory inside the working directory.
    pub(crate) directory: String,
    /// The credentials for it.
    pub(crate) access: Option<Access>,
    /// The same repository over https, if the address uses SSH and its host is known.
    pub(crate) over_https: Option<OverHttps>,
    /// Whether the run continues if it cannot be cloned.
    pub(crate) optional: bool,
    /// Whether its submodules are cloned too.
    pub(crate) submodules: bool,
    /// Whether the content of Git LFS files is fetched.
    pub(crate) lfs: bool,
    /// The time limit for cloning.
    pub(crate) timeout: Duration,
}

/// An https address for use with a token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OverHttps {
    url: String,
    access: Access,
}

/// The address that a repository is cloned from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Origin<'p> {
    /// The address, without credentials.
    pub(crate) url: &'p str,
    /// The credentials for it.
    pub(crate) access: Option<&'p Access>,
}

/// A repository in the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClonedRepo {
    /// The address without secrets.
    pub(crate) shown: String,
    /// The branch, tag or commit that was requested.
    pub(crate) git_ref: Option<String>,
    /// The path of its directory.
    pub(crate) path: PathBuf,
}

impl RepoPlan {
    /// Plans all repositories of a task, in their order. A repository that is listed twice is cloned once. Others with the same
    /// name get the suffix `_1`, `_2` …, as in the automation service's own script (`openhands-sdk` 1.58.0). `limit` applies to
    /// repositories without a limit of their own.
    #[must_use]
    pub(crate) fn of(sources: Vec<RepoSource>, limit: Duration) -> Vec<Self> {
        let mut plans: Vec<Self> = Vec::new();
        for source in sources {
            let shown = source.address.shown().to_owned();
            if plans.iter().any(|plan| plan.shown == shown && plan.git_ref == source.git_ref) {
                continue;
            }
            let taken = |name: &str| plans.iter().any(|plan| plan.directory == name);
            let name = directory_name(&shown);
            let directory = if taken(&name) {
                // One more candidate than there are directories with other names.
                (1..=plans.len()).map(|number| format!("{name}_{number}")).find(|name| !taken(name)).unwrap_or_default()
            } else {
                name
            };
            let (clone_url, access) = target(&source);
            let over_https = over_https(&source);
            plans.push(Self {
                shown,
                clone_url,
                git_ref: source.git_ref,
                directory,
                access,
                over_https,
                optional: source.optional,
                submodules: source.submodules,
                lfs: source.lfs,
                timeout: source.timeout.unwrap_or(limit),
            });
        }
        plans
    }

    /// Returns the provider whose token is needed.
    #[must_use]
    pub(crate) fn wants_token_of(&self) -> Option<GitProvider> {
        let over_https = self.over_https.as_ref().map(|other| &other.access);
        self.access.as_ref().or(over_https)?.wants_token_of()
    }

    /// Returns the address to clone from: https instead of SSH, if there is a token for it.
    #[must_use]
    pub(crate) fn origin(&self, has_token: bool) -> Origin<'_> {
        match &self.over_https {
            Some(OverHttps { url, access }) if has_token => Origin { url, access: Some(access) },
            _ => Origin { url: &self.clone_url, access: self.access.as_ref() },
        }
    }

    /// Returns whether the ref may be a commit, which a shallow clone of a branch or tag does not contain.
    #[must_use]
    pub(crate) fn may_be_commit(&self) -> bool {
        self.git_ref
            .as_ref()
            .is_some_and(|name| (7..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

fn target(source: &RepoSource) -> (String, Option<Access>) {
    let of_url = |url: &Url| {
        let mut bare = url.clone();
        // SSH needs its user name. Both calls fail only for URLs without a host.
        if bare.scheme() != "ssh" {
            let _ = bare.set_username("");
        }
        let _ = bare.set_password(None);
        (bare.to_string(), Access::to(url, source.provider))
    };
    match &source.address {
        Address::Scp(text) => (text.clone(), None),
        Address::Url { url, .. } => of_url(url),
        Address::Short(text) => {
            let host = source.provider.map_or("github.com", GitProvider::host);
            let address = format!("https://{host}/{}.git", text.strip_suffix(".git").unwrap_or(text));
            Url::parse(&address).map_or((address, None), |url| of_url(&url))
        }
    }
}

/// Returns the https address for an SSH address, at a host whose addresses are known.
fn over_https(source: &RepoSource) -> Option<OverHttps> {
    let (host, path) = match &source.address {
        Address::Scp(text) => text.strip_prefix("git@")?.split_once(':')?,
        Address::Url { url, .. } if url.scheme() == "ssh" && url.username() == "git" && url.port().is_none() => {
            (url.host_str()?, url.path())
        }
        Address::Url { .. } | Address::Short(_) => return None,
    };
    let url = Url::parse(&format!("https://{}/{}", host.to_ascii_lowercase(), path.trim_start_matches('/'))).ok()?;
    GitProvider::of_host(url.host_str()?)?;
    let access = Access::to(&url, source.provider)?;
    access.wants_token_of().is_some().then(|| OverHttps { url: url.into(), access })
}

/// Returns the last part of the address without `.git` and without characters that are not part of a file name.
fn directory_name(shown: &str) -> String {
    let path = shown.split_once("://").map_or(shown, |(_, path)| path);
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
    let last = path.rsplit(['/', ':']).next().unwrap_or_default();
    let clean: String = last
        .chars()
        .map(|c| if c.is_control() || "<>:\"/\\|?*".contains(c) { '_' } else { c })
        .collect::<String>()
        .trim_matches(['.', ' '])
        .to_owned();
    if clean.is_empty() { "repo".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plans(value: Value) -> Vec<RepoPlan> {
        RepoPlan::of(serde_json::from_value(value).unwrap(), Duration::from_secs(300))
    }

    #[test]
    fn equal_names_get_distinct_directories_and_duplicates_are_dropped() {
        let plans = plans(json!([
            {"url": "https://github.com/a/demo.git"},
            {"url": "file:///srv/demo/"},
            {"url": "https://github.com/a/demo.git"},
            {"url": "https://github.com/a/demo.git", "ref": "v1"},
            {"url": "git@host:demo_1.git"},
            {"url": "b/.x.", "provider": "gitlab"},
            {"url": "file:///"},
        ]));
        let directories: Vec<&str> = plans.iter().map(|plan| plan.directory.as_str()).collect();
        assert_eq!(directories, ["demo", "demo_1", "demo_2", "demo_1_1", "x", "repo"]);
    }

    #[test]
    fn git_gets_no_credentials_in_an_address() {
        let plans = plans(json!([
            {"url": "https://me:hunter22@host/a/b"},
            {"url": "octo/beta", "provider": "gitlab"},
            {"url": "ssh://git@host/a/b"},
            "git@host:a/b.git",
        ]));
        let urls: Vec<&str> = plans.iter().map(|plan| plan.clone_url.as_str()).collect();
        assert_eq!(
            urls,
            ["https://host/a/b", "https://gitlab.com/octo/beta.git", "ssh://git@host/a/b", "git@host:a/b.git"]
        );
        assert!(!format!("{plans:?}").contains("hunter22"));
    }

    #[test]
    fn an_ssh_address_at_a_known_host_is_cloned_over_https_with_a_token() {
        for (address, over_https) in [
            ("git@github.com:octo/alpha.git", Some("https://github.com/octo/alpha.git")),
            ("git@GitHub.com:/octo/alpha", Some("https://github.com/octo/alpha")),
            ("ssh://git@gitlab.com/group/sub/alpha.git", Some("https://gitlab.com/group/sub/alpha.git")),
            ("git@git.example.com:octo/alpha.git", None),
            ("git@github.com.evil.example:octo/alpha.git", None),
            ("ssh://me@github.com/octo/alpha", None),
            ("ssh://git@github.com:2222/octo/alpha", None),
        ] {
            let plans = plans(json!([address]));
            let plan = &plans[0];
            assert_eq!(plan.origin(false).url, plan.clone_url);
            assert_eq!(plan.origin(true).url, over_https.unwrap_or(&plan.clone_url), "{address}");
            assert_eq!(plan.wants_token_of().is_some(), over_https.is_some(), "{address}");
        }
        // The token of another provider is not used for this host.
        assert_eq!(plans(json!([{"url": "git@github.com:o/r", "provider": "gitlab"}]))[0].wants_token_of(), None);
    }

    #[test]
    fn seven_to_forty_hex_digits_may_be_a_commit() {
        for (name, may_be) in [("main", false), ("abcdef", false), ("abcdef1", true), ("v1.0.0", false)] {
            let plans = plans(json!([{"url": "https://h/o/r", "ref": name}]));
            assert_eq!(plans[0].may_be_commit(), may_be, "{name}");
        }
    }
}

//! The repositories of a task, in the form of `repos_config.json` of the automation service (`openhands-automation` 1.25.0), and
//! the additional fields of a task file.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use url::{Host, Url};

use super::{optional_duration, web_page};
use crate::problem::{self, Mistake};

/// A repository to clone before the agent starts. A plain text is its address.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(with = "RepoSchema")]
pub(crate) struct RepoSource {
    /// The address.
    pub(crate) address: Address,
    /// A branch, a tag or a commit.
    pub(crate) git_ref: Option<String>,
    /// The hosting service.
    pub(crate) provider: Option<GitProvider>,
    /// Whether the run continues if it cannot be cloned.
    pub(crate) optional: bool,
    /// Whether its submodules are cloned too.
    pub(crate) submodules: bool,
    /// Whether the content of Git LFS files is fetched.
    pub(crate) lfs: bool,
    /// The time limit for cloning.
    pub(crate) timeout: Option<Duration>,
}

/// The hosting service of a git repository, which determines the token of the account that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GitProvider {
    /// GitHub, or a GitHub Enterprise Server.
    Github,
    /// GitLab.
    Gitlab,
    /// Bitbucket.
    Bitbucket,
    /// Azure DevOps.
    AzureDevops,
}

impl GitProvider {
    /// Returns the provider of a public host.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        match host {
            "github.com" => Some(Self::Github),
            "gitlab.com" => Some(Self::Gitlab),
            "bitbucket.org" => Some(Self::Bitbucket),
            "dev.azure.com" => Some(Self::AzureDevops),
            _ if host.ends_with(".visualstudio.com") => Some(Self::AzureDevops),
            _ => None,
        }
    }
}

/// The address of a repository. Its user part is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `owner/repo` with a provider.
    Short(String),
    /// `https://`, `http://`, `ssh://` or `file://`.
    Url {
        /// The original text, without the user part.
        shown: String,
        /// The complete URL.
        url: Url,
    },
    /// `git@host:path`, over SSH.
    Scp(String),
}

impl Address {
    /// Parses an address. `http://` becomes `https://`, as in the automation service, except for this machine.
    ///
    /// # Errors
    /// What is wrong with it, and how to write one.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        const HELP: &str = "write owner/repo with a provider, https://…, ssh://…, git@host:path or file:///…";
        let wrong = |found: String| Mistake::new(found, HELP);
        let text = text.trim();
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(wrong("an address with blanks or control characters".to_owned()));
        }
        // The form in a browser's address bar: `github.com/owner/repo`.
        let completed = without_scheme(text).map(|rest| format!("https://{rest}"));
        let text = completed.as_deref().unwrap_or(text);
        if text.contains("://") {
            // The text is not shown, because it may contain a password.
            let mut url = Url::parse(text).map_err(|error| wrong(format!("not an address ({error})")))?;
            if url.scheme() == "http" && !is_this_machine(&url) {
                url.set_scheme("https").map_err(|()| wrong("an address that has no https:// form".to_owned()))?;
            }
            if let Some(page) = web_page::of(&url) {
                return Err(page.problem());
            }
            let parts = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).count();
            // Another port of such a host is a server of another operator.
            let is_public = url.port().is_none() && url.host_str().and_then(GitProvider::of_host).is_some();
            let fewest = if is_public { 2 } else { 1 };
            if url.scheme() != "file" && parts < fewest {
                return Err(wrong("an address without the name of a repository".to_owned()));
            }
            // As other tools write a branch; no public host allows it in a name.
            if is_public && url.path().contains('@') {
                return Err(wrong("an address with `@` and a branch, which `ref` names here".to_owned()));
            }
            return match url.scheme() {
                "file" if url.host().is_none() => Ok(Self::Url { shown: text.to_owned(), url }),
                "https" | "http" | "ssh" if url.host_str().is_some_and(|host| !host.starts_with('-')) => {
                    Ok(Self::Url { shown: shown(text, &url), url })
                }
                scheme => Err(wrong(format!("an address that starts with `{scheme}:`"))),
            };
        }
        if let Some((host, path)) = text.strip_prefix("git@").and_then(|rest| rest.split_once(':'))
            && !host.is_empty()
            && !host.starts_with('-')
            && !path.is_empty()
        {
            return Ok(Self::Scp(text.to_owned()));
        }
        let is_word = |part: &str| {
            part.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
                && !part.starts_with('-')
                && !["", ".", ".."].contains(&part)
        };
        match text.split_once('/') {
            Some((owner, repo)) if is_word(owner) && is_word(repo) => Ok(Self::Short(text.to_owned())),
            _ => Err(wrong("not the address of a repository".to_owned())),
        }
    }

    /// Returns the original text, without the user part.
    #[must_use]
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Short(text) | Self::Scp(text) | Self::Url { shown: text, .. } => text,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

/// Returns the address if only its scheme is missing: its first part is a host.
fn without_scheme(text: &str) -> Option<&str> {
    let (host, path) = text.split_once('/')?;
    let is_host = host.contains('.')
        && !host.starts_with(['.', '-'])
        && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
    // `a.b/c` is an owner with a dot, unless the host is known.
    let is_known = GitProvider::of_host(&host.to_ascii_lowercase()).is_some();
    (is_host && (is_known || path.trim_matches('/').contains('/'))).then_some(text)
}

/// Returns whether a URL refers to this machine.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn shown(text: &str, url: &Url) -> String {
    let has_secret = match url.scheme() {
        // The user in `ssh://git@host/` only says how to log in.
        "ssh" => url.password().is_some(),
        _ => !url.username().is_empty() || url.password().is_some(),
    };
    if !has_secret {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        return format!("{}://{rest}", url.scheme());
    }
    let mut bare = url.clone();
    // Both calls fail only for URLs without a host.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.into()
}

/// The fields of a repository.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RepoFields")]
struct RepoForm {
    /// `owner/repo` (with `provider`), `https://…`, `ssh://…`, `git@host:path` or `file:///…`.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    url: Address,
    /// A branch, a tag or a commit. Default: the repository's own default branch.
    #[serde(default, rename = "ref", deserialize_with = "git_ref")]
    #[schemars(with = "Option<String>")]
    git_ref: Option<String>,
    /// The provider whose token is used. It is derived from the address for the providers' public hosts.
    #[serde(default)]
    provider: Option<GitProvider>,
    /// Whether the run continues if the repository cannot be cloned.
    #[serde(default)]
    optional: bool,
    /// Whether its submodules are cloned too. Default: their folders stay empty, and a warning names them.
    #[serde(default)]
    submodules: bool,
    /// Whether the content of its Git LFS files is fetched, which needs `git-lfs` in the image. Default: they stay pointers, and
    /// a warning names them.
    #[serde(default)]
    lfs: bool,
    /// The time limit for cloning, such as `2m`. Default: 5 minutes.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "String")]
    timeout: Option<Duration>,
}

impl RepoForm {
    fn of_address(url: Address) -> Self {
        Self { url, git_ref: None, provider: None, optional: false, submodules: false, lfs: false, timeout: None }
    }
}

/// Both forms, for the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "RepoSource")]
#[expect(dead_code, reason = "read by the derive only")]
enum RepoSchema {
    Address(String),
    Fields(RepoForm),
}

impl RepoSource {
    fn checked<E: de::Error>(form: RepoForm) -> Result<Self, E> {
        let RepoForm { url: address, git_ref, provider, optional, submodules, lfs, timeout } = form;
        match (&address, provider) {
            (Address::Short(text), None) => Err(E::custom(Mistake::new(
                format!("the short address {} without a provider", problem::shown(text)),
                "add `provider` (github, gitlab or bitbucket), or write the whole address",
            ))),
            (Address::Short(_), Some(GitProvider::AzureDevops)) => Err(E::custom(Mistake::new(
                "a short address at Azure DevOps",
                "write the whole address, such as https://dev.azure.com/org/project/_git/repo",
            ))),
            _ => Ok(Self { address, git_ref, provider, optional, submodules, lfs, timeout }),
        }
    }
}

impl<'de> Deserialize<'de> for RepoSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrFields;
        impl<'de> Visitor<'de> for TextOrFields {
            type Value = RepoSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or fields with `url`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RepoSource, E> {
                let url = Address::parse(text).map_err(E::custom)?;
                RepoSource::checked(RepoForm::of_address(url))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<RepoSource, A::Error> {
                RepoSource::checked(RepoForm::deserialize(MapAccessDeserializer::new(fields))?)
            }
        }
        deserializer.deserialize_any(TextOrFields)
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    Address::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn git_ref<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    // Names that `git check-ref-format` rejects, and names that git could take for an option.
    let bad = name.is_empty()
        || name.starts_with('-')
        || name.contains("..")
        || name.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c));
    if bad {
        let found = format!("{} is not the name of a branch, a tag or a commit", problem::shown(&name));
        Err(de::Error::custom(Mistake::new(found, "write a name that git accepts, such as `main`")))
    } else {
        Ok(Some(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<RepoSource, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_the_automation_service_is_read() {
        let short = read(json!({"url": "octo/beta", "ref": "main", "provider": "github"})).unwrap();
        assert_eq!(short.address, Address::Short("octo/beta".to_owned()));
        assert_eq!((short.git_ref.as_deref(), short.provider), (Some("main"), Some(GitProvider::Github)));
        for whole in ["https://github.com/octo/alpha", "git@github.com:octo/alpha.git", "file:///srv/git/demo"] {
            assert_eq!(read(json!({ "url": whole })).unwrap().address.shown(), whole);
            assert_eq!(read(json!(whole)).unwrap(), read(json!({ "url": whole })).unwrap());
        }
        let azure = read(json!({"url": "x/y", "provider": "azure_devops"}));
        assert!(azure.unwrap_err().contains("https://dev.azure.com/"));
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for written in ["http://github.com/o/r", "HTTP://github.com/o/r", "Http://GitHub.com/o/r"] {
            let Address::Url { url, shown } = read(json!(written)).unwrap().address else { panic!("{written}") };
            assert_eq!(url.as_str(), "https://github.com/o/r");
            assert!(shown.eq_ignore_ascii_case("https://github.com/o/r"), "{shown}");
        }
        assert_eq!(read(json!("http://127.0.0.1:3000/r")).unwrap().address.shown(), "http://127.0.0.1:3000/r");
    }

    #[test]
    fn an_address_without_a_scheme_is_read_as_https() {
        for (written, expected) in [
            ("github.com/octo/alpha", "https://github.com/octo/alpha"),
            ("GitHub.com/octo/alpha.git", "https://github.com/octo/alpha.git"),
            ("gitlab.com/group/sub/alpha", "https://gitlab.com/group/sub/alpha"),
            ("git.example.com:8443/octo/alpha", "https://git.example.com:8443/octo/alpha"),
        ] {
            let Address::Url { url, .. } = read(json!(written)).unwrap().address else { panic!("{written}") };
            assert_eq!(url.as_str(), expected);
        }
        // The name of an owner may contain a dot.
        let short = read(json!({"url": "octo.org/alpha", "provider": "gitlab"})).unwrap();
        assert_eq!(short.address, Address::Short("octo.org/alpha".to_owned()));
    }

    #[test]
    fn a_user_part_is_not_shown() {
        for (written, shown) in [
            ("https://ghp_secret@github.com/o/r.git", "https://github.com/o/r.git"),
            ("https://user:hunter22@host:8443/o/r", "https://host:8443/o/r"),
            ("http://user:hunter22@host/o/r", "https://host/o/r"),
            ("ssh://git@host/o/r", "ssh://git@host/o/r"),
        ] {
            let repo = read(json!(written)).unwrap();
            assert_eq!(repo.address.shown(), shown);
            assert!(!format!("{repo:?}").contains("hunter22"));
        }
    }

    #[test]
    fn what_is_no_address_or_no_ref_is_refused_without_showing_a_password() {
        for bad in [
            "repo",
            "a/b/c",
            "../x",
            "-x/y",
            "git@host",
            "ext::sh -c x",
            "git@-oProxyCommand=x:y",
            "ftp://u:hunter22@h/x",
            "file://host/x",
            "https://",
            "https://u:hunter22@h",
            "https://github.com/octo",
            "https://gitlab.com/",
            "https://github.com/octo/alpha@main",
            "ssh://git@h/",
            "https://u:hunter22@h:x/",
            "ssh://-x/y",
            "o/..",
        ] {
            let error = read(json!({"url": bad, "provider": "github"})).expect_err(bad);
            assert!(!error.contains("hunter22"), "{error}");
        }
        assert!(read(json!("octo/beta")).unwrap_err().contains("add `provider`"));
        for bad in ["", "-x", "a b", "a..b", "a:b", "a\n"] {
            assert!(read(json!({"url": "https://h/o/r", "ref": bad})).is_err(), "{bad:?}");
        }
    }
}

//! The tokens for repositories, and the hosts that may get them.
//!
//! Names, user names and hosts are those of the official client (`openhands-sdk` 1.58.0, `workspace/repo.py`).

use std::fmt;

use openhands_client::secret::Secret;
use url::Url;

use crate::input::task::repos::GitProvider;

impl GitProvider {
    /// Returns the public host of `owner/repo` addresses.
    #[must_use]
    pub(crate) const fn host(self) -> &'static str {
        match self {
            Self::Github => "github.com",
            Self::Gitlab => "gitlab.com",
            Self::Bitbucket => "bitbucket.org",
            Self::AzureDevops => "dev.azure.com",
        }
    }

    /// Returns the names of the account's secret with the token. Users who set it themselves write the name in upper case.
    #[must_use]
    pub(crate) const fn token_names(self) -> [&'static str; 2] {
        match self {
            Self::Github => ["github_token", "GITHUB_TOKEN"],
            Self::Gitlab => ["gitlab_token", "GITLAB_TOKEN"],
            Self::Bitbucket => ["bitbucket_token", "BITBUCKET_TOKEN"],
            Self::AzureDevops => ["azure_devops_token", "AZURE_DEVOPS_TOKEN"],
        }
    }

    /// Returns the user name for the token.
    const fn user(self) -> &'static str {
        match self {
            Self::Github => "x-access-token",
            Self::Gitlab | Self::AzureDevops => "oauth2",
            Self::Bitbucket => "x-token-auth",
        }
    }

    /// Returns whether the host only resembles a provider's public host: `github.com.evil.example`, `x.github.com.y`.
    fn is_lookalike(host: &str) -> bool {
        ["github.com", "gitlab.com", "bitbucket.org", "dev.azure.com", "visualstudio.com"]
            .iter()
            .any(|public| format!(".{host}.").contains(&format!(".{public}.")))
    }
}

/// The credentials for a repository, for git only and for one host only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// Scheme, host and port, for which git requests credentials.
    pub(crate) scope: String,
    /// The user name in the URL, which may be a token.
    pub(crate) user: Option<Secret>,
    /// The password in the URL.
    pub(crate) password: Option<Secret>,
    /// The provider whose token may be sent to this host.
    pub(crate) token_of: Option<GitProvider>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({}, {:?})", self.scope, self.token_of)
    }
}

/// What an account has as a provider's token.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    /// There is no account.
    NoAccount,
    /// There is no secret with this name.
    Missing(&'static str),
    /// The secret with this name is not usable: it could not be read, or is not a token.
    Unusable(&'static str),
    /// The secret with this name.
    RunState(&'static str, Secret),
}

/// A user name and a password for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Scheme, host and port.
    pub(crate) scope: String,
    /// The user name.
    pub(crate) user: Secret,
    /// The password or token.
    pub(crate) password: Secret,
}

impl Access {
    /// Returns what may be sent to this URL; `None` if its scheme has no user part.
    ///
    /// The account's token is sent to its provider's public hosts. It is sent to another host only if the task sets the provider
    /// for it (a self-hosted GitLab, for example), and never to a host that only resembles a public one.
    #[must_use]
    pub(crate) fn to(url: &Url, provider: Option<GitProvider>) -> Option<Self> {
        if !matches!(url.scheme(), "https" | "http") {
            return None;
        }
        let host = url.host_str()?.trim_end_matches('.');
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let of_host = GitProvider::of_host(host);
        let token_of = match (of_host, provider) {
            (Some(owner), None) => Some(owner),
            (Some(owner), Some(named)) => (owner == named).then_some(owner),
            (None, named) => named.filter(|_| !GitProvider::is_lookalike(host)),
        };
        // A line break would let the URL inject lines into the credentials that git reads.
        let given = |text: &str| {
            let text = decoded(text);
            (!text.is_empty() && !text.contains(char::is_control)).then(|| Secret::new(text))
        };
        let access = Self {
            scope: format!("{}://{}{port}", url.scheme(), url.host_str()?),
            user: given(url.username()),
            password: url.password().and_then(given),
            token_of,
        };
        (access.user.is_some() || access.password.is_some() || token_of.is_some()).then_some(access)
    }

    /// Returns the provider whose token is needed; `None` if the URL contains a password.
    #[must_use]
    pub(crate) fn wants_token_of(&self) -> Option<GitProvider> {
        self.token_of.filter(|_| self.password.is_none())
    }

    /// Returns the credentials, with the account's token if there is one.
    #[must_use]
    pub(crate) fn credentials(&self, token: Option<&Secret>) -> Option<Credentials> {
        let provider_user = || self.token_of.map_or("git", GitProvider::user);
        let (user, password) = match (&self.user, self.password.as_ref().or(token)) {
            (None, None) => return None,
            (Some(user), None) => (user.clone(), Secret::new("")),
            (Some(user), Some(password)) => (user.clone(), password.clone()),
            (None, Some(password)) => (Secret::new(provider_user()), password.clone()),
        };
        Some(Credentials { scope: self.scope.clone(), user, password })
    }

    /// Returns the secrets in the URL. A short user name is left out: it also appears in ordinary text and is not a token.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        const SHORTEST_TOKEN: usize = 16;
        let user = self.user.iter().filter(|user| user.expose().len() >= SHORTEST_TOKEN);
        user.chain(&self.password)
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_goes_to(url: &str, provider: Option<GitProvider>) -> bool {
        Access::to(&Url::parse(url).unwrap(), provider).is_some_and(|access| access.token_of.is_some())
    }

    #[test]
    fn a_token_goes_to_the_hosts_of_its_provider_and_to_no_lookalike() {
        for right in [
            "https://github.com/o/r",
            "https://GitHub.com/o/r",
            "https://gitlab.com/o/r",
            "https://bitbucket.org/o/r",
            "https://org@dev.azure.com/org/p/_git/r",
            "https://org.visualstudio.com/p/_git/r",
        ] {
            assert!(token_goes_to(right, None), "{right}");
        }
        for wrong in [
            "https://github.com.evil.example/o/r",
            "https://api.github.com.evil.example/o/r",
            "https://evil.example/github.com/o/r",
            "https://github.com@evil.example/o/r",
            "https://evilgithub.com/o/r",
            "https://sub.github.com/o/r",
            "https://visualstudio.com/o/r",
            "ssh://git@github.com/o/r",
        ] {
            assert!(!token_goes_to(wrong, None), "{wrong}");
        }
    }

    #[test]
    fn a_named_provider_opens_its_self_hosted_instances_and_no_lookalike() {
        assert!(token_goes_to("https://git.example.com/o/r", Some(GitProvider::Gitlab)));
        assert!(token_goes_to("http://127.0.0.1:3000/o/r", Some(GitProvider::Github)));
        for wrong in ["https://github.com.evil.example/o/r", "https://x.gitlab.com/o/r", "https://sub.github.com./o/r"]
        {
            assert!(!token_goes_to(wrong, Some(GitProvider::Github)), "{wrong}");
        }
        // A token must not be sent to another provider.
        assert!(!token_goes_to("https://gitlab.com/o/r", Some(GitProvider::Github)));
    }

    #[test]
    fn the_addresses_own_credentials_come_first() {
        let credentials = |url: &str, token: Option<&str>| {
            let access = Access::to(&Url::parse(url).unwrap(), None).unwrap();
            let credentials = access.credentials(token.map(Secret::new).as_ref())?;
            Some((credentials.scope, credentials.user.expose().to_owned(), credentials.password.expose().to_owned()))
        };
        let expected =
            |scope: &str, user: &str, password: &str| Some((scope.to_owned(), user.to_owned(), password.to_owned()));
        let github = "https://github.com";
        assert_eq!(credentials("https://github.com/o/r", Some("t")), expected(github, "x-access-token", "t"));
        assert_eq!(credentials("https://github.com/o/r", None), None);
        assert_eq!(credentials("https://tok%2B+en@github.com/o/r", None), expected(github, "tok++en", ""));
        assert_eq!(credentials("https://me:p%40ss@github.com/o/r", Some("t")), expected(github, "me", "p@ss"));
        let azure = "https://dev.azure.com";
        assert_eq!(credentials("https://org@dev.azure.com/org/p/_git/r", Some("t")), expected(azure, "org", "t"));
        let port = "https://u:p@host:8443/r";
        assert_eq!(credentials(port, Some("t")), expected("https://host:8443", "u", "p"));
    }
}

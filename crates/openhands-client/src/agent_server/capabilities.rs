//! The differences between agent-server versions, in one place.

use std::fmt;

/// A release of the agent-server, as `/server_info` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major, minor and patch number.
    pub numbers: (u32, u32, u32),
}

impl Version {
    /// Parses a version such as `1.58.0`. Anything after the third number (`1.58.0rc1`) is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().trim_start_matches('v').split('.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse().ok()
        });
        let mut next = || numbers.next().flatten();
        Some(Self { numbers: (next()?, next()?, next().unwrap_or(0)) })
    }

    const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { numbers: (major, minor, patch) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.numbers;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// How the events socket accepts the session key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketAuth {
    /// `?session_api_key=`: every version accepts it, but URLs appear in logs.
    Query,
    /// `X-Session-API-Key`, from 1.12.0.
    Header,
}

/// What a version of the agent-server supports, where versions differ.
///
/// A bound is the earliest release whose code contains the change, if the code was read, or else the earliest release in which
/// the change was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact about a version, and no two make a state")]
pub struct Capabilities {
    /// The version itself, if it could be parsed.
    pub version: Option<Version>,
    /// How the events socket accepts the session key.
    pub socket_auth: SocketAuth,
    /// Paths of files are sent as `?path=`, from 1.14.0; before that, at the end of the URL path.
    pub file_query: bool,
    /// `PATCH /api/conversations/{id}` accepts `tags`. Seen from 1.16.1; 1.11.5 responds with 422.
    pub patch_tags: bool,
    /// `GET /api/conversations/{id}/agent_final_response`, from 1.17.0.
    pub final_response: bool,
    /// The socket sends `full_state` when a run has ended, after all other events of the run. Seen from 1.22.1.
    pub state_after_run: bool,
    /// `POST /api/conversations/{id}/interrupt`, from 1.24.0.
    pub interrupt: bool,
    /// `mcp_config` is a map by name, from 1.34.0; before that, the map is inside a `mcpServers` wrapper.
    pub flat_mcp: bool,
    /// The finish tool accepts additional fields (`response_schema`). Seen from 1.50.1; 1.43.1 has no such tool specification.
    pub finish_schema: bool,
    /// Each conversation has its own container. This depends on the server's settings, not on its version.
    pub own_container: bool,
}

impl Capabilities {
    /// Returns the capabilities of a version. An unknown newer version counts as the newest known one.
    #[must_use]
    pub fn of(version: Version) -> Self {
        let since = |major, minor, patch| version >= Version::new(major, minor, patch);
        Self {
            version: Some(version),
            socket_auth: if since(1, 12, 0) { SocketAuth::Header } else { SocketAuth::Query },
            file_query: since(1, 14, 0),
            patch_tags: since(1, 16, 1),
            final_response: since(1, 17, 0),
            state_after_run: since(1, 22, 1),
            interrupt: since(1, 24, 0),
            flat_mcp: since(1, 34, 0),
            finish_schema: since(1, 50, 1),
            own_container: false,
        }
    }

    /// Returns the capabilities of the newest known version.
    #[must_use]
    pub fn newest() -> Self {
        Self { version: None, ..Self::of(Version::new(u32::MAX, 0, 0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_write_them() {
        assert_eq!(Version::parse("1.58.0"), Some(Version::new(1, 58, 0)));
        assert_eq!(Version::parse("1.58.0rc1"), Some(Version::new(1, 58, 0)));
        assert_eq!(Version::parse("v2.0"), Some(Version::new(2, 0, 0)));
        assert_eq!(Version::parse("unknown"), None);
        assert!(Version::new(1, 9, 9) < Version::new(1, 11, 5));
    }

    #[test]
    fn an_unknown_newer_version_counts_as_the_newest() {
        for version in [Version::new(1, 99, 0), Version::new(1, 58, 0)] {
            assert_eq!(Capabilities::of(version), Capabilities { version: Some(version), ..Capabilities::newest() });
        }
    }

    #[test]
    fn the_oldest_supported_version_lacks_what_came_later() {
        let oldest = Capabilities::of(Version::new(1, 11, 5));
        assert_eq!(oldest.socket_auth, SocketAuth::Query);
        assert!(!oldest.interrupt && !oldest.final_response && !oldest.patch_tags && !oldest.state_after_run);
    }
}

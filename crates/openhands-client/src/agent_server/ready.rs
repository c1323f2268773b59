//! Waits until the agent-server is ready, and reads its capabilities.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{AgentServerClient, Capabilities};
use crate::http::HttpError;
use crate::retry::{Policy, retry};
use crate::text;

/// The agent-server did not become ready.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ReadyError {
    /// The server was not ready in time.
    #[error("the agent-server at {address} was not ready within {} s", limit.as_secs())]
    NotReady {
        /// The address of the server.
        address: String,
        /// The time limit.
        limit: Duration,
        /// The last error, if there was one.
        source: Option<HttpError>,
    },
    /// The server is ready but does not report its version.
    #[error("the agent-server does not report its version")]
    NoVersion(#[source] HttpError),
}

impl fmt::Debug for ReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

/// The interval at which the log reports that the wait continues.
const TELL: Duration = Duration::from_secs(10);

/// Waits up to `limit` until the server is ready, and then reads its version once.
///
/// # Errors
/// [`ReadyError`].
pub async fn await_ready(client: &AgentServerClient, limit: Duration) -> Result<Capabilities, ReadyError> {
    let address = client.address();
    let deadline = Instant::now() + limit;
    let mut delays = Policy::agent_server(client.time_limits(), limit).delays();
    let mut told = None::<Instant>;
    let mut last = None;
    loop {
        match timeout_at(deadline, client.ready()).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => {
                if told.is_none_or(|told| told.elapsed() >= TELL) {
                    told = Some(Instant::now());
                    let left = deadline.saturating_duration_since(Instant::now()).as_secs();
                    let reason = text::chain(&error);
                    tracing::info!(reason, "waiting for the agent-server at {address} (up to {left} s more)");
                }
                last = Some(error);
            }
            Err(_) => return Err(ReadyError::NotReady { address, limit, source: last }),
        }
        let delay = delays.next_delay().unwrap_or(Duration::ZERO);
        if Instant::now() + delay >= deadline {
            return Err(ReadyError::NotReady { address, limit, source: last });
        }
        tokio::time::sleep(delay).await;
    }
    let policy = Policy::setup(client.time_limits());
    let info =
        retry("reading the agent-server's version", policy, || client.info()).await.map_err(ReadyError::NoVersion)?;
    tracing::info!(version = info.version, "the agent-server at {address} is ready");
    Ok(info.capabilities())
}

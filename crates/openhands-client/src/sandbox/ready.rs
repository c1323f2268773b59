//! Waiting until a sandbox can be used.
//!
//! A status proves little: it flaps between STARTING and RUNNING, is ERROR for seconds while the agent-server boots, and
//! RUNNING before it answers. What counts is the agent-server's own answer, and that it takes the sandbox's key: two sandboxes
//! were once given the same port (app server 1.11.0).

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Access, Provider, SandboxError, SandboxState};
use crate::agent_server::AgentServer;
use crate::agent_server::client::capabilities_of;
use crate::http::HttpError;
use crate::ids::SandboxId;
use crate::retry::{Policy, Retry, Retryable as _, retry};
use crate::text;
use crate::time_limits::TimeLimits;

/// The log tells this often that the wait goes on.
const TELL: Duration = Duration::from_secs(15);
/// A key that is refused this often is wrong.
const REFUSALS: u32 = 5;

/// A sandbox whose agent-server answers and takes the key.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its agent-server.
    pub server: AgentServer,
    /// How it is reached.
    pub access: Access,
}

/// Waits until the sandbox can be used, at most the provider's `init_timeout`. A paused one is let go on.
///
/// # Errors
/// [`SandboxError`].
pub async fn await_ready<P: Provider>(provider: &P, id: &SandboxId) -> Result<Ready, SandboxError> {
    let limits = provider.http().time_limits();
    let limit = provider.init_timeout();
    let mut wait = Wait { id, limit, started: Instant::now(), told: Instant::now(), bad: None, refusals: 0 };
    let mut delays = Policy::cloud_poll(limits).delays();
    let mut last_access: Option<Access> = None;
    loop {
        let look = match provider.look(id).await {
            Ok(look) => look,
            Err(error) if error.retry() == Retry::No => return Err(error),
            Err(error) => SandboxState::Waiting(text::chain(&error)),
        };
        if let SandboxState::Usable(access) = &look {
            last_access = Some(access.clone());
        }
        let mut last = wait.judge(&look, limits)?;
        let mut source = None;
        if matches!(look, SandboxState::Paused) {
            tracing::info!(sandbox = %id, "the sandbox is paused; letting it go on");
            match provider.resume(id).await {
                Ok(()) => {}
                Err(error) if error.retry() == Retry::No => return Err(error),
                Err(error) => last = text::chain(&error),
            }
        } else if let Some(access) = &last_access {
            // Once it was RUNNING, its address and key stay good while the status flaps.
            match usable(access, provider).await {
                Ok(server) => return Ok(Ready { server, access: access.clone() }),
                Err(error) if error.is_refusal() => {
                    wait.refusals += 1;
                    if wait.refusals >= REFUSALS {
                        return Err(SandboxError::NotOurs { id: id.clone(), source: error });
                    }
                    source = Some(error);
                }
                Err(error) => source = Some(error),
            }
            last = format!("{last}; its agent-server does not answer yet");
        }
        wait.go_on(&last, source)?;
        sleep(delays.next_delay().unwrap_or(limits.confirm_again)).await;
    }
}

async fn usable<P: Provider>(access: &Access, provider: &P) -> Result<AgentServer, HttpError> {
    let client = access.client(provider.http().clone());
    client.ready().await?;
    client.authenticated().await?;
    let version = retry(
        "reading the agent-server's version",
        Policy::agent_server(client.time_limits(), client.time_limits().ready_attempt),
        || client.version(),
    )
    .await?;
    tracing::info!(version, "the agent-server at {} is ready", client.address());
    Ok(AgentServer { client, capabilities: capabilities_of(&version) })
}

struct Wait<'w> {
    id: &'w SandboxId,
    limit: Duration,
    started: Instant,
    told: Instant,
    /// Since when it has said nothing but this.
    bad: Option<(&'static str, Instant)>,
    refusals: u32,
}

impl Wait<'_> {
    /// What the look says; an error where it is a verdict.
    fn judge(&mut self, look: &SandboxState, limits: &TimeLimits) -> Result<String, SandboxError> {
        let id = self.id.clone();
        let (text, bad) = match look {
            SandboxState::Usable(_) => ("RUNNING".to_owned(), None),
            SandboxState::Waiting(status) => (status.clone(), None),
            SandboxState::Paused => ("PAUSED".to_owned(), None),
            SandboxState::Failed(status) => (status.clone(), Some(("failed", limits.sandbox_error))),
            SandboxState::Gone => ("not known".to_owned(), Some(("gone", limits.sandbox_unknown))),
        };
        let Some((kind, patience)) = bad else {
            self.bad = None;
            return Ok(text);
        };
        match self.bad {
            Some((since, at)) if since == kind => {
                if at.elapsed() < patience {
                    return Ok(text);
                }
                Err(if kind == "gone" { SandboxError::Gone { id } } else { SandboxError::Failed { id, last: text } })
            }
            _ => {
                self.bad = Some((kind, Instant::now()));
                Ok(text)
            }
        }
    }

    fn go_on(&mut self, last: &str, source: Option<HttpError>) -> Result<(), SandboxError> {
        let waited = self.started.elapsed();
        if waited >= self.limit {
            return Err(SandboxError::NotReady {
                id: self.id.clone(),
                limit: self.limit,
                last: last.to_owned(),
                source: source.map(Box::new),
            });
        }
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            tracing::info!(sandbox = %self.id, "waiting for the sandbox, {} s so far: it is {last}", waited.as_secs());
        }
        Ok(())
    }
}

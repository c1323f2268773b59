//! Waits until a sandbox is ready.
//!
//! The status of a sandbox is not reliable: it flaps between STARTING and RUNNING, is ERROR for seconds while the agent-server
//! boots, and is RUNNING before the server responds. A sandbox is ready when the agent-server responds and accepts the sandbox's
//! key: two sandboxes were once given the same port (app server 1.11.0).

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Access, Provider, SandboxError, SandboxState};
use crate::agent_server::AgentServer;
use crate::http::HttpError;
use crate::ids::SandboxId;
use crate::retry::{Policy, Retry, Retryable as _, retry};
use crate::text;
use crate::time_limits::TimeLimits;

/// The interval at which the log reports that the wait continues.
const TELL: Duration = Duration::from_secs(15);
/// The number of rejections after which the key counts as wrong.
const REFUSALS: u32 = 5;

/// A sandbox whose agent-server responds and accepts the key.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The agent-server of the sandbox.
    pub server: AgentServer,
    /// How to reach the agent-server.
    pub access: Access,
}

/// Waits until the sandbox is ready, at most for the provider's `init_timeout`. A paused sandbox is resumed.
///
/// # Errors
/// [`SandboxError`].
pub async fn await_ready<P: Provider>(provider: &P, id: &SandboxId) -> Result<Ready, SandboxError> {
    let limits = provider.http().time_limits();
    let limit = provider.init_timeout();
    let mut wait = Wait { id, limit, started: Instant::now(), told: Instant::now(), suspicion: None, refusals: 0 };
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
            tracing::info!(sandbox = %id, "resuming the paused sandbox");
            match provider.resume(id).await {
                Ok(()) => {}
                Err(error) if error.retry() == Retry::No => return Err(error),
                Err(error) => last = text::chain(&error),
            }
        } else if let Some(access) = &last_access {
            // After the first RUNNING, address and key stay valid while the status flaps.
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
            last = format!("{last}; its agent-server does not respond yet");
        }
        wait.go_on(&last, source)?;
        sleep(delays.next_delay().unwrap_or(limits.confirm_again)).await;
    }
}

async fn usable<P: Provider>(access: &Access, provider: &P) -> Result<AgentServer, HttpError> {
    let client = access.client(provider.http().clone());
    client.ready().await?;
    client.authenticated().await?;
    let info = retry(
        "reading the agent-server's version",
        Policy::agent_server(client.time_limits(), client.time_limits().ready_attempt),
        || client.info(),
    )
    .await?;
    tracing::info!(version = info.version, "the agent-server at {} is ready", client.address());
    Ok(AgentServer { client, capabilities: info.capabilities() })
}

/// The number of consecutive failed states with a reason after which the failure is believed: a status flaps, a reason does not.
const EXPLAINED_FAILURES: u32 = 3;

/// A state that becomes a verdict if it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Failed,
    Gone,
}

/// A suspicious state, and since when the sandbox has shown nothing else.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    bad: Bad,
    since: Instant,
    /// The number of consecutive failed states with a reason.
    explained: u32,
}

struct Wait<'w> {
    id: &'w SandboxId,
    limit: Duration,
    started: Instant,
    told: Instant,
    suspicion: Option<Suspicion>,
    refusals: u32,
}

impl Wait<'_> {
    /// Returns a text for the state, or an error if the state is a verdict.
    fn judge(&mut self, look: &SandboxState, limits: &TimeLimits) -> Result<String, SandboxError> {
        let (text, bad) = match look {
            SandboxState::Usable(_) => ("RUNNING".to_owned(), None),
            SandboxState::Waiting(status) => (status.clone(), None),
            SandboxState::Paused => ("PAUSED".to_owned(), None),
            SandboxState::Failed { status, reason: None } => (status.clone(), Some((Bad::Failed, false))),
            SandboxState::Failed { status, reason: Some(reason) } => {
                (format!("{status}: {reason}"), Some((Bad::Failed, true)))
            }
            SandboxState::Gone => ("not known".to_owned(), Some((Bad::Gone, false))),
        };
        let Some((bad, is_explained)) = bad else {
            self.suspicion = None;
            return Ok(text);
        };
        let suspicion = match &mut self.suspicion {
            Some(suspicion) if suspicion.bad == bad => suspicion,
            other => other.insert(Suspicion { bad, since: Instant::now(), explained: 0 }),
        };
        suspicion.explained = if is_explained { suspicion.explained + 1 } else { 0 };
        let patience = match bad {
            Bad::Failed => limits.sandbox_error,
            Bad::Gone => limits.sandbox_unknown,
        };
        if suspicion.since.elapsed() < patience && suspicion.explained < EXPLAINED_FAILURES {
            return Ok(text);
        }
        let id = self.id.clone();
        Err(match bad {
            Bad::Gone => SandboxError::Gone { id },
            Bad::Failed => SandboxError::Failed { id, last: text },
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds states to a judge, each after this many seconds, and returns the number of the state that leads to a verdict.
    async fn verdict(looks: impl IntoIterator<Item = (u64, SandboxState)>) -> Option<usize> {
        let id = SandboxId::new("x");
        let now = Instant::now();
        let limit = Duration::from_secs(300);
        let mut wait = Wait { id: &id, limit, started: now, told: now, suspicion: None, refusals: 0 };
        for (number, (seconds, look)) in looks.into_iter().enumerate() {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            if wait.judge(&look, &TimeLimits::default()).is_err() {
                return Some(number + 1);
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_error_is_a_verdict_and_a_flapping_one_is_not() {
        let failed = |reason: Option<&str>| SandboxState::Failed {
            status: "ERROR".to_owned(),
            reason: reason.map(str::to_owned),
        };
        let waiting = || SandboxState::Waiting("STARTING".to_owned());
        let half = TimeLimits::default().sandbox_error.as_secs() / 2;
        // With a reason: after a few states.
        assert_eq!(verdict((0..9).map(|_| (1, failed(Some("no image"))))).await, Some(3));
        assert_eq!(
            verdict([(1, failed(Some("x"))), (1, failed(Some("x"))), (1, waiting()), (1, failed(Some("x")))]).await,
            None
        );
        // Without a reason: after some seconds.
        assert_eq!(verdict([(1, failed(None)), (half, failed(None)), (half, failed(None))]).await, Some(3));
        assert_eq!(
            verdict([(1, failed(None)), (half, waiting()), (half, failed(None)), (1, failed(None))]).await,
            None
        );
        let unknown = TimeLimits::default().sandbox_unknown.as_secs();
        assert_eq!(verdict([(1, SandboxState::Gone), (unknown, SandboxState::Gone)]).await, Some(2));
        assert_eq!(verdict([(1, SandboxState::Gone), (unknown, failed(None))]).await, None);
    }
}

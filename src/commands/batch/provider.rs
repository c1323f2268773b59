//! The provider of the sandbox for one row. Each step that may leave a sandbox is recorded first, and requests to the account are
//! not sent faster than allowed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::sandbox::program::Program;
use openhands_client::sandbox::ready::Ready;
use openhands_client::sandbox::{Access, Provider, SandboxError, SandboxState};

use crate::batch::ledger::{Ledger, Step, StepKind};
use crate::batch::making::Making;
use crate::batch::pace::Pace;
use crate::prepare::provider::{AnyMark, AnyProvider};

/// The place where the run of a row is executed.
#[derive(Debug, Clone)]
pub(super) enum Site {
    /// In a new sandbox.
    Sandbox(AnyProvider),
    /// On an existing agent-server.
    Server {
        /// How to reach the server.
        access: Box<Access>,
        /// The HTTP client.
        http: Http,
    },
}

/// Creates the sandbox for an attempt of a row.
#[derive(Debug, Clone)]
pub(super) struct RowProvider {
    pub(super) site: Site,
    pub(super) ledger: Arc<Ledger>,
    pub(super) pace: Arc<Pace>,
    pub(super) making: Arc<Making>,
    /// The key of the row.
    pub(super) key: String,
    /// The number of the attempt, starting at 1.
    pub(super) attempt: u32,
}

impl RowProvider {
    /// Records a step of this attempt.
    pub(super) async fn note(&self, step: StepKind, sandbox: Option<&SandboxId>) -> io::Result<()> {
        let sandbox = sandbox.map(ToString::to_string);
        self.ledger.step(&Step { sandbox, ..Step::now(&self.key, self.attempt, step) }).await
    }

    /// Returns the same for an existing sandbox.
    pub(super) fn of(mut self, id: &SandboxId) -> Self {
        if let Site::Sandbox(provider) = self.site {
            self.site = Site::Sandbox(provider.of(id));
        }
        self
    }

    /// Adds the environment variables with which a program in the sandbox finds its agent-server and its account.
    pub(super) fn inside(&self, program: Program, id: &SandboxId, ready: &Ready) -> Program {
        match &self.site {
            Site::Sandbox(provider) => provider.inside(program, id, ready),
            Site::Server { .. } => program.beside(&ready.access),
        }
    }

    /// Returns the provider, as soon as a request to it is allowed.
    async fn turn(&self) -> Option<&AnyProvider> {
        match &self.site {
            Site::Sandbox(provider) => {
                if !matches!(provider, AnyProvider::Docker(_)) {
                    self.pace.turn().await;
                }
                Some(provider)
            }
            Site::Server { .. } => None,
        }
    }
}

fn not_written(error: &io::Error) -> SandboxError {
    SandboxError::Other { doing: "writing the ledger of the batch", reason: error.to_string() }
}

/// For an agent-server at a URL, this acts like a sandbox that always exists.
impl Provider for RowProvider {
    type Mark = Option<AnyMark>;

    fn knows_its_own(&self) -> bool {
        match &self.site {
            Site::Sandbox(provider) => provider.knows_its_own(),
            Site::Server { .. } => true,
        }
    }

    fn flag(&self) -> &'static str {
        match &self.site {
            Site::Sandbox(provider) => provider.flag(),
            Site::Server { .. } => "",
        }
    }

    fn id_in_advance(&self) -> Option<SandboxId> {
        match &self.site {
            Site::Sandbox(provider) => provider.id_in_advance(),
            Site::Server { .. } => None,
        }
    }

    async fn mark(&self) -> Result<Self::Mark, SandboxError> {
        match self.turn().await {
            Some(provider) => provider.mark().await.map(Some),
            None => Ok(None),
        }
    }

    async fn create(&self, mark: &Self::Mark) -> Result<SandboxId, SandboxError> {
        let (Some(provider), Some(mark)) = (self.turn().await, mark) else {
            return Err(SandboxError::Other {
                doing: "making a sandbox",
                reason: "the agent-server is there".to_owned(),
            });
        };
        let in_advance = provider.id_in_advance();
        self.note(StepKind::Requested, in_advance.as_ref()).await.map_err(|error| not_written(&error))?;
        let request = self.making.begin(&self.key);
        let made = provider.create(mark).await;
        let is_refused = |error: &SandboxError| match error {
            SandboxError::LimitReached { .. } => true,
            error => error.http().is_some_and(|error| error.status().is_some()),
        };
        match &made {
            Ok(id) => request.has_response(Some(id)),
            Err(error) if is_refused(error) => request.has_response(None),
            Err(_) => drop(request),
        }
        let id = made?;
        // Without this line, the next start of the batch searches for the sandbox.
        if let Err(error) = self.note(StepKind::Made, Some(&id)).await {
            tracing::error!(%error, sandbox = %id, "the ledger of the batch could not be written");
        }
        Ok(id)
    }

    async fn made_since(&self, mark: &Self::Mark) -> Result<Vec<SandboxId>, SandboxError> {
        let (Some(provider), Some(mark)) = (self.turn().await, mark) else { return Ok(Vec::new()) };
        let listed = provider.made_since(mark).await?;
        Ok(if provider.knows_its_own() { listed } else { self.making.left_by(&self.key, listed).await })
    }

    async fn look(&self, id: &SandboxId) -> Result<SandboxState, SandboxError> {
        if let Site::Server { access, .. } = &self.site {
            return Ok(SandboxState::Usable((**access).clone()));
        }
        match self.turn().await {
            Some(provider) => provider.look(id).await,
            None => Ok(SandboxState::Gone),
        }
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), SandboxError> {
        match self.turn().await {
            Some(provider) => provider.pause(id).await,
            None => Ok(()),
        }
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), SandboxError> {
        match self.turn().await {
            Some(provider) => provider.resume(id).await,
            None => Ok(()),
        }
    }

    async fn delete(&self, id: &SandboxId) -> Result<(), SandboxError> {
        match self.turn().await {
            Some(provider) => provider.delete(id).await.inspect(|()| self.making.knows(id.as_str())),
            None => Ok(()),
        }
    }

    fn http(&self) -> &Http {
        match &self.site {
            Site::Sandbox(provider) => provider.http(),
            Site::Server { http, .. } => http,
        }
    }

    fn init_timeout(&self) -> Duration {
        match &self.site {
            Site::Sandbox(provider) => provider.init_timeout(),
            Site::Server { http, .. } => http.time_limits().sandbox_init,
        }
    }

    fn with_fresh_connections(&self) -> Option<Self> {
        let site = match &self.site {
            Site::Sandbox(provider) => Site::Sandbox(provider.with_fresh_connections()?),
            Site::Server { access, http } => {
                Site::Server { access: access.clone(), http: http.with_fresh_connections().ok()? }
            }
        };
        Some(Self { site, ..self.clone() })
    }
}

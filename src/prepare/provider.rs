//! The provider of sandboxes that the user chose. What a run or a command does with a sandbox is the same for each.

use std::time::Duration;

use openhands_client::cloud::Sandboxes;
use openhands_client::http::{self, Http};
use openhands_client::ids::SandboxId;
use openhands_client::sandbox::program::Program;
use openhands_client::sandbox::providers::cloud::{CloudProvider, NewestSandboxes};
use openhands_client::sandbox::providers::docker::{DEFAULT_IMAGE, Docker};
use openhands_client::sandbox::providers::runtime_api::RuntimeApi;
use openhands_client::sandbox::ready::Ready;
use openhands_client::sandbox::{Provider, Sandbox, SandboxError, SandboxState};
use openhands_client::workspace::{AccountClient, account_of};
use url::Url;

use crate::cli::ProvisionArgs;
use crate::input::env::RawEnv;
use crate::input::services::ProviderSettings;

/// One of the providers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum AnyProvider {
    /// OpenHands Cloud.
    Cloud(Box<CloudProvider>),
    /// A container of this machine.
    Docker(Box<Docker>),
    /// The Runtime API.
    RuntimeApi(Box<RuntimeApi>),
}

/// Calls the same method of each provider.
macro_rules! each {
    ($self:ident, $provider:ident => $call:expr) => {
        match $self {
            Self::Cloud($provider) => $call,
            Self::Docker($provider) => $call,
            Self::RuntimeApi($provider) => $call,
        }
    };
}

/// Whom a sandbox comes from, and how it is made.
impl AnyProvider {
    /// The provider with these settings, which makes what the flags describe.
    #[must_use]
    pub(crate) fn new(settings: &ProviderSettings, args: &ProvisionArgs, http: Http, raw: &RawEnv) -> Self {
        let limits = *http.time_limits();
        let init_timeout = args.init_timeout(&limits);
        let image = args.image.clone().unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
        match settings {
            ProviderSettings::Cloud(key) => Self::Cloud(Box::new(CloudProvider {
                sandboxes: Sandboxes::new(http, key.clone(), args.api_timeout(&limits)),
                spec: args.sandbox_spec.clone().or_else(|| raw.openhands_sandbox_spec_id.clone()),
                init_timeout,
            })),
            ProviderSettings::Docker => {
                let mut docker = Docker::with_http(http);
                docker.server_image = image;
                docker.volumes.clone_from(&args.volumes);
                docker.init_timeout = init_timeout;
                Self::Docker(Box::new(docker))
            }
            ProviderSettings::RuntimeApi { url, api_key } => {
                let mut runtime = RuntimeApi::with_http(http, url.clone(), api_key.clone(), image);
                runtime.init_timeout = init_timeout;
                runtime.api_timeout = args.api_timeout(&limits);
                Self::RuntimeApi(Box::new(runtime))
            }
        }
    }

    /// The sandbox with this id, which is there already.
    #[must_use]
    pub(crate) fn existing(self, id: &SandboxId) -> Sandbox<Self> {
        Sandbox::existing(self.of(id), id.clone())
    }

    /// The provider as it is for the sandbox with this id. The Runtime API is asked for a session, and not for a sandbox.
    #[must_use]
    pub(crate) fn of(mut self, id: &SandboxId) -> Self {
        if let Self::RuntimeApi(runtime) = &mut self {
            runtime.session_id = id.to_string();
        }
        self
    }

    /// The account behind a sandbox: the Cloud's, else the settings of its agent-server.
    #[must_use]
    pub(crate) fn account(&self, id: &SandboxId, ready: &Ready) -> AccountClient {
        match self {
            Self::Cloud(cloud) => account_of(id, &cloud.sandboxes, ready),
            Self::Docker(_) | Self::RuntimeApi(_) => AccountClient::agent_server(ready.server.client.clone()),
        }
    }

    /// Adds the variables by which a program in a sandbox finds its agent-server and its account.
    #[must_use]
    pub(crate) fn inside(&self, program: Program, id: &SandboxId, ready: &Ready) -> Program {
        match self {
            Self::Cloud(cloud) => program.inside(id, &ready.access, cloud.sandboxes.key()),
            Self::Docker(_) | Self::RuntimeApi(_) => program.beside(&ready.access),
        }
    }

    /// Where the provider describes a sandbox.
    #[must_use]
    pub(crate) fn page(&self, id: &SandboxId) -> Option<Url> {
        let Self::Cloud(cloud) = self else { return None };
        let mut page = http::join(&cloud.sandboxes.key().url, &["api", "v1", "sandboxes"]);
        page.query_pairs_mut().append_pair("id", id.as_str());
        Some(page)
    }
}

/// What one of the providers has seen before it makes a sandbox.
#[derive(Debug, Clone)]
pub(crate) enum AnyMark {
    Cloud(NewestSandboxes),
    Docker,
    RuntimeApi(<RuntimeApi as Provider>::Mark),
}

const OF_ANOTHER: &str = "a mark is the provider's own";

impl Provider for AnyProvider {
    type Mark = AnyMark;

    fn knows_its_own(&self) -> bool {
        each!(self, provider => provider.knows_its_own())
    }

    fn flag(&self) -> &'static str {
        each!(self, provider => provider.flag())
    }

    fn id_in_advance(&self) -> Option<SandboxId> {
        each!(self, provider => provider.id_in_advance())
    }

    async fn mark(&self) -> Result<AnyMark, SandboxError> {
        match self {
            Self::Cloud(cloud) => cloud.mark().await.map(AnyMark::Cloud),
            Self::Docker(docker) => docker.mark().await.map(|()| AnyMark::Docker),
            Self::RuntimeApi(runtime) => runtime.mark().await.map(AnyMark::RuntimeApi),
        }
    }

    async fn create(&self, mark: &AnyMark) -> Result<SandboxId, SandboxError> {
        match (self, mark) {
            (Self::Cloud(cloud), AnyMark::Cloud(mark)) => cloud.create(mark).await,
            (Self::Docker(docker), AnyMark::Docker) => docker.create(&()).await,
            (Self::RuntimeApi(runtime), AnyMark::RuntimeApi(mark)) => runtime.create(mark).await,
            _ => unreachable!("{OF_ANOTHER}"),
        }
    }

    async fn made_since(&self, mark: &AnyMark) -> Result<Vec<SandboxId>, SandboxError> {
        match (self, mark) {
            (Self::Cloud(cloud), AnyMark::Cloud(mark)) => cloud.made_since(mark).await,
            (Self::Docker(docker), AnyMark::Docker) => docker.made_since(&()).await,
            (Self::RuntimeApi(runtime), AnyMark::RuntimeApi(mark)) => runtime.made_since(mark).await,
            _ => unreachable!("{OF_ANOTHER}"),
        }
    }

    async fn look(&self, id: &SandboxId) -> Result<SandboxState, SandboxError> {
        each!(self, provider => provider.look(id).await)
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), SandboxError> {
        each!(self, provider => provider.pause(id).await)
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), SandboxError> {
        each!(self, provider => provider.resume(id).await)
    }

    async fn delete(&self, id: &SandboxId) -> Result<(), SandboxError> {
        each!(self, provider => provider.delete(id).await)
    }

    fn http(&self) -> &Http {
        each!(self, provider => provider.http())
    }

    fn init_timeout(&self) -> Duration {
        each!(self, provider => provider.init_timeout())
    }

    fn with_fresh_connections(&self) -> Option<Self> {
        Some(match self {
            Self::Cloud(cloud) => Self::Cloud(Box::new(cloud.with_fresh_connections()?)),
            Self::Docker(docker) => Self::Docker(Box::new(docker.with_fresh_connections()?)),
            Self::RuntimeApi(runtime) => Self::RuntimeApi(Box::new(runtime.with_fresh_connections()?)),
        })
    }
}

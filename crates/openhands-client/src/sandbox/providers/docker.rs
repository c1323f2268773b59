//! Local Docker as a provider of sandboxes: a container of an agent-server image, managed with the docker CLI.
//!
//! Without a key, the official client (`openhands-workspace` 1.58.0, `DockerWorkspace`) leaves the agent-server open to all users
//! of the machine. Here the server always has a key, which appears in no command line.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use crate::http::{Http, Network, SetupError};
use crate::ids::SandboxId;
use crate::sandbox::{Access, Provider, SandboxError, SandboxState};
use crate::secret::Secret;
use crate::time_limits::TimeLimits;

/// A container. Cheap to clone; clones refer to the same container.
#[derive(Debug, Clone)]
pub struct Docker {
    http: Http,
    name: String,
    session_key: Secret,
    /// The docker CLI (default: `docker`).
    pub program: PathBuf,
    /// The image (default: `ghcr.io/openhands/agent-server:latest-python`).
    pub server_image: String,
    /// The platform (default: `linux/amd64`).
    pub platform: String,
    /// Volumes, in the form of `docker run --volume`.
    pub volumes: Vec<String>,
    /// Names of environment variables of this process to pass to the container.
    pub forward_env: Vec<String>,
    /// A network, in the form of `docker run --network`.
    pub network: Option<String>,
    /// Whether the container can use the GPUs.
    pub enable_gpu: bool,
    /// The time limit until a container is ready, including the time to pull its image.
    pub init_timeout: Duration,
}

/// The image of the agent-server that its project publishes.
pub const DEFAULT_IMAGE: &str = "ghcr.io/openhands/agent-server:latest-python";
/// The port of the agent-server in the container.
const PORT: u16 = 8000;
/// The environment variable with the key of the agent-server.
const KEY: &str = "OH_SESSION_API_KEYS_0";

impl Docker {
    /// Creates a container of the default image.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(network: &Network) -> Result<Self, SetupError> {
        Ok(Self::with_http(Http::new(network, TimeLimits::default())?))
    }

    /// Creates the same with this HTTP client and its connections.
    #[doc(hidden)]
    #[must_use]
    pub fn with_http(http: Http) -> Self {
        Self {
            init_timeout: http.time_limits().sandbox_init,
            http,
            name: format!("agent-server-{}", uuid::Uuid::new_v4()),
            session_key: Secret::new(uuid::Uuid::new_v4().simple().to_string()),
            program: "docker".into(),
            server_image: DEFAULT_IMAGE.to_owned(),
            platform: "linux/amd64".to_owned(),
            volumes: Vec::new(),
            forward_env: Vec::new(),
            network: None,
            enable_gpu: false,
        }
    }

    /// Returns the container's name, which is the id of the sandbox.
    #[doc(hidden)]
    #[must_use]
    pub fn id(&self) -> SandboxId {
        SandboxId::new(&self.name)
    }

    /// Returns the key of the agent-server in a container that another process may have started: docker shows it to every user
    /// who may use docker.
    fn session_key_of(&self, container: &Value) -> Secret {
        let variables = container.pointer("/Config/Env").and_then(Value::as_array);
        let mut values = variables.into_iter().flatten().filter_map(|variable| variable.as_str()?.split_once('='));
        values.find(|(name, _)| *name == KEY).map_or_else(|| self.session_key.clone(), |(_, key)| Secret::new(key))
    }

    fn run_arguments(&self) -> Vec<String> {
        let mut words: Vec<String> =
            ["run", "--detach", "--rm", "--ulimit", "nofile=65536:65536"].map(str::to_owned).into();
        words.extend(["--platform", &self.platform, "--name", &self.name].map(str::to_owned));
        // Docker chooses the port on this machine, so no other process can take it in between.
        words.extend(["--publish".to_owned(), format!("127.0.0.1::{PORT}"), "--env".to_owned(), KEY.to_owned()]);
        let several = |flag: &str, values: &[String]| -> Vec<String> {
            values.iter().flat_map(|value| [flag.to_owned(), value.clone()]).collect()
        };
        words.extend(several("--env", &self.forward_env));
        words.extend(several("--volume", &self.volumes));
        words.extend(several("--network", self.network.as_slice()));
        if self.enable_gpu {
            words.extend(["--gpus", "all"].map(str::to_owned));
        }
        words.push(self.server_image.clone());
        words.extend(["--host", "0.0.0.0", "--port"].map(str::to_owned));
        words.push(PORT.to_string());
        words
    }

    async fn docker(&self, doing: &'static str, words: &[&str], limit: Duration) -> Result<String, SandboxError> {
        let failed = |reason: String| SandboxError::Other { doing, reason };
        let mut command = Command::new(&self.program);
        command.args(words).env(KEY, self.session_key.expose()).stdin(Stdio::null()).kill_on_drop(true);
        let done = timeout(limit, command.output())
            .await
            .map_err(|_| failed(format!("`docker` did not end within {} s", limit.as_secs())))?;
        let done = done.map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned());
        }
        Err(failed(crate::text::bounded(&String::from_utf8_lossy(&done.stderr), 600)))
    }

    async fn inspect(&self, id: &str) -> Result<Option<Value>, SandboxError> {
        match self
            .docker(
                "inspecting the container",
                &["inspect", "--type", "container", id],
                self.http.time_limits().request,
            )
            .await
        {
            Ok(text) => {
                let containers: Value = serde_json::from_str(&text).unwrap_or_default();
                Ok(containers.get(0).cloned())
            }
            Err(SandboxError::Other { reason, .. }) if is_unknown(&reason) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns whether the docker CLI reports an unknown name.
fn is_unknown(reason: &str) -> bool {
    reason.to_lowercase().contains("no such")
}

impl Provider for Docker {
    /// The name identifies our container.
    type Mark = ();

    fn flag(&self) -> &'static str {
        " --workspace docker"
    }

    fn id_in_advance(&self) -> Option<SandboxId> {
        Some(self.id())
    }

    async fn mark(&self) -> Result<(), SandboxError> {
        Ok(())
    }

    async fn create(&self, (): &()) -> Result<SandboxId, SandboxError> {
        let words = self.run_arguments();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match self.docker("starting the container", &words, self.init_timeout).await {
            Ok(_) => Ok(self.id()),
            Err(error) => {
                // Docker leaves a container that was created but could not be started.
                let _ = self.delete(&self.id()).await;
                Err(error)
            }
        }
    }

    async fn made_since(&self, (): &()) -> Result<Vec<SandboxId>, SandboxError> {
        Ok(self.inspect(&self.name).await?.map(|_| self.id()).into_iter().collect())
    }

    async fn look(&self, id: &SandboxId) -> Result<SandboxState, SandboxError> {
        let Some(container) = self.inspect(id.as_str()).await? else { return Ok(SandboxState::Gone) };
        let state = |name: &str| container.pointer(&format!("/State/{name}")).and_then(Value::as_bool).unwrap_or(false);
        if state("Paused") {
            return Ok(SandboxState::Paused);
        }
        if !state("Running") {
            return Ok(SandboxState::Failed { status: "a container that does not run".to_owned(), reason: None });
        }
        let port = container.pointer(&format!("/NetworkSettings/Ports/{PORT}~1tcp/0/HostPort")).and_then(Value::as_str);
        Ok(match port.and_then(|port| Url::parse(&format!("http://127.0.0.1:{port}")).ok()) {
            Some(url) => SandboxState::Usable(Access::new(url, Some(self.session_key_of(&container)), Some(PORT))),
            None => SandboxState::Waiting("a container without a port".to_owned()),
        })
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), SandboxError> {
        self.docker("pausing the container", &["pause", id.as_str()], self.http.time_limits().request).await.map(drop)
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), SandboxError> {
        self.docker("resuming the container", &["unpause", id.as_str()], self.http.time_limits().request)
            .await
            .map(drop)
    }

    async fn delete(&self, id: &SandboxId) -> Result<(), SandboxError> {
        match self
            .docker("deleting the container", &["rm", "--force", id.as_str()], self.http.time_limits().request)
            .await
        {
            Err(SandboxError::Other { reason, .. }) if is_unknown(&reason) => Ok(()),
            other => other.map(drop),
        }
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn init_timeout(&self) -> Duration {
        self.init_timeout
    }

    fn with_fresh_connections(&self) -> Option<Self> {
        Some(Self { http: self.http.with_fresh_connections().ok()?, ..self.clone() })
    }
}

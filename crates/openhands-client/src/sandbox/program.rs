//! A program of this machine for use in a sandbox.

use std::path::PathBuf;

use bytes::Bytes;

use super::Access;
use super::exec::{Command, ExecError, put};
use super::install::{InstallError, install};
use crate::agent_server::{AgentServer, local_agent_server};
use crate::cloud::CloudKey;
use crate::ids::SandboxId;
use crate::secret::Secret;

/// A program for a sandbox: a static Linux binary with its arguments, its environment and its files.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    probe: Option<&'static str>,
    words: Vec<String>,
    environment: Vec<(String, Secret)>,
    folder: String,
    files: Vec<(String, Bytes)>,
}

impl Program {
    /// Creates a program from the binary at this path.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            probe: None,
            words: Vec::new(),
            environment: Vec::new(),
            folder: format!("/tmp/launched-{}", uuid::Uuid::new_v4().simple()),
            files: Vec::new(),
        }
    }

    /// Sets an argument with which the program exits at once, such as `--version`. The program is run with it in the sandbox
    /// before it is started. This distinguishes a program that cannot run there from one that fails (default: no such run).
    #[must_use]
    pub fn probe(mut self, argument: &'static str) -> Self {
        self.probe = Some(argument);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the program. The value appears in no command line and in no event.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Puts a file into the program's working directory, a new folder in the sandbox.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Returns the working directory of the program in the sandbox.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }
}

#[doc(hidden)]
impl Program {
    /// Adds the environment variables with which a program in the sandbox finds its agent-server and the Cloud account.
    #[must_use]
    pub fn inside(self, id: &SandboxId, access: &Access, key: &CloudKey) -> Self {
        let program = self
            .with_session_key(access)
            .env("SANDBOX_ID", id.as_str())
            .env("OPENHANDS_API_KEY", key.api_key.clone())
            .env("OPENHANDS_CLOUD_API_URL", key.url.as_str());
        match access.port_inside() {
            Some(port) => program.env("AGENT_SERVER_PORT", port.to_string()),
            None => program,
        }
    }

    /// Adds the environment variables with which a program in the sandbox finds its agent-server, if there is no Cloud account.
    #[must_use]
    pub fn beside(self, access: &Access) -> Self {
        let program = self.with_session_key(access);
        match access.port_inside() {
            Some(port) => program.env("AGENT_SERVER_URL", local_agent_server(port).as_str()),
            None => program,
        }
    }

    fn with_session_key(self, access: &Access) -> Self {
        match &access.agent_server.session_key {
            Some(key) => self.env("SESSION_API_KEY", key.clone()),
            None => self,
        }
    }

    /// Copies the program and its files into the sandbox, and returns the command that runs it there.
    ///
    /// # Errors
    /// [`InstallError`].
    pub async fn install(&self, server: &AgentServer) -> Result<Command, InstallError> {
        let installed = install(server, &self.binary, self.probe).await?;
        let message = if installed.uploaded { "program uploaded" } else { "reusing the program in the sandbox" };
        tracing::info!(path = installed.path, "{message}");
        // The folder is needed even if the program has no files.
        super::shell::housekeeping(server, "creating the program's folder", &format!("mkdir -p {}", self.folder))
            .await?;
        for (name, content) in &self.files {
            put(server, &format!("{}/{name}", self.folder), content.clone()).await?;
        }
        let words = std::iter::once(installed.path).chain(self.words.iter().cloned());
        let command = Command::program(words).directory(self.folder.clone());
        Ok(self.environment.iter().fold(command, |command, (name, value)| command.env(name, value.clone())))
    }

    /// Removes the program's folder with its files from the sandbox. The program itself stays for the next run.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn remove_folder(&self, server: &AgentServer) -> Result<(), ExecError> {
        super::shell::housekeeping(server, "removing the program's folder", &format!("rm -rf {}", self.folder)).await
    }
}

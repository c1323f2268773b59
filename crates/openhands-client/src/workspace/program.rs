//! Starts a program in a sandbox, detached from this one.

use super::{CloudWorkspace, Workspace};
use crate::sandbox::exec::{self, ExecError};
use crate::sandbox::install::InstallError;
use crate::sandbox::program::Program;
use crate::text;
use std::fmt;

/// A program in a sandbox that continues to run when this program ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartedProgram {
    /// The folder in the sandbox with its output: `stdout` and `stderr`.
    pub output: String,
}

/// The program could not be started.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartProgramError {
    /// The program could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The installed program could not be started.
    #[error(transparent)]
    Start(#[from] ExecError),
}

impl fmt::Debug for StartProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl Workspace {
    /// Installs a program and its files in the sandbox, starts it, and returns. The program continues to run when this one ends.
    ///
    /// # Errors
    /// [`StartProgramError`].
    pub async fn start_program(&self, program: &Program) -> Result<StartedProgram, StartProgramError> {
        let command = program.install(&self.server).await?;
        let running = exec::start(&self.server, &command).await?;
        Ok(StartedProgram { output: running.folder().to_owned() })
    }
}

impl CloudWorkspace {
    /// Starts a program like [`Workspace::start_program`], with the variables that a program in the sandbox needs to find its
    /// agent-server and the account; see [`super::InsideWorkspace::from_variables`].
    ///
    /// # Errors
    /// [`StartProgramError`].
    pub async fn start_program(&self, program: Program) -> Result<StartedProgram, StartProgramError> {
        let program = program.inside(self.id(), &self.ready().access, self.provider().sandboxes.key());
        Workspace::start_program(self, &program).await
    }
}

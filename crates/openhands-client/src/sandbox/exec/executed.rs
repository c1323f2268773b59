//! The result of a command in a sandbox.

use std::fmt;

use bytes::Bytes;

/// A piece of a command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The bytes of standard output.
    Stdout(Bytes),
    /// The bytes of standard error.
    Stderr(Bytes),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code, as the sandbox's shell reports it.
    Code(u8),
    /// Ended by its time limit.
    TimedOut,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

/// The result of a command, with all its output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Executed {
    /// How the command ended.
    pub exit: Exit,
    /// The bytes of standard output.
    pub stdout: Vec<u8>,
    /// The bytes of standard error.
    pub stderr: Vec<u8>,
}

impl Executed {
    /// Returns whether the command exited with 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// Returns standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns the exit code; `None` if the time limit ended the command.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self.exit {
            Exit::Code(code) => Some(code),
            Exit::TimedOut => None,
        }
    }
}

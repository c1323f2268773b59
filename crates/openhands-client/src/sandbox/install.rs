//! Installs a program in a sandbox: uploads it once, and only if it can run there.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::copy::{CopyError, upload_file};
use super::exec::ExecError;
use super::shell::ask;
use crate::agent_server::AgentServer;
use crate::text;

/// A program could not be installed in the sandbox.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The file is not a program for Linux.
    #[error("{} is not a program for Linux", path.display())]
    NoProgram {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The program was built for another kind of machine than that of the sandbox.
    #[error(
        "{} is built for {ours}, and the sandbox is {theirs}: name a build for {theirs} with `--binary FILE`",
        path.display()
    )]
    Architecture {
        /// The path of the file.
        path: PathBuf,
        /// The machine that the program was built for.
        ours: String,
        /// The machine of the sandbox, as `uname -m` prints it.
        theirs: String,
    },
    /// The program does not start in the sandbox: if it is not static, its libraries may be missing there.
    #[error("the program does not run in the sandbox: give a static one with --binary (scripts/build-static makes it)")]
    DoesNotRun(#[source] ExecError),
    /// The program could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A command in the sandbox failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl fmt::Debug for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

/// A program that is installed in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The path in the sandbox.
    pub path: String,
    /// Whether this call uploaded the program.
    pub uploaded: bool,
}

/// Installs a program in the sandbox, unless the same program is already installed. With the argument `probe`, the program is run
/// there once before it counts as installed.
///
/// # Errors
/// [`InstallError`].
pub async fn install(server: &AgentServer, program: &Path, probe: Option<&str>) -> Result<Installed, InstallError> {
    let path = program.to_owned();
    let examined = tokio::task::spawn_blocking(move || examine(&path)).await;
    let Program { hash, machine } = examined.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()))?;

    let folder = format!("openhands-runner/{}", &hash[..16]);
    let look = format!(
        "uname -m; folder=${{XDG_CACHE_HOME:-${{HOME:-/tmp}}/.cache}}/{folder}; echo \"$folder\"; \
         {{ cd \"$folder\" && chmod u+r openhands-runner && sha256sum openhands-runner && chmod 0111 openhands-runner; }} 2>/dev/null || true"
    );
    let answer = ask(server, "looking for the program", &look).await?;
    let mut lines = answer.lines();
    let theirs = lines.next().unwrap_or_default().to_owned();
    let theirs = if theirs == "arm64" { "aarch64".to_owned() } else { theirs };
    if theirs != machine {
        return Err(InstallError::Architecture { path: program.to_owned(), ours: machine, theirs });
    }
    let path = format!("{}/openhands-runner", lines.next().unwrap_or_default());
    if lines.next().is_some_and(|line| line.starts_with(&hash)) {
        return Ok(Installed { path, uploaded: false });
    }

    // Execute-only: the kernel lets no process of the same user attach to it or read its environment. The file gets its final
    // name only when it is complete and runs, because another launch may check for it at the same time.
    let part = format!("{path}.{}", uuid::Uuid::new_v4().simple());
    upload_file(server, program, &part).await?;
    let (path_quoted, part) = (shell_words::quote(&path), shell_words::quote(&part));
    let probe =
        probe.map(|argument| format!("{part} {} >/dev/null &&", shell_words::quote(argument))).unwrap_or_default();
    let start = format!("chmod 0111 {part} && {probe} mv {part} {path_quoted} || {{ rm -f {part}; false; }}");
    ask(server, "starting the program", &start).await.map_err(|error| match error {
        ExecError::Sandbox { .. } => InstallError::DoesNotRun(error),
        other => InstallError::Exec(other),
    })?;
    Ok(Installed { path, uploaded: true })
}

struct Program {
    /// SHA-256 as hexadecimal digits.
    hash: String,
    /// The machine, as `uname -m` prints it.
    machine: String,
}

fn examine(path: &Path) -> Result<Program, InstallError> {
    let unreadable = |source| InstallError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut head = Vec::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        let length = file.read(&mut piece).map_err(unreadable)?;
        if length == 0 {
            break;
        }
        context.update(&piece[..length]);
        if head.len() < HEAD {
            head.extend_from_slice(&piece[..length.min(HEAD)]);
        }
    }
    let machine = machine(&head).ok_or_else(|| InstallError::NoProgram { path: path.to_owned() })?;
    let hash = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    Ok(Program { hash, machine })
}

/// The size of an ELF header up to and including the machine, in bytes.
const HEAD: usize = 20;

/// Returns the machine from `e_machine` of a little-endian ELF file (elf(5)).
fn machine(head: &[u8]) -> Option<String> {
    let [0x7f, b'E', b'L', b'F', _, 1, ..] = head else { return None };
    Some(match u16::from_le_bytes([*head.get(18)?, *head.get(19)?]) {
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        other => format!("machine {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_a_program_is_in_its_head() {
        let own = examine(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(own.machine, std::env::consts::ARCH);
        assert_eq!(own.hash.len(), 64);
        let mut arm = vec![0; HEAD];
        arm[..6].copy_from_slice(b"\x7fELF\x02\x01");
        arm[18] = 183;
        assert_eq!(machine(&arm).as_deref(), Some("aarch64"));
        assert_eq!(machine(b"#!/bin/sh\n"), None);
        assert_eq!(machine(b"\x7fELF\x02\x01"), None);
    }
}

//! A folder, as a tar archive on its way.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinError;

use super::{Copied, CopyError, here, send, transfer};
use crate::agent_server::AgentServer;
use crate::http::Upload;
use crate::sandbox::command_cleanup::{end, tidy_up, tidy_up_blocking};
use crate::sandbox::exec::{self, Command, ExecError, Exit, Output};
use crate::sandbox::pipe::{pipe, reverse_pipe};

/// Packing and unpacking in the sandbox.
const TAR: Duration = Duration::from_secs(3600);

pub(super) async fn upload_folder(server: &AgentServer, from: &Path, to: &str) -> Result<Copied, CopyError> {
    let mut archive = Archive::new(server);
    let copied = async {
        let (writer, pieces) = pipe();
        let folder = from.to_owned();
        let packing = tokio::task::spawn_blocking(move || pack(&folder, writer));
        let sent = send(server, Upload::new(None, pieces), &archive.path).await;
        // What keeps a folder from being packed explains a broken transfer, and a broken transfer a packing that was cut off.
        let copied = match (joined(packing.await), sent) {
            (Err(error), Err(sent)) if error.kind() == io::ErrorKind::BrokenPipe => return Err(sent),
            (Err(error), _) => return Err(here(from)(error)),
            (Ok(copied), sent) => sent.map(|()| copied)?,
        };
        let target = shell_words::quote(to);
        let unpack = format!("mkdir -p -- {target} && tar -xpof {} -C {target}", archive.path);
        archive.tar("unpacking the folder", &unpack).await?;
        Ok(copied)
    }
    .await;
    archive.remove().await;
    copied
}

/// An archive in the sandbox, and the `tar` at work on it. Neither outlives this, also where a future is dropped.
struct Archive<'s> {
    server: &'s AgentServer,
    path: String,
    /// The folder of the command under way.
    at_work: Option<String>,
    is_removed: bool,
}

impl<'s> Archive<'s> {
    fn new(server: &'s AgentServer) -> Self {
        let path = format!("/tmp/sandbox-copy-{}.tar", uuid::Uuid::new_v4().simple());
        Self { server, path, at_work: None, is_removed: false }
    }

    async fn tar(&mut self, doing: &'static str, line: &str) -> Result<(), CopyError> {
        let mut running = exec::start(self.server, &Command::shell(line).limit(TAR)).await?;
        self.at_work = Some(running.folder().to_owned());
        let mut words = Vec::new();
        let exit = running.follow(async |output| match output {
            Output::Stderr(bytes) => words.extend_from_slice(&bytes),
            Output::Stdout(_) => {}
        });
        let exit = exit.await?;
        self.at_work = None;
        if exit == Exit::Code(0) {
            return Ok(());
        }
        let reason = crate::text::bounded(&String::from_utf8_lossy(&words), 600);
        Err(ExecError::Sandbox { doing, reason }.into())
    }

    fn removal(&self) -> String {
        let end = self.at_work.as_deref().map(|folder| end(folder) + "; ").unwrap_or_default();
        format!("{end}rm -f {}", self.path)
    }

    /// What is told when that fails.
    fn left(&self) -> String {
        format!("an archive may be left in the sandbox: {}", self.path)
    }

    async fn remove(mut self) {
        tidy_up(self.server, &self.removal(), &self.left()).await;
        self.is_removed = true;
    }
}

impl Drop for Archive<'_> {
    fn drop(&mut self) {
        if !self.is_removed {
            tidy_up_blocking(self.server, self.removal(), self.left());
        }
    }
}

/// Packs the folder's content; what is packed goes to `writer`.
fn pack(folder: &Path, writer: impl Write) -> io::Result<Copied> {
    let mut archive = tar::Builder::new(writer);
    archive.follow_symlinks(false);
    archive.append_dir_all(".", folder)?;
    archive.into_inner()?.flush()?;
    count(folder)
}

fn count(path: &Path) -> io::Result<Copied> {
    let mut copied = Copied { files: 0, bytes: 0 };
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let inner = if metadata.is_dir() {
            count(&entry.path())?
        } else {
            Copied { files: 1, bytes: if metadata.is_file() { metadata.len() } else { 0 } }
        };
        copied = Copied { files: copied.files + inner.files, bytes: copied.bytes + inner.bytes };
    }
    Ok(copied)
}

fn joined<T>(joined: Result<io::Result<T>, JoinError>) -> io::Result<T> {
    joined.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()))
}

pub(super) async fn download_folder(server: &AgentServer, from: &str, to: &Path) -> Result<Copied, CopyError> {
    let mut archive = Archive::new(server);
    let copied = async {
        let pack = format!("umask 077; tar -cf {} -C {} .", archive.path, shell_words::quote(from));
        archive.tar("packing the folder", &pack).await?;
        let failed = |error| transfer("downloading", from)(error);
        let mut download = server.client.download(&archive.path, server.capabilities).await.map_err(failed)?;
        let (pieces, reader) = reverse_pipe();
        let target = to.to_owned();
        let unpacking = tokio::task::spawn_blocking(move || unpack(reader, &target));
        let received = async {
            while let Some(piece) = download.piece().await.map_err(failed)? {
                // Refused when unpacking has failed.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Ok::<_, CopyError>(())
        }
        .await;
        drop(pieces);
        let unpacked = joined(unpacking.await).map_err(here(to));
        received?;
        unpacked
    }
    .await;
    archive.remove().await;
    copied
}

/// Unpacks an archive into a folder, and never outside of it.
fn unpack(archive: impl Read, folder: &Path) -> io::Result<Copied> {
    std::fs::create_dir_all(folder)?;
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_mtime(true);
    archive.unpack(folder)?;
    // To its end: whoever sends it waits for that.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    count(folder)
}

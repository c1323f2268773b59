//! Copies a folder as a streamed tar archive.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinError;

use super::{Copied, CopyError, here, send, transfer};
use crate::agent_server::AgentServer;
use crate::http::Upload;
use crate::sandbox::command_cleanup::{end, tidy_up, tidy_up_blocking};
use crate::sandbox::exec::{self, Command, Exit, Output};
use crate::sandbox::pipe::{pipe, reverse_pipe};
use crate::sandbox::shell::ExecError;

/// The time limit for packing and unpacking in the sandbox.
const TAR: Duration = Duration::from_secs(3600);

pub(super) async fn upload_folder(server: &AgentServer, from: &Path, to: &str) -> Result<Copied, CopyError> {
    let mut archive = Archive::new(server);
    let copied = async {
        let (writer, pieces) = pipe();
        let folder = from.to_owned();
        let packing = tokio::task::spawn_blocking(move || pack(&folder, writer));
        let sent = send(server, Upload::new(None, pieces), &archive.path).await;
        // If packing failed, its error explains the broken transfer; if the packing was cut off, the error of the transfer
        // explains it.
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

/// An archive in the sandbox, and the `tar` command that uses it. Both are cleaned up on drop, so a dropped future leaves
/// neither.
struct Archive<'s> {
    server: &'s AgentServer,
    path: String,
    /// The folder of the running command.
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

    /// Returns the warning for the case that the cleanup fails.
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

/// Packs the content of the folder into `writer`.
fn pack(folder: &Path, writer: impl Write) -> io::Result<Copied> {
    let mut archive = tar::Builder::new(writer);
    archive.follow_symlinks(false);
    let mut skipped = Skipped::default();
    let mut copied = Copied { files: 0, bytes: 0 };
    archive.append_dir(".", folder)?;
    pack_into(&mut archive, folder, Path::new("."), &mut copied, &mut skipped)?;
    archive.into_inner()?.flush()?;
    skipped.warn();
    Ok(copied)
}

fn pack_into(
    archive: &mut tar::Builder<impl Write>,
    folder: &Path,
    name: &Path,
    copied: &mut Copied,
    skipped: &mut Skipped,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            archive.append_dir(&name, &path)?;
            pack_into(archive, &path, &name, copied, skipped)?;
        } else if kind.is_file() || kind.is_symlink() {
            archive.append_path_with_name(&path, &name)?;
            copied.files += 1;
            copied.bytes += if kind.is_file() { entry.metadata()?.len() } else { 0 };
        } else {
            skipped.add(&path);
        }
    }
    Ok(())
}

/// FIFOs, sockets and devices in a folder, which a copy skips.
#[derive(Debug, Default)]
struct Skipped {
    count: usize,
    first: Vec<String>,
}

impl Skipped {
    /// The number of names that the warning shows.
    const SHOWN: usize = 5;

    fn add(&mut self, path: &Path) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(path.display().to_string());
        }
    }

    fn warn(&self) {
        if self.count > 0 {
            let paths = self.first.join(", ");
            tracing::warn!(
                count = self.count,
                paths,
                "skipped FIFOs, sockets or devices: they have no content to copy"
            );
        }
    }
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
                // The receiver is closed if unpacking has failed.
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
pub(super) fn unpack(archive: impl Read, folder: &Path) -> io::Result<Copied> {
    // The parent folder exists: a copy creates only its own folder.
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_mtime(true);
    let mut skipped = Skipped::default();
    // The permissions of a folder may forbid writing into it, so they are set last, those of the inner folders first.
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_fifo() || kind.is_character_special() || kind.is_block_special() {
            skipped.add(&entry.path()?);
        } else if kind.is_dir() {
            folders.push(entry);
        } else {
            entry.unpack_in(folder)?;
        }
    }
    folders.sort_by(|one, other| other.path_bytes().cmp(&one.path_bytes()));
    for mut entry in folders {
        entry.unpack_in(folder)?;
    }
    skipped.warn();
    // Read to the end: the sender waits for that.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    count(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_file_nor_folder_is_skipped_in_both_directions() {
        let here = tempfile::tempdir().unwrap();
        let (from, to) = (here.path().join("from"), here.path().join("to"));
        std::fs::create_dir_all(from.join("inner")).unwrap();
        std::fs::write(from.join("inner/file"), "content").unwrap();
        let fifo = from.join("inner/fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut archive = Vec::new();
        let packed = pack(&from, &mut archive).unwrap();
        assert_eq!(packed, Copied { files: 1, bytes: 7 });
        assert_eq!(unpack(archive.as_slice(), &to).unwrap(), packed);

        // Packed as the `tar` of a sandbox does it.
        let output = std::process::Command::new("tar").arg("-cC").arg(&from).args(["-f", "-", "."]).output().unwrap();
        std::fs::remove_dir_all(&to).unwrap();
        assert_eq!(unpack(output.stdout.as_slice(), &to).unwrap(), packed);
        assert!(!to.join("inner/fifo").exists());
    }

    #[test]
    fn unpacking_makes_its_own_folder_and_none_above() {
        let here = tempfile::tempdir().unwrap();
        let mut archive = Vec::new();
        pack(here.path(), &mut archive).unwrap();
        assert!(unpack(archive.as_slice(), &here.path().join("missing/folder")).is_err());
        assert!(!here.path().join("missing").exists());
    }
}

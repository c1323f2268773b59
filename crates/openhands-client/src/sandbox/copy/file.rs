//! Copies one file: its content, its size and its permissions.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Take};

use super::permissions::{chmod_like, new_private_file, set_mode};
use super::{Copied, CopyError, absolute, here, send, transfer};
use crate::agent_server::AgentServer;
use crate::http::Upload;
use crate::sandbox::shell::ask;

/// The number of bytes to read at once.
const PIECE: usize = 256 * 1024;

/// Copies one file to this path in the sandbox, with its permissions.
///
/// # Errors
/// [`CopyError`].
pub async fn upload_file(server: &AgentServer, from: &Path, to: &str) -> Result<Copied, CopyError> {
    let file = File::open(from).await.map_err(here(from))?;
    let metadata = file.metadata().await.map_err(here(from))?;
    // If the file grows, no more than the announced size is sent.
    let upload = Upload::new(Some(metadata.len()), pieces(file.take(metadata.len())));
    send(server, upload, to).await?;
    let path = shell_words::quote(to);
    let chmod = chmod_like(&metadata, &path);
    let size = ask(server, "checking the copy", &format!("{chmod}wc -c <{path}")).await?;
    let found = size.trim().parse().unwrap_or_default();
    if found != metadata.len() {
        return Err(CopyError::Size { path: to.to_owned(), found, expected: metadata.len() });
    }
    Ok(Copied { files: 1, bytes: found })
}

fn pieces(file: Take<File>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(file, async |mut file| {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        piece.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(piece), file)))
    })
}

/// Writes bytes to a file in the sandbox.
///
/// # Errors
/// [`CopyError`].
pub async fn upload_bytes(server: &AgentServer, content: Bytes, to: &str) -> Result<(), CopyError> {
    absolute(to)?;
    let size = content.len() as u64;
    send(server, Upload::new(Some(size), stream::once(async { Ok(content) })), to).await
}

/// Reads a file in the sandbox into memory.
///
/// # Errors
/// [`CopyError`].
pub async fn download_bytes(server: &AgentServer, from: &str) -> Result<Bytes, CopyError> {
    absolute(from)?;
    let refused = || transfer("downloading", from);
    let mut download = server.client.download(from, server.capabilities).await.map_err(refused())?;
    let mut content = Vec::new();
    while let Some(piece) = download.piece().await.map_err(refused())? {
        content.extend_from_slice(&piece);
    }
    Ok(content.into())
}

/// Copies one file out of the sandbox, with its permissions if the local file system supports them. An existing file at this
/// path, or behind a link at this path, is replaced when the new one is complete. Anything that is not a regular file, such as a
/// device, is written into.
/// # Errors
/// [`CopyError`].
pub async fn download_file(server: &AgentServer, from: &str, to: &Path) -> Result<Copied, CopyError> {
    let Some(to) = file_of(to).await else {
        // The existing content stays: it may be a file that a shell appends to.
        let file = async { OpenOptions::new().append(true).open(to).await };
        return Ok(Copied { files: 1, bytes: receive(server, from, file, to).await? });
    };
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = Part(to.with_file_name(name));
    // A remaining file comes from an earlier process with the same process id, and may have other permissions.
    let _ = tokio::fs::remove_file(&part.0).await;
    // Only the owner can read it until the permissions are known.
    let file = async { new_private_file().open(&part.0).await };
    let bytes = receive(server, from, file, &part.0).await?;
    let mode =
        ask(server, "reading the permissions of the file", &format!("stat -c %a {}", shell_words::quote(from))).await;
    match mode.ok().and_then(|mode| u32::from_str_radix(mode.trim(), 8).ok()) {
        Some(mode) => {
            if let Err(error) = set_mode(&part.0, mode).await {
                tracing::warn!(%error, path = %to.display(), "the copy does not have the permissions of the original");
            }
        }
        None => tracing::warn!(path = %to.display(), "the permissions of the original are not known"),
    }
    tokio::fs::rename(&part.0, &to).await.map_err(here(&to))?;
    Ok(Copied { files: 1, bytes })
}

/// Returns the path of the file to replace or create; `None` for anything that is not replaced.
async fn file_of(path: &Path) -> Option<PathBuf> {
    // Open files of a process, under any name.
    if ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|place| path.starts_with(place)) {
        return None;
    }
    match tokio::fs::metadata(path).await {
        Ok(metadata) if !metadata.is_file() => None,
        Ok(_) => tokio::fs::canonicalize(path).await.ok(),
        Err(_) => Some(match tokio::fs::read_link(path).await {
            Ok(target) => path.parent().unwrap_or(path).join(target),
            Err(_) => path.to_owned(),
        }),
    }
}

/// An incomplete file. It is removed on drop, so a dropped future leaves no half-written file.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // The file was renamed, or never created.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Downloads into the file that `open` opens when the server starts to respond.
async fn receive(
    server: &AgentServer,
    from: &str,
    open: impl Future<Output = io::Result<File>>,
    path: &Path,
) -> Result<u64, CopyError> {
    let failed = |error| transfer("downloading", from)(error);
    let mut download = server.client.download(from, server.capabilities).await.map_err(failed)?;
    let expected = download.size();
    let mut to = open.await.map_err(here(path))?;
    let mut found = 0;
    while let Some(piece) = download.piece().await.map_err(failed)? {
        to.write_all(&piece).await.map_err(here(path))?;
        found += piece.len() as u64;
    }
    to.flush().await.map_err(here(path))?;
    match expected {
        Some(expected) if expected != found => {
            Err(CopyError::Size { path: path.display().to_string(), found, expected })
        }
        _ => Ok(found),
    }
}

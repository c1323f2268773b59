//! Files and folders into a sandbox and out of it: streamed, of any size, with their sizes checked.
//!
//! A folder travels as a tar archive, which the sandbox's `tar` packs and unpacks; permissions and symbolic links go with it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Take};
use tokio::task::JoinError;

use super::exec::{self, Command, ExecError, ask, housekeeping};
use super::pipe::{pipe, reverse_pipe};
use crate::conversation::Server;
use crate::http::{HttpError, Upload};

/// A copy failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something on this machine.
    #[error("{path}")]
    Here {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The agent-server did not do it.
    #[error("{doing} {path} failed")]
    Transfer {
        /// "uploading", "downloading".
        doing: &'static str,
        /// The path in the sandbox.
        path: String,
        /// Why.
        source: Box<HttpError>,
    },
    /// A command that belongs to it failed.
    #[error(transparent)]
    Sandbox(#[from] ExecError),
    /// A path in the sandbox that does not begin with `/`.
    #[error("`{0}` is not an absolute path; paths in a sandbox begin with `/`")]
    NotAbsolute(String),
    /// Fewer or more bytes arrived than were sent.
    #[error("{path} has {found} bytes after the copy instead of {expected}")]
    Size {
        /// The copy.
        path: String,
        /// Its size.
        found: u64,
        /// That of the original.
        expected: u64,
    },
}

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

fn here(path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    move |source| CopyError::Here { path: path.to_owned(), source }
}

fn transfer(doing: &'static str, path: &str) -> impl FnOnce(HttpError) -> CopyError {
    move |error| CopyError::Transfer { doing, path: path.to_owned(), source: Box::new(error) }
}

/// Bytes that are read or packed at once.
const PIECE: usize = 256 * 1024;
/// Packing and unpacking in the sandbox.
const TAR: Duration = Duration::from_secs(3600);

/// What a path in the sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Nothing,
}

async fn kind(server: &Server, path: &str) -> Result<Kind, CopyError> {
    if !path.starts_with('/') {
        return Err(CopyError::NotAbsolute(path.to_owned()));
    }
    let path = shell_words::quote(path);
    let line = format!("if [ -d {path} ]; then echo folder; elif [ -e {path} ]; then echo file; fi");
    Ok(match ask(server, "looking at the path", &line).await?.as_str() {
        "folder" => Kind::Folder,
        "file" => Kind::File,
        _ => Kind::Nothing,
    })
}

/// Copies a file or a folder into the sandbox. As with `cp -r`, an existing folder gets the copy under its own name.
///
/// # Errors
/// [`CopyError`].
pub async fn upload(server: &Server, from: &Path, to: &str) -> Result<Copied, CopyError> {
    let metadata = tokio::fs::metadata(from).await.map_err(here(from))?;
    let name = from.canonicalize().map_err(here(from))?;
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let target = match kind(server, to).await? {
        Kind::Folder => format!("{}/{name}", to.trim_end_matches('/')),
        _ if to.ends_with('/') => format!("{to}{name}"),
        _ => to.to_owned(),
    };
    if metadata.is_dir() {
        upload_folder(server, from, &target).await
    } else {
        upload_file(server, from, &target).await
    }
}

/// Copies one file to this path in the sandbox. Its permissions go with it.
///
/// # Errors
/// [`CopyError`].
pub async fn upload_file(server: &Server, from: &Path, to: &str) -> Result<Copied, CopyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = File::open(from).await.map_err(here(from))?;
    let metadata = file.metadata().await.map_err(here(from))?;
    // No more than was promised of a file that grows.
    let upload = Upload::new(Some(metadata.len()), pieces(file.take(metadata.len())));
    send(server, upload, to).await?;
    let mode = metadata.permissions().mode() & 0o777;
    let path = shell_words::quote(to);
    let size = ask(server, "checking the copy", &format!("chmod {mode:o} {path} && wc -c <{path}")).await?;
    let found = size.trim().parse().unwrap_or_default();
    if found != metadata.len() {
        return Err(CopyError::Size { path: to.to_owned(), found, expected: metadata.len() });
    }
    Ok(Copied { files: 1, bytes: found })
}

async fn send(server: &Server, upload: Upload, to: &str) -> Result<(), CopyError> {
    let sent = server.client.upload(to, upload, server.capabilities).await;
    sent.map_err(transfer("uploading", to))
}

fn pieces(file: Take<File>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(file, async |mut file| {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).await?;
        piece.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(piece), file)))
    })
}

async fn upload_folder(server: &Server, from: &Path, to: &str) -> Result<Copied, CopyError> {
    let archive = archive_name();
    let copied = async {
        let (writer, pieces) = pipe();
        let folder = from.to_owned();
        let packing = tokio::task::spawn_blocking(move || pack(&folder, writer));
        let sent = send(server, Upload::new(None, pieces), &archive).await;
        // What keeps a folder from being packed explains a broken transfer, and a broken transfer a packing that was cut off.
        let copied = match (joined(packing.await), sent) {
            (Err(error), Err(sent)) if error.kind() == io::ErrorKind::BrokenPipe => return Err(sent),
            (Err(error), _) => return Err(here(from)(error)),
            (Ok(copied), sent) => sent.map(|()| copied)?,
        };
        let target = shell_words::quote(to);
        let unpack = format!("mkdir -p -- {target} && tar -xpof {archive} -C {target}");
        let unpacked = exec::execute(server, &Command::shell(unpack).limit(TAR)).await?;
        refuse_failure("unpacking the folder", &unpacked)?;
        Ok(copied)
    }
    .await;
    remove(server, &archive).await;
    copied
}

fn archive_name() -> String {
    format!("/tmp/sandbox-copy-{}.tar", uuid::Uuid::new_v4().simple())
}

async fn remove(server: &Server, archive: &str) {
    if let Err(error) = housekeeping(server, "tidying up", &format!("rm -f {archive}")).await {
        tracing::debug!(error = %crate::display::chain(&error), archive, "left behind in the sandbox");
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

fn refuse_failure(doing: &'static str, done: &exec::Executed) -> Result<(), CopyError> {
    if done.is_success() {
        return Ok(());
    }
    let reason = crate::display::bounded(&String::from_utf8_lossy(&done.stderr), 600);
    Err(ExecError::Sandbox { doing, reason }.into())
}

/// Copies a file or a folder out of the sandbox. As with `cp -r`, an existing folder gets the copy under its own name.
///
/// # Errors
/// [`CopyError`].
pub async fn download(server: &Server, from: &str, to: &Path) -> Result<Copied, CopyError> {
    let kind = kind(server, from).await?;
    let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let target = if to.is_dir() && !name.is_empty() { to.join(name) } else { to.to_owned() };
    match kind {
        Kind::Folder => download_folder(server, from, &target).await,
        // The server's own refusal tells that there is none.
        Kind::File | Kind::Nothing => download_file(server, from, &target).await,
    }
}

/// Copies one file out of the sandbox. Its permissions go with it. An older file at this path is replaced when all of the new
/// one has come.
///
/// # Errors
/// [`CopyError`].
pub async fn download_file(server: &Server, from: &str, to: &Path) -> Result<Copied, CopyError> {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = Part(to.with_file_name(name));
    let bytes = receive(server, from, &part.0).await?;
    let mode = ask(server, "looking at the file", &format!("stat -c %a {}", shell_words::quote(from))).await;
    if let Some(mode) = mode.ok().and_then(|mode| u32::from_str_radix(mode.trim(), 8).ok()) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(mode & 0o777);
        tokio::fs::set_permissions(&part.0, mode).await.map_err(here(to))?;
    }
    tokio::fs::rename(&part.0, to).await.map_err(here(to))?;
    Ok(Copied { files: 1, bytes })
}

/// A file that is still being written. Nothing half-written is left behind, also by a future that is dropped.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Gone under its own name, or never made.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn receive(server: &Server, from: &str, to: &Path) -> Result<u64, CopyError> {
    let failed = |error| transfer("downloading", from)(error);
    let mut download = server.client.download(from, server.capabilities).await.map_err(failed)?;
    let expected = download.size();
    let mut file = File::create(to).await.map_err(here(to))?;
    let mut found = 0;
    while let Some(piece) = download.piece().await.map_err(failed)? {
        file.write_all(&piece).await.map_err(here(to))?;
        found += piece.len() as u64;
    }
    file.flush().await.map_err(here(to))?;
    match expected {
        Some(expected) if expected != found => Err(CopyError::Size { path: to.display().to_string(), found, expected }),
        _ => Ok(found),
    }
}

async fn download_folder(server: &Server, from: &str, to: &Path) -> Result<Copied, CopyError> {
    let archive = archive_name();
    let copied = async {
        let pack = format!("umask 077; tar -cf {archive} -C {} .", shell_words::quote(from));
        let packed = exec::execute(server, &Command::shell(pack).limit(TAR)).await?;
        refuse_failure("packing the folder", &packed)?;
        let failed = |error| transfer("downloading", from)(error);
        let mut download = server.client.download(&archive, server.capabilities).await.map_err(failed)?;
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
    remove(server, &archive).await;
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

//! Files and folders into a sandbox and out of it: streamed, of any size, with their sizes checked.
//!
//! A folder travels as a tar archive, which the sandbox's `tar` packs and unpacks; permissions and symbolic links go with it.

mod file;
mod folder;
mod permissions;

use std::io;
use std::path::{Path, PathBuf};

pub use self::file::{download_bytes, download_file, upload_bytes, upload_file};
use self::folder::{download_folder, upload_folder};
use super::exec::{ExecError, ask};
use crate::agent_server::AgentServer;
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

async fn send(server: &AgentServer, upload: Upload, to: &str) -> Result<(), CopyError> {
    let sent = server.client.upload(to, upload, server.capabilities).await;
    sent.map_err(transfer("uploading", to))
}

/// What a path in the sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Nothing,
}

fn absolute(path: &str) -> Result<(), CopyError> {
    if path.starts_with('/') { Ok(()) } else { Err(CopyError::NotAbsolute(path.to_owned())) }
}

async fn kind(server: &AgentServer, path: &str) -> Result<Kind, CopyError> {
    absolute(path)?;
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
pub async fn upload(server: &AgentServer, from: &Path, to: &str) -> Result<Copied, CopyError> {
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

/// Copies a file or a folder out of the sandbox. As with `cp -r`, an existing folder gets the copy under its own name.
///
/// # Errors
/// [`CopyError`].
pub async fn download(server: &AgentServer, from: &str, to: &Path) -> Result<Copied, CopyError> {
    let kind = kind(server, from).await?;
    let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let target = if to.is_dir() && !name.is_empty() { to.join(name) } else { to.to_owned() };
    match kind {
        Kind::Folder => download_folder(server, from, &target).await,
        // The server's own refusal tells that there is none.
        Kind::File | Kind::Nothing => download_file(server, from, &target).await,
    }
}

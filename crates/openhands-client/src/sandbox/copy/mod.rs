//! Files and folders into a sandbox and out of it: streamed, of any size, with their sizes checked.
//!
//! A folder travels as a tar archive, which the sandbox's `tar` packs and unpacks; permissions and symbolic links go with it.

mod file;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod permissions;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use self::file::{download_bytes, download_file, upload_bytes, upload_file};
use self::folder::{download_folder, upload_folder};
use super::shell::{ExecError, ask, with_argument};
use crate::agent_server::AgentServer;
use crate::http::{HttpError, Upload};
use crate::text;

/// A copy failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
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
    /// The folder that is to hold the copy does not exist. Like `cp -r`, a copy makes no folder above its own.
    #[error("{where_}: there is no folder `{path}` to copy into; create it first", where_ = if *in_sandbox { "in the sandbox" } else { "on this machine" })]
    NoFolder {
        /// The missing folder.
        path: String,
        /// Whether it is missing in the sandbox, or here.
        in_sandbox: bool,
    },
    /// A FIFO, a socket or a device: it has no content that could be copied.
    #[error("`{0}` is neither a file nor a folder, and is not copied")]
    NotAFile(String),
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

impl fmt::Debug for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
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
    /// A FIFO, a socket or a device.
    Special,
    /// Nothing, in a folder that exists.
    Nothing,
    /// Nothing, and the folder above is missing, too.
    NoFolder,
}

fn absolute(path: &str) -> Result<(), CopyError> {
    if path.starts_with('/') { Ok(()) } else { Err(CopyError::NotAbsolute(path.to_owned())) }
}

/// Prints what the path `$1` is.
const KIND: &str = include_str!("../scripts/kind.sh");

async fn kind(server: &AgentServer, path: &str) -> Result<Kind, CopyError> {
    absolute(path)?;
    let script = with_argument(KIND, path);
    Ok(match ask(server, "checking the path", &script).await?.as_str() {
        "folder" => Kind::Folder,
        "file" => Kind::File,
        "special" => Kind::Special,
        "no folder" => Kind::NoFolder,
        _ => Kind::Nothing,
    })
}

/// The name of a copy inside an existing folder: the last part of the path, as it was written. `None` where `cp -r` copies the
/// content into the folder itself: `/`, `a/.` and `a/..`, which would lead out of it.
fn name_of(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    (!["", ".", ".."].contains(&name)).then_some(name)
}

/// The folder that holds this path.
fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => parent,
        _ => "/",
    }
}

/// Copies a file or a folder into the sandbox. As with `cp -r`, an existing folder gets the copy under its own name, and the folder
/// above the copy has to exist. FIFOs, sockets and devices in a folder are skipped with a warning.
///
/// # Errors
/// [`CopyError`].
pub async fn upload(server: &AgentServer, from: &Path, to: &str) -> Result<Copied, CopyError> {
    let metadata = tokio::fs::metadata(from).await.map_err(here(from))?;
    if !metadata.is_dir() && !metadata.is_file() {
        return Err(CopyError::NotAFile(from.display().to_string()));
    }
    let written = from.to_string_lossy();
    let no_folder = |path: &str| CopyError::NoFolder { path: path.to_owned(), in_sandbox: true };
    let target = match kind(server, to).await? {
        Kind::Folder => match name_of(&written) {
            Some(name) => format!("{}/{name}", to.trim_end_matches('/')),
            None => to.to_owned(),
        },
        Kind::NoFolder => return Err(no_folder(parent(to))),
        Kind::Nothing if to.ends_with('/') && metadata.is_file() => return Err(no_folder(to)),
        _ => to.to_owned(),
    };
    if metadata.is_dir() {
        upload_folder(server, from, &target).await
    } else {
        upload_file(server, from, &target).await
    }
}

/// Copies a file or a folder out of the sandbox. As with `cp -r`, an existing folder gets the copy under its own name, and the
/// folder above the copy has to exist. FIFOs, sockets and devices in a folder are skipped with a warning.
///
/// # Errors
/// [`CopyError`].
pub async fn download(server: &AgentServer, from: &str, to: &Path) -> Result<Copied, CopyError> {
    let kind = kind(server, from).await?;
    if kind == Kind::Special {
        return Err(CopyError::NotAFile(from.to_owned()));
    }
    let target = match name_of(from) {
        Some(name) if to.is_dir() => to.join(name),
        _ => to.to_owned(),
    };
    let is_folder = kind == Kind::Folder;
    let no_folder = |path: &Path| CopyError::NoFolder { path: path.display().to_string(), in_sandbox: false };
    match target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if !parent.is_dir() => return Err(no_folder(parent)),
        _ if !is_folder && to.to_string_lossy().ends_with('/') && !to.is_dir() => return Err(no_folder(to)),
        _ => {}
    }
    if is_folder {
        download_folder(server, from, &target).await
    } else {
        // If there is nothing at this path, the refusal of the server says so.
        download_file(server, from, &target).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_named_as_cp_names_it() {
        for (path, name) in [
            ("/a/b", Some("b")),
            ("/a/b/", Some("b")),
            ("b", Some("b")),
            ("/a/...", Some("...")),
            ("/a/..", None),
            ("/a/../", None),
            ("..", None),
            ("/a/.", None),
            (".", None),
            ("/", None),
        ] {
            assert_eq!(name_of(path), name, "{path}");
        }
    }

    #[test]
    fn the_folder_that_holds_a_path_is_known() {
        for (path, expected) in [("/a/b", "/a"), ("/a/b/", "/a"), ("/a", "/"), ("/", "/")] {
            assert_eq!(parent(path), expected, "{path}");
        }
    }
}

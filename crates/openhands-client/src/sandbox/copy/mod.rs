//! Copies files and folders into a sandbox and out of it: streamed, of any size, with a check of their sizes.
//!
//! A folder is sent as a tar archive, which the sandbox's `tar` packs or unpacks, with permissions and symbolic links.

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
    /// An operation on this machine failed.
    #[error("{path}")]
    Here {
        /// The file or folder.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The transfer failed.
    #[error("{doing} {path} failed")]
    Transfer {
        /// What failed: "uploading", "downloading".
        doing: &'static str,
        /// The path in the sandbox.
        path: String,
        /// The error of the request.
        source: Box<HttpError>,
    },
    /// A command in the sandbox that the copy needs failed.
    #[error(transparent)]
    Sandbox(#[from] ExecError),
    /// The path in the sandbox does not begin with `/`.
    #[error("`{0}` is not an absolute path; paths in a sandbox begin with `/`")]
    NotAbsolute(String),
    /// The folder that should contain the copy does not exist. Like `cp -r`, a copy creates no parent folders.
    #[error("{where_}: there is no folder `{path}` to copy into; create it first", where_ = if *in_sandbox { "in the sandbox" } else { "on this machine" })]
    NoFolder {
        /// The missing folder.
        path: String,
        /// Whether it is missing in the sandbox, or on this machine.
        in_sandbox: bool,
    },
    /// The path is a FIFO, a socket or a device, which has no content to copy.
    #[error("`{0}` is neither a file nor a folder, and is not copied")]
    NotAFile(String),
    /// The copy has a different size than the original.
    #[error("{path} has {found} bytes after the copy instead of {expected}")]
    Size {
        /// The path of the copy.
        path: String,
        /// The size of the copy.
        found: u64,
        /// The size of the original.
        expected: u64,
    },
}

impl fmt::Debug for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

/// What a copy has transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Copied {
    /// The number of files.
    pub files: u64,
    /// The number of bytes in them.
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

/// The kind of a path in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// A FIFO, a socket or a device.
    Special,
    /// Nothing exists at the path, but its parent folder exists.
    Nothing,
    /// Neither the path nor its parent folder exists.
    NoFolder,
}

fn absolute(path: &str) -> Result<(), CopyError> {
    if path.starts_with('/') { Ok(()) } else { Err(CopyError::NotAbsolute(path.to_owned())) }
}

/// The script that prints the kind of the path `$1`.
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

/// Returns the name of a copy inside an existing folder: the last part of the path as it was written. `None` if `cp -r` copies
/// the content into the folder itself: `/`, `a/.` and `a/..`, whose names would lead out of the folder.
fn name_of(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    (!["", ".", ".."].contains(&name)).then_some(name)
}

/// Returns the parent folder of this path.
fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => parent,
        _ => "/",
    }
}

/// Copies a file or a folder into the sandbox. As with `cp -r`, a copy to an existing folder is placed in it under the original
/// name, and the parent folder of the copy must exist. FIFOs, sockets and devices in a folder are skipped with a warning.
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

/// Copies a file or a folder out of the sandbox. As with `cp -r`, a copy to an existing folder is placed in it under the original
/// name, and the parent folder of the copy must exist. FIFOs, sockets and devices in a folder are skipped with a warning.
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
        // If nothing exists at this path, the server's error response says so.
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

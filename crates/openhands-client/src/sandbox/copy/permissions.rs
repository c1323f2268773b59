//! Unix permissions of local files. On systems without them, both directions use the defaults.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use tokio::fs::OpenOptions;

/// Returns the beginning of a shell command that gives the copy at `path`, which is already quoted, the permissions of the file
/// with this metadata, without the special bits. Empty on a system without such permissions.
#[cfg(unix)]
pub(super) fn chmod_like(metadata: &Metadata, path: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;

    format!("chmod {:o} {path} && ", metadata.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
pub(super) fn chmod_like(_: &Metadata, _: &str) -> String {
    String::new()
}

/// Gives a file these permissions, without the special bits. Does nothing on a system without such permissions.
#[cfg(unix)]
pub(super) async fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    tokio::fs::set_permissions(path, Permissions::from_mode(mode & 0o777)).await
}

#[cfg(not(unix))]
pub(super) async fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Returns the options that create a new file which only its owner can read.
pub(super) fn new_private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    options
}

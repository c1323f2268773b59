//! Where the repository is, from each package that uses these files.

use std::path::{Path, PathBuf};

/// A file of the repository.
#[allow(unreachable_pub, reason = "some packages use these files in a private module")]
pub fn file(path: impl AsRef<Path>) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("scripts/agent-server").exists());
    root.expect("the package is in the repository").join(path)
}

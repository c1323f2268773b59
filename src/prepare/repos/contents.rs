//! What a plain clone leaves out: submodules and the files of Git LFS.

use std::path::Path;
use std::time::Duration;

use super::git::{GitError, git, git_output};
use crate::plan::access::Credentials;
use crate::plan::repos::RepoPlan;

/// Names that a warning shows.
const SHOWN: usize = 5;

/// Gets what the plan asks for, and warns of what is left out.
///
/// # Errors
/// [`GitError`].
pub(super) async fn complete(
    plan: &RepoPlan,
    clone: &Path,
    credentials: Option<&Credentials>,
    left: impl Fn() -> Duration,
) -> Result<(), GitError> {
    if plan.submodules {
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        git(update, clone, credentials, left()).await?;
    } else {
        let missing = submodules(clone, left()).await;
        if !missing.is_empty() {
            let (count, paths) = (missing.len(), shown(&missing));
            tracing::warn!(
                repository = plan.shown,
                count,
                paths,
                "submodules are not cloned and their folders are empty: set `submodules: true` for the repository"
            );
        }
    }
    if plan.lfs {
        // Without it, git does not know how to check the files out.
        git(["lfs", "install", "--local", "--skip-repo"], clone, None, left()).await?;
        git(["lfs", "fetch"], clone, credentials, left()).await?;
        git(["lfs", "checkout"], clone, None, left()).await?;
    } else {
        let missing = large_files(clone, left()).await;
        if !missing.is_empty() {
            let (count, paths) = (missing.len(), shown(&missing));
            tracing::warn!(
                repository = plan.shown,
                count,
                paths,
                "files of Git LFS are pointers, without their content: set `lfs: true` for the repository"
            );
        }
    }
    Ok(())
}

fn shown(paths: &[String]) -> String {
    let more = if paths.len() > SHOWN { " …" } else { "" };
    paths.iter().take(SHOWN).map(|path| path.escape_debug().to_string()).collect::<Vec<_>>().join(", ") + more
}

/// The folders of the submodules.
async fn submodules(clone: &Path, limit: Duration) -> Vec<String> {
    // An entry of mode 160000 is a submodule. A failure costs a warning, and no clone.
    let listed = git_output(["ls-files", "--stage", "-z"], clone, limit).await.unwrap_or_default();
    listed.split('\0').filter_map(|entry| entry.strip_prefix("160000 ")?.split_once('\t')).map(path).collect()
}

fn path((_, path): (&str, &str)) -> String {
    path.to_owned()
}

/// The files that Git LFS keeps elsewhere.
async fn large_files(clone: &Path, limit: Duration) -> Vec<String> {
    let listed = git_output(["ls-files", "-z", "--", ":(attr:filter=lfs)"], clone, limit).await.unwrap_or_default();
    listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

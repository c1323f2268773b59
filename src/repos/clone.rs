//! Clones the planned repositories, several at a time, and leaves nothing half-done behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::access::Access;
use super::git::{GitError, git};
use super::plan::RepoPlan;
use crate::display;
use crate::retry::{Policy, retry};
use crate::secret::Secret;
use crate::task::repos::Provider;

/// How many are cloned at the same time.
const AT_ONCE: usize = 4;
/// Keeps what a directory was cloned from, in its `.git`: a run that starts again goes on with it.
const MARK: &str = "openhands-runner";

/// A repository that is in the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloned {
    /// Its address as it may be shown.
    pub shown: String,
    /// What was asked for of it.
    pub git_ref: Option<String>,
    /// Where it is.
    pub path: PathBuf,
}

/// A repository that is needed and cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to clone {shown}{}{}", of_ref(git_ref.as_deref()), hint.as_deref().unwrap_or_default())]
pub struct CloneError {
    /// Its address as it may be shown.
    pub shown: String,
    /// What was asked for of it.
    pub git_ref: Option<String>,
    /// What may help.
    pub hint: Option<String>,
    /// Why.
    pub source: Refusal,
}

/// Why a repository cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Git says so.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Something else has its place.
    #[error("{0} is there already, and is no clone of it; take it away or use another working directory")]
    Occupied(PathBuf),
    /// The file system says so.
    #[error("{0} cannot be written")]
    Io(PathBuf, #[source] std::io::Error),
}

fn of_ref(git_ref: Option<&str>) -> String {
    git_ref.map(|name| format!(" (ref: {name})")).unwrap_or_default()
}

/// Clones all into the working directory, in their order. `token` gives an account's token, if there is one.
///
/// One that is optional is left out with a warning when it cannot be had. Dropping the future ends what is under way and
/// removes it.
///
/// # Errors
/// [`CloneError`] of the first that is needed and cannot be had; the others are given up.
pub async fn clone_all(
    plans: &[RepoPlan],
    working_dir: &Path,
    token: impl Fn(Provider) -> Option<Secret>,
) -> Result<Vec<Cloned>, CloneError> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    // The agent is told of them by their whole paths.
    let working_dir = &std::path::absolute(working_dir).unwrap_or_else(|_| working_dir.to_owned());
    let mut under_way = futures_util::stream::iter(plans.iter().enumerate())
        .map(|(place, plan)| {
            let token = plan.access.as_ref().and_then(|access| token(access.wants_token_of()?));
            async move { (place, clone(plan, working_dir, token.as_ref()).await, token.is_some()) }
        })
        .buffer_unordered(AT_ONCE);
    let mut cloned = BTreeMap::new();
    while let Some((place, result, had_token)) = under_way.next().await {
        let plan = &plans[place];
        let source = match result {
            Ok(path) => {
                cloned.insert(place, Cloned { shown: plan.shown.clone(), git_ref: plan.git_ref.clone(), path });
                continue;
            }
            Err(refusal) => refusal,
        };
        let error = CloneError {
            shown: plan.shown.clone(),
            git_ref: plan.git_ref.clone(),
            hint: hint(plan, had_token, &source),
            source,
        };
        if !plan.optional {
            return Err(error);
        }
        tracing::warn!(error = %display::chain(&error), "going on without an optional repository");
    }
    Ok(cloned.into_values().collect())
}

async fn clone(plan: &RepoPlan, working_dir: &Path, token: Option<&Secret>) -> Result<PathBuf, Refusal> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| Refusal::Io(path, error)
    };
    let path = working_dir.join(&plan.directory);
    let mark = mark_of(plan);
    if path.exists() {
        if std::fs::read_to_string(path.join(".git").join(MARK)).is_ok_and(|there| there == mark) {
            tracing::info!(repository = plan.shown, "is there already; going on with it as it is");
            return Ok(path);
        }
        return Err(Refusal::Occupied(path));
    }
    std::fs::create_dir_all(working_dir).map_err(io(working_dir))?;
    let started = Instant::now();
    let credentials = plan.access.as_ref().and_then(|access| access.credentials(token));
    tracing::info!(repository = plan.shown, git_ref = plan.git_ref, directory = plan.directory, "cloning");

    let partial = Partial::new(working_dir, &plan.directory);
    let left = || plan.timeout.saturating_sub(started.elapsed());
    let mut arguments = vec!["clone", "--quiet"];
    if !plan.may_be_commit() {
        arguments.extend(["--depth", "1"]);
    }
    let branch = plan.git_ref.as_ref().filter(|_| !plan.may_be_commit()).map(|name| format!("--branch={name}"));
    arguments.extend(branch.as_deref());
    let target = partial.0.display().to_string();
    arguments.extend(["--", &plan.clone_url, &target]);
    // Git removes what it has made when it fails, so that each attempt begins anew.
    let attempt = || git(&arguments, working_dir, credentials.as_ref(), left());
    retry(&format!("cloning {}", plan.shown), Policy::git_server(), attempt).await?;
    if let Some(commit) = plan.git_ref.as_deref().filter(|_| plan.may_be_commit()) {
        git(["checkout", "--quiet", commit, "--"], &partial.0, credentials.as_ref(), left()).await?;
    }
    let mark_path = partial.0.join(".git").join(MARK);
    std::fs::write(&mark_path, mark).map_err(io(&mark_path))?;
    std::fs::rename(&partial.0, &path).map_err(io(&path))?;
    tracing::info!(repository = plan.shown, "cloned in {:.1?}", started.elapsed());
    Ok(path)
}

fn mark_of(plan: &RepoPlan) -> String {
    format!("{}\n{}\n", plan.clone_url, plan.git_ref.as_deref().unwrap_or_default())
}

/// A directory that is removed unless it was renamed.
struct Partial(PathBuf);

impl Partial {
    /// Beside the place where it will be, and without what an earlier runner has left of it.
    fn new(working_dir: &Path, directory: &str) -> Self {
        let prefix = format!(".{directory}.cloning-");
        let left = std::fs::read_dir(working_dir).into_iter().flatten().flatten();
        for entry in left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
        Self(working_dir.join(format!("{prefix}{}", std::process::id())))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A killed git may have children that write for a moment longer.
        for _ in 0..3 {
            match std::fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {}
                _ => return,
            }
        }
    }
}

/// Git's own words for a missing key are about terminals.
fn hint(plan: &RepoPlan, had_token: bool, refusal: &Refusal) -> Option<String> {
    let Refusal::Git(GitError::Refused(words)) = refusal else { return None };
    // A provider says of a repository that one may not see that it is not found; a branch can be missing for everybody.
    let about_keys =
        ["could not read Username", "could not read Password", "Authentication failed", "epository not found"];
    let unseen = words.contains("fatal: repository ") && words.contains(" not found");
    if !unseen && !about_keys.iter().any(|part| words.contains(part)) {
        return None;
    }
    let provider = plan.access.as_ref().and_then(Access::wants_token_of);
    Some(match (provider, had_token) {
        (Some(provider), false) => {
            format!(", without a token: the account has no secret {}", provider.token_names()[0])
        }
        (Some(provider), true) => format!(", with the account's secret {}", provider.token_names()[0]),
        (None, _) => return None,
    })
}

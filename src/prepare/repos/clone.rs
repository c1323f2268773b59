//! Clones the planned repositories, several at a time, and leaves nothing half-done behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use openhands_client::ids::RunId;
use openhands_client::retry::{Policy, retry};
use openhands_client::text;
use tokio::time::Instant;

use super::git::{GitError, git};
use crate::input::task::repos::GitProvider;
use crate::plan::access::{Access, Token};
use crate::plan::repos::{ClonedRepo, RepoPlan};

/// How many are cloned at the same time.
const AT_ONCE: usize = 4;
/// Keeps which run has cloned a directory from where, in its `.git`: the run goes on with it when it starts again.
const MARK: &str = "openhands-runner";

/// A repository that is needed and cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to clone {shown}{}{}", of_ref(git_ref.as_deref()), hint.as_deref().unwrap_or_default())]
pub(crate) struct CloneError {
    /// Its address as it may be shown.
    pub(crate) shown: String,
    /// What was asked for of it.
    pub(crate) git_ref: Option<String>,
    /// What may help.
    pub(crate) hint: Option<String>,
    /// Why.
    pub(crate) source: Refusal,
}

/// Why a repository cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Git says so.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The file system says so.
    #[error("{0} cannot be written")]
    Io(PathBuf, #[source] std::io::Error),
}

fn of_ref(git_ref: Option<&str>) -> String {
    git_ref.map(|name| format!(" (ref: {name})")).unwrap_or_default()
}

/// Clones all into the working directory, in their order. `token` gives an account's token. A name that something else has
/// taken in the working directory gets `_1`, `_2` … behind it; what this very run has cloned before is taken as it is.
///
/// One that is optional is left out with a warning when it cannot be had. Dropping the future ends what is under way and
/// removes it.
///
/// # Errors
/// [`CloneError`] of the first that is needed and cannot be had; the others are given up.
pub(crate) async fn clone_all(
    plans: &[RepoPlan],
    working_dir: &Path,
    run: Option<&RunId>,
    policy: Policy,
    token: impl Fn(GitProvider) -> Token,
) -> Result<Vec<ClonedRepo>, CloneError> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    // The agent is told of them by their whole paths.
    let working_dir = &std::path::absolute(working_dir).unwrap_or_else(|_| working_dir.to_owned());
    let mut under_way = futures_util::stream::iter(plans.iter().zip(targets(plans, working_dir, run)).enumerate())
        .map(|(place, (plan, target))| {
            let token = plan.access.as_ref().and_then(Access::wants_token_of).map(&token);
            async move {
                let path = working_dir.join(target.name);
                if target.is_cloned {
                    tracing::info!(repository = plan.shown, "is there already; going on with it as it is");
                    return (place, Ok(path), token);
                }
                (place, clone(plan, working_dir, run, policy, &path, token.as_ref()).await.map(|()| path), token)
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut cloned = BTreeMap::new();
    while let Some((place, result, token)) = under_way.next().await {
        let plan = &plans[place];
        let source = match result {
            Ok(path) => {
                cloned.insert(place, ClonedRepo { shown: plan.shown.clone(), git_ref: plan.git_ref.clone(), path });
                continue;
            }
            Err(refusal) => refusal,
        };
        let error = CloneError {
            shown: plan.shown.clone(),
            git_ref: plan.git_ref.clone(),
            hint: hint(token.as_ref(), &source),
            source,
        };
        if !plan.optional {
            return Err(error);
        }
        tracing::warn!(error = %text::chain(&error), "going on without an optional repository");
    }
    Ok(cloned.into_values().collect())
}

/// Where a repository goes.
#[derive(Debug, PartialEq)]
struct Target {
    name: String,
    /// Whether an earlier start of the run has cloned it.
    is_cloned: bool,
}

/// The directories of all, in the plans' order. What is there already has its name, unless it is this very clone.
fn targets(plans: &[RepoPlan], working_dir: &Path, run: Option<&RunId>) -> Vec<Target> {
    let entries = std::fs::read_dir(working_dir).into_iter().flatten().flatten();
    let mut taken: BTreeSet<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let mut used = BTreeSet::new();
    let mut targets = Vec::new();
    for plan in plans {
        let of_others = |name: &str| plans.iter().any(|other| other.directory == name && other != plan);
        let numbered = (1..).map(|number| format!("{}_{number}", plan.directory)).filter(|name| !of_others(name));
        // As many as may be taken, and one more.
        let names: Vec<String> =
            std::iter::once(plan.directory.clone()).chain(numbered).take(taken.len() + 1).collect();
        let mark_at = |name: &String| std::fs::read_to_string(working_dir.join(name).join(".git").join(MARK));
        // Runs without an id cannot be told from one another.
        let is_ours = |name: &&String| {
            run.is_some() && !used.contains(*name) && mark_at(name).is_ok_and(|mark| mark == mark_of(plan, run))
        };
        let ours = names.iter().filter(|name| taken.contains(*name)).find(is_ours);
        let name = ours.or_else(|| names.iter().find(|name| !taken.contains(*name))).unwrap_or(&plan.directory);
        targets.push(Target { name: name.clone(), is_cloned: ours.is_some() });
        taken.insert(name.clone());
        used.insert(name.clone());
    }
    targets
}

async fn clone(
    plan: &RepoPlan,
    working_dir: &Path,
    run: Option<&RunId>,
    policy: Policy,
    path: &Path,
    token: Option<&Token>,
) -> Result<(), Refusal> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| Refusal::Io(path, error)
    };
    std::fs::create_dir_all(working_dir).map_err(io(working_dir))?;
    let started = Instant::now();
    let token = token.and_then(|token| if let Token::RunState(_, value) = token { Some(value) } else { None });
    let credentials = plan.access.as_ref().and_then(|access| access.credentials(token));
    tracing::info!(repository = plan.shown, git_ref = plan.git_ref, directory = %path.display(), "cloning");

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
    let whole_limit = |error| match error {
        GitError::Timeout(_) => GitError::Timeout(plan.timeout),
        other => other,
    };
    let attempt = || {
        // Git keeps a clone whose files it could not check out.
        partial.remove();
        git(&arguments, working_dir, credentials.as_ref(), left())
    };
    retry(&format!("cloning {}", plan.shown), policy, attempt).await.map_err(whole_limit)?;
    if let Some(commit) = plan.git_ref.as_deref().filter(|_| plan.may_be_commit()) {
        let checkout = git(["checkout", "--quiet", commit, "--"], &partial.0, credentials.as_ref(), left());
        checkout.await.map_err(whole_limit)?;
    }
    let mark_path = partial.0.join(".git").join(MARK);
    std::fs::write(&mark_path, mark_of(plan, run)).map_err(io(&mark_path))?;
    std::fs::rename(&partial.0, path).map_err(io(path))?;
    tracing::info!(repository = plan.shown, "cloned in {:.1?}", started.elapsed());
    Ok(())
}

fn mark_of(plan: &RepoPlan, run: Option<&RunId>) -> String {
    let run = run.map(RunId::as_str).unwrap_or_default();
    format!("{}\n{}\n{run}\n", plan.clone_url, plan.git_ref.as_deref().unwrap_or_default())
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

    fn remove(&self) {
        // A killed git may have children that write for a moment longer.
        for _ in 0..3 {
            match std::fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {}
                _ => return,
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Git's own words for a missing key are about terminals.
fn hint(token: Option<&Token>, refusal: &Refusal) -> Option<String> {
    let Refusal::Git(GitError::Refused(words)) = refusal else { return None };
    // A provider says of a repository that one may not see that it is not found; a branch can be missing for everybody.
    let about_keys =
        ["could not read Username", "could not read Password", "Authentication failed", "epository not found"];
    let unseen = words.contains("fatal: repository ") && words.contains(" not found");
    if !unseen && !about_keys.iter().any(|part| words.contains(part)) {
        return None;
    }
    Some(match token? {
        Token::NoAccount => ", without a token: there is no account to take one from".to_owned(),
        Token::Missing(name) => format!(", without a token: the account has no secret {name}"),
        Token::Unusable(name) => format!(", without a token: the account's secret {name} cannot be used"),
        Token::RunState(name, _) => format!(", with the account's secret {name}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_foreign_entry_takes_its_name_and_a_clone_of_ours_is_found_under_any() {
        let folder = tempfile::tempdir().unwrap();
        let plans = RepoPlan::of(
            serde_json::from_value(json!(["file:///a/demo", "file:///b/demo"])).unwrap(),
            std::time::Duration::MAX,
        );
        let (this, other) = (RunId::new("this"), RunId::new("other"));
        let found = |run| -> Vec<(String, bool)> {
            targets(&plans, folder.path(), run).into_iter().map(|target| (target.name, target.is_cloned)).collect()
        };
        let expected = |first: (&str, bool), second: (&str, bool)| {
            [first, second].map(|(name, is_cloned)| (name.to_owned(), is_cloned)).to_vec()
        };
        assert_eq!(found(Some(&this)), expected(("demo", false), ("demo_1", false)));
        std::os::unix::fs::symlink("nowhere", folder.path().join("demo")).unwrap();
        std::fs::create_dir_all(folder.path().join("demo_2/.git")).unwrap();
        assert_eq!(found(Some(&this)), expected(("demo_3", false), ("demo_1", false)));
        let mark = |run| std::fs::write(folder.path().join("demo_2/.git").join(MARK), mark_of(&plans[0], run)).unwrap();
        for (owner, run) in [(Some(&other), Some(&this)), (None, Some(&this)), (None, None), (Some(&other), None)] {
            mark(owner);
            assert_eq!(found(run), expected(("demo_3", false), ("demo_1", false)));
        }
        mark(Some(&this));
        assert_eq!(found(Some(&this)), expected(("demo_2", true), ("demo_1", false)));
        std::fs::remove_file(folder.path().join("demo")).unwrap();
        assert_eq!(found(Some(&this)), expected(("demo_2", true), ("demo_1", false)));
        // Two addresses of one repository are two clones.
        let plans = [plans[0].clone(), RepoPlan { directory: "demo_1".to_owned(), ..plans[0].clone() }];
        let names: Vec<_> = targets(&plans, folder.path(), Some(&this)).into_iter().map(|target| target.name).collect();
        assert_eq!(names, ["demo_2", "demo_1"]);
    }
}

//! Clones the planned repositories, up to four at a time, and leaves nothing half-done behind.

use openhands_client::collections::inserted;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use openhands_client::ids::RunId;
use openhands_client::retry::{Policy, retry};
use openhands_client::text;
use tokio::time::Instant;

use super::contents;
use super::git::{GitError, git};
use super::partial::{Partial, names};
use crate::input::task::repos::GitProvider;
use crate::plan::access::Token;
use crate::plan::repos::{ClonedRepo, RepoPlan};

/// How many are cloned at the same time.
const AT_ONCE: usize = 4;
/// Names that are tried for a clone, if other runs take them in the same moment.
const NAMES: usize = 1000;
/// The file in `.git` that says which run has cloned the directory from where: the run reuses it when it is restarted.
const MARK: &str = "openhands-runner";

/// A repository that is needed and cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot clone {shown}{}{}", of_ref(git_ref.as_deref()), hint.as_deref().unwrap_or_default())]
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
/// An optional one that cannot be cloned is skipped with a warning. Dropping the future ends what is under way and removes it.
/// Other runs may clone into the same working directory at the same time: each gets names of its own.
///
/// # Errors
/// [`CloneError`] of the first that is needed and cannot be cloned; the others are given up.
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
    // The agent gets their whole paths.
    let working_dir = &std::path::absolute(working_dir).unwrap_or_else(|_| working_dir.to_owned());
    let targets = targets(plans, working_dir, run);
    let used: BTreeSet<String> = inserted(targets.iter().map(|target| target.name.clone()));
    let reserved = |target: &Target| -> BTreeSet<String> {
        let own = |name: &str| name == target.name;
        let others = plans.iter().map(|plan| &plan.directory).chain(&used).filter(|name| !own(name));
        inserted(others.cloned())
    };
    let mut under_way = futures_util::stream::iter(plans.iter().zip(&targets).enumerate())
        .map(|(place, (plan, target))| {
            let token = plan.wants_token_of().map(&token);
            // The planned name first. Another run may take it meanwhile.
            let reserved = reserved(target);
            let names = std::iter::once(target.name.clone()).chain(names(&plan.directory, &reserved));
            let names: Vec<String> = names.take(NAMES).collect();
            async move {
                if target.is_cloned {
                    tracing::info!(repository = plan.shown, "reusing existing clone");
                    return (place, Ok(working_dir.join(&target.name)), token);
                }
                (place, clone(plan, working_dir, run, policy, names.into_iter(), token.as_ref()).await, token)
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
            hint: hint(plan, token.as_ref(), &source),
            source,
        };
        if !plan.optional {
            return Err(error);
        }
        tracing::warn!(error = %text::chain(&error), "continuing without an optional repository");
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
    let mut taken: BTreeSet<String> = inserted(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut used = BTreeSet::new();
    let mut targets = Vec::new();
    for plan in plans {
        let of_others = |name: &str| plans.iter().any(|other| other.directory == name && other != plan);
        let numbered = (1..).map(|number| format!("{}_{number}", plan.directory)).filter(|name| !of_others(name));
        // As many as may be taken, and one more.
        let names: Vec<String> =
            std::iter::once(plan.directory.clone()).chain(numbered).take(taken.len() + 1).collect();
        let mark_at = |name: &String| std::fs::read_to_string(working_dir.join(name).join(".git").join(MARK));
        // Runs without an id cannot be distinguished.
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
    names: impl Iterator<Item = String>,
    token: Option<&Token>,
) -> Result<PathBuf, Refusal> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| Refusal::Io(path, error)
    };
    std::fs::create_dir_all(working_dir).map_err(io(working_dir))?;
    let started = Instant::now();
    let token = token.and_then(|token| if let Token::RunState(_, value) = token { Some(value) } else { None });
    let origin = plan.origin(token.is_some());
    let credentials = origin.access.and_then(|access| access.credentials(token));
    tracing::info!(repository = plan.shown, git_ref = plan.git_ref, "cloning");

    let partial = Partial::new(working_dir, &plan.directory).map_err(io(working_dir))?;
    let left = || plan.timeout.saturating_sub(started.elapsed());
    // Credentials are for what talks to the server. A checkout may run programs, and gets none.
    let mut fetch = vec!["clone", "--quiet", "--no-checkout", "--template="];
    if !plan.may_be_commit() {
        fetch.extend(["--depth", "1"]);
    }
    let branch = plan.git_ref.as_ref().filter(|_| !plan.may_be_commit()).map(|name| format!("--branch={name}"));
    fetch.extend(branch.as_deref());
    let target = partial.path().display().to_string();
    fetch.extend(["--", origin.url, &target]);
    let commit = plan.git_ref.as_deref().filter(|_| plan.may_be_commit());
    let attempt = async || {
        partial.clear();
        git(&fetch, working_dir, credentials.as_ref(), left()).await?;
        match commit {
            Some(commit) => git(["checkout", "--quiet", "--force", commit, "--"], partial.path(), None, left()).await?,
            None => git(["reset", "--quiet", "--hard"], partial.path(), None, left()).await?,
        }
        contents::complete(plan, partial.path(), credentials.as_ref(), left).await
    };
    let whole_limit = |error| match error {
        GitError::Timeout(_) => GitError::Timeout(plan.timeout),
        other => other,
    };
    retry(&format!("cloning {}", plan.shown), policy, attempt).await.map_err(whole_limit)?;
    let mark_path = partial.path().join(".git").join(MARK);
    std::fs::write(&mark_path, mark_of(plan, run)).map_err(io(&mark_path))?;
    let path = partial.take_name(names.map(|name| working_dir.join(name))).map_err(io(working_dir))?;
    tracing::info!(repository = plan.shown, directory = %path.display(), "cloned in {:.1?}", started.elapsed());
    Ok(path)
}

fn mark_of(plan: &RepoPlan, run: Option<&RunId>) -> String {
    let run = run.map(RunId::as_str).unwrap_or_default();
    format!("{}\n{}\n{run}\n", plan.clone_url, plan.git_ref.as_deref().unwrap_or_default())
}

/// What may help. The messages of git and ssh about a missing key name terminals and key files.
fn hint(plan: &RepoPlan, token: Option<&Token>, refusal: &Refusal) -> Option<String> {
    let Refusal::Git(GitError::Refused(words)) = refusal else { return None };
    if words.contains("is not a git command") && words.contains("lfs") {
        return Some(": `lfs: true` needs git-lfs in the image: install it, or remove `lfs`".to_owned());
    }
    if ["Permission denied (", "Host key verification failed"].iter().any(|part| words.contains(part)) {
        let https = match (&plan.over_https, token) {
            (Some(_), Some(Token::Missing(name))) => {
                format!("add the secret {name} to the account, which opens it over https")
            }
            _ => "write its https:// address, with a token".to_owned(),
        };
        return Some(format!(" over SSH, whose keys here do not open it: {https}, or put an SSH key into the sandbox"));
    }
    // A provider says of a repository that one may not see that it is not found. A branch can be missing for everyone.
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

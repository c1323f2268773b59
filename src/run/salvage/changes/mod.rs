//! What the agent changed in the repositories of its workspace, as git sees it.
//!
//! The agent-server runs git, not this process: a repository of the agent may name programs that git starts, and those must not get
//! the runner's rights. It also works the same from outside of the sandbox.

use openhands_client::collections::inserted;
use std::collections::BTreeMap;
use std::time::Duration;

use openhands_client::agent_server::AgentServer;
use openhands_client::sandbox::exec::{self, Command, Exit, Output};
use openhands_client::text;

use crate::outcome::{ChangedFile, RepositoryChanges};

/// Prints the commit and the path of each repository; `-` where there is no commit.
const COMMITS: &str = include_str!("commits.sh");
/// Prints a patch to standard output, and its files to standard error. Gets the working directory, then commits and paths in turn.
const CHANGES: &str = include_str!("changes.sh");

/// A longer patch is left out, in bytes; so is one with a longer list of files.
const LONGEST_PATCH: usize = 32 * 1024 * 1024;
/// More files of a repository are counted and not named.
const MOST_FILES: usize = 1000;

/// What the agent changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// For `git apply` in the working directory.
    pub(super) patch: Vec<u8>,
    pub(super) repositories: Vec<RepositoryChanges>,
    /// Whether there are repositories at all.
    pub(super) has_repositories: bool,
    /// Repositories in which git could not read everything.
    pub(super) incomplete: Vec<String>,
}

/// The commit of each repository in the working directory, by its path. Empty for one without a commit.
pub(super) async fn commits(
    server: &AgentServer,
    working_dir: &str,
    limit: Duration,
) -> Result<BTreeMap<String, String>, String> {
    let line = script(COMMITS, [working_dir]);
    let done = server.client.execute(&line, limit).await.map_err(|error| text::chain(&error))?;
    if !done.is_success() {
        return Err(text::one_line(done.stderr(), 200));
    }
    let commit = |line: &str| {
        let (commit, path) = line.split_once(' ')?;
        Some((path.to_owned(), commit.trim_matches('-').to_owned()))
    };
    Ok(inserted(done.stdout().lines().filter_map(commit)))
}

/// What has changed since these commits. A repository that has come since counts from its own beginning here.
pub(super) async fn changes(
    server: &AgentServer,
    working_dir: &str,
    commits: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<Changes, String> {
    let known = commits.iter().flat_map(|(path, commit)| [if commit.is_empty() { "-" } else { commit }, path]);
    let line = script(CHANGES, std::iter::once(working_dir).chain(known));
    let mut running =
        exec::start(server, &Command::shell(line).limit(limit)).await.map_err(|error| text::chain(&error))?;
    let (mut patch, mut files, mut is_long) = (Vec::new(), Vec::new(), false);
    let exit = running
        .follow(async |output| match output {
            Output::Stdout(bytes) if patch.len() + bytes.len() > LONGEST_PATCH => is_long = true,
            Output::Stdout(bytes) if !is_long => patch.extend_from_slice(&bytes),
            Output::Stderr(bytes) if files.len() + bytes.len() > LONGEST_PATCH => is_long = true,
            Output::Stdout(_) => {}
            Output::Stderr(bytes) => files.extend_from_slice(&bytes),
        })
        .await
        .map_err(|error| text::chain(&error))?;
    match exit {
        Exit::Code(0) if is_long => Err(format!("the patch is longer than {} MiB", LONGEST_PATCH >> 20)),
        Exit::Code(0) => {
            let files = String::from_utf8_lossy(&files);
            let mut repositories = repositories(&files);
            let has_repositories = !repositories.is_empty();
            repositories.retain(|of| of.count() > 0);
            Ok(Changes { patch, repositories, has_repositories, incomplete: incomplete(&files) })
        }
        Exit::Code(code) => {
            Err(format!("git failed with {code}: {}", text::one_line(&String::from_utf8_lossy(&files), 200)))
        }
        Exit::TimedOut => Err(format!("git took longer than {} s", limit.as_secs_f64())),
    }
}

fn script<'a>(script: &'a str, arguments: impl IntoIterator<Item = &'a str>) -> String {
    shell_words::join(["sh", "-c", script, "changes"].into_iter().chain(arguments))
}

/// Reads lines `! PATH`.
fn incomplete(files: &str) -> Vec<String> {
    files.lines().filter_map(|line| line.strip_prefix("! ")).map(str::to_owned).collect()
}

/// Reads lines `= PATH` and, for each file below, the status and the paths of `git diff --name-status`, and the lines of `git diff
/// --numstat`.
fn repositories(files: &str) -> Vec<RepositoryChanges> {
    let mut all: Vec<RepositoryChanges> = Vec::new();
    for line in files.lines() {
        if let Some(path) = line.strip_prefix("= ") {
            all.push(RepositoryChanges { repository: path.to_owned(), ..RepositoryChanges::default() });
            continue;
        }
        let Some(of) = all.last_mut() else { continue };
        let mut fields = line.split('\t');
        let (Some(status), Some(path)) = (fields.next(), fields.next_back()) else { continue };
        // Both numbers of a binary file are `-`.
        if let (Ok(insertions), Some(Ok(deletions))) = (status.parse(), fields.next().map(str::parse)) {
            let (insertions, deletions): (u64, u64) = (insertions, deletions);
            (of.insertions, of.deletions) =
                (of.insertions.saturating_add(insertions), of.deletions.saturating_add(deletions));
            continue;
        }
        let (count, status) = match status.chars().next() {
            Some('A') => (&mut of.added, "ADDED"),
            Some('D') => (&mut of.deleted, "DELETED"),
            Some('R') => (&mut of.moved, "MOVED"),
            Some('M' | 'T') => (&mut of.updated, "UPDATED"),
            _ => continue,
        };
        *count += 1;
        if of.files.len() < MOST_FILES {
            of.files.push(ChangedFile { status: status.to_owned(), path: path.to_owned() });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    fn shell(directory: &Path, line: &str) -> Output {
        let done = Command::new("sh")
            .args(["-c", line])
            .current_dir(directory)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "a")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "a@b")))
            .output()
            .unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        done
    }

    #[test]
    fn the_patch_brings_every_repository_to_where_the_agent_left_it() {
        let home = tempfile::tempdir().unwrap();
        let work = home.path().join("work dir");
        let begin = "mkdir -p 'work dir/a' && cd 'work dir' && cd a && git init -q . && printf 'one\\ntwo\\nthree\\nfour\\n' >kept \
            && cp kept gone && echo x >moves && git add . && git commit -qm 1 && cd .. && cp -r a b && git init -q empty";
        shell(home.path(), begin);
        shell(home.path(), "cp -r 'work dir' before");
        let name = work.to_str().unwrap();
        let listed = String::from_utf8(shell(&work, &script(COMMITS, [name])).stdout).unwrap();
        let head = String::from_utf8(shell(&work, "git -C a rev-parse HEAD").stdout).unwrap();
        let expected = format!("{} {name}/a\n{} {name}/b\n- {name}/empty\n", head.trim(), head.trim());
        assert_eq!(listed, expected);

        let act = "cd a && echo more >>kept && git rm -q gone && mkdir s && printf 'a\\000b' >s/new && git add kept && git commit -qm 2 \
            && cd ../b && git mv moves moved && echo staged >staged && git add staged && echo ignored >.gitignore && touch ignored \
            && cd ../empty && echo first >first && cd .. && git init -q own && cd own && echo mine >mine && git add . && git commit -qm 3";
        shell(&work, act);
        let index = shell(&work, "git -C b status --porcelain").stdout;
        let known: Vec<&str> =
            listed.lines().flat_map(|line| line.split_once(' ').map(|(a, b)| [a, b]).unwrap()).collect();
        let done = shell(&work, &script(CHANGES, std::iter::once(name).chain(known)));
        // The agent's own index is not touched.
        assert_eq!(shell(&work, "git -C b status --porcelain").stdout, index);
        let found = repositories(&String::from_utf8(done.stderr).unwrap());
        let counts: Vec<_> = found
            .iter()
            .map(|of| (of.repository.strip_prefix(name).unwrap(), of.added, of.updated, of.deleted, of.moved))
            .collect();
        assert_eq!(counts, [("/a", 1, 1, 1, 0), ("/b", 2, 0, 0, 1), ("/empty", 1, 0, 0, 0), ("/own", 1, 0, 0, 0)]);
        let lines: Vec<_> = found.iter().map(|of| (of.insertions, of.deletions)).collect();
        assert_eq!(lines, [(1, 4), (2, 0), (1, 0), (1, 0)], "a binary file has no lines");

        std::fs::write(home.path().join("patch"), done.stdout).unwrap();
        shell(
            home.path(),
            "cd before && git apply ../patch && cd .. && rm -f 'work dir/b/ignored' \
            && diff -r -x .git 'work dir' before",
        );
    }

    #[test]
    fn a_working_directory_that_is_a_repository_has_a_patch_of_its_own_paths() {
        let home = tempfile::tempdir().unwrap();
        shell(home.path(), "git init -q . && echo a >a && git add . && git commit -qm 1");
        let name = home.path().to_str().unwrap();
        let listed = String::from_utf8(shell(home.path(), &script(COMMITS, [name])).stdout).unwrap();
        let (commit, folder) = listed.trim().split_once(' ').unwrap();
        shell(home.path(), "echo b >>a && git init -q inner && cd inner && echo c >c && git add . && git commit -qm 1");
        let patch = shell(home.path(), &script(CHANGES, [name, commit, folder])).stdout;
        let patch = String::from_utf8(patch).unwrap();
        assert!(patch.starts_with("diff --git a/a b/a\n"), "{patch}");
        assert!(patch.contains("+++ b/inner/c\n") && !patch.contains("Subproject"), "{patch}");
    }

    #[test]
    fn what_git_cannot_read_does_not_hide_the_other_changes() {
        let home = tempfile::tempdir().unwrap();
        shell(home.path(), "git init -q . && echo a >a && git add . && git commit -qm 1");
        let name = home.path().to_str().unwrap();
        let listed = String::from_utf8(shell(home.path(), &script(COMMITS, [name])).stdout).unwrap();
        let (commit, folder) = listed.trim().split_once(' ').unwrap();
        // Git refuses to add a repository without a commit.
        shell(home.path(), "echo b >>a && echo c >c && mkdir deep && git init -q deep/inner && touch deep/inner/file");
        let done = shell(home.path(), &script(CHANGES, [name, commit, folder]));
        let files = String::from_utf8(done.stderr).unwrap();
        assert_eq!(incomplete(&files), [name]);
        let counts: Vec<_> = repositories(&files).iter().map(|of| (of.added, of.updated)).collect();
        assert_eq!(counts, [(1, 1)], "{files}");
        let patch = String::from_utf8(done.stdout).unwrap();
        assert!(patch.contains("+b\n") && patch.contains("+c\n"), "{patch}");
    }

    #[test]
    fn programs_that_a_repository_names_for_its_diffs_are_not_started() {
        let home = tempfile::tempdir().unwrap();
        let hostile = "git init -q . && echo a >a && git add . && git commit -qm 1 && printf '#!/bin/sh\\ntouch ran\\n' >evil \
            && chmod +x evil && git config core.fsmonitor ./evil && git config diff.external ./evil && git config diff.x.textconv ./evil \
            && echo '* diff=x' >.gitattributes && echo b >>a";
        shell(home.path(), hostile);
        let name = home.path().to_str().unwrap();
        let listed = String::from_utf8(shell(home.path(), &script(COMMITS, [name])).stdout).unwrap();
        let (commit, folder) = listed.trim().split_once(' ').unwrap();
        let patch = shell(home.path(), &script(CHANGES, [name, commit, folder])).stdout;
        assert!(String::from_utf8(patch).unwrap().contains("+b"));
        assert!(!home.path().join("ran").exists());
    }
}

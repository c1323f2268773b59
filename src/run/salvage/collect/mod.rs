//! The files of the task's `collect`, out of the workspace and into the run folder.

use openhands_client::collections::inserted;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use openhands_client::agent_server::AgentServer;
use openhands_client::sandbox::exec::{self, Command, Exit, Output};
use openhands_client::text;
use tokio::time::timeout;

use super::{Salvager, without_secrets};
use crate::input::task::collect::CollectPattern;
use crate::outcome::Collected;

/// Prints size and path of each file. Gets the working directory, then what to look at.
const LIST: &str = include_str!("list.sh");

/// More bytes are left out.
const MOST_BYTES: u64 = 32 * 1024 * 1024;
/// More files are left out.
const MOST_FILES: u64 = 1000;
/// A longer list of files is given up, in bytes.
const LONGEST_LIST: usize = 16 * 1024 * 1024;
/// Files that are read at the same time: across a slow network each takes a round trip.
const AT_ONCE: usize = 4;
/// Files that a warning names.
const NAMED: usize = 3;

/// Collects the files that match. Nothing where the task names none.
pub(super) async fn collect(
    salvager: &Salvager<'_>,
    patterns: &[CollectPattern],
    limit: Duration,
) -> Option<Collected> {
    if patterns.is_empty() {
        return None;
    }
    let mut collected = Collected::default();
    let done = timeout(limit, copy(salvager, patterns, limit, &mut collected)).await;
    let reason = match done {
        Ok(Ok(())) => return Some(collected),
        Ok(Err(reason)) => reason,
        Err(_) => format!("the agent-server took longer than {} s", limit.as_secs_f64()),
    };
    salvager.warnings.warn(format!("not all files of `collect` were kept: {reason}"));
    Some(collected)
}

async fn copy(
    salvager: &Salvager<'_>,
    patterns: &[CollectPattern],
    limit: Duration,
    collected: &mut Collected,
) -> Result<(), String> {
    let found = matching(&list(salvager, patterns, limit).await?, patterns);
    let is_found = |pattern: &&CollectPattern| found.keys().any(|path| pattern.matches(path));
    let without: Vec<_> = patterns.iter().filter(|pattern| !is_found(pattern)).map(CollectPattern::as_str).collect();
    if !without.is_empty() {
        salvager.warnings.warn(format!("no file of the workspace matches `collect`: {}", text::listed(without)));
    }
    let (chosen, mut left_out) = chosen(found);
    // Until it is there.
    collected.left_out = (chosen.len() + left_out.len()) as u64;
    let read = |path: PathBuf, size: u64| async move {
        let content = read(salvager.server, salvager.working_dir, &path, size).await;
        (path, content)
    };
    let mut contents = stream::iter(chosen).map(|(path, size)| read(path, size)).buffer_unordered(AT_ONCE);
    while let Some((path, content)) = contents.next().await {
        let kept = content.and_then(|content| {
            let content = without_secrets(&content, salvager.redactor);
            let written = salvager.folder.with(|folder| folder.collect(&path, &content)).unwrap_or(Ok(()));
            written.map(|()| content.len() as u64).map_err(|error| error.to_string())
        });
        match kept {
            Ok(bytes) => {
                (collected.files, collected.bytes) = (collected.files + 1, collected.bytes + bytes);
                collected.left_out -= 1;
            }
            Err(reason) => left_out.push(format!("{} ({reason})", path.display())),
        }
    }
    if left_out.is_empty() {
        return Ok(());
    }
    let more = if left_out.len() > NAMED { ", …" } else { "" };
    let count = left_out.len();
    left_out.truncate(NAMED);
    Err(format!("{count} left out: {}{more}", left_out.join(", ")))
}

/// The files that may match, with their sizes.
async fn list(salvager: &Salvager<'_>, patterns: &[CollectPattern], limit: Duration) -> Result<Vec<u8>, String> {
    let mut bases: Vec<String> = patterns.iter().map(CollectPattern::base).collect();
    if bases.iter().any(|base| base == ".") {
        bases = vec![".".to_owned()];
    }
    let arguments = bases.iter().map(String::as_str);
    let line = shell_words::join(["sh", "-c", LIST, "list", salvager.working_dir].into_iter().chain(arguments));
    let running = exec::start(salvager.server, &Command::shell(line).limit(limit)).await;
    let mut running = running.map_err(|error| text::chain(&error))?;
    let (mut listed, mut words, mut is_long) = (Vec::new(), Vec::new(), false);
    let exit = running.follow(async |output| match output {
        Output::Stdout(bytes) if listed.len() + bytes.len() > LONGEST_LIST => is_long = true,
        Output::Stdout(bytes) => listed.extend_from_slice(&bytes),
        Output::Stderr(bytes) => words.extend_from_slice(&bytes[..bytes.len().min(1000)]),
    });
    match exit.await.map_err(|error| text::chain(&error))? {
        Exit::Code(0) if is_long => Err("too many files to look at; name a folder in the pattern".to_owned()),
        Exit::Code(0) => Ok(listed),
        Exit::Code(code) => {
            let words = String::from_utf8_lossy(&words);
            Err(format!("the files could not be listed ({code}): {}", text::one_line(&words, 200)))
        }
        Exit::TimedOut => Err(format!("listing the files took longer than {} s", limit.as_secs_f64())),
    }
}

/// Reads lines `SIZE ./PATH`: the files that match, with their sizes. A name that leads elsewhere is not a file of the workspace.
fn matching(listed: &[u8], patterns: &[CollectPattern]) -> BTreeMap<PathBuf, u64> {
    let listed = String::from_utf8_lossy(listed);
    let file = |line: &str| {
        let (size, path) = line.split_once(' ')?;
        let path: PathBuf = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
        let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        let matches = is_inside && patterns.iter().any(|pattern| pattern.matches(&path));
        matches.then_some((path, size.parse().ok()?))
    };
    inserted(listed.lines().filter_map(file))
}

/// What is copied, and the names of what is left out: it would be too much.
fn chosen(found: BTreeMap<PathBuf, u64>) -> (Vec<(PathBuf, u64)>, Vec<String>) {
    let (mut chosen, mut left_out, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    for (path, size) in found {
        let with_it = bytes.saturating_add(size);
        if with_it > MOST_BYTES {
            left_out.push(format!("{} (over {} MiB in all)", path.display(), MOST_BYTES >> 20));
        } else if chosen.len() as u64 >= MOST_FILES {
            left_out.push(format!("{} (over {MOST_FILES} files)", path.display()));
        } else {
            bytes = with_it;
            chosen.push((path, size));
        }
    }
    (chosen, left_out)
}

/// The content of a file that had this size: one that grows without end must not fill the memory.
async fn read(server: &AgentServer, working_dir: &str, path: &Path, size: u64) -> Result<Vec<u8>, String> {
    let absolute = format!("{}/{}", working_dir.trim_end_matches('/'), path.display());
    let download = server.client.download(&absolute, server.capabilities).await;
    let mut download = download.map_err(|error| text::chain(&error))?;
    let mut content = Vec::new();
    while let Some(piece) = download.piece().await.map_err(|error| text::chain(&error))? {
        content.extend_from_slice(&piece);
        if content.len() as u64 > size {
            return Err("it still grows".to_owned());
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(patterns: &[&str]) -> Vec<CollectPattern> {
        serde_json::from_value(serde_json::json!(patterns)).unwrap()
    }

    #[test]
    fn what_matches_is_found_and_nothing_outside_of_the_workspace() {
        let home = tempfile::tempdir().unwrap();
        let make = "mkdir -p 'w/a b/.git' w/report && echo 1 >'w/a b/one' && echo 1 >'w/a b/.git/HEAD' && echo two >w/report/x.html \
            && echo secret >outside && ln -s ../outside w/report/link && ln -s .. w/up && mkfifo w/report/fifo \
            && printf 1 >\"w/report/$(printf 'new\n5 ..')\"";
        assert!(
            std::process::Command::new("sh").args(["-c", make]).current_dir(home.path()).status().unwrap().success()
        );
        let work = home.path().join("w");
        let listed = |bases: &[&str]| {
            let done =
                std::process::Command::new("sh").args(["-c", LIST, "list"]).arg(&work).args(bases).output().unwrap();
            assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
            done.stdout
        };
        let found = |globs: &[&str], bases: &[&str]| -> Vec<(String, u64)> {
            let found = matching(&listed(bases), &patterns(globs));
            found.into_iter().map(|(path, size)| (path.display().to_string(), size)).collect()
        };
        assert_eq!(
            found(&["a b", "report/*.html"], &["a b", "report"]),
            [("a b/one".into(), 2), ("report/x.html".into(), 4)]
        );
        assert_eq!(found(&["missing/**", "up/**"], &["missing", "up"]), []);
        assert!(found(&["**"], &["."]).iter().all(|(path, _)| !path.contains("..") && !path.contains(".git")));
        assert!(matching(b"5 ../outside\n5 /etc/passwd\nx ./a\n", &patterns(&["**"])).is_empty());
    }

    #[test]
    fn what_is_too_much_is_left_out_by_name() {
        let files = [("a", MOST_BYTES), ("b", 1), ("c", 0)].map(|(name, size)| (PathBuf::from(name), size));
        let (kept, left_out) = chosen(BTreeMap::from(files));
        assert_eq!(kept.iter().map(|(path, _)| path.to_str().unwrap()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(left_out, ["b (over 32 MiB in all)"]);
        let many = (0..MOST_FILES + 2).map(|number| (PathBuf::from(format!("{number:05}")), 1)).collect();
        let (kept, left_out) = chosen(many);
        assert_eq!((kept.len() as u64, left_out.len()), (MOST_FILES, 2));
    }
}

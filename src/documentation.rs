//! Tests that the README and the pages in `docs/` agree with the code.

use std::fs;
use std::path::{Path, PathBuf};

use crate::input::env;
use crate::input::task::parse::{TaskFormat, parse};
use crate::outcome::{FailureKind, HELP_OF_SERVER_CODES};

const ENVIRONMENT: &str = include_str!("../docs/environment.md");
const OUTCOME: &str = include_str!("../docs/outcome.md");
const TROUBLESHOOTING: &str = include_str!("../docs/troubleshooting.md");

/// Returns path and text of README.md and of each page in `docs/`.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let files = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.chain([root.join("README.md")]).map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn rows(page: &'static str, first_column: &str) -> Vec<Vec<&'static str>> {
    let table = page.lines().skip_while(|line| !line.starts_with(&format!("| {first_column} |"))).skip(2);
    let row = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_variable_is_documented_and_no_other() {
    let rows = rows(ENVIRONMENT, "variable");
    let mut listed: Vec<&str> = rows.iter().flat_map(|row| quoted(row[0]).collect::<Vec<_>>()).collect();
    let mut known = env::NAMES.to_vec();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn every_failure_stands_beside_its_exit_code() {
    let rows = rows(OUTCOME, "code");
    for kind in FailureKind::ALL {
        let row = rows.iter().find(|row| quoted(row[2]).any(|code| code == kind.code()));
        let code = row.unwrap_or_else(|| panic!("{} is not in docs/outcome.md", kind.code()))[0];
        match code.parse::<u8>() {
            Ok(code) => assert_eq!(code, kind.exit_code().0, "{kind:?}"),
            Err(_) => assert!(kind.exit_code().0 > 128 && code == "128 + n", "{kind:?}"),
        }
    }
}

#[test]
fn every_failure_stands_beside_the_help_that_people_get() {
    let rows = rows(OUTCOME, "failure code");
    let of_kinds = FailureKind::ALL.iter().map(|kind| (kind.code(), kind.help()));
    let all: Vec<_> = of_kinds.chain(HELP_OF_SERVER_CODES.iter().copied()).collect();
    for (code, help) in &all {
        let row = rows.iter().find(|row| quoted(row[0]).any(|name| name == *code));
        let row = row.unwrap_or_else(|| panic!("{code} has no help in docs/outcome.md"));
        assert_eq!(row[1], *help, "{code}");
    }
    let documented: Vec<_> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    assert_eq!(documented.len(), all.len(), "{documented:?}");
}

#[test]
fn the_advice_is_about_failures_that_exist() {
    // These codes come from the agent-server.
    let others = ["LLMAuthenticationError", "MaxIterationsReached"];
    let rows = rows(TROUBLESHOOTING, "code");
    assert!(rows.len() > 10);
    for code in rows.iter().flat_map(|row| quoted(row[0]).collect::<Vec<_>>()) {
        assert!(others.contains(&code) || FailureKind::ALL.iter().any(|kind| kind.code() == code), "{code}");
    }
}

#[test]
fn the_task_files_of_the_pages_are_read() {
    let mut tasks = 0;
    for (path, text) in pages() {
        for task in text.split("```markdown\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            parse(task, TaskFormat::Markdown, &path.display().to_string()).unwrap();
            tasks += 1;
        }
    }
    assert!(tasks > 2, "{tasks}");
}

#[test]
fn the_links_between_the_pages_lead_to_something() {
    let anchor = |heading: &str| heading.trim_matches(['#', ' ']).to_lowercase().replace(' ', "-");
    for (path, text) in pages() {
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = path.parent().unwrap().join(file);
            // The package archive does not contain the other package.
            if file.contains("crates/") && !target.exists() {
                continue;
            }
            assert!(target.exists(), "{}: {link}", path.display());
            if !section.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|heading| anchor(heading) == section), "{}: {link}", path.display());
            }
        }
    }
}

#[test]
fn the_readme_is_a_front_page() {
    let readme = include_str!("../README.md");
    assert!(readme.lines().count() <= 120, "details belong into docs/");
}

#[test]
fn the_figures_of_the_readme_are_those_of_the_benchmarks() {
    let readme = include_str!("../README.md");
    let benchmarks = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md"));
    for (name, before, unit) in [
        ("binary", "The binary is ", " MB"),
        ("run, exec to exit", "It adds about ", " ms"),
        ("memory", " ms and ", " MB"),
    ] {
        let shown = readme.split(before).nth(1).and_then(|rest| rest.split(unit).next()).unwrap();
        let shown: f64 = shown.parse().unwrap_or_else(|_| panic!("{name}: {shown} in the README"));
        // `scripts/bench page` writes this page, on a quiet machine.
        let Ok(page) = &benchmarks else { continue };
        let row = page.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        let measured: f64 = row.split_whitespace().next().unwrap().parse().unwrap();
        assert!((shown - measured).abs() <= 0.5, "{name}: {shown} in the README, {measured} in docs/benchmarks.md");
    }
}

#[test]
fn scripts_and_pages_name_the_newest_agent_server_of_the_tests() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let support = read("tests/support/agent_server.rs");
    let newest = support.split("NEWEST: &str = \"").nth(1).unwrap().split('"').next().unwrap();
    for (file, words) in [
        ("scripts/lib/common.sh", format!("newest_agent_server={newest}\n")),
        ("README.md", format!("agent-server 1.11.5 and {newest}.")),
        ("crates/openhands-client/README.md", format!("from 1.11.5 to {newest}.")),
        ("docs/compatibility.md", format!("| {newest} |")),
    ] {
        assert!(read(file).contains(&words), "no \"{words}\" in {file}");
    }
}

#[test]
fn the_fuzz_targets_have_the_dependencies_of_the_program() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (program, fuzz) = (read("Cargo.toml"), read("fuzz/Cargo.toml"));
    let dependencies = program.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    for line in dependencies.lines() {
        assert!(fuzz.contains(line), "scripts/fuzz writes fuzz/Cargo.toml, which lacks: {line}");
    }
}

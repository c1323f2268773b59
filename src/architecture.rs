//! Tests the layering of both packages: a module uses only the modules below it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of a package, with the top floor first. Modules on the same floor do not use each other.
type Floors = &'static [&'static [&'static str]];

const PROGRAM: Floors = &[
    &["main"],
    &["start"],
    &["commands", "run"],
    &["prepare"],
    &["process", "sinks"],
    &["batch_report"],
    &["export", "report"],
    &["batch", "plan"],
    &["logging"],
    &["view"],
    &["cli"],
    &["input", "outcome"],
    &["batch_folder"],
    &["agent_result", "agent_work", "log_writer", "paint", "problem", "run_folder", "screen", "stored_events"],
    &["files"],
];

const LIBRARY: Floors = &[
    &["lib"],
    &["workspace"],
    &["conversation", "sandbox"],
    &["automation", "cloud"],
    &["agent_server"],
    &["http"],
    &["redact", "retry"],
    &["collections", "ids", "off_thread", "secret", "text", "time_limits"],
];

/// Tests of the whole program, which may use all modules.
const TESTS: &[&str] = &["architecture", "documentation", "hostile"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns the top-level module of a file.
fn module_of(file: &Path, source: &Path) -> String {
    let first = file.strip_prefix(source).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Returns the text of a file without its comments and its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Returns the top-level modules that a text names with `crate::`, outside of comments and tests.
fn used(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let list = rest.strip_prefix('{').and_then(|list| list.split_once('}')).map_or(rest, |(list, _)| list);
        let is_list = rest.starts_with('{');
        for item in list.split(',').take(if is_list { usize::MAX } else { 1 }) {
            let name: String =
                item.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
            if !name.is_empty() {
                names.insert(name);
            }
        }
    }
    names
}

/// Returns each use of a module that is not on a lower floor, as text.
fn arrows_that_point_up(source: &Path, floors: Floors) -> Vec<String> {
    let floor = |module: &str| floors.iter().position(|floor| floor.contains(&module));
    let mut wrong = Vec::new();
    for file in sources(source) {
        let from = module_of(&file, source);
        if TESTS.contains(&from.as_str()) {
            continue;
        }
        let Some(here) = floor(&from) else {
            wrong.push(format!("{from} has no floor"));
            continue;
        };
        for to in used(&fs::read_to_string(&file).unwrap()) {
            // A name that is not a module is an item of the crate root.
            let is_module = source.join(&to).is_dir() || source.join(format!("{to}.rs")).exists();
            if is_module && to != from && floor(&to).is_none_or(|there| there <= here) {
                wrong.push(format!("{} -> {to}", file.strip_prefix(source).unwrap().display()));
            }
        }
    }
    wrong
}

#[test]
fn the_programs_modules_use_only_what_stands_below_them() {
    assert_eq!(arrows_that_point_up(&root().join("src"), PROGRAM), [""; 0]);
}

#[test]
fn the_librarys_modules_use_only_what_stands_below_them() {
    let source = root().join("crates/openhands-client/src");
    // The archive of the program's package does not contain the sources of the library.
    if source.exists() {
        assert_eq!(arrows_that_point_up(&source, LIBRARY), [""; 0]);
    }
}

#[test]
fn the_library_knows_nothing_of_this_process() {
    let source = root().join("crates/openhands-client/src");
    if !source.exists() {
        return;
    }
    for file in sources(&source) {
        let code = code(&fs::read_to_string(&file).unwrap());
        for forbidden in ["clap::", "std::env::", " nix::", "rustix::", "current_exe", "openhands_runner"] {
            assert!(!code.contains(forbidden), "{}: {forbidden}", file.display());
        }
    }
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.rs"), "use crate::cli;").unwrap();
    fs::write(folder.path().join("cli.rs"), "use crate::{\n    main,\n    run::Run,\n};\nmod x { use crate::run; }")
        .unwrap();
    fs::write(folder.path().join("run.rs"), "// crate::main\nfn x() { crate::cli::y() }").unwrap();
    let found = arrows_that_point_up(folder.path(), &[&["main"], &["run"], &["cli"]]);
    assert_eq!(
        found.into_iter().collect::<BTreeSet<_>>(),
        ["cli.rs -> main", "cli.rs -> run"].map(str::to_owned).into()
    );
}

//! The README against the code.

use crate::input::env;
use crate::input::task::parse::{TaskFormat, parse};
use crate::outcome::FailureKind;

const README: &str = include_str!("../README.md");

fn rows(first_column: &str) -> Vec<Vec<&'static str>> {
    let table = README.lines().skip_while(|line| !line.starts_with(&format!("| {first_column} |"))).skip(2);
    let row = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_readme_lists_every_variable_and_no_other() {
    let mut listed: Vec<&str> = rows("variable").iter().flat_map(|row| quoted(row[0]).collect::<Vec<_>>()).collect();
    let mut known = env::NAMES.to_vec();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn the_readme_has_every_failure_beside_its_exit_code() {
    let rows = rows("code");
    for kind in FailureKind::ALL {
        let row = rows.iter().find(|row| quoted(row[2]).any(|code| code == kind.code()));
        let code = row.unwrap_or_else(|| panic!("{} is not in the README", kind.code()))[0];
        match code.parse::<u8>() {
            Ok(code) => assert_eq!(code, kind.exit_code().0, "{kind:?}"),
            Err(_) => assert!(kind.exit_code().0 > 128 && code == "128 + n", "{kind:?}"),
        }
    }
}

#[test]
fn the_readmes_task_files_are_read() {
    let tasks: Vec<&str> =
        README.split("```markdown\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(tasks.len() > 1);
    for task in tasks {
        parse(task, TaskFormat::Markdown, "README.md").unwrap();
    }
}

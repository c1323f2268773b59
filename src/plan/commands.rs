//! The commands of the task, in the form in which they run. They are fixed before the agent starts.

use std::time::Duration;

use openhands_client::text;

use crate::input::task::commands::CommandSource;

/// The maximum length of a name, in characters.
const LONGEST_NAME: usize = 100;

/// A command to run in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandPlan {
    /// The name for people, on one line.
    pub(crate) name: String,
    /// The command line.
    pub(crate) run: String,
    /// The time limit.
    pub(crate) timeout: Duration,
}

impl CommandPlan {
    /// Plans commands. `limit` applies to commands without a limit of their own.
    #[must_use]
    pub(crate) fn of(sources: Vec<CommandSource>, limit: Duration) -> Vec<Self> {
        let plan = |CommandSource { name, run, timeout }| {
            let name = name.as_deref().map(|name| text::one_line(name, LONGEST_NAME)).filter(|name| !name.is_empty());
            let name = name.unwrap_or_else(|| text::one_line(&run, LONGEST_NAME));
            Self { name, run, timeout: timeout.unwrap_or(limit) }
        };
        sources.into_iter().map(plan).collect()
    }
}

/// The checks of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChecksPlan {
    /// The commands that must pass.
    pub(crate) commands: Vec<CommandPlan>,
    /// The maximum number of times that they run.
    pub(crate) attempts: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_a_name_has_its_first_words_as_one() {
        let source = |name: Option<&str>| CommandSource {
            name: name.map(str::to_owned),
            run: "make \\\n test".to_owned(),
            timeout: None,
        };
        let plans =
            CommandPlan::of(vec![source(None), source(Some("tests")), source(Some(" "))], Duration::from_secs(600));
        let names: Vec<_> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(names, ["make \\ test", "tests", "make \\ test"]);
        assert!(plans.iter().all(|plan| plan.timeout == Duration::from_secs(600) && plan.run == "make \\\n test"));
    }
}

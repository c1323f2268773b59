//! What comes next for the checks of a run. Pure.

use std::fmt::Write as _;

use openhands_client::conversation::CHECKS_FAILED;
use openhands_client::text;

use crate::outcome::CheckResult;

/// The longest end of an output that the agent gets, in characters.
const LONGEST_OUTPUT: usize = 3000;
/// The largest number of failed checks that are reported with their outputs.
const MOST_TOLD: usize = 10;
/// The longest end of an output in the reason of a failure, in characters.
const LONGEST_REASON: usize = 1200;

/// The checks of a run, from the end of the agent's last turn.
#[derive(Debug)]
pub(super) struct Checks {
    of: usize,
    attempts: u32,
    /// From 1.
    attempt: u32,
    /// The results of this attempt, in the order of the checks.
    results: Vec<CheckResult>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This check runs.
    Run {
        /// From 1.
        attempt: u32,
        index: usize,
    },
    /// The agent gets this message and continues.
    SendBack(String),
    /// All checks have passed.
    Passed,
    /// The run fails, for this reason.
    Failed(String),
}

impl Checks {
    /// Creates the machine for this many checks and at most this many attempts; `sent_back` says how often the agent was sent back before.
    pub(super) fn new(of: usize, attempts: u32, sent_back: usize) -> Self {
        let attempt = u32::try_from(sent_back).unwrap_or(u32::MAX).saturating_add(1).min(attempts);
        Self { of, attempts, attempt, results: Vec::new() }
    }

    /// What comes next. Without time the agent does not continue.
    pub(super) fn next(&self, has_time: bool) -> Next {
        if self.results.len() < self.of {
            return Next::Run { attempt: self.attempt, index: self.results.len() };
        }
        let failed: Vec<&CheckResult> = self.results.iter().filter(|check| !check.command.is_passed()).collect();
        match failed.first() {
            None => Next::Passed,
            Some(_) if has_time && self.attempt < self.attempts => Next::SendBack(message(&failed)),
            Some(first) => Next::Failed(self.reason(first, failed.len(), has_time)),
        }
    }

    /// The check that ran has ended.
    pub(super) fn ended(&mut self, result: CheckResult) {
        self.results.push(result);
    }

    /// The agent has finished again.
    pub(super) fn begin_attempt(&mut self) {
        self.attempt += 1;
        self.results.clear();
    }

    /// The results of this attempt.
    pub(super) fn results(&self) -> &[CheckResult] {
        &self.results
    }

    fn reason(&self, CheckResult { command, .. }: &CheckResult, failed: usize, has_time: bool) -> String {
        let cut = if has_time || self.attempt >= self.attempts { "" } else { ", and there is no time for another" };
        format!(
            "{failed} of {} checks failed after attempt {} of {}{cut}; `{}` {}; the end of its output:\n{}",
            self.of,
            self.attempt,
            self.attempts,
            command.name,
            command.ending(),
            text::ending(&command.output, LONGEST_REASON)
        )
    }
}

/// The message to the agent.
fn message(failed: &[&CheckResult]) -> String {
    let mut message = format!("{CHECKS_FAILED} The task is done only if all checks pass.\n");
    for CheckResult { command, .. } in failed.iter().take(MOST_TOLD) {
        let output = text::ending(&command.output, LONGEST_OUTPUT);
        let longest = output.split(|char| char != '`').map(str::len).max().unwrap_or_default();
        let fence = "`".repeat(longest.max(2) + 1);
        // Writing into a String cannot fail.
        let _ = write!(
            message,
            "\nThe check `{}` {}. The end of its output:\n{fence}\n{output}\n{fence}\n",
            command.name,
            command.ending()
        );
    }
    if let Some(left_out @ 1..) = failed.len().checked_sub(MOST_TOLD) {
        let _ = writeln!(message, "\nFurther checks that failed: {left_out}");
    }
    message + "\nFix the cause, and finish again. Do not change the checks, or the scripts that they call."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{CommandResult, CommandStatus};

    fn result(name: &str, exit_code: Option<u8>) -> CheckResult {
        let status = match exit_code {
            Some(0) => CommandStatus::Passed,
            Some(_) => CommandStatus::Failed,
            None => CommandStatus::TimedOut,
        };
        let output = format!("output of {name} with ```");
        let command = CommandResult { name: name.to_owned(), status, exit_code, seconds: 0.0, output };
        CheckResult { command, changed: Vec::new() }
    }

    /// What comes after attempts with these exit codes of two checks, where at most three attempts are made.
    fn after(attempts: &[[Option<u8>; 2]], has_time: bool) -> Next {
        let mut checks = Checks::new(2, 3, 0);
        for (number, [first, second]) in (1..).zip(attempts) {
            assert_eq!(checks.next(has_time), Next::Run { attempt: number, index: 0 });
            checks.ended(result("a", *first));
            assert_eq!(checks.next(has_time), Next::Run { attempt: number, index: 1 });
            checks.ended(result("b", *second));
            if (number as usize) < attempts.len() {
                assert!(matches!(checks.next(has_time), Next::SendBack(_)));
                checks.begin_attempt();
            }
        }
        checks.next(has_time)
    }

    #[test]
    fn a_run_completes_only_if_all_checks_pass() {
        let (good, bad, late) = (Some(0), Some(2), None);
        for (attempts, has_time, expected) in [
            (&[[good, good]][..], true, "passed"),
            (&[[good, good]], false, "passed"),
            (&[[good, bad]], true, "back"),
            (&[[late, good]], true, "back"),
            (&[[good, bad]], false, "failed"),
            (&[[bad, bad], [good, good]], true, "passed"),
            (&[[bad, good], [good, bad]], true, "back"),
            (&[[bad, good], [good, bad], [good, good]], true, "passed"),
            (&[[bad, bad], [bad, bad], [good, bad]], true, "failed"),
        ] {
            let next = match after(attempts, has_time) {
                Next::Passed => "passed",
                Next::SendBack(_) => "back",
                Next::Failed(_) => "failed",
                Next::Run { .. } => "run",
            };
            assert_eq!(next, expected, "{attempts:?} {has_time}");
        }
        assert_eq!(Checks::new(0, 3, 0).next(true), Next::Passed);
    }

    #[test]
    fn the_attempts_of_an_earlier_runner_count() {
        for (sent_back, attempt) in [(0, 1), (2, 3), (7, 3)] {
            assert_eq!(Checks::new(1, 3, sent_back).next(true), Next::Run { attempt, index: 0 });
        }
    }

    #[test]
    fn the_agent_is_told_which_checks_failed_and_how() {
        let Next::SendBack(message) = after(&[[Some(2), None]], true) else { panic!("not sent back") };
        let first = "The check `a` exited with 2. The end of its output:\n````\noutput of a with ```\n````\n";
        assert!(message.contains(first) && message.contains("The check `b` reached its time limit."), "{message}");
        let Next::SendBack(message) = after(&[[Some(0), Some(1)]], true) else { panic!("not sent back") };
        assert!(!message.contains("The check `a`"), "{message}");
    }

    #[test]
    fn the_reason_says_how_far_the_run_came() {
        let Next::Failed(reason) = after(&[[Some(0), Some(2)]], false) else { panic!("not failed") };
        let expected = "1 of 2 checks failed after attempt 1 of 3, and there is no time for another; `b` exited with 2; \
            the end of its output:\noutput of b with ```";
        assert_eq!(reason, expected);
    }
}

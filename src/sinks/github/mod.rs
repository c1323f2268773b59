//! What GitHub Actions gets of a run: commands in the log, and at the end a summary and outputs of the step.

mod commands;
mod outputs;
mod step;
mod summary;

pub(crate) use commands::Commands;
pub(crate) use step::StepFiles;

use openhands_client::automation::completion::OutcomeStatus;

/// The status as the result has it.
fn word(status: OutcomeStatus) -> &'static str {
    match status {
        OutcomeStatus::Completed => "COMPLETED",
        OutcomeStatus::Failed => "FAILED",
    }
}

#[cfg(test)]
mod tests {
    use openhands_client::agent_server::wire::Cost;
    use openhands_client::secret::Redactor;

    use crate::outcome::{Failure, FailureKind, RunResult, Verdict};

    /// A failure with a known cost.
    pub(super) fn result() -> RunResult {
        let failure = Failure::new(FailureKind::AgentStuck, "it repeats itself");
        let cost = Cost::dollars(0.5);
        let verdict = Verdict {
            failure: Some(failure),
            run_id: None,
            conversation_id: None,
            cost,
            cut_short: false,
            result: None,
        };
        verdict.alone().result(&Redactor::default())
    }

    /// Text that tries everything.
    pub(super) fn hostile() -> String {
        let markup = "# h\n[a](http://x)![b](http://x/i)<img src=x> <script>x</script>\n| a | b |\n</pre></td>";
        let fences = "```\n````\n~~~\n`````text\n<details open>\n`` ` ``";
        let commands = "::set-output name=report::x\n::add-mask::y\n\u{1b}[2J\u{202e}";
        let outputs = "end-\nEOF\nghadelimiter_1\nstatus=COMPLETED\nstatus<<EOF\nCOMPLETED\nEOF";
        format!("{markup}\n{fences}\n{commands}\r\n{outputs}\n\n# h\nhttps://x.y @someone")
    }
}

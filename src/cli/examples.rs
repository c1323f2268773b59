//! The examples in the help of each command.

pub(super) const EXAMPLES: &str = "\
Examples:
  openhands-runner run task.md
  openhands-runner run -p 'Fix the failing test' --max-cost 2
  openhands-runner launch task.md --wait
  openhands-runner report run-folder";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  openhands-runner run task.md --timeout 30m --out run-folder
  openhands-runner run -p 'Fix the failing test' --model openai/gpt-5 --max-cost 2
  openhands-runner run --workspace docker --image ghcr.io/openhands/agent-server:latest-python task.md
  openhands-runner run task.md --rows rows.csv --row auto --out results";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  openhands-runner report run-folder
  openhands-runner report events.jsonl --output page.html
  openhands-runner report --conversation 6f1e0a52-4c5b-4d0e-9a4e-51a78f2d3c90
  openhands-runner report --conversation 6f1e0a52-4c5b-4d0e-9a4e-51a78f2d3c90 --sandbox SANDBOX";

pub(super) const SHOW_EXAMPLES: &str = "\
Examples:
  openhands-runner show run-folder
  openhands-runner show events.jsonl | less";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  openhands-runner completions bash >/etc/bash_completion.d/openhands-runner
  openhands-runner completions fish >~/.config/fish/completions/openhands-runner.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  openhands-runner man | man -l -
  openhands-runner man >openhands-runner.1";

pub(super) const SCHEMA_EXAMPLES: &str = "\
Examples:
  openhands-runner schema >task.schema.json
  openhands-runner schema result";

pub(super) const AUTOMATION_EXAMPLES: &str = "\
Examples:
  openhands-runner automation create task.md --cron '0 3 * * *'
  openhands-runner automation run 6f9619ff-8b86-d011-b42d-00cf4fc964ff --wait
  openhands-runner automation list";

pub(super) const AUTOMATION_CREATE_EXAMPLES: &str = "\
Examples:
  openhands-runner automation create task.md --cron '0 3 * * *' --timezone Europe/Berlin
  openhands-runner automation create review.md --event github --on 'pull_request.*'
  openhands-runner automation create --cron '@daily' --runner https://example.org/runner";

pub(super) const AUTOMATION_LIST_EXAMPLES: &str = "\
Examples:
  openhands-runner automation list
  openhands-runner automation list --format json";

pub(super) const AUTOMATION_SHOW_EXAMPLES: &str = "\
Examples:
  openhands-runner automation show 6f9619ff-8b86-d011-b42d-00cf4fc964ff";

pub(super) const AUTOMATION_RUN_EXAMPLES: &str = "\
Examples:
  openhands-runner automation run 6f9619ff-8b86-d011-b42d-00cf4fc964ff
  openhands-runner automation run 6f9619ff-8b86-d011-b42d-00cf4fc964ff --wait --format json";

pub(super) const AUTOMATION_LOGS_EXAMPLES: &str = "\
Examples:
  openhands-runner automation logs 6f9619ff-8b86-d011-b42d-00cf4fc964ff
  openhands-runner automation logs 6f9619ff-8b86-d011-b42d-00cf4fc964ff --format json";

pub(super) const AUTOMATION_UPDATE_EXAMPLES: &str = "\
Examples:
  openhands-runner automation update 6f9619ff-8b86-d011-b42d-00cf4fc964ff task.md
  openhands-runner automation update 6f9619ff-8b86-d011-b42d-00cf4fc964ff --cron '0 5 * * 1-5' --disable";

pub(super) const AUTOMATION_DELETE_EXAMPLES: &str = "\
Examples:
  openhands-runner automation delete 6f9619ff-8b86-d011-b42d-00cf4fc964ff";

pub(super) const BATCH_EXAMPLES: &str = "\
Examples:
  openhands-runner batch task.md --rows rows.csv --out results --cost 50 --timeout 8h
  openhands-runner batch task.md --rows rows.csv --out results --where docker --image '{{ row.image }}'
  openhands-runner batch status results
  openhands-runner batch report results";

pub(super) const BATCH_STATUS_EXAMPLES: &str = "\
Examples:
  openhands-runner batch status results
  openhands-runner batch status results --format json";

pub(super) const BATCH_REPORT_EXAMPLES: &str = "\
Examples:
  openhands-runner batch report results
  openhands-runner batch report results --format json";

pub(super) const SANDBOX_EXAMPLES: &str = "\
Examples:
  id=$(openhands-runner sandbox create)
  openhands-runner sandbox list --format json
  openhands-runner sandbox delete 6sNbqFvPx3";

pub(super) const CREATE_EXAMPLES: &str = "\
Examples:
  openhands-runner sandbox create
  openhands-runner sandbox create --init-timeout 10m --format json
  openhands-runner sandbox create --workspace docker --volume ~/project:/workspace/project";

pub(super) const LIST_EXAMPLES: &str = "\
Examples:
  openhands-runner sandbox list
  openhands-runner sandbox list --format json";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  openhands-runner sandbox status 6sNbqFvPx3
  openhands-runner sandbox status 6sNbqFvPx3 --format json";

pub(super) const PAUSE_EXAMPLES: &str = "\
Example:
  openhands-runner sandbox pause 6sNbqFvPx3";

pub(super) const RESUME_EXAMPLES: &str = "\
Examples:
  openhands-runner sandbox resume 6sNbqFvPx3
  openhands-runner sandbox resume 6sNbqFvPx3 --init-timeout 10m";

pub(super) const DELETE_EXAMPLES: &str = "\
Examples:
  openhands-runner sandbox delete 6sNbqFvPx3
  openhands-runner sandbox delete 6sNbqFvPx3 2hTzLmRk8W
  openhands-runner sandbox delete --workspace docker agent-server-0a1b2c3d";

pub(super) const EXEC_EXAMPLES: &str = "\
Examples:
  openhands-runner exec -- 'git clone https://github.com/octo/app && ls app'
  openhands-runner exec --sandbox 6sNbqFvPx3 --cwd /workspace/app --timeout 10m -- cargo test
  openhands-runner exec --sandbox 6sNbqFvPx3 --env LEVEL=debug --stdin -- sh <script.sh
  openhands-runner exec --workspace docker --volume .:/app --cwd /app -- make test";

pub(super) const CP_EXAMPLES: &str = "\
Examples:
  openhands-runner cp notes.md 6sNbqFvPx3:/workspace/notes.md
  openhands-runner cp 6sNbqFvPx3:/workspace/app/dist .";

pub(super) const LAUNCH_EXAMPLES: &str = "\
Examples:
  openhands-runner launch task.md
  openhands-runner launch task.md --follow --out run-folder
  openhands-runner launch task.md --wait --sandbox 6sNbqFvPx3 --timeout 30m
  openhands-runner launch task.md --wait --workspace docker";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  openhands-runner check
  openhands-runner check task.md --rows rows.csv
  openhands-runner check --format json";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;

    /// A command and all commands below it, but for what people do not see, and the `help` of clap.
    fn all(command: &clap::Command) -> Vec<clap::Command> {
        let is_ours = |command: &&clap::Command| !command.is_hide_set() && command.get_name() != "help";
        let visible = command.get_subcommands().filter(is_ours);
        std::iter::once(command.clone()).chain(visible.flat_map(all)).collect()
    }

    /// The words of a line for a shell, from the name of this program to what is the shell's own.
    fn words(line: &str) -> Vec<String> {
        let start = line.find("openhands-runner").unwrap();
        let line = line[start..].trim_end_matches(')');
        let own = shell_words::split(line).unwrap().into_iter();
        own.take_while(|word| !(word == "|" || word.starts_with(['<', '>']))).collect()
    }

    #[test]
    fn each_command_has_examples_of_itself_that_are_understood() {
        let mut cli = Cli::command();
        cli.build();
        for command in all(&cli) {
            let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
            let help = command.get_after_help().unwrap_or_else(|| panic!("{name} has no example")).to_string();
            let examples: Vec<_> = help.lines().filter(|line| line.contains("openhands-runner ")).collect();
            let of_itself = examples.iter().filter(|line| line.contains(name)).count();
            assert!((1..=4).contains(&examples.len()) && of_itself == examples.len(), "{name}: {examples:?}");
            for example in examples {
                Cli::read_from(words(example)).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }

    #[test]
    fn the_help_of_each_flag_starts_with_a_verb() {
        let no_verbs = ["The", "A", "An", "Which", "What", "Who", "Where", "How", "Of", "Only", "Its", "From", "For"];
        let mut cli = Cli::command();
        cli.build();
        for command in all(&cli) {
            for flag in command.get_arguments().filter(|argument| !argument.is_positional() && !argument.is_hide_set())
            {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                let first = help.split([' ', ',']).next().unwrap_or_default();
                assert!(
                    !first.is_empty() && !no_verbs.contains(&first),
                    "{} --{}: {help}",
                    command.get_name(),
                    flag.get_id()
                );
            }
        }
    }
}

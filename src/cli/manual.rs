//! The manual page and the completions, made of the command line.

use std::io;

use clap::CommandFactory as _;

use super::Cli;

/// The manual page of the program and of its commands, as roff.
///
/// # Errors
/// Those of writing.
pub(crate) fn manual(out: &mut impl io::Write) -> io::Result<()> {
    let command = Cli::command();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let man = clap_mangen::Man::new(command.clone());
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_options_section(out)?;
    }
    Ok(())
}

/// The completions of a shell.
pub(crate) fn completions(shell: clap_complete::Shell, out: &mut impl io::Write) {
    clap_complete::generate(shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_and_the_completions_name_the_commands() {
        let (mut man, mut bash) = (Vec::new(), Vec::new());
        manual(&mut man).unwrap();
        completions(clap_complete::Shell::Bash, &mut bash);
        let [man, bash] = [man, bash].map(|text| String::from_utf8(text).unwrap());
        assert!(man.contains("Run a task in this sandbox") && !man.contains("Arguments of"), "{man}");
        for text in [man, bash] {
            for command in ["run", "launch", "report", "schema"] {
                assert!(text.contains(command), "{command}");
            }
        }
    }
}

//! `openhands-runner`: runs an OpenHands automation inside its sandbox, and reports its outcome.
//!
//! # The flow
//!
//! ```text
//! argv + environment + task file
//!       │ input: parse and validate; reports all problems together, before anything is started
//!       ▼
//!    RunPlan ──────► prepare ──────► conversation ──────► Outcome ──► callback, exit code, result
//!  (plain value)   repositories,     send turns,        (plain value)
//!                  skills, message   follow events
//!                                        └──► sinks: progress, standard output, phases
//! ```
//!
//! The library `openhands-client` talks to the servers. This package has everything that belongs to the process. Its modules,
//! from the top floor down; each uses only the modules below it (a test checks this):
//!
//! - [`start`]: starts the command that the arguments select;
//! - [`run`]: one run, from the plan to the exit code; [`commands`]: all other commands of the program;
//! - [`prepare`]: the steps of a run before its conversation;
//! - [`sinks`]: the outputs of a run;
//! - [`process`]: guardian, PID 1, signals, and what other processes may see of this one;
//! - [`batch_report`]: the results of a batch as a page, a table and a test report;
//! - [`export`]: the run in the formats of other tools; [`report`]: the events of a run as a report;
//! - [`plan`]: the plan of a run, as a plain value; [`batch`]: the next row of a batch, and the records of all rows;
//! - [`logging`]: the log on standard error;
//! - [`view`]: the form in which people see the run on standard error;
//! - [`cli`]: the command line;
//! - [`input`]: the environment and the task file;
//! - [`outcome`]: how a run ended, and the consequences;
//! - [`batch_folder`]: the files of all runs of a batch;
//! - [`agent_result`]: the object that the agent returns at its end; [`agent_work`]: the time that its LLM and its tools took;
//!   [`paint`]: the colours of lines; [`problem`]: errors that the user has to correct; [`run_folder`]: the files of a run;
//!   [`screen`]: standard error with lines that change in place; [`stored_events`]: the stored events of a conversation;
//! - [`files`]: atomic writes of files.

mod agent_result;
mod agent_work;
#[cfg(test)]
mod architecture;
mod batch;
mod batch_folder;
mod batch_report;
mod cli;
mod commands;
#[cfg(test)]
mod documentation;
mod export;
mod files;
#[cfg(any(test, fuzzing))]
mod hostile;
mod input;
mod log_writer;
mod logging;
mod outcome;
mod paint;
mod plan;
mod prepare;
mod problem;
mod process;
mod report;
mod run;
mod run_folder;
mod screen;
mod sinks;
mod start;
mod stored_events;
mod view;

use std::process::ExitCode;

use crate::process::{guardian, init, resources, scrub};

fn main() -> ExitCode {
    scrub::hide();
    resources::raise_limits();
    let name = std::env::args_os().next().unwrap_or_default();
    if name == guardian::NAME || (name == guardian::STARTER && guardian::start_detached()) {
        resources::on_enough_stack(guardian::guard);
        return ExitCode::SUCCESS;
    }
    if name == guardian::STARTER {
        return ExitCode::SUCCESS;
    }
    if init::is_due()
        && let Some(exit_code) = init::run()
    {
        return ExitCode::from(exit_code.0);
    }
    // A panic in a run is handled there and becomes its outcome. This one is a panic outside of the run, which the guardian
    // reports.
    std::panic::catch_unwind(|| resources::on_enough_stack(start::start))
        .unwrap_or(ExitCode::from(outcome::ExitCode::INTERNAL.0))
}

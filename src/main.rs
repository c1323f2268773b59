//! `openhands-runner`: runs an OpenHands automation inside its sandbox, and reports its outcome.
//!
//! # The flow
//!
//! ```text
//! argv + environment + task file
//!       │ input: parse, validate: every problem at once, before anything is started
//!       ▼
//!    RunPlan ──────► prepare ──────► conversation ──────► Outcome ──► callback, exit code, result
//!  (plain value)   repositories,     send turns,        (plain value)
//!                  skills, message   follow events
//!                                        └──► sinks: progress, standard output, phases
//! ```
//!
//! The library `openhands-client` talks to the servers. Here is what belongs to this process. From the top floor down; each
//! uses only what stands below it (a test checks that):
//!
//! - [`start`]: from the arguments to a command;
//! - [`run`]: one run, from the plan to the exit code; [`commands`]: everything else that the program does;
//! - [`prepare`]: what a run does before its conversation;
//! - [`sinks`]: who sees what a run does;
//! - [`process`]: guardian, PID 1, signals, and what others may see of this process;
//! - [`batch_report`]: what a batch has done, as a page, a table and a test report;
//! - [`export`]: the run in the formats of other tools; [`report`]: what happened in a run, read from the lines of its events;
//! - [`plan`]: what a run is going to do, as a plain value; [`batch`]: which row of a batch runs next, and what was done for each;
//! - [`logging`];
//! - [`view`]: in which form people see the run on standard error;
//! - [`cli`]: the command line;
//! - [`input`]: the environment and the task file;
//! - [`outcome`]: how a run ended, and what follows from that;
//! - [`batch_folder`]: what all runs of a batch leave on disk;
//! - [`agent_result`]: what the agent is asked to give at its end; [`agent_work`]: how long its LLM and its tools took;
//!   [`paint`]: how lines look; [`problem`]: what a user has to correct; [`run_folder`]: what a run leaves on disk; [`screen`]: standard error
//!   with a line that changes in place; [`stored_events`]: the log of a conversation;
//! - [`files`]: files that are written whole or not at all.

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
    // A panic of the run is an outcome; this is one of the program around it, which its guardian reports.
    std::panic::catch_unwind(|| resources::on_enough_stack(start::start))
        .unwrap_or(ExitCode::from(outcome::ExitCode::INTERNAL.0))
}

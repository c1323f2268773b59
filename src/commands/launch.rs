//! `launch TASK`: uploads this program and the task to a sandbox and starts the run there, then exits or waits for the end of the
//! run.

use std::path::{Path, PathBuf};

use openhands_client::agent_server::AgentServer;
use openhands_client::http;
use openhands_client::ids::ConversationId;
use openhands_client::sandbox::copy;
use openhands_client::sandbox::exec::{Command, Output};
use openhands_client::sandbox::program::Program;
use openhands_client::sandbox::{Provider as _, Sandbox};
use openhands_client::text;
use serde_json::json;
use tokio::time::timeout;

use super::delivery::await_delivery;
use super::follow::{PassOn, start};
use super::task_file::TaskFile;
use super::upload::{TaskUpload, program_to_upload, run_flags};
use super::{CommandContext, UsableSandbox, until_signal};
use crate::cli::{LaunchArgs, ResultFormat};
use crate::input::settings::{Overrides, Settings};
use crate::input::time_limits::RunLimits;
use crate::outcome::{ExitCode, Failure};
use crate::plan::RunPlan;
use crate::prepare::provider::AnyProvider;
use crate::problem::Problems;
use crate::process::signals::Shutdown;
use crate::run_folder;

/// What is uploaded to the sandbox. It is checked before a sandbox is created.
struct Load {
    program: PathBuf,
    task: TaskUpload,
    conversation: ConversationId,
    /// Whether the run needs the id of the conversation as a flag. Otherwise it derives the same id from its own.
    names_conversation: bool,
}

/// What is in the sandbox.
struct Inside {
    program: Program,
    /// The run folder, if one is requested.
    out: String,
    /// The status file of the run, if there is a live view.
    status: String,
}

pub(super) async fn run(
    context: &CommandContext,
    args: LaunchArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let load = until_signal(shutdown, load(context, &args)).await?;
    let mut sandbox = context.sandbox(args.provider, &args.sandbox)?;
    let waits = args.wait || args.follow || args.out.is_some();
    // Before a sandbox is created.
    let out = args.out.as_deref().map(run_folder::make_empty).transpose().map_err(Failure::from)?;
    if waits {
        return context
            .within(sandbox, shutdown, async |usable, shutdown| {
                let inside = inside(context, &args, &load, &usable);
                let ended = async {
                    let command = until_signal(shutdown, prepare(context, &inside.program, &usable)).await?;
                    follow(context, &args, &load, &usable, &command, &inside.status, shutdown).await
                }
                .await;
                // The first signal ends the run and deletes the sandbox; the second one leaves the sandbox.
                if shutdown.received() < 2 && (args.sandbox.is_deleted() || out.is_some()) {
                    let limits = &context.environment.time_limits.run;
                    let rest = async {
                        await_delivery(&usable.ready.server, limits).await;
                        if let Some(out) = &out {
                            fetch(&usable.ready.server, &inside.out, out, limits).await;
                        }
                    };
                    tokio::select! {
                        () = rest => {}
                        _ = shutdown.requested() => {}
                    }
                }
                // If the run may continue in the sandbox, it still needs the folder.
                if shutdown.received() < 2 && (ended.is_ok() || shutdown.received() == 1) {
                    remove_folder(&inside.program, &usable.ready.server).await;
                }
                ended
            })
            .await;
    }
    let launched = launch(context, &args, &load, &mut sandbox, shutdown).await;
    if shutdown.received() > 1 {
        super::leave(sandbox);
        return launched;
    }
    tokio::select! {
        _ = sandbox.delete() => {}
        _ = shutdown.requested() => super::leave(sandbox),
    }
    launched
}

/// Starts the run and leaves it running.
async fn launch(
    context: &CommandContext,
    args: &LaunchArgs,
    load: &Load,
    sandbox: &mut Sandbox<AnyProvider>,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let prepared = until_signal(shutdown, async {
        let usable = context.ready(sandbox).await?;
        let Inside { program, .. } = inside(context, args, load, &usable);
        let command = prepare(context, &program, &usable).await?;
        Ok((usable, command))
    });
    let (usable, command) = prepared.await?;
    let running = start(&usable.ready.server, &command, shutdown).await?;
    // The run is using the sandbox.
    sandbox.keep();
    tokio::select! {
        () = tell(context, load, &usable, running.folder()) => Ok(ExitCode::COMPLETED),
        signal = shutdown.requested() => {
            tracing::warn!(sandbox = %usable.id, conversation_id = %load.conversation, "the run continues in the sandbox");
            Err(Failure::from(signal))
        }
    }
}

async fn load(context: &CommandContext, args: &LaunchArgs) -> Result<Load, Failure> {
    let params = args.overrides.params.clone();
    let flags = Overrides {
        conversation_id: args.overrides.conversation_id,
        agent_profile: args.overrides.agent_profile.clone(),
        params,
        provider: Some(args.provider.kind),
        ..Overrides::default()
    };
    let settings = Settings::from_env(context.raw(), &context.environment.not_text, flags);
    let task = TaskFile::read(args.task.clone()).await;
    // The same plan as inside, so that errors are reported before the upload.
    let (settings, parsed, task) = match (settings, task) {
        (Ok(settings), Ok(TaskFile { parsed, upload })) => (settings, parsed, upload),
        (settings, task) => {
            return Err(Failure::invalid(Problems::of(settings.err().into_iter().chain(task.err()))));
        }
    };
    let parsed = args.overrides.applied_to(parsed);
    let plan = RunPlan::new(settings.clone(), parsed, context.environment.time_limits.run).map_err(Failure::invalid)?;
    let program = program_to_upload(args.binary.as_deref())?;
    Ok(Load {
        program,
        task,
        conversation: plan.conversation.id,
        names_conversation: settings.run_id.is_none() || settings.conversation_id.is_some(),
    })
}

/// Copies the run folder out of the sandbox. A failure does not change the outcome of the run.
async fn fetch(server: &AgentServer, folder: &str, out: &Path, limits: &RunLimits) {
    // Copies the content of the folder, not the folder itself.
    let from = format!("{folder}/.");
    match timeout(limits.last_delivery, copy::download(server, &from, out)).await {
        Ok(Ok(copied)) => tracing::info!(path = %out.display(), files = copied.files, "run folder copied"),
        Ok(Err(error)) => tracing::error!(error = %text::chain(&error), "the run folder could not be copied"),
        Err(_) => tracing::error!("the run folder could not be copied within {} s", limits.last_delivery.as_secs()),
    }
}

/// Removes the files that the run was started with from a sandbox that may be kept.
async fn remove_folder(program: &Program, server: &AgentServer) {
    let limit = server.client.time_limits().tidy_up;
    let error = match timeout(limit, program.remove_folder(server)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => text::chain(&error),
        Err(_) => format!("no response within {} s", limit.as_secs()),
    };
    tracing::debug!(error, folder = program.folder(), "left behind in the sandbox");
}

/// Uploads everything to the sandbox, and returns the command that starts the run there.
async fn prepare(context: &CommandContext, program: &Program, usable: &UsableSandbox) -> Result<Command, Failure> {
    context.watch.begin_transfer("launch", "program and task", &usable.ready.server.client);
    program.install(&usable.ready.server).await.map_err(Failure::from)
}

/// Returns what runs in the sandbox, and the files that it creates.
fn inside(
    context: &CommandContext,
    args: &LaunchArgs,
    load: &Load,
    UsableSandbox { id, ready, provider }: &UsableSandbox,
) -> Inside {
    let names = load.names_conversation.then(|| ["--conversation-id".to_owned(), load.conversation.to_string()]);
    let program = provider.inside(Program::new(&load.program).probe("--version"), id, ready);
    let inside = |name: &str| format!("{}/{name}", program.folder());
    let (out, status) = (inside("out"), inside("status.json"));
    let folder = args.out.iter().map(|_| ["--out".to_owned(), out.clone()]);
    // Only needed for a live view.
    let state = context.watch.is_on().then(|| ["--status".to_owned(), status.clone()]);
    let exports = [("--junit", args.exports.junit), ("--trajectory", args.exports.trajectory)];
    let exports = exports.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag.to_owned());
    let flags = run_flags(&args.overrides, &args.common).into_iter();
    let flags = flags.chain(names.into_iter().chain(folder).chain(state).flatten()).chain(exports);
    let program = load.task.beside(program.arg("run").args(flags));
    let variables = context.raw().of_the_run();
    let program = variables.fold(program, |program, (name, value)| program.env(name, value));
    Inside { program, out, status }
}

/// Prints where the run can be watched.
async fn tell(context: &CommandContext, load: &Load, usable: &UsableSandbox, folder: &str) {
    let UsableSandbox { id, ready, provider } = usable;
    let (sandbox_url, flag) = (provider.page(id), provider.flag());
    let shown_url = sandbox_url.as_ref().map(|url| format!("  {url}")).unwrap_or_default();
    let conversation = load.conversation.to_string();
    let conversation_url = http::join(&ready.access.agent_server.url, &["api", "conversations", conversation.as_str()]);
    let text = format!(
        "sandbox       {id}{shown_url}\nconversation  {conversation}  {conversation_url}\nlog           openhands-runner exec{flag} --sandbox {id} -- cat {folder}/stderr"
    );
    let mut object = json!({
        "sandbox_id": id.as_str(),
        "conversation_id": conversation,
        "conversation_url": conversation_url.as_str(),
        "output": folder,
    });
    if let Some(url) = sandbox_url {
        object["sandbox_url"] = url.as_str().into();
    }
    context.tell(&text, &object).await;
}

/// Follows the run to its end. A signal ends the run in the sandbox, so that it can report its outcome.
async fn follow(
    context: &CommandContext,
    args: &LaunchArgs,
    load: &Load,
    UsableSandbox { id, ready, .. }: &UsableSandbox,
    command: &Command,
    status: &str,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    context.watch.begin("starting", "", None);
    let begun = || tracing::info!(sandbox = %id, conversation_id = %load.conversation, "the run is under way");
    // The run's own standard output already has the requested format.
    let mut pass_on = PassOn::new(ResultFormat::Text, context.watch.clone());
    let each = async |output| match output {
        Output::Stderr(_) if !args.follow => {}
        output => pass_on.take(output).await,
    };
    let run = super::follow::follow(&ready.server, command, shutdown, begun, each);
    tokio::select! {
        ended = run => ended,
        never = context.watch.follow_run(&ready.server, status) => never,
    }
}

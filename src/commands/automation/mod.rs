//! `automation create|list|show|run|logs|update|delete`.

mod create;
mod describe;
mod follow;
mod pack;
mod undo;
mod update;

use openhands_client::automation::{AutomationError, AutomationId, AutomationService, AutomationUpdate};
use serde_json::{Value, json};

use self::undo::drop_unused_upload;
use super::{CommandContext, until_signal};
use crate::cli::{AutomationCommand, DetailArgs};
use crate::input::services;
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::Shutdown;

/// The number of runs that `show` prints.
const SHOWN_RUNS: usize = 10;

pub(super) async fn run(
    context: &CommandContext,
    command: AutomationCommand,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    match command {
        AutomationCommand::Create(args) => create::run(context, *args, shutdown).await,
        AutomationCommand::Update(args) => update::run(context, *args, shutdown).await,
        AutomationCommand::List => until_signal(shutdown, list(context)).await,
        AutomationCommand::Show { id } => until_signal(shutdown, show(context, id)).await,
        AutomationCommand::Run { id, wait } => follow::run(context, id, wait, shutdown).await,
        AutomationCommand::Logs { id, run } => follow::logs(context, id, run, shutdown).await,
        AutomationCommand::Delete { ids } => until_signal(shutdown, delete(context, ids)).await,
    }
}

/// Returns the service that the environment names.
fn service(context: &CommandContext) -> Result<AutomationService, Failure> {
    let (url, key) = services::automation_service(context.raw()).map_err(Failure::invalid)?;
    Ok(AutomationService::with_http(context.http()?, url, key))
}

async fn list(context: &CommandContext) -> Result<ExitCode, Failure> {
    let all = service(context)?.list().await?;
    let rows: Vec<String> = all.iter().map(describe::row).collect();
    let objects: Vec<Value> = all.iter().map(describe::object).collect();
    context.tell(&rows.join("\n"), &json!({ "automations": objects })).await;
    Ok(ExitCode::COMPLETED)
}

async fn show(context: &CommandContext, id: AutomationId) -> Result<ExitCode, Failure> {
    let service = service(context)?;
    let (automation, runs) = tokio::try_join!(service.get(id), service.runs(id))?;
    let shown = &runs[..runs.len().min(SHOWN_RUNS)];
    let rows = shown.iter().map(describe::run_row);
    let text: Vec<String> = std::iter::once(describe::text(&automation)).chain(rows).collect();
    let mut object = describe::object(&automation);
    object["runs"] = shown.iter().map(describe::run_object).collect();
    context.tell(&text.join("\n"), &object).await;
    Ok(ExitCode::COMPLETED)
}

async fn delete(context: &CommandContext, ids: Vec<AutomationId>) -> Result<ExitCode, Failure> {
    let service = service(context)?;
    let (mut deleted, mut first_failure) = (Vec::new(), None);
    for id in ids {
        match delete_one(&service, id).await {
            Ok(()) => deleted.push(id.to_string()),
            Err(error) => {
                let failure = Failure::from(error);
                tracing::error!(automation_id = %id, error = failure.detail, "not deleted");
                first_failure.get_or_insert(failure);
            }
        }
    }
    if let Some(failure) = first_failure {
        return Err(failure);
    }
    context.tell("", &json!({ "deleted": deleted })).await;
    Ok(ExitCode::COMPLETED)
}

async fn delete_one(service: &AutomationService, id: AutomationId) -> Result<(), AutomationError> {
    let automation = service.get(id).await?;
    service.delete(id).await?;
    drop_unused_upload(service, &automation.tarball_path).await;
    Ok(())
}

/// Returns the name, limits, profiles and tags in the flags.
fn details(args: &DetailArgs) -> AutomationUpdate {
    let mut update = AutomationUpdate::default();
    if let Some(name) = &args.name {
        update = update.name(name);
    }
    if let Some(limit) = args.timeout {
        update = update.timeout(limit);
    }
    if let Some(profile) = &args.profile {
        update = update.model(profile);
    }
    if let Some(id) = &args.agent_profile {
        update = update.agent_profile_id(id);
    }
    if !args.tags.is_empty() {
        update = update.tags(&args.tags);
    }
    update
}

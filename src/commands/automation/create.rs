//! `automation create`: creates an automation from a task. If that fails, nothing of it stays on the service.

use openhands_client::automation::{Automation, AutomationService, NewAutomation};
use openhands_client::text;
use serde_json::json;

use super::super::{CommandContext, until_signal};
use super::pack::{Packed, pack};
use super::undo::{drop_upload, unless_signal};
use super::{describe, details, service};
use crate::cli::CreateArgs;
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::process::signals::Shutdown;

pub(super) async fn run(
    context: &CommandContext,
    args: CreateArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let Some(trigger) = args.trigger.trigger() else {
        return Err(Failure::new(FailureKind::Usage, "no trigger: give --cron or --event"));
    };
    let service = service(context)?;
    let packed = until_signal(shutdown, pack(context, args.task.clone(), &trigger, &args.pack)).await?;
    let Packed { tarball, entrypoint, name, description, timeout } = packed;
    let name = args.detail.name.clone().unwrap_or(name);
    let tarball = unless_signal(context, shutdown, service.upload(&name, tarball), async |made| {
        drop_upload(&service, &made).await;
    })
    .await?;

    let mut more = details(&args.detail);
    if let Some(limit) = timeout.filter(|_| args.detail.timeout.is_none()) {
        more = more.timeout(limit);
    }
    if let Some(description) = description {
        more = more.description(description);
    }
    let new = NewAutomation::new(name, trigger, tarball.clone(), entrypoint).with(more);
    let created = unless_signal(context, shutdown, service.create(&new), async |made: Automation| {
        if let Err(error) = service.delete(made.id).await {
            tracing::warn!(automation_id = %made.id, error = %text::chain(&error), "the automation stays");
        }
    })
    .await;
    match created {
        Ok(automation) => {
            tell(context, &service, &automation).await;
            Ok(ExitCode::COMPLETED)
        }
        Err(failure) => {
            drop_upload(&service, &tarball).await;
            Err(failure)
        }
    }
}

async fn tell(context: &CommandContext, service: &AutomationService, automation: &Automation) {
    let id = automation.id;
    let next = format!(
        "\nnext\n  openhands-runner automation run {id} --wait   # a run now\n  openhands-runner automation show {id}         # its last runs"
    );
    let mut object = describe::object(automation);
    object["url"] = json!(service.url().as_str());
    context.tell(&(describe::text(automation) + &next), &object).await;
}

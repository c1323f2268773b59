//! `sandbox create|list|status|pause|resume|delete`.

use openhands_client::cloud::Sandboxes;
use openhands_client::cloud::sandboxes::SandboxInfo;
use openhands_client::ids::SandboxId;
use openhands_client::retry::{Policy, retry};
use openhands_client::sandbox::ready::Ready;
use openhands_client::sandbox::{Provider as _, SandboxError};
use openhands_client::text;
use serde_json::{Value, json};

use super::{CommandContext, UsableSandbox, until_signal};
use crate::cli::{NewSandboxArgs, ProviderArgs, ProvisionArgs, SandboxCommand};
use crate::input::services;
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::Shutdown;

pub(super) async fn run(
    context: &CommandContext,
    command: SandboxCommand,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    if let SandboxCommand::Create { provider, new } = command {
        return create(context, provider, new, shutdown).await;
    }
    until_signal(shutdown, act(context, command)).await
}

async fn act(context: &CommandContext, command: SandboxCommand) -> Result<ExitCode, Failure> {
    let failed = |error: SandboxError| Failure::from(error);
    match command {
        SandboxCommand::Create { .. } => unreachable!("handled by its caller"),
        SandboxCommand::List => list(context).await?,
        SandboxCommand::Status { id } => {
            let info = status(&cloud(context)?, &SandboxId::new(id)).await.map_err(failed)?;
            context.tell(&info.status.to_string(), &object(&info)).await;
        }
        SandboxCommand::Pause { id, provider } => {
            let id = SandboxId::new(id);
            let provider = context.provider(provider, &ProvisionArgs::default())?.of(&id);
            retry("pausing the sandbox", Policy::cloud(provider.http().time_limits()), || provider.pause(&id))
                .await
                .map_err(failed)?;
            context.tell("", &json!({"id": id.as_str(), "status": "PAUSED"})).await;
        }
        SandboxCommand::Resume { id, provider, times } => {
            let id = SandboxId::new(id);
            let provider = context.provider(provider, &times)?.of(&id);
            retry("resuming the sandbox", Policy::cloud(provider.http().time_limits()), || provider.resume(&id))
                .await
                .map_err(failed)?;
            let mut sandbox = provider.existing(&id);
            sandbox.keep();
            let ready = sandbox.ready().await.map_err(failed)?;
            context.tell("", &usable(&id, &ready)).await;
        }
        SandboxCommand::Delete { ids, provider } => {
            let provider = context.provider(provider, &ProvisionArgs::default())?;
            let (mut deleted, mut first_failure) = (Vec::new(), None);
            for id in ids.into_iter().map(SandboxId::new) {
                let provider = provider.clone().of(&id);
                let policy = Policy::cloud(provider.http().time_limits());
                match retry("deleting the sandbox", policy, || provider.delete(&id)).await {
                    Ok(()) => deleted.push(id.to_string()),
                    Err(error) => {
                        tracing::error!(sandbox = %id, error = %text::chain(&error), "not deleted");
                        first_failure.get_or_insert(error);
                    }
                }
            }
            if let Some(error) = first_failure {
                return Err(failed(error));
            }
            context.tell("", &json!({ "deleted": deleted })).await;
        }
    }
    Ok(ExitCode::COMPLETED)
}

async fn create(
    context: &CommandContext,
    provider: ProviderArgs,
    provision: ProvisionArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let mut sandbox = context.sandbox(provider, &NewSandboxArgs { provision, ..NewSandboxArgs::default() })?;
    let ready = until_signal(shutdown, context.ready(&mut sandbox)).await;
    // Once its id is printed, the sandbox belongs to the user.
    if let Ok(UsableSandbox { id, ready, .. }) = &ready {
        context.tell(id.as_str(), &usable(id, ready)).await;
        sandbox.keep();
    }
    tokio::select! {
        _ = sandbox.delete() => {}
        _ = shutdown.requested() => super::leave(sandbox),
    }
    ready.map(|_| ExitCode::COMPLETED)
}

/// Returns the sandboxes of the Cloud account.
fn cloud(context: &CommandContext) -> Result<Sandboxes, Failure> {
    let http = context.http()?;
    let limit = http.time_limits().sandbox_request;
    Ok(Sandboxes::new(http, services::cloud_api(context.raw()).map_err(Failure::invalid)?, limit))
}

async fn status(sandboxes: &Sandboxes, id: &SandboxId) -> Result<SandboxInfo, SandboxError> {
    let found =
        retry("reading the status of the sandbox", Policy::cloud(sandboxes.http().time_limits()), || sandboxes.get(id))
            .await;
    let found = found.map_err(SandboxError::request("reading the status of the sandbox"))?;
    found.ok_or_else(|| SandboxError::Gone { id: id.clone() })
}

async fn list(context: &CommandContext) -> Result<(), Failure> {
    let sandboxes = cloud(context)?;
    let mut all = Vec::new();
    let mut page_id = None::<String>;
    loop {
        let page = retry("listing the sandboxes", Policy::cloud(sandboxes.http().time_limits()), || {
            sandboxes.search(page_id.as_deref())
        });
        let page = page.await.map_err(SandboxError::request("listing the sandboxes")).map_err(Failure::from)?;
        all.extend(page.items);
        if page.next_page_id.is_none() || page.next_page_id == page_id {
            break;
        }
        page_id = page.next_page_id;
    }
    let rows: Vec<String> = all.iter().map(row).collect();
    context.tell(&rows.join("\n"), &json!({"sandboxes": all.iter().map(object).collect::<Vec<_>>()})).await;
    Ok(())
}

fn row(info: &SandboxInfo) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    format!("{}\t{}\t{}\t{}", info.id, info.status, text(&info.created_at), text(&info.sandbox_spec_id))
}

/// Returns everything except the key.
fn object(info: &SandboxInfo) -> Value {
    json!({
        "id": info.id,
        "status": info.status.to_string(),
        "created_at": info.created_at,
        "sandbox_spec_id": info.sandbox_spec_id,
        "agent_server_url": info.agent_server().map(|(url, _)| url.to_string()),
    })
}

fn usable(id: &SandboxId, ready: &Ready) -> Value {
    json!({"id": id.as_str(), "status": "RUNNING", "agent_server_url": ready.access.agent_server.url.as_str()})
}

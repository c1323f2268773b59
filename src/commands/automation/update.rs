//! `automation update`: changes what the flags name, and keeps the rest.

use super::super::{CommandContext, until_signal};
use super::pack::{Packed, pack};
use super::undo::{drop_unused_upload, drop_upload, unless_signal};
use super::{describe, details, service};
use crate::cli::UpdateArgs;
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::process::signals::Shutdown;

pub(super) async fn run(
    context: &CommandContext,
    args: UpdateArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let mut update = details(&args.detail);
    if args.no_tags {
        update = update.tags([""; 0]);
    }
    if args.enable || args.disable {
        update = update.active(args.enable);
    }
    let trigger = args.trigger.trigger();
    if let Some(trigger) = &trigger {
        update = update.trigger(trigger.clone());
    }
    let packs = args.task.is_some();
    if !packs && (args.pack.runner.is_some() || !args.pack.params.is_empty()) {
        return Err(Failure::new(FailureKind::Usage, "--runner and --param are packed with a task: name its file too"));
    }
    if !packs && update.is_empty() {
        let words = "nothing to change: name a task file or a flag (`openhands-runner automation update --help`)";
        return Err(Failure::new(FailureKind::Usage, words));
    }
    let service = service(context)?;
    let before = until_signal(shutdown, async { Ok(service.get(args.id).await?) }).await?;
    let tarball = if packs {
        let trigger = trigger.as_ref().unwrap_or(&before.trigger);
        let packed = until_signal(shutdown, pack(context, args.task.clone(), trigger, &args.pack)).await?;
        let Packed { tarball, entrypoint, timeout, .. } = packed;
        let tarball = unless_signal(context, shutdown, service.upload(&before.name, tarball), async |made| {
            drop_upload(&service, &made).await;
        })
        .await?;
        update = update.tarball(tarball.clone()).entrypoint(entrypoint);
        if let Some(limit) = timeout.filter(|_| args.detail.timeout.is_none()) {
            update = update.timeout(limit);
        }
        Some(tarball)
    } else {
        None
    };
    let changed = until_signal(shutdown, async { Ok(service.update(args.id, &update).await?) }).await;
    match (changed, tarball) {
        (Ok(automation), tarball) => {
            if tarball.is_some() {
                drop_unused_upload(&service, &before.tarball_path).await;
            }
            context.tell(&describe::text(&automation), &describe::object(&automation)).await;
            Ok(ExitCode::COMPLETED)
        }
        // The service may have made the change.
        (Err(failure), Some(tarball)) => {
            drop_unused_upload(&service, &tarball).await;
            Err(failure)
        }
        (Err(failure), None) => Err(failure),
    }
}

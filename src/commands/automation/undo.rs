//! Undoes steps after a signal or a failure of a later step.

use openhands_client::automation::{AutomationService, Tarball};
use openhands_client::text;
use tokio::pin;
use tokio::time::timeout;

use super::CommandContext;
use crate::outcome::Failure;
use crate::process::signals::Shutdown;

/// Returns the end of `step`. If a signal comes first, this waits a short time for the request in progress, so that `undo` can
/// undo what the request has created.
pub(super) async fn unless_signal<T, E: Into<Failure>>(
    context: &CommandContext,
    shutdown: &mut Shutdown,
    step: impl Future<Output = Result<T, E>>,
    undo: impl AsyncFnOnce(T),
) -> Result<T, Failure> {
    pin!(step);
    let signal = tokio::select! {
        ended = &mut step => return ended.map_err(Into::into),
        signal = shutdown.requested() => signal,
    };
    let limit = context.environment.time_limits.client.tidy_up;
    let undone = timeout(limit, async {
        if let Ok(made) = step.await {
            undo(made).await;
        }
    });
    if undone.await.is_err() {
        tracing::warn!("the automation service did not respond in time: it may keep what was under way");
    }
    Err(Failure::from(signal))
}

/// Deletes the tarball after a failed step. If that fails too, it logs a warning, because the first failure is the one to report.
pub(super) async fn drop_upload(service: &AutomationService, tarball: &Tarball) {
    if let Err(error) = service.delete_upload(tarball).await {
        tracing::warn!(error = %text::chain(&error), %tarball, "the unused tarball stays on the service");
    }
}

/// Does the same for a tarball that an automation may be using.
pub(super) async fn drop_unused_upload(service: &AutomationService, tarball: &Tarball) {
    match service.list().await {
        Ok(all) if all.iter().any(|automation| automation.tarball_path == *tarball) => {}
        Ok(_) => drop_upload(service, tarball).await,
        Err(error) => {
            tracing::warn!(error = %text::chain(&error), %tarball, "it is unknown whether the tarball is used: it stays");
        }
    }
}

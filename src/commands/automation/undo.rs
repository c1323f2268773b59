//! Steps that a signal or a failure of a later step takes back.

use openhands_client::automation::{AutomationService, Tarball};
use openhands_client::text;
use tokio::pin;
use tokio::time::timeout;

use super::CommandContext;
use crate::outcome::Failure;
use crate::process::signals::Shutdown;

/// The end of `step`. If a signal comes first, the request that is under way is awaited for a short time, so that `undo` can take
/// back what it has made.
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

/// Deletes the tarball of a step that has failed. A failure is a warning: the other one counts.
pub(super) async fn drop_upload(service: &AutomationService, tarball: &Tarball) {
    if let Err(error) = service.delete_upload(tarball).await {
        tracing::warn!(error = %text::chain(&error), %tarball, "the unused tarball stays on the service");
    }
}

/// The same for a tarball that an automation may use.
pub(super) async fn drop_unused_upload(service: &AutomationService, tarball: &Tarball) {
    match service.list().await {
        Ok(all) if all.iter().any(|automation| automation.tarball_path == *tarball) => {}
        Ok(_) => drop_upload(service, tarball).await,
        Err(error) => {
            tracing::warn!(error = %text::chain(&error), %tarball, "it is unknown whether the tarball is used: it stays");
        }
    }
}

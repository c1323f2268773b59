//! Deletes a sandbox, also from places that cannot await.

use tokio::time::timeout;

use super::blocking_cleanup::blocking_cleanup;
use super::{Provider, SandboxError};
use crate::ids::SandboxId;
use crate::retry::{Policy, retry};
use crate::text;

pub(super) async fn delete<P: Provider>(provider: &P, id: &SandboxId) -> Result<(), SandboxError> {
    let deleted =
        retry("deleting the sandbox", Policy::cloud(provider.http().time_limits()), || provider.delete(id)).await;
    match &deleted {
        Ok(()) => tracing::info!(sandbox = %id, "sandbox deleted"),
        Err(error) => {
            tracing::error!(sandbox = %id, error = %text::chain(error), "the sandbox could not be deleted");
        }
    }
    deleted
}

/// Runs cleanup work from a place that cannot await.
pub(super) fn blocking<P, W>(provider: &P, work: W)
where
    P: Provider,
    W: AsyncFnOnce(P) -> Result<(), SandboxError> + Send + 'static,
{
    let Some(provider) = provider.with_fresh_connections() else { return };
    let limit = provider.http().time_limits().sandbox_drop;
    blocking_cleanup("sandbox-cleanup", async move || match timeout(limit, work(provider)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = %text::chain(&error), "a sandbox may be left"),
        Err(_) => tracing::error!("a sandbox may be left: it could not be deleted in time"),
    });
}

//! The sandbox that the flags describe.

use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::sandbox::{Provider as _, Sandbox};

use super::provider::AnyProvider;
use crate::cli::NewSandboxArgs;
use crate::input::env::RawEnv;
use crate::input::services::ProviderSettings;

/// The sandbox that the flags describe, asked for. One that was there before stays.
pub(crate) fn sandbox_of(
    settings: &ProviderSettings,
    args: &NewSandboxArgs,
    http: Http,
    raw: &RawEnv,
) -> Sandbox<AnyProvider> {
    let provider = AnyProvider::new(settings, &args.provision, http, raw);
    let mut sandbox = match &args.id {
        Some(id) => provider.existing(&SandboxId::new(id.trim())),
        None => Sandbox::create(provider),
    };
    if !args.is_deleted() {
        sandbox.keep();
    }
    sandbox
}

/// Abandons a sandbox that could not be deleted, and informs the user.
pub(crate) fn leave(sandbox: Sandbox<AnyProvider>) {
    if !sandbox.is_settled() {
        let (flag, in_advance) = (sandbox.provider().flag(), sandbox.provider().id_in_advance());
        match (sandbox.id(), in_advance) {
            (Some(_), _) if sandbox.is_kept() => {}
            (Some(id), _) => {
                tracing::warn!("sandbox {id} may be left: delete it with `openhands-runner sandbox delete{flag} {id}`");
            }
            (None, Some(id)) => tracing::warn!(
                "sandbox {id} was being created and may be left: delete it with `openhands-runner sandbox delete{flag} {id}`"
            ),
            (None, None) => tracing::warn!(
                "a sandbox was being created and may be left: look with `openhands-runner sandbox list`, and delete it"
            ),
        }
    }
    sandbox.forget();
}

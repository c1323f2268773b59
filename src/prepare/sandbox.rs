//! The sandbox that the flags describe.

use openhands_client::cloud::{CloudKey, Sandboxes};
use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::sandbox::Sandbox;
use openhands_client::sandbox::providers::cloud::CloudProvider;

use crate::cli::{NewSandboxArgs, TimesArgs};
use crate::input::env::RawEnv;

/// The provider that the flags describe.
pub(crate) fn provider(times: &TimesArgs, key: &CloudKey, http: Http, raw: &RawEnv) -> CloudProvider {
    let limits = *http.time_limits();
    CloudProvider {
        sandboxes: Sandboxes::new(http, key.clone(), times.api_timeout(&limits)),
        spec: times.sandbox_spec.clone().or_else(|| raw.openhands_sandbox_spec_id.clone()),
        init_timeout: times.init_timeout(&limits),
    }
}

/// The sandbox that the flags describe, asked for. One that was there before stays.
pub(crate) fn sandbox_of(args: &NewSandboxArgs, key: &CloudKey, http: Http, raw: &RawEnv) -> Sandbox<CloudProvider> {
    let provider = provider(&args.times, key, http, raw);
    let mut sandbox = match &args.id {
        Some(id) => Sandbox::existing(provider, SandboxId::new(id.trim())),
        None => Sandbox::create(provider),
    };
    if !args.is_deleted() {
        sandbox.keep();
    }
    sandbox
}

/// Gives a sandbox up that could not be deleted, and tells the user.
pub(crate) fn leave(sandbox: Sandbox<CloudProvider>) {
    if !sandbox.is_settled() {
        match sandbox.id() {
            Some(_) if sandbox.is_kept() => {}
            Some(id) => {
                tracing::warn!("sandbox {id} may be left: delete it with `openhands-runner sandbox delete {id}`");
            }
            None => tracing::warn!(
                "a sandbox was being made and may be left: look with `openhands-runner sandbox list`, and delete it"
            ),
        }
    }
    sandbox.forget();
}

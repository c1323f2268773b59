//! Creates a sandbox: which requests are retried, when creation stops, and how the result of a failed request is cleaned up.
//!
//! Two parties share a [`CreationGuard`]: the owner ([`super::Sandbox`]), who lowers the intent, and the task that runs [`make`].
//! The task is in one of these states:
//!
//! | state | holds | if it is dropped, or not wanted any more |
//! | --- | --- | --- |
//! | lists the existing sandboxes | nothing | ends |
//! | request in progress | the mutex, [`Leftover::Requested`] | not wanted: ends after the request; dropped: looks for the leftover |
//! | request failed, searching for the leftover | the mutex, [`Leftover::Requested`] | not wanted: finishes; dropped: starts over |
//! | created | [`Leftover::Created`] | deletes the sandbox |
//! | taken by the owner | nothing | the owner deletes it |
//!
//! Because of the mutex, the owner waits for a request in progress and so learns of its sandbox. A dropped state does its cleanup
//! on a separate thread, for at most 30 s ([`crate::time_limits::TimeLimits::sandbox_drop`]). After [`Intent::Forgotten`] nothing
//! is deleted.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::deletion::{blocking, delete};
use super::leftover::{Sighting, Verdict};
use super::{Provider, SandboxError};
use crate::http::HttpError;
use crate::ids::SandboxId;
use crate::retry::{Policy, Retry, Retryable, retry};
use crate::text;

/// What the owner wants to happen to the sandbox. The value only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Intent {
    /// Create the sandbox.
    Wanted,
    /// Do not request the sandbox any more; if it exists, delete it.
    Unwanted,
    /// Do not delete the sandbox either: the owner has left it to the user.
    Forgotten,
}

/// The state that is shared by the owner of a sandbox and the task that creates it.
#[derive(Debug)]
pub(super) struct CreationGuard {
    intent: watch::Sender<Intent>,
    /// Held while a request for a sandbox is in progress, or while its leftover is searched for.
    under_way: Mutex<()>,
}

impl CreationGuard {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { intent: watch::Sender::new(Intent::Wanted), under_way: Mutex::new(()) })
    }

    pub(super) fn lower(&self, to: Intent) {
        self.intent.send_if_modified(|intent| {
            let lowers = *intent < to;
            *intent = to.max(*intent);
            lowers
        });
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self.intent.borrow() == Intent::Wanted
    }

    pub(super) fn is_forgotten(&self) -> bool {
        *self.intent.borrow() == Intent::Forgotten
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.try_lock().is_err()
    }

    /// Waits until the sandbox is no longer wanted and no request is in progress.
    async fn given_up(&self) {
        // This value owns the sender, so the wait cannot fail.
        let _ = self.intent.subscribe().wait_for(|intent| *intent != Intent::Wanted).await;
        let _no_request = self.under_way.lock().await;
    }
}

/// Undoes a creation when it is dropped, unless the owner has forgotten the sandbox. This is the only `Drop` in this module.
#[derive(Debug)]
struct Undo<P: Provider> {
    provider: P,
    guard: Arc<CreationGuard>,
    what: Option<Leftover<P>>,
}

/// What may exist of a sandbox.
#[derive(Debug)]
enum Leftover<P: Provider> {
    /// A request was sent, and its result is unknown.
    Requested(Asked<P>),
    /// A sandbox that its owner has not taken.
    Created(SandboxId),
}

impl<P: Provider> Drop for Undo<P> {
    fn drop(&mut self) {
        let Some(what) = self.what.take().filter(|_| !self.guard.is_forgotten()) else { return };
        blocking(&self.provider, async move |provider: P| match what {
            Leftover::Created(id) => delete(&provider, &id).await,
            Leftover::Requested(asked) => {
                let source = Box::new(stopped());
                let cleaned = clean_up(&provider, &asked).await;
                cleaned.map_err(|candidates| SandboxError::MayBeLeft { flag: provider.flag(), candidates, source })
            }
        });
    }
}

/// A new sandbox that is deleted unless its owner takes it.
#[derive(Debug)]
pub(super) struct CreatedSandbox<P: Provider> {
    id: SandboxId,
    undo: Undo<P>,
}

impl<P: Provider> CreatedSandbox<P> {
    pub(super) fn taken(mut self) -> SandboxId {
        self.undo.what = None;
        self.id
    }

    /// Deletes the sandbox, because its owner is gone.
    pub(super) async fn delete(mut self) {
        if !self.undo.guard.is_forgotten() {
            tracing::info!(sandbox = %self.id, "the new sandbox is no longer needed: deleting it");
            // The failure is logged. If this future is dropped, `Drop` deletes the sandbox.
            let _ = delete(&self.undo.provider, &self.id).await;
        }
        self.undo.what = None;
    }
}

pub(super) fn stopped() -> SandboxError {
    SandboxError::Other { doing: "creating the sandbox", reason: "it was abandoned".to_owned() }
}

/// Creates a sandbox. A request is retried only if the server has said that it created none and that the reason is temporary
/// (429): for a short time if the rate limit is reached, and for longer if the account has reached its limit of sandboxes. If the
/// sandbox is no longer wanted, this function returns as soon as no request is in progress.
pub(super) async fn make<P: Provider>(
    provider: P,
    guard: Arc<CreationGuard>,
) -> Result<CreatedSandbox<P>, SandboxError> {
    let limits = *provider.http().time_limits();
    let at_rate = || async {
        let attempt = || attempt(provider.clone(), Arc::clone(&guard));
        retry("creating the sandbox", Policy::cloud(&limits), attempt).await.map_err(NoCapacity)
    };
    let attempts = retry("waiting for a place for the sandbox", Policy::capacity(&limits), at_rate);
    tokio::select! {
        biased;
        made = attempts => made.map_err(|NoCapacity(NotMade::NotYet(error) | NotMade::Failed(error))| error),
        () = guard.given_up() => Err(stopped()),
    }
}

/// An error after which no sandbox exists.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    /// The account has sent too many requests.
    #[error(transparent)]
    NotYet(SandboxError),
    #[error(transparent)]
    Failed(SandboxError),
}

impl Retryable for NotMade {
    fn retry(&self) -> Retry {
        match self {
            Self::NotYet(error) => error.retry(),
            Self::Failed(_) => Retry::No,
        }
    }
}

/// The same for an account that has reached its limit of sandboxes, until another sandbox ends.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct NoCapacity(NotMade);

impl Retryable for NoCapacity {
    fn retry(&self) -> Retry {
        match &self.0 {
            NotMade::NotYet(SandboxError::LimitReached { retry_after, .. }) => {
                retry_after.map_or(Retry::Soon, Retry::After)
            }
            _ => Retry::No,
        }
    }
}

/// A request for a sandbox that was sent.
#[derive(Debug, Clone)]
struct Asked<P: Provider> {
    mark: P::Mark,
    at: Instant,
    /// Whether the server has said that it created no sandbox.
    refused: bool,
}

/// Makes one attempt. What a failed attempt may have created is cleaned up, even if the attempt is dropped.
async fn attempt<P: Provider>(provider: P, guard: Arc<CreationGuard>) -> Result<CreatedSandbox<P>, NotMade> {
    let mark =
        retry("listing the sandboxes", Policy::cloud_read(provider.http().time_limits()), || provider.mark()).await;
    let mark = mark.map_err(NotMade::Failed)?;
    let _under_way = guard.under_way.lock().await;
    if !guard.is_wanted() {
        return Err(NotMade::Failed(stopped()));
    }
    let mut asked = Asked { mark, at: Instant::now(), refused: false };
    let what = Some(Leftover::Requested(asked.clone()));
    // It is dropped before the lock is released.
    let mut undo = Undo { provider: provider.clone(), guard: Arc::clone(&guard), what };
    let error = match provider.create(&asked.mark).await {
        Ok(id) => {
            tracing::info!(sandbox = %id, "sandbox created");
            undo.what = Some(Leftover::Created(id.clone()));
            return Ok(CreatedSandbox { id, undo });
        }
        Err(error) => error,
    };
    let status = error.http().and_then(HttpError::status);
    asked.refused = status.is_some();
    undo.what = Some(Leftover::Requested(asked.clone()));
    let is_full = matches!(error, SandboxError::LimitReached { .. });
    let made_none = is_full || status == Some(429) || !error.http().is_some_and(may_have_made_one);
    let left = if made_none {
        Ok(())
    } else {
        tracing::warn!(error = %text::chain(&error), "create request failed; checking whether a sandbox was created anyway");
        clean_up(&provider, &asked).await
    };
    undo.what = None;
    Err(match left {
        Ok(()) if status == Some(429) || is_full => NotMade::NotYet(error),
        Ok(()) => NotMade::Failed(error),
        Err(candidates) => {
            let (flag, source) = (provider.flag(), Box::new(error));
            NotMade::Failed(SandboxError::MayBeLeft { flag, candidates, source })
        }
    })
}

/// Returns whether the server may have created a sandbox. If the response is ambiguous, it may have.
fn may_have_made_one(error: &HttpError) -> bool {
    error.is_ambiguous()
        || matches!(error, HttpError::Page { .. } | HttpError::Unexpected { .. } | HttpError::TooLarge { .. })
}

/// Searches for the sandbox that a failed request has created, and deletes it if it is certainly ours ([`super::leftover`]).
/// Otherwise returns the candidates as the error; if the provider could not list them, the sandbox whose id is known in advance.
async fn clean_up<P: Provider>(provider: &P, asked: &Asked<P>) -> Result<(), Vec<SandboxId>> {
    let limits = provider.http().time_limits();
    let patience = if asked.refused { limits.confirm_again } else { limits.sandbox_shows_up };
    let until = Instant::now() + patience;
    let mut before: Option<Vec<SandboxId>> = None;
    loop {
        let listed = retry("looking for the sandbox", Policy::cloud(limits), || provider.made_since(&asked.mark)).await;
        let listed = listed.map_err(|error| {
            tracing::error!(error = %text::chain(&error), "cannot find out whether a sandbox is left");
            provider.id_in_advance().into_iter().collect::<Vec<_>>()
        })?;
        let sighting = Sighting {
            listed: listed.len(),
            listed_before: before.as_ref().map(Vec::len),
            is_unchanged: before.as_ref() == Some(&listed),
            knows_its_own: provider.knows_its_own(),
            refused: asked.refused,
            had_time_to_show: asked.at.elapsed() >= limits.sandbox_listed,
            is_late: Instant::now() >= until,
        };
        match (sighting.verdict(), listed.as_slice()) {
            (Verdict::Ours, [ours, ..]) => return delete(provider, ours).await.map_err(|_| listed),
            (Verdict::Nothing, _) | (Verdict::Ours, []) => return Ok(()),
            (Verdict::Uncertain, _) => return Err(listed),
            (Verdict::LookAgain, _) => {
                before = Some(listed);
                sleep(limits.confirm_again).await;
            }
        }
    }
}

//! Creates a sandbox: what is retried, what ends it, and what a failed request has left.
//!
//! Two parties share a [`CreationGuard`]: the owner ([`super::Sandbox`]), who lowers the intent, and the task that runs [`make`]. The
//! task is in one of these states:
//!
//! | state | holds | dropped, or not wanted any more |
//! | --- | --- | --- |
//! | looks at the existing sandboxes | nothing | ends |
//! | request under way | the mutex, [`Leftover::Requested`] | not wanted: ends after the request; dropped: looks for the leftover |
//! | request failed, leftover looked for | the mutex, [`Leftover::Requested`] | not wanted: finishes; dropped: starts over |
//! | created | [`Leftover::Created`] | deletes the sandbox |
//! | taken by the owner | nothing | the owner deletes it |
//!
//! The mutex makes the owner wait for a request under way instead of leaving its sandbox unknown. A dropped state does its work on a
//! thread of its own, at most 30 s ([`crate::time_limits::TimeLimits::sandbox_drop`]). After [`Intent::Forgotten`] nothing is deleted.

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

/// What the owner wants of the sandbox. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Intent {
    /// It is to be created.
    Wanted,
    /// It is not to be requested any more; if it exists, it is deleted.
    Unwanted,
    /// It is not even deleted: the owner has left it to the user.
    Forgotten,
}

/// What the owner of a sandbox and the task that creates it share.
#[derive(Debug)]
pub(super) struct CreationGuard {
    intent: watch::Sender<Intent>,
    /// Held while a request for a sandbox is under way, or while its leftover is looked for.
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

    /// Waits until the sandbox is not wanted any more and no request is under way.
    async fn given_up(&self) {
        // The sender is ours, so this cannot fail.
        let _ = self.intent.subscribe().wait_for(|intent| *intent != Intent::Wanted).await;
        let _no_request = self.under_way.lock().await;
    }
}

/// What has to be undone if it is dropped, unless the owner has forgotten the sandbox: the one `Drop` of this module.
#[derive(Debug)]
struct Undo<P: Provider> {
    provider: P,
    guard: Arc<CreationGuard>,
    what: Option<Leftover<P>>,
}

/// What there may be of a sandbox.
#[derive(Debug)]
enum Leftover<P: Provider> {
    /// A request was sent, and its end is unknown.
    Requested(Asked<P>),
    /// A sandbox that no one has taken.
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

/// A sandbox that is deleted unless its owner takes it.
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

    /// Deletes it: its owner is gone.
    pub(super) async fn delete(mut self) {
        if !self.undo.guard.is_forgotten() {
            tracing::info!(sandbox = %self.id, "the new sandbox is no longer needed: deleting it");
            // A failure is in the log. If this is cut off, `Drop` deletes it.
            let _ = delete(&self.undo.provider, &self.id).await;
        }
        self.undo.what = None;
    }
}

pub(super) fn stopped() -> SandboxError {
    SandboxError::Other { doing: "creating the sandbox", reason: "it was abandoned".to_owned() }
}

/// Creates a sandbox. A request is retried only if the server has said that it made none, and why that will pass (429): for a short
/// time where it is asked too often, and for longer where the account has reached its limit of sandboxes. When the
/// sandbox is not wanted any more, this ends as soon as no request is under way.
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

/// No sandbox was made.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    /// The account asks too much at the moment.
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

/// The same for an account that may have no more sandboxes at the moment, which passes when another one ends.
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
    /// Whether the server has said that it made none.
    refused: bool,
}

/// One attempt. What a failed attempt may have created is cleaned up, also if the attempt is dropped.
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
    // Dropped before the lock is released.
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

/// Whether the server may have created a sandbox. If its response cannot be understood, it may have.
fn may_have_made_one(error: &HttpError) -> bool {
    error.is_ambiguous()
        || matches!(error, HttpError::Page { .. } | HttpError::Unexpected { .. } | HttpError::TooLarge { .. })
}

/// Looks for the sandbox that a failed request has left, and deletes it if it is certainly ours ([`super::leftover`]). Otherwise the
/// candidates are the error; if the provider could not be asked, the one whose id is known in advance.
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

//! Making a sandbox: what is tried again, what ends it, and what a failed request has left.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::deletion::{blocking, delete};
use super::{Provider, SandboxError};
use crate::http::HttpError;
use crate::ids::SandboxId;
use crate::retry::{Policy, Retry, Retryable, retry};
use crate::text;

/// What is wanted of the sandbox. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Intent {
    Wanted,
    /// Not to be asked for any more, and to be deleted.
    Unwanted,
    /// Not even to be deleted.
    Forgotten,
}

/// What the owner of a sandbox and the task that makes it know of each other.
#[derive(Debug)]
pub(super) struct CreationGuard {
    wish: watch::Sender<Intent>,
    /// Held while a request for a sandbox is under way, or what it has left is looked for.
    under_way: Mutex<()>,
}

impl CreationGuard {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { wish: watch::Sender::new(Intent::Wanted), under_way: Mutex::new(()) })
    }

    pub(super) fn lower(&self, to: Intent) {
        self.wish.send_if_modified(|wish| {
            let lowers = *wish < to;
            *wish = to.max(*wish);
            lowers
        });
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self.wish.borrow() == Intent::Wanted
    }

    pub(super) fn is_forgotten(&self) -> bool {
        *self.wish.borrow() == Intent::Forgotten
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.try_lock().is_err()
    }

    /// Waits until nobody wants it any more and nothing is under way.
    async fn given_up(&self) {
        // The sender is ours, so that this cannot fail.
        let _ = self.wish.subscribe().wait_for(|wish| *wish != Intent::Wanted).await;
        let _none_is_under_way = self.under_way.lock().await;
    }
}

/// A sandbox that is deleted when nobody takes it.
#[derive(Debug)]
pub(super) struct CreatedSandbox<P: Provider> {
    provider: P,
    id: Option<SandboxId>,
    order: Arc<CreationGuard>,
}

impl<P: Provider> CreatedSandbox<P> {
    pub(super) fn taken(mut self) -> SandboxId {
        self.id.take().expect("a sandbox that was made has an id")
    }

    /// Nobody waits for it any more.
    pub(super) async fn delete(mut self) {
        if let (Some(id), false) = (&self.id, self.order.is_forgotten()) {
            tracing::info!(sandbox = %id, "nobody waits for the new sandbox any more: deleting it");
            // A failure is in the log. Cut off, it is for `Drop` to do.
            let _ = delete(&self.provider, id).await;
        }
        self.id = None;
    }
}

impl<P: Provider> Drop for CreatedSandbox<P> {
    fn drop(&mut self) {
        if let (Some(id), false) = (self.id.take(), self.order.is_forgotten()) {
            blocking(&self.provider, async move |provider: P| delete(&provider, &id).await);
        }
    }
}

pub(super) fn stopped() -> SandboxError {
    SandboxError::Other { doing: "making the sandbox", reason: "it was given up".to_owned() }
}

/// Makes a sandbox. Only what says for certain that nothing was made, and goes away by itself, is tried again. Given up, it
/// ends as soon as no request for a sandbox is under way.
pub(super) async fn make<P: Provider>(
    provider: P,
    order: Arc<CreationGuard>,
) -> Result<CreatedSandbox<P>, SandboxError> {
    let policy = Policy::cloud(provider.http().time_limits());
    let attempts = retry("creating the sandbox", policy, || Attempt::new(provider.clone(), Arc::clone(&order)).make());
    tokio::select! {
        biased;
        made = attempts => made.map_err(|error| match error {
            NotMade::NotYet(error) | NotMade::Failed(error) => error,
        }),
        () = order.given_up() => Err(stopped()),
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

/// One attempt; a failed one that may have made a sandbox is cleaned up, and so is one that is dropped meanwhile.
struct Attempt<P: Provider> {
    provider: P,
    order: Arc<CreationGuard>,
    asked: Option<Asked<P>>,
}

/// A request for a sandbox that was sent.
#[derive(Clone)]
struct Asked<P: Provider> {
    mark: P::Mark,
    at: Instant,
    /// Whether the server has said that it made none.
    refused: bool,
}

impl<P: Provider> Attempt<P> {
    fn new(provider: P, order: Arc<CreationGuard>) -> Self {
        Self { provider, order, asked: None }
    }

    async fn make(mut self) -> Result<CreatedSandbox<P>, NotMade> {
        let mark = retry("looking at the sandboxes", Policy::cloud(self.provider.http().time_limits()), || {
            self.provider.mark()
        })
        .await;
        let mark = mark.map_err(NotMade::Failed)?;
        let order = Arc::clone(&self.order);
        let _under_way = order.under_way.lock().await;
        if !order.is_wanted() {
            return Err(NotMade::Failed(stopped()));
        }
        let asked = self.asked.insert(Asked { mark, at: Instant::now(), refused: false });
        let error = match self.provider.create(&asked.mark).await {
            Ok(id) => {
                tracing::info!(sandbox = %id, "sandbox created");
                self.asked = None;
                return Ok(CreatedSandbox { provider: self.provider.clone(), id: Some(id), order: Arc::clone(&order) });
            }
            Err(error) => error,
        };
        let status = error.http().and_then(HttpError::status);
        asked.refused = status.is_some();
        let made_none = status == Some(429) || !error.http().is_some_and(may_have_made_one);
        let left = if made_none {
            Ok(())
        } else {
            tracing::warn!(error = %text::chain(&error), "looking for a sandbox that was made all the same");
            clean_up(&self.provider, asked).await
        };
        self.asked = None;
        Err(match left {
            Ok(()) if status == Some(429) => NotMade::NotYet(error),
            Ok(()) => NotMade::Failed(error),
            Err(candidates) => NotMade::Failed(SandboxError::MayBeLeft { candidates, source: Box::new(error) }),
        })
    }
}

impl<P: Provider> Drop for Attempt<P> {
    fn drop(&mut self) {
        if let (Some(asked), false) = (self.asked.take(), self.order.is_forgotten()) {
            blocking(&self.provider, async move |provider: P| {
                let source = Box::new(stopped());
                let cleaned = clean_up(&provider, &asked).await;
                cleaned.map_err(|candidates| SandboxError::MayBeLeft { candidates, source })
            });
        }
    }
}

/// A server that cannot be understood has done something all the same.
fn may_have_made_one(error: &HttpError) -> bool {
    error.is_ambiguous() || matches!(error, HttpError::Unexpected { .. } | HttpError::TooLarge { .. })
}

/// Deletes the one sandbox that a failed attempt has left. Of several, all but one are somebody else's, and the only one may be
/// too where the server has answered that it made none, or where ours may not be listed yet: these are given back. So is none,
/// when nobody could be asked.
async fn clean_up<P: Provider>(provider: &P, asked: &Asked<P>) -> Result<(), Vec<SandboxId>> {
    let limits = provider.http().time_limits();
    let patience = if asked.refused { limits.confirm_again } else { limits.sandbox_shows_up };
    let until = Instant::now() + patience;
    let mut before: Option<Vec<SandboxId>> = None;
    loop {
        let candidates =
            retry("looking for the sandbox", Policy::cloud(limits), || provider.made_since(&asked.mark)).await;
        let candidates = candidates.map_err(|error| {
            tracing::error!(error = %text::chain(&error), "nobody tells whether a sandbox is left");
            Vec::new()
        })?;
        let is_settled = asked.at.elapsed() >= limits.sandbox_listed && before.as_ref() == Some(&candidates);
        // One that has only now shown up is looked at once more, however late it is.
        let is_over = Instant::now() >= until && before.as_ref().is_some_and(|before| !before.is_empty());
        match candidates.as_slice() {
            [only] if P::KNOWS_ITS_OWN || (is_settled && !asked.refused) => {
                return delete(provider, only).await.map_err(|_| candidates);
            }
            [] if Instant::now() >= until => return Ok(()),
            [_, ..] if P::KNOWS_ITS_OWN || is_settled || asked.refused || is_over => {
                return Err(candidates);
            }
            _ => {
                before = Some(candidates);
                sleep(limits.confirm_again).await;
            }
        }
    }
}

//! A sandbox that is not left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::duty::duty;
use super::ready::{Ready, await_ready};
use super::{Provider, SandboxError};
use crate::display;
use crate::http::HttpError;
use crate::ids::SandboxId;
use crate::retry::{Policy, Retry, Retryable, retry};
use crate::timing;

/// A sandbox from the moment in which it is asked for.
///
/// Unless it is to be kept, it is deleted: by [`Sandbox::delete`], which tells whether that worked; else by `Drop`, also when a
/// panic unwinds or a future is dropped. `Drop` cannot be awaited, so it deletes from a thread of its own and holds its caller
/// up meanwhile, for at most 30 s ([`timing::SANDBOX_DROP`]); what fails then is only logged. A sandbox whose making is
/// under way is deleted when it has been made. Nothing is deleted by a process that is killed: by SIGKILL, by an abort, or by any
/// signal that it has no handler for, SIGINT and SIGTERM included, for no `Drop` runs then. Handle them
/// (`tokio::signal::ctrl_c()` in a `select!` beside the work) and drop what holds the sandbox.
#[derive(Debug)]
pub struct Sandbox<P: Provider> {
    provider: P,
    state: State<P>,
    keep: bool,
    /// Whether it is ours to delete: made by us, or used.
    taken: bool,
    /// Whether nothing is to be deleted any more; shared with the task that makes it.
    forgotten: Arc<AtomicBool>,
}

#[derive(Debug)]
enum State<P: Provider> {
    /// A task makes it, and owns it until it is handed over.
    Coming(oneshot::Receiver<Result<Made<P>, Arc<SandboxError>>>),
    There(SandboxId),
    /// Deleted, kept, or never made.
    Settled,
}

/// A sandbox that is deleted when nobody takes it.
#[derive(Debug)]
struct Made<P: Provider> {
    provider: P,
    id: Option<SandboxId>,
    forgotten: Arc<AtomicBool>,
}

impl<P: Provider> Sandbox<P> {
    /// Asks for a new sandbox. Must be called in a tokio runtime; what follows goes on in a task of its own.
    #[must_use]
    pub fn create(provider: P) -> Self {
        let (hand_over, coming) = oneshot::channel();
        let maker = provider.clone();
        let forgotten = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&forgotten);
        tokio::spawn(async move {
            let made = make(maker, shared).await.map_err(Arc::new);
            if let Err(Ok(mut unwanted)) = hand_over.send(made)
                && let Some(id) = unwanted.id.take()
            {
                tracing::info!(sandbox = %id, "nobody waits for the new sandbox any more: deleting it");
                let _ = delete(&unwanted.provider, &id).await;
            }
        });
        Self { provider, state: State::Coming(coming), keep: false, taken: true, forgotten }
    }

    /// A sandbox that is there already. Once it was ready it is deleted like a new one, unless it is kept; until then only by
    /// [`Sandbox::delete`].
    #[must_use]
    pub fn existing(provider: P, id: SandboxId) -> Self {
        Self { provider, state: State::There(id), keep: false, taken: false, forgotten: Arc::default() }
    }

    /// Leaves the sandbox alone at the end.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Whether it is left alone at the end.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// Whether nothing is left to be done about it: it is deleted, or was never made.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled)
    }

    /// Whether it is ours to delete: made by us, or ready once.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken
    }

    /// Who makes it.
    pub fn provider(&self) -> &P {
        &self.provider
    }

    /// Its id, once it is known.
    #[must_use]
    pub fn id(&self) -> Option<&SandboxId> {
        match &self.state {
            State::There(id) => Some(id),
            State::Coming(_) | State::Settled => None,
        }
    }

    /// Waits until it is made. Cancel safe.
    ///
    /// # Errors
    /// [`SandboxError`]; then nothing is left, unless the error says so.
    #[expect(clippy::missing_panics_doc, reason = "what is made has an id, and its error one owner")]
    pub async fn made(&mut self) -> Result<SandboxId, SandboxError> {
        if let State::Coming(coming) = &mut self.state {
            let made = match coming.await {
                Ok(Ok(made)) => Ok(made),
                Ok(Err(error)) => Err(Arc::into_inner(error).expect("the channel held the only one")),
                Err(_) => Err(stopped()),
            };
            self.state = State::Settled;
            let mut made = made?;
            self.state = State::There(made.id.take().expect("a sandbox that was made has an id"));
        }
        self.id().cloned().ok_or_else(stopped)
    }

    /// Waits until it can be used. Cancel safe.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn ready(&mut self) -> Result<Ready, SandboxError> {
        let id = self.made().await?;
        let ready = await_ready(&self.provider, &id).await?;
        self.taken = true;
        Ok(ready)
    }

    /// Gives it up: it is not deleted by anything any more, also when it is still being made.
    pub fn forget(self) {
        self.forgotten.store(true, Ordering::Relaxed);
    }

    /// Deletes it, unless it is kept. One that is still being made is waited for, and deleted in any case: nobody knows of it.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`SandboxError`]: it may be left.
    pub async fn delete(&mut self) -> Result<(), SandboxError> {
        let coming = matches!(self.state, State::Coming(_));
        if self.keep && !coming {
            return Ok(());
        }
        if coming {
            tracing::info!("waiting for the sandbox that is being made, to delete it; a further signal would leave it");
        }
        let id = match self.made().await {
            Ok(id) => id,
            Err(left @ SandboxError::MayBeLeft { .. }) => {
                tracing::error!("{}", display::chain(&left));
                return Err(left);
            }
            // It was never made.
            Err(_) => return Ok(()),
        };
        let deleted = delete(&self.provider, &id).await;
        self.state = State::Settled;
        deleted
    }
}

fn stopped() -> SandboxError {
    SandboxError::Other { doing: "making the sandbox", reason: "it was given up".to_owned() }
}

async fn delete<P: Provider>(provider: &P, id: &SandboxId) -> Result<(), SandboxError> {
    let deleted = retry("deleting the sandbox", Policy::cloud(), || provider.delete(id)).await;
    match &deleted {
        Ok(()) => tracing::info!(sandbox = %id, "sandbox deleted"),
        Err(error) => {
            tracing::error!(sandbox = %id, error = %display::chain(error), "the sandbox could not be deleted");
        }
    }
    deleted
}

/// Makes a sandbox. Only what says for certain that nothing was made, and goes away by itself, is tried again.
async fn make<P: Provider>(provider: P, forgotten: Arc<AtomicBool>) -> Result<Made<P>, SandboxError> {
    let attempt = || attempt(provider.clone(), Arc::clone(&forgotten));
    retry("creating the sandbox", Policy::cloud(), attempt).await.map_err(|error| match error {
        NotMade::NotYet(error) | NotMade::Failed(error) => error,
    })
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

/// One attempt; a failed one that may have made a sandbox is cleaned up.
async fn attempt<P: Provider>(provider: P, forgotten: Arc<AtomicBool>) -> Result<Made<P>, NotMade> {
    let mark = retry("looking at the sandboxes", Policy::cloud(), || provider.mark()).await.map_err(NotMade::Failed)?;
    let attempt = Attempt { provider: provider.clone(), mark: Some(mark.clone()), forgotten: Arc::clone(&forgotten) };
    let created = provider.create(&mark).await;
    attempt.over();
    let error = match created {
        Ok(id) => {
            tracing::info!(sandbox = %id, "sandbox created");
            return Ok(Made { provider, id: Some(id), forgotten });
        }
        Err(error) => error,
    };
    if error.http().and_then(HttpError::status) == Some(429) {
        return Err(NotMade::NotYet(error));
    }
    if !error.http().is_some_and(may_have_made_one) {
        return Err(NotMade::Failed(error));
    }
    tracing::warn!(error = %display::chain(&error), "looking for a sandbox that was made all the same");
    let answered = error.http().and_then(HttpError::status).is_some();
    Err(NotMade::Failed(match clean_up(&provider, &mark, answered).await {
        Ok(()) => error,
        Err(candidates) => SandboxError::MayBeLeft { candidates, source: Box::new(error) },
    }))
}

/// A server that cannot be understood has done something all the same.
fn may_have_made_one(error: &HttpError) -> bool {
    error.is_ambiguous() || matches!(error, HttpError::Unexpected { .. } | HttpError::TooLarge { .. })
}

/// Deletes the one sandbox that a failed attempt has left. Of several, all but one are somebody else's, and the only one may be
/// too where the server has answered that it made none: these are given back. So is none, when nobody could be asked.
async fn clean_up<P: Provider>(provider: &P, mark: &P::Mark, answered: bool) -> Result<(), Vec<SandboxId>> {
    let patience = if answered { timing::CONFIRM_AGAIN } else { timing::SANDBOX_SHOWS_UP };
    let until = Instant::now() + patience;
    loop {
        let candidates = retry("looking for the sandbox", Policy::cloud(), || provider.made_since(mark)).await;
        let candidates = candidates.map_err(|error| {
            tracing::error!(error = %display::chain(&error), "nobody tells whether a sandbox is left");
            Vec::new()
        })?;
        match candidates.as_slice() {
            [only] if P::KNOWS_ITS_OWN || !answered => {
                return delete(provider, only).await.map_err(|_| candidates);
            }
            [] if Instant::now() < until => sleep(timing::CONFIRM_AGAIN).await,
            [] => return Ok(()),
            _ => return Err(candidates),
        }
    }
}

/// A request for a sandbox under way. Dropped before it is over, it is cleaned up like a failed one.
struct Attempt<P: Provider> {
    provider: P,
    mark: Option<P::Mark>,
    forgotten: Arc<AtomicBool>,
}

impl<P: Provider> Attempt<P> {
    fn over(mut self) {
        self.mark = None;
    }
}

impl<P: Provider> Drop for Attempt<P> {
    fn drop(&mut self) {
        if let Some(mark) = self.mark.take() {
            blocking(&self.provider, &self.forgotten, async move |provider: P| {
                let source = Box::new(stopped());
                let cleaned = clean_up(&provider, &mark, false).await;
                cleaned.map_err(|candidates| SandboxError::MayBeLeft { candidates, source })
            });
        }
    }
}

impl<P: Provider> Drop for Made<P> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            blocking(&self.provider, &self.forgotten, async move |provider: P| delete(&provider, &id).await);
        }
    }
}

impl<P: Provider> Drop for Sandbox<P> {
    fn drop(&mut self) {
        // What is still coming deletes itself: nobody receives it.
        if let (State::There(id), true) = (std::mem::replace(&mut self.state, State::Settled), self.taken && !self.keep)
        {
            blocking(&self.provider, &self.forgotten, async move |provider: P| delete(&provider, &id).await);
        }
    }
}

/// Runs a last duty from a place that cannot await.
fn blocking<P, W>(provider: &P, forgotten: &AtomicBool, work: W)
where
    P: Provider,
    W: AsyncFnOnce(P) -> Result<(), SandboxError> + Send + 'static,
{
    if forgotten.load(Ordering::Relaxed) {
        return;
    }
    let Some(provider) = provider.anew() else { return };
    duty("sandbox-cleanup", async move || match timeout(timing::SANDBOX_DROP, work(provider)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = %display::chain(&error), "a sandbox may be left"),
        Err(_) => tracing::error!("a sandbox may be left: it could not be deleted in time"),
    });
}

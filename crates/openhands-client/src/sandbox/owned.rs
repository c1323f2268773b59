//! A sandbox that is not left behind.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::create::{CreatedSandbox, CreationGuard, Intent, make, stopped};
use super::deletion::{blocking, delete};
use super::ready::{Ready, await_ready};
use super::{Provider, SandboxError};
use crate::ids::SandboxId;
use crate::text;

/// A sandbox from the moment at which it is requested.
///
/// Unless it is to be kept, it is deleted: by [`Sandbox::delete`], which returns whether that worked; else by `Drop`, also when a
/// panic unwinds or a future is dropped. `Drop` cannot be awaited, so it deletes from a thread of its own and holds its caller
/// up meanwhile, for at most 30 s ([`TimeLimits::sandbox_drop`](crate::time_limits::TimeLimits::sandbox_drop)); what fails then is only logged. A
/// sandbox whose making is under way is deleted when it has been made; one that was not asked for yet is not asked for any more.
/// Nothing is deleted by a process that is killed: by SIGKILL, by an abort, or by any signal that it has no handler for, SIGINT and
/// SIGTERM included, for no `Drop` runs then. Handle them (`tokio::signal::ctrl_c()` in a `select!` beside the work) and drop what
/// holds the sandbox.
#[derive(Debug)]
pub struct Sandbox<P: Provider> {
    provider: P,
    state: State<P>,
    keep: bool,
    /// Whether it is ours to delete: made by us, or used.
    taken: bool,
    /// Shared with the task that makes it.
    order: Arc<CreationGuard>,
}

#[derive(Debug)]
enum State<P: Provider> {
    /// A task makes it, and owns it until it is handed over.
    Coming(oneshot::Receiver<Result<CreatedSandbox<P>, Arc<SandboxError>>>),
    There(SandboxId),
    /// Deleted, kept, or never made.
    Settled,
}

impl<P: Provider> Sandbox<P> {
    /// Asks for a new sandbox. Must be called in a tokio runtime; the rest runs in a task of its own.
    #[must_use]
    pub fn create(provider: P) -> Self {
        let (hand_over, coming) = oneshot::channel();
        let order = CreationGuard::new();
        let making = make(provider.clone(), Arc::clone(&order));
        tokio::spawn(async move {
            if let Err(Ok(unwanted)) = hand_over.send(making.await.map_err(Arc::new)) {
                unwanted.delete().await;
            }
        });
        Self { provider, state: State::Coming(coming), keep: false, taken: true, order }
    }

    /// An existing sandbox. Once it was ready it is deleted like a new one, unless it is kept; until then only by
    /// [`Sandbox::delete`].
    #[must_use]
    pub fn existing(provider: P, id: SandboxId) -> Self {
        Self { provider, state: State::There(id), keep: false, taken: false, order: CreationGuard::new() }
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

    /// Waits until it is created. Cancel safe.
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
            self.state = State::There(made?.taken());
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

    /// Abandons it: nothing deletes it any more, even if it is still being created.
    pub fn forget(self) {
        self.order.lower(Intent::Forgotten);
    }

    /// Deletes it, unless it is kept. One that is being made is waited for, and deleted in any case: no one knows of it. One that
    /// was not asked for yet is not asked for any more. Cancel safe.
    ///
    /// # Errors
    /// [`SandboxError`]: it may be left.
    pub async fn delete(&mut self) -> Result<(), SandboxError> {
        let coming = matches!(self.state, State::Coming(_));
        if self.keep && !coming {
            return Ok(());
        }
        self.order.lower(Intent::Unwanted);
        if coming && self.order.is_under_way() {
            tracing::info!("waiting for the sandbox that is being created, to delete it; another signal leaves it");
        }
        let id = match self.made().await {
            Ok(id) => id,
            Err(left @ SandboxError::MayBeLeft { .. }) => {
                tracing::error!("{}", text::chain(&left));
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

impl<P: Provider> Drop for Sandbox<P> {
    fn drop(&mut self) {
        // What is still coming deletes itself: no one receives it.
        self.order.lower(Intent::Unwanted);
        if let (State::There(id), true) = (std::mem::replace(&mut self.state, State::Settled), self.taken && !self.keep)
            && !self.order.is_forgotten()
        {
            blocking(&self.provider, async move |provider: P| delete(&provider, &id).await);
        }
    }
}

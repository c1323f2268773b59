//! A sandbox with an owner, who deletes it.

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
/// The sandbox is deleted unless it is kept. [`Sandbox::delete`] deletes it and returns whether that succeeded. Otherwise `Drop`
/// deletes it, also when a panic unwinds or a future is dropped. `Drop` cannot be awaited, so it deletes from a separate thread
/// and blocks its caller for at most 30 s ([`TimeLimits::sandbox_drop`](crate::time_limits::TimeLimits::sandbox_drop)); a failure
/// is only logged. A sandbox that is being created is deleted as soon as it exists; a sandbox that was not requested yet is no
/// longer requested. No `Drop` runs in a process that is killed: by SIGKILL, by an abort, or by any signal without a handler,
/// including SIGINT and SIGTERM. Handle these signals (`tokio::signal::ctrl_c()` in a `select!` beside the work), and drop the
/// value that owns the sandbox.
#[derive(Debug)]
pub struct Sandbox<P: Provider> {
    provider: P,
    state: State<P>,
    keep: bool,
    /// Whether this value has to delete the sandbox: it created the sandbox or used it.
    taken: bool,
    /// Shared with the task that creates the sandbox.
    order: Arc<CreationGuard>,
}

#[derive(Debug)]
enum State<P: Provider> {
    /// A task creates the sandbox, and owns it until it hands it over.
    Coming(oneshot::Receiver<Result<CreatedSandbox<P>, Arc<SandboxError>>>),
    There(SandboxId),
    /// Deleted, kept, or never created.
    Settled,
}

impl<P: Provider> Sandbox<P> {
    /// Requests a new sandbox. Must be called in a tokio runtime; the creation continues in a separate task.
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

    /// Uses an existing sandbox. After it was ready once, it is deleted like a new one, unless it is kept. Before that, only
    /// [`Sandbox::delete`] deletes it.
    #[must_use]
    pub fn existing(provider: P, id: SandboxId) -> Self {
        Self { provider, state: State::There(id), keep: false, taken: false, order: CreationGuard::new() }
    }

    /// Keeps the sandbox at the end.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Returns whether the sandbox is kept at the end.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// Returns whether nothing is left to do for the sandbox: it is deleted, or was never created.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled)
    }

    /// Returns whether this value has to delete the sandbox: it created the sandbox, or the sandbox was ready once.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken
    }

    /// Returns the provider of the sandbox.
    pub fn provider(&self) -> &P {
        &self.provider
    }

    /// Returns the id of the sandbox, if it is known.
    #[must_use]
    pub fn id(&self) -> Option<&SandboxId> {
        match &self.state {
            State::There(id) => Some(id),
            State::Coming(_) | State::Settled => None,
        }
    }

    /// Waits until the sandbox is created. Cancel safe.
    ///
    /// # Errors
    /// [`SandboxError`]. In this case nothing is left, unless the error says so.
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

    /// Waits until the sandbox is ready. Cancel safe.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn ready(&mut self) -> Result<Ready, SandboxError> {
        let id = self.made().await?;
        let ready = await_ready(&self.provider, &id).await?;
        self.taken = true;
        Ok(ready)
    }

    /// Abandons the sandbox: nothing deletes it any more, even if it is still being created.
    pub fn forget(self) {
        self.order.lower(Intent::Forgotten);
    }

    /// Deletes the sandbox, unless it is kept. If it is still being created, this waits for it and deletes it in any case,
    /// because no one else knows of it. If it was not requested yet, it is no longer requested. Cancel safe.
    ///
    /// # Errors
    /// [`SandboxError`]: the sandbox may still exist.
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
            // No sandbox was created.
            Err(_) => return Ok(()),
        };
        let deleted = delete(&self.provider, &id).await;
        self.state = State::Settled;
        deleted
    }
}

impl<P: Provider> Drop for Sandbox<P> {
    fn drop(&mut self) {
        // A sandbox that is still being created deletes itself, because no one receives it.
        self.order.lower(Intent::Unwanted);
        if let (State::There(id), true) = (std::mem::replace(&mut self.state, State::Settled), self.taken && !self.keep)
            && !self.order.is_forgotten()
        {
            blocking(&self.provider, async move |provider: P| delete(&provider, &id).await);
        }
    }
}

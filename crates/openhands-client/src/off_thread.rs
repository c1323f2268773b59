//! Blocking work outside a runtime, without a thread pool.
//!
//! An outcome must be delivered even if the pids limit is reached. The thread pool of the runtime panics if the operating system
//! cannot create a thread; this module then does the work on the calling thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// Runs blocking work on a separate thread. If no thread can be started, the work runs on the calling thread and blocks the
/// caller.
///
/// If the future is dropped, a thread that has started completes its work.
///
/// # Panics
/// If the work panics.
pub async fn off_thread<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    // If a thread cannot be started, its closure is dropped. So the work is stored where both paths can take it.
    let shared = Arc::new(Mutex::new(Some(work)));
    let (tell, told) = oneshot::channel();
    let of_thread = Arc::clone(&shared);
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(work) = take(&of_thread) {
            // If the caller was dropped, no one receives the result.
            let _ = tell.send(work());
        }
    });
    if let Ok(thread) = started {
        match told.await {
            Ok(done) => return done,
            // The work has panicked.
            Err(_) => {
                if let Err(panic) = thread.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    let work = take(&shared).expect("a thread that did not start has not taken the work");
    work()
}

fn take<T>(shared: &Mutex<Option<T>>) -> Option<T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_beside_the_runtime() {
        let caller = thread::current().id();
        assert_ne!(off_thread("test", || thread::current().id()).await, caller);
    }

    #[tokio::test]
    async fn a_panic_of_the_work_is_passed_on() {
        let working = tokio::spawn(off_thread("test", || assert!(std::env::args().count() == 0, "a bug")));
        assert!(working.await.unwrap_err().is_panic());
    }
}

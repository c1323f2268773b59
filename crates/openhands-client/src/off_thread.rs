//! Blocking work beside a runtime, without a pool of threads.
//!
//! A full pids limit must not keep an outcome from being delivered. The thread pool of the runtime panics when the operating
//! system refuses a thread; this module then does the work in place.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// Runs blocking work on a thread of its own. Where no thread can be started, the work runs in place and blocks the caller.
///
/// If the future is dropped, a thread that has started continues to the end of its work.
///
/// # Panics
/// With the panic of the work.
pub async fn off_thread<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    // A failed start of a thread drops its closure, so the work is kept where both ways find it.
    let shared = Arc::new(Mutex::new(Some(work)));
    let (tell, told) = oneshot::channel();
    let of_thread = Arc::clone(&shared);
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(work) = take(&of_thread) {
            // No one waits any more if the caller was dropped.
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

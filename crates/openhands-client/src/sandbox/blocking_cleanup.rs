//! Cleanup from places that cannot await, such as a `Drop`.

use std::thread;

/// Runs the work on a separate thread with its own runtime, and waits for it: if the process ended now, the work would be lost.
/// HTTP clients that the work uses must have been created again ([`crate::http::Http::with_fresh_connections`]).
pub(crate) fn blocking_cleanup<W>(name: &str, work: W)
where
    W: AsyncFnOnce() + Send + 'static,
{
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(work());
        }
    });
    if let Ok(thread) = thread {
        let _ = thread.join();
    }
}

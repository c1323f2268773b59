//! Last duties: work that is due in a place that cannot await, such as a `Drop`.

use std::thread;

/// Does the work on a thread and a runtime of its own, and waits for it: a process that ends now would not do it. What the work
/// uses of HTTP must have been created again ([`crate::http::Http::with_fresh_connections`]).
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

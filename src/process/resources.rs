//! Resource limits (`ulimit`) under which this process could not even report that it cannot work.

use std::io::{self, Write as _};
use std::thread;

use nix::sys::signal::SigSet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that a run needs: three standard streams, the runtime, the log, the guardian and a few connections.
const FILES: u64 = 64;
/// The stack on which a run works, in bytes.
const STACK: u64 = 1024 * 1024;

/// Raises the soft limits that are too low, as far as the hard ones allow it.
pub(crate) fn raise_limits() {
    for (resource, needed) in [(Resource::Nofile, FILES), (Resource::Stack, STACK)] {
        let Rlimit { current, maximum } = getrlimit(resource);
        if current.is_some_and(|current| current < needed) {
            let possible = maximum.map_or(needed, |maximum| maximum.min(needed));
            // Refused limits stay as they are.
            let _ = setrlimit(resource, Rlimit { current: Some(possible), maximum });
        }
    }
}

/// Runs the program on a stack that is large enough: this thread's, or one of a thread of its own.
pub(crate) fn on_enough_stack<T: Send + 'static>(program: impl FnOnce() -> T + Send + Clone + 'static) -> T {
    if getrlimit(Resource::Stack).current.is_none_or(|stack| stack >= STACK) {
        return program();
    }
    // The new thread alone gets signals, once it has handlers.
    let _ = SigSet::all().thread_block();
    match thread::Builder::new().spawn(program.clone()) {
        Ok(running) => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(error) => {
            complain(&format!(
                "the stack is limited to less than {STACK} bytes, and no thread can be started: {error}"
            ));
            program()
        }
    }
}

/// One line on standard error, for what goes wrong before there is a log.
pub(crate) fn complain(words: &str) {
    // Without standard error there is no one to tell.
    let _ = writeln!(io::stderr(), "openhands-runner: {words}");
}

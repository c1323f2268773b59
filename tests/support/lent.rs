//! Servers of which a test has one for itself.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{AgentServer, CloudServer, NEWEST};

/// Each works for one test at a time, for two reasons (openhands-sdk and openhands-agent-server 1.11.5):
///
/// - The first step of an agent makes the classes of its tools' actions, without a lock (`sdk/tool/tool.py`). Two first steps
///   at the same time can make them twice. From then on every conversation fails with "Duplicate class definition": seen in
///   two of six starts with eight conversations each.
/// - A conversation's lock is held while its agent runs a command, and the event loop waits for it when a client subscribes
///   or sends a message (`event_service.py`). Meanwhile the server answers no request at all.
static OLDEST_SERVERS: Pool<AgentServer> = Pool::of(3);

/// For tests that freeze or kill a server, or need a second one.
static NEWEST_SERVERS: Pool<AgentServer> = Pool::of(3);

/// Two sandboxes that start at the same time get the same port from the app server, and tests look at all its sandboxes. So
/// each of these works for one test at a time.
static CLOUD_SERVERS: Pool<CloudServer> = Pool::of(2);

impl AgentServer {
    /// One of this version that no other test uses meanwhile.
    pub async fn lent(version: &'static str) -> Lent<Self> {
        let servers = if version == NEWEST { &NEWEST_SERVERS } else { &OLDEST_SERVERS };
        servers.lend(async || Self::start(version).await).await
    }
}

impl CloudServer {
    /// One that no other test uses meanwhile. Earlier tests may have set the LLM, profiles and secrets of its account.
    pub async fn lent() -> Lent<Self> {
        CLOUD_SERVERS.lend(async || Self::start(&[]).await).await
    }
}

/// A limited number of servers of one kind. A server starts when a test needs it, and is lent to one test at a time.
pub struct Pool<T> {
    idle: Mutex<Vec<T>>,
    permits: Semaphore,
}

impl<T> Pool<T> {
    pub const fn of(size: usize) -> Self {
        Self { idle: Mutex::new(Vec::new()), permits: Semaphore::const_new(size) }
    }

    /// Lends an idle server, or starts one. Waits while all of them are lent.
    pub async fn lend(&'static self, start: impl AsyncFnOnce() -> T) -> Lent<T> {
        let permit = self.permits.acquire().await.unwrap();
        let idle = self.idle.lock().unwrap().pop();
        let server = match idle {
            Some(server) => server,
            None => start().await,
        };
        Lent { server: Some(server), pool: self, _permit: permit }
    }
}

/// A server that one test has for itself. It goes back to its pool when the test passes. When the test fails, the server
/// ends, because its state is unknown.
pub struct Lent<T: 'static> {
    server: Option<T>,
    pool: &'static Pool<T>,
    _permit: SemaphorePermit<'static>,
}

impl<T> Lent<T> {
    /// Ends the server: the test has left it in a state that others must not see.
    pub fn discard(mut self) {
        drop(self.server.take());
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.server.as_ref().expect("only the end of the loan takes it away")
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.server.as_mut().expect("only the end of the loan takes it away")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take()
            && !std::thread::panicking()
        {
            self.pool.idle.lock().unwrap().push(server);
        }
    }
}

//! All time limits, intervals and retry budgets of the library, in one value.
//!
//! All are measured with the monotonic clock. An [`Http`](crate::http::Http) client carries the value, so that everything that
//! uses the client can read it.

use std::time::Duration;

/// Time limits, intervals and retry budgets. [`TimeLimits::default`] is right for everything except tests.
///
/// ```
/// use std::time::Duration;
/// use openhands_client::time_limits::TimeLimits;
///
/// let mut limits = TimeLimits::default();
/// limits.stalled = Duration::from_secs(5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeLimits {
    /// One request to `/ready` while waiting for an agent-server (5 s).
    pub ready_attempt: Duration,

    /// Opening a TCP connection, including TLS (5 s).
    pub connect: Duration,
    /// One call of the agent-server or the Cloud API (40 s). With five runs on two cores, a `GET` of an agent-server took 30 s.
    pub request: Duration,
    /// One call to which the agent-server responds only after the agent's running command (120 s): `pause`, `run` and `events` on
    /// some versions.
    pub busy_request: Duration,
    /// The time after which a file transfer without progress fails (60 s).
    pub stalled: Duration,
    /// The time after which an idle connection is not reused (4 s): uvicorn closes it after 5 s.
    pub idle_connection: Duration,

    /// The time until a new sandbox is ready, unless the caller sets another limit (300 s).
    pub sandbox_init: Duration,
    /// One call of the Cloud API about a sandbox, unless the caller sets another limit (60 s).
    pub sandbox_request: Duration,
    /// How long a booting sandbox may report an error without a reason (20 s; 1.11.0: 5 to 10 s, more on a busy machine).
    pub sandbox_error: Duration,
    /// How long a sandbox may be unknown after its creation (15 s).
    pub sandbox_unknown: Duration,
    /// The time within which a sandbox appears whose creation was cut off (20 s): it is listed a second after the request
    /// arrived.
    pub sandbox_shows_up: Duration,
    /// How long after the request the owner of the only new sandbox stays uncertain (3 s): the sandbox of another job may be
    /// listed before ours.
    pub sandbox_listed: Duration,
    /// Deleting a sandbox in `Drop`, which blocks its thread (30 s).
    pub sandbox_drop: Duration,
    /// A command of our own in a sandbox: a few file operations (60 s).
    pub housekeeping: Duration,
    /// Ending a command that may have started, and removing its files (10 s).
    pub tidy_up: Duration,

    /// All attempts of one call of the Cloud API (90 s).
    pub cloud_budget: Duration,
    /// How long the Cloud API may reject a valid key (5 s): such temporary rejections have been seen.
    pub cloud_refusal: Duration,
    /// How long the request for a sandbox is retried while the account is at its limit (600 s), because other sandboxes end.
    pub sandbox_capacity: Duration,
    /// All attempts of one call that sets up the conversation (60 s).
    pub setup_budget: Duration,
    /// How long requests to an agent-server at its limit of active conversations are retried (600 s), because other conversations
    /// end.
    pub run_capacity: Duration,
    /// One call for skills (60 s): the agent-server may have to clone the public ones first.
    pub skills: Duration,

    /// The handshake of the events socket (10 s).
    pub socket_handshake: Duration,
    /// The interval between our pings on the events socket (10 s); agent-servers before 1.22.1 send none.
    pub socket_ping: Duration,
    /// The time after which a socket is replaced if nothing arrives, not even the response to a ping (32 s).
    pub socket_silence: Duration,
    /// The time limit of the first subscription, after which the run continues with polling (10 s).
    pub subscribe: Duration,
    /// The interval at which the state of the conversation is read while the socket is connected (15 s).
    pub poll_with_socket: Duration,
    /// The interval at which the state of the conversation is read while the socket is disconnected (2 s).
    pub poll_without_socket: Duration,
    /// The interval while the socket is connected and the run has a cost limit, for versions that do not send the cost (5 s; to
    /// 1.16.1).
    pub poll_with_budget: Duration,
    /// How long a claimed end of a turn waits for the state event that follows a run, on versions that send it (2 s).
    pub last_word: Duration,
    /// The time after which an unconfirmed end is checked again (1 s).
    pub confirm_again: Duration,
    /// The time after which the run of a conversation that is still idle after a message is started again (5 s).
    pub idle_after_message: Duration,
    /// How long the reason of an error may arrive after the error (1 s).
    pub error_reason: Duration,
    /// How far before the last event the log is read again (5 s): the storage order is not strictly the order of the timestamps.
    pub log_overlap: Duration,
    /// The time after which an agent-server that does not respond is lost, and the run with it (45 s). A frozen or restarted
    /// server that is back earlier is not lost.
    pub server_silence: Duration,
    /// The time after which an agent-server that responds only with errors is lost (300 s).
    pub server_errors: Duration,
    /// How long an agent-server counts as busy if it keeps the socket alive but responds to no request (3,600 s). On two cores it
    /// has six threads for requests. A command of an agent takes one. Each new subscription takes another until that command
    /// ends, and so does storing the cost of the last LLM response (1.58.2).
    pub server_busy: Duration,
    /// The last check of a server that seems lost (8 s).
    pub last_look: Duration,
    /// Stopping an agent at a cost or time limit (20 s). A pause takes effect even if its response is not waited for.
    pub stop_agent: Duration,

    /// One attempt to deliver the completion callback (20 s). Before it responds, the service reads the conversation, which can
    /// take 30 s (1.25.0, with a hung agent-server); a retry then finds that the run has a final status.
    pub callback_attempt: Duration,
    /// One attempt to post a phase (10 s).
    pub phase_attempt: Duration,

    /// Delays between requests to a local agent-server (50 ms to 2 s).
    pub agent_server_delays: RetryDelays,
    /// Delays between requests to the Cloud API (500 ms to 10 s).
    pub cloud_delays: RetryDelays,
    /// Delays between requests for a sandbox while the account is at its limit (5 to 30 s).
    pub capacity_delays: RetryDelays,
    /// Delays between requests to an agent-server at its limit of active conversations (500 ms to 10 s).
    pub run_capacity_delays: RetryDelays,
    /// Delays between reads of the state of a sandbox that is not ready yet (250 ms to 2 s).
    pub cloud_poll_delays: RetryDelays,
    /// Delays between attempts of a clone (1 s to 5 s).
    pub git_server_delays: RetryDelays,
    /// Delays between attempts to deliver the completion callback (250 ms to 15 s).
    pub callback_delays: RetryDelays,
    /// Delays between attempts to open the events socket (100 ms to 5 s).
    pub socket_delays: RetryDelays,
}

/// The delays between the attempts of a retry. They double from the first to the longest one, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelays {
    /// The delay after the first attempt.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
}

impl RetryDelays {
    const fn from_millis(first: u64, longest: u64) -> Self {
        Self { first: Duration::from_millis(first), longest: Duration::from_millis(longest) }
    }
}

impl Default for TimeLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            ready_attempt: seconds(5),
            connect: seconds(5),
            request: seconds(40),
            busy_request: seconds(120),
            stalled: seconds(60),
            idle_connection: seconds(4),
            sandbox_init: seconds(300),
            sandbox_request: seconds(60),
            sandbox_error: seconds(20),
            sandbox_unknown: seconds(15),
            sandbox_shows_up: seconds(20),
            sandbox_listed: seconds(3),
            sandbox_drop: seconds(30),
            housekeeping: seconds(60),
            tidy_up: seconds(10),
            cloud_budget: seconds(90),
            cloud_refusal: seconds(5),
            sandbox_capacity: seconds(600),
            setup_budget: seconds(60),
            run_capacity: seconds(600),
            skills: seconds(60),
            socket_handshake: seconds(10),
            socket_ping: seconds(10),
            socket_silence: seconds(32),
            subscribe: seconds(10),
            poll_with_socket: seconds(15),
            poll_without_socket: seconds(2),
            poll_with_budget: seconds(5),
            last_word: seconds(2),
            confirm_again: seconds(1),
            idle_after_message: seconds(5),
            error_reason: seconds(1),
            log_overlap: seconds(5),
            server_silence: seconds(45),
            server_errors: seconds(300),
            server_busy: seconds(3_600),
            last_look: seconds(8),
            stop_agent: seconds(20),
            callback_attempt: seconds(20),
            phase_attempt: seconds(10),
            agent_server_delays: RetryDelays::from_millis(50, 2_000),
            cloud_delays: RetryDelays::from_millis(500, 10_000),
            capacity_delays: RetryDelays::from_millis(5_000, 30_000),
            run_capacity_delays: RetryDelays::from_millis(500, 10_000),
            cloud_poll_delays: RetryDelays::from_millis(250, 2_000),
            git_server_delays: RetryDelays::from_millis(1_000, 5_000),
            callback_delays: RetryDelays::from_millis(250, 15_000),
            socket_delays: RetryDelays::from_millis(100, 5_000),
        }
    }
}

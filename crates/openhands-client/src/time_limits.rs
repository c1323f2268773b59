//! Every time limit, interval and retry budget of the library, as one value.
//!
//! All are measured on the monotonic clock. An [`Http`](crate::http::Http) client carries the value, so that everything that
//! is made with the client finds it there.

use std::time::Duration;

/// Time limits, intervals and retry budgets. [`TimeLimits::default`] is right for all but tests.
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
    /// One look at `/ready` while waiting for an agent-server (5 s).
    pub ready_attempt: Duration,

    /// Opening a TCP connection, TLS included (5 s).
    pub connect: Duration,
    /// One call of the agent-server or the Cloud API (40 s). With five runs on two cores, an agent-server took 30 s for a
    /// `GET`.
    pub request: Duration,
    /// One call that the agent-server answers only after the command that the agent has running (120 s): `pause`, `run` and
    /// `events` on some versions.
    pub busy_request: Duration,
    /// A transfer of a file that moves no byte for this time fails (60 s).
    pub stalled: Duration,
    /// An idle connection is not used again after this time (4 s): uvicorn closes it after 5 s.
    pub idle_connection: Duration,

    /// A new sandbox may take this long until it is ready, unless the caller sets another limit (300 s).
    pub sandbox_init: Duration,
    /// One call of the Cloud API about a sandbox, unless the caller sets another limit (60 s).
    pub sandbox_request: Duration,
    /// A sandbox may report an error without a reason for this long while it boots (20 s; 1.11.0: 5 to 10 s, more on a busy machine).
    pub sandbox_error: Duration,
    /// A sandbox may be unknown for this long after it was created (15 s).
    pub sandbox_unknown: Duration,
    /// A sandbox whose creation was cut off shows up within this time (20 s): it is listed a second after the request came.
    pub sandbox_shows_up: Duration,
    /// The owner of the only new sandbox is uncertain for this time after the request (3 s): another job's may be listed
    /// before ours.
    pub sandbox_listed: Duration,
    /// Deleting a sandbox from `Drop`, which blocks its thread (30 s).
    pub sandbox_drop: Duration,
    /// A command of our own in a sandbox: a few file operations (60 s).
    pub housekeeping: Duration,
    /// Ending a command whose start is uncertain, and removing its files (10 s).
    pub tidy_up: Duration,

    /// All attempts of one call of the Cloud API (90 s).
    pub cloud_budget: Duration,
    /// The Cloud API may refuse a good key for this long (5 s): such refusals have been seen, and pass by themselves.
    pub cloud_refusal: Duration,
    /// While an account is at its limit of sandboxes, the request is repeated for this long (600 s), because other sandboxes end.
    pub sandbox_capacity: Duration,
    /// All attempts of one call that sets up the conversation (60 s).
    pub setup_budget: Duration,
    /// An agent-server in which as many conversations work as may is asked again for this long (600 s): others end.
    pub run_capacity: Duration,
    /// One call for skills (60 s): the agent-server may clone the public ones meanwhile.
    pub skills: Duration,

    /// The handshake of the events socket (10 s).
    pub socket_handshake: Duration,
    /// Between two of our pings on the events socket (10 s); agent-servers before 1.22.1 send none.
    pub socket_ping: Duration,
    /// A socket on which nothing arrives for this time, not even the response to a ping, is replaced (32 s).
    pub socket_silence: Duration,
    /// A first subscription may take this long before the run continues with polling (10 s).
    pub subscribe: Duration,
    /// The state of the conversation is read this often while the socket works (15 s).
    pub poll_with_socket: Duration,
    /// The state of the conversation is read this often while the socket is down (2 s).
    pub poll_without_socket: Duration,
    /// The same while the socket works and the run has a cost limit, for versions that do not send the cost (5 s; to 1.16.1).
    pub poll_with_budget: Duration,
    /// A claimed end of a turn waits this long for the state that follows a run, on versions that send it (2 s).
    pub last_word: Duration,
    /// A result that could not be confirmed is checked again after this time (1 s).
    pub confirm_again: Duration,
    /// A conversation that is still idle this long after a message has its run started once more (5 s).
    pub idle_after_message: Duration,
    /// The reason of an error may come this long after the error (1 s).
    pub error_reason: Duration,
    /// The log is read again from this long before the last event (5 s): storage order is not strictly the order of
    /// timestamps.
    pub log_overlap: Duration,
    /// An agent-server that does not respond for this time is lost, and with it the run (45 s). A frozen or restarted one
    /// that is back earlier is not.
    pub server_silence: Duration,
    /// An agent-server that responds only with errors for this time is lost too (300 s).
    pub server_errors: Duration,
    /// An agent-server that keeps the socket alive and responds to no request is believed to be busy for this long (3,600 s).
    /// On two cores it has six threads for requests. A command of an agent takes one; each new subscription, and the cost of the LLM's last
    /// answer, take another until that command ends (1.58.2).
    pub server_busy: Duration,
    /// The last look at a server that seems lost (8 s).
    pub last_look: Duration,
    /// Stopping an agent at a cost or time limit (20 s). A pause works when its answer is not waited for.
    pub stop_agent: Duration,

    /// One attempt to deliver the completion callback (20 s). The service reads the conversation meanwhile, which can take it
    /// 30 s (1.25.0, with a hung agent-server); a second attempt then finds the run settled.
    pub callback_attempt: Duration,
    /// One attempt to post a phase (10 s).
    pub phase_attempt: Duration,

    /// Between attempts at a local agent-server (50 ms to 2 s).
    pub agent_server_delays: RetryDelays,
    /// Between attempts at the Cloud API (500 ms to 10 s).
    pub cloud_delays: RetryDelays,
    /// Between two requests for a sandbox while the account is at its limit (5 to 30 s).
    pub capacity_delays: RetryDelays,
    /// Between two requests to an agent-server in which as many conversations work as may (500 ms to 10 s).
    pub run_capacity_delays: RetryDelays,
    /// Between looks at a sandbox that is not ready yet (250 ms to 2 s).
    pub cloud_poll_delays: RetryDelays,
    /// Between attempts at a clone (1 s to 5 s).
    pub git_server_delays: RetryDelays,
    /// Between attempts to deliver the completion callback (250 ms to 15 s).
    pub callback_delays: RetryDelays,
    /// Between attempts to open the events socket (100 ms to 5 s).
    pub socket_delays: RetryDelays,
}

/// The delays between the attempts of a retry. They double from the first to the longest, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelays {
    /// After the first attempt.
    pub first: Duration,
    /// After this many attempts they do not grow further.
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

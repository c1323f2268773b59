//! Every time limit, interval and retry budget of the program, in one table.
//!
//! All are measured on the monotonic clock. Limits of the run itself (`limits` of the task file) are the user's.

use std::time::Duration;

/// How long a run waits for the agent-server to be ready, unless `--ready-timeout` says otherwise.
pub const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// One look at `/ready` while waiting.
pub const READY_ATTEMPT: Duration = Duration::from_secs(5);

/// Opening a TCP connection, TLS included.
pub const CONNECT: Duration = Duration::from_secs(5);
/// One call of the agent-server or the Cloud API. With five runs on two cores, an agent-server took 30 s for a
/// `GET`.
pub const REQUEST: Duration = Duration::from_secs(40);
/// One call that the agent-server answers only after the command that the agent has running: `pause`, `run` and
/// `events` on some versions.
pub const BUSY_REQUEST: Duration = Duration::from_secs(120);
/// A transfer of a file that moves no byte for this time is given up.
pub const STALLED: Duration = Duration::from_secs(60);
/// An idle connection is not used again after this time: uvicorn closes it after 5 s.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// A new sandbox may take this long until it is ready, unless told otherwise.
pub const SANDBOX_INIT: Duration = Duration::from_secs(300);
/// One call of the Cloud API about a sandbox, unless told otherwise.
pub const SANDBOX_REQUEST: Duration = Duration::from_secs(60);
/// A sandbox may report an error without a reason for this long while it boots (1.11.0: 5 to 10 s, more on a busy machine).
pub const SANDBOX_ERROR: Duration = Duration::from_secs(20);
/// A sandbox may be unknown for this long after it was made.
pub const SANDBOX_UNKNOWN: Duration = Duration::from_secs(15);
/// A sandbox whose making was cut off shows up within this time: it is listed a second after the request came.
pub const SANDBOX_SHOWS_UP: Duration = Duration::from_secs(20);
/// Whose the only new sandbox is, nobody can tell before this time after the request: another job's may be listed before ours.
pub const SANDBOX_LISTED: Duration = Duration::from_secs(3);
/// Deleting a sandbox from `Drop`, which holds up its thread.
pub const SANDBOX_DROP: Duration = Duration::from_secs(30);
/// A launched run's guardian may take this long to deliver the outcome before the sandbox is deleted under it.
pub const LAST_DELIVERY: Duration = Duration::from_secs(60);
/// Ending a command that could not be started for certain, and removing its files.
pub const TIDY_UP: Duration = Duration::from_secs(10);

/// All attempts of one call of the Cloud API.
pub const CLOUD_BUDGET: Duration = Duration::from_secs(90);
/// All attempts of one call that sets up the conversation.
pub const SETUP_BUDGET: Duration = Duration::from_secs(60);

/// Cloning one repository, unless the task says otherwise.
pub const CLONE: Duration = Duration::from_secs(300);
/// Attempts at a clone that fails on the way, some 12 s of waiting: names that do not exist look the same.
pub const CLONE_ATTEMPTS: u32 = 5;
/// One call for skills: the agent-server may clone the public ones meanwhile.
pub const SKILLS: Duration = Duration::from_secs(60);
/// All attempts of such a call: a run does without.
pub const SKILLS_BUDGET: Duration = Duration::from_secs(5);

/// The handshake of the events socket.
pub const SOCKET_HANDSHAKE: Duration = Duration::from_secs(10);
/// Our own pings on the events socket; agent-servers before 1.22.1 send none.
pub const SOCKET_PING: Duration = Duration::from_secs(10);
/// A socket on which nothing arrives for this time, not even an answer to a ping, is opened anew.
pub const SOCKET_SILENCE: Duration = Duration::from_secs(32);
/// The state of the conversation is read this often while the socket works.
pub const POLL_WITH_SOCKET: Duration = Duration::from_secs(15);
/// The state of the conversation is read this often while the socket is down.
pub const POLL_WITHOUT_SOCKET: Duration = Duration::from_secs(2);
/// The same while the socket works and the run has a cost limit, for versions that do not send the cost (to 1.16.1).
pub const POLL_WITH_BUDGET: Duration = Duration::from_secs(5);
/// A first subscription may take this long before the run goes on with polling.
pub const SUBSCRIBE: Duration = SOCKET_HANDSHAKE;
/// A claimed end of a turn waits this long for the state that follows a run, on versions that send it.
pub const LAST_WORD: Duration = Duration::from_secs(2);
/// An end that could not be confirmed is looked at again after this time.
pub const CONFIRM_AGAIN: Duration = Duration::from_secs(1);
/// A conversation that is still idle this long after a message has its run started once more.
pub const IDLE_AFTER_MESSAGE: Duration = Duration::from_secs(5);
/// The reason of an error may come this long after the error.
pub const ERROR_REASON: Duration = Duration::from_secs(1);
/// The log is read again from this long before the last event: storage order is not strictly the order of timestamps.
pub const LOG_OVERLAP: Duration = Duration::from_secs(5);
/// An agent-server that gives no sign of life for this time is lost, and with it the run. A frozen or restarted one
/// that is back earlier is not.
pub const SERVER_SILENCE: Duration = Duration::from_secs(45);
/// An agent-server that answers with nothing but errors for this time is lost too.
pub const SERVER_ERRORS: Duration = Duration::from_secs(300);
/// The last look at a server that seems lost.
pub const LAST_LOOK: Duration = Duration::from_secs(8);

/// One attempt to deliver the completion callback. The service reads the conversation meanwhile, which can take it 30 s
/// (1.25.0, with a hung agent-server); a second attempt then finds the run settled.
pub const CALLBACK_ATTEMPT: Duration = Duration::from_secs(20);
/// One attempt to post a phase.
pub const PHASE_ATTEMPT: Duration = Duration::from_secs(10);
/// Between two of the agent's summaries that are posted as phases.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(4);
/// A phase that lasts is posted again after this time: so a cancelled run is noticed.
pub const PHASE_REPEAT: Duration = Duration::from_secs(10);
/// How long the guardian tries to deliver what the runner could not, unless `--guardian-budget` says otherwise.
pub const GUARDIAN_BUDGET: Duration = Duration::from_secs(15 * 60);
/// How long a new runner of the same run may take over from one that died, unless `--restart-grace` says otherwise.
pub const TAKEOVER_WINDOW: Duration = Duration::from_secs(3);

/// A run that goes on after its time has this long to find its agent and stop it.
pub const ATTACH: Duration = Duration::from_secs(20);
/// The agent is asked to wrap up this long before the end, unless `--soft-landing` says otherwise.
pub const SOFT_LANDING: Duration = Duration::from_secs(10);
/// Finding out when the agent-server would end this process.
pub const LIMIT_SEARCH: Duration = Duration::from_secs(5);
/// A run ends this long before the agent-server would end it, so that its outcome is delivered by then.
pub const BEFORE_KILL: Duration = Duration::from_secs(3);

/// A record's way into standard output while nobody reads it; then the run goes on without standard output.
pub const SLOW_READER: Duration = Duration::from_secs(30);

/// What the end of a run may take.
#[derive(Debug, Clone, Copy)]
pub struct ShutdownBudgets {
    /// Stopping the agent and reading its final message.
    pub agent: Duration,
    /// The result's way into a pipe that is slow to be read.
    pub output: Duration,
    /// All attempts that the runner itself makes to deliver the callback; then it is the guardian's.
    pub callback: Duration,
    /// The end of an agent-server that we started; agent-server 1.58.0 takes 6 s.
    pub server: Duration,
}

/// Nobody is in a hurry.
pub const UNHURRIED: ShutdownBudgets = ShutdownBudgets {
    agent: Duration::from_secs(20),
    output: Duration::from_secs(5),
    callback: Duration::from_secs(60),
    server: Duration::from_secs(15),
};
/// A time limit: the next thing may be a signal.
pub const AFTER_TIME_LIMIT: ShutdownBudgets = ShutdownBudgets {
    agent: Duration::from_secs(1),
    output: Duration::from_millis(500),
    callback: Duration::from_secs(60),
    server: Duration::from_secs(15),
};
/// A signal: one second after SIGTERM comes SIGKILL (agent-server, bash commands), ten seconds after it in a container.
pub const AFTER_SIGNAL: ShutdownBudgets = ShutdownBudgets {
    agent: Duration::from_millis(150),
    output: Duration::from_millis(50),
    callback: Duration::from_millis(500),
    server: Duration::from_secs(4),
};

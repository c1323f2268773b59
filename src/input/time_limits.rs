//! Every time limit, interval and retry budget of the program, as one value. Those of the library are a part of it.
//!
//! All are measured on the monotonic clock. Limits of the run itself (`limits` of the task file) are the user's.

use std::time::Duration;

use openhands_client::time_limits::TimeLimits;

/// Time limits of the program. Made once, when it starts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunnerTimeLimits {
    /// The library's.
    pub(crate) client: TimeLimits,
    /// What a run may take before and during its conversation.
    pub(crate) run: RunLimits,
    /// What the end of a run may take.
    pub(crate) shutdown: ShutdownLimits,
    /// The guardian's line and the hand-over of a run.
    pub(crate) guardian: GuardianLimits,
}

/// What a run and a `launch` may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunLimits {
    /// How long a run waits for the agent-server to be ready, unless `--ready-timeout` says otherwise.
    pub(crate) ready_timeout: Duration,
    /// Cloning one repository, unless the task says otherwise.
    pub(crate) clone: Duration,
    /// Attempts at a clone that fails on the way, some 12 s of waiting: names that do not exist look the same.
    pub(crate) clone_attempts: u32,
    /// A command of the task file, unless the task says otherwise.
    pub(crate) command: Duration,
    /// All attempts of one call for skills: a run does without.
    pub(crate) skills_budget: Duration,
    /// Reading the values of the account's secrets that the agent gets: a run does without.
    pub(crate) secret_values: Duration,
    /// Between two of the agent's summaries that are posted as phases.
    pub(crate) summary_interval: Duration,
    /// A phase that lasts is posted again after this time: so a cancelled run is noticed.
    pub(crate) phase_repeat: Duration,
    /// A record's way into standard output while no one reads it; then the run continues without standard output.
    pub(crate) slow_reader: Duration,
    /// A run that continues after its time has this long to find its agent and stop it.
    pub(crate) attach: Duration,
    /// The agent is asked to wrap up this long before the end, unless `--soft-landing` says otherwise.
    pub(crate) soft_landing: Duration,
    /// A reminder that leaves the agent less time is left out.
    pub(crate) reminder: Duration,
    /// Finding out when the agent-server would end this process.
    pub(crate) limit_search: Duration,
    /// A run ends this long before the agent-server would end it, so that its outcome is delivered by then.
    pub(crate) before_kill: Duration,
    /// A launched run's guardian may take this long to deliver the outcome before the sandbox is deleted under it.
    pub(crate) last_delivery: Duration,
    /// Between two looks at that delivery.
    pub(crate) delivery_poll: Duration,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            ready_timeout: Duration::from_secs(120),
            clone: Duration::from_secs(300),
            clone_attempts: 5,
            command: Duration::from_secs(600),
            skills_budget: Duration::from_secs(5),
            secret_values: Duration::from_secs(5),
            summary_interval: Duration::from_secs(4),
            phase_repeat: Duration::from_secs(10),
            slow_reader: Duration::from_secs(30),
            attach: Duration::from_secs(20),
            soft_landing: Duration::from_secs(10),
            reminder: Duration::from_secs(20),
            limit_search: Duration::from_secs(5),
            before_kill: Duration::from_secs(3),
            last_delivery: Duration::from_secs(60),
            delivery_poll: Duration::from_millis(500),
        }
    }
}

/// What the end of a run may take, for each kind of end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShutdownLimits {
    /// Nothing presses.
    pub(crate) unhurried: ShutdownBudgets,
    /// A time limit: the next thing may be a signal.
    pub(crate) after_time_limit: ShutdownBudgets,
    /// A signal: one second after SIGTERM comes SIGKILL (agent-server, bash commands), ten seconds after it in a container.
    pub(crate) after_signal: ShutdownBudgets,
    /// The same when the agent-server is on another machine: no server that kills so soon has started us, and a round trip takes
    /// its time.
    pub(crate) after_signal_from_outside: ShutdownBudgets,
    /// A run with a run folder ends this much earlier than it has to be over: what is kept takes its time.
    pub(crate) for_salvage: Duration,
    /// The last output of an agent-server that we started, after its end.
    pub(crate) last_output: Duration,
}

/// What the end of a run may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShutdownBudgets {
    /// Stopping the agent and reading its final message.
    pub(crate) agent: Duration,
    /// The result's way into a pipe that is slow to be read.
    pub(crate) output: Duration,
    /// Completing the log of the run folder.
    pub(crate) folder: Duration,
    /// Keeping the agent's work: the patch, and the collected files.
    pub(crate) salvage: Duration,
    /// Whether that comes behind the callback and the result, which then get it later.
    pub(crate) salvages_last: bool,
    /// All attempts that the runner itself makes to deliver the callback; then it is the guardian's.
    pub(crate) callback: Duration,
    /// The end of an agent-server that we started; agent-server 1.58.0 takes 6 s.
    pub(crate) server: Duration,
}

impl Default for ShutdownLimits {
    fn default() -> Self {
        Self {
            unhurried: ShutdownBudgets {
                agent: Duration::from_secs(20),
                output: Duration::from_secs(5),
                folder: Duration::from_secs(30),
                salvage: Duration::from_secs(30),
                salvages_last: false,
                callback: Duration::from_secs(60),
                server: Duration::from_secs(15),
            },
            after_time_limit: ShutdownBudgets {
                agent: Duration::from_secs(1),
                output: Duration::from_millis(500),
                folder: Duration::from_secs(2),
                salvage: Duration::from_secs(5),
                salvages_last: false,
                callback: Duration::from_secs(60),
                server: Duration::from_secs(15),
            },
            after_signal: ShutdownBudgets {
                agent: Duration::from_millis(150),
                output: Duration::from_millis(50),
                folder: Duration::from_millis(100),
                salvage: Duration::from_millis(2500),
                salvages_last: true,
                callback: Duration::from_millis(500),
                server: Duration::from_secs(4),
            },
            after_signal_from_outside: ShutdownBudgets {
                agent: Duration::from_secs(3),
                output: Duration::from_millis(50),
                folder: Duration::from_millis(500),
                salvage: Duration::from_secs(5),
                salvages_last: true,
                callback: Duration::from_millis(500),
                server: Duration::from_secs(4),
            },
            for_salvage: Duration::from_secs(5),
            last_output: Duration::from_secs(1),
        }
    }
}

/// Limits between our own processes: runner, guardian and a new runner of the same run. They bound what a busy machine may
/// delay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardianLimits {
    /// How long the guardian tries to deliver what the runner could not, unless `--guardian-budget` says otherwise.
    pub(crate) budget: Duration,
    /// How long a new runner of the same run may take over from one that died, unless `--restart-grace` says otherwise.
    pub(crate) takeover_window: Duration,
    /// A guardian is armed within milliseconds; after this time the runner continues without waiting for it.
    pub(crate) arming: Duration,
    /// The guardian reads all the time; if it does not, the runner must not wait for it.
    pub(crate) sending: Duration,
    /// A runner that is being killed is given this time to be dead before it counts as alive.
    pub(crate) dying: Duration,
    /// A runner that has named no outcome this long after its deadline is frozen: the guardian reports the time-out.
    pub(crate) frozen: Duration,
    /// An outcome that a living runner has not delivered after this time is the guardian's to deliver: longer than all that a
    /// runner does at its end.
    pub(crate) undelivered: Duration,
    /// A new runner waits this long for each of a guardian's messages.
    pub(crate) answer: Duration,
    /// A new runner waits this long for the guardian's decision.
    pub(crate) decision: Duration,
    /// A guardian waits this long until a run that it has handed over has a guardian of its own.
    pub(crate) taking: Duration,
}

impl Default for GuardianLimits {
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(15 * 60),
            takeover_window: Duration::from_secs(3),
            arming: Duration::from_secs(5),
            sending: Duration::from_millis(100),
            dying: Duration::from_millis(500),
            frozen: Duration::from_secs(30),
            undelivered: Duration::from_secs(180),
            answer: Duration::from_secs(2),
            decision: Duration::from_secs(6),
            taking: Duration::from_secs(10),
        }
    }
}

/// Limits of PID 1. It is a process of its own, which does not read the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InitLimits {
    /// `docker stop` kills 10 s after its SIGTERM; a guardian gets what is left of that after the runner.
    pub(crate) after_signal: Duration,
    /// A guardian ends by itself when its own budget is over. PID 1 waits for this time longer.
    pub(crate) beyond_budget: Duration,
}

impl Default for InitLimits {
    fn default() -> Self {
        Self { after_signal: Duration::from_secs(8), beyond_budget: Duration::from_secs(60) }
    }
}

//! All time limits, intervals and retry budgets of the program, in one value, which includes those of the library.
//!
//! All are measured with the monotonic clock. The limits of a run (`limits` in the task file) are set by the user and are not
//! part of this.

use std::time::Duration;

use openhands_client::time_limits::TimeLimits;

/// Time limits of the program. Created once, at the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunnerTimeLimits {
    /// Limits of the library.
    pub(crate) client: TimeLimits,
    /// Limits before and during the conversation.
    pub(crate) run: RunLimits,
    /// Limits of the end of a run.
    pub(crate) shutdown: ShutdownLimits,
    /// Limits of the communication with the guardian.
    pub(crate) guardian: GuardianLimits,
}

/// Limits of a run and a `launch`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunLimits {
    /// How long a run waits until the agent-server is ready, unless `--ready-timeout` is set.
    pub(crate) ready_timeout: Duration,
    /// Cloning one repository, unless the task sets another limit.
    pub(crate) clone: Duration,
    /// The number of attempts of a clone that fails midway, with about 12 s of waiting: unknown host names fail in the same way.
    pub(crate) clone_attempts: u32,
    /// A command of the task file, unless the task sets another limit.
    pub(crate) command: Duration,
    /// All attempts of one call for skills. A run can continue without them.
    pub(crate) skills_budget: Duration,
    /// Reading the values of the account's secrets that the agent gets. A run can continue without them.
    pub(crate) secret_values: Duration,
    /// The interval between two of the agent's summaries that are posted as phases.
    pub(crate) summary_interval: Duration,
    /// The interval at which a long phase is posted again, so that a cancelled run is noticed.
    pub(crate) phase_repeat: Duration,
    /// Writing a record to standard output while no one reads it. After that, the run continues without standard output.
    pub(crate) slow_reader: Duration,
    /// How long a run that continues after its time limit has to find its agent and stop it.
    pub(crate) attach: Duration,
    /// How long before the end the agent is asked to wrap up, unless `--soft-landing` is set.
    pub(crate) soft_landing: Duration,
    /// The remaining time below which a reminder is left out.
    pub(crate) reminder: Duration,
    /// Finding out when the agent-server will end this process.
    pub(crate) limit_search: Duration,
    /// How long before the agent-server ends it a run ends by itself, so that its outcome is delivered in time.
    pub(crate) before_kill: Duration,
    /// How long the guardian of a launched run has to deliver the outcome before the sandbox is deleted.
    pub(crate) last_delivery: Duration,
    /// The interval between two checks of that delivery.
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

/// Limits of the end of a run, for each kind of end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShutdownLimits {
    /// An end without time pressure.
    pub(crate) unhurried: ShutdownBudgets,
    /// An end at a time limit: a signal may follow.
    pub(crate) after_time_limit: ShutdownBudgets,
    /// An end by a signal: SIGKILL follows one second after SIGTERM (agent-server, bash commands), or ten seconds after it in a
    /// container.
    pub(crate) after_signal: ShutdownBudgets,
    /// An end by a signal if the agent-server is on another machine: this process was not started by a server that kills it so
    /// soon, and a round trip takes longer.
    pub(crate) after_signal_from_outside: ShutdownBudgets,
    /// How much earlier a run with a run folder ends, so that there is time to collect the agent's work.
    pub(crate) for_salvage: Duration,
    /// The last output of an agent-server that this process has started, after the server's end.
    pub(crate) last_output: Duration,
}

/// Time budgets of the end of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShutdownBudgets {
    /// Stopping the agent and reading its final message.
    pub(crate) agent: Duration,
    /// Writing the result to a pipe with a slow reader.
    pub(crate) output: Duration,
    /// Completing the log of the run folder.
    pub(crate) folder: Duration,
    /// Collecting the agent's work: the patch and the collected files.
    pub(crate) salvage: Duration,
    /// Whether that comes after the callback and the result, which then get it later.
    pub(crate) salvages_last: bool,
    /// All attempts of the runner itself to deliver the callback. After that, the guardian delivers it.
    pub(crate) callback: Duration,
    /// Ending an agent-server that this process has started; agent-server 1.58.0 takes 6 s.
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

/// Limits between our own processes: runner, guardian and a new runner of the same run. They allow for the delays of a busy
/// machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardianLimits {
    /// How long the guardian tries to deliver what the runner could not deliver, unless `--guardian-budget` is set.
    pub(crate) budget: Duration,
    /// How long a new runner of the same run can take over from one that died, unless `--restart-grace` is set.
    pub(crate) takeover_window: Duration,
    /// How long the runner waits for a guardian to start, which usually takes milliseconds. After that, it continues without
    /// waiting.
    pub(crate) arming: Duration,
    /// How long the runner waits for the guardian to read a message.
    pub(crate) sending: Duration,
    /// How long a runner that is being killed has to exit before it counts as alive.
    pub(crate) dying: Duration,
    /// The time after its deadline at which a runner without an outcome counts as frozen. The guardian then reports the timeout.
    pub(crate) frozen: Duration,
    /// The time after which the guardian delivers an outcome that a living runner has not delivered: longer than everything that
    /// a runner does at its end.
    pub(crate) undelivered: Duration,
    /// How long a new runner waits for each message of a guardian.
    pub(crate) answer: Duration,
    /// How long a new runner waits for the guardian's decision.
    pub(crate) decision: Duration,
    /// How long a guardian waits until a run that it has handed over has its own guardian.
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

/// Limits of PID 1, a separate process that does not read the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InitLimits {
    /// How long after SIGTERM everything has to be over: `docker stop` kills after 10 s. A guardian gets what is left of that
    /// after the runner.
    pub(crate) after_signal: Duration,
    /// How much longer than a guardian's own budget PID 1 waits for it. A guardian ends by itself when its budget is used up.
    pub(crate) beyond_budget: Duration,
}

impl Default for InitLimits {
    fn default() -> Self {
        Self { after_signal: Duration::from_secs(8), beyond_budget: Duration::from_secs(60) }
    }
}

//! Who sees what a run does: sinks get every record and change nothing.

pub(crate) mod derived;
mod facts;
pub(crate) mod folder;
pub(crate) mod github;
pub(crate) mod jsonl;
pub(crate) mod output;
pub(crate) mod phases;
pub(crate) mod progress;
pub(crate) mod status;
mod stdout;
pub(crate) mod tally;
pub(crate) mod terminal;

use futures_util::future::BoxFuture;
use openhands_client::agent_server::Event;
use openhands_client::agent_server::event::Meaning;
use openhands_client::ids::ConversationId;
use openhands_client::secret::Redactor;
use openhands_client::text;

use crate::outcome::{CommandResult, RunResult};

/// Where in its course a run is, before its first turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// What the user gave is read, and the agent-server waited for.
    SettingUp,
    /// The task's repositories are cloned.
    CloningRepositories,
    /// The agent-server is asked for skills.
    LoadingSkills,
    /// The account's LLM, secrets and MCP servers are read, and the conversation is started.
    Configuring,
}

/// What a command of the task file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It prepares the workspace for the agent.
    Setup,
    /// It must pass after the agent has finished.
    Check {
        /// From 1.
        attempt: u32,
    },
}

impl Duty {
    /// The name of the stage in results and states.
    #[must_use]
    pub(crate) fn stage(self) -> &'static str {
        match self {
            Self::Setup => "setup commands",
            Self::Check { .. } => "checks",
        }
    }

    /// What one of its commands is called.
    #[must_use]
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Setup => "setup command",
            Self::Check { .. } => "check",
        }
    }
}

/// Something that a run did or saw.
#[derive(Debug)]
pub(crate) enum Record<'r> {
    /// A stage begins.
    Stage(Stage),
    /// The conversation exists.
    Conversation {
        /// Its id.
        id: ConversationId,
        /// Whether it was made for this run.
        new: bool,
    },
    /// A command of the task file begins.
    Command {
        /// What it is for.
        duty: Duty,
        /// From 1.
        number: usize,
        /// Commands for this in all.
        of: usize,
        /// What people call it.
        name: &'r str,
    },
    /// The same command has ended.
    CommandEnded {
        /// What it was for.
        duty: Duty,
        /// What it did.
        result: &'r CommandResult,
    },
    /// A turn begins.
    Turn {
        /// From 1.
        number: usize,
        /// Turns in all.
        of: usize,
        /// The message to the agent.
        message: &'r str,
    },
    /// An event of the conversation, each once.
    Event {
        /// As the server sent it.
        event: &'r Event,
        /// What it means to a run.
        meaning: &'r Meaning,
    },
    /// The run is over.
    Result(&'r RunResult),
    /// The result with what became known behind it. For files that can be written again.
    Amended(&'r RunResult),
}

/// Sees every record of a run.
pub(crate) trait Sink: Send {
    /// Takes a record. Waiting here holds the run back, as a full pipe does.
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()>;
}

/// Text from outside as one line of at most this many characters, without secrets. They are masked before the text is cut: one that is cut
/// would not be known any more.
#[must_use]
pub(crate) fn shown_line(text: &str, longest: usize, redactor: &Redactor) -> String {
    text::one_line(&redactor.redact(&text::one_line(text, usize::MAX)), longest)
}

/// Text from outside with its line breaks, without secrets. They are masked when nothing invisible splits them any more.
fn printable(text: &str, redactor: &Redactor) -> String {
    redactor.redact(&text::printable(text)).into_owned()
}

/// All sinks of a run.
#[derive(Default)]
pub(crate) struct Sinks(Vec<Box<dyn Sink>>);

impl Sinks {
    /// Adds a sink.
    #[must_use]
    pub(crate) fn with(mut self, sink: impl Sink + 'static) -> Self {
        self.0.push(Box::new(sink));
        self
    }

    /// Adds a sink.
    pub(crate) fn add(&mut self, sink: impl Sink + 'static) {
        self.0.push(Box::new(sink));
    }

    /// Hands a record to every sink.
    pub(crate) async fn record(&mut self, record: &Record<'_>) {
        for sink in &mut self.0 {
            sink.record(record).await;
        }
    }
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sinks", self.0.len())
    }
}

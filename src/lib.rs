//! Runs an OpenHands automation inside its sandbox, and tells the outcome to whoever scheduled it.
//!
//! The binary `openhands-runner` is a thin shell over this library.
//!
//! # The flow
//!
//! ```text
//! argv + environment + task file
//!       │ parse, validate: every problem at once, before anything is started
//!       ▼
//!    RunPlan ──────► Workspace ──────► conversation::drive ──────► Outcome ──► callback, exit code,
//!  (plain value)   agent-server,       start or re-attach,       (plain value)   result, log
//!                  LLM, secrets;       send turns, follow events,
//!                  repos, skills       limits
//!                                          └──► sinks: progress, standard output
//! ```
//!
//! # The map
//!
//! What the user gave:
//! - [`cli`]: the command line;
//! - [`config`]: the environment, as text, as reporting, as settings;
//! - [`task`]: the task file;
//! - [`problem`]: what is wrong with any of them;
//! - [`plan`]: all of it as one value, [`plan::RunPlan`].
//!
//! The servers, each with its wire types and a client of one method per endpoint:
//! - [`agent_server`]: in the sandbox;
//! - [`cloud`]: owner of sandboxes, LLM settings and secrets;
//! - [`automation`]: what scheduled the run, and takes the completion callback.
//!
//! From outside:
//! - [`sandbox`]: sandboxes that are made, used and ended, with commands and files in them;
//! - [`workspace::CloudWorkspace`]: one in OpenHands Cloud;
//! - [`commands`]: what the program does with them.
//!
//! The run:
//! - [`workspace`]: where the agent works, and whose LLM, secrets and MCP servers it gets;
//! - [`prepare`]: what is done before the conversation, with [`repos`], [`skills`] and [`prompt`];
//! - [`conversation`]: drives one conversation through its turns;
//! - [`sink`]: who sees what happens;
//! - [`answer`]: what the agent is asked to give at its end;
//! - [`outcome`]: how it ended, and what follows from that;
//! - [`server_process`]: an agent-server of our own, where the sandbox has none;
//! - [`runner`]: all of it, from the environment to the exit code.
//!
//! The process:
//! - [`shutdown`]: which signals ask it to end;
//! - [`guardian`]: delivers the outcome when we cannot;
//! - [`init`]: the duties of PID 1;
//! - [`ancestry`]: who started us;
//! - [`conceal`]: keeps our keys from the other processes of the sandbox.
//!
//! What everything stands on: [`http`], [`retry`], [`timing`], [`secret`], [`mask`], [`logging`], [`ids`], [`display`], [`schema`].
//!
//! # Driving a conversation from a program
//!
//! ```no_run
//! use openhands_runner::agent_server::{self, ready::await_ready};
//! use openhands_runner::config::settings::{AgentServer, Network, local_agent_server};
//! use openhands_runner::conversation::{self, Equipment, Server};
//! use openhands_runner::http::Http;
//! use openhands_runner::ids::ConversationId;
//! use openhands_runner::plan::ConversationPlan;
//! use openhands_runner::agent_server::wire::Llm;
//! use openhands_runner::sink::{Sinks, progress::Progress};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let http = Http::new(&Network::default())?;
//! let address = AgentServer { url: local_agent_server(60000), session_key: None };
//! let client = agent_server::Client::new(http, &address);
//! let capabilities = await_ready(&client, std::time::Duration::from_secs(30)).await?;
//! let server = Server { client, capabilities };
//!
//! let plan = ConversationPlan::new(ConversationId::random(), "Write 3 facts about this directory into FACTS.txt.");
//! let llm = Llm::new("anthropic/claude-sonnet-4-5", "sk-…");
//! let equipment = Equipment { llm, ..Equipment::default() };
//! let mut sinks = Sinks::default().with(Progress::default());
//! let known = tokio::sync::watch::Sender::default();
//! if let Err(failure) = conversation::drive(&server, &plan, equipment, &mut sinks, &known, None).await {
//!     eprintln!("{}: {}", failure.code(), failure.detail);
//! }
//! let answer = conversation::final_message(&server, plan.id).await?;
//! # Ok(())
//! # }
//! ```

pub mod agent_server;
pub mod ancestry;
pub mod answer;
pub mod automation;
pub mod cli;
pub mod cloud;
pub mod commands;
pub mod conceal;
pub mod config;
pub mod conversation;
pub mod display;
pub mod guardian;
pub mod http;
pub mod ids;
pub mod init;
pub mod logging;
pub mod mask;
pub mod outcome;
pub mod plan;
pub mod prepare;
pub mod problem;
pub mod prompt;
pub mod repos;
pub mod retry;
pub mod runner;
pub mod sandbox;
pub mod schema;
pub mod secret;
pub mod server_process;
pub mod shutdown;
pub mod sink;
pub mod skills;
pub mod task;
pub mod timing;
pub mod workspace;

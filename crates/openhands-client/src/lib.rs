//! A client for OpenHands: runs conversations with an agent, in a sandbox of OpenHands Cloud or on any agent-server.
//!
//! # Connect and converse
//!
//! A workspace is a sandbox together with the account that it belongs to. A conversation is the work of an agent in a workspace.
//!
//! ```no_run
//! # async fn example(api_key: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use openhands_client::{Agent, CloudWorkspace};
//!
//! let workspace = CloudWorkspace::open(api_key).await?; // a builder sets URL, spec, timeouts, keep_alive
//! let mut conversation = workspace
//!     .conversation(Agent::default_with(workspace.llm().await?))
//!     .secrets(workspace.secrets().await?)
//!     .on_event(|event| eprintln!("{}", event.kind))
//!     .start()
//!     .await?;
//! conversation.send("Read the current repo and write 3 facts about the project into FACTS.txt.").await?;
//! conversation.run().await?; // waits until the turn is over
//! conversation.send("Great! Now delete that file.").await?;
//! conversation.run().await?;
//! println!("EXAMPLE_COST: {}", conversation.cost());
//! conversation.close().await?;
//! workspace.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Work in a sandbox
//!
//! ```no_run
//! # async fn example(mut workspace: openhands_client::CloudWorkspace) -> Result<(), Box<dyn std::error::Error>> {
//! let llm = workspace.llm().await?.model("gpt-4o").temperature(0.5);
//! let token = workspace.secrets_named(["GITHUB_TOKEN"]).await?;
//!
//! let result = workspace.execute_command("echo hi && pwd").await?;
//! println!("{:?} {} {}", result.exit_code(), result.stdout_text(), result.stderr_text());
//! workspace.upload("data", "/tmp/data").await?;
//! workspace.upload_bytes("one line\n", "/tmp/line").await?;
//! let line = workspace.download_bytes("/tmp/line").await?;
//!
//! workspace.pause().await?;
//! workspace.resume().await?;
//! workspace.keep_alive();
//! # Ok(())
//! # }
//! ```
//!
//! # Inside a sandbox
//!
//! A program that runs in a sandbox, such as an automation, opens an [`InsideWorkspace`], which also sends the completion
//! callback.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use openhands_client::InsideWorkspace;
//!
//! # #[allow(clippy::disallowed_methods)]
//! let workspace = InsideWorkspace::from_variables(std::env::vars())?.open().await?;
//! // … a conversation …
//! workspace.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! - [`workspace`]: a sandbox with its account; most programs start here;
//! - [`conversation`]: an agent's work, from the first message to the end;
//! - [`sandbox`]: commands, files and programs in a sandbox, and the providers of sandboxes;
//! - [`automation`]: the completion callback of a run.

pub mod automation;
pub mod conversation;
pub mod sandbox;
pub mod workspace;

// The lower layers. They are public only for the program `openhands-runner` and have no stability promise, like every other item
// with `#[doc(hidden)]`.
#[doc(hidden)]
pub mod agent_server;
#[doc(hidden)]
pub mod cloud;
#[doc(hidden)]
pub mod collections;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod hostile;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod ids;
#[doc(hidden)]
pub mod off_thread;
#[doc(hidden)]
pub mod redact;
#[doc(hidden)]
pub mod retry;
#[doc(hidden)]
pub mod secret;
#[doc(hidden)]
pub mod text;
#[doc(hidden)]
pub mod time_limits;

pub use agent_server::Event;
pub use agent_server::wire::{Agent, Llm, Secrets};
pub use conversation::{Conversation, ConversationError, TurnEnd};
pub use http::HttpError;
pub use secret::Secret;
pub use workspace::{CloudWorkspace, InsideWorkspace, Workspace};

/// Compiles the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

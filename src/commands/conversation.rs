//! The story of a conversation on an agent-server, in this sandbox or another one.

use openhands_client::agent_server::AgentServerClient;
use openhands_client::conversation::ConversationError;
use openhands_client::http::HttpError;
use openhands_client::ids::ConversationId;
use openhands_client::secret::Redactor;

use super::{CommandContext, UsableSandbox, until_signal};
use crate::cli::ReportArgs;
use crate::input::settings::{Overrides, Settings};
use crate::outcome::{Failure, FailureKind};
use crate::process::signals::Shutdown;
use crate::report::{Story, StoryReader};
use crate::sinks::jsonl;
use crate::stored_events::StoredEvents;

/// Reads the story of a conversation.
pub(super) async fn story(
    context: &CommandContext,
    id: ConversationId,
    args: &ReportArgs,
    shutdown: &mut Shutdown,
) -> Result<Story, Failure> {
    let redactor = &context.environment.redactor;
    if let Some(sandbox) = args.sandbox() {
        let read = async |UsableSandbox { ready, .. }: UsableSandbox, shutdown: &mut Shutdown| {
            until_signal(shutdown, read(&ready.server.client, id, redactor)).await
        };
        return context.within(context.sandbox(args.provider, &sandbox)?, shutdown, read).await;
    }
    let overrides = Overrides { agent_server_url: args.agent_server_url.clone(), ..Overrides::default() };
    let settings =
        Settings::from_env(context.raw(), &context.environment.not_text, overrides).map_err(Failure::invalid)?;
    let client = AgentServerClient::new(context.http()?, &settings.agent_server);
    until_signal(shutdown, read(&client, id, redactor)).await
}

async fn read(client: &AgentServerClient, id: ConversationId, redactor: &Redactor) -> Result<Story, Failure> {
    let failed = |source: HttpError| match source {
        HttpError::Status { status: 404, .. } => {
            Failure::new(FailureKind::InvalidInput, format!("the agent-server has no conversation {id}"))
        }
        source => Failure::from(ConversationError::Request { doing: "read the conversation", source }),
    };
    let about = client.conversation(id).await.map_err(failed)?;
    let mut reader = StoryReader::default();
    let mut stored = StoredEvents::of(client, id);
    while let Some(page) = stored.next().await.map_err(failed)? {
        for item in &page {
            reader.line(&jsonl::event(item.get(), redactor));
        }
    }
    reader.conversation(id, &about.stats);
    let empty = || Failure::new(FailureKind::InvalidInput, format!("conversation {id} has no events"));
    reader.end().ok_or_else(empty)
}

//! Operations on a conversation outside its turns.

use std::collections::BTreeMap;

use super::handle::request;
use super::{Conversation, ConversationError};
use crate::agent_server::client::EventQuery;
use crate::agent_server::{ConfirmationPolicy, Event, ForkOptions};
use crate::ids::ConversationId;

/// A page of the events of a conversation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundEvents {
    /// The events. Entries that are not events are left out.
    pub events: Vec<Event>,
    /// The value for [`EventQuery::page_id`] that reads the next page; `None` on the last page.
    pub next_page_id: Option<String>,
}

impl Conversation {
    /// Pauses the agent after its current step. A message resumes it.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn pause(&self) -> Result<(), ConversationError> {
        self.server().client.pause(self.id()).await.map_err(request("pause the agent"))
    }

    /// Interrupts the agent at once, from agent-server 1.24.0. [`Conversation::stop`] works on every version.
    ///
    /// # Errors
    /// [`ConversationError::Request`]; its source is [`HttpError::Unsupported`](crate::http::HttpError::Unsupported) on older
    /// versions.
    pub async fn interrupt(&self) -> Result<(), ConversationError> {
        self.server().client.interrupt(self.id()).await.map_err(request("interrupt the agent"))
    }

    /// Sets the title, of 1 to 200 characters.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn set_title(&self, title: &str) -> Result<(), ConversationError> {
        self.server().client.set_title(self.id(), title).await.map_err(request("set the title"))
    }

    /// Replaces all tags. Agent-server 1.11.5 rejects the request (422).
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn set_tags(&self, tags: &BTreeMap<String, String>) -> Result<(), ConversationError> {
        self.server().client.set_tags(self.id(), tags).await.map_err(request("set the tags"))
    }

    /// Copies the conversation with its events, and returns the id of the copy, which [`super::ConversationBuilder::id`]
    /// continues. The copy has the LLM of this conversation.
    ///
    /// # Errors
    /// [`ConversationError::Request`]; its source is [`HttpError::Unsupported`](crate::http::HttpError::Unsupported) on versions
    /// without it.
    pub async fn fork(&self, options: &ForkOptions) -> Result<ConversationId, ConversationError> {
        let fork = ConversationId::random();
        let forked = self.server().client.fork(self.id(), fork, options).await;
        forked.map_err(request("fork the conversation"))?;
        // The server's copy of the agent does not have the LLM's key (1.58.0, conversation_service.py, fork_conversation).
        if let Some(agent) = self.agent() {
            let switched = self.server().client.switch_llm(fork, &agent.llm).await;
            switched.map_err(request("give the fork its LLM"))?;
        }
        Ok(fork)
    }

    /// Summarizes the history with the agent's condenser.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn condense(&self) -> Result<(), ConversationError> {
        self.server().client.condense(self.id()).await.map_err(request("condense the conversation"))
    }

    /// Asks the agent a question outside the conversation, even while it works. Neither question nor response is stored as an
    /// event.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn ask_agent(&self, question: &str) -> Result<String, ConversationError> {
        self.server().client.ask_agent(self.id(), question).await.map_err(request("ask the agent"))
    }

    /// Sets which actions wait for confirmation. For such an action, [`Conversation::run`] returns
    /// [`TurnEnd::WaitingForConfirmation`](super::TurnEnd::WaitingForConfirmation).
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn set_confirmation_policy(&self, policy: ConfirmationPolicy) -> Result<(), ConversationError> {
        let set = self.server().client.set_confirmation_policy(self.id(), policy).await;
        set.map_err(request("set the confirmation policy"))
    }

    /// Confirms the actions that wait. [`Conversation::run`] then follows the turn.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn confirm(&mut self) -> Result<(), ConversationError> {
        self.driver.begin_turn();
        let accepted = self.server().client.respond_to_confirmation(self.id(), true, None).await;
        accepted.map_err(request("confirm the actions"))
    }

    /// Rejects the actions that wait, with a reason for the agent. The agent continues with its next step.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn reject(&mut self, reason: &str) -> Result<(), ConversationError> {
        self.driver.begin_turn();
        let rejected = self.server().client.respond_to_confirmation(self.id(), false, Some(reason)).await;
        rejected.map_err(request("reject the actions"))?;
        self.driver.start_run().await.map_err(request("continue after the rejection"))
    }

    /// Searches the events of the conversation on the server.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn search_events(&self, query: &EventQuery) -> Result<FoundEvents, ConversationError> {
        let page = self.server().client.events(self.id(), query).await.map_err(request("search the events"))?;
        let events = page.items.iter().filter_map(|item| Event::parse(item.get())).collect();
        Ok(FoundEvents { events, next_page_id: page.next_page_id })
    }

    /// Counts the events of the conversation on the server.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn count_events(&self, query: &EventQuery) -> Result<u64, ConversationError> {
        self.server().client.count_events(self.id(), query).await.map_err(request("count the events"))
    }

    /// Loads a plugin into the conversation.
    ///
    /// # Errors
    /// [`ConversationError::Request`]; its source is [`HttpError::Unsupported`](crate::http::HttpError::Unsupported) on versions
    /// without it.
    pub async fn load_plugin(&self, plugin: &str) -> Result<(), ConversationError> {
        self.server().client.load_plugin(self.id(), plugin).await.map_err(request("load the plugin"))
    }

    /// Deletes the conversation from the server.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn delete(self) -> Result<(), ConversationError> {
        self.server().client.delete_conversation(self.id()).await.map_err(request("delete the conversation"))
    }
}

//! The workspace of a run.

use openhands_client::agent_server::{self, AgentServerAddress};
use openhands_client::cloud;
use openhands_client::http::Http;
use openhands_client::workspace::{Inside, SelfHosted, Workspace};

use crate::input::settings::Account;

/// The workspace with this agent-server and this account.
#[must_use]
pub(crate) fn workspace(http: &Http, server: &AgentServerAddress, account: &Account) -> Box<dyn Workspace> {
    let client = agent_server::AgentServerClient::new(http.clone(), server);
    match account {
        Account::Cloud(account) => {
            Box::new(Inside::new(client, Some(cloud::CloudClient::new(http.clone(), account.clone()))))
        }
        Account::SelfHosted => Box::new(SelfHosted::new(client)),
        // A sandbox that is still to be made has no agent-server yet.
        Account::OfSandbox(_) | Account::None { .. } => Box::new(Inside::new(client, None)),
    }
}

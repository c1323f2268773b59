//! The account of a run.

use openhands_client::agent_server::AgentServerClient;
use openhands_client::cloud::CloudClient;
use openhands_client::http::Http;
use openhands_client::workspace::AccountClient;

use crate::input::settings::Account;

/// The account that the settings name; `client` is the agent-server's.
#[must_use]
pub(crate) fn account_client(http: &Http, client: &AgentServerClient, account: &Account) -> AccountClient {
    match account {
        Account::Cloud(account) => AccountClient::cloud(CloudClient::new(http.clone(), account.clone())),
        Account::SelfHosted => AccountClient::agent_server(client.clone()),
        // A sandbox that is still to be created has no agent-server yet.
        Account::OfSandbox(_) | Account::None { .. } => AccountClient::none(),
    }
}

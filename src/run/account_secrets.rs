//! Reads the values of the account's secrets that the agent gets, only for the redactor.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use openhands_client::agent_server::wire::Secrets;
use openhands_client::secret::Redactor;
use openhands_client::text;
use openhands_client::workspace::AccountClient;
use tokio::time::timeout;

/// The number of values to read at the same time.
const AT_ONCE: usize = 8;

/// Adds the values of these secrets to the redactor: a command of the agent may print one in a form that the agent-server does
/// not mask, such as base64. If a value cannot be read in time, the run warns.
pub(super) async fn learn_values(account: &AccountClient, secrets: &Secrets, limit: Duration, redactor: &Redactor) {
    let mut learned = 0;
    let learn = async {
        let mut values = stream::iter(secrets.keys())
            .map(|name| async move { (name, account.secret_value(name).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((name, value)) = values.next().await {
            match value {
                Ok(value) => value.iter().for_each(|value| redactor.learn(value)),
                Err(error) => {
                    tracing::debug!(secret = name, error = %text::chain(&error), "the value of the secret is not known");
                    continue;
                }
            }
            learned += 1;
        }
    };
    let _ = timeout(limit, learn).await;
    if learned < secrets.len() {
        let unknown = secrets.len() - learned;
        tracing::warn!(
            unknown,
            "some of the account's secrets could not be read: the agent-server alone masks their values"
        );
    }
}

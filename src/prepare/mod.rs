//! What a run does between a ready agent-server and its conversation: repositories, skills, first message.
//!
//! Everything that can be wrong with the user's input is found before, by [`crate::plan`].

pub(crate) mod account;
pub(crate) mod agent;
mod messages;
pub(crate) mod provider;
mod repos;
pub(crate) mod sandbox;
mod skills;

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use openhands_client::agent_server::skill::{Skill, SkillInfo};
use openhands_client::agent_server::{AgentServer, AgentServerClient, CONTAINER_WORKSPACE};
use openhands_client::redact;
use openhands_client::retry::Policy;
use openhands_client::secret::Redactor;
use openhands_client::text;
use openhands_client::workspace::AccountClient;
use url::Url;

use crate::agent_result::FinishFields;
use crate::input::settings::Account;
use crate::input::task::repos::GitProvider;
use crate::outcome::{Failure, FailureKind};
use crate::plan::access::{Access, Token};
use crate::plan::repos::{ClonedRepo, RepoPlan};
use crate::plan::{ConversationPlan, RunPlan};
use crate::sinks::{Record, Sinks, Stage};

/// What a run found out before its conversation.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The agent's skills.
    pub(crate) skills: Vec<Skill>,
    /// The complete messages, each a turn.
    pub(crate) messages: Vec<String>,
}

/// Prepares the conversation of a run: its repositories are cloned into the working directory, its skills read, and its first
/// message says what there is. Dropping the future ends what is under way and leaves nothing half-done.
///
/// # Errors
/// [`FailureKind::RepositoryNotCloned`].
pub(crate) async fn prepare(
    account: &AccountClient,
    AgentServer { client, capabilities }: &AgentServer,
    plan: &RunPlan,
    fields: FinishFields,
    redactor: &Redactor,
    sinks: &mut Sinks,
) -> Result<Prepared, Failure> {
    learn_secrets(plan, redactor);
    let working_dir = plan.conversation.working_dir.as_str();
    let repos_to_come = !plan.repos.is_empty();
    if repos_to_come {
        sinks.record(&Record::Stage(Stage::CloningRepositories)).await;
    }
    let first_query = skills::first_query(plan.skills, repos_to_come, working_dir);
    let first_skills = async { Ok(skills::load(client, &first_query, plan.time_limits.skills_budget).await) };
    let policy = Policy::git_server(client.time_limits(), plan.time_limits.clone_attempts);
    let (mut cloned, first_skills) = tokio::try_join!(clone(account, policy, plan, redactor), first_skills)?;
    sinks.record(&Record::Stage(Stage::LoadingSkills)).await;
    let project_skills = if repos_to_come { project_skills(client, plan, &cloned).await } else { Vec::new() };

    if capabilities.own_container {
        see_from_container(&mut cloned, working_dir);
    }
    let skills = skills::merged(std::iter::once(first_skills).chain(project_skills));
    tracing::debug!(skills = skills.len(), "skills loaded");
    Ok(Prepared { skills, messages: messages::complete(plan, &cloned, fields) })
}

/// The paths of the repositories as the agent has them in its container.
fn see_from_container(cloned: &mut [ClonedRepo], working_dir: &str) {
    for repo in cloned {
        if let Ok(path) = repo.path.strip_prefix(working_dir) {
            repo.path = Path::new(CONTAINER_WORKSPACE).join(path);
        }
    }
}

async fn clone(
    account: &AccountClient,
    policy: Policy,
    plan: &RunPlan,
    redactor: &Redactor,
) -> Result<Vec<ClonedRepo>, Failure> {
    let tokens = tokens(account, &plan.repos, redactor).await;
    let token_of = |provider: GitProvider| {
        if matches!(plan.account, Account::None { .. }) {
            return Token::NoAccount;
        }
        let token = tokens.iter().find(|(owner, _)| *owner == provider);
        token.map_or(Token::Missing(provider.token_names()[0]), |(_, token)| token.clone())
    };
    let ConversationPlan { working_dir, run_id, .. } = &plan.conversation;
    repos::clone_all(&plan.repos, Path::new(working_dir), run_id.as_ref(), policy, token_of)
        .await
        .map_err(|error| Failure::new(FailureKind::RepositoryNotCloned, text::chain(&error)))
}

/// The account's tokens for these repositories. One that cannot be had is missed only where git needs it.
async fn tokens(account: &AccountClient, repos: &[RepoPlan], redactor: &Redactor) -> Vec<(GitProvider, Token)> {
    let mut wanted: Vec<GitProvider> = Vec::new();
    for provider in repos.iter().filter_map(RepoPlan::wants_token_of) {
        if !wanted.contains(&provider) {
            wanted.push(provider);
        }
    }
    let mut tokens = Vec::new();
    for provider in wanted {
        tokens.push((provider, token(account, provider, redactor).await));
    }
    tokens
}

async fn token(account: &AccountClient, provider: GitProvider, redactor: &Redactor) -> Token {
    for name in provider.token_names() {
        match account.secret_value(name).await {
            Ok(None) => {}
            Ok(Some(token)) if token.expose().chars().any(char::is_control) => {
                tracing::warn!(secret = name, "secret has more than one line; not using it as a token");
                return Token::Unusable(name);
            }
            Ok(Some(token)) => {
                redactor.learn(&token);
                return Token::RunState(name, token);
            }
            Err(error) => {
                tracing::warn!(secret = name, error = %text::chain(&error), "cloning without the account's token");
                return Token::Unusable(name);
            }
        }
    }
    Token::Missing(provider.token_names()[0])
}

async fn project_skills(client: &AgentServerClient, plan: &RunPlan, cloned: &[ClonedRepo]) -> Vec<Vec<SkillInfo>> {
    let paths: Vec<PathBuf> = cloned.iter().map(|repo| repo.path.clone()).collect();
    let queries = skills::project_queries(plan.skills, &paths, &plan.conversation.working_dir);
    join_all(queries.iter().map(|query| skills::load(client, query, plan.time_limits.skills_budget))).await
}

/// What the task file brought of secrets.
fn learn_secrets(plan: &RunPlan, redactor: &Redactor) {
    let of_repos = plan.repos.iter().filter_map(|repo| repo.access.as_ref()).flat_map(Access::secrets);
    of_repos.for_each(|secret| redactor.learn(secret));
    let plugins = plan.conversation.plugins.iter().filter_map(|plugin| Url::parse(&plugin.source).ok());
    plugins.flat_map(|url| redact::secrets_of_address(&url)).for_each(|secret| redactor.learn(&secret));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::env::RawEnv;
    use crate::input::settings::{Overrides, Settings};
    use crate::input::task::parse::{TaskFormat, parse};
    use crate::input::time_limits::RunLimits;

    #[test]
    fn the_keys_in_the_tasks_addresses_are_known() {
        let settings = Settings::from_env(&RawEnv::default(), &[], Overrides::default()).unwrap();
        let task = "prompt: x\nllm: {model: m}\nplugins: [{source: 'https://me:hunter22@h/p.git'}]\nrepos: ['https://me:hunter33@h/r']";
        let task = parse(task, TaskFormat::Yaml, "task").unwrap();
        let plan = RunPlan::new(settings, task, RunLimits::default()).unwrap();
        let redactor = Redactor::default();
        learn_secrets(&plan, &redactor);
        assert_eq!(redactor.redact("me hunter22 hunter33"), "me *** ***");
    }
}

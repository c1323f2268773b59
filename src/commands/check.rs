//! `check`: shows the settings, which servers respond, and how to fix problems.
//!
//! It changes nothing and creates no sandbox. Inside a sandbox it sends the same requests as a run there; outside it only sends
//! requests to the Cloud API.

use openhands_client::agent_server::AgentServerClient;
use openhands_client::agent_server::wire::Llm;
use openhands_client::cloud::wire::UserSettings;
use openhands_client::cloud::{CloudKey, Sandboxes};
use openhands_client::http::{self, Http, HttpError};
use openhands_client::secret::MASK;
use openhands_client::text;
use openhands_client::workspace::SecretSelection;
use openhands_client::workspace::WorkspaceError;
use serde_json::{Value, json};

use super::check_task::task_lines;
use super::{CommandContext, until_signal};
use crate::cli::CheckArgs;
use crate::input::env::RawEnv;
use crate::input::reporting::Reporting;
use crate::input::services;
use crate::input::settings::{Account, Overrides, Settings};
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::prepare::account::account_client;
use crate::prepare::agent::find_profile;
use crate::process::parent;
use crate::process::signals::Shutdown;

/// A line of the table.
#[derive(Debug)]
pub(super) struct CheckLine {
    what: &'static str,
    state: State,
    found: String,
    advice: Option<String>,
}

/// The state of what a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// Not set, and not needed.
    Absent,
    /// It works, but is not safe.
    Unsafe,
    /// The settings have to be corrected.
    Wrong,
    /// A server does not respond as needed.
    Unavailable,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Absent => "-",
            Self::Unsafe => "?",
            Self::Wrong | Self::Unavailable => "!",
        }
    }
}

impl CheckLine {
    pub(super) fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Good, found: found.into(), advice: None }
    }

    pub(super) fn absent(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Absent, found: found.into(), advice: None }
    }

    pub(super) fn bad(what: &'static str, state: State, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, state, found: found.into(), advice: Some(advice.into()) }
    }

    fn object(&self) -> Value {
        let good = matches!(self.state, State::Good | State::Absent);
        json!({"what": self.what, "good": good, "found": self.found, "advice": self.advice})
    }
}

pub(super) async fn run(
    context: &CommandContext,
    args: CheckArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let lines = until_signal(shutdown, async { Ok(check(context, &args).await) }).await?;
    let has = |state| lines.iter().any(|line| line.state == state);
    let exit_code = match () {
        () if has(State::Wrong) => ExitCode::INVALID_INPUT,
        () if has(State::Unavailable) => ExitCode::UNAVAILABLE,
        () => ExitCode::COMPLETED,
    };
    let redactor = &context.environment.redactor;
    let text = redactor.redact(&table(&lines)).into_owned();
    let objects: Vec<Value> = lines.iter().map(CheckLine::object).collect();
    let object = json!({"lines": objects, "exit_code": exit_code.0}).to_string();
    context.tell(&text, &serde_json::from_str(&redactor.redact(&object)).unwrap_or_default()).await;
    Ok(exit_code)
}

fn table(lines: &[CheckLine]) -> String {
    let width = lines.iter().map(|line| line.what.len()).max().unwrap_or_default();
    let row = |line: &CheckLine| {
        let advice = line.advice.as_ref().map(|advice| format!("\n{:>1$}-> {advice}", "", width + 5));
        format!("{:<2} {:<width$}  {}{}", line.state.word(), line.what, line.found, advice.unwrap_or_default())
    };
    lines.iter().map(row).collect::<Vec<_>>().join("\n")
}

async fn check(context: &CommandContext, args: &CheckArgs) -> Vec<CheckLine> {
    let raw = context.raw();
    let mut lines = vec![set_variables(raw)];
    lines.extend(parent::waiting_shell().map(|shell| {
        let found = format!("`{shell}` has started this program and is still running; others can read its keys");
        CheckLine::bad("parent", State::Unsafe, found, parent::ADVICE)
    }));
    let settings = match Settings::from_env(raw, &context.environment.not_text, Overrides::default()) {
        Ok(settings) => settings,
        Err(problems) => {
            lines.extend(problems.0.into_iter().map(|problem| {
                CheckLine::bad("settings", State::Wrong, format!("{}: {}", problem.place, problem.found), problem.help)
            }));
            return lines;
        }
    };
    let http = match context.http() {
        Ok(http) => http,
        Err(failure) => {
            lines.push(CheckLine::bad(
                "network",
                State::Wrong,
                failure.detail,
                "correct SSL_CERT_FILE or the proxy variables",
            ));
            return lines;
        }
    };
    let inside =
        raw.sandbox_id.is_some() || raw.agent_server_url.is_some() || settings.agent_server.session_key.is_some();
    let client = AgentServerClient::new(http.clone(), &settings.agent_server);
    lines.push(if inside {
        agent_server(&client).await
    } else {
        CheckLine::absent("agent-server", "not inside a sandbox")
    });
    match services::cloud_api(raw) {
        _ if matches!(settings.account, Account::SelfHosted) => {
            let advice = "check the agent-server's own settings";
            lines.extend(inherited(&http, &settings, advice).await);
        }
        Ok(key) => lines.extend(cloud(&http, &key, &settings).await),
        Err(problems) if inside && settings.llm.stands_alone() => {
            lines.push(CheckLine::absent("Cloud API", problems.0.first().map(ToString::to_string).unwrap_or_default()));
        }
        Err(problems) => lines.extend(problems.0.into_iter().map(|problem| {
            CheckLine::bad("Cloud API", State::Wrong, format!("{} {}", problem.place, problem.found), problem.help)
        })),
    }
    if settings.llm.stands_alone() {
        let model = settings.llm.model.as_deref();
        lines.push(match model {
            Some(model) => CheckLine::good("LLM", format!("{model}, given by LLM_ variables")),
            None => CheckLine::bad(
                "LLM",
                State::Wrong,
                "LLM_ variables without LLM_MODEL",
                "set LLM_MODEL, or name it in the task",
            ),
        });
    }
    lines.push(callback(&http, raw).await);
    let (of_task, profile) = task_lines(args, raw).await;
    if let Some(profile) = profile.or(settings.default_agent_profile) {
        lines.push(agent_profile(&client, &profile, inside).await);
    }
    lines.extend(of_task);
    lines
}

/// Checks whether the agent profile exists with which a run here would start.
async fn agent_profile(client: &AgentServerClient, wanted: &str, inside: bool) -> CheckLine {
    let what = "agent profile";
    if !inside {
        return CheckLine::absent(what, format!("{wanted}; known only inside a sandbox"));
    }
    match find_profile(client, wanted).await {
        Ok((name, id)) => CheckLine::good(what, format!("{name} ({id})")),
        Err(Failure { kind: FailureKind::InvalidInput, detail, .. }) => {
            let advice = "correct `agent.profile` of the task or AUTOMATION_AGENT_PROFILE_ID, or make the profile";
            CheckLine::bad(what, State::Wrong, detail, advice)
        }
        Err(failure) => CheckLine::bad(what, State::Unavailable, failure.detail, "see the line of the agent-server"),
    }
}

fn set_variables(raw: &RawEnv) -> CheckLine {
    let set: Vec<String> =
        raw.set_variables().map(|(name, value)| format!("{name}={}", value.unwrap_or(MASK))).collect();
    if set.is_empty() {
        CheckLine::absent("variables", "none is set")
    } else {
        CheckLine::good("variables", set.join(" "))
    }
}

async fn agent_server(client: &AgentServerClient) -> CheckLine {
    let what = "agent-server";
    let answered = async {
        client.ready().await?;
        let version = client.version().await?;
        client.authenticated().await?;
        Ok::<_, HttpError>(version)
    };
    match answered.await {
        Ok(version) => CheckLine::good(what, format!("{version} at {}, accepts the session key", client.address())),
        Err(error) if error.is_refusal() => {
            CheckLine::bad(what, State::Unavailable, text::chain(&error), "SESSION_API_KEY is not this server's key")
        }
        Err(error) => CheckLine::bad(
            what,
            State::Unavailable,
            text::chain(&error),
            "start it, or set AGENT_SERVER_PORT or AGENT_SERVER_URL",
        ),
    }
}

/// Checks the account: whether it accepts the key, and what it provides for a run.
async fn cloud(http: &Http, key: &CloudKey, settings: &Settings) -> Vec<CheckLine> {
    let address = http::without_secrets(&key.url);
    let user = match Sandboxes::new(http.clone(), key.clone(), http.time_limits().request).user().await {
        Ok(user) => user,
        Err(error) => {
            let advice = if error.is_refusal() {
                "make a new key in OpenHands Cloud under Settings, API Keys"
            } else {
                "check the address (OPENHANDS_CLOUD_API_URL), the network and HTTPS_PROXY"
            };
            return vec![CheckLine::bad("Cloud API", State::Unavailable, text::chain(&error), advice)];
        }
    };
    let mut lines = vec![CheckLine::good("Cloud API", format!("{address} accepts the key"))];
    match &settings.account {
        Account::Cloud(_) => {
            let advice = "SANDBOX_ID and SESSION_API_KEY must be those of this sandbox";
            lines.extend(inherited(http, settings, advice).await);
        }
        _ => {
            // Without a sandbox the keys are masked, but it is visible whether there is one.
            let shown: Option<UserSettings> = serde_json::from_value(user).ok();
            if !settings.llm.stands_alone() {
                lines.push(inherited_llm(shown.and_then(|settings| settings.default_llm())));
            }
            lines.push(CheckLine::absent("secrets", "known only inside a sandbox"));
        }
    }
    lines
}

/// Checks what a run here would inherit.
async fn inherited(http: &Http, settings: &Settings, advice: &str) -> Vec<CheckLine> {
    let client = AgentServerClient::new(http.clone(), &settings.agent_server);
    let account = account_client(http, &client, &settings.account);
    let mut lines = Vec::new();
    if !settings.llm.stands_alone() {
        lines.push(match account.llm(None).await {
            Ok(llm) => inherited_llm(Some(llm)),
            Err(WorkspaceError::NoLlm) => inherited_llm(None),
            Err(error) => CheckLine::bad(INHERITED_LLM, State::Unavailable, text::chain(&error), advice),
        });
    }
    lines.push(match account.secrets(&SecretSelection::All).await {
        Ok(secrets) => CheckLine::good("secrets", text::listed(secrets.keys())),
        Err(error) => CheckLine::bad("secrets", State::Unavailable, text::chain(&error), advice),
    });
    lines
}

const INHERITED_LLM: &str = "account's LLM";

fn inherited_llm(llm: Option<Llm>) -> CheckLine {
    match llm {
        Some(llm) => CheckLine::good(INHERITED_LLM, llm.model_name().unwrap_or("unknown").to_owned()),
        None => CheckLine::bad(
            INHERITED_LLM,
            State::Wrong,
            "none",
            "choose one in the account's settings, or set LLM_MODEL and LLM_API_KEY",
        ),
    }
}

/// Checks whether the host of the callback responds. The callback itself is not sent.
async fn callback(http: &Http, raw: &RawEnv) -> CheckLine {
    let what = "callback";
    let (reporting, warning) = Reporting::from_env(raw);
    let Some(mut url) = reporting.callback_url else {
        return match warning {
            Some(warning) => CheckLine::bad(what, State::Wrong, warning, "set it to an http or https address"),
            None => CheckLine::absent(what, "not set"),
        };
    };
    url.set_path("/");
    url.set_query(None);
    let address = http::without_secrets(&url);
    match http.request(http::Method::GET, url).timeout(http.time_limits().callback_attempt).send().await {
        Ok(_) | Err(HttpError::Status { .. } | HttpError::TooLarge { .. }) => {
            CheckLine::good(what, format!("{address} responds"))
        }
        Err(error) => CheckLine::bad(
            what,
            State::Unavailable,
            text::chain(&error),
            "check the address and the network; without them no outcome arrives",
        ),
    }
}

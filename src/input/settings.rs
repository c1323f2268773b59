//! The environment and the flags as typed values, with every problem at once. Pure: reads no process environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use openhands_client::agent_server::trace::Trace;
use openhands_client::agent_server::{AgentServerAddress, DEFAULT_PORT, local_agent_server};
use openhands_client::cloud::CloudKey;
use openhands_client::cloud::{self, CloudAccount};
use openhands_client::http::Network;
use openhands_client::ids::{ConversationId, RunId, SandboxId};
use openhands_client::secret::Secret;
use url::Url;

use super::env::RawEnv;
use super::title::title;
use crate::input::payload::Payload;
use crate::input::problem::{Problem, Problems};

/// Everything that a run takes from the environment and the flags, but for [`super::reporting::Reporting`].
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The agent-server to talk to.
    pub(crate) agent_server: AgentServerAddress,
    /// Where the LLM and the secrets are inherited from.
    pub(crate) account: Account,
    /// An LLM given directly.
    pub(crate) llm: DirectLlm,
    /// The LLM profile that a flag names.
    pub(crate) profile: Option<String>,
    /// The LLM profile that the environment names. The automation service names one where the automation has a model.
    pub(crate) default_profile: Option<String>,
    /// The id of this run.
    pub(crate) run_id: Option<RunId>,
    /// The conversation to continue or to create.
    pub(crate) conversation_id: Option<ConversationId>,
    /// The agent's working directory, when the environment or a flag names one.
    pub(crate) working_dir: Option<String>,
    /// The account that the conversation belongs to.
    pub(crate) user_id: Option<String>,
    /// Conversation tags that tell the automation and the run.
    pub(crate) tags: BTreeMap<String, String>,
    /// Where the conversation belongs in traces.
    pub(crate) trace: Trace,
    /// The conversation's title, as the automation has it.
    pub(crate) title: Option<String>,
    /// Whether the automation service shows how the task went: it does since it takes phases (1.9.0).
    pub(crate) shows_task_outcome: bool,
    /// What triggered the run.
    pub(crate) payload: Payload,
    /// Values of the task's parameters.
    pub(crate) params: Vec<(String, String)>,
}

/// Where the LLM and the secrets are inherited from.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    /// The OpenHands Cloud account that owns this sandbox.
    Cloud(CloudAccount),
    /// The agent-server's own settings.
    SelfHosted,
    /// The OpenHands Cloud account in which a sandbox is going to be made.
    OfSandbox(CloudKey),
    /// Nothing can be inherited, because these variables are not set.
    None {
        /// Names of the variables.
        missing: Vec<&'static str>,
    },
}

/// An LLM given by `LLM_*` variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct DirectLlm {
    /// `LLM_MODEL`.
    pub(crate) model: Option<String>,
    /// `LLM_API_KEY`.
    pub(crate) api_key: Option<Secret>,
    /// `LLM_BASE_URL`.
    pub(crate) base_url: Option<String>,
}

impl DirectLlm {
    /// Whether the variables describe an LLM of their own. `LLM_MODEL` alone only replaces the inherited model.
    #[must_use]
    pub(crate) fn stands_alone(&self) -> bool {
        self.api_key.is_some() || self.base_url.is_some()
    }
}

/// How the network is reached. The settings cannot be wrong here; they are tried when the client is made.
#[must_use]
pub(crate) fn network(raw: &RawEnv) -> Network {
    Network {
        ca_file: raw.ssl_cert_file.clone().map(PathBuf::from),
        http_proxy: raw.http_proxy.clone().map(Secret::new),
        https_proxy: raw.https_proxy.clone().map(Secret::new),
        no_proxy: raw.no_proxy.clone(),
    }
}

/// What flags say instead of the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// `--agent-server-url`.
    pub(crate) agent_server_url: Option<Url>,
    /// `--conversation-id`.
    pub(crate) conversation_id: Option<ConversationId>,
    /// `--profile`.
    pub(crate) profile: Option<String>,
    /// `--working-dir`.
    pub(crate) working_dir: Option<String>,
    /// `--param`.
    pub(crate) params: Vec<(String, String)>,
    /// `--workspace cloud`.
    pub(crate) cloud: bool,
}

impl Settings {
    /// Types the environment.
    ///
    /// # Errors
    /// [`Problems`]: every variable that cannot be used.
    pub(crate) fn from_env(raw: &RawEnv, not_text: &[String], flags: Overrides) -> Result<Self, Problems> {
        let mut problems: Vec<Problem> = not_text
            .iter()
            .map(|name| Problem::new(name, "a value that is not UTF-8", "give it as UTF-8 text"))
            .collect();
        problems.extend(raw.unusable_keys().map(|name| {
            Problem::new(name, "a key with a line break or another control character in it", "give the key as one line")
        }));
        let mut read = Reader { problems: &mut problems };

        let session_key = secret(raw.session_api_key.as_ref().or(raw.oh_session_api_keys_0.as_ref()));
        let port = read.port("AGENT_SERVER_PORT", raw.agent_server_port.as_deref()).unwrap_or(DEFAULT_PORT);
        let url = flags
            .agent_server_url
            .or_else(|| read.http_url("AGENT_SERVER_URL", raw.agent_server_url.as_deref()))
            .unwrap_or_else(|| local_agent_server(port));
        let cloud_url = read
            .http_url("OPENHANDS_CLOUD_API_URL", raw.openhands_cloud_api_url.as_deref())
            .unwrap_or_else(default_cloud_api_url);
        let conversation_id = flags
            .conversation_id
            .or_else(|| read.conversation_id("AUTOMATION_CONVERSATION_ID", raw.automation_conversation_id.as_deref()));
        if flags.cloud && cloud_key(raw).is_none() {
            problems.push(no_cloud_key());
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }

        let run_id = raw.automation_run_id.as_ref().or(raw.run_id.as_ref()).map(|id| RunId::new(id.trim()));
        Ok(Self {
            account: match cloud_key(raw) {
                Some(api_key) if flags.cloud => Account::OfSandbox(CloudKey { url: cloud_url, api_key }),
                _ => account(raw, cloud_url, session_key.as_ref()),
            },
            agent_server: AgentServerAddress { url, session_key },
            llm: DirectLlm {
                model: text(raw.llm_model.as_ref()),
                api_key: secret(raw.llm_api_key.as_ref()),
                base_url: text(raw.llm_base_url.as_ref()),
            },
            profile: flags.profile,
            default_profile: text(raw.automation_model.as_ref()),
            tags: tags(raw, run_id.as_ref()),
            trace: trace(raw),
            title: title_of_run(raw),
            shows_task_outcome: raw.automation_phase_url.is_some(),
            run_id,
            conversation_id,
            working_dir: flags.working_dir.or_else(|| text(raw.workspace_base.as_ref())),
            user_id: text(raw.automation_user_id.as_ref()),
            payload: Payload::parse(raw.automation_event_payload.as_deref()),
            params: flags.params,
        })
    }
}

fn text(value: Option<&String>) -> Option<String> {
    value.map(|value| value.trim().to_owned())
}

fn secret(value: Option<&String>) -> Option<Secret> {
    value.map(|value| Secret::new(value.trim()))
}

fn cloud_key(raw: &RawEnv) -> Option<Secret> {
    secret(raw.openhands_api_key.as_ref().or(raw.openhands_cloud_api_key.as_ref()))
}

fn no_cloud_key() -> Problem {
    Problem::new("OPENHANDS_API_KEY", "not set", "make a key in OpenHands Cloud under Settings, API Keys, and set it")
}

/// The key of the Cloud API, for what is not a run.
///
/// # Errors
/// [`Problems`].
pub(crate) fn cloud_api(raw: &RawEnv) -> Result<CloudKey, Problems> {
    let mut problems = Vec::new();
    let url = Reader { problems: &mut problems }
        .http_url("OPENHANDS_CLOUD_API_URL", raw.openhands_cloud_api_url.as_deref())
        .unwrap_or_else(default_cloud_api_url);
    let api_key = cloud_key(raw);
    if api_key.is_none() {
        problems.push(no_cloud_key());
    }
    match api_key {
        Some(api_key) if problems.is_empty() => Ok(CloudKey { url, api_key }),
        _ => Err(Problems(problems)),
    }
}

fn account(raw: &RawEnv, url: Url, session_key: Option<&Secret>) -> Account {
    if raw.agent_server_url.is_some() {
        return Account::SelfHosted;
    }
    match (cloud_key(raw), raw.sandbox_id.as_ref(), session_key) {
        (Some(api_key), Some(sandbox_id), Some(session_key)) => Account::Cloud(CloudAccount {
            url,
            api_key,
            sandbox_id: SandboxId::new(sandbox_id.trim()),
            session_key: session_key.clone(),
        }),
        (api_key, sandbox_id, session_key) => {
            let set = [
                ("OPENHANDS_API_KEY", api_key.is_some()),
                ("SANDBOX_ID", sandbox_id.is_some()),
                ("SESSION_API_KEY", session_key.is_some()),
            ];
            Account::None { missing: set.into_iter().filter(|(_, set)| !set).map(|(name, _)| name).collect() }
        }
    }
}

/// A tag's value may have up to 256 characters (agent-server 1.16.1 and later, `POST /api/conversations`).
const LONGEST_TAG: usize = 256;

fn tags(raw: &RawEnv, run_id: Option<&RunId>) -> BTreeMap<String, String> {
    // Keys and values as the automation service's own preset has them: under the service the trigger is `automation`,
    // whatever triggered the automation.
    let under_service = raw.openhands_observability_metadata.as_ref().map(|_| "automation");
    [
        ("automationid", raw.automation_id.as_deref()),
        ("automationname", raw.automation_name.as_deref()),
        ("automationtrigger", under_service.or(raw.automation_trigger_source.as_deref())),
        ("automationrunid", run_id.map(RunId::as_str)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?.chars().take(LONGEST_TAG).collect())))
    .collect()
}

fn title_of_run(raw: &RawEnv) -> Option<String> {
    let payload = raw.automation_event_payload.as_deref().and_then(|payload| serde_json::from_str(payload).ok());
    title(raw.automation_name.as_deref()?, payload.as_ref(), Timestamp::now())
}

/// Trace fields never end a run: what cannot be used of them is left out.
fn trace(raw: &RawEnv) -> Trace {
    let metadata = raw.openhands_observability_metadata.as_deref().and_then(|metadata| {
        let parsed = serde_json::from_str(metadata);
        parsed.inspect_err(|_| tracing::warn!("OPENHANDS_OBSERVABILITY_METADATA is not a JSON object")).ok()
    });
    let tags = raw.openhands_observability_tags.as_deref().unwrap_or_default().split(',').map(str::trim);
    Trace {
        metadata,
        tags: tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        span_name: text(raw.openhands_observability_span_name.as_ref()),
        parent_span_context: text(raw.openhands_observability_parent_span_context.as_ref()),
        traceparent: text(raw.traceparent.as_ref()),
    }
}

fn default_cloud_api_url() -> Url {
    Url::parse(cloud::DEFAULT_URL).expect("a valid address")
}

struct Reader<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    fn refuse<T>(&mut self, name: &str, found: impl Into<String>, help: &str) -> Option<T> {
        self.problems.push(Problem::new(name, found, help));
        None
    }

    fn port(&mut self, name: &str, value: Option<&str>) -> Option<u16> {
        let value = value?.trim();
        match value.parse() {
            Ok(port) if port != 0 => Some(port),
            _ => self.refuse(name, format!("found `{value}`"), "give a port from 1 to 65535"),
        }
    }

    fn http_url(&mut self, name: &str, value: Option<&str>) -> Option<Url> {
        let value = value?.trim();
        match Url::parse(value) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Some(url),
            // The value is not shown: it may hold a password.
            Ok(url) => {
                let found = format!("found an address that starts with `{}:`", url.scheme());
                self.refuse(name, found, "give one that starts with http:// or https://")
            }
            Err(error) => {
                self.refuse(name, format!("not an address ({error})"), "give one such as http://localhost:60000")
            }
        }
    }

    fn conversation_id(&mut self, name: &str, value: Option<&str>) -> Option<ConversationId> {
        let value = value?.trim();
        match value.parse() {
            Ok(id) => Some(id),
            Err(_) => self.refuse(name, format!("found `{value}`"), "give a UUID"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings, Problems> {
        let (raw, not_text) = RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
        Settings::from_env(&raw, &not_text, Overrides::default())
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.agent_server.url.as_str(), "http://localhost:60000/");
        assert_eq!(settings.agent_server.session_key, None);
        let Account::None { missing } = settings.account else { panic!("{:?}", settings.account) };
        assert_eq!(missing, ["OPENHANDS_API_KEY", "SANDBOX_ID", "SESSION_API_KEY"]);
    }

    #[test]
    fn a_sandbox_of_the_cloud_inherits_from_its_account() {
        let settings = settings(&[
            ("SANDBOX_ID", "sandbox"),
            ("OH_SESSION_API_KEYS_0", "session"),
            ("OPENHANDS_CLOUD_API_KEY", "cloud"),
            ("AGENT_SERVER_PORT", "8000"),
        ])
        .unwrap();
        assert_eq!(settings.agent_server.url.as_str(), "http://localhost:8000/");
        let Account::Cloud(account) = settings.account else { panic!("{:?}", settings.account) };
        assert_eq!(account.url.as_str(), "https://app.all-hands.dev/");
        assert_eq!(account.session_key.expose(), "session");
        assert_eq!(account.api_key.expose(), "cloud");
        assert_eq!(account.sandbox_id.as_str(), "sandbox");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = settings(&[
            ("AGENT_SERVER_PORT", "70000"),
            ("AGENT_SERVER_URL", "localhost:60000"),
            ("OPENHANDS_CLOUD_API_URL", "https://"),
            ("AUTOMATION_CONVERSATION_ID", "x"),
        ])
        .unwrap_err();
        let places: Vec<_> = problems.0.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(
            places,
            ["AGENT_SERVER_PORT", "AGENT_SERVER_URL", "OPENHANDS_CLOUD_API_URL", "AUTOMATION_CONVERSATION_ID"]
        );
        assert!(problems.to_string().contains("AGENT_SERVER_PORT: found `70000`; give a port from 1 to 65535"));
    }

    #[test]
    fn a_key_with_a_line_break_inside_is_a_problem_of_its_variable() {
        let keys = ["SESSION_API_KEY", "OPENHANDS_API_KEY", "AUTOMATION_CALLBACK_API_KEY", "LLM_API_KEY"];
        let problems = settings(&keys.map(|name| (name, "sk-12\n34"))).unwrap_err();
        let places: Vec<_> = problems.0.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, keys);
        assert!(!problems.to_string().contains("sk-"), "{problems}");
        settings(&keys.map(|name| (name, " sk-1234\r\n"))).unwrap();
    }

    #[test]
    fn flags_beat_the_environment() {
        let (raw, _) = RawEnv::from_vars([
            ("AGENT_SERVER_URL".into(), "http://env/".into()),
            ("AUTOMATION_MODEL".into(), "env".into()),
            ("WORKSPACE_BASE".into(), "/env".into()),
        ]);
        let flags = Overrides {
            agent_server_url: Some(Url::parse("http://flag/").unwrap()),
            profile: Some("flag".to_owned()),
            working_dir: Some("/flag".to_owned()),
            ..Overrides::default()
        };
        let settings = Settings::from_env(&raw, &[], flags).unwrap();
        assert_eq!(settings.agent_server.url.as_str(), "http://flag/");
        assert_eq!(settings.profile.as_deref(), Some("flag"));
        assert_eq!(settings.working_dir.as_deref(), Some("/flag"));
    }

    #[test]
    fn a_problem_never_shows_a_password() {
        let problems = settings(&[("AGENT_SERVER_URL", "ftp://user:hunter22@host/")]).unwrap_err();
        assert!(!problems.to_string().contains("hunter22"));
    }

    #[test]
    fn an_agent_servers_address_means_its_own_settings() {
        let of = |vars: &[(&str, &str)]| settings(vars).unwrap().account;
        let cloud = [("SANDBOX_ID", "s"), ("SESSION_API_KEY", "k"), ("OPENHANDS_API_KEY", "c")];
        assert!(matches!(of(&cloud), Account::Cloud(_)));
        assert!(matches!(of(&[&cloud[..], &[("AGENT_SERVER_URL", "http://a/")]].concat()), Account::SelfHosted));
    }

    #[test]
    fn trace_fields_are_passed_on_and_what_is_wrong_with_them_is_left_out() {
        let of = |metadata: &str| {
            let vars = [
                ("OPENHANDS_OBSERVABILITY_METADATA", metadata),
                ("OPENHANDS_OBSERVABILITY_TAGS", "automation, ,automation.trigger:cron"),
                ("traceparent", "00-1-2-01"),
                ("AUTOMATION_TRIGGER_SOURCE", "cron"),
            ];
            settings(&vars).unwrap()
        };
        let good = of(r#"{"automation.id": "a", "n": 1}"#);
        assert_eq!(good.trace.metadata.unwrap()["n"], 1);
        assert_eq!(good.trace.tags, ["automation", "automation.trigger:cron"]);
        assert_eq!(good.trace.traceparent.as_deref(), Some("00-1-2-01"));
        assert_eq!(good.tags["automationtrigger"], "automation");
        assert_eq!(of("[]").trace.metadata, None);
    }

    #[test]
    fn tags_tell_the_automation_and_fit_the_server() {
        let long = "ä".repeat(300);
        let settings = settings(&[("AUTOMATION_NAME", &long), ("RUN_ID", "r")]).unwrap();
        assert_eq!(settings.tags["automationname"].chars().count(), LONGEST_TAG);
        assert_eq!(settings.tags["automationrunid"], "r");
    }
}

//! The environment and the flags as typed values, with all problems reported together. Pure: does not read the environment of the
//! process.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use openhands_client::agent_server::trace::Trace;
use openhands_client::agent_server::{AgentServerAddress, DEFAULT_PORT, local_agent_server};
use openhands_client::cloud::CloudAccount;
use openhands_client::http::Network;
use openhands_client::ids::{ConversationId, RunId, SandboxId};
use openhands_client::secret::Secret;
use url::Url;

use super::env::RawEnv;
use super::labels::{tags, title_of_run, trace};
use super::notify;
use super::reporting::{http_url, warn_of_plain_http};
use super::services::{ProviderKind, ProviderSettings, cloud_key};
use super::task::repos::is_this_machine;
use super::values::{Reader, default_cloud_api_url, secret, text};
use super::working_dirs::{Here, WorkingDirs};
use crate::input::payload::Payload;
use crate::problem::{Problem, Problems};

/// All settings of a run from the environment and the flags, except for [`super::reporting::Reporting`].
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The agent-server of the run.
    pub(crate) agent_server: AgentServerAddress,
    /// The source of the inherited LLM and secrets.
    pub(crate) account: Account,
    /// The LLM that the variables describe.
    pub(crate) llm: DirectLlm,
    /// The LLM profile in a flag.
    pub(crate) profile: Option<String>,
    /// The LLM profile in the environment. The automation service sets it if the automation has a model.
    pub(crate) default_profile: Option<String>,
    /// The agent profile in a flag.
    pub(crate) agent_profile: Option<String>,
    /// The agent profile in the environment.
    pub(crate) default_agent_profile: Option<String>,
    /// The id of this run.
    pub(crate) run_id: Option<RunId>,
    /// The conversation to continue or to create.
    pub(crate) conversation_id: Option<ConversationId>,
    /// The agent's working directory, if the environment or a flag sets one.
    pub(crate) working_dir: Option<String>,
    /// The time at which the run has to be over.
    pub(crate) deadline: Option<Timestamp>,
    /// How paths of working directories are interpreted.
    pub(crate) working_dirs: WorkingDirs,
    /// A key of this run that is unknown to strangers and that a restarted runner has too.
    pub(crate) run_key: Option<Secret>,
    /// The account that the conversation belongs to.
    pub(crate) user_id: Option<String>,
    /// Conversation tags with the names of the automation and the run.
    pub(crate) tags: BTreeMap<String, String>,
    /// Where the conversation belongs in traces.
    pub(crate) trace: Trace,
    /// The title of the conversation, from the automation's name.
    pub(crate) title: Option<String>,
    /// Whether the automation service shows the result of the task: it does since it accepts phases (1.9.0).
    pub(crate) shows_task_outcome: bool,
    /// The event that triggered the run.
    pub(crate) payload: Payload,
    /// Values of the task's parameters.
    pub(crate) params: Vec<(String, String)>,
}

/// The source of the inherited LLM and secrets.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    /// The OpenHands Cloud account that owns this sandbox.
    Cloud(CloudAccount),
    /// The agent-server's own settings.
    SelfHosted,
    /// The account of a sandbox that this provider will create.
    OfSandbox(ProviderSettings),
    /// No account, because these variables are not set.
    None {
        /// Names of the variables.
        missing: Vec<&'static str>,
    },
}

/// An LLM described by the `LLM_*` variables.
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
    /// Returns whether the variables describe a separate LLM. `LLM_MODEL` alone only replaces the model of the inherited LLM.
    #[must_use]
    pub(crate) fn stands_alone(&self) -> bool {
        self.api_key.is_some() || self.base_url.is_some()
    }
}

/// Returns the network settings. They are not checked here, but when the client is created.
#[must_use]
pub(crate) fn network(raw: &RawEnv) -> Network {
    Network {
        ca_file: raw.ssl_cert_file.clone().map(PathBuf::from),
        http_proxy: secret(raw.http_proxy.as_ref()),
        https_proxy: secret(raw.https_proxy.as_ref()),
        all_proxy: secret(raw.all_proxy.as_ref()),
        no_proxy: raw.no_proxy.clone(),
    }
}

/// Values of flags, which override the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// `--agent-server-url`.
    pub(crate) agent_server_url: Option<Url>,
    /// `--conversation-id`.
    pub(crate) conversation_id: Option<ConversationId>,
    /// `--profile`.
    pub(crate) profile: Option<String>,
    /// `--agent-profile`.
    pub(crate) agent_profile: Option<String>,
    /// `--working-dir`.
    pub(crate) working_dir: Option<String>,
    /// `--deadline`.
    pub(crate) deadline: Option<Timestamp>,
    /// `--param`.
    pub(crate) params: Vec<(String, String)>,
    /// `--workspace`: the provider of the sandbox, for a run from outside.
    pub(crate) provider: Option<ProviderKind>,
    /// The current directory and the user's home directory, if working directories are paths on this machine.
    pub(crate) here: Option<Here>,
}

impl Settings {
    /// Parses the environment.
    ///
    /// # Errors
    /// [`Problems`]: all invalid variables.
    pub(crate) fn from_env(raw: &RawEnv, not_text: &[String], flags: Overrides) -> Result<Self, Problems> {
        let mut problems: Vec<Problem> = not_text
            .iter()
            .map(|name| Problem::new(name, "a value that is not UTF-8", "give it as UTF-8 text"))
            .collect();
        let mut read = Reader { problems: &mut problems };

        read.keys(raw);
        read.proxies(&network(raw));
        let session_key = secret(raw.session_api_key.as_ref().or(raw.oh_session_api_keys_0.as_ref()));
        let is_self_hosted = flags.agent_server_url.is_some() || raw.agent_server_url.is_some();
        let is_usable = |url: &String| http_url(url).is_some();
        let is_port_used = flags.agent_server_url.is_none() && !raw.agent_server_url.as_ref().is_some_and(is_usable);
        // A port that is not used is not checked.
        let port = raw.agent_server_port.as_deref().filter(|_| is_port_used);
        let port = read.port("AGENT_SERVER_PORT", port).unwrap_or(DEFAULT_PORT);
        let url = flags.agent_server_url.or_else(|| read.http_url("AGENT_SERVER_URL", raw.agent_server_url.as_deref()));
        let url = url.unwrap_or_else(|| local_agent_server(port));
        let cloud_url = read
            .http_url("OPENHANDS_CLOUD_API_URL", raw.openhands_cloud_api_url.as_deref())
            .unwrap_or_else(default_cloud_api_url);
        let llm_url = read.http_url("LLM_BASE_URL", raw.llm_base_url.as_deref());
        let conversation_id = flags
            .conversation_id
            .or_else(|| read.conversation_id("AUTOMATION_CONVERSATION_ID", raw.automation_conversation_id.as_deref()));
        let deadline = flags
            .deadline
            .or_else(|| read.deadline("OPENHANDS_RUNNER_DEADLINE", raw.openhands_runner_deadline.as_deref()));
        for (name, value) in
            [("AUTOMATION_CALLBACK_URL", &raw.automation_callback_url), ("CALLBACK_URL", &raw.callback_url)]
        {
            // A run whose outcome cannot be delivered must not start.
            let _: Option<Url> = read.http_url(name, value.as_deref());
        }
        if let Some(Err(found)) = raw.openhands_runner_notify.as_deref().map(notify::of_variable) {
            let help = "give one, or a list such as [{\"url\": \"https://…\", \"on\": \"failure\"}]";
            read.refuse::<()>("OPENHANDS_RUNNER_NOTIFY", found, help);
        }
        let working_dirs =
            WorkingDirs { is_outside: flags.provider.is_some() || !is_this_machine(&url), here: flags.here };
        let working_dir = match (flags.working_dir, text(raw.workspace_base.as_ref())) {
            (Some(path), _) => read.path("--working-dir", &path, &working_dirs),
            (None, Some(path)) => read.path("WORKSPACE_BASE", &path, &working_dirs),
            (None, None) => None,
        };
        let provider = flags.provider.map(|kind| ProviderSettings::read(kind, &cloud_url, raw, &mut read));
        if !problems.is_empty() {
            return Err(Problems(problems));
        }

        let run_id = raw.automation_run_id.as_ref().or(raw.run_id.as_ref()).map(|id| RunId::new(id.trim()));
        warn_of_plain_http("OPENHANDS_API_KEY", &cloud_url, cloud_key(raw).as_ref());
        if provider.is_none() {
            warn_of_plain_http("SESSION_API_KEY", &url, session_key.as_ref());
        }
        if let Some(llm_url) = llm_url {
            warn_of_plain_http("LLM_BASE_URL", &llm_url, secret(raw.llm_api_key.as_ref()).as_ref());
        }
        let keys = [session_key.clone(), secret(raw.automation_callback_api_key.as_ref()), cloud_key(raw)];
        let run_key = keys.into_iter().flatten().next().or_else(|| secret(raw.llm_api_key.as_ref()));
        Ok(Self {
            account: match provider.flatten() {
                Some(provider) => Account::OfSandbox(provider),
                None if is_self_hosted => Account::SelfHosted,
                None => account(raw, cloud_url, session_key.as_ref()),
            },
            agent_server: AgentServerAddress { url, session_key },
            llm: DirectLlm {
                model: text(raw.llm_model.as_ref()),
                api_key: secret(raw.llm_api_key.as_ref()),
                base_url: text(raw.llm_base_url.as_ref()),
            },
            profile: flags.profile,
            default_profile: text(raw.automation_model.as_ref().or(raw.automation_llm_profile_name.as_ref())),
            agent_profile: flags.agent_profile,
            default_agent_profile: text(
                raw.automation_agent_profile_id.as_ref().or(raw.automation_agent_profile_name.as_ref()),
            ),
            tags: tags(raw, run_id.as_ref()),
            trace: trace(raw),
            title: title_of_run(raw),
            shows_task_outcome: raw.automation_phase_url.is_some(),
            run_id,
            conversation_id,
            working_dir,
            deadline,
            working_dirs,
            run_key,
            user_id: text(raw.automation_user_id.as_ref()),
            payload: Payload::parse(raw.automation_event_payload.as_deref()),
            params: flags.params,
        })
    }
}

fn account(raw: &RawEnv, url: Url, session_key: Option<&Secret>) -> Account {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings, Problems> {
        let (raw, faults) = RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
        Settings::from_env(&raw, &faults.not_text, Overrides::default())
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
        assert!(problems.to_string().contains("AGENT_SERVER_PORT: invalid value `70000`; give a port from 1 to 65535"));
    }

    #[test]
    fn a_port_that_is_not_used_is_not_checked_and_a_service_link_is_skipped() {
        let link = ("AGENT_SERVER_PORT", "tcp://10.0.171.239:60000");
        assert_eq!(settings(&[link]).unwrap().agent_server.url.as_str(), "http://localhost:60000/");
        for port in ["tcp://10.0.171.239:60000", "x"] {
            let url = settings(&[("AGENT_SERVER_PORT", port), ("AGENT_SERVER_URL", "http://h:1/")]).unwrap();
            assert_eq!(url.agent_server.url.as_str(), "http://h:1/");
        }
    }

    #[test]
    fn a_key_with_a_line_break_is_refused_by_name_and_not_shown() {
        for name in ["SESSION_API_KEY", "AUTOMATION_CALLBACK_API_KEY", "OPENHANDS_API_KEY", "LLM_API_KEY"] {
            let problems = settings(&[(name, "first-half\nsecond-half")]).unwrap_err().to_string();
            assert!(problems.starts_with(&format!("{name}: a key with a line break")), "{problems}");
            assert!(!problems.contains("half"), "{problems}");
            settings(&[(name, "key\n")]).unwrap();
        }
    }

    #[test]
    fn a_callback_address_that_cannot_be_used_is_a_problem() {
        let problems = settings(&[("AUTOMATION_CALLBACK_URL", "service/complete")]).unwrap_err().to_string();
        assert!(problems.starts_with("AUTOMATION_CALLBACK_URL: not an address"), "{problems}");
        settings(&[("CALLBACK_URL", "\"https://service/complete\"")]).unwrap();
    }

    #[test]
    fn a_working_directory_is_made_absolute_inside_and_refused_from_outside() {
        let here = Here { directory: PathBuf::from("/run/here"), home: Some(PathBuf::from("/home/me")) };
        let of = |path: &str, url: &str, provider| {
            let (raw, _) = RawEnv::from_vars([
                ("WORKSPACE_BASE".into(), path.into()),
                ("AGENT_SERVER_URL".into(), url.into()),
                ("OPENHANDS_API_KEY".into(), "k".into()),
            ]);
            let flags = Overrides { here: Some(here.clone()), provider, ..Overrides::default() };
            Settings::from_env(&raw, &[], flags).map(|settings| settings.working_dir.unwrap())
        };
        for (path, absolute) in [
            ("/w", "/w"),
            (".", "/run/here"),
            ("rel/x", "/run/here/rel/x"),
            ("../x", "/run/x"),
            ("~", "/home/me"),
            ("~/x", "/home/me/x"),
        ] {
            assert_eq!(of(path, "http://localhost:1/", None).unwrap(), absolute, "{path}");
        }
        assert!(of("~other/x", "http://localhost:1/", None).is_err());
        for path in [".", "~/x"] {
            for (url, provider) in [
                ("http://elsewhere/", None),
                ("http://localhost:1/", Some(ProviderKind::Cloud)),
                ("http://localhost:1/", Some(ProviderKind::Docker)),
            ] {
                let problems = of(path, url, provider).unwrap_err().to_string();
                assert!(
                    problems.starts_with("WORKSPACE_BASE: a relative path: the agent-server is on another machine")
                );
            }
        }
        assert_eq!(of("/w", "http://elsewhere/", Some(ProviderKind::Docker)).unwrap(), "/w");
    }

    #[test]
    fn an_address_that_would_be_read_as_another_is_refused() {
        for address in [
            "http://h/\nx",
            "http://h/a b",
            "http://h\t/",
            "http://h/\u{a0}x",
            "http://h/\u{7f}",
            "http:///h/x",
            "http:/h/x",
            "https:h",
            "http:\\\\h\\x",
            "http://h\\x",
        ] {
            for name in
                ["AGENT_SERVER_URL", "AUTOMATION_CALLBACK_URL", "AUTOMATION_PHASE_URL", "OPENHANDS_CLOUD_API_URL"]
            {
                let (raw, _) = RawEnv::from_vars([(name.into(), address.into())]);
                let settings = Settings::from_env(&raw, &[], Overrides::default());
                // A run can continue without phases.
                let is_refused = settings.is_err_and(|problems| problems.to_string().contains("an address with a "));
                assert_eq!(is_refused, name != "AUTOMATION_PHASE_URL", "{name}={address:?}");
            }
        }
        let (raw, _) = RawEnv::from_vars([("AGENT_SERVER_URL".into(), " http://h/ \n".into())]);
        assert!(Settings::from_env(&raw, &[], Overrides::default()).is_ok());
    }

    #[test]
    fn the_flag_for_the_agent_servers_address_means_what_its_variable_means() {
        let cloud = [("SANDBOX_ID", "s"), ("SESSION_API_KEY", "k"), ("OPENHANDS_API_KEY", "c")];
        let (raw, _) = RawEnv::from_vars(cloud.map(|(name, value)| (name.into(), value.into())));
        let url = Some(Url::parse("http://a/").unwrap());
        let settings = Settings::from_env(&raw, &[], Overrides { agent_server_url: url, ..Overrides::default() });
        assert!(matches!(settings.unwrap().account, Account::SelfHosted));
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
}

//! The environment as text. The only place that knows the names of variables, and the only one that reads them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::OnceLock;

use openhands_client::redact;
use openhands_client::secret::Secret;
use serde::Deserialize;
use url::Url;

use super::notify;

macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal,)+) => {
        /// One optional text per variable that the program knows. An empty variable counts as unset.
        #[derive(Clone, Default, Deserialize)]
        pub(crate) struct RawEnv {
            $($(#[doc = $doc])+ pub $field: Option<String>,)+
        }

        /// The names of all variables that the program knows.
        pub(crate) const NAMES: &[&str] = &[$($name),+];

        impl RawEnv {
            fn is_known(name: &str) -> bool {
                // envy matches a field by its name in upper case.
                debug_assert!([$((stringify!($field), $name)),+].iter().all(|(field, name)| field.to_uppercase() == *name));
                NAMES.contains(&name)
            }

            /// Every variable that is set; the value is left out where it must not be seen.
            pub(crate) fn set_variables(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
                [$(($name, self.$field.as_deref())),+].into_iter().filter_map(|(name, value)| {
                    value.map(|value| (name, (!SECRET_NAMES.contains(&name) && !HALF_SECRET.contains(&name)).then_some(value)))
                })
            }

        }
    };
}

variables! {
    /// This sandbox's id in the Cloud API.
    sandbox_id = "SANDBOX_ID",
    /// The sandbox's session key.
    session_api_key = "SESSION_API_KEY",
    /// The sandbox's session key, where the former is absent.
    oh_session_api_keys_0 = "OH_SESSION_API_KEYS_0",
    /// Port of the local agent-server.
    agent_server_port = "AGENT_SERVER_PORT",
    /// Address of the agent-server in self-hosted mode.
    agent_server_url = "AGENT_SERVER_URL",
    /// Base of the Cloud API.
    openhands_cloud_api_url = "OPENHANDS_CLOUD_API_URL",
    /// Key of the Cloud API.
    openhands_api_key = "OPENHANDS_API_KEY",
    /// Key of the Cloud API, where the former is absent.
    openhands_cloud_api_key = "OPENHANDS_CLOUD_API_KEY",
    /// The sandbox spec of sandboxes that are created.
    openhands_sandbox_spec_id = "OPENHANDS_SANDBOX_SPEC_ID",
    /// Where the completion callback goes.
    automation_callback_url = "AUTOMATION_CALLBACK_URL",
    /// Where the completion callback goes, where the former is absent.
    callback_url = "CALLBACK_URL",
    /// Key of the callback and of phases.
    automation_callback_api_key = "AUTOMATION_CALLBACK_API_KEY",
    /// The automation service's id of this run.
    automation_run_id = "AUTOMATION_RUN_ID",
    /// The id of this run, where the former is absent.
    run_id = "RUN_ID",
    /// The conversation to continue, or to create under this id.
    automation_conversation_id = "AUTOMATION_CONVERSATION_ID",
    /// The LLM profile to use.
    automation_model = "AUTOMATION_MODEL",
    /// The agent profile to start the conversation from.
    automation_agent_profile_id = "AUTOMATION_AGENT_PROFILE_ID",
    /// Passed on as a conversation tag.
    automation_id = "AUTOMATION_ID",
    /// Passed on as a conversation tag.
    automation_name = "AUTOMATION_NAME",
    /// Passed on as a conversation tag.
    automation_trigger_source = "AUTOMATION_TRIGGER_SOURCE",
    /// The account that the conversation belongs to.
    automation_user_id = "AUTOMATION_USER_ID",
    /// Where the phases of the run go.
    automation_phase_url = "AUTOMATION_PHASE_URL",
    /// Attributes of the conversation's trace, as JSON.
    openhands_observability_metadata = "OPENHANDS_OBSERVABILITY_METADATA",
    /// Tags of the conversation's trace, with commas between them.
    openhands_observability_tags = "OPENHANDS_OBSERVABILITY_TAGS",
    /// The name of the conversation's span.
    openhands_observability_span_name = "OPENHANDS_OBSERVABILITY_SPAN_NAME",
    /// The span above the conversation's.
    openhands_observability_parent_span_context = "OPENHANDS_OBSERVABILITY_PARENT_SPAN_CONTEXT",
    /// The span above the run, as W3C Trace Context has it.
    traceparent = "TRACEPARENT",
    /// What triggered the run, as JSON.
    automation_event_payload = "AUTOMATION_EVENT_PAYLOAD",
    /// Base of the automation service, for `automation`.
    automation_api_url = "AUTOMATION_API_URL",
    /// Key of a self-hosted automation service, for `automation`.
    automation_local_api_key = "AUTOMATION_LOCAL_API_KEY",
    /// A token of the automation service that we have no use for; it is only kept from view.
    automation_kv_token = "AUTOMATION_KV_TOKEN",
    /// The model of an LLM given directly; alone, it replaces the inherited LLM's model.
    llm_model = "LLM_MODEL",
    /// The key of an LLM given directly.
    llm_api_key = "LLM_API_KEY",
    /// The address of an LLM given directly.
    llm_base_url = "LLM_BASE_URL",
    /// The agent's working directory.
    workspace_base = "WORKSPACE_BASE",
    /// Who else is told how the run ended.
    openhands_runner_notify = "OPENHANDS_RUNNER_NOTIFY",
    /// When the run has to be over.
    openhands_runner_deadline = "OPENHANDS_RUNNER_DEADLINE",
    /// What the log shows, such as `debug` or `openhands_runner=trace`.
    rust_log = "RUST_LOG",
    /// No colours.
    no_color = "NO_COLOR",
    /// Colours also where standard error is no terminal.
    clicolor_force = "CLICOLOR_FORCE",
    /// The terminal; `dumb` is one that cannot draw.
    term = "TERM",
    /// Set in a job of GitHub Actions.
    github_actions = "GITHUB_ACTIONS",
    /// Where a step of GitHub Actions puts its summary.
    github_step_summary = "GITHUB_STEP_SUMMARY",
    /// Where a step of GitHub Actions puts its outputs.
    github_output = "GITHUB_OUTPUT",
    /// A PEM file of certificate authorities to trust beside the built-in ones.
    ssl_cert_file = "SSL_CERT_FILE",
    /// Proxy for `http://` addresses.
    http_proxy = "HTTP_PROXY",
    /// Proxy for `https://` addresses.
    https_proxy = "HTTPS_PROXY",
    /// Proxy for both, where the two before say nothing.
    all_proxy = "ALL_PROXY",
    /// Hosts that are reached without a proxy.
    no_proxy = "NO_PROXY",
    /// Where this program as PID 1 passes on what it knows to its child; no secret.
    openhands_runner_life = "OPENHANDS_RUNNER_LIFE",
}

/// Variables whose values may hold a secret, such as the user part of an address.
const HALF_SECRET: &[&str] = &[
    "AUTOMATION_CALLBACK_URL",
    "CALLBACK_URL",
    "AUTOMATION_EVENT_PAYLOAD",
    "AUTOMATION_PHASE_URL",
    "AUTOMATION_API_URL",
    "OPENHANDS_OBSERVABILITY_METADATA",
    "AGENT_SERVER_URL",
    "OPENHANDS_CLOUD_API_URL",
    "LLM_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// Variables whose values must not be seen.
pub(crate) const SECRET_NAMES: &[&str] = &[
    "SESSION_API_KEY",
    "OH_SESSION_API_KEYS_0",
    "OPENHANDS_API_KEY",
    "OPENHANDS_CLOUD_API_KEY",
    "AUTOMATION_CALLBACK_API_KEY",
    "AUTOMATION_LOCAL_API_KEY",
    "LLM_API_KEY",
    "AUTOMATION_KV_TOKEN",
    "OPENHANDS_RUNNER_NOTIFY",
];

/// Where a run is reported to: of no use to what the run starts, and an address may hold a key.
const REPORTING_NAMES: &[&str] = &["AUTOMATION_CALLBACK_URL", "CALLBACK_URL", "AUTOMATION_PHASE_URL"];

/// Files by which a step of GitHub Actions changes its job. The agent must not write them.
const JOB_NAMES: &[&str] = &["GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"];

/// Addresses of which a program that we start needs no more than where they lead. Every variable that ends in `_PROXY` is one, too.
const ADDRESSES: &[&str] = &["LLM_BASE_URL", "AGENT_SERVER_URL", "OPENHANDS_CLOUD_API_URL", "AUTOMATION_API_URL"];

/// What of this environment an agent-server that we start does not get: variables, and for some of them what is left for it.
#[must_use]
pub(crate) fn withheld() -> Vec<(OsString, Option<OsString>)> {
    withheld_of(whole())
}

fn withheld_of(variables: Vec<(OsString, OsString)>) -> Vec<(OsString, Option<OsString>)> {
    let mut withheld = Vec::new();
    for (name, value) in variables {
        let upper = name.to_string_lossy().to_uppercase();
        if [SECRET_NAMES, REPORTING_NAMES, JOB_NAMES].into_iter().flatten().any(|secret| name.as_os_str() == *secret) {
            withheld.push((name, None));
        } else if is_proxy(&name) || ADDRESSES.contains(&upper.as_str()) {
            let whole = value.to_string_lossy();
            let rest = without_access(&whole, ADDRESSES.contains(&upper.as_str()));
            if rest != whole {
                withheld.push((name, Some(rest.into())));
            }
        }
    }
    withheld
}

/// An address without its user part, and without its query where that may hold a key. It need not be a valid one: programs take
/// proxies without a scheme.
fn without_access(address: &str, query_may_be_secret: bool) -> String {
    let address = if query_may_be_secret { address.split(['?', '#']).next().unwrap_or_default() } else { address };
    let start = address.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = address.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}{}", &rest[host..])
}

/// These variables for a process whose environment others may read: what is [`withheld`] from it comes apart, in full.
#[must_use]
pub(crate) fn part(variables: Vec<(OsString, OsString)>) -> Parted {
    let mut parted = Parted::default();
    let withheld: BTreeMap<_, _> = withheld_of(variables.clone()).into_iter().collect();
    for (name, value) in variables {
        let Some(rest) = withheld.get(&name) else {
            parted.open.push((name, value));
            continue;
        };
        parted.open.extend(rest.clone().map(|rest| (name.clone(), rest)));
        parted.hidden.push((name, value));
    }
    parted
}

/// An environment in two parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parted {
    /// What others may read.
    pub(crate) open: Vec<(OsString, OsString)>,
    /// What they may not read; an address is in both parts.
    pub(crate) hidden: Vec<(OsString, OsString)>,
}

impl Parted {
    /// Both parts as one.
    fn joined(self) -> Vec<(OsString, OsString)> {
        let is_hidden = |name: &OsString| self.hidden.iter().any(|(hidden, _)| hidden == name);
        let mut whole: Vec<_> = self.open.into_iter().filter(|(name, _)| !is_hidden(name)).collect();
        whole.extend(self.hidden);
        whole
    }
}

/// What this process was given in another way than by its environment.
static HIDDEN: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Adds variables that this process was given in another way, once.
pub(crate) fn add_hidden(variables: Vec<(OsString, OsString)>) {
    let _ = HIDDEN.set(variables);
}

/// All variables of this process, for a child that takes its place.
#[must_use]
pub(crate) fn whole() -> Vec<(OsString, OsString)> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    let open = std::env::vars_os().collect();
    Parted { open, hidden: HIDDEN.get().cloned().unwrap_or_default() }.joined()
}

/// The proxies of this process, for a program that reaches servers for us.
#[must_use]
pub(crate) fn proxies() -> Vec<(OsString, OsString)> {
    whole().into_iter().filter(|(name, _)| is_proxy(name)).collect()
}

fn is_proxy(name: &OsStr) -> bool {
    name.to_string_lossy().to_uppercase().ends_with("_PROXY")
}

/// The value of any variable of this process, for a user who names it. UTF-8 or nothing.
#[must_use]
pub(crate) fn variable(name: &str) -> Option<Secret> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    std::env::var(name).ok().map(Secret::new)
}

impl fmt::Debug for RawEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawEnv")
    }
}

/// Variables that other programs write in lower case, and more often so.
const LOWER_CASE_FIRST: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "TRACEPARENT"];

impl RawEnv {
    /// The values of [`SECRET_NAMES`], and what of our addresses opens something: user parts and values of queries.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Secret> {
        let addresses = [
            &self.automation_callback_url,
            &self.callback_url,
            &self.automation_phase_url,
            &self.automation_api_url,
            &self.agent_server_url,
            &self.openhands_cloud_api_url,
            &self.llm_base_url,
            &self.http_proxy,
            &self.https_proxy,
            &self.all_proxy,
        ];
        let urls = addresses.into_iter().flatten().filter_map(|address| Url::parse(address.trim()).ok());
        let keys = [
            &self.session_api_key,
            &self.oh_session_api_keys_0,
            &self.openhands_api_key,
            &self.openhands_cloud_api_key,
            &self.automation_callback_api_key,
            &self.automation_local_api_key,
            &self.llm_api_key,
            &self.automation_kv_token,
            &self.openhands_runner_notify,
        ]
        .into_iter()
        .flatten()
        .map(|value| Secret::new(value.trim()));
        let notify = self.openhands_runner_notify.as_deref().and_then(|value| notify::of_variable(value).ok());
        let notify = notify.into_iter().flatten().flat_map(|notify| notify.secrets());
        keys.chain(notify).chain(urls.flat_map(|url| redact::secrets_of_own_address(&url)))
    }

    /// The keys that are sent in headers, with the names of their variables.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("SESSION_API_KEY", &self.session_api_key),
            ("OH_SESSION_API_KEYS_0", &self.oh_session_api_keys_0),
            ("OPENHANDS_API_KEY", &self.openhands_api_key),
            ("OPENHANDS_CLOUD_API_KEY", &self.openhands_cloud_api_key),
            ("AUTOMATION_CALLBACK_API_KEY", &self.automation_callback_api_key),
            ("AUTOMATION_LOCAL_API_KEY", &self.automation_local_api_key),
            ("LLM_API_KEY", &self.llm_api_key),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// What a runner inside of a sandbox takes from this environment: the run and its LLM, nothing of this machine.
    pub(crate) fn of_the_run(&self) -> impl Iterator<Item = (&'static str, Secret)> {
        [
            ("AUTOMATION_CALLBACK_URL", &self.automation_callback_url),
            ("CALLBACK_URL", &self.callback_url),
            ("AUTOMATION_CALLBACK_API_KEY", &self.automation_callback_api_key),
            ("AUTOMATION_RUN_ID", &self.automation_run_id),
            ("RUN_ID", &self.run_id),
            ("AUTOMATION_CONVERSATION_ID", &self.automation_conversation_id),
            ("AUTOMATION_MODEL", &self.automation_model),
            ("AUTOMATION_AGENT_PROFILE_ID", &self.automation_agent_profile_id),
            ("AUTOMATION_ID", &self.automation_id),
            ("AUTOMATION_NAME", &self.automation_name),
            ("AUTOMATION_TRIGGER_SOURCE", &self.automation_trigger_source),
            ("AUTOMATION_USER_ID", &self.automation_user_id),
            ("AUTOMATION_EVENT_PAYLOAD", &self.automation_event_payload),
            ("LLM_MODEL", &self.llm_model),
            ("LLM_API_KEY", &self.llm_api_key),
            ("LLM_BASE_URL", &self.llm_base_url),
            ("WORKSPACE_BASE", &self.workspace_base),
            ("OPENHANDS_RUNNER_DEADLINE", &self.openhands_runner_deadline),
            ("OPENHANDS_RUNNER_NOTIFY", &self.openhands_runner_notify),
            ("RUST_LOG", &self.rust_log),
            ("AUTOMATION_PHASE_URL", &self.automation_phase_url),
            ("OPENHANDS_OBSERVABILITY_METADATA", &self.openhands_observability_metadata),
            ("OPENHANDS_OBSERVABILITY_TAGS", &self.openhands_observability_tags),
            ("OPENHANDS_OBSERVABILITY_SPAN_NAME", &self.openhands_observability_span_name),
            ("OPENHANDS_OBSERVABILITY_PARENT_SPAN_CONTEXT", &self.openhands_observability_parent_span_context),
            ("TRACEPARENT", &self.traceparent),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, Secret::new(value.as_deref()?))))
    }

    /// Reads this process's environment.
    #[must_use]
    pub(crate) fn of_process() -> (Self, Faults) {
        #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
        Self::from_vars(std::env::vars_os())
    }

    /// Reads any set of variables.
    ///
    /// An empty variable counts as unset, in either case of its name. A byte order mark and one pair of quotes around a value
    /// are removed: `docker --env-file` passes them on. A known variable whose value is not UTF-8 counts as unset; other
    /// variables do not matter.
    #[must_use]
    pub(crate) fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> (Self, Faults) {
        let mut faults = Faults::default();
        let mut known = BTreeMap::new();
        for (name, value) in vars {
            let Some(name) = name.to_str() else { continue };
            let upper = name.to_uppercase();
            let lower_case_form =
                name != upper && LOWER_CASE_FIRST.contains(&upper.as_str()) && name == upper.to_lowercase();
            if !lower_case_form && !Self::is_known(name) {
                continue;
            }
            let Ok(value) = value.into_string() else {
                faults.not_text.push(name.to_owned());
                continue;
            };
            let cleaned = without_quotes(&value);
            if cleaned.trim().is_empty() {
                continue;
            }
            if cleaned.len() != value.len() {
                faults.quoted.push(name.to_owned());
            }
            let cleaned = cleaned.to_owned();
            if lower_case_form {
                known.insert(upper, cleaned);
            } else {
                known.entry(upper).or_insert(cleaned);
            }
        }
        faults.not_text.sort();
        faults.quoted.sort();
        // Every field is an optional text and every name is unique, so nothing is left that could be refused.
        (envy::from_iter(known).unwrap_or_default(), faults)
    }
}

/// What is odd about known variables, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// The value is not UTF-8; the variable counts as unset.
    pub(crate) not_text: Vec<String>,
    /// Quotes around the value, or a byte order mark before it, were removed.
    pub(crate) quoted: Vec<String>,
}

/// The value without a byte order mark and without one pair of quotes around all of it. A value of JSON keeps its quotes: they
/// are part of it.
fn without_quotes(value: &str) -> &str {
    let text = value.strip_prefix('\u{feff}').unwrap_or(value);
    let trimmed = text.trim();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| trimmed.strip_prefix(quote)?.strip_suffix(quote))
        .map(|inner| inner.strip_prefix('\u{feff}').unwrap_or(inner));
    inner.unwrap_or(text)
}

/// Variables of git that only say how a server is reached.
const HARMLESS_GIT_VARIABLES: &[&str] = &[
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_HTTP_USER_AGENT",
];

/// The names of this process's variables that change what a git does, in which way ever: `GIT_DIR`, `GIT_CONFIG_*`,
/// `GIT_TRACE*` and so on, but for those that only say how a server is reached.
#[must_use]
pub(crate) fn inherited_git_variables() -> Vec<OsString> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    let variables = std::env::vars_os();
    let is_harmful = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("GIT_") && !HARMLESS_GIT_VARIABLES.contains(&&*name)
    };
    variables.map(|(name, _)| name).filter(is_harmful).collect()
}

/// The files of git's configuration that the user has named for this process. Without them, git uses none of the machine.
#[must_use]
pub(crate) fn chosen_git_configuration() -> Vec<(&'static str, OsString)> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    let variable = |name: &'static str| Some((name, std::env::var_os(name).filter(|value| !value.is_empty())?));
    ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"].into_iter().filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> RawEnv {
        RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into()))).0
    }

    #[test]
    fn every_name_reaches_its_field() {
        let (raw, faults) = RawEnv::from_vars(NAMES.iter().map(|name| (name.into(), (*name).into())));
        assert_eq!(faults, Faults::default());
        assert_eq!(raw.sandbox_id.as_deref(), Some("SANDBOX_ID"));
        assert_eq!(raw.oh_session_api_keys_0.as_deref(), Some("OH_SESSION_API_KEYS_0"));
        assert_eq!(raw.no_proxy.as_deref(), Some("NO_PROXY"));
    }

    #[test]
    fn keys_and_user_parts_of_addresses_are_hidden_and_come_back() {
        let pair = |(name, value): (&str, &str)| (OsString::from(name), OsString::from(value));
        let (proxy, key) = (("https_proxy", "http://me:pw@proxy:3128"), ("LLM_API_KEY", "sk-1"));
        let variables = [("PATH", "/bin"), proxy, key, ("HTTP_PROXY", "http://proxy:3128")].map(pair);
        let parted = part(variables.to_vec());
        let open = [("PATH", "/bin"), ("https_proxy", "http://proxy:3128"), ("HTTP_PROXY", "http://proxy:3128")];
        assert_eq!(parted, Parted { open: open.map(pair).into(), hidden: [proxy, key].map(pair).into() });
        let sorted = |mut variables: Vec<_>| {
            variables.sort();
            variables
        };
        assert_eq!(sorted(parted.joined()), sorted(variables.into()));
    }

    #[test]
    fn empty_and_blank_variables_count_as_unset() {
        let raw = read(&[("SANDBOX_ID", ""), ("RUN_ID", " ")]);
        assert_eq!(raw.sandbox_id, None);
        assert_eq!(raw.run_id, None);
    }

    #[test]
    fn names_are_case_sensitive_but_for_those_that_others_write_in_lower_case() {
        let raw = read(&[("sandbox_id", "a"), ("https_proxy", "http://lower"), ("HTTPS_PROXY", "http://upper")]);
        assert_eq!(raw.sandbox_id, None);
        assert_eq!(raw.https_proxy.as_deref(), Some("http://lower"));
    }

    #[test]
    fn an_empty_variable_in_lower_case_does_not_hide_the_one_in_upper_case() {
        let raw = read(&[("https_proxy", ""), ("HTTPS_PROXY", "http://upper")]);
        assert_eq!(raw.https_proxy.as_deref(), Some("http://upper"));
    }

    #[test]
    fn one_pair_of_quotes_and_a_byte_order_mark_are_removed_and_named() {
        let (raw, faults) = RawEnv::from_vars([
            ("OPENHANDS_API_KEY".into(), "\"key-1\"".into()),
            ("LLM_MODEL".into(), "'m'".into()),
            ("CALLBACK_URL".into(), "\u{feff}https://h/".into()),
            ("LLM_API_KEY".into(), "''".into()),
            ("AUTOMATION_NAME".into(), "\"half".into()),
            ("AUTOMATION_EVENT_PAYLOAD".into(), "{\"event\": \"x\"}".into()),
            ("RUN_ID".into(), "\"".into()),
        ]);
        assert_eq!(raw.openhands_api_key.as_deref(), Some("key-1"));
        assert_eq!(raw.llm_model.as_deref(), Some("m"));
        assert_eq!(raw.callback_url.as_deref(), Some("https://h/"));
        assert_eq!(raw.llm_api_key, None);
        assert_eq!(raw.automation_name.as_deref(), Some("\"half"));
        assert_eq!(raw.automation_event_payload.as_deref(), Some("{\"event\": \"x\"}"));
        assert_eq!(raw.run_id.as_deref(), Some("\""));
        assert_eq!(faults.quoted, ["CALLBACK_URL", "LLM_MODEL", "OPENHANDS_API_KEY"]);
    }

    #[test]
    fn user_parts_and_query_values_of_our_addresses_are_secrets() {
        let raw =
            read(&[("CALLBACK_URL", "http://h/?token=abcdefgh&id=5"), ("LLM_BASE_URL", "http://u:passw%40rd@h/")]);
        let secrets: Vec<String> = raw.secrets().map(|secret| secret.expose().to_owned()).collect();
        for secret in ["abcdefgh", "passw%40rd", "passw@rd"] {
            assert!(secrets.iter().any(|known| known == secret), "{secret}");
        }
    }

    #[test]
    fn a_program_that_we_start_gets_no_key_and_no_user_part_of_an_address() {
        for (name, value, left) in [
            ("OPENHANDS_API_KEY", "key", Some(None)),
            ("CALLBACK_URL", "https://h/", Some(None)),
            ("HTTP_PROXY", "http://me:pw@proxy:3128", Some(Some("http://proxy:3128"))),
            ("https_proxy", "me:p@w@proxy:3128", Some(Some("proxy:3128"))),
            ("all_proxy", "socks5h://me@proxy/", Some(Some("socks5h://proxy/"))),
            ("FTP_PROXY", "http://me:@[::1]:1/a@b", Some(Some("http://[::1]:1/a@b"))),
            ("LLM_BASE_URL", "https://me:pw@llm/v1?token=t#x", Some(Some("https://llm/v1"))),
            ("AGENT_SERVER_URL", "http://h/?k=v", Some(Some("http://h/"))),
            ("GITHUB_OUTPUT", "/run/output", Some(None)),
            ("GITHUB_ENV", "/run/env", Some(None)),
            ("NO_PROXY", "localhost,.example", None),
            ("HTTP_PROXY", "http://proxy:3128/?a=b", None),
            ("LLM_BASE_URL", "https://llm/v1/a@b", None),
            ("DATABASE_URL", "postgres://me:pw@db/x", None),
        ] {
            let withheld = withheld_of(vec![(name.into(), value.into())]);
            let expected = left.map(|left: Option<&str>| (name.into(), left.map(OsString::from)));
            assert_eq!(withheld, expected.into_iter().collect::<Vec<_>>(), "{name}={value}");
        }
    }

    #[test]
    fn values_that_are_not_utf8_matter_only_in_known_variables() {
        let bad = || OsString::from_vec(vec![0xff]);
        let (raw, faults) = RawEnv::from_vars([
            ("OTHER".into(), bad()),
            (bad(), "x".into()),
            ("SANDBOX_ID".into(), bad()),
            ("RUN_ID".into(), "r".into()),
        ]);
        assert_eq!(faults.not_text, ["SANDBOX_ID"]);
        assert_eq!(raw.run_id.as_deref(), Some("r"));
    }
}

//! The variables that the program knows, with their values as text.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use openhands_client::redact;
use openhands_client::secret::Secret;
use serde::Deserialize;
use url::Url;

use crate::input::notify;

macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal,)+) => {
        /// The known variables, each an optional text. An empty variable counts as unset.
        #[derive(Clone, Default, Deserialize)]
        pub(crate) struct RawEnv {
            $($(#[doc = $doc])+ pub $field: Option<String>,)+
        }

        /// The names of all known variables.
        pub(crate) const NAMES: &[&str] = &[$($name),+];

        impl RawEnv {
            fn is_known(name: &str) -> bool {
                // envy matches a field with its name in upper case.
                debug_assert!([$((stringify!($field), $name)),+].iter().all(|(field, name)| field.to_uppercase() == *name));
                NAMES.contains(&name)
            }

            /// Returns the value of a variable by its name.
            pub(in crate::input) fn value(&self, name: &str) -> Option<&str> {
                match name {
                    $($name => self.$field.as_deref(),)+
                    _ => None,
                }
            }
        }
    };
}

variables! {
    /// This sandbox's id in the Cloud API.
    sandbox_id = "SANDBOX_ID",
    /// The sandbox's session key.
    session_api_key = "SESSION_API_KEY",
    /// The sandbox's session key, if the previous one is not set.
    oh_session_api_keys_0 = "OH_SESSION_API_KEYS_0",
    /// Port of the local agent-server.
    agent_server_port = "AGENT_SERVER_PORT",
    /// URL of the agent-server in self-hosted mode.
    agent_server_url = "AGENT_SERVER_URL",
    /// Base URL of the Cloud API.
    openhands_cloud_api_url = "OPENHANDS_CLOUD_API_URL",
    /// Key of the Cloud API.
    openhands_api_key = "OPENHANDS_API_KEY",
    /// Key of the Cloud API, if the previous one is not set.
    openhands_cloud_api_key = "OPENHANDS_CLOUD_API_KEY",
    /// Base URL of the Runtime API.
    runtime_api_url = "RUNTIME_API_URL",
    /// Key of the Runtime API.
    runtime_api_key = "RUNTIME_API_KEY",
    /// The sandbox spec for new sandboxes.
    openhands_sandbox_spec_id = "OPENHANDS_SANDBOX_SPEC_ID",
    /// URL of the completion callback.
    automation_callback_url = "AUTOMATION_CALLBACK_URL",
    /// URL of the completion callback, if the previous one is not set.
    callback_url = "CALLBACK_URL",
    /// Key of the callback and of phases.
    automation_callback_api_key = "AUTOMATION_CALLBACK_API_KEY",
    /// The automation service's id of this run.
    automation_run_id = "AUTOMATION_RUN_ID",
    /// The id of this run, if the previous one is not set.
    run_id = "RUN_ID",
    /// The id of the conversation to continue or to create.
    automation_conversation_id = "AUTOMATION_CONVERSATION_ID",
    /// The LLM profile to use.
    automation_model = "AUTOMATION_MODEL",
    /// The agent profile to start the conversation from.
    automation_agent_profile_id = "AUTOMATION_AGENT_PROFILE_ID",
    /// The name of the agent profile, if the previous one is not set. A plugin may require a profile by its name alone.
    automation_agent_profile_name = "AUTOMATION_AGENT_PROFILE_NAME",
    /// The LLM profile of a plugin, if `AUTOMATION_MODEL` is not set.
    automation_llm_profile_name = "AUTOMATION_LLM_PROFILE_NAME",
    /// Path of a JSON file with the configuration of the plugin.
    automation_config_path = "AUTOMATION_CONFIG_PATH",
    /// Path of a JSON file with other plugins that the plugin needs.
    automation_required_plugins_path = "AUTOMATION_REQUIRED_PLUGINS_PATH",
    /// Passed on as a conversation tag.
    automation_id = "AUTOMATION_ID",
    /// Passed on as a conversation tag.
    automation_name = "AUTOMATION_NAME",
    /// Passed on as a conversation tag.
    automation_trigger_source = "AUTOMATION_TRIGGER_SOURCE",
    /// The account that the conversation belongs to.
    automation_user_id = "AUTOMATION_USER_ID",
    /// URL for the phases of the run.
    automation_phase_url = "AUTOMATION_PHASE_URL",
    /// Attributes of the conversation's trace, as JSON.
    openhands_observability_metadata = "OPENHANDS_OBSERVABILITY_METADATA",
    /// Tags of the conversation's trace, separated by commas.
    openhands_observability_tags = "OPENHANDS_OBSERVABILITY_TAGS",
    /// The name of the conversation's span.
    openhands_observability_span_name = "OPENHANDS_OBSERVABILITY_SPAN_NAME",
    /// The parent span of the conversation.
    openhands_observability_parent_span_context = "OPENHANDS_OBSERVABILITY_PARENT_SPAN_CONTEXT",
    /// The parent span of the run, in the form of W3C Trace Context.
    traceparent = "TRACEPARENT",
    /// The event that triggered the run, as JSON.
    automation_event_payload = "AUTOMATION_EVENT_PAYLOAD",
    /// Base URL of the automation service, for `automation`.
    automation_api_url = "AUTOMATION_API_URL",
    /// Key of a self-hosted automation service, for `automation`.
    automation_local_api_key = "AUTOMATION_LOCAL_API_KEY",
    /// A token of the automation service. The program does not use it, and only keeps it secret.
    automation_kv_token = "AUTOMATION_KV_TOKEN",
    /// The model of a directly configured LLM; alone, it replaces the model of the inherited LLM.
    llm_model = "LLM_MODEL",
    /// The key of a directly configured LLM.
    llm_api_key = "LLM_API_KEY",
    /// The base URL of a directly configured LLM.
    llm_base_url = "LLM_BASE_URL",
    /// The agent's working directory.
    workspace_base = "WORKSPACE_BASE",
    /// Other receivers of the run's result.
    openhands_runner_notify = "OPENHANDS_RUNNER_NOTIFY",
    /// The time at which the run has to be over.
    openhands_runner_deadline = "OPENHANDS_RUNNER_DEADLINE",
    /// The number of a pod in an indexed Job of Kubernetes.
    job_completion_index = "JOB_COMPLETION_INDEX",
    /// The number of a task in a Slurm array.
    slurm_array_task_id = "SLURM_ARRAY_TASK_ID",
    /// The number of a job in an array job of AWS Batch.
    aws_batch_job_array_index = "AWS_BATCH_JOB_ARRAY_INDEX",
    /// The number of a task of a Cloud Run job.
    cloud_run_task_index = "CLOUD_RUN_TASK_INDEX",
    /// The number of a task in Google Batch.
    batch_task_index = "BATCH_TASK_INDEX",
    /// The number of a job with `parallel` in GitLab CI.
    ci_node_index = "CI_NODE_INDEX",
    /// The number of a job with `parallelism` in Buildkite.
    buildkite_parallel_job = "BUILDKITE_PARALLEL_JOB",
    /// The log filter, such as `debug` or `openhands_runner=trace`.
    rust_log = "RUST_LOG",
    /// Disables colours.
    no_color = "NO_COLOR",
    /// Enables colours even if standard error is not a terminal.
    clicolor_force = "CLICOLOR_FORCE",
    /// The type of the terminal; `dumb` means that it cannot draw.
    term = "TERM",
    /// Set in a job of GitHub Actions.
    github_actions = "GITHUB_ACTIONS",
    /// The file for the summary of a step in GitHub Actions.
    github_step_summary = "GITHUB_STEP_SUMMARY",
    /// The file for the outputs of a step in GitHub Actions.
    github_output = "GITHUB_OUTPUT",
    /// A PEM file of certificate authorities to trust in addition to the built-in ones.
    ssl_cert_file = "SSL_CERT_FILE",
    /// Proxy for `http://` URLs.
    http_proxy = "HTTP_PROXY",
    /// Proxy for `https://` URLs.
    https_proxy = "HTTPS_PROXY",
    /// Proxy for both, if the specific one is not set.
    all_proxy = "ALL_PROXY",
    /// Hosts that are reached without a proxy.
    no_proxy = "NO_PROXY",
    /// State that this program as PID 1 passes to its child; not a secret.
    openhands_runner_life = "OPENHANDS_RUNNER_LIFE",
}

/// Variables whose values are secrets.
pub(crate) const SECRET_NAMES: &[&str] = &[
    "SESSION_API_KEY",
    "OH_SESSION_API_KEYS_0",
    "OPENHANDS_API_KEY",
    "OPENHANDS_CLOUD_API_KEY",
    "AUTOMATION_CALLBACK_API_KEY",
    "AUTOMATION_LOCAL_API_KEY",
    "RUNTIME_API_KEY",
    "LLM_API_KEY",
    "AUTOMATION_KV_TOKEN",
    "OPENHANDS_RUNNER_NOTIFY",
];

/// The secrets that are sent in headers.
const KEY_NAMES: &[&str] = &[
    "SESSION_API_KEY",
    "OH_SESSION_API_KEYS_0",
    "OPENHANDS_API_KEY",
    "OPENHANDS_CLOUD_API_KEY",
    "AUTOMATION_CALLBACK_API_KEY",
    "AUTOMATION_LOCAL_API_KEY",
    "RUNTIME_API_KEY",
    "LLM_API_KEY",
];

/// URLs whose user part and query may contain a secret.
const ADDRESS_NAMES: &[&str] = &[
    "AUTOMATION_CALLBACK_URL",
    "CALLBACK_URL",
    "AUTOMATION_PHASE_URL",
    "AUTOMATION_API_URL",
    "AGENT_SERVER_URL",
    "OPENHANDS_CLOUD_API_URL",
    "RUNTIME_API_URL",
    "LLM_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// JSON values with arbitrary content.
const JSON_NAMES: &[&str] = &["AUTOMATION_EVENT_PAYLOAD", "OPENHANDS_OBSERVABILITY_METADATA"];

/// Variables that belong to a single run, and not to the runs of rows.
const NAMES_OF_ONE_RUN: &[&str] = &[
    "AUTOMATION_CALLBACK_URL",
    "CALLBACK_URL",
    "AUTOMATION_CALLBACK_API_KEY",
    "AUTOMATION_RUN_ID",
    "RUN_ID",
    "AUTOMATION_CONVERSATION_ID",
    "AUTOMATION_PHASE_URL",
    "OPENHANDS_RUNNER_DEADLINE",
    "OPENHANDS_RUNNER_NOTIFY",
];

/// Other variables that a runner in a sandbox gets from this environment: its LLM and the origin of the run, but nothing about
/// this machine.
const NAMES_OF_EACH_RUN: &[&str] = &[
    "AUTOMATION_MODEL",
    "AUTOMATION_AGENT_PROFILE_ID",
    "AUTOMATION_AGENT_PROFILE_NAME",
    "AUTOMATION_LLM_PROFILE_NAME",
    "AUTOMATION_ID",
    "AUTOMATION_NAME",
    "AUTOMATION_TRIGGER_SOURCE",
    "AUTOMATION_USER_ID",
    "AUTOMATION_EVENT_PAYLOAD",
    "LLM_MODEL",
    "LLM_API_KEY",
    "LLM_BASE_URL",
    "WORKSPACE_BASE",
    "RUST_LOG",
    "OPENHANDS_OBSERVABILITY_METADATA",
    "OPENHANDS_OBSERVABILITY_TAGS",
    "OPENHANDS_OBSERVABILITY_SPAN_NAME",
    "OPENHANDS_OBSERVABILITY_PARENT_SPAN_CONTEXT",
    "TRACEPARENT",
];

impl fmt::Debug for RawEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawEnv")
    }
}

/// Variables that other programs usually write in lower case.
const LOWER_CASE_FIRST: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "TRACEPARENT"];

impl RawEnv {
    /// Returns the variables of this list that are set.
    fn set<'e>(&'e self, names: &'static [&'static str]) -> impl Iterator<Item = (&'static str, &'e str)> {
        names.iter().filter_map(|name| Some((*name, self.value(name)?)))
    }

    /// Returns all variables that are set, without the values of secrets.
    pub(crate) fn set_variables(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let is_open = |name| [SECRET_NAMES, ADDRESS_NAMES, JSON_NAMES].iter().all(|hidden| !hidden.contains(&name));
        self.set(NAMES).map(move |(name, value)| (name, is_open(name).then_some(value)))
    }

    /// Returns the values of [`SECRET_NAMES`], the secrets in URLs (user parts and values of queries), and values that look like
    /// a key in a variable that should not contain one.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Secret> {
        let keys = self.set(SECRET_NAMES).map(|(_, value)| Secret::new(value.trim()));
        let notify = self.openhands_runner_notify.as_deref().and_then(|value| notify::of_variable(value).ok());
        let notify = notify.into_iter().flatten().flat_map(|notify| notify.secrets());
        let urls = self.set(ADDRESS_NAMES).filter_map(|(_, address)| Url::parse(address.trim()).ok());
        // A key in a variable for something else. An id may be as random as a key.
        let may_be_key =
            |name: &str, value| redact::begins_as_key(value) || (!name.ends_with("ID") && redact::is_token(value));
        let misplaced = self.set_variables().filter_map(move |(name, value)| {
            value.map(str::trim).filter(|value| may_be_key(name, value)).map(Secret::new)
        });
        keys.chain(notify).chain(urls.flat_map(|url| redact::secrets_of_own_address(&url))).chain(misplaced)
    }

    /// Returns the keys that are sent in headers, with the names of their variables.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.set(KEY_NAMES)
    }

    /// Returns what a runner in a sandbox gets from this environment: the run and its LLM, but nothing about this machine.
    pub(crate) fn of_the_run(&self) -> impl Iterator<Item = (&'static str, Secret)> {
        self.set(NAMES_OF_ONE_RUN).map(|(name, value)| (name, Secret::new(value))).chain(self.of_a_row())
    }

    /// Returns what the run of a row gets from this environment: the same without the variables that belong to a single run.
    pub(crate) fn of_a_row(&self) -> impl Iterator<Item = (&'static str, Secret)> {
        self.set(NAMES_OF_EACH_RUN).map(|(name, value)| (name, Secret::new(value)))
    }

    /// Returns the environment for the runs of rows.
    #[must_use]
    pub(crate) fn for_rows(&self) -> Self {
        let kept = self.set(NAMES).filter(|(name, _)| !NAMES_OF_ONE_RUN.contains(name));
        Self::from_vars(kept.map(|(name, value)| (name.into(), value.into()))).0
    }

    /// Reads the environment of this process.
    #[must_use]
    pub(crate) fn of_process() -> (Self, Faults) {
        #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
        Self::from_vars(std::env::vars_os())
    }

    /// Reads any set of variables.
    ///
    /// An empty variable counts as unset, in upper or lower case. A byte order mark and one pair of quotes around a value are
    /// removed, because `docker --env-file` passes them on. A known variable whose value is not UTF-8 counts as unset; other
    /// variables are ignored.
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
        // All fields are optional texts and all names are unique, so this cannot fail.
        (envy::from_iter(known).unwrap_or_default(), faults)
    }
}

/// Unusual values of known variables, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Variables whose value is not UTF-8; they count as unset.
    pub(crate) not_text: Vec<String>,
    /// Variables whose value had quotes or a byte order mark, which were removed.
    pub(crate) quoted: Vec<String>,
}

/// Returns the value without a byte order mark and without one pair of quotes around it. A JSON value keeps its quotes, which are
/// part of it.
fn without_quotes(value: &str) -> &str {
    let text = value.strip_prefix('\u{feff}').unwrap_or(value);
    let trimmed = text.trim();
    let inner = ['"', '\'']
        .into_iter()
        .find_map(|quote| trimmed.strip_prefix(quote)?.strip_suffix(quote))
        .map(|inner| inner.strip_prefix('\u{feff}').unwrap_or(inner));
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> RawEnv {
        RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into()))).0
    }

    #[test]
    fn every_list_has_names_of_variables() {
        for list in
            [SECRET_NAMES, KEY_NAMES, ADDRESS_NAMES, JSON_NAMES, NAMES_OF_ONE_RUN, NAMES_OF_EACH_RUN, LOWER_CASE_FIRST]
        {
            assert!(list.iter().all(|name| NAMES.contains(name)), "{list:?}");
        }
        assert!(KEY_NAMES.iter().all(|name| SECRET_NAMES.contains(name)));
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

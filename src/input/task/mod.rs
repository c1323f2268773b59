//! The task file: what the agent has to do, and the limits of the run.
//!
//! [`Task`] is the only schema. [`parse`] reads it from Markdown with front matter, YAML or JSON; [`source`] finds the file. This
//! module does not use HTTP or the environment.

pub(crate) mod agent;
pub(crate) mod collect;
pub(crate) mod commands;
mod fields;
pub(crate) mod filling;
mod foreign;
mod front_matter;
pub(crate) mod parse;
pub(crate) mod places;
pub(crate) mod plugins;
mod refusal;
pub(crate) mod repos;
pub(crate) mod skills;
pub(crate) mod source;
mod syntax;
mod tolerant;
mod web_page;

use openhands_client::collections::inserted;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use self::agent::AgentChoice;
use self::collect::CollectPattern;
use self::commands::CommandSource;
use self::places::{Place, TextPlace};
use self::plugins::{Experiment, Plugin};
use self::repos::RepoSource;
use self::skills::SkillSources;
use super::notify::Notify;
use super::reporting::http_url;
use super::rows::Row;
use crate::agent_result::ResultSpec;
use crate::agent_result::schema::{ResultSchema, SchemaError};
use crate::problem::{Mistake, shown};

/// A task file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "openhands-runner task file")]
pub(crate) struct Task {
    /// A name for people. It becomes the title of the conversation.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// A description for readers of the file. It is not used.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// The first message to the agent. In a Markdown file, it is the text after the front matter.
    #[serde(default)]
    pub(crate) prompt: String,
    /// Further messages. Each is sent when the agent has finished with the previous one.
    #[serde(default)]
    pub(crate) then: Vec<String>,
    /// The LLM: a profile of the account, with any field of the agent-server's LLM object as an override.
    #[serde(default)]
    pub(crate) llm: LlmChoice,
    /// The agent: a profile of the account, or changes of the default agent.
    #[serde(default)]
    pub(crate) agent: AgentChoice,
    /// Names of the account's secrets that the agent gets. Default: all. An empty list means none.
    #[serde(default, deserialize_with = "secrets")]
    #[schemars(with = "Vec<String>")]
    pub(crate) secrets: Option<Vec<String>>,
    /// Limits of the run.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Conversation tags. Keys are lower-case letters and digits, values have up to 256 characters.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) tags: Tags,
    /// What the agent returns at its end in addition to a message. Default: an outcome under the automation service, otherwise
    /// nothing.
    #[serde(default, deserialize_with = "result_spec")]
    #[schemars(with = "Option<ResultForm>")]
    pub(crate) result: Option<ResultSpec>,
    /// The agent's working directory. Default: `WORKSPACE_BASE`, or else `/workspace/project`.
    #[serde(default)]
    pub(crate) working_dir: Option<String>,
    /// Repositories that are cloned into the working directory before the agent starts.
    #[serde(default)]
    pub(crate) repos: Vec<RepoSource>,
    /// Commands that run in the working directory before the first message. If one fails, the run fails.
    #[serde(default)]
    pub(crate) setup: Vec<CommandSource>,
    /// Commands that must pass after the agent has finished. If one fails, the agent is told and continues, within the limits.
    #[serde(default)]
    pub(crate) checks: Vec<CommandSource>,
    /// Files in the working directory that are copied to the run folder, however the run ends: patterns such as `report/**`.
    #[serde(default)]
    pub(crate) collect: Vec<CollectPattern>,
    /// Plugins for the agent.
    #[serde(default)]
    pub(crate) plugins: Vec<Plugin>,
    /// Variants of this task, instead of `plugins`. Each run uses one.
    #[serde(default)]
    pub(crate) experiment: Option<Experiment>,
    /// The skills that the agent gets. Default: all. `false` means none.
    #[serde(default)]
    pub(crate) skills: SkillSources,
    /// MCP servers by name, in addition to those of the account. They replace servers of the account with the same name.
    #[serde(default, deserialize_with = "mcp_servers")]
    pub(crate) mcp: Map<String, Value>,
    /// Receivers of the run's result, in addition to the automation service.
    #[serde(default)]
    pub(crate) notify: Vec<Notify>,
    /// Parameters of the messages, `{{ params.NAME }}`, with default values that `--param` overrides. A parameter without a value
    /// must be set.
    #[serde(default, deserialize_with = "params")]
    #[schemars(with = "BTreeMap<String, Option<String>>")]
    pub(crate) params: BTreeMap<String, Option<String>>,
    /// Whether `{{ … }}` in the messages is rendered. Default: `true`.
    #[serde(default)]
    pub(crate) template: Option<bool>,
    /// Where the task was read from.
    #[serde(skip)]
    pub(crate) origin: Origin,
    /// The row whose values the fields and the messages get.
    #[serde(skip)]
    pub(crate) row: Option<Row>,
    /// The configuration of the plugin that the task belongs to. The messages can use it.
    #[serde(skip)]
    pub(crate) config: Option<Map<String, Value>>,
}

/// Where a task was read from, for errors in its messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    /// The name of the file.
    pub(crate) file: String,
    /// The place of the prompt.
    pub(crate) prompt: TextPlace,
    /// The place of each further message.
    pub(crate) then: Vec<TextPlace>,
    /// The places of the names of parameters without a value.
    pub(crate) params: BTreeMap<String, Place>,
    /// Whether the file has fields. A text without fields goes to the agent as it is.
    pub(crate) has_fields: bool,
}

impl Task {
    /// Returns all messages of the task in their order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.prompt).chain(&self.then).map(String::as_str)
    }
}

/// What the agent returns at its end in addition to a message.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "documents the forms of a field that is read by hand")]
enum ResultForm {
    /// Nothing.
    Message,
    /// The result of the task: `success`, `partial_success`, `blocked`, `failed` or `unknown`, with a summary.
    Outcome,
    /// An object that matches this JSON Schema. It is checked when the agent has finished.
    Schema(Value),
}

fn result_spec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ResultSpec>, D::Error> {
    let Some(value) = Option::<Value>::deserialize(deserializer)? else { return Ok(None) };
    let schema = value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get("schema"));
    match (value.as_str(), schema) {
        (Some("message"), _) => Ok(Some(ResultSpec::Message)),
        (Some("outcome"), _) => Ok(Some(ResultSpec::TaskOutcome)),
        (_, Some(schema)) => {
            let schema = ResultSchema::new(schema.clone()).map_err(|SchemaError { place, found, help }| {
                de::Error::custom(Mistake::new(format!("{found} at `{place}`"), help))
            })?;
            Ok(Some(ResultSpec::Schema(schema)))
        }
        _ => Err(de::Error::custom(Mistake::new(
            "not a form of a result",
            "give `message`, `outcome` or `{schema: {…}}`",
        ))),
    }
}

/// The LLM of the agent.
#[derive(Debug, Clone, PartialEq, Default, JsonSchema)]
pub(crate) struct LlmChoice {
    /// The name of one of the account's LLM profiles.
    pub(crate) profile: Option<String>,
    /// Fields of the agent-server's LLM object, such as `model`, `base_url` or `temperature`; they override inherited ones.
    #[schemars(flatten)]
    pub(crate) fields: Map<String, Value>,
}

/// Fields of the agent-server's LLM object that are texts (1.58.0). In YAML they keep their exact text: `4.10` is the name of a
/// model.
const LLM_TEXTS: &[&str] =
    &["model", "base_url", "api_key", "api_version", "custom_llm_provider", "reasoning_effort", "ollama_base_url"];

impl<'de> Deserialize<'de> for LlmChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Address(#[serde(deserialize_with = "llm_address")] String);
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = LlmChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields such as `profile` or `model`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LlmChoice, A::Error> {
                let mut choice = LlmChoice::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "profile" {
                        choice.profile = map.next_value()?;
                    } else if LLM_TEXTS.contains(&name.as_str()) {
                        let text = if name.ends_with("base_url") {
                            map.next_value::<Option<Address>>()?.map(|Address(address)| address)
                        } else {
                            map.next_value()?
                        };
                        choice.fields.insert(name, text.into());
                    } else {
                        choice.fields.insert(name, map.next_value()?);
                    }
                }
                Ok(choice)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn llm_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let address = String::deserialize(deserializer)?;
    check_address(&address).map_err(de::Error::custom).map(|()| address)
}

/// Limits of a run. A limit that is not set does not apply.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// The time limit from the start of the run, such as `30m` or `1h 30m`.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "String")]
    pub(crate) timeout: Option<Duration>,
    /// The cost limit of the agent in this run, in US dollars. It is checked whenever the agent-server reports the cost, so one
    /// LLM call may exceed it.
    #[serde(default, deserialize_with = "cost")]
    #[schemars(with = "f64", range(min = 0.0))]
    pub(crate) cost: Option<f64>,
    /// The maximum number of steps of the agent for each message. The agent-server's own default is 500.
    #[serde(default, deserialize_with = "iterations")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) iterations: Option<u32>,
    /// The maximum number of times that the checks run before the run fails. Default: 3.
    #[serde(default, deserialize_with = "attempts")]
    #[schemars(range(min = 1))]
    pub(crate) attempts: Option<u32>,
}

/// Conversation tags by key. They are checked when they are read, because an agent-server rejects the whole conversation for one
/// invalid key.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tags(pub(crate) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
        #[serde(transparent)]
        struct Key(#[serde(deserialize_with = "tag_key")] String);
        #[derive(Deserialize)]
        struct TagValue(#[serde(deserialize_with = "tag_value")] String);
        let tags = BTreeMap::<Key, TagValue>::deserialize(deserializer)?;
        Ok(Self(inserted(tags.into_iter().map(|(Key(key), TagValue(value))| (key, value)))))
    }
}

fn tag_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let key = String::deserialize(deserializer)?;
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        let help = "use only lower-case letters and digits, such as `team1`";
        return Err(de::Error::custom(Mistake::new(format!("invalid tag key {}", shown(&key)), help)));
    }
    Ok(key)
}

fn tag_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = String::deserialize(deserializer)?;
    if value.chars().count() > 256 {
        return Err(de::Error::custom(Mistake::new("a tag value of more than 256 characters", "shorten it")));
    }
    Ok(value)
}

/// Parses a duration, such as `1h 30m`.
///
/// # Errors
/// What is wrong with it, and how to write one.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Mistake> {
    let wrong = |what: &str| {
        let help = "write a time with its unit, such as `90s`, `30m` or `1h 30m`";
        Mistake::new(format!("{} {what}", shown(text)), help)
    };
    let signed: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong("is not a duration"))?;
    let duration = Duration::try_from(signed).map_err(|_| wrong("is a negative duration"))?;
    if duration.is_zero() {
        Err(wrong("is a duration of zero"))
    } else if duration > LONGEST_DURATION {
        Err(wrong("is longer than a year"))
    } else {
        Ok(duration)
    }
}

/// The longest duration. It keeps sums of times far from overflow.
const LONGEST_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads the secrets. A field without a value, such as that of a template that was not rendered, is an error: it would give the
/// agent all secrets.
fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    match Option::<Vec<String>>::deserialize(deserializer)? {
        None => Err(de::Error::custom(no_value("secrets", "give a list of names, `[]` for no secret"))),
        names => Ok(names),
    }
}

fn no_value(field: &str, help: &str) -> Mistake {
    Mistake::new(format!("`{field}` has no value"), format!("{help}; or remove the field"))
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(value) = Option::<Value>::deserialize(deserializer)? else {
        return Err(de::Error::custom(no_value("timeout", "give a time with its unit, such as `30m`")));
    };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parse_duration(&text).map(Some).map_err(de::Error::custom)
}

fn cost<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let cost = Option::<f64>::deserialize(deserializer)?;
    match cost {
        Some(dollars) if !dollars.is_finite() || dollars <= 0.0 => Err(de::Error::custom(Mistake::new(
            format!("a cost limit of {dollars} leaves nothing to spend"),
            "give a number of US dollars above 0, such as 2.50",
        ))),
        None => Err(de::Error::custom(no_value("cost", "give a number of US dollars, such as 2.50"))),
        cost => Ok(cost),
    }
}

fn iterations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match Option::<u32>::deserialize(deserializer)? {
        Some(0) => Err(de::Error::custom(Mistake::new(
            "a limit of 0 iterations leaves the agent no step",
            "give a whole number of 1 or more, such as 200",
        ))),
        None => Err(de::Error::custom(no_value("iterations", "give a whole number of 1 or more, such as 200"))),
        iterations => Ok(iterations),
    }
}

fn attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match Option::<u32>::deserialize(deserializer)? {
        Some(0) => Err(de::Error::custom("with 0 attempts no check runs: give 1 or more, or leave `checks` out")),
        attempts => Ok(attempts),
    }
}

fn mcp_servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    #[derive(Deserialize)]
    struct McpServerForm(#[serde(deserialize_with = "mcp_server")] Value);
    let servers = BTreeMap::<String, McpServerForm>::deserialize(deserializer)?;
    Ok(inserted(servers.into_iter().map(|(name, McpServerForm(server))| (name, server))))
}

fn mcp_server<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let server = Value::deserialize(deserializer)?;
    let has = |field: &str| server.get(field).is_some_and(Value::is_string);
    if server.get("command").is_some_and(Value::is_array) {
        let help = "write the program as `command`, and what follows as `args: […]`";
        return Err(de::Error::custom(Mistake::new("a list as `command`", help)));
    }
    if has("url") == has("command") {
        let found = if has("url") { "both `url` and `command`" } else { "neither `url` nor `command`" };
        let help = "an MCP server has one of the two: `url` for a remote one, `command` for one that is started";
        return Err(de::Error::custom(Mistake::new(found, help)));
    }
    server.get("url").and_then(Value::as_str).map_or(Ok(()), check_address).map_err(de::Error::custom)?;
    Ok(server)
}

/// Checks that the server can use this URL of another server. It may contain a placeholder that the server replaces, such as
/// `${HOST}`.
fn check_address(address: &str) -> Result<(), Mistake> {
    match http_url(address) {
        None if !address.contains("${") => {
            Err(Mistake::new("not an address", "write one that starts with http:// or https://"))
        }
        _ => Ok(()),
    }
}

fn params<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Option<String>>, D::Error> {
    #[derive(Deserialize)]
    struct Param(#[serde(deserialize_with = "param")] Option<String>);
    let params = BTreeMap::<String, Param>::deserialize(deserializer)?;
    Ok(inserted(params.into_iter().map(|(name, Param(value))| (name, value))))
}

/// Reads the value of a parameter exactly as it is written: `3.10` stays `3.10`.
fn param<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct OneText;
    impl Visitor<'_> for OneText {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
    }
    struct Text(String);
    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(OneText).map(Self)
        }
    }
    Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("1h 30m").unwrap(), Duration::from_secs(5400));
        for bad in ["30", "-5m", "0s", "soon", ""] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}

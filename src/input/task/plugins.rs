//! Plugins and experiments, in the form of `plugins_config.json` and `experiment_config.json` of the automation service
//! (`openhands-automation` 1.25.0).

use std::path::{Component, Path};

use openhands_client::agent_server::plugin::PluginSource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::problem::{Mistake, shown};

/// A plugin that the agent-server loads at the first message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plugin {
    /// `github:owner/repo`, a git URL, or a directory on the agent-server's machine.
    #[serde(deserialize_with = "not_blank")]
    pub(crate) source: String,
    /// A branch, a tag or a commit of a git source.
    #[serde(default, rename = "ref")]
    pub(crate) git_ref: Option<String>,
    /// The plugin's directory in a git source.
    #[serde(default, deserialize_with = "path_inside")]
    pub(crate) repo_path: Option<String>,
}

impl From<Plugin> for PluginSource {
    fn from(Plugin { source, git_ref, repo_path }: Plugin) -> Self {
        Self { source, git_ref, repo_path }
    }
}

/// Variants of a run. Each run uses one of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Experiment {
    /// The name of the experiment. It becomes the conversation's tag `experimentid`.
    #[serde(deserialize_with = "not_blank")]
    pub(crate) experiment_id: String,
    /// The variants.
    #[serde(deserialize_with = "variants")]
    pub(crate) variants: Vec<Variant>,
}

/// One variant of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variant {
    /// The name of the variant. It becomes the conversation's tag `variant`.
    #[serde(deserialize_with = "not_blank")]
    pub(crate) name: String,
    /// How often it is chosen, relative to the weights of the other variants.
    #[serde(deserialize_with = "weight")]
    #[schemars(range(min = 1))]
    pub(crate) weight: u32,
    /// The LLM profile, instead of the one of the run.
    #[serde(default)]
    pub(crate) model: Option<String>,
    /// The plugins of the variant.
    #[serde(default)]
    pub(crate) plugins: Vec<Plugin>,
}

fn not_blank<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        Err(de::Error::custom(Mistake::new("an empty text", "write a name")))
    } else {
        Ok(text)
    }
}

fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(de::Error::custom(Mistake::new(
            "a variant of weight 0 is never chosen",
            "give 1 or more, or remove the variant",
        ))),
        weight => Ok(weight),
    }
}

fn variants<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Variant>, D::Error> {
    let variants = Vec::<Variant>::deserialize(deserializer)?;
    if variants.is_empty() {
        return Err(de::Error::custom(Mistake::new("no variants", "write at least one")));
    }
    for (index, variant) in variants.iter().enumerate() {
        if variants[..index].iter().any(|other| other.name == variant.name) {
            let found = format!("two variants have the name {}", shown(&variant.name));
            return Err(de::Error::custom(Mistake::new(found, "rename one of them")));
        }
    }
    Ok(variants)
}

fn path_inside<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(path) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if Path::new(&path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        Ok(Some(path))
    } else {
        let found = format!("{} leads out of the repository", shown(&path));
        Err(de::Error::custom(Mistake::new(found, "write a path inside it")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plugin(value: Value) -> PluginSource {
        serde_json::from_value::<Plugin>(value).unwrap().into()
    }

    #[test]
    fn the_page_of_a_plugin_is_what_the_official_client_tags() {
        for (value, page) in [
            (json!({"source": "github:o/r"}), Some("https://github.com/o/r")),
            (json!({"source": "github:o/r", "ref": "v1"}), Some("https://github.com/o/r/tree/v1")),
            (json!({"source": "github:o/r", "repo_path": "p/a"}), Some("https://github.com/o/r/tree/main/p/a")),
            (json!({"source": "https://user:pass@h/o/r.git"}), Some("https://h/o/r.git")),
            (json!({"source": "/a/plugin"}), None),
        ] {
            assert_eq!(plugin(value).page().as_deref(), page);
        }
    }

    #[test]
    fn a_plugin_is_sent_as_the_server_takes_it() {
        let sent = serde_json::to_value(plugin(json!({"source": "/p"}))).unwrap();
        assert_eq!(sent, json!({"source": "/p", "ref": null, "repo_path": null}));
    }

    #[test]
    fn bad_experiments_and_plugins_are_refused() {
        for bad in [
            json!({"experiment_id": "e", "variants": []}),
            json!({"experiment_id": " ", "variants": [{"name": "A", "weight": 1}]}),
            json!({"experiment_id": "e", "variants": [{"name": "A", "weight": 0}]}),
            json!({"experiment_id": "e", "variants": [{"name": "A", "weight": 1}, {"name": "A", "weight": 1}]}),
        ] {
            assert!(serde_json::from_value::<Experiment>(bad.clone()).is_err(), "{bad}");
        }
        for bad in ["/abs", "../up", "a/../../b"] {
            let value = json!({"source": "github:o/r", "repo_path": bad});
            assert!(serde_json::from_value::<Plugin>(value).is_err(), "{bad}");
        }
    }
}

//! Plugins and experiments, as the automation service writes them into `plugins_config.json` and
//! `experiment_config.json` (`openhands-automation` 1.25.0).

use std::path::{Component, Path};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// A plugin that the agent-server loads at the first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginSource {
    /// `github:owner/repo`, a git address, or a directory on the agent-server's machine.
    #[serde(deserialize_with = "not_blank")]
    pub source: String,
    /// A branch, a tag or a commit of a git source.
    #[serde(default, rename = "ref")]
    pub git_ref: Option<String>,
    /// The plugin's directory in a git source.
    #[serde(default, deserialize_with = "path_inside")]
    pub repo_path: Option<String>,
}

/// Variants of a run, of which each run takes one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name; it becomes the conversation's tag `experimentid`.
    #[serde(deserialize_with = "not_blank")]
    pub experiment_id: String,
    /// What there is to choose from.
    #[serde(deserialize_with = "variants")]
    pub variants: Vec<Variant>,
}

/// One variant of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name; it becomes the conversation's tag `variant`.
    #[serde(deserialize_with = "not_blank")]
    pub name: String,
    /// How often it is chosen, compared with the other variants' weights.
    #[serde(deserialize_with = "weight")]
    #[schemars(range(min = 1))]
    pub weight: u32,
    /// The LLM profile, instead of the run's own.
    #[serde(default)]
    pub model: Option<String>,
    /// Its plugins.
    #[serde(default)]
    pub plugins: Vec<PluginSource>,
}

fn not_blank<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(de::Error::custom("an empty text, expected a name")) } else { Ok(text) }
}

fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(de::Error::custom("a weight of 0 is never chosen: give 1 or more, or take the variant out")),
        weight => Ok(weight),
    }
}

fn variants<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Variant>, D::Error> {
    let variants = Vec::<Variant>::deserialize(deserializer)?;
    if variants.is_empty() {
        return Err(de::Error::custom("no variants, expected at least one"));
    }
    for (index, variant) in variants.iter().enumerate() {
        if variants[..index].iter().any(|other| other.name == variant.name) {
            return Err(de::Error::custom(format!("two variants are named `{}`", variant.name)));
        }
    }
    Ok(variants)
}

fn path_inside<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(path) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if Path::new(&path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        Ok(Some(path))
    } else {
        Err(de::Error::custom(format!("`{path}` leads out of the repository, expected a path inside it")))
    }
}

impl PluginSource {
    /// Where people find the plugin; nothing for a directory. So the official client builds the conversation's tag
    /// `plugins` (`openhands-sdk` 1.58.0).
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let base = match self.source.strip_prefix("github:") {
            Some(repo) => format!("https://github.com/{repo}"),
            None if self.source.contains("://") => {
                // The user part of an address counts as a secret.
                let url = url::Url::parse(&self.source).ok()?;
                return Some(crate::http::without_secrets(&url));
            }
            None if self.source.starts_with("git@") => return Some(self.source.clone()),
            None => return None,
        };
        Some(match (&self.git_ref, &self.repo_path) {
            (None, None) => base,
            (Some(git_ref), None) => format!("{base}/tree/{git_ref}"),
            (git_ref, Some(path)) => format!("{base}/tree/{}/{path}", git_ref.as_deref().unwrap_or("main")),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plugin(value: Value) -> PluginSource {
        serde_json::from_value(value).unwrap()
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
            assert!(serde_json::from_value::<PluginSource>(value).is_err(), "{bad}");
        }
    }
}

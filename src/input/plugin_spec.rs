//! Input from the automation service for a plugin: the configuration that the plugin's user has chosen, and additional plugins
//! for the agent (`plugin_spec` of `openhands-automation` 1.26.0, `plugin_specs.py`).

use std::fs::File;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::env::RawEnv;
use super::task::Task;
use super::task::plugins::Plugin;
use super::task::source::text_of;
use crate::problem::{Problem, Problems};

/// The configuration of a plugin, and the plugins that it needs.
#[derive(Debug, Default)]
struct PluginSpec {
    config: Option<Map<String, Value>>,
    plugins: Vec<RequiredPlugin>,
}

/// A plugin that another one needs. The service has resolved its `ref` to a commit.
#[derive(Debug, Deserialize)]
struct RequiredPlugin {
    source: String,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    repo_path: Option<String>,
    resolved_ref: Option<String>,
}

impl PluginSpec {
    /// Reads the files that the environment names. Blocks.
    ///
    /// # Errors
    /// [`Problems`]: a file cannot be read, or does not have the form that the service writes.
    fn read(raw: &RawEnv) -> Result<Self, Problems> {
        let config = read("AUTOMATION_CONFIG_PATH", raw.automation_config_path.as_deref());
        let plugins = read("AUTOMATION_REQUIRED_PLUGINS_PATH", raw.automation_required_plugins_path.as_deref());
        match (config, plugins) {
            (Ok(config), Ok(plugins)) => Ok(Self { config, plugins: plugins.unwrap_or_default() }),
            (config, plugins) => Err(Problems(config.err().into_iter().chain(plugins.err()).collect())),
        }
    }

    /// Adds the configuration and the plugins to the task. Fields that the task sets itself stay as they are.
    #[must_use]
    fn given_to(self, mut task: Task) -> Task {
        task.config = self.config;
        let mut lists: Vec<&mut Vec<Plugin>> = match &mut task.experiment {
            Some(experiment) => experiment.variants.iter_mut().map(|variant| &mut variant.plugins).collect(),
            None => vec![&mut task.plugins],
        };
        for RequiredPlugin { source, git_ref, repo_path, resolved_ref } in self.plugins {
            let plugin = Plugin { source, git_ref: resolved_ref.or(git_ref), repo_path };
            for list in &mut lists {
                if !list.iter().any(|own| own.source == plugin.source && own.repo_path == plugin.repo_path) {
                    list.push(plugin.clone());
                }
            }
        }
        task
    }
}

/// Adds the service's input in this environment to a task. Blocks.
///
/// # Errors
/// The problems of the task and of the service's files.
pub(crate) fn given_by_service(task: Result<Task, Problems>, raw: &RawEnv) -> Result<Task, Problems> {
    match (task, PluginSpec::read(raw)) {
        (Ok(task), Ok(spec)) => Ok(spec.given_to(task)),
        (task, spec) => Err(Problems::of(task.err().into_iter().chain(spec.err()))),
    }
}

/// Reads the JSON file that a variable names; `None` if the variable is not set.
fn read<T: DeserializeOwned>(variable: &str, path: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |found: String| {
        let help = "give the path of the file that the automation service has written, or unset the variable";
        Problem::new(variable, format!("{path}: {found}"), help)
    };
    let file = File::open(Path::new(path)).map_err(|error| wrong(format!("cannot be read ({error})")))?;
    let text = text_of(file, path).map_err(|problem| wrong(problem.found))?;
    serde_json::from_str(&text).map(Some).map_err(|error| wrong(format!("not the expected JSON ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::task::parse::{TaskFormat, parse};

    fn spec(config: &str, plugins: &str) -> Result<PluginSpec, Problems> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.into_os_string()
        };
        let (config, plugins) = (file("config.json", config), file("plugins.json", plugins));
        let variables =
            [("AUTOMATION_CONFIG_PATH".into(), config), ("AUTOMATION_REQUIRED_PLUGINS_PATH".into(), plugins)];
        PluginSpec::read(&RawEnv::from_vars(variables).0)
    }

    #[test]
    fn the_plugins_come_behind_those_of_the_task_and_each_once() {
        let plugins =
            r#"[{"source": "/own"}, {"source": "github:o/r", "ref": "main", "repo_path": "p", "resolved_ref": "abc"}]"#;
        let listed = |plugins: &[Plugin]| {
            let listed = plugins.iter().map(|plugin| (plugin.source.clone(), plugin.git_ref.clone()));
            listed.collect::<Vec<_>>()
        };
        let expected = [("/own".to_owned(), Some("v1".to_owned())), ("github:o/r".to_owned(), Some("abc".to_owned()))];
        let task = parse("prompt: x\nplugins: [{source: /own, ref: v1}]", TaskFormat::Yaml, "task").unwrap();
        let task = spec(r#"{"depth": 3}"#, plugins).unwrap().given_to(task);
        assert_eq!(listed(&task.plugins), expected);
        assert_eq!(task.config.unwrap()["depth"], 3);

        let variant = "{name: a, weight: 1, plugins: [{source: /own, ref: v1}]}";
        let task = format!("prompt: x\nexperiment: {{experiment_id: e, variants: [{variant}]}}");
        let task = spec("{}", plugins).unwrap().given_to(parse(&task, TaskFormat::Yaml, "task").unwrap());
        assert!(task.plugins.is_empty());
        assert_eq!(listed(&task.experiment.unwrap().variants[0].plugins), expected);
    }

    #[test]
    fn every_file_that_cannot_be_used_is_named() {
        let wrong = spec("[]", "{").unwrap_err().to_string();
        assert!(wrong.contains("AUTOMATION_CONFIG_PATH: ") && wrong.contains("not the expected JSON"), "{wrong}");
        assert!(wrong.contains("AUTOMATION_REQUIRED_PLUGINS_PATH: "), "{wrong}");
        let missing = RawEnv::from_vars([("AUTOMATION_CONFIG_PATH".into(), "/no/such/file".into())]).0;
        let wrong = PluginSpec::read(&missing).unwrap_err().to_string();
        assert!(wrong.contains("/no/such/file: cannot be read"), "{wrong}");
    }
}

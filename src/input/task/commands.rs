//! Commands of a task, which the runner executes in the sandbox.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use super::optional_duration;

/// A command. A plain text is its command line.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "CommandSchema")]
pub(crate) struct CommandSource {
    /// A name for people.
    pub(crate) name: Option<String>,
    /// The command line.
    pub(crate) run: String,
    /// The time limit.
    pub(crate) timeout: Option<Duration>,
}

/// The fields of a command.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CommandFields")]
struct CommandForm {
    /// A name for people. Default: the command line.
    #[serde(default)]
    name: Option<String>,
    /// The command line, for the sandbox's `bash`, or its `sh` if there is no `bash`.
    #[serde(deserialize_with = "command_line")]
    #[schemars(with = "String")]
    run: String,
    /// The time limit, such as `2m`. Default: 10 minutes.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "String")]
    timeout: Option<Duration>,
}

/// Both forms, for the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "CommandSource")]
#[expect(dead_code, reason = "read by the derive only")]
enum CommandSchema {
    Line(String),
    Fields(CommandForm),
}

impl<'de> Deserialize<'de> for CommandSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrFields;
        impl<'de> Visitor<'de> for TextOrFields {
            type Value = CommandSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command line, or fields with `run`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandSource, E> {
                Ok(CommandSource { name: None, run: checked(text.to_owned())?, timeout: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<CommandSource, A::Error> {
                let CommandForm { name, run, timeout } = CommandForm::deserialize(MapAccessDeserializer::new(fields))?;
                Ok(CommandSource { name, run, timeout })
            }
        }
        deserializer.deserialize_any(TextOrFields)
    }
}

fn command_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(String::deserialize(deserializer)?)
}

fn checked<E: de::Error>(line: String) -> Result<String, E> {
    if line.trim().is_empty() {
        return Err(E::custom("an empty command, expected a command line such as `make test`"));
    }
    if line.contains('\0') {
        return Err(E::custom("a command with a NUL character, expected a command line such as `make test`"));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<CommandSource, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_text_is_a_command_line_and_fields_say_more() {
        let bare = CommandSource { name: None, run: "make deps".to_owned(), timeout: None };
        assert_eq!(read(json!("make deps")), Ok(bare.clone()));
        let named = json!({"name": "dependencies", "run": "make deps", "timeout": "2m"});
        let timeout = Some(Duration::from_secs(120));
        assert_eq!(read(named), Ok(CommandSource { name: Some("dependencies".to_owned()), timeout, ..bare }));
    }

    #[test]
    fn what_is_no_command_is_refused_with_what_to_write() {
        for (value, found) in [
            (json!(" \n"), "an empty command"),
            (json!({"run": ""}), "an empty command"),
            (json!("a\0b"), "a NUL character"),
            (json!({"name": "x"}), "missing field `run`"),
            (json!({"run": "x", "timeout": "2"}), "not a duration"),
            (json!({"run": "x", "comand": "y"}), "unknown field `comand`"),
            (json!(7), "expected a command line, or fields with `run`"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(found), "{value}: {error}");
        }
    }
}

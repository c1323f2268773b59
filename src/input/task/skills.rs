//! The field `skills` of the task file.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

/// Sources of skills. Default: all. `false` alone means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "SkillSchema")]
#[expect(clippy::struct_excessive_bools, reason = "four sources, each on or off")]
pub(crate) struct SkillSources {
    /// OpenHands' public skills.
    pub(crate) public: bool,
    /// The user's own skills, in the home directory of the agent-server.
    pub(crate) user: bool,
    /// The skills of the account's organisation.
    pub(crate) org: bool,
    /// The skills of each cloned repository, or of the working directory if nothing is cloned.
    pub(crate) project: bool,
}

impl SkillSources {
    const fn all(value: bool) -> Self {
        Self { public: value, user: value, org: value, project: value }
    }
}

impl From<SkillSources> for openhands_client::agent_server::skill::SkillSources {
    fn from(SkillSources { public, user, org, project }: SkillSources) -> Self {
        Self { public, user, org, project }
    }
}

impl Default for SkillSources {
    fn default() -> Self {
        Self::all(true)
    }
}

/// The sources as fields.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SkillFields")]
#[expect(clippy::struct_excessive_bools, reason = "four sources, each on or off")]
struct SkillForm {
    /// OpenHands' public skills.
    #[serde(default = "yes")]
    public: bool,
    /// The user's own skills, in the home directory of the agent-server.
    #[serde(default = "yes")]
    user: bool,
    /// The skills of the account's organisation.
    #[serde(default = "yes")]
    org: bool,
    /// The skills of each cloned repository, or of the working directory if nothing is cloned.
    #[serde(default = "yes")]
    project: bool,
}

/// Both forms, for the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SkillSources")]
#[expect(dead_code, reason = "read by the derive only")]
enum SkillSchema {
    Switch(bool),
    Fields(SkillForm),
}

const fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for SkillSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SwitchOrFields;
        impl<'de> Visitor<'de> for SwitchOrFields {
            type Value = SkillSources;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false`, or fields such as `public: false`")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<SkillSources, E> {
                Ok(SkillSources::all(value))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<SkillSources, A::Error> {
                let SkillForm { public, user, org, project } =
                    SkillForm::deserialize(MapAccessDeserializer::new(fields))?;
                Ok(SkillSources { public, user, org, project })
            }
        }
        deserializer.deserialize_any(SwitchOrFields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn sources_are_on_unless_they_are_turned_off() {
        let read = |value: Value| serde_json::from_value::<SkillSources>(value).unwrap();
        assert_eq!(read(json!({})), SkillSources::default());
        assert_eq!(read(json!({"public": false})), SkillSources { public: false, ..SkillSources::default() });
        assert_eq!(read(json!(false)), SkillSources::all(false));
    }
}

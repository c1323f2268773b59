//! The JSON Schemas of what users write and programs read.

use schemars::schema_for;

use crate::cli::SchemaOf;
use crate::input::task::Task;
use crate::outcome::RunResult;

/// The schema as JSON text.
#[must_use]
pub(crate) fn text(of: SchemaOf) -> String {
    let schema = match of {
        SchemaOf::Task => schema_for!(Task),
        SchemaOf::Result => schema_for!(RunResult),
    };
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::SCHEMA_VERSION;

    /// `openhands-runner schema result >docs/result-N.schema.json` publishes version N. A published version does not change, except for
    /// fields that are added.
    #[test]
    fn the_schema_of_the_result_is_published_under_its_version() {
        let path = format!("{}/docs/result-{SCHEMA_VERSION}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        let hint = "the schema of the result is not the published one: give it a new SCHEMA_VERSION and publish that";
        assert!(published == text(SchemaOf::Result) + "\n", "{path}: {hint}");
        assert!(published.contains(&format!("urn:openhands-runner:result:{SCHEMA_VERSION}")));
    }
}

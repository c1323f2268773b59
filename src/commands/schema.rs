//! The JSON Schemas of task files and results.

use crate::cli::SchemaOf;

/// Returns the schema as JSON text. It is a file that a test compares with the types: generating it at run time would add a
/// quarter of a megabyte to the binary.
#[must_use]
pub(crate) const fn text(of: SchemaOf) -> &'static str {
    match of {
        SchemaOf::Task => include_str!("../../docs/task.schema.json"),
        SchemaOf::Result => include_str!("../../docs/result-1.schema.json"),
    }
}

#[cfg(test)]
mod tests {
    use schemars::{Schema, schema_for};

    use super::*;
    use crate::input::task::Task;
    use crate::outcome::{RunResult, SCHEMA_VERSION};

    /// Checks that the file in `docs/` is the schema of the type, or overwrites the file.
    #[expect(clippy::disallowed_methods, reason = "a switch of the test, and nothing of the run")]
    fn is_published(name: &str, schema: &Schema, text: &str) {
        let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
        let of_type = serde_json::to_string_pretty(schema).unwrap() + "\n";
        if std::env::var_os("SCHEMAS").is_some_and(|how| how == "overwrite") {
            std::fs::write(&path, of_type).unwrap();
        } else {
            let hint = "is not the schema of the type; `SCHEMAS=overwrite cargo test --bins schema` writes it";
            assert!(std::fs::read_to_string(&path).unwrap_or_default() == of_type && text == of_type, "{path} {hint}");
        }
    }

    #[test]
    fn the_schema_of_a_task_is_published() {
        is_published("task.schema.json", &schema_for!(Task), text(SchemaOf::Task));
    }

    /// A published version may only get additional fields. Every other change needs a new `SCHEMA_VERSION`.
    #[test]
    fn the_schema_of_the_result_is_published_under_its_version() {
        let name = format!("result-{SCHEMA_VERSION}.schema.json");
        is_published(&name, &schema_for!(RunResult), text(SchemaOf::Result));
        assert!(text(SchemaOf::Result).contains(&format!("urn:openhands-runner:result:{SCHEMA_VERSION}")));
    }
}

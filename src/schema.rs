//! The JSON Schemas of what users write and programs read.

use schemars::schema_for;

use crate::outcome::RunResult;
use crate::task::Task;

/// The schema of the task file.
#[must_use]
pub fn task() -> String {
    pretty(&schema_for!(Task))
}

/// The schema of the JSON result.
#[must_use]
pub fn result() -> String {
    pretty(&schema_for!(RunResult))
}

fn pretty(schema: &schemars::Schema) -> String {
    serde_json::to_string_pretty(schema).unwrap_or_default()
}

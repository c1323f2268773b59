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

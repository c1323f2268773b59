//! Where a conversation belongs in the traces of the process that started it.

use serde::Serialize;
use serde_json::{Map, Value};

/// Trace fields of `POST /api/conversations`, ignored by versions that do not know them. They are passed on as
/// they come.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Trace {
    /// Attributes of the conversation's span.
    #[serde(rename = "observability_metadata", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Tags of the conversation's span.
    #[serde(rename = "observability_tags", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The name of the conversation's span.
    #[serde(rename = "observability_span_name", skip_serializing_if = "Option::is_none")]
    pub span_name: Option<String>,
    /// The span above it, in the form of the tracing library.
    #[serde(rename = "observability_parent_span_context", skip_serializing_if = "Option::is_none")]
    pub parent_span_context: Option<String>,
    /// The span above it, as W3C Trace Context has it: a header of the request.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

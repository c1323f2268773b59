//! Where a conversation belongs in the traces of the process that started it.

use serde::Serialize;
use serde_json::{Map, Value};

/// Trace fields of `POST /api/conversations`. Versions that do not know them ignore them. They are passed on unchanged.
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
    /// The parent span, in the form of the tracing library.
    #[serde(rename = "observability_parent_span_context", skip_serializing_if = "Option::is_none")]
    pub parent_span_context: Option<String>,
    /// The parent span in the form of W3C Trace Context, sent as a header of the request.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

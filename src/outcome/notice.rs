//! Notices about the outcome of a run, for people and their tools.

use openhands_client::text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RunResult;

/// A notice to deliver.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// The URL of the receiver.
    pub(crate) url: url::Url,
    /// The JSON body.
    pub(crate) body: Value,
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notice")
    }
}

/// The longest message or reason in a text, in characters.
const LONGEST: usize = 1000;

/// Returns the result object with a `text` that summarizes it, in the form that chats accept.
#[must_use]
pub(crate) fn body(result: &RunResult, name: Option<&str>) -> Value {
    let name = name.or(result.run_id.as_deref()).unwrap_or("a run of openhands-runner");
    let (state, detail) = match &result.error {
        None if result.cut_short == Some(true) => ("completed, cut short".to_owned(), result.message.as_deref()),
        None => ("completed".to_owned(), result.message.as_deref()),
        Some(error) => (format!("failed ({})", error.code), Some(error.detail.as_str())),
    };
    let mut said = format!("{}: {state}", text::one_line(name, 200));
    if let Some(detail) = detail.map(str::trim).filter(|detail| !detail.is_empty()) {
        said = format!("{said}\n{}", text::bounded(&text::printable(detail), LONGEST));
    }
    let mut body = serde_json::to_value(result).unwrap_or_default();
    if let Value::Object(fields) = &mut body {
        fields.insert("text".to_owned(), without_markup(&said).into());
    }
    body
}

/// Escapes the three characters that Slack reads as markup. A text of the agent must not notify a whole channel (`<!channel>`) or
/// hide a link.
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use openhands_client::agent_server::wire::Cost;
    use openhands_client::secret::Redactor;

    use super::*;
    use crate::outcome::{Failure, FailureKind, LastWords, Verdict};

    fn notice(failure: Option<Failure>, message: &str) -> Value {
        let cost = Cost::dollars(0.25);
        let verdict = Verdict { failure, run_id: None, conversation_id: None, cost, cut_short: false, result: None };
        let words = LastWords { message: Some(message.to_owned()), ..LastWords::default() };
        body(&verdict.with(words, None).result(&Redactor::default()), Some("nightly"))
    }

    #[test]
    fn a_notice_is_the_result_with_a_text() {
        let body = notice(None, "All is done.");
        assert_eq!(body["text"], "nightly: completed\nAll is done.");
        assert_eq!((&body["status"], &body["cost"]), (&"COMPLETED".into(), &0.25.into()));
        let body = notice(Some(Failure::new(FailureKind::Timeout, "too slow")), "half");
        assert_eq!(body["text"], "nightly: failed (Timeout)\ntoo slow");
    }

    #[test]
    fn an_agent_cannot_call_a_channel() {
        let body = notice(None, "<!channel> & done");
        assert_eq!(body["text"], "nightly: completed\n&lt;!channel&gt; &amp; done");
    }
}

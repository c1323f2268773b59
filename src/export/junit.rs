//! A run as a test report in the JUnit format, which CI systems show.

use std::fmt::Write as _;

use serde_json::Value;

/// The report: one test suite with one test. A run that failed on its own account is a failure, any other an error.
pub(super) fn report(result: &Value) -> String {
    let text = |field: &str| result[field].as_str().unwrap_or_default();
    let name = ["run_id", "conversation_id"].map(text).into_iter().find(|id| !id.is_empty()).unwrap_or("run");
    let seconds = result["seconds"].as_f64().unwrap_or_default();
    let error = result.get("error");
    let is_failure = error.is_some() && result["exit_code"] == 1;
    let (failures, errors) = (u8::from(is_failure), u8::from(error.is_some() && !is_failure));
    let counts = format!(r#"tests="1" failures="{failures}" errors="{errors}" skipped="0" time="{seconds:.3}""#);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a String cannot fail.
    let _ = writeln!(xml, "<testsuites {counts}>");
    let timestamp = escaped(text("started_at"));
    let _ = writeln!(xml, r#"  <testsuite name="openhands-runner" {counts} timestamp="{timestamp}">"#);
    let _ =
        writeln!(xml, r#"    <testcase classname="openhands-runner" name="{}" time="{seconds:.3}">"#, escaped(name));
    if let Some(error) = error {
        let element = if is_failure { "failure" } else { "error" };
        let [code, detail] = ["code", "detail"].map(|field| escaped(error[field].as_str().unwrap_or_default()));
        let first = detail.lines().next().unwrap_or_default();
        let _ = writeln!(xml, r#"      <{element} type="{code}" message="{first}">{detail}</{element}>"#);
    }
    if !text("message").is_empty() {
        let _ = writeln!(xml, "      <system-out>{}</system-out>", escaped(text("message")));
    }
    for warning in result["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(xml, "      <system-err>{}</system-err>", escaped(warning));
    }
    xml + "    </testcase>\n  </testsuite>\n</testsuites>\n"
}

/// A text between tags or quotes. XML 1.0 has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'.. => xml.push(char),
            _ => xml.push('\u{fffd}'),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_completed_run_is_a_test_that_passes() {
        let xml =
            report(&json!({"status": "COMPLETED", "run_id": "r1", "seconds": 1.5, "message": "Done.", "exit_code": 0,
            "started_at": "2026-01-01T00:00:00Z", "warnings": ["odd"]}));
        assert!(xml.contains(r#"tests="1" failures="0" errors="0" skipped="0" time="1.500""#), "{xml}");
        assert!(
            xml.contains("<system-out>Done.</system-out>") && xml.contains("<system-err>odd</system-err>"),
            "{xml}"
        );
    }

    #[test]
    fn a_text_from_outside_stays_text() {
        let error = json!({"code": "AgentStuck", "detail": "a \"b\" </failure><x>&\u{1b}[2J\nsecond"});
        let xml = report(&json!({"error": error, "exit_code": 1, "conversation_id": "c"}));
        let expected =
            "<failure type=\"AgentStuck\" message=\"a &quot;b&quot; &lt;/failure&gt;&lt;x&gt;&amp;\u{fffd}[2J\">a";
        assert!(xml.contains(expected), "{xml}");
        assert!(xml.contains(r#"failures="1" errors="0""#) && xml.contains(r#"name="c""#), "{xml}");
    }

    #[test]
    fn a_run_that_could_not_be_done_is_an_error() {
        let xml = report(&json!({"error": {"code": "Timeout", "detail": "too slow"}, "exit_code": 124}));
        assert!(xml.contains(r#"failures="0" errors="1""#) && xml.contains(r#"<error type="Timeout""#), "{xml}");
    }
}

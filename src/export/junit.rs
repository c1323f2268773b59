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
    let checks: Vec<&Value> = result["checks"].as_array().into_iter().flatten().collect();
    let failed = checks.iter().filter(|check| check["status"] != "passed").count();
    let (tests, failures) = (1 + checks.len(), usize::from(is_failure) + failed);
    let errors = u8::from(error.is_some() && !is_failure);
    let counts = format!(r#"tests="{tests}" failures="{failures}" errors="{errors}" skipped="0" time="{seconds:.3}""#);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a String cannot fail.
    let _ = writeln!(xml, "<testsuites {counts}>");
    let timestamp = escaped_xml(text("started_at"));
    let _ = writeln!(xml, r#"  <testsuite name="openhands-runner" {counts} timestamp="{timestamp}">"#);
    let _ = writeln!(
        xml,
        r#"    <testcase classname="openhands-runner" name="{}" time="{seconds:.3}">"#,
        escaped_xml(name)
    );
    if let Some(error) = error {
        let element = if is_failure { "failure" } else { "error" };
        let [code, detail] = ["code", "detail"].map(|field| escaped_xml(error[field].as_str().unwrap_or_default()));
        let first = detail.lines().next().unwrap_or_default();
        let _ = writeln!(xml, r#"      <{element} type="{code}" message="{first}">{detail}</{element}>"#);
    }
    if !text("message").is_empty() {
        let _ = writeln!(xml, "      <system-out>{}</system-out>", escaped_xml(text("message")));
    }
    for warning in result["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(xml, "      <system-err>{}</system-err>", escaped_xml(warning));
    }
    xml.push_str("    </testcase>\n");
    for check in checks {
        push_check(&mut xml, check);
    }
    xml + "  </testsuite>\n</testsuites>\n"
}

/// A check of the task as a test of its own.
fn push_check(xml: &mut String, check: &Value) {
    let text = |field: &str| escaped_xml(check[field].as_str().unwrap_or_default());
    let seconds = check["seconds"].as_f64().unwrap_or_default();
    let _ = writeln!(xml, r#"    <testcase classname="checks" name="{}" time="{seconds:.3}">"#, text("name"));
    if check["status"] != "passed" {
        let message = match check["exit_code"].as_u64() {
            Some(code) => format!("exit code {code}"),
            None => "time limit".to_owned(),
        };
        let _ = writeln!(
            xml,
            r#"      <failure type="{}" message="{message}">{}</failure>"#,
            text("status"),
            text("output")
        );
    }
    xml.push_str("    </testcase>\n");
}

/// A text between tags or quotes. XML 1.0 has no way to write most control characters.
pub(crate) fn escaped_xml(text: &str) -> String {
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
    fn each_check_is_a_test_of_its_own() {
        let checks = json!([{"name": "a<b", "status": "passed", "exit_code": 0, "seconds": 0.5, "output": ""},
            {"name": "tests", "status": "failed", "exit_code": 2, "seconds": 1.0, "output": "1 & 2"}]);
        let error = json!({"code": "ChecksFailed", "detail": "x"});
        let xml = report(&json!({"error": error, "exit_code": 1, "run_id": "r", "checks": checks}));
        assert!(xml.contains(r#"tests="3" failures="2" errors="0""#), "{xml}");
        assert!(xml.contains(r#"<testcase classname="checks" name="a&lt;b" time="0.500">"#), "{xml}");
        assert!(xml.contains(r#"<failure type="failed" message="exit code 2">1 &amp; 2</failure>"#), "{xml}");
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

//! A batch as a test report in the JUnit format: each row is a test.

use std::fmt::Write as _;

use crate::batch_folder::ReportedRow;
use crate::export::escaped_xml;

/// The report. A row that failed on its own account is a failure, any other an error, and one without an end is skipped.
pub(super) fn report(rows: &[ReportedRow]) -> String {
    let failed = || rows.iter().filter_map(|row| row.result.as_ref()).filter(|result| !result.has_completed());
    let failures = failed().filter(|result| result.exit_code == Some(1)).count();
    let errors = failed().count() - failures;
    let skipped = rows.iter().filter(|row| row.result.is_none()).count();
    let seconds: f64 = rows.iter().filter_map(|row| row.result.as_ref()?.seconds).sum();
    let tests = rows.len();
    let counts =
        format!(r#"tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}" time="{seconds:.3}""#);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a String cannot fail.
    let _ = writeln!(xml, "<testsuites {counts}>\n  <testsuite name=\"openhands-runner batch\" {counts}>");
    for row in rows {
        let seconds = row.result.as_ref().and_then(|result| result.seconds).unwrap_or_default();
        let _ = writeln!(xml, r#"    <testcase classname="row" name="{}" time="{seconds:.3}">"#, escaped_xml(&row.key));
        match &row.result {
            None => xml.push_str("      <skipped message=\"the row has begun and not ended\"/>\n"),
            Some(result) if result.has_completed() => {}
            Some(result) => {
                let element = if result.exit_code == Some(1) { "failure" } else { "error" };
                let [code, detail] =
                    [&result.code, &result.detail].map(|text| escaped_xml(text.as_deref().unwrap_or_default()));
                let first = detail.lines().next().unwrap_or_default();
                let _ = writeln!(xml, r#"      <{element} type="{code}" message="{first}">{detail}</{element}>"#);
            }
        }
        xml.push_str("    </testcase>\n");
    }
    xml + "  </testsuite>\n</testsuites>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_report::tests::rows;

    #[test]
    fn each_row_is_a_test() {
        let xml = report(&rows());
        assert!(xml.contains(r#"<testsuites tests="4" failures="1" errors="1" skipped="1" time="66.000">"#), "{xml}");
        assert!(xml.contains(r#"<failure type="ChecksFailed" message="&lt;script&gt;"#), "{xml}");
        assert!(xml.contains(r#"<error type="SandboxUnavailable" message="gone">gone</error>"#), "{xml}");
        assert_eq!(xml.matches("<testcase classname=\"row\"").count(), 4);
    }
}

//! A batch as one HTML page: no network, and one script of its own that sorts and filters.

use std::path::Path;

use minijinja::Error;
use minijinja::value::{Serde, Value};
use openhands_client::text;
use serde::Serialize;

use super::Summary;
use super::distribution::Distribution;
use crate::batch_folder::{FailureClass, ReportedRow, RowResult};
use crate::report::{page_environment, seconds_for_people};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const NAME: &str = "page.html";

/// Columns of a row that the page shows.
const MOST_FIELDS: usize = 4;

/// What the page shows.
#[derive(Serialize)]
struct Context<'r> {
    title: String,
    summary: &'r Summary,
    rows: Vec<Line<'r>>,
    /// The time of all rows together.
    seconds: Option<f64>,
    spreads: Vec<Spread>,
    classes: Vec<Class>,
    script: &'static str,
}

/// A row of the table.
#[derive(Serialize)]
struct Line<'r> {
    number: usize,
    key: &'r str,
    /// `COMPLETED`, `FAILED` or `UNFINISHED`.
    verdict: &'r str,
    code: Option<&'r str>,
    class: Option<&'static str>,
    detail: Option<String>,
    fields: Vec<(&'r str, String)>,
    checks: Option<(usize, usize)>,
    attempts: u32,
    cost: Option<f64>,
    seconds: Option<f64>,
    report: Option<&'r str>,
}

/// How a value of the rows is spread.
#[derive(Serialize)]
struct Spread {
    name: &'static str,
    least: String,
    median: String,
    most_are_below: String,
    most: String,
    of: Distribution,
}

impl Spread {
    fn new(name: &'static str, of: Distribution, shown: fn(f64) -> String) -> Self {
        let [least, median, most_are_below, most] = [of.least, of.median, of.most_are_below, of.most].map(shown);
        Self { name, least, median, most_are_below, most, of }
    }
}

/// The failures of a class.
#[derive(Serialize)]
struct Class {
    name: &'static str,
    count: usize,
    codes: String,
    help: &'static str,
}

/// The page.
///
/// # Errors
/// Those of the template engine: the page that is built in cannot be filled in.
pub(super) fn page(folder: &Path, rows: &[ReportedRow], summary: &Summary) -> Result<String, Error> {
    let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let ended = || rows.iter().filter_map(|row| row.result.as_ref());
    let costs = Distribution::of(rows.iter().filter_map(|row| row.cost));
    let times = Distribution::of(ended().filter_map(|result| result.seconds));
    let context = Context {
        title: text::one_line(&format!("{} of {} rows completed: {name}", summary.completed, summary.rows), 120),
        summary,
        rows: rows.iter().map(line).collect(),
        seconds: times.as_ref().map(|times| times.sum),
        spreads: [
            costs.map(|costs| Spread::new("Cost", costs, dollars)),
            times.map(|times| Spread::new("Time", times, seconds_for_people)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        classes: summary.classes.iter().map(|(class, count)| failures(*class, *count, rows)).collect(),
        script: SCRIPT,
    };
    let mut environment = page_environment()?;
    environment.add_filter("dollars", dollars);
    environment.add_template(NAME, PAGE)?;
    environment.get_template(NAME)?.render(Value::from(Serde(context)))
}

/// US dollars as people read them.
fn dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.1 { format!("${amount:.4}") } else { format!("${amount:.2}") }
}

fn line(row: &ReportedRow) -> Line<'_> {
    let result = row.result.as_ref();
    let passed = |result: &RowResult| result.checks.iter().filter(|check| check.status == "passed").count();
    let fields = row.fields.iter().filter(|(name, _)| *name != "id").take(MOST_FIELDS);
    let shown = |value: &serde_json::Value| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text::one_line(&value, 80)
    };
    Line {
        number: row.row,
        key: &row.key,
        verdict: result.map_or("UNFINISHED", |result| &result.status),
        code: result.and_then(|result| result.code.as_deref()),
        class: result.and_then(|result| result.class).map(FailureClass::name),
        detail: result.and_then(|result| result.detail.as_deref()).map(|detail| text::one_line(detail, 300)),
        fields: fields.map(|(name, value)| (name.as_str(), shown(value))).collect(),
        checks: result.filter(|result| !result.checks.is_empty()).map(|result| (passed(result), result.checks.len())),
        attempts: result.map_or(0, |result| result.attempt),
        cost: row.cost,
        seconds: result.and_then(|result| result.seconds),
        report: row.report.as_deref(),
    }
}

fn failures(class: FailureClass, count: usize, rows: &[ReportedRow]) -> Class {
    let results = rows.iter().filter_map(|row| row.result.as_ref()).filter(|result| result.class == Some(class));
    let mut codes: Vec<&str> = results.filter_map(|result| result.code.as_deref()).collect();
    codes.sort_unstable();
    codes.dedup();
    Class { name: class.name(), count, codes: codes.join(", "), help: class.help() }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::digest::{SHA256, digest};

    use super::*;
    use crate::batch_report::tests::rows;

    #[test]
    fn the_page_shows_every_row_and_what_comes_from_outside_as_text() {
        let rows = rows();
        let page = page(Path::new("/tmp/batch"), &rows, &Summary::of(&rows)).unwrap();
        assert!(page.contains("<title>1 of 4 rows completed: batch</title>"), "{page}");
        for expected in [
            "href=\"./rows&#x2f;a&#x2f;report.html\"",
            "ChecksFailed",
            "1 min 1 s",
            "$2.00",
            "UNFINISHED",
            "&lt;script&gt;alert(1)",
        ] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert_eq!(page.matches("<tr data-verdict=").count(), 4);
        assert!(page.contains("start these rows again in the same folder"), "{page}");
    }

    #[test]
    fn the_policy_of_the_page_allows_its_script_and_no_other() {
        let rows = rows();
        let page = page(Path::new("batch"), &rows, &Summary::of(&rows)).unwrap();
        let script = page.split_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
        let hash = format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, script.as_bytes())));
        assert!(page.contains(&format!("script-src {hash};")), "{hash}");
    }

    #[test]
    fn the_page_of_10_000_rows_is_small() {
        let rows: Vec<_> =
            (0..10_000).map(|number| ReportedRow { row: number, ..rows()[number % 4].clone() }).collect();
        let page = page(Path::new("batch"), &rows, &Summary::of(&rows)).unwrap();
        assert!(page.len() < 8_000_000, "{}", page.len());
    }
}

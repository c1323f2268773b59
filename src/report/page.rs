//! The story as one HTML file: no network, no script.

use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, HtmlEscape, Value, escape_formatter};
use openhands_client::text;
use serde::Serialize;

use super::story::Story;
use super::unseen;

const PAGE: &str = include_str!("page.html");
const NAME: &str = "page.html";

/// What the page shows.
#[derive(Serialize)]
struct Context<'s> {
    story: &'s Story,
    title: String,
    lines: Vec<Line<'s>>,
}

/// A line of a patch.
#[derive(Serialize)]
struct Line<'p> {
    kind: &'static str,
    text: &'p str,
}

/// The page.
///
/// # Errors
/// Those of the template engine: the page that is built in cannot be filled in.
pub(crate) fn page(story: &Story) -> Result<String, Error> {
    let mut environment = page_environment()?;
    environment.add_filter("whole", |text: &Value| whole(text));
    environment.add_template(NAME, PAGE)?;
    let without = if story.is_conversation { "Conversation" } else { "No result" };
    let status = story.verdict.as_ref().map_or(without, |verdict| &verdict.status);
    let task = story.messages.first().and_then(|message| message.head.lines().next()).unwrap_or("a run");
    // A title has no markup.
    let title = text::one_line(&format!("{status}: {}", text::one_line(task, 80)), 120);
    let lines = story.patch.iter().flat_map(|patch| &patch.lines);
    let lines = lines.map(|text| Line { kind: kind_of(text), text }).collect();
    environment.get_template(NAME)?.render(Value::from(Serde(Context { story, title, lines })))
}

/// The template engine for a page: what is filled in is text, and what is invisible in it is marked.
///
/// # Errors
/// Those of the template engine.
pub(crate) fn page_environment<'e>() -> Result<Environment<'e>, Error> {
    let mut environment = Environment::new();
    // Everything that is filled in comes from outside.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => unseen::html(out, text).map_err(Error::from),
        _ => escape_formatter(out, state, value),
    });
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_filter("seconds", |seconds: f64| seconds_for_people(seconds));
    environment.add_filter("dollars", |dollars: f64| format!("{dollars:.4}"));
    Ok(environment)
}

/// An extract as HTML: its two ends, and between them how much is left out.
fn whole(extract: &Value) -> Result<Value, Error> {
    let end = |name| Ok::<_, Error>(extract.get_attr(name)?.as_str().unwrap_or_default().to_owned());
    let (head, tail, left_out) = (end("head")?, end("tail")?, extract.get_attr("left_out")?.to_string());
    let mut html = String::with_capacity(head.len() + tail.len());
    unseen::html(&mut html, &head)?;
    if left_out != "0" {
        write!(html, "<span class=\"cut\">{} characters are left out.</span>", HtmlEscape(&left_out))?;
    }
    unseen::html(&mut html, &tail)?;
    Ok(Value::from_safe_string(html))
}

/// What a line of a patch is.
fn kind_of(line: &str) -> &'static str {
    match line.as_bytes() {
        [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'd', b'i', b'f', b'f', b' ', ..] => "file",
        [b'+', ..] => "added",
        [b'-', ..] => "removed",
        [b'@', b'@', ..] => "hunk",
        _ => "same",
    }
}

/// Seconds as people read them: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn seconds_for_people(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the seconds of a run, rounded")]
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::reader::StoryReader;

    fn story(lines: impl IntoIterator<Item = serde_json::Value>) -> Story {
        let mut reader = StoryReader::default();
        lines.into_iter().for_each(|line| reader.line(&line.to_string()));
        reader.end().unwrap()
    }

    #[test]
    fn seconds_are_shown_as_people_read_them() {
        for (seconds, shown) in [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.6, "1 min 0 s"), (3660.0, "1 h 1 min")] {
            assert_eq!(seconds_for_people(seconds), shown);
        }
    }

    #[test]
    fn what_comes_from_outside_is_text_everywhere() {
        let hostile = "<script>fetch('http://x')</script><img src=x onerror=alert(1)></style></pre>\"'&";
        let page = page(&story([
            json!({"kind": "runner.turn", "message": format!("{hostile}\u{1b}[2J\u{202e}")}),
            json!({"kind": "ActionEvent", "id": hostile, "timestamp": "2026-01-01T00:00:00", "tool_name": hostile,
                "summary": hostile, "action": {"command": hostile}}),
            json!({"kind": "ObservationEvent", "id": "o", "action_id": hostile, "timestamp": "2026-01-01T00:00:01",
                "observation": {"content": [{"text": hostile}], "is_error": true}}),
            json!({"kind": "runner.result", "status": hostile, "message": hostile, "model": hostile,
                "error": {"code": hostile, "detail": hostile}, "warnings": [hostile]}),
        ]))
        .unwrap();
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("onerror=alert(1)>"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
        assert_eq!(page.matches("</style>").count(), 1);
        assert!(page.contains("<u>\u{241b}</u>[2J<u>U+202E</u>") && !page.contains(['\u{1b}', '\u{202e}']), "{page}");
    }

    #[test]
    fn the_page_of_20_000_events_is_small() {
        let lines = (0..10_000).flat_map(|number| {
            let time = format!("2026-01-01T{:02}:{:02}:{:02}", number / 3600, number / 60 % 60, number % 60);
            let code = i64::from(number % 3 == 0);
            let output = "<b>&\"".repeat(300 / (1 + number % 7));
            [
                json!({"kind": "ActionEvent", "id": format!("a{number}"), "timestamp": time, "tool_name": "terminal",
                    "summary": if number % 2 == 0 { "\u{e0041}".repeat(200) } else { "<i>'/'</i>".repeat(20) }, "action": {"command": "make test"}}),
                json!({"kind": "ObservationEvent", "id": format!("o{number}"), "timestamp": time,
                    "action_id": format!("a{number}"),
                    "observation": {"exit_code": code, "content": [{"text": output}]}}),
            ]
        });
        let long = "<é>/".repeat(50_000);
        let others = (0..60).map(|number| json!({"kind": "runner.turn", "number": number, "message": long})).chain([
            json!({"kind": "runner.result", "status": "FAILED", "message": long, "error": {"code": long, "detail": long},
                "warnings": vec![long.clone(); 200]}),
        ]);
        let mut reader = StoryReader::default();
        lines.chain(others).for_each(|line| reader.line(&line.to_string()));
        reader.patch(&"+\n".repeat(100_000), 5_000_000);
        let story = reader.end().unwrap();
        let page = page(&story).unwrap();
        assert!(page.len() <= 5_000_000, "{}", page.len());
        for left_out in ["steps are left out", "characters are left out", "bytes are left out"] {
            assert!(page.contains(left_out), "{left_out}");
        }
        let patch = story.patch.unwrap();
        assert_eq!(patch.lines.len() as u64 * 2 + patch.left_out, 5_000_000);
    }

    #[test]
    fn the_lines_of_a_patch_are_marked() {
        let kinds = ["diff --git a/x b/x", "+++ b/x", "@@ -1 +1 @@", "-old", "+new", " same"].map(kind_of);
        assert_eq!(kinds, ["file", "file", "hunk", "removed", "added", "same"]);
    }
}

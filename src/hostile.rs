//! Checks of hostile input, with a function for each place where outside data enters the program. cargo-fuzz calls the functions
//! with generated data (`fuzz/`); the tests call them with the files of its corpora and with mutations of these. A function
//! panics if something is wrong. The library has the same for data from servers.

#[cfg(test)]
#[path = "../fuzz/changes.rs"]
mod changes;

use std::collections::BTreeMap;

use openhands_client::secret::{Redactor, Secret};
use serde_json::Value;

use crate::input::env::RawEnv;
use crate::input::payload::Payload;
use crate::input::settings::{Overrides, Settings};
use crate::input::task::parse::{TaskFormat, parse};
use crate::input::template::fence::Nonce;
use crate::input::template::{Template, Values};
use crate::input::time_limits::RunLimits;
use crate::plan::RunPlan;
use crate::report::{StoryReader, page};
use crate::sinks::jsonl;

/// Checks a task file, up to the plan of its run. The first byte determines its format.
pub(crate) fn task(data: &[u8]) {
    let Some((format, text)) = data.split_first() else { return };
    let format = match format % 4 {
        0 => TaskFormat::Markdown,
        1 => TaskFormat::Yaml,
        2 => TaskFormat::Json,
        _ => TaskFormat::Verbatim,
    };
    let text = String::from_utf8_lossy(text);
    match parse(&text, format, "task") {
        Ok(task) => {
            let settings = Settings::from_env(&RawEnv::default(), &[], Overrides::default());
            if let Err(problems) = RunPlan::new(settings.expect("nothing is wrong"), task, RunLimits::default()) {
                assert!(!problems.to_string().is_empty());
            }
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "a refusal without a reason"),
    }
}

/// Checks a template with the payload for it, separated by a NUL.
pub(crate) fn template(data: &[u8]) {
    let data = String::from_utf8_lossy(data);
    let (text, payload) = data.split_once('\0').unwrap_or((&data, "{}"));
    let payload = Payload::parse(Some(payload));
    let nonce = Nonce::absent_from(&[text], None, None);
    let params = BTreeMap::from([("branch".to_owned(), "main".to_owned())]);
    let template = Template { file: "task", place: "task".to_owned(), lines: &[], text };
    let _ = (template.names(), template.names_of_values());
    if let Err(problem) = template.render(&Values { payload: &payload, params, row: None, config: None, nonce: &nonce })
    {
        assert!(problem.place.starts_with("task"), "{problem}");
    }
}

/// Checks the events of a run, one per line, as steps in its report.
pub(crate) fn story(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let redactor = Redactor::default();
    redactor.learn(&Secret::new("a-secret-of-the-test"));
    let mut reader = StoryReader::default();
    for line in text.lines() {
        let shown = jsonl::event(line, &redactor);
        assert!(!shown.contains("a-secret-of-the-test"), "{shown}");
        if serde_json::from_str::<Value>(line).is_ok() {
            assert!(serde_json::from_str::<Value>(&shown).is_ok(), "no JSON any more: {shown}");
        }
        reader.line(&shown);
    }
    if let Some(story) = reader.end() {
        let page = page(&story).expect("a page");
        assert!(page.len() < 8 << 20, "a page of {} bytes", page.len());
    }
}

#[cfg(test)]
mod tests {
    use super::changes::for_each;
    use super::*;

    #[test]
    fn what_a_run_is_given_is_read_whatever_it_is() {
        for_each("task", task);
        for_each("template", template);
        for_each("story", story);
    }
}

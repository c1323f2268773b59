//! The title of a run's conversation, in the form of the automation service's preset.

use jiff::Timestamp;
use serde_json::Value;

/// Returns `NAME — REPOSITORY#NUMBER` for an event of a repository, or else `NAME — TIME UTC`. `payload` is
/// `AUTOMATION_EVENT_PAYLOAD`. `None` without a name.
#[must_use]
pub(crate) fn title(name: &str, payload: Option<&Value>, now: Timestamp) -> Option<String> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() {
        return None;
    }
    let subject = payload.and_then(|payload| payload.get("event")).and_then(subject);
    let rest = subject.unwrap_or_else(|| now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    Some(format!("{name} — {rest}"))
}

/// Returns the subject of the event: a pull request or an issue in GitHub's format, or a pull request of Azure DevOps.
fn subject(event: &Value) -> Option<String> {
    let of_repository = || {
        let repository = event.pointer("/repository/full_name")?.as_str()?.rsplit('/').next()?;
        let numbers = ["/pull_request/number", "/issue/number", "/number"];
        let number = numbers.into_iter().find_map(|place| event.pointer(place)?.as_i64())?;
        Some(format!("{repository}#{number}"))
    };
    let of_azure = || {
        let resource = event.pointer("/payload/resource")?;
        let resource = resource.get("pullRequest").unwrap_or(resource);
        let repository = resource.pointer("/repository/name")?.as_str()?;
        Some(format!("{repository}#{}", resource.get("pullRequestId")?.as_i64()?))
    };
    of_repository().or_else(of_azure)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(name: &str, event: Value) -> Option<String> {
        title(name, Some(&json!({ "event": event })), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_title_tells_what_the_run_is_about() {
        let repository = json!({"full_name": "octo/alpha"});
        let pull = of(" PR \t bot ", json!({"repository": repository, "pull_request": {"number": 7}, "number": 8}));
        assert_eq!(pull.as_deref(), Some("PR bot — alpha#7"));
        let issue = of("Bot", json!({"repository": repository, "issue": {"number": 9}}));
        assert_eq!(issue.as_deref(), Some("Bot — alpha#9"));
        let azure =
            json!({"payload": {"resource": {"pullRequest": {"repository": {"name": "beta"}, "pullRequestId": 3}}}});
        assert_eq!(of("Bot", azure).as_deref(), Some("Bot — beta#3"));
    }

    #[test]
    fn without_a_subject_it_tells_the_time_and_without_a_name_there_is_none() {
        assert_eq!(of("Bot", json!({"repository": 1})).as_deref(), Some("Bot — 1970-01-01 00:00:00 UTC"));
        assert_eq!(title("Bot", None, Timestamp::UNIX_EPOCH).as_deref(), Some("Bot — 1970-01-01 00:00:00 UTC"));
        assert_eq!(of(" \n", json!({})), None);
    }
}

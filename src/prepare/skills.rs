//! The skills of a run: from every source that the task allows, by name.

use std::path::PathBuf;
use std::time::Duration;

use openhands_client::agent_server::AgentServerClient;
use openhands_client::agent_server::skill::{Skill, SkillInfo, SkillQuery};
use openhands_client::retry::{Policy, retry};
use openhands_client::text;

use crate::input::task::skills::SkillSources;

/// Asks for skills. A run is not worth less without them: a failure is a warning, and no skills. `budget` is for all
/// attempts.
pub(crate) async fn load(client: &AgentServerClient, query: &SkillQuery, budget: Duration) -> Vec<SkillInfo> {
    if query.is_empty() {
        return Vec::new();
    }
    let policy = Policy::agent_server(client.time_limits(), budget);
    match retry("loading skills", policy, || client.skills(query)).await {
        Ok(list) => list.skills,
        Err(error) => {
            tracing::warn!(error = %text::chain(&error), "continuing without skills");
            Vec::new()
        }
    }
}

/// What to ask for before the repositories are there; with none to come, everything.
#[must_use]
pub(crate) fn first_query(sources: SkillSources, repos_to_come: bool, working_dir: &str) -> SkillQuery {
    SkillQuery::new(SkillSources { project: sources.project && !repos_to_come, ..sources }.into(), working_dir)
}

/// What to ask for when the repositories are there: each one's own, or the working directory's where none came.
#[must_use]
pub(crate) fn project_queries(sources: SkillSources, cloned: &[PathBuf], working_dir: &str) -> Vec<SkillQuery> {
    let project = SkillSources { public: false, user: false, org: false, project: sources.project };
    match cloned {
        [] => vec![SkillQuery::new(project.into(), working_dir)],
        paths => paths.iter().map(|path| SkillQuery::new(project.into(), path.display().to_string())).collect(),
    }
}

/// One skill for each name: a later one takes the place of an earlier one, as the official client has it
/// (`openhands-sdk` 1.58.0).
#[must_use]
pub(crate) fn merged(lists: impl IntoIterator<Item = Vec<SkillInfo>>) -> Vec<Skill> {
    let mut skills: Vec<Skill> = Vec::new();
    for skill in lists.into_iter().flatten().map(Skill::from) {
        match skills.iter_mut().find(|there| there.name == skill.name) {
            Some(there) => *there = skill,
            None => skills.push(skill),
        }
    }
    skills
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_a_name_wins_and_keeps_the_first_ones_place() {
        let list = |names: &[&str], content: &str| {
            names
                .iter()
                .map(|name| serde_json::from_value(json!({"name": name, "content": content})).unwrap())
                .collect::<Vec<SkillInfo>>()
        };
        let skills = merged([list(&["agents", "shared", "one"], "demo"), list(&["agents", "two", "shared"], "other")]);
        let names: Vec<_> = skills.iter().map(|skill| skill.name.as_str()).collect();
        assert_eq!(names, ["agents", "shared", "one", "two"]);
        let sent = serde_json::to_value(&skills).unwrap();
        let contents: Vec<_> = (0..4).map(|index| sent[index]["content"].as_str().unwrap()).collect();
        assert_eq!(contents, ["other", "other", "demo", "other"]);
    }

    #[test]
    fn projects_are_asked_for_when_they_are_there() {
        let all = SkillSources::default();
        let query = |public, project, dir: &str| {
            SkillQuery::new(SkillSources { public, user: public, org: public, project }.into(), dir)
        };
        assert_eq!(first_query(all, false, "/w"), query(true, true, "/w"));
        assert_eq!(first_query(all, true, "/w"), query(true, false, "/w"));
        assert_eq!(project_queries(all, &[], "/w"), [query(false, true, "/w")]);
        let cloned = ["/w/a".into(), "/w/b".into()];
        assert_eq!(project_queries(all, &cloned, "/w"), [query(false, true, "/w/a"), query(false, true, "/w/b")]);
        let without = SkillSources { project: false, ..all };
        assert!(project_queries(without, &[], "/w").iter().all(SkillQuery::is_empty));
    }
}

//! Which messages of a run its conversation already holds. Pure.

use std::collections::BTreeMap;

use super::is_aside;
use crate::agent_server::wire::Cost;
use crate::ids::RunId;

/// Returns how many of the planned messages the conversation holds, in their order. Messages from elsewhere in between do not
/// count.
///
/// A conversation that belongs to the run alone begins with the run's first message, whatever its text: the message lists the
/// repositories, and an optional one may have been added since.
pub(super) fn already_sent(planned: &[String], found: &[String], of_own: bool) -> usize {
    found.iter().filter(|text| !is_aside(text)).fold(0, |sent, text| {
        let is_ours = planned.get(sent) == Some(text) || (of_own && sent == 0 && !planned.is_empty());
        if is_ours { sent + 1 } else { sent }
    })
}

/// Where a run began in a conversation that others use too. It is stored in the conversation's tags, because a server does not
/// store the sender of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Beginning {
    /// The event id of the last message before the run; `None` for a new conversation.
    pub(super) after: Option<String>,
    /// The cost of the conversation before the run.
    pub(super) spent: Cost,
}

const RUN: &str = "runnerrun";
const AFTER: &str = "runnerafter";
const SPENT: &str = "runnerspent";

impl Beginning {
    /// Returns the tags that store it.
    pub(super) fn tags(&self, run: &RunId) -> BTreeMap<String, String> {
        let run_text = run.as_str().chars().take(256).collect();
        let mut tags = BTreeMap::from([(RUN.to_owned(), run_text)]);
        tags.extend(self.after.clone().map(|id| (AFTER.to_owned(), id)));
        tags.extend(self.spent.known().map(|dollars| (SPENT.to_owned(), dollars.to_string())));
        tags
    }

    /// Reads it from the tags, if they belong to this run.
    pub(super) fn of_run(run: &RunId, tags: &BTreeMap<String, String>) -> Option<Self> {
        let run_text: String = run.as_str().chars().take(256).collect();
        (tags.get(RUN) == Some(&run_text)).then(|| Self {
            after: tags.get(AFTER).cloned(),
            spent: tags.get(SPENT).and_then(|text| text.parse().ok()).map(Cost::dollars).unwrap_or_default(),
        })
    }

    /// Returns all tags except those of an earlier run.
    pub(super) fn cleared(mut tags: BTreeMap<String, String>) -> BTreeMap<String, String> {
        tags.retain(|key, _| ![RUN, AFTER, SPENT].contains(&key.as_str()));
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{REMINDER, WRAP_UP};

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn messages_count_in_their_order() {
        let planned = texts(&["a", "b", "a"]);
        for (found, sent) in [
            (&[][..], 0),
            (&["a"], 1),
            (&["a", "b"], 2),
            (&["a", "another", "b", "a"], 3),
            (&["b"], 0),
            (&["a", "a"], 1),
            (&["a", "b", "a", "a"], 3),
        ] {
            assert_eq!(already_sent(&planned, &texts(found), false), sent, "{found:?}");
        }
    }

    #[test]
    fn the_first_message_of_an_own_conversation_is_the_runs_whatever_its_text() {
        let planned = texts(&["a", "b"]);
        for (found, sent) in [
            (&[][..], 0),
            (&["a with more repositories"], 1),
            (&["a with more repositories", "b"], 2),
            (&["a", "a", "b"], 2),
            (&["b", "another"], 1),
            (&[WRAP_UP], 0),
            (&["a", WRAP_UP, "b"], 2),
            (&["a", &format!("{REMINDER} 7m of the time left."), "b"], 2),
        ] {
            assert_eq!(already_sent(&planned, &texts(found), true), sent, "{found:?}");
        }
        assert_eq!(already_sent(&[], &texts(&["a"]), true), 0);
    }

    #[test]
    fn a_beginning_is_read_back_by_its_own_run_only() {
        let run = RunId::new("r".repeat(300));
        for beginning in [
            Beginning { after: Some("event".to_owned()), spent: Cost::dollars(0.25) },
            Beginning { after: None, spent: Cost::default() },
        ] {
            let tags = beginning.tags(&run);
            assert!(tags.values().all(|value| value.len() <= 256));
            assert_eq!(Beginning::of_run(&run, &tags), Some(beginning));
            assert_eq!(Beginning::of_run(&RunId::new("other"), &tags), None);
            assert!(Beginning::cleared(tags).is_empty());
        }
    }
}

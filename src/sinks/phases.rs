//! The run's progress as phases for the automation service: stages at once, the agent's own summaries now and then.
//!
//! A run never waits for a phase: the sink keeps the newest one, and a task of its own posts it. Few of the summaries are posted,
//! so that only those are cleaned, and only the first one that waits wakes the task.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use openhands_client::agent_server::event::Meaning;
use openhands_client::automation::phase::{LONGEST, PhaseEndpoint, PhaseError};
use openhands_client::http::Http;
use openhands_client::redact;
use openhands_client::secret::Redactor;
use openhands_client::text;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Record, Sink, Stage};
use crate::input::time_limits::RunLimits;

/// Turns records into phases.
#[derive(Debug)]
pub(crate) struct Phases {
    newest: watch::Sender<Phase>,
}

#[derive(Debug, Default)]
struct Phase {
    /// A summary as it came from the agent.
    text: String,
    is_stage: bool,
    /// Whether it is yet to be posted, and the task knows that there is one.
    waits: AtomicBool,
}

/// Tells when the service has settled the run without us.
#[derive(Debug)]
pub(crate) struct SettledElsewhere(oneshot::Receiver<String>);

impl SettledElsewhere {
    /// Waits until a phase is refused because the run is settled, and gives the service's words. Never ends otherwise.
    pub(crate) async fn reason(self) -> String {
        match self.0.await {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Phases {
    /// A sink that posts to this endpoint. Must be called in a tokio runtime.
    #[must_use]
    pub(crate) fn to(
        endpoint: PhaseEndpoint,
        http: Http,
        redactor: Redactor,
        limits: &RunLimits,
    ) -> (Self, SettledElsewhere) {
        let (newest, to_post) = watch::channel(Phase::default());
        let (settled, settled_elsewhere) = oneshot::channel();
        let limits = *limits;
        tokio::spawn(async move {
            if let Some(reason) = post_all(&endpoint, &http, &redactor, limits, to_post).await {
                let _ = settled.send(reason);
            }
        });
        (Self { newest }, SettledElsewhere(settled_elsewhere))
    }

    fn stage(&self, text: &str) {
        self.newest.send_replace(Phase { text: text.to_owned(), is_stage: true, waits: AtomicBool::new(true) });
    }

    fn summary(&self, summary: &str) {
        if text::one_line(summary, 1).is_empty() {
            return;
        }
        self.newest.send_if_modified(|newest| {
            if newest.text == summary {
                return false;
            }
            summary.clone_into(&mut newest.text);
            newest.is_stage = false;
            !std::mem::replace(newest.waits.get_mut(), true)
        });
    }
}

/// What a text that is cut has at its end, in characters.
const CUT: usize = 4;

/// What is looked at of a summary, in characters: masks are shorter than what they hide.
const LOOKED_AT: usize = 16 * LONGEST;

/// One line without secrets that fits.
fn phase_text(summary: &str, redactor: &Redactor) -> String {
    // A learned secret that is cut would not be known any more; what looks like one still does.
    let start: String = redactor.redact(&text::one_line(summary, usize::MAX)).chars().take(LOOKED_AT).collect();
    text::one_line(&redact::mask_suspected(&start), LONGEST - CUT)
}

/// What is posted of a phase. The next one is news.
fn take(newest: &Phase, redactor: &Redactor) -> (String, bool) {
    newest.waits.store(false, Ordering::Relaxed);
    let text = if newest.is_stage { newest.text.clone() } else { phase_text(&newest.text, redactor) };
    (text, newest.is_stage)
}

/// Posts the newest phase whenever there is a new one. The last one is repeated from time to time: the answer is the only
/// sign of a run that was cancelled. Ends with the sink, or with the service's words when the run is settled.
async fn post_all(
    endpoint: &PhaseEndpoint,
    http: &Http,
    redactor: &Redactor,
    limits: RunLimits,
    mut newest: watch::Receiver<Phase>,
) -> Option<String> {
    let mut next_summary = Instant::now();
    let mut failing = false;
    loop {
        if let Ok(closed @ Err(_)) = timeout(limits.phase_repeat, newest.changed()).await {
            closed.ok()?;
        }
        while !newest.borrow_and_update().is_stage && Instant::now() < next_summary {
            tokio::select! {
                () = sleep_until(next_summary) => {}
                changed = newest.changed() => changed.ok()?,
            }
        }
        let (text, is_stage) = take(&newest.borrow_and_update(), redactor);
        if text.is_empty() {
            continue;
        }
        if !is_stage {
            next_summary = Instant::now() + limits.summary_interval;
        }
        match endpoint.post(http, &text).await {
            Ok(()) => failing = false,
            Err(PhaseError::Settled(error)) => return Some(text::chain(&error)),
            Err(error @ PhaseError::Refused(_)) => {
                tracing::warn!(error = %text::chain(&error), "continuing without phases");
                return None;
            }
            Err(error) if failing => tracing::debug!(error = %text::chain(&error), "a phase was not delivered"),
            Err(error) => {
                tracing::warn!(error = %text::chain(&error), "phases are not delivered");
                failing = true;
            }
        }
    }
}

impl Sink for Phases {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        match record {
            Record::Stage(stage) => self.stage(match stage {
                Stage::SettingUp => "Setting up workspace",
                Stage::CloningRepositories => "Cloning repositories",
                Stage::LoadingSkills => "Loading skills",
                Stage::Configuring => "Configuring agent",
            }),
            Record::Command { duty, number, of, .. } => {
                self.stage(&format!("Running {} {number} of {of}", duty.noun()));
            }
            Record::Turn { of: 1, .. } => self.stage("Agent is working on the task"),
            Record::Turn { number, of, .. } => self.stage(&format!("Agent is working on turn {number} of {of}")),
            Record::Event { meaning: Meaning::Action(action), .. } => {
                if let Some(summary) = action.own_summary() {
                    self.summary(summary);
                }
            }
            Record::Conversation { .. }
            | Record::CommandEnded { .. }
            | Record::Event { .. }
            | Record::Result(_)
            | Record::Amended(_) => {}
        }
        ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openhands_client::secret::Secret;

    #[test]
    fn of_the_summaries_that_wait_the_newest_is_posted_and_only_the_first_is_news() {
        let (newest, mut to_post) = watch::channel(Phase::default());
        let phases = Phases { newest };
        let mut is_news = |post: bool| {
            let news = to_post.has_changed().unwrap();
            let newest = to_post.borrow_and_update();
            (news, post.then(|| take(&newest, &Redactor::default()).0))
        };
        phases.summary("one");
        assert_eq!(is_news(false), (true, None));
        phases.summary("two");
        assert_eq!(is_news(true), (false, Some("two".to_owned())));
        for no_news in ["two", "\u{1b}[2J"] {
            phases.summary(no_news);
            assert_eq!(is_news(true), (false, Some("two".to_owned())), "{no_news:?}");
        }
        phases.summary("three");
        assert_eq!(is_news(false), (true, None));
        phases.stage("stage");
        assert_eq!(is_news(true), (true, Some("stage".to_owned())));
    }

    #[test]
    fn a_phase_is_one_line_that_fits_and_holds_no_secret() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("value-of-a-secret"));
        let text = phase_text("use value-of-a-secret\n\tand ghp_0123456789abcdefghij\u{7}", &redactor);
        assert_eq!(text, "use *** and ***");
        assert_eq!(phase_text("\u{202e}::error::x\u{1b}]52;c;eA==\u{7}", &redactor), ": :error::x");
        let innocent = "monkey: see Key: value (README.md), keyword=Match9, max_tokens=4096";
        assert_eq!(phase_text(innocent, &redactor), innocent);
        assert_eq!(phase_text(&"ä".repeat(500), &redactor).chars().count(), LONGEST);
        assert_eq!(phase_text(&"a=b&".repeat(1 << 18), &redactor).chars().count(), LONGEST);
    }
}

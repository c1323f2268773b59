//! The receivers of a run's outcome: guardian, result, callback.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use openhands_client::automation::callback::{Callback, CallbackError, Delivered};
use openhands_client::automation::completion::CompletionReport;
use openhands_client::automation::notice::{NoticeError, deliver};
use openhands_client::automation::phase::PhaseEndpoint;
use openhands_client::http::Http;
use openhands_client::http::Network;
use openhands_client::ids::RunId;
use openhands_client::off_thread::off_thread;
use openhands_client::secret::Redactor;
use openhands_client::text;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::state::RunState;
use super::work::Run;
use crate::agent_result::AgentResult;
use crate::input::Environment;
use crate::input::notify::{Notify, NotifyOn};
use crate::input::reporting::Reporting;
use crate::input::time_limits::{RunnerTimeLimits, ShutdownBudgets};
use crate::outcome::notice::{self, Notice};
use crate::outcome::{Failure, FailureKind, Outcome, RunResult, Verdict};
use crate::process::guardian::proof::RunKey;
use crate::process::guardian::rendezvous::{self, Found, Offer};
use crate::process::guardian::{Guardian, GuardianConfig, LastWill, Started};
use crate::process::init::RestartState;
use crate::process::signals::Shutdown;
use crate::sinks::phases::{Phases, SettledElsewhere};
use crate::sinks::{Record, Sinks, jsonl};

/// The minimum time between two costs that the guardian gets.
const BETWEEN_COSTS: Duration = Duration::from_millis(300);

/// The maximum number of attempts to start a guardian under the run's name. The last one has no name: another program holds the
/// name, or its holder keeps changing.
const MOST_GUARDIANS: u8 = 3;

/// Returns whether only a known cost has changed. Such an update may wait: if the runner is killed in the meantime, the reported
/// cost is slightly too low.
fn is_only_a_further_cost(told: &RunState, known: &RunState) -> bool {
    let facts = |state: &RunState| (state.conversation_id, state.at_work, state.deadline);
    facts(told) == facts(known) && !told.cost.is_unknown()
}

/// Created from the valid part of the environment, whatever else is wrong with it.
pub(super) struct Reporter {
    pub(super) http: Http,
    reporting: Reporting,
    network: Network,
    time_limits: RunnerTimeLimits,
    redactor: Redactor,
    guardian: Option<Guardian>,
}

impl Reporter {
    pub(super) fn new(environment: &Environment) -> Self {
        let (reporting, warning) = Reporting::from_env(&environment.raw);
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        environment.raw.secrets().for_each(|secret| environment.redactor.learn(&secret));
        let time_limits = environment.time_limits;
        let network = crate::input::settings::network(&environment.raw);
        let (http, complaint) = Http::lenient(&network, time_limits.client);
        if let Some(error) = complaint {
            tracing::warn!(error = %text::chain(&error), "the outcome is reported without the invalid network settings");
        }
        Self { http, reporting, network, time_limits, redactor: environment.redactor.clone(), guardian: None }
    }

    /// Returns the sink that posts phases, if phases are wanted, and the signal that someone else has settled the run.
    pub(super) fn phases(&self) -> Option<(Phases, SettledElsewhere)> {
        let endpoint = PhaseEndpoint { url: self.reporting.phase_url.clone()?, key: self.reporting.phase_key.clone() };
        Some(Phases::to(endpoint, self.http.clone(), self.redactor.clone(), &self.time_limits.run))
    }

    /// Starts a guardian for the run, or takes over the run of a runner that died.
    ///
    /// # Errors
    /// Another runner is executing the run, or a signal came first.
    pub(super) async fn guard(
        &mut self,
        has_folder: bool,
        restart: Option<&RestartState>,
        shutdown: &mut Shutdown,
    ) -> Result<(), Failure> {
        // Without a callback, there may still be a run folder to complete, or a notice to deliver.
        if self.reporting.callback_url.is_none() && self.reporting.notify.is_empty() && !has_folder {
            return Ok(());
        }
        let config = GuardianConfig::new(&self.reporting, &self.network, &self.time_limits);
        let limits = self.time_limits.guardian;
        for attempt in 1..=MOST_GUARDIANS {
            let offer = self.take_over(shutdown).await?;
            // Another program that holds the name must not prevent the run from having a guardian.
            let config = if attempt < MOST_GUARDIANS { config.clone() } else { config.clone().without_name() };
            match Guardian::start(config, &limits, &self.silence(RunState::default())) {
                // Another runner of the run was faster: ask it in the next iteration.
                Ok(Started::Occupied) => continue,
                Ok(Started::Armed(guardian)) => {
                    if let (Some(restart), Some(pid)) = (restart, guardian.pid()) {
                        restart.has_guardian(pid, limits.takeover_window + limits.budget);
                    }
                    self.guardian = Some(guardian);
                }
                Err(error) => tracing::warn!(%error, "no guardian: if the runner is killed, no outcome is reported"),
            }
            if let Some(offer) = offer {
                offer.accept();
            }
            break;
        }
        Ok(())
    }

    /// Takes over the run of an earlier runner, if there is one.
    ///
    /// # Errors
    /// Another runner is executing the run, or a signal came first.
    async fn take_over(&self, shutdown: &mut Shutdown) -> Result<Option<Offer>, Failure> {
        let Some(run_id) = &self.reporting.run_id else { return Ok(None) };
        let (key, limits) = (RunKey::new(run_id.as_str(), self.reporting.key.as_ref()), self.time_limits.guardian);
        let found = tokio::select! {
            found = off_thread("take over", move || rendezvous::take_over(&key, &limits)) => found,
            signal = shutdown.requested() => return Err(Failure::from(signal)),
        };
        match found {
            Found::NoOne => Ok(None),
            Found::Yours(offer) => {
                tracing::info!(%run_id, "resuming a run whose runner died");
                Ok(Some(offer))
            }
            Found::Busy => {
                let detail = format!("another runner works on run {run_id}");
                Err(Failure::new(FailureKind::AlreadyRunning, detail))
            }
        }
    }

    /// Returns the id of the run, if it has one.
    pub(super) fn run_id(&self) -> Option<&RunId> {
        self.reporting.run_id.as_ref()
    }

    /// Adds receivers of the result to those that the environment names. A run that had nothing to deliver gets its guardian now.
    ///
    /// # Errors
    /// The errors of [`Reporter::guard`].
    pub(super) async fn notifies(
        &mut self,
        notify: Vec<Notify>,
        run: &Run<'_>,
        shutdown: &mut Shutdown,
    ) -> Result<(), Failure> {
        if notify.is_empty() {
            return Ok(());
        }
        notify.iter().flat_map(Notify::secrets).for_each(|secret| self.redactor.learn(&secret));
        self.reporting.notify.extend(notify);
        if self.guardian.is_none() {
            return self.guard(false, run.restart(), shutdown).await;
        }
        let silence = self.silence(run.state());
        self.tell(|guardian| guardian.if_silent(&silence));
        Ok(())
    }

    /// Tells the guardian to complete this run folder if the runner cannot.
    pub(super) fn has_folder(&mut self, folder: PathBuf) {
        self.tell(|guardian| guardian.folder(folder));
    }

    /// Returns whether the guardian delivers the outcome if this process does not.
    pub(super) fn is_guarded(&self) -> bool {
        self.guardian.is_some()
    }

    /// Sends updates to the guardian, for as long as it is polled: the conversation and the first cost at once, further costs a
    /// few times a second. The last one always arrives.
    pub(super) async fn keep_informed(&mut self, mut known: watch::Receiver<RunState>) {
        let mut told = RunState::default();
        while known.changed().await.is_ok() {
            if is_only_a_further_cost(&told, &known.borrow()) {
                sleep(BETWEEN_COSTS).await;
            }
            told = *known.borrow_and_update();
            let report = self.silence(told);
            self.tell(|guardian| guardian.if_silent(&report));
            if let Some(deadline) = told.deadline {
                let report = self.overdue(told);
                let left = deadline.saturating_duration_since(Instant::now());
                self.tell(|guardian| guardian.if_frozen(left, &report));
            }
        }
        std::future::pending::<()>().await;
    }

    /// Returns the will for a runner that is frozen beyond its time limit.
    fn overdue(&self, known: RunState) -> LastWill {
        let detail = "the run reached its time limit, and its runner did not react: it is frozen";
        self.will(&self.verdict(Err(Failure::new(FailureKind::Timeout, detail)), known).alone())
    }

    /// Returns the will for a runner that ends without reporting.
    fn silence(&self, known: RunState) -> LastWill {
        let failure =
            Failure::new(FailureKind::RunnerDied, "the runner ended without an outcome; it was probably killed");
        self.will(&self.verdict(Err(failure), known).alone())
    }

    /// Returns the will for an outcome.
    fn will(&self, outcome: &Outcome) -> LastWill {
        let result = outcome.short_result(&self.redactor);
        let notices = self.notices(&result);
        LastWill { report: Some(self.report(outcome)), notices, record: jsonl::terminal(&result) }
    }

    /// Returns the notices for the user's webhooks about this result.
    fn notices(&self, result: &RunResult) -> Vec<Notice> {
        let is_told = |notify: &&Notify| notify.on == NotifyOn::Always || result.error.is_some();
        let told = self.reporting.notify.iter().filter(is_told).filter_map(Notify::url);
        told.map(|url| Notice { url, body: notice::body(result, self.reporting.name.as_deref()) }).collect()
    }

    /// Tells the guardian to end this process group together with the run.
    pub(super) fn ends_with_us(&mut self, group: u32) {
        self.tell(|guardian| guardian.end_with_us(group));
    }

    fn tell(&mut self, message: impl FnOnce(&mut Guardian) -> std::io::Result<()>) {
        if let Some(guardian) = &mut self.guardian
            && let Err(error) = message(guardian)
        {
            tracing::warn!(%error, "the guardian is gone");
            self.guardian = None;
        }
    }

    fn verdict(&self, ended: Result<Option<AgentResult>, Failure>, known: RunState) -> Verdict {
        let (result, failure) = match ended {
            Ok(result) => (result, None),
            Err(failure) => (None, Some(failure)),
        };
        Verdict {
            failure,
            run_id: self.reporting.run_id.clone(),
            conversation_id: known.conversation_id,
            cost: known.cost,
            cut_short: known.cut_short,
            result,
        }
    }

    /// Returns the report to the automation service.
    fn report(&self, outcome: &Outcome) -> CompletionReport {
        let report = outcome.report(&self.redactor);
        // A service without phases rejects a body with a task outcome.
        let task_outcome = report.task_outcome.filter(|_| self.reporting.phase_url.is_some());
        CompletionReport { task_outcome, ..report }
    }

    /// Decides how the run ended. From now on the outcome is delivered, whatever happens to this process.
    pub(super) fn decide(&mut self, ended: Result<Option<AgentResult>, Failure>, known: RunState) -> Verdict {
        let verdict = self.verdict(ended, known);
        self.hand_over(&verdict.alone());
        verdict
    }

    /// Gives the guardian the report, to deliver it if this process cannot.
    pub(super) fn hand_over(&mut self, outcome: &Outcome) {
        let will = self.will(outcome);
        self.tell(|guardian| guardian.outcome(&will));
    }

    /// Publishes the result and standard output, then sends the callback, because a service that knows the outcome may delete the
    /// sandbox, and then the notices. Returns whether the service knows the outcome and the guardian has no callback left to
    /// deliver.
    pub(super) async fn publish(&mut self, outcome: &Outcome, sinks: &mut Sinks, budgets: ShutdownBudgets) -> bool {
        let result = outcome.result(&self.redactor);
        if timeout(budgets.output, sinks.record(&Record::Result(&result))).await.is_err() {
            tracing::warn!("the result could not be written in time");
        }
        let is_told = self.report_to_service(outcome, budgets).await;
        if is_told {
            self.notify(outcome, &result, budgets).await;
        }
        is_told
    }

    /// Adds facts that became known after publication to the result files.
    pub(super) async fn amend(&self, outcome: &Outcome, sinks: &mut Sinks) {
        sinks.record(&Record::Amended(&outcome.result(&self.redactor))).await;
    }

    /// Delivers the callback. Returns whether this is done, or has failed permanently, with nothing left for the guardian.
    async fn report_to_service(&self, outcome: &Outcome, budgets: ShutdownBudgets) -> bool {
        let Some(url) = &self.reporting.callback_url else { return true };
        let report = self.report(outcome);
        let key = self.reporting.key.as_ref();
        let callback = Callback { http: &self.http, url, key, budget: budgets.callback };
        match callback.deliver(&report).await {
            Ok(delivered) => {
                match delivered {
                    Delivered::Accepted => tracing::info!("completion callback delivered"),
                    Delivered::AlreadySettled => tracing::info!("the automation service has already settled the run"),
                }
                true
            }
            Err(error) if self.guardian.is_some() && !matches!(error, CallbackError::Refused(_)) => {
                tracing::warn!(error = %text::chain(&error), "leaving the completion callback to the guardian");
                false
            }
            Err(error) => {
                tracing::error!(error = %text::chain(&error), "completion callback not delivered");
                true
            }
        }
    }

    /// Delivers the notices. The guardian delivers those that cannot be delivered now.
    async fn notify(&mut self, outcome: &Outcome, result: &RunResult, budgets: ShutdownBudgets) {
        let notices = self.notices(result);
        if notices.is_empty() {
            return self.settled();
        }
        // The service knows the outcome, so from here on the guardian only has to deliver the notices.
        let will = LastWill { report: None, ..self.will(outcome) };
        self.tell(|guardian| guardian.outcome(&will));
        let told = notices.iter().map(|to| deliver(&self.http, &to.url, &to.body, budgets.callback));
        let told = join_all(told).await;
        let mut left = will;
        let mut told = told.into_iter();
        left.notices.retain(|_| match told.next() {
            Some(Err(error @ NoticeError::BudgetUsedUp { .. })) if self.guardian.is_some() => {
                tracing::warn!(error = %text::chain(&error), "leaving the notice to the guardian");
                true
            }
            Some(Err(error)) => {
                tracing::error!(error = %text::chain(&error), "notice not delivered");
                false
            }
            Some(Ok(())) | None => false,
        });
        if left.notices.is_empty() {
            return self.settled();
        }
        self.tell(|guardian| guardian.outcome(&left));
    }

    fn settled(&mut self) {
        self.tell(Guardian::settled);
    }
}

#[cfg(test)]
mod tests {
    use openhands_client::agent_server::wire::Cost;
    use openhands_client::ids::ConversationId;

    use super::*;

    #[test]
    fn only_a_further_cost_waits() {
        let id = Some(ConversationId::random());
        let state = |conversation_id, cost, at_work| RunState { conversation_id, cost, at_work, ..RunState::default() };
        let (unknown, low, high) = (Cost::default(), Cost::dollars(0.5), Cost::dollars(0.75));
        for (told, known, waits) in [
            (state(id, low, true), state(id, high, true), true),
            (state(id, unknown, true), state(id, low, true), false),
            (state(None, unknown, false), state(id, unknown, true), false),
            (state(id, low, true), state(id, high, false), false),
        ] {
            assert_eq!(is_only_a_further_cost(&told, &known), waits, "{told:?} {known:?}");
        }
    }
}

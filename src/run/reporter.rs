//! Where the outcome of a run goes: guardian, result, callback.

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

/// Between two costs that the guardian hears of.
const BETWEEN_COSTS: Duration = Duration::from_millis(300);

/// A guardian without the run's name is the last one to be started: the name is taken by a stranger, or changes hands all the time.
const MOST_GUARDIANS: u8 = 3;

/// Whether nothing but a known cost has changed, which may wait: of a runner that is killed meanwhile the cost is a little too low.
fn is_only_a_further_cost(told: &RunState, known: &RunState) -> bool {
    let facts = |state: &RunState| (state.conversation_id, state.at_work, state.deadline);
    facts(told) == facts(known) && !told.cost.is_unknown()
}

/// Made from what can be used of the environment, whatever else is wrong with it.
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

    /// The sink that posts phases, if they are wanted, and the signal that the run is settled without us.
    pub(super) fn phases(&self) -> Option<(Phases, SettledElsewhere)> {
        let endpoint = PhaseEndpoint { url: self.reporting.phase_url.clone()?, key: self.reporting.phase_key.clone() };
        Some(Phases::to(endpoint, self.http.clone(), self.redactor.clone(), &self.time_limits.run))
    }

    /// Puts a guardian behind the run, or takes over the run from a runner that died.
    ///
    /// # Errors
    /// Another runner is at work on the run, or a signal came before it was ours.
    pub(super) async fn guard(
        &mut self,
        has_folder: bool,
        restart: Option<&RestartState>,
        shutdown: &mut Shutdown,
    ) -> Result<(), Failure> {
        // Without a callback there may be a run folder to end, or someone to tell.
        if self.reporting.callback_url.is_none() && self.reporting.notify.is_empty() && !has_folder {
            return Ok(());
        }
        let config = GuardianConfig::new(&self.reporting, &self.network, &self.time_limits);
        let limits = self.time_limits.guardian;
        for attempt in 1..=MOST_GUARDIANS {
            let offer = self.take_over(shutdown).await?;
            // A stranger who has the name must not keep the run from having a guardian.
            let config = if attempt < MOST_GUARDIANS { config.clone() } else { config.clone().without_name() };
            match Guardian::start(config, &limits, &self.silence(RunState::default())) {
                // Another runner of the run was faster: it is asked next.
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

    /// Asks for the run of an earlier runner, if there is one.
    ///
    /// # Errors
    /// Another runner is at work on the run, or a signal came before it was ours.
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

    /// The id of the run, if it has one.
    pub(super) fn run_id(&self) -> Option<&RunId> {
        self.reporting.run_id.as_ref()
    }

    /// Who gets the result, in addition to those that the environment names. A run that had nothing to deliver gets a guardian now.
    ///
    /// # Errors
    /// Those of [`Reporter::guard`].
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

    /// The guardian ends this run folder if the runner cannot.
    pub(super) fn has_folder(&mut self, folder: PathBuf) {
        self.tell(|guardian| guardian.folder(folder));
    }

    /// Whether someone delivers the outcome if we do not.
    pub(super) fn is_guarded(&self) -> bool {
        self.guardian.is_some()
    }

    /// Keeps the guardian informed, for as long as it is polled: of the conversation and of the first cost at once, of further
    /// costs a few times a second. The last one always arrives.
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

    /// What the guardian says of a runner that is frozen beyond its time.
    fn overdue(&self, known: RunState) -> LastWill {
        let detail = "the run reached its time limit, and its runner did not react: it is frozen";
        self.will(&self.verdict(Err(Failure::new(FailureKind::Timeout, detail)), known).alone())
    }

    /// What the guardian says of a runner that ends without a word.
    fn silence(&self, known: RunState) -> LastWill {
        let failure =
            Failure::new(FailureKind::RunnerDied, "the runner ended without an outcome; it was probably killed");
        self.will(&self.verdict(Err(failure), known).alone())
    }

    /// What the guardian does of an outcome.
    fn will(&self, outcome: &Outcome) -> LastWill {
        let result = outcome.short_result(&self.redactor);
        let notices = self.notices(&result);
        LastWill { report: Some(self.report(outcome)), notices, record: jsonl::terminal(&result) }
    }

    /// What the webhook of the user gets for such a result.
    fn notices(&self, result: &RunResult) -> Vec<Notice> {
        let is_told = |notify: &&Notify| notify.on == NotifyOn::Always || result.error.is_some();
        let told = self.reporting.notify.iter().filter(is_told).filter_map(Notify::url);
        told.map(|url| Notice { url, body: notice::body(result, self.reporting.name.as_deref()) }).collect()
    }

    /// A process group that must not outlive the run.
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

    /// The report to the automation service.
    fn report(&self, outcome: &Outcome) -> CompletionReport {
        let report = outcome.report(&self.redactor);
        // A service without phases refuses a body with a task outcome.
        let task_outcome = report.task_outcome.filter(|_| self.reporting.phase_url.is_some());
        CompletionReport { task_outcome, ..report }
    }

    /// Decides how the run ended. From now on the outcome arrives, whatever becomes of this process.
    pub(super) fn decide(&mut self, ended: Result<Option<AgentResult>, Failure>, known: RunState) -> Verdict {
        let verdict = self.verdict(ended, known);
        self.hand_over(&verdict.alone());
        verdict
    }

    /// Gives the guardian the report to deliver if this process cannot.
    pub(super) fn hand_over(&mut self, outcome: &Outcome) {
        let will = self.will(outcome);
        self.tell(|guardian| guardian.outcome(&will));
    }

    /// Result and standard output, then the callback: a service that knows the outcome may delete the sandbox. Then the notices.
    /// Whether the service knows, and nothing of the callback is left to the guardian.
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

    /// Writes what has become known behind the published result into the files that have it.
    pub(super) async fn amend(&self, outcome: &Outcome, sinks: &mut Sinks) {
        sinks.record(&Record::Amended(&outcome.result(&self.redactor))).await;
    }

    /// Delivers the callback. Whether that is done, or given up for good, and nothing of it is left to the guardian.
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

    /// Delivers the notices; what cannot be delivered now is the guardian's.
    async fn notify(&mut self, outcome: &Outcome, result: &RunResult, budgets: ShutdownBudgets) {
        let notices = self.notices(result);
        if notices.is_empty() {
            return self.settled();
        }
        // The service knows: from here on the guardian has nothing but the notices.
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

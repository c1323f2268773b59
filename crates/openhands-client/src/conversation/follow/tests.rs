//! Each case of a turn as a sequence of inputs with their times, and the expected actions.

use serde_json::{Map, json};

use super::*;
use crate::agent_server::event::{Meaning, ServerError};
use crate::agent_server::wire::Usage;

/// Plays inputs at given times after the beginning of a turn.
struct Play {
    follow: Follow,
    began: Instant,
    /// Seconds since the beginning.
    now: f64,
}

fn play() -> Play {
    play_with(true, false, Budget::default())
}

fn play_with(state_after_run: bool, may_veto: bool, budget: Budget) -> Play {
    let began = Instant::now();
    let mut follow = Follow::new(FollowLimits::default(), state_after_run, may_veto, budget, began);
    follow.begin_turn(began);
    Play { follow, began, now: 0.0 }
}

impl Play {
    fn at(&mut self, seconds: f64, input: Input<'_>) -> Vec<String> {
        assert!(seconds >= self.now, "time runs forward");
        self.now = seconds;
        let actions = self.follow.step(input, self.began + Duration::from_secs_f64(seconds));
        actions.iter().map(short).collect()
    }

    fn connected(mut self) -> Self {
        self.at(0.0, Input::Subscribed { status: Some(Status::Idle), cost: Cost::default() });
        self.follow.begin_turn(self.began);
        self
    }

    /// Lets time pass as the driver does, without any response, and returns all actions up to that time.
    fn wait_until(&mut self, seconds: f64) -> Vec<String> {
        let mut actions = Vec::new();
        while let Some(deadline) = self.follow.deadline() {
            let at = deadline.saturating_duration_since(self.began).as_secs_f64().max(self.now);
            if at > seconds {
                break;
            }
            let asked = self.at(at, Input::Tick);
            let idle = asked.is_empty();
            actions.extend(asked);
            if idle || !matches!(self.follow.phase, Phase::Following { .. }) {
                break;
            }
        }
        actions
    }
}

fn short(action: &Action) -> String {
    match action {
        Action::ReadState { .. } => "state".to_owned(),
        Action::ReadLog => "log".to_owned(),
        Action::StartRun { .. } => "run".to_owned(),
        Action::Note(note) => format!("note {note:?}"),
        Action::Over(end) => format!("over {}", end.reason()),
        Action::Fail(error) => format!("fail {error}"),
    }
}

fn state(status: Status) -> Input<'static> {
    Input::State(Ok(StateRead { status, cost: Cost::default() }))
}

fn status_error(status: u16) -> HttpError {
    HttpError::Status { target: "GET /".to_owned(), status, detail: String::new(), retry_after: None, body: Vec::new() }
}

fn refused_connection() -> HttpError {
    HttpError::Connect { target: "GET /".to_owned(), reason: "refused".to_owned() }
}

fn status(status: Status) -> Meaning {
    Meaning::Status(status)
}

fn full_state(status: Status) -> Meaning {
    Meaning::FullState { status: Some(status), usage: Usage::default() }
}

fn error_event(code: &str) -> Meaning {
    Meaning::Error(ServerError(Map::from_iter([("code".to_owned(), json!(code)), ("detail".to_owned(), json!("why"))])))
}

const FINISHED: &str = "over the agent has finished";

#[test]
fn an_end_is_confirmed_over_http_and_the_log_is_read_to_its_end() {
    let mut play = play().connected();
    assert!(play.at(1.0, Input::Event(&status(Status::Running))).is_empty());
    assert!(play.at(2.0, Input::Event(&status(Status::Finished))).is_empty(), "the state after the run may follow");
    assert_eq!(play.at(2.1, Input::Event(&full_state(Status::Finished))), ["state"]);
    assert_eq!(play.at(2.2, state(Status::Finished)), ["log"]);
    assert_eq!(play.at(2.3, Input::LogRead(Ok(()))), [FINISHED]);
}

#[test]
fn without_the_state_after_the_run_an_end_is_confirmed_a_moment_later() {
    let mut play = play().connected();
    play.at(2.0, Input::Event(&status(Status::Finished)));
    assert!(play.at(3.9, Input::Tick).is_empty());
    assert_eq!(play.at(4.0, Input::Tick), ["state"]);
}

#[test]
fn a_version_without_that_state_is_asked_at_once() {
    let mut play = play_with(false, false, Budget::default()).connected();
    assert_eq!(play.at(2.0, Input::Event(&status(Status::Finished))), ["state"]);
}

#[test]
fn a_claimed_end_that_the_server_does_not_confirm_is_none() {
    let mut play = play().connected();
    play.at(2.0, Input::Event(&full_state(Status::Finished)));
    assert!(play.at(2.1, state(Status::Running)).is_empty());
    assert!(play.follow.takes_events());
}

#[test]
fn a_finish_that_a_hook_may_veto_is_asked_to_run() {
    for (started, then, end) in [
        (Ok(RunStarted::AlreadyRunning), None, None),
        (Ok(RunStarted::Started), Some(Status::Running), None),
        (Ok(RunStarted::Started), Some(Status::Finished), Some("log")),
        (Err(None), None, None),
    ] {
        let mut play = play_with(true, true, Budget::default()).connected();
        play.at(2.0, Input::Event(&status(Status::Finished)));
        assert_eq!(play.at(4.0, Input::Tick), ["state"]);
        assert_eq!(play.at(4.1, state(Status::Finished)), ["run"]);
        let asked = play.at(4.2, Input::Run(started));
        if let Some(then) = then {
            assert_eq!(asked, ["state"]);
            assert_eq!(play.at(4.3, state(then)), end.into_iter().collect::<Vec<_>>());
        } else {
            assert!(asked.is_empty(), "{asked:?}");
        }
    }
}

#[test]
fn a_certain_end_needs_no_such_question() {
    let mut play = play_with(true, true, Budget::default()).connected();
    assert_eq!(play.at(2.0, Input::Event(&full_state(Status::Finished))), ["state"]);
    assert_eq!(play.at(2.1, state(Status::Finished)), ["log"]);
}

#[test]
fn the_reason_of_an_error_may_come_after_the_error() {
    let mut play = play().connected();
    play.at(2.0, Input::Event(&full_state(Status::Error)));
    assert_eq!(play.at(2.1, state(Status::Error)), ["log"]);
    assert!(play.at(2.2, Input::LogRead(Ok(()))).is_empty(), "it is waited for");
    assert_eq!(play.at(2.31, Input::Tick), ["log"]);
    play.at(2.4, Input::Event(&error_event("LLMAuthenticationError")));
    assert_eq!(play.at(2.5, Input::LogRead(Ok(()))), ["log"], "the rest of the log");
    assert_eq!(play.at(2.6, Input::LogRead(Ok(()))), ["over why"]);
}

#[test]
fn an_error_without_a_reason_after_an_outage_is_a_restarted_server_and_is_resumed_three_times() {
    let mut play = play().connected();
    let mut now = 1.0;
    for resume in 1..=4 {
        play.at(now, Input::Lost);
        play.at(now + 1.0, Input::Subscribed { status: Some(Status::Error), cost: Cost::default() });
        assert!(play.at(now + 1.1, Input::LogRead(Ok(()))).is_empty());
        assert_eq!(play.at(now + 3.2, Input::Tick), ["state"]);
        assert_eq!(play.at(now + 3.3, state(Status::Error)), ["log"]);
        assert!(play.at(now + 3.4, Input::LogRead(Ok(()))).is_empty(), "the reason is waited for");
        assert_eq!(play.at(now + 4.4, Input::Tick), ["log"]);
        let then = play.at(now + 4.5, Input::LogRead(Ok(())));
        if resume <= 3 {
            assert_eq!(then, ["note Resuming", "run"], "{resume}");
            assert!(play.at(now + 4.6, Input::Run(Ok(RunStarted::Started))).is_empty());
        } else {
            assert_eq!(then, ["log"], "it is the end");
        }
        now += 10.0;
    }
}

#[test]
fn an_idle_conversation_has_its_run_started_a_few_times_and_then_fails_with_a_reason() {
    let mut play = play().connected();
    assert_eq!(play.at(3.0, Input::Tick), [""; 0]);
    let mut now = 15.0;
    for _ in 0..MOST_STARTS {
        assert_eq!(play.at(now, Input::Tick), ["state"]);
        assert_eq!(play.at(now + 0.1, state(Status::Idle)), ["note IdleAfterMessage", "run"]);
        play.at(now + 0.2, Input::Run(Ok(RunStarted::Started)));
        now += 16.0;
    }
    assert_eq!(play.at(now, Input::Tick), ["state"]);
    assert_eq!(
        play.at(now + 0.1, state(Status::Idle)),
        ["fail the agent-server did not start the run after 5 requests"]
    );
}

#[test]
fn the_pause_before_a_turn_is_not_its_end_and_a_new_one_is() {
    let paused = || {
        let mut play = play_with(false, false, Budget::default()).connected();
        play.follow.found(Some(Status::Paused), Cost::default());
        play.follow.begin_turn(play.began);
        play
    };
    let mut play = paused();
    let mut now = 1.0;
    assert_eq!(play.at(now, Input::Event(&status(Status::Paused))), ["state"]);
    for _ in 0..MOST_STARTS_AFTER_PAUSE {
        assert_eq!(play.at(now + 0.1, state(Status::Paused)), ["run"]);
        play.at(now + 0.2, Input::Run(Ok(RunStarted::Started)));
        now += 10.0;
        assert_eq!(play.at(now, Input::Tick), ["state"], "the end is confirmed again");
    }
    assert_eq!(play.at(now + 0.1, state(Status::Paused)), ["log"], "it is paused, and stays so");

    let mut play = paused();
    assert!(play.at(1.0, Input::Event(&status(Status::Running))).is_empty());
    assert_eq!(play.at(2.0, Input::Event(&status(Status::Paused))), ["state"]);
    assert_eq!(play.at(2.1, state(Status::Paused)), ["log"], "someone has paused the turn");
}

#[test]
fn a_lost_socket_is_caught_up_with_after_it_is_back_and_polled_meanwhile() {
    let mut play = play().connected();
    play.at(1.0, Input::Lost);
    assert_eq!(play.at(3.0, Input::Tick), ["state"]);
    assert_eq!(play.at(3.1, state(Status::Running)), ["log"]);
    assert!(play.at(3.2, Input::LogRead(Err(None))).is_empty());
    assert!(play.follow.has_gap(), "what was not read is still missing");
    let back = Input::Subscribed { status: Some(Status::Running), cost: Cost::default() };
    assert_eq!(play.at(4.0, back), ["note SocketIsBack", "log"]);
    play.at(4.1, Input::LogRead(Ok(())));
    assert!(!play.follow.has_gap());
}

#[test]
fn silence_is_looked_at_once_more_before_the_server_is_lost() {
    for (answer, end) in [
        (Some(Err(refused_connection())), "fail the agent-server did not respond for 45 s"),
        (Some(Err(status_error(502))), "fail the agent-server did not respond for 45 s"),
        (None, "fail the agent-server did not respond for 45 s"),
        (Some(Ok(Status::Running)), ""),
        (Some(Err(status_error(500))), ""),
    ] {
        let mut play = play().connected();
        assert_eq!(play.at(15.0, Input::Tick), ["state"], "a poll, which is not answered");
        assert_eq!(play.at(45.0, Input::Tick), ["state"]);
        let then = match answer {
            None => play.at(53.0, Input::StateTimedOut),
            Some(Ok(status)) => play.at(46.0, state(status)),
            Some(Err(error)) => play.at(46.0, Input::State(Err(error))),
        };
        assert_eq!(then.first().map_or("", String::as_str), end);
    }
}

#[test]
fn a_certain_end_counts_though_the_server_is_lost() {
    let (end, at) = only(refused_connection, Some(full_state(Status::Finished)));
    assert_eq!(end, FINISHED);
    assert!(at < 60.0, "{at}");
}

/// Responds to every read of the state with the same error, while the socket shows signs of life but sends no events.
fn only(error: impl Fn() -> HttpError, claim: Option<Meaning>) -> (String, f64) {
    let mut play = play().connected();
    let mut asked = claim.map_or_else(Vec::new, |claim| play.at(0.0, Input::Event(&claim)));
    for tenth in 1..10_000 {
        let now = f64::from(tenth) / 10.0;
        if tenth % 100 == 0 {
            asked.extend(play.at(now, Input::Alive));
        }
        asked.extend(play.at(now, Input::Tick));
        for action in std::mem::take(&mut asked) {
            if action == "state" {
                asked.extend(play.at(now, Input::State(Err(error()))));
            } else if !action.starts_with("note") {
                return (action, now);
            }
        }
    }
    ("no end".to_owned(), 1000.0)
}

#[test]
fn a_state_that_cannot_be_read_is_no_wait_without_an_end() {
    let html = || HttpError::Unexpected {
        target: "GET /".to_owned(),
        source: serde_json::from_str::<()>("<html>").unwrap_err(),
    };
    let errors = "fail the agent-server responded only with errors for 300 s";
    for (name, (end, at), expected, until) in [
        ("500", only(|| status_error(500), None), errors, 320.0),
        ("429", only(|| status_error(429), None), errors, 320.0),
        ("html", only(html, None), errors, 320.0),
        ("html after a certain end", only(html, Some(full_state(Status::Finished))), FINISHED, 50.0),
        ("html after a claimed end", only(html, Some(status(Status::Finished))), FINISHED, 320.0),
        ("410", only(|| status_error(410), None), "over the conversation was deleted during the run", 30.0),
        ("404", only(|| status_error(404), None), "over the conversation was deleted during the run", 30.0),
        ("401", only(|| status_error(401), None), "fail the agent-server refuses the session key", 30.0),
    ] {
        assert_eq!(end, expected, "{name}");
        assert!(at <= until, "{name}: {at}");
    }
}

/// The socket is alive, and requests get no response: the server counts as busy until a response says otherwise.
#[test]
fn a_server_that_only_keeps_requests_waiting_is_busy() {
    let timed_out = || HttpError::Timeout { target: "GET /".to_owned() };
    assert_eq!(only(timed_out, None), ("no end".to_owned(), 1000.0));
    let (end, at) = only(timed_out, Some(status(Status::Finished)));
    assert_eq!(end, FINISHED);
    assert!(at <= 320.0, "{at}");

    let mut play = play().connected();
    for minute in 1..=60 {
        let now = f64::from(minute) * 60.0;
        assert_eq!(play.at(now - 0.1, Input::Alive), ["state"], "{minute}");
        assert!(play.at(now, Input::State(Err(timed_out()))).is_empty(), "{minute}");
    }
    assert_eq!(play.at(3_660.0, Input::Alive), ["state"]);
    let end = play.at(3_661.0, Input::State(Err(timed_out())));
    assert_eq!(end, ["fail the agent-server responded to no request for 3600 s"]);
}

#[test]
fn one_refusal_among_answers_is_not_believed() {
    for code in [401, 403, 404] {
        let mut play = play().connected();
        for (second, refused) in [(15.0, true), (17.0, true), (19.0, false), (34.0, true), (36.0, true)] {
            assert_eq!(play.at(second, Input::Tick), ["state"], "{code} at {second}");
            let read = if refused { Input::State(Err(status_error(code))) } else { state(Status::Running) };
            assert!(play.at(second, read).is_empty(), "{code} at {second}");
        }
    }
}

#[test]
fn an_unknown_status_is_noted_once_and_ends_a_turn_in_which_nothing_happens() {
    let mut play = play().connected();
    let dreaming = || Status::Other("dreaming".to_owned());
    assert_eq!(play.at(1.0, Input::Event(&status(dreaming()))), ["note UnknownStatus(\"dreaming\")"]);
    let mut now = 15.0;
    let end = loop {
        assert_eq!(play.at(now, Input::Tick), ["state"], "{now}");
        let then = play.at(now + 0.1, state(dreaming()));
        if let Some(end) = then.first() {
            break end.clone();
        }
        now += 15.1;
        assert!(now < 400.0);
    };
    assert!(end.starts_with("fail the conversation has the unknown status `dreaming`"), "{end}");
}

#[test]
fn a_cost_beyond_the_limit_ends_the_turn_unless_it_is_over() {
    let budget = Budget { limit: Some(1.0), spent_before: Cost::dollars(2.0) };
    let spent = |dollars: f64| {
        let stats = format!(r#"{{"usage_to_metrics":{{"a":{{"accumulated_cost":{dollars}}}}}}}"#);
        Meaning::Stats(Usage::parse(&stats))
    };
    let mut play = play_with(true, false, budget).connected();
    assert!(play.at(1.0, Input::Event(&spent(2.9))).is_empty(), "what was spent before does not count");
    assert_eq!(play.at(2.0, Input::Event(&spent(3.5))), ["fail the run has cost $1.5000; its limit is $1.0000"]);

    let mut play = play_with(true, false, budget).connected();
    play.at(1.0, Input::Event(&status(Status::Finished)));
    assert!(play.at(1.1, Input::Event(&spent(3.5))).is_empty(), "a late cost of a turn that is over");
}

#[test]
fn a_run_with_a_budget_is_polled_more_often() {
    let budget = Budget { limit: Some(1.0), ..Budget::default() };
    let mut play = play_with(false, false, budget).connected();
    play.follow.begin_turn(play.began);
    assert_eq!(play.wait_until(6.0), ["state"]);
}

#[test]
fn time_in_which_no_one_looked_is_not_the_servers_silence() {
    let mut play = play().connected();
    play.follow.not_watched(Duration::from_secs(100));
    assert_eq!(play.at(101.0, Input::Tick), ["state"], "a poll");
    assert!(matches!(play.follow.phase, Phase::Following { polling: true }));
}

#[test]
fn a_deleted_conversation_ends_the_turn_without_its_log() {
    let mut play = play().connected();
    play.at(1.0, Input::Event(&full_state(Status::Deleting)));
    assert_eq!(play.at(1.1, state(Status::Deleting)), ["over the conversation was deleted during the run"]);
}

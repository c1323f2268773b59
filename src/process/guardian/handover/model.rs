//! All interleavings of a runner, its guardian, a new runner of the same run and that one's guardian, each of which may die at any
//! point. The guardians are the real state machine; the rest is as small as the protocol allows.

#![expect(clippy::struct_excessive_bools, reason = "a model is a list of facts")]

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::*;

/// The reports, told apart by who decided them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    /// A guardian: the runner ended without a word.
    Silence(Who),
    /// A guardian: the runner is frozen.
    Frozen(Who),
    /// A runner.
    Outcome(Who),
}

/// One of the two runners, and its guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    First,
    Second,
}

/// What a runner does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Runner {
    NotStarted,
    /// Waits for the answer of the first guardian.
    Asking,
    /// Starts its guardian; `is_offered` when the run is another guardian's until then.
    Guarding {
        is_offered: bool,
    },
    /// Says that the run is taken.
    Taking,
    Working,
    /// Tells its guardian the outcome.
    Deciding,
    Posting,
    /// The request is under way and will reach the service, or not.
    Posted,
    Settling,
    Ended,
    /// Stopped, and alive; it may be continued.
    Frozen {
        decided: bool,
    },
    /// Killed.
    Dead,
}

impl Runner {
    fn lives(self) -> bool {
        !matches!(self, Self::NotStarted | Self::Ended | Self::Dead)
    }

    /// Whether it does the work of the run: another one must not, meanwhile.
    fn works(self) -> bool {
        matches!(self, Self::Working | Self::Deciding | Self::Posting | Self::Posted)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Guardian {
    machine: Handover<Told>,
    /// What its runner has said and it has not read.
    line: VecDeque<RunnerWord<Told>>,
    knows_end: bool,
    delivery: Delivery,
    wants_pause: bool,
    is_paused: bool,
    progress: Progress,
    /// Attempts that may still fail, so that there is an end.
    faults: u8,
    state: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Life {
    Alive,
    Ended,
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Delivery {
    None,
    Between(Told),
    UnderWay(Told),
    Over,
}

/// All processes, what is between them, and the service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    runners: [Runner; 2],
    guardians: [Option<Guardian>; 2],
    /// Whose guardian has the place.
    place: Option<Who>,
    /// The second runner's connection: unread by the guardian, then being answered.
    knocks: bool,
    is_asker: bool,
    /// Answers that the second runner has not read.
    answers: VecDeque<Answer>,
    /// It has said that the run is taken; not read yet.
    taken: bool,
    /// The first guardian has closed the connection.
    is_hung_up: bool,
    accepted: Option<Told>,
    /// Everything that reached the service.
    reached: Vec<Told>,
    facts: Facts,
}

/// What has happened, for the invariants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Facts {
    /// The second runner was told that the run is its own.
    offered: bool,
    /// It has said that it has a guardian.
    took: bool,
    /// Which runners have told their guardians an outcome.
    decided: [bool; 2],
    /// It has heard that there is another runner.
    found_busy: bool,
    /// The first guardian began an attempt after the second runner took the run.
    late_attempt: bool,
    /// The second runner was offered the run while the first one lived, or after something was accepted or may have been.
    wrong_offer: bool,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Whether a guardian may lose patience with a new runner that lives.
    slow: bool,
    /// Whether guardians may be killed.
    guardians_die: bool,
}

fn index(who: Who) -> usize {
    match who {
        Who::First => 0,
        Who::Second => 1,
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            runners: [Runner::Working, Runner::NotStarted],
            guardians: [None, None],
            place: None,
            knocks: false,
            is_asker: false,
            answers: VecDeque::new(),
            taken: false,
            is_hung_up: false,
            accepted: None,
            reached: Vec::new(),
            facts: Facts::default(),
        };
        world.start_guardian(Who::First);
        world
    }

    fn start_guardian(&mut self, who: Who) {
        let second = Duration::from_secs(1);
        let (frozen, undelivered) = (10 * second, 20 * second);
        let patience = Patience { dying: second, grace: 2 * second, taking: 3 * second, frozen, undelivered };
        self.guardians[index(who)] = Some(Guardian {
            machine: Handover::new(patience, Told::Silence(who)),
            line: VecDeque::from([RunnerWord::IfFrozen(second, Told::Frozen(who))]),
            knows_end: false,
            delivery: Delivery::None,
            wants_pause: false,
            is_paused: false,
            progress: Progress::Nothing,
            faults: 1,
            state: Life::Alive,
        });
        if self.place.is_none() {
            self.place = Some(who);
        }
    }

    fn guardian(&mut self, who: Who) -> Option<&mut Guardian> {
        self.guardians[index(who)].as_mut().filter(|guardian| guardian.state == Life::Alive)
    }

    fn says(&mut self, who: Who, word: RunnerWord<Told>) {
        if let Some(guardian) = self.guardian(who) {
            guardian.line.push_back(word);
        }
    }

    /// The service accepts the first report, and answers 409 to the others.
    fn reach(&mut self, told: Told) {
        self.reached.push(told);
        self.accepted.get_or_insert(told);
    }

    /// A guardian is gone: its sockets close.
    fn gone(&mut self, who: Who, life: Life) {
        if let Some(guardian) = &mut self.guardians[index(who)] {
            guardian.state = life;
            guardian.line.clear();
        }
        if self.place == Some(who) {
            self.place = None;
        }
        if who == Who::First && (self.knocks || self.is_asker) {
            (self.knocks, self.is_asker, self.is_hung_up) = (false, false, true);
        }
    }

    /// Gives a guardian an input, and does what follows.
    fn input(&mut self, who: Who, input: Input<Told>, now: Instant) {
        let Some(guardian) = self.guardian(who) else { return };
        for action in guardian.machine.step(input, now) {
            self.perform(who, action);
        }
    }

    fn perform(&mut self, who: Who, action: Action<Told>) {
        let first_lives = self.runners[0].lives();
        let may_be_accepted = self.guardians[0].as_ref().is_some_and(|guardian| {
            guardian.progress == Progress::Unknown || matches!(guardian.delivery, Delivery::UnderWay(_))
        });
        match action {
            Action::Answer(answer) => {
                if answer == Answer::Yours {
                    self.facts.offered = true;
                    self.facts.wrong_offer |= first_lives || may_be_accepted || self.accepted.is_some();
                }
                self.answers.push_back(answer);
                if answer == Answer::Busy {
                    (self.is_asker, self.is_hung_up) = (false, true);
                }
            }
            Action::Dismiss => {
                (self.is_asker, self.is_hung_up, self.taken) = (false, true, false);
            }
            Action::ClosePlace => {
                if self.place == Some(who) {
                    self.place = None;
                }
            }
            Action::OpenPlace => self.place = self.place.or(Some(who)),
            Action::EndGroups(_) => {}
            Action::Deliver(told) => {
                if let Some(guardian) = self.guardian(who) {
                    guardian.delivery = Delivery::Between(told);
                }
            }
            Action::Pause => {
                if let Some(guardian) = self.guardian(who) {
                    guardian.wants_pause = true;
                }
            }
            Action::Resume => {
                if let Some(guardian) = self.guardian(who) {
                    (guardian.wants_pause, guardian.is_paused) = (false, false);
                }
            }
            Action::End => self.gone(who, Life::Ended),
        }
    }

    /// Every world that may be next.
    fn next(&self, base: Instant, rules: Rules) -> Vec<Self> {
        let mut worlds = Vec::new();
        for who in [Who::First, Who::Second] {
            self.next_of_runner(who, &mut worlds);
            self.next_of_guardian(who, base, rules, &mut worlds);
        }
        worlds
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut world = self.clone();
        change(&mut world);
        world
    }

    fn next_of_runner(&self, who: Who, worlds: &mut Vec<Self>) {
        let at = index(who);
        let mut go = |to: Runner, change: &dyn Fn(&mut Self)| {
            worlds.push(self.with(|world| {
                world.runners[at] = to;
                change(world);
            }));
        };
        let runner = self.runners[at];
        if runner.lives() {
            go(Runner::Dead, &|_| {});
        }
        if who == Who::First && matches!(runner, Runner::Working | Runner::Posting) {
            go(Runner::Frozen { decided: runner == Runner::Posting }, &|_| {});
        }
        match runner {
            Runner::NotStarted if who == Who::First => {}
            Runner::NotStarted => {
                // It started at the same moment: when it asked, the first one had no guardian yet.
                go(Runner::Guarding { is_offered: false }, &|_| {});
                if self.place == Some(Who::First) {
                    go(Runner::Asking, &|world| world.knocks = true);
                }
            }
            Runner::Asking => match self.answers.front() {
                Some(Answer::Wait) => go(Runner::Asking, &|world| {
                    world.answers.pop_front();
                }),
                Some(Answer::Yours) => go(Runner::Guarding { is_offered: true }, &|world| {
                    world.answers.pop_front();
                }),
                Some(Answer::Busy | Answer::Armed | Answer::Occupied) => {
                    go(Runner::Ended, &|world| world.facts.found_busy = true);
                }
                // After `Wait` the run counts as reported; else no one is there. Both are possible for what was lost.
                None if self.is_hung_up => {
                    go(Runner::Guarding { is_offered: false }, &|_| {});
                    go(Runner::Ended, &|world| world.facts.found_busy = true);
                }
                None => {}
            },
            // The name is the lock: its guardian cannot have it, so it asks the other one.
            Runner::Guarding { is_offered: false } if self.place == Some(Who::First) => {
                go(Runner::Asking, &|world| (world.knocks, world.is_hung_up) = (true, false));
            }
            Runner::Guarding { is_offered } => {
                let then = if is_offered { Runner::Taking } else { Runner::Working };
                go(then, &|world| world.start_guardian(who));
            }
            Runner::Taking => go(Runner::Working, &|world| (world.taken, world.facts.took) = (world.is_asker, true)),
            Runner::Working => {
                go(Runner::Deciding, &|world| world.says(who, RunnerWord::IfSilent(Told::Silence(who))));
            }
            Runner::Deciding => go(Runner::Posting, &|world| {
                world.says(who, RunnerWord::Outcome(Told::Outcome(who)));
                world.facts.decided[at] = true;
            }),
            Runner::Posting => {
                go(Runner::Posted, &|_| {});
                // The service is away for as long as the runner tries: the rest is the guardian's.
                go(Runner::Ended, &|_| {});
            }
            Runner::Posted => {
                let reach = |world: &mut Self| world.reach(Told::Outcome(who));
                go(Runner::Settling, &reach);
                // Its answer is lost.
                go(Runner::Ended, &reach);
                go(Runner::Dead, &reach);
            }
            Runner::Settling => go(Runner::Ended, &|world| world.says(who, RunnerWord::Settled)),
            Runner::Frozen { decided } => go(if decided { Runner::Posting } else { Runner::Working }, &|_| {}),
            Runner::Ended | Runner::Dead => {}
        }
    }

    fn next_of_guardian(&self, who: Who, base: Instant, rules: Rules, worlds: &mut Vec<Self>) {
        let at = index(who);
        let Some(guardian) = self.guardians[at].as_ref().filter(|guardian| guardian.state == Life::Alive) else {
            return;
        };
        let mut go = |change: &dyn Fn(&mut Self)| worlds.push(self.with(change));
        if rules.guardians_die {
            go(&|world| world.gone(who, Life::Killed));
        }
        let has_line = guardian.delivery == Delivery::None;
        if let Some(word) = guardian.line.front().filter(|_| has_line) {
            let word = word.clone();
            go(&|world| {
                if let Some(guardian) = world.guardian(who) {
                    guardian.line.pop_front();
                }
                world.input(who, Input::Said(word.clone()), base);
            });
        } else if has_line && !self.runners[at].lives() && !guardian.knows_end {
            go(&|world| {
                if let Some(guardian) = world.guardian(who) {
                    guardian.knows_end = true;
                }
                world.input(who, Input::RunnerEnded, base);
            });
        }
        if who == Who::First {
            let asker_lives = self.runners[1].lives();
            if self.knocks && !self.is_asker {
                go(&|world| {
                    (world.knocks, world.is_asker) = (false, true);
                    world.input(who, Input::Asked, base);
                });
            }
            if self.is_asker && self.taken {
                go(&|world| {
                    world.taken = false;
                    world.input(who, Input::Taken, base);
                });
            } else if self.is_asker && !asker_lives {
                go(&|world| world.input(who, Input::Withdrew, base));
            }
        }
        if let Some(deadline) = guardian.machine.deadline() {
            let is_offered = matches!(guardian.machine.state, State::Offered { .. });
            // What is there to be heard comes first.
            let is_ended = !self.runners[at].lives() && !guardian.knows_end;
            let is_asked = who == Who::First && (self.taken || (self.knocks && !self.is_asker));
            let is_quiet = guardian.line.is_empty() && !is_ended && !is_asked;
            // The others do what they have to do in time.
            let is_in_time =
                deadline > base + 5 * Duration::from_secs(1) && !matches!(self.runners[at], Runner::Frozen { .. });
            if is_quiet && !is_in_time && (!is_offered || rules.slow || !self.runners[1].lives()) {
                go(&|world| world.input(who, Input::Deadline, deadline));
            }
        }
        Self::next_of_delivery(who, guardian, base, &mut go);
    }

    fn next_of_delivery(who: Who, guardian: &Guardian, base: Instant, go: &mut impl FnMut(&dyn Fn(&mut Self))) {
        let set = |world: &mut Self, delivery: Delivery, progress: Progress, is_fault: bool| {
            if let Some(guardian) = world.guardian(who) {
                (guardian.delivery, guardian.progress) = (delivery, progress);
                guardian.faults -= u8::from(is_fault);
            }
        };
        match guardian.delivery {
            Delivery::Between(_) if guardian.is_paused => {}
            Delivery::Between(told) => {
                if guardian.wants_pause {
                    let known = guardian.progress;
                    go(&|world| {
                        if let Some(guardian) = world.guardian(who) {
                            (guardian.wants_pause, guardian.is_paused) = (false, true);
                        }
                        world.input(who, Input::Paused(known), base);
                    });
                }
                go(&|world| {
                    world.facts.late_attempt |= who == Who::First && world.facts.took;
                    set(world, Delivery::UnderWay(told), guardian.progress, false);
                });
            }
            Delivery::UnderWay(told) => {
                if guardian.faults > 0 {
                    // Refused for now.
                    go(&|world| set(world, Delivery::Between(told), guardian.progress, true));
                    // Accepted, and the answer is lost.
                    go(&|world| {
                        world.reach(told);
                        set(world, Delivery::Between(told), Progress::Unknown, true);
                    });
                }
                go(&|world| {
                    world.reach(told);
                    set(world, Delivery::Over, Progress::Unknown, false);
                    world.input(who, Input::DeliveryEnded, base);
                });
            }
            Delivery::None | Delivery::Over => {}
        }
    }

    /// What holds at every moment.
    fn is_sound(&self, rules: Rules) {
        let Facts { wrong_offer, late_attempt, .. } = self.facts;
        assert!(!wrong_offer, "a run is offered that is not free: {self:#?}");
        assert!(rules.slow || !late_attempt, "the first guardian delivers a run that is not its own: {self:#?}");
        let is_guarded = self.guardians.iter().flatten().all(|guardian| guardian.state != Life::Killed);
        let both_work = self.runners.iter().all(|runner| runner.works());
        assert!(!both_work || !is_guarded || self.accepted.is_some(), "two runners work on one run: {self:#?}");
    }

    /// What holds when nothing can happen any more.
    fn is_sound_at_the_end(&self, rules: Rules) {
        let Facts { took, found_busy, .. } = self.facts;
        let killed =
            |who: Who| self.guardians[index(who)].as_ref().is_some_and(|guardian| guardian.state == Life::Killed);
        let any_killed = killed(Who::First) || killed(Who::Second);
        let waits = self.guardians.iter().flatten().any(|guardian| guardian.state == Life::Alive);
        assert!(!waits, "a guardian stays for ever: {self:#?}");
        assert!(any_killed || self.accepted.is_some(), "an outcome is lost: {self:#?}");
        if any_killed || rules.slow {
            return;
        }
        let [first, second] = self.facts.decided;
        if self.reached.first() == Some(&Told::Frozen(Who::First)) {
            // Reported before it could decide. What it decides afterwards is answered with 409.
            assert!(!took, "a frozen run is not offered: {self:#?}");
        } else if first {
            assert_eq!(self.accepted, Some(Told::Outcome(Who::First)), "a decided outcome is lost: {self:#?}");
        } else if took && second {
            assert_eq!(self.accepted, Some(Told::Outcome(Who::Second)), "a decided outcome is lost: {self:#?}");
        }
        assert!(!(found_busy && second), "{self:#?}");
        if took {
            let others = self.reached.iter().filter(|told| matches!(told, Told::Silence(Who::First)));
            assert_eq!(others.count(), 0, "two guardians deliver: {self:#?}");
        }
    }
}

/// Visits every world that can come about; how many there are.
fn explore(rules: Rules) -> usize {
    let base = Instant::now();
    let mut seen = HashSet::new();
    let mut waiting = vec![World::new()];
    while let Some(world) = waiting.pop() {
        if !seen.insert(world.clone()) {
            continue;
        }
        world.is_sound(rules);
        let next = world.next(base, rules);
        if next.is_empty() {
            world.is_sound_at_the_end(rules);
        }
        waiting.extend(next);
    }
    seen.len()
}

#[test]
fn in_any_order_of_deaths_the_outcome_is_delivered_by_one_and_never_overtaken() {
    let worlds = explore(Rules { slow: false, guardians_die: false });
    assert!(worlds > 1_000, "{worlds}");
}

#[test]
fn an_outcome_is_lost_only_with_a_guardian() {
    let worlds = explore(Rules { slow: false, guardians_die: true });
    assert!(worlds > 10_000, "{worlds}");
}

#[test]
fn a_new_runner_that_is_too_slow_loses_no_outcome() {
    explore(Rules { slow: true, guardians_die: false });
}

//! The guardian's own process: waits without a runtime, without memory to speak of and without CPU; delivers when it must.
//!
//! Drives the state machine of [`handover`](super::handover): the runner's line, the place where new runners ask, the clock and
//! the delivery are its inputs.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::SigSet;
use openhands_client::automation::callback::{Callback, Progress};
use openhands_client::automation::notice;
use openhands_client::http::Http;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::handover::{Action, Handover, Input, Patience, RunnerWord};
use super::line::{Heard, Line};
use super::proof::RunKey;
use super::protocol::{Answer, GuardianConfig, LastWill, Message, send};
use super::rendezvous::{Asker, Rendezvous};
use crate::input::time_limits::GuardianLimits;
use crate::process::footprint::give_back_code;
use crate::run_folder;

/// Is the guardian: to be called first thing in a process that was started as [`NAME`](super::NAME). Returns when there is nothing left
/// to do.
pub(crate) fn guard() {
    leave_everything();
    let Ok(line) = io::stdin().as_fd().try_clone_to_owned() else { return };
    let mut line = Line::new(UnixStream::from(line));
    let Some(Message::GuardianConfig(config, if_silent)) = line.first() else { return };
    let GuardianLimits { dying, taking, .. } = GuardianLimits::default();
    let handover = Handover::new(
        Patience { dying, grace: config.grace, taking, frozen: config.frozen, undelivered: config.undelivered },
        if_silent,
    );
    let mut guardian = GuardianProcess { handover, place: None, asker: None, key: config.run_key(), folder: None };
    let is_occupied = guardian.open_place().is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    // A runner that is dead already needs no answer, but a report. One that does not want a guardian without the name says that
    // the run is settled.
    let _ = send(line.stream(), if is_occupied { &Answer::Occupied } else { &Answer::Armed });
    give_back_code();
    if let Some(will) = guardian.watch(line) {
        guardian.end_folder(&will.record);
        guardian.deliver(&config, &will);
    }
}

/// Cuts every tie to the runner, its process group and its sandbox: a group's signals, a terminal's hang-up, open files and
/// the working directory.
fn leave_everything() {
    // What fails here is one tie more, not a reason to leave the run alone.
    let _ = rustix::process::setsid();
    let _ = SigSet::all().thread_block();
    // Before the next call, which takes away the right to do it in /proc.
    let _ = nix::sys::prctl::set_name(c"openhands-guardian");
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let _ = std::env::set_current_dir("/");
    for descriptor in open_descriptors() {
        if descriptor > 2 {
            let _ = nix::unistd::close(descriptor);
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The state machine and what it works with.
struct GuardianProcess {
    handover: Handover<LastWill>,
    /// Where new runners of the run ask, if they can.
    place: Option<Rendezvous>,
    /// The new runner that is being answered.
    asker: Option<Asker>,
    /// Nothing for a run without a name.
    key: Option<RunKey>,
    /// The run folder, if the run has one.
    folder: Option<PathBuf>,
}

/// What is left for the driver to do of an action.
enum Driven {
    Done,
    Deliver(Box<LastWill>),
    Pause,
    Resume,
    End,
}

impl GuardianProcess {
    /// Fails where another guardian of the run, or a stranger, has it; then no one can ask us.
    fn open_place(&mut self) -> io::Result<()> {
        self.place = self.key.clone().map(Rendezvous::open).transpose()?;
        Ok(())
    }

    /// Accepts a new runner that asks. The next one waits until this one is answered.
    fn accept(&mut self) -> Option<Input<LastWill>> {
        self.asker = self.place.as_ref()?.accept();
        self.asker.as_ref().map(|_| Input::Asked)
    }

    /// What the new runner says, as far as it means something.
    fn hear_asker(&self) -> Option<Input<LastWill>> {
        Some(if self.asker.as_ref()?.has_taken() { Input::Taken } else { Input::Withdrew })
    }

    fn perform(&mut self, action: Action<LastWill>) -> Driven {
        match action {
            Action::Answer(answer) => {
                if let Some(asker) = &self.asker {
                    asker.answer(answer);
                }
                if answer == Answer::Busy {
                    self.asker = None;
                }
            }
            Action::Dismiss => self.asker = None,
            Action::ClosePlace => self.place = None,
            Action::OpenPlace => drop(self.open_place()),
            Action::EndGroups(groups) => end_groups(&groups),
            Action::Deliver(report) => return Driven::Deliver(Box::new(report)),
            Action::Pause => return Driven::Pause,
            Action::Resume => return Driven::Resume,
            Action::End => return Driven::End,
        }
        Driven::Done
    }

    /// Watches the runner to its end, and waits for a new one. Gives what is to be delivered then, if anything.
    fn watch(&mut self, mut line: Line) -> Option<LastWill> {
        loop {
            let Some(input) = self.next_input(&mut line) else { continue };
            if matches!(input, Input::RunnerEnded) {
                super::show_end_of_runner();
            }
            for action in self.handover.step(input, Instant::now()) {
                match self.perform(action) {
                    Driven::Deliver(report) => return Some(*report),
                    Driven::End => return None,
                    Driven::Done | Driven::Pause | Driven::Resume => {}
                }
            }
            give_back_code();
        }
    }

    /// Waits for what happens next. What the runner says comes before what others ask.
    fn next_input(&mut self, line: &mut Line) -> Option<Input<LastWill>> {
        match line.unread() {
            Some(Heard::Message(message)) => {
                if let Message::Folder(folder) = *message {
                    self.folder = Some(folder);
                    return None;
                }
                return RunnerWord::of(*message).map(Input::Said);
            }
            Some(Heard::End) => return Some(Input::RunnerEnded),
            None => {}
        }
        let left = self.handover.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut descriptors = Vec::with_capacity(2);
        descriptors.extend((!line.is_closed()).then(|| PollFd::new(line.stream(), PollFlags::IN)));
        let of_runner = descriptors.len();
        match (&self.asker, &self.place) {
            (Some(asker), _) => descriptors.push(PollFd::new(asker.stream(), PollFlags::IN)),
            (None, Some(place)) => descriptors.push(PollFd::new(place.listener(), PollFlags::IN)),
            (None, None) => {}
        }
        poll(&mut descriptors, left.map(timespec).as_ref()).ok()?;
        let is_ready = |range: &[PollFd<'_>]| range.iter().any(|descriptor| !descriptor.revents().is_empty());
        let (runner, others) = (is_ready(&descriptors[..of_runner]), is_ready(&descriptors[of_runner..]));
        if runner {
            line.read();
            None
        } else if !others {
            // What is there to be heard comes before the clock.
            left.is_some_and(|left| left.is_zero()).then_some(Input::Deadline)
        } else if self.asker.is_some() {
            self.hear_asker()
        } else {
            self.accept()
        }
    }

    /// Ends the run folder of a runner that has not. A new runner that takes the run later takes that end out.
    fn end_folder(&self, record: &str) {
        if let Some(folder) = &self.folder {
            // No one is left to tell.
            let _ = run_folder::conclude(folder, record);
        }
    }

    /// Delivers the report and the notices, unless a new runner takes the run between two attempts at the report.
    fn deliver(mut self, config: &GuardianConfig, will: &LastWill) {
        let report = config.url().zip(will.report.as_ref());
        if report.is_none() && will.notices.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (http, _) = Http::lenient(&config.network(), config.time_limits());
            let key = config.key();
            let progress = Arc::new(Mutex::new(Progress::default()));
            let delivery = async {
                // No one is left to tell how it went.
                if let Some((url, report)) = report {
                    let callback = Callback { http: &http, url, key: key.as_ref(), budget: config.budget };
                    let _ = callback.deliver_unless_left(report, &progress).await;
                }
                if !will.notices.is_empty() {
                    // Told to people, the run is not a new runner's any more.
                    *progress.lock().await = Progress::Unknown;
                    let told = will.notices.iter().map(|to| notice::deliver(&http, &to.url, &to.body, config.budget));
                    join_all(told).await;
                }
            };
            self.attend(delivery, &progress).await;
        });
        // Looking up a name may take longer than we have.
        runtime.shutdown_background();
    }

    /// Answers new runners while the delivery is under way, to its end or to theirs.
    async fn attend(&mut self, delivery: impl Future<Output = ()>, progress: &Arc<Mutex<Progress>>) {
        tokio::pin!(delivery);
        let mut is_delivering = true;
        let mut pausing = false;
        // Held, it keeps the delivery from beginning an attempt.
        let mut pause: Option<OwnedMutexGuard<Progress>> = None;
        loop {
            let deadline = self.handover.deadline().map(tokio::time::Instant::from_std);
            let input = tokio::select! {
                biased;
                // What is there to be heard comes before the clock.
                () = spoken(self.asker.as_ref()) => self.hear_asker(),
                () = &mut delivery, if is_delivering => {
                    is_delivering = false;
                    Some(Input::DeliveryEnded)
                }
                held = Arc::clone(progress).lock_owned(), if pausing => {
                    pausing = false;
                    let known = *held;
                    pause = Some(held);
                    Some(Input::Paused(known))
                }
                asker = asker(self.place.as_ref()), if self.asker.is_none() => {
                    self.asker = asker;
                    self.asker.as_ref().map(|_| Input::Asked)
                }
                () = at(deadline) => Some(Input::Deadline),
            };
            let Some(input) = input else { continue };
            for action in self.handover.step(input, Instant::now()) {
                match self.perform(action) {
                    Driven::Done | Driven::Deliver(_) => {}
                    Driven::Pause => pausing = true,
                    Driven::Resume => {
                        pausing = false;
                        drop(pause.take());
                    }
                    Driven::End => return,
                }
            }
        }
    }
}

async fn spoken(asker: Option<&Asker>) {
    match asker {
        Some(asker) => asker.spoken().await,
        None => std::future::pending().await,
    }
}

async fn asker(place: Option<&Rendezvous>) -> Option<Asker> {
    match place {
        Some(place) => place.asker().await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn end_groups(groups: &[u32]) {
    for group in groups {
        if let Some(group) = i32::try_from(*group).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

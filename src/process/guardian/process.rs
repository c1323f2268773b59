//! The guardian's own process: waits without a runtime, without memory to speak of and without CPU; delivers when it must.

use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use openhands_client::automation::callback::{Callback, Progress};
use openhands_client::automation::completion::CompletionReport;
use openhands_client::http::Http;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Mutex;

use super::footprint::give_back_code;
use super::protocol::{ARMED, GuardianConfig, Message};
use super::rendezvous::{Asker, Rendezvous};
use crate::input::time_limits::GuardianLimits;

/// Is the guardian: to be called first thing in a process that was started as [`NAME`](super::NAME). Returns when there is nothing left
/// to do.
pub(crate) fn guard() {
    leave_everything();
    let Ok(line) = std::io::stdin().as_fd().try_clone_to_owned() else { return };
    let mut line = Line { stream: UnixStream::from(line), unread: Vec::new(), closed: false };
    let Some(Message::GuardianConfig(config, if_silent)) = line.next(None) else { return };
    let place = Place::of(config.run_id.clone());
    // A runner that is dead already needs no answer, but a report.
    let _ = std::io::Write::write_all(&mut &line.stream, ARMED);
    give_back_code();
    match watch(&mut line, place, config.grace, if_silent) {
        Left::Nothing => {}
        Left::Outcome(report) => deliver(&config, &report, None),
        Left::Silence(report, place) => deliver(&config, &report, Some(place)),
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

/// Where a new runner of the run is met, if it can be.
struct Place {
    run_id: Option<String>,
    open: Option<Rendezvous>,
    limits: GuardianLimits,
}

impl Place {
    fn of(run_id: Option<String>) -> Self {
        let mut place = Self { run_id, open: None, limits: GuardianLimits::default() };
        place.reopen();
        place
    }

    /// Fails where another guardian of the run has it; then nobody can ask us.
    fn reopen(&mut self) {
        self.open = self.run_id.as_deref().and_then(|run| Rendezvous::open(run).ok());
    }

    /// Whether the run was left to this asker.
    fn left_to(&mut self, asker: Asker) -> bool {
        let taken = self.open.take().is_some_and(|open| asker.yours(open, self.limits.taking));
        if !taken {
            self.reopen();
        }
        taken
    }
}

fn open_descriptors() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What a runner has left to deliver.
enum Left {
    Nothing,
    Outcome(CompletionReport),
    /// It ended without a word. A new runner may know better, as long as nothing is accepted.
    Silence(CompletionReport, Place),
}

/// Watches the runner to its end.
fn watch(line: &mut Line, mut place: Place, grace: Duration, if_silent: CompletionReport) -> Left {
    let mut last_words = LastWords { outcome: None, if_silent, settled: false, groups: Vec::new() };
    while !line.closed {
        if let Some(message) = line.next(place.open.as_ref()) {
            last_words.hear(message);
            if last_words.settled && last_words.groups.is_empty() {
                return Left::Nothing;
            }
            give_back_code();
            continue;
        }
        // The end of the line, or somebody who asks for the run; then the runner may be dying at this moment.
        if let Some(asker) = place.open.as_ref().filter(|_| !line.closed).and_then(Rendezvous::accept) {
            while let Some(message) = line.next_within(place.limits.dying) {
                last_words.hear(message);
            }
            if last_words.settled {
                // Reported: the asker finds nobody.
            } else if !line.closed || last_words.outcome.is_some() {
                asker.busy();
            } else {
                last_words.end_groups();
                if place.left_to(asker) {
                    return Left::Nothing;
                }
            }
        }
    }
    super::show_end_of_runner();
    last_words.end_groups();
    match last_words.outcome {
        _ if last_words.settled => Left::Nothing,
        Some(outcome) => Left::Outcome(outcome),
        None if taken_over_within(&mut place, grace, || Some(())).is_some() => Left::Nothing,
        None => Left::Silence(last_words.if_silent, place),
    }
}

/// Waits for a new runner of the run that takes it over. `may_be_left` gives what is held from then on, and nothing where the
/// run has to stay.
fn taken_over_within<T>(place: &mut Place, grace: Duration, may_be_left: impl Fn() -> Option<T>) -> Option<T> {
    let until = Instant::now().checked_add(grace);
    loop {
        let (Some(open), Some(left)) =
            (&place.open, until.and_then(|until| until.checked_duration_since(Instant::now())))
        else {
            return None;
        };
        let mut descriptors = [PollFd::new(open.listener(), PollFlags::IN)];
        if poll(&mut descriptors, Some(&timespec(left))).is_ok_and(|ready| ready > 0)
            && let Some(mut asker) = open.accept()
        {
            asker.wait();
            match may_be_left() {
                None => asker.busy(),
                Some(held) if place.left_to(asker) => return Some(held),
                Some(_) => {}
            }
        }
    }
}

/// What the runner has said so far.
struct LastWords {
    outcome: Option<CompletionReport>,
    if_silent: CompletionReport,
    settled: bool,
    groups: Vec<u32>,
}

impl LastWords {
    fn hear(&mut self, message: Message) {
        match message {
            Message::Outcome(report) => self.outcome = Some(report),
            Message::IfSilent(report) => self.if_silent = report,
            Message::EndWithRunner(group) => self.groups.push(group),
            Message::Settled => self.settled = true,
            Message::GuardianConfig(..) => {}
        }
    }

    fn end_groups(&self) {
        for group in &self.groups {
            if let Some(group) = i32::try_from(*group).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The guardian's end of the line.
struct Line {
    stream: UnixStream,
    unread: Vec<u8>,
    /// The runner's end is closed: the runner is no more.
    closed: bool,
}

impl Line {
    /// Waits for the next message. `None` when the line is closed, or when somebody asks for the run at `place`.
    fn next(&mut self, place: Option<&Rendezvous>) -> Option<Message> {
        loop {
            if let Some(message) = self.unread_message() {
                return Some(message);
            }
            if self.closed {
                return None;
            }
            let mut descriptors = vec![PollFd::new(&self.stream, PollFlags::IN)];
            descriptors.extend(place.map(|place| PollFd::new(place.listener(), PollFlags::IN)));
            if poll(&mut descriptors, None).is_err() {
                continue;
            }
            // What the runner says comes before what others ask.
            if descriptors[0].revents().is_empty() {
                return None;
            }
            self.read();
        }
    }

    /// The next message, if it or the end of the line comes within this time.
    fn next_within(&mut self, limit: Duration) -> Option<Message> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(message) = self.unread_message() {
                return Some(message);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if self.closed {
                return None;
            }
            let mut descriptors = [PollFd::new(&self.stream, PollFlags::IN)];
            if poll(&mut descriptors, Some(&timespec(left))).is_ok_and(|ready| ready > 0) {
                self.read();
            }
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => self.closed = true,
        }
    }

    /// A half-written line is no message: the runner died while it wrote.
    fn unread_message(&mut self) -> Option<Message> {
        loop {
            let end = self.unread.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            if let Ok(message) = serde_json::from_slice(&line) {
                return Some(message);
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

fn deliver(config: &GuardianConfig, report: &CompletionReport, place: Option<Place>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let (http, _) = Http::lenient(&config.network(), config.time_limits());
        let key = config.key();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let callback = Callback { http: &http, url: config.url(), key: key.as_ref(), budget: config.budget };
        tokio::select! {
            // Nobody is left to tell how it went.
            _ = callback.deliver_unless_left(report, &progress) => {}
            () = taken_over(place, config.budget, &progress) => {}
        }
    });
    // Somebody may still be waited for.
    runtime.shutdown_background();
}

/// Ends when a new runner has taken the run over, between two attempts to report it; never, where none can ask.
async fn taken_over(place: Option<Place>, limit: Duration, progress: &Arc<Mutex<Progress>>) {
    if let Some(mut place) = place {
        let progress = Arc::clone(progress);
        let unreported =
            move || Some(progress.clone().blocking_lock_owned()).filter(|known| **known == Progress::Nothing);
        let waiting = tokio::task::spawn_blocking(move || taken_over_within(&mut place, limit, unreported));
        if let Ok(Some(_held)) = waiting.await {
            return;
        }
    }
    std::future::pending::<()>().await;
}

//! A process of a user without rights that looks for keys in every process of the machine that lets it, as an agent could.
//!
//! It is the test binary once more, as a test of its own: [`hunt`]. It looks into environments, command lines, memory and open files,
//! and tries to attach to processes as a debugger does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::ptrace;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::asked;
use super::run::copy_program;

/// The user of the hunter, and of what it hunts. No other test has it: what they start hides less.
pub const USER: u32 = 61_184;

/// In each place of a process that hides nothing: a hunter that does not find it there finds nothing at all.
const PLANTED: &str = "planted-key-of-the-test";
/// The program of that process.
const PLANTED_NAME: &str = "sleep";

/// What the hunter is asked to look for, with commas between.
const KEYS: &str = "HUNT_FOR_KEYS";

/// A hunter at work.
pub struct Hunter {
    child: Child,
    output: BufReader<ChildStdout>,
    planted: Child,
    /// The lines that it has said so far.
    said: BTreeSet<String>,
    _folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Hunter {
    /// Starts a hunter for these keys; it is at work when this returns.
    pub fn start(keys: &[&str]) -> Self {
        // One at a time: a hunter gets its keys in its environment, where another one would find them.
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // Where every user may look.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("hunter");
        copy_program(&fs::read_link("/proc/self/exe").unwrap(), &program);
        let file = folder.path().join("planted");
        fs::write(&file, PLANTED).unwrap();
        let planted = Command::new(PLANTED_NAME)
            .arg0(PLANTED)
            .arg("3600")
            .env("KEY", PLANTED)
            .uid(USER)
            .gid(USER)
            .stdin(File::open(file).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = Command::new(&program)
            .args(["--exact", "key_search::the_hunter_itself", "--nocapture", "--test-threads", "2"])
            .env(KEYS, keys.join(","))
            .current_dir("/")
            .uid(USER)
            .gid(USER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut hunter = Self { child, output, planted, said: BTreeSet::new(), _folder: folder, _turn: turn };
        hunter.has_tried(&[Pid::from_raw(hunter.planted.id().try_into().unwrap())]);
        hunter
    }

    /// Until it has tried to attach to these processes, and to look into them.
    pub fn has_tried(&mut self, pids: &[Pid]) {
        let lines = pids.iter().map(|pid| format!("tried {pid}"));
        let mut missing: BTreeSet<String> = lines.filter(|line| !self.said.contains(line)).collect();
        while !missing.is_empty() {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the hunter has ended: {:?}", self.said);
            missing.remove(line.trim_end());
            self.said.insert(line.trim_end().to_owned());
        }
    }

    /// Ends the hunt. Gives what was found of the keys; that it finds the planted one in each way is checked.
    pub fn findings(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.output.by_ref().lines().map(Result::unwrap));
        let (planted, keys): (Vec<&str>, Vec<&str>) =
            said.iter().filter_map(|line| line.strip_prefix("found ")).partition(|line| line.contains(PLANTED));
        for place in ["environ", "cmdline", "mem", "file"] {
            assert!(planted.iter().any(|line| line.starts_with(place)), "the hunter finds nothing: {said:?}");
        }
        let attached: Vec<&str> =
            said.iter().filter(|line| line.starts_with("attached ")).map(String::as_str).collect();
        assert!(
            attached.contains(&&*format!("attached {} {PLANTED_NAME}", self.planted.id())),
            "the hunter attaches to nothing: {said:?}"
        );
        // Another hunter may have planted one too.
        let attached = attached.into_iter().filter(|line| !line.ends_with(PLANTED_NAME));
        keys.into_iter().chain(attached).map(str::to_owned).collect()
    }
}

impl Drop for Hunter {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.planted] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a hunter does until its standard input ends, in a process that was started as one.
pub fn hunt() {
    let Some(keys) = asked::variable(KEYS) else { return };
    let keys: Vec<&str> = keys.split(',').chain([PLANTED]).collect();
    let (is_over, said) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let say = |line: String| {
        if said.lock().unwrap().insert(line.clone()) {
            println!("{line}");
        }
    };
    let search = |place: &str, pid: Pid, bytes: &[u8]| {
        for key in keys.iter().filter(|key| holds(bytes, key.as_bytes())) {
            say(format!("found {place} {pid} {} {key}", name(pid)));
        }
    };
    std::thread::scope(|scope| {
        // New processes show the most in their first moments.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for pid in others() {
                    search("environ", pid, &fs::read(format!("/proc/{pid}/environ")).unwrap_or_default());
                    search("cmdline", pid, &fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
                }
            }
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for pid in others() {
                    attach(pid, &say);
                    look_into(pid, &search);
                    say(format!("tried {pid}"));
                }
            }
        });
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        is_over.store(true, Ordering::Relaxed);
    });
}

/// All processes but hunters.
fn others() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| name(*pid) != "hunter").collect()
}

fn name(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn holds(bytes: &[u8], key: &[u8]) -> bool {
    bytes.windows(key.len()).any(|window| window == key)
}

/// Becomes the tracer of a process, without stopping it, for a moment.
fn attach(pid: Pid, say: &impl Fn(String)) {
    if ptrace::seize(pid, ptrace::Options::empty()).is_ok() {
        say(format!("attached {pid} {}", name(pid)));
        let _ = ptrace::interrupt(pid);
        let _ = nix::sys::wait::waitpid(pid, None);
        let _ = ptrace::detach(pid, None);
    }
}

/// Reads the writable memory and the open files of a process.
fn look_into(pid: Pid, search: &impl Fn(&str, Pid, &[u8])) {
    /// Of one piece of memory, and of one file.
    const MOST: usize = 4 * 1024 * 1024;
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        // Another end of a pipe or a terminal could make us wait.
        if entry.path().metadata().is_ok_and(|there| there.is_file()) {
            let mut bytes = Vec::new();
            let _ = File::open(entry.path()).and_then(|file| file.take(MOST as u64).read_to_end(&mut bytes));
            search("file", pid, &bytes);
        }
    }
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let ranges: BTreeMap<u64, u64> = maps.lines().filter(|line| line.contains(" rw")).filter_map(range).collect();
    for (start, end) in ranges {
        let mut bytes = vec![0; usize::try_from(end - start).unwrap().min(MOST)];
        let count = memory.read_at(&mut bytes, start).unwrap_or_default();
        search("mem", pid, &bytes[..count]);
    }
}

fn range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

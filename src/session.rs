//! Who started this process: the leader of its session, as `/proc` shows it.

use std::fs;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use nix::unistd::getsid;

/// The process that leads our session. A command of the agent-server runs in a session of its own, whose leader is the
/// command's shell, or this very process where the shell was replaced.
#[derive(Debug, Clone, Default)]
pub struct Leader {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// When it was started.
    pub started: Option<Timestamp>,
}

impl Leader {
    /// The leader of this process's session. What cannot be read is empty.
    #[must_use]
    pub fn of_process() -> Self {
        // 0 is a leader outside our PID namespace; a container's is.
        let Some(pid) = getsid(None).ok().filter(|pid| pid.as_raw() > 0) else { return Self::default() };
        let folder = format!("/proc/{pid}");
        let arguments = fs::read(format!("{folder}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        Self {
            arguments: arguments
                .split(|byte| *byte == 0)
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect(),
            started: age(&stat, &uptime, rustix::param::clock_ticks_per_second()).and_then(|age| {
                Timestamp::try_from(SystemTime::now()).ok()?.checked_sub(SignedDuration::try_from(age).ok()?).ok()
            }),
        }
    }
}

/// How long a process has lived: field 22 of its `stat` (proc(5)) against the first of `/proc/uptime`.
fn age(stat: &str, uptime: &str, ticks_per_second: u64) -> Option<Duration> {
    let started: u64 = stat_field(stat, 22)?.parse().ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "ticks since boot are far below 2^52")]
    let started = started as f64 / ticks_per_second as f64;
    Duration::try_from_secs_f64(uptime - started).ok()
}

/// A field of `/proc/<pid>/stat`, counted from 1 as in proc(5). The second, the program's name, may hold spaces and
/// parentheses; this reads those behind it.
#[must_use]
pub fn stat_field(stat: &str, number: usize) -> Option<&str> {
    let behind_name = &stat[stat.rfind(')')? + 1..];
    behind_name.split_whitespace().nth(number.checked_sub(3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat() -> String {
        let fields = (3..=52).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        format!("1 (a) b) c) {fields}")
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        assert_eq!(stat_field(&stat(), 3), Some("3"));
        assert_eq!(stat_field(&stat(), 50), Some("50"));
        assert_eq!(stat_field(&stat(), 53), None);
        assert_eq!(stat_field(&stat(), 1), None);
        assert_eq!(stat_field("odd", 3), None);
    }

    #[test]
    fn an_age_is_counted_from_boot() {
        assert_eq!(age(&stat(), "10.5 3.0", 2), None, "started at second 11");
        assert_eq!(age(&stat(), "12.5 3.0", 2), Some(Duration::from_millis(1500)));
        assert_eq!(age("", "12.5", 100), None);
    }

    #[test]
    fn our_leader_has_a_name_and_a_time() {
        let leader = Leader::of_process();
        assert!(!leader.arguments.is_empty());
        assert!(leader.started.unwrap() <= Timestamp::now());
    }
}

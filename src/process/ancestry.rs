//! Who started this process, as `/proc` shows it.

use std::fs;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// This process and those above it. A command of the agent-server runs in a shell, which is our ancestor, or was replaced
/// by us.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ancestry {
    /// The arguments of all of them.
    pub(crate) arguments: Vec<String>,
    /// When this process was started; what it replaced counts.
    pub(crate) started: Option<Timestamp>,
}

/// More than there is between a command's shell and us.
const MOST_ANCESTORS: usize = 16;

impl Ancestry {
    /// This process's. What cannot be read is missing.
    #[must_use]
    pub(crate) fn of_process() -> Self {
        let read = |path: String| fs::read(path).unwrap_or_default();
        let stat_of = |pid: &str| String::from_utf8_lossy(&read(format!("/proc/{pid}/stat"))).into_owned();
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let age = age(&stat_of("self"), &uptime, rustix::param::clock_ticks_per_second());
        let mut ancestry = Self { arguments: Vec::new(), started: age.and_then(ago) };
        let mut pid = "self".to_owned();
        for _ in 0..MOST_ANCESTORS {
            let arguments = read(format!("/proc/{pid}/cmdline"));
            let texts = arguments.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
            ancestry.arguments.extend(texts);
            match stat_field(&stat_of(&pid), 4) {
                // 0 is a parent outside our PID namespace.
                Some(parent) if parent != "0" => parent.clone_into(&mut pid),
                _ => break,
            }
        }
        ancestry
    }
}

fn ago(age: Duration) -> Option<Timestamp> {
    Timestamp::try_from(SystemTime::now()).ok()?.checked_sub(SignedDuration::try_from(age).ok()?).ok()
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
pub(crate) fn stat_field(stat: &str, number: usize) -> Option<&str> {
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
    fn our_own_arguments_and_those_above_are_known() {
        let ancestry = Ancestry::of_process();
        let own = std::env::args().next().unwrap();
        assert!(ancestry.arguments.contains(&own) && ancestry.arguments.len() > 2, "{ancestry:?}");
        assert!(ancestry.started.unwrap() <= Timestamp::now());
    }
}

//! Deadlines: the time at which something outside of the run ends it.

use jiff::{SignedDuration, Timestamp};

use crate::problem::shown;

/// Advice on how to write a deadline.
pub(super) const DEADLINE_HELP: &str =
    "write a time such as `2026-11-28T17:30:00Z`, or the seconds since 1970 (`date +%s`)";

/// Parses a deadline on the command line.
///
/// # Errors
/// What is wrong with it, and how to write one.
pub(crate) fn parse_deadline(text: &str) -> Result<Timestamp, String> {
    moment(text).ok_or_else(|| format!("{} is not a valid time: {DEADLINE_HELP}", shown(text)))
}

/// Parses a deadline in RFC 3339 or in seconds since 1970.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let of_epoch = || {
        let seconds = SignedDuration::try_from_secs_f64(text.parse().ok()?).ok()?;
        Timestamp::from_duration(seconds).ok()
    };
    // `1e9` and `inf` are numbers too, but not a valid time here.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { of_epoch() } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_with_its_offset_or_seconds_since_1970() {
        let moment: Timestamp = "2026-11-28T17:30:00Z".parse().unwrap();
        for text in ["2026-11-28T17:30:00Z", " 2026-11-28T18:30:00+01:00", "1795887000", "1795887000.0"] {
            assert_eq!(parse_deadline(text), Ok(moment), "{text}");
        }
        // Milliseconds, a time without an offset, and texts that are not a time.
        for text in ["1795887000000", "2026-11-28T17:30:00", "17:30", "30m", "-5", "inf", "1e9", ".", ""] {
            let error = parse_deadline(text).unwrap_err();
            assert!(error.contains("seconds since 1970"), "{error}");
        }
    }
}

//! The rows of a measurement, judged against their limits.

use std::process::ExitCode;
use std::time::Duration;

/// Prints rows, and remembers whether a value is over its limit.
#[derive(Debug, Default)]
pub(super) struct Rows {
    over: bool,
}

impl Rows {
    /// A value in this unit that has to be at most `limit`.
    pub(super) fn judge(&mut self, name: &str, value: f64, unit: Unit, limit: f64, note: &str) {
        let is_over = value > limit;
        self.over |= is_over;
        let verdict = if is_over { "OVER the limit of" } else { "limit" };
        println!("{name:34} {} ({verdict} {}) {note}", unit.show(value), unit.show(limit).trim());
    }

    /// A value without a limit.
    #[expect(clippy::unused_self, reason = "one way to print a row")]
    pub(super) fn show(&self, name: &str, value: f64, unit: Unit, note: &str) {
        println!("{name:34} {} {note}", unit.show(value));
    }

    /// 1 if a value is over its limit.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.over { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// How a value is printed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// Bytes, shown as millions of bytes.
    Megabytes,
    /// Milliseconds.
    Milliseconds,
    /// A plain number.
    Count,
    /// One value divided by another.
    Ratio,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Megabytes => format!("{:9.2} MB", value / 1e6),
            Self::Milliseconds => format!("{value:9.1} ms"),
            Self::Count => format!("{value:9.0}   "),
            Self::Ratio => format!("{value:9.2}   "),
        }
    }
}

/// A time for [`Unit::Milliseconds`].
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A number as a floating-point value.
#[expect(clippy::cast_precision_loss, reason = "sizes and counts here are far below 2^53")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

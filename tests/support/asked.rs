//! What the tests are asked for besides what they always do, in variables of their own.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code, of which benchmarks use a part"
)]

pub fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "an argument of the tests, not of the program")]
    std::env::var(name).ok()
}

/// How many runs, and a source of moments that can be repeated: `{kind}_SEED`.
pub fn moments_of(kind: &str, runs_name: &str, few: u64) -> (u64, fastrand::Rng) {
    let number = |name: &str| variable(name).map(|text| text.parse::<u64>().unwrap());
    let runs = number(runs_name).unwrap_or(few);
    let seed = number(&format!("{kind}_SEED")).unwrap_or_else(|| fastrand::u64(..10_000));
    println!("{runs_name}={runs} {kind}_SEED={seed}");
    (runs, fastrand::Rng::with_seed(seed))
}

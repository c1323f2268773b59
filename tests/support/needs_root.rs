//! The tests that need root, which `scripts/test` leaves out without it.

/// Their names, or the beginnings of their names.
const LISTED: &str = include_str!("../needs-root.txt");

/// Fails if this test needs root and is not listed: also as root, where it would pass.
#[track_caller]
pub fn is_listed() {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    assert!(
        LISTED.lines().any(|name| test.starts_with(name)),
        "{test} needs root: list it in tests/needs-root.txt, so that scripts/test can leave it out"
    );
}

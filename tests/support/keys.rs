//! The secrets of the tests, which nothing that leaves the runner may hold.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "support code, of which tests and benchmarks use different parts"
)]

/// Of every test's agent-server.
pub const SESSION: &str = "session-key-of-the-test";
/// Of every test's LLM.
pub const LLM: &str = "sk-key-of-the-test";
/// Of every test's account.
pub const CLOUD: &str = "cloud-api-key-of-the-test";

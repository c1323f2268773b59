//! Standard output, standard error and files that cannot be written.

use super::Work;
use crate::support::{AgentServer, NEWEST, Step, time_scale};

async fn completes(shell: &str) {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.llm.script("Do the task", [Step::finish("Done.")]);
    let finished = work.run(server).under(["bash", "-c", shell, "bash"]).finish().await;
    assert_eq!(finished.code, Some(0), "{shell}\n{}", finished.stderr);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED", "{shell}");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_no_run() {
    completes(r#"set -o pipefail; "$@" | head -1"#).await;
    completes(r#"set -o pipefail; "$@" 2>&1 >/dev/null | head -1"#).await;
}

#[tokio::test]
async fn closed_standard_streams_end_no_run() {
    completes(r#"exec "$@" >&- 2>&-"#).await;
    completes(r#"exec "$@" <&- >&- 2>&-"#).await;
}

#[tokio::test]
async fn a_full_device_ends_no_run() {
    completes(r#"exec "$@" >/dev/full 2>/dev/full"#).await;
}

/// A run whose output and result go to the folder `full`, which the script makes before it starts the run.
async fn completes_with_files_in<const N: usize>(shell: [&str; N]) {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.llm.script("Do the task", [Step::finish("Done.")]);
    let finished = work
        .run_without_arguments(server)
        .args(["run", "--format", "jsonl", "--result", "full/result.json"])
        .under(shell)
        .finish()
        .await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_full_disk_ends_no_run() {
    let script = r#"
        mkdir full && mount -t tmpfs -o size=64k none full && ! dd if=/dev/zero of=full/filler bs=4k 2>/dev/null || exit 99
        exec "$@" >full/stdout 2>full/stderr"#;
    completes_with_files_in(["unshare", "--mount", "bash", "-c", script, "bash"]).await;
}

#[tokio::test]
async fn a_limit_of_the_size_of_files_ends_no_run() {
    let script = r#"mkdir full && exec prlimit --fsize=64 "$@" >full/stdout 2>full/stderr"#;
    completes_with_files_in(["bash", "-c", script, "bash"]).await;
}

#[tokio::test]
async fn a_reader_that_stays_and_does_not_read_ends_no_run() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let lines = (0..35)
        .map(|number| Step::call("think", serde_json::json!({"thought": format!("{number}{}", "x".repeat(10_000))})));
    work.llm.script("Do the task", lines.chain([Step::finish("Done.")]));
    let (reader, writer) = std::io::pipe().unwrap();
    let run = work
        .run_without_arguments(server)
        .args(["run", "--format", "jsonl", "--result", "result.json"])
        .scaled(time_scale(0.1), ["slow_reader"])
        .command(|command| _ = command.stdout(writer));
    let finished = run.finish().await.exits_with(0).says("standard output is not read; the run continues without it");
    drop(reader);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert!(finished.path("result.json").exists());
}

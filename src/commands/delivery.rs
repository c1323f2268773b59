//! Waits for the outcome of a launched run that is still being delivered after the run has ended: without the sandbox it would be
//! lost.

use openhands_client::agent_server::AgentServer;
use tokio::time::{Instant, sleep, timeout};

use crate::input::time_limits::RunLimits;
use crate::process::guardian;

/// Waits until the guardian of the run that has ended in this sandbox has delivered what the run itself could not deliver.
pub(super) async fn await_delivery(server: &AgentServer, limits: &RunLimits) {
    let began = Instant::now();
    let mut seen = false;
    loop {
        match is_under_way(server).await {
            Some(false) => return,
            Some(true) if !seen => {
                let limit = limits.last_delivery.as_secs();
                tracing::info!("the run's outcome is still being delivered: waiting for that, at most {limit} s");
                seen = true;
            }
            Some(true) | None => {}
        }
        // If the sandbox does not respond, the wait is short.
        let limit = if seen { limits.last_delivery } else { server.client.time_limits().tidy_up };
        if began.elapsed() >= limit {
            return tracing::warn!("the run's outcome may be undelivered; deleting the sandbox anyway");
        }
        sleep(limits.delivery_poll).await;
    }
}

/// Returns whether a delivery is in progress; `None` if the sandbox does not respond.
async fn is_under_way(server: &AgentServer) -> Option<bool> {
    let (line, limit) = (look("/proc"), server.client.time_limits().tidy_up);
    let done = timeout(limit, server.client.execute(&line, limit)).await.ok()?.ok()?;
    match done.stdout().trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Returns a command line that checks for a guardian whose runner has ended. Other guardians belong to runs in progress, because
/// other sandboxes may share the processes of this one. Some sandboxes keep dead processes as zombies.
fn look(proc: &str) -> String {
    // The kernel stores 15 bytes of a name.
    let deliverer = &guardian::DELIVERER[..15];
    format!(
        "for process in {proc}/[0-9]*; do \
           read -r pid name state rest <$process/stat || continue; \
           [ \"$name\" != \"({deliverer})\" ] || [ \"$state\" = Z ] || {{ echo yes; exit; }}; \
         done 2>/dev/null; echo no"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_living_guardian_without_its_runner_delivers() {
        let orphan = ("30", "30 (openhands-deliv) S 1 30 30");
        let sleeper = ("31", "31 (sleep) S 1 31 31");
        let runner = ("20", "20 (openhands-runne) S 1 20 20");
        let of_a_run = ("21", "21 (openhands-guard) S 1 21 21");
        let zombie = ("32", "32 (openhands-deliv) Z 1 32 32");
        let odd = ("33", "33 (a ) (b) S 1 33 33");
        for (processes, expected) in [
            (&[][..], "no\n"),
            (&[runner, of_a_run, sleeper, zombie, odd], "no\n"),
            (&[runner, of_a_run, orphan], "yes\n"),
            (&[orphan], "yes\n"),
        ] {
            let proc = tempfile::tempdir().unwrap();
            for (pid, stat) in processes.iter().chain(&[("1", "1 (init) S 0 1 1")]) {
                let folder = proc.path().join(pid);
                std::fs::create_dir(&folder).unwrap();
                std::fs::write(folder.join("stat"), format!("{stat}\n")).unwrap();
                let name = &stat[stat.find('(').unwrap() + 1..stat.rfind(')').unwrap()];
                std::fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            }
            let line = look(proc.path().to_str().unwrap());
            let done = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
            assert_eq!(String::from_utf8(done.stdout).unwrap(), expected, "{processes:?}");
        }
    }
}

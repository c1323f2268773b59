//! The name of a run, which is the lock of the run: two runners, and strangers who have the name.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Stdio;

use futures_util::future::{Either, select};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::Work;
use crate::support::{AgentServer, NEWEST, Receiver, Run};

/// The name in the abstract namespace where the guardian of this run is asked.
fn name_of(run_id: &str) -> String {
    format!("openhands-runner/{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, run_id.as_bytes()))
}

#[tokio::test]
async fn of_two_runners_that_start_in_the_same_moment_one_runs() {
    let server = AgentServer::shared(NEWEST).await;
    for _ in 0..3 {
        let work = Work::on(server).await;
        work.hold_at("2");
        let [first, second] = [work.run(server).start(), work.run(server).start()];
        let (ended, other) = match select(Box::pin(first.finish()), Box::pin(second.finish())).await {
            Either::Left(ends) => ends,
            Either::Right((ended, other)) => (ended, other),
        };
        ended.exits_with(78).says("another runner works on run");
        work.let_go("2");
        other.await.exits_with(0);
        assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
        assert_eq!(work.receiver.callbacks().len(), 1);
    }
}

/// A run that fails at once, for want of an LLM, is reported as that.
async fn is_reported(receiver: &Receiver, run_id: &str) {
    Run::new().task("Do the task.").reports_to(receiver, run_id).finish().await.exits_with(78);
    assert_eq!(receiver.accepted()["error"]["code"], "InvalidInput");
}

/// A process of another user that listens under this name, and says this to every process that asks.
async fn stranger(name: &str, says: &str) -> Child {
    let listen = r#"
        $| = 1;
        my $name;
        socket($name, AF_UNIX, SOCK_STREAM, 0) && bind($name, pack_sockaddr_un("\0$ARGV[0]")) && listen($name, 8) or die $!;
        print "listening\n";
        while (accept(my $asker, $name)) { syswrite($asker, "$ARGV[1]\n") if $ARGV[1]; push(@kept, $asker) }"#;
    let mut stranger = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "perl", "-MSocket", "-e", listen, name, says])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(stranger.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("listening"));
    stranger
}

#[tokio::test]
async fn a_stranger_of_another_user_who_has_the_name_and_says_busy_keeps_no_run_from_its_outcome() {
    let (receiver, run_id) = (Receiver::start().await, Uuid::new_v4().to_string());
    let _stranger = stranger(&name_of(&run_id), "\"Busy\"").await;
    is_reported(&receiver, &run_id).await;
}

#[tokio::test]
async fn a_stranger_of_another_user_who_has_the_name_and_says_nothing_keeps_no_run_from_its_outcome() {
    let (receiver, run_id) = (Receiver::start().await, Uuid::new_v4().to_string());
    let _stranger = stranger(&name_of(&run_id), "").await;
    is_reported(&receiver, &run_id).await;
}

#[tokio::test]
async fn a_process_of_our_user_without_the_key_keeps_no_run_from_its_outcome() {
    let (receiver, run_id) = (Receiver::start().await, Uuid::new_v4().to_string());
    // It never accepts; its queue takes the first runner that asks.
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name_of(&run_id)).unwrap()).unwrap();
    is_reported(&receiver, &run_id).await;
}

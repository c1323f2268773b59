//! A real Slurm on one node, this machine: Debian's `slurm-wlm` with munge.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// The node registers at the controller within seconds.
const START: Duration = Duration::from_secs(120);

/// It ends when dropped, and when the test process ends in any way.
pub struct Slurm {
    folder: TempDir,
    _daemons: Child,
}

impl Slurm {
    pub async fn start() -> Self {
        super::needs_root::is_listed();
        let folder = tempfile::tempdir().unwrap();
        configure(folder.path());
        let daemons = Command::new("bash")
            .args(["-c", DAEMONS])
            .current_dir(folder.path())
            .env("SLURM_CONF", folder.path().join("slurm.conf"))
            // They end with this pipe, that is: with us.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let slurm = Self { folder, _daemons: daemons };
        let deadline = Instant::now() + START;
        loop {
            let nodes = slurm.command("sinfo").args(["--noheader", "--format", "%T"]).output().await.unwrap();
            if String::from_utf8_lossy(&nodes.stdout).contains("idle") {
                return slurm;
            }
            assert!(Instant::now() < deadline, "no node: {}", slurm.logs());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// One of its commands, with an empty environment.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("SLURM_CONF", self.folder.path().join("slurm.conf"));
        command.kill_on_drop(true);
        command
    }

    fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        ["munged.log", "slurmctld.log", "slurmd.log"].map(read).join("\n")
    }
}

/// Starts the daemons, and ends them at the end of standard input.
const DAEMONS: &str = "
munged --foreground --force --key-file=$PWD/munge.key --socket=$PWD/munge.socket --pid-file=$PWD/munged.pid \\
    --log-file=$PWD/munged.log --seed-file=$PWD/munged.seed </dev/null &
until [ -S munge.socket ]; do sleep 0.1; done
slurmctld -D -i </dev/null &
slurmd -D -N node </dev/null &
read -r _
scancel --user=root
for _ in $(seq 50); do [ -z \"$(squeue --noheader)\" ] && break; sleep 0.1; done
kill $(jobs -p)
wait
";

fn configure(folder: &Path) {
    let file = |name: &str| folder.join(name).display().to_string();
    for name in ["state", "spool"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    let key: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1024).collect();
    let key_file: PathBuf = folder.join("munge.key");
    std::fs::write(&key_file, key).unwrap();
    std::fs::set_permissions(key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let listeners = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let [controller, node] = listeners.map(|listener| listener.local_addr().unwrap().port());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let text = format!(
        "ClusterName=tests\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\n\
         AuthType=auth/munge\nAuthInfo=socket={}\nCredType=cred/munge\n\
         SlurmctldPort={controller}\nSlurmdPort={node}\n\
         SlurmctldPidFile={}\nSlurmdPidFile={}\nSlurmctldLogFile={}\nSlurmdLogFile={}\n\
         StateSaveLocation={}\nSlurmdSpoolDir={}\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\nSwitchType=switch/none\nMpiDefault=none\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nSlurmdParameters=config_overrides\n\
         NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
         PartitionName=main Nodes=node Default=YES MaxTime=INFINITE State=UP\n",
        file("munge.socket"),
        file("slurmctld.pid"),
        file("slurmd.pid"),
        file("slurmctld.log"),
        file("slurmd.log"),
        file("state"),
        file("spool"),
    );
    std::fs::write(folder.join("slurm.conf"), text).unwrap();
}

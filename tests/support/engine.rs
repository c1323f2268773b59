//! A real container engine: podman, with images from this machine's own files, because no registry may be reachable.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{NEWEST, ScriptedLlm, repository};

/// Containers share this machine's network with the servers of the tests, unless a test says otherwise.
pub struct Engine {
    /// Has the settings, and the command line below.
    folder: TempDir,
    /// An agent-server, whose files are volumes.
    pub server_image: String,
    /// What the Dockerfile makes.
    runner_image: OnceCell<String>,
}

/// Some machines do not let a container have more than these, which an engine sets for every container by itself.
const LIMITS: &str = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000";

impl Engine {
    /// The one that all tests share.
    pub async fn shared() -> &'static Self {
        static ENGINE: OnceCell<Engine> = OnceCell::const_new();
        ENGINE.get_or_init(async || Self::new()).await
    }

    fn new() -> Self {
        super::needs_root::is_listed();
        let folder = tempfile::tempdir().unwrap();
        let runtime = if Path::new("/usr/sbin/runc").exists() { "runc" } else { "crun" };
        std::fs::write(folder.path().join("containers.conf"), format!("[engine]\nruntime = \"{runtime}\"\n")).unwrap();
        // As a command line of docker: with the limits of this machine in place of those that are asked for.
        let script = format!(
            r#"#!/usr/bin/env bash
export CONTAINERS_CONF={}
[ "$1" = run ] || exec podman "$@"
arguments=()
for argument in "${{@:2}}"; do
    case $argument in
        --ulimit | nofile=65536:65536) ;;
        *) arguments+=("$argument") ;;
    esac
done
exec podman run {LIMITS} "${{arguments[@]}}"
"#,
            folder.path().join("containers.conf").display()
        );
        let engine = Self { server_image: name_of("agent-server"), runner_image: OnceCell::new(), folder };
        std::fs::write(engine.command_line(), script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(engine.command_line(), executable).unwrap();
        engine.build_server_image();
        engine
    }

    /// The program that stands in for the docker CLI.
    pub fn command_line(&self) -> PathBuf {
        self.folder.path().join("docker")
    }

    /// Runs a command of the engine; gives its output.
    pub fn call(&self, arguments: &[&str]) -> String {
        let done = self.output(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        Command::new(self.command_line()).args(arguments).output().unwrap()
    }

    /// Whether a container with this name exists.
    pub fn has(&self, container: &str) -> bool {
        self.output(&["container", "exists", container]).status.success()
    }

    fn build_server_image(&self) {
        let context = self.folder.path().join("server");
        std::fs::create_dir_all(context.join("root")).unwrap();
        for folder in ["usr", "tmp", "root", "proc", "sys", "dev", "etc", "run"] {
            std::fs::create_dir(context.join("root").join(folder)).unwrap();
        }
        for (link, to) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin")] {
            std::os::unix::fs::symlink(to, context.join("root").join(link)).unwrap();
        }
        let tar = Command::new("tar").args(["-cf", "root.tar", "-C", "root", "."]).current_dir(&context).status();
        assert!(tar.unwrap().success());
        let dockerfile = format!(
            "FROM scratch\nADD root.tar /\nENV PATH=/usr/bin:/bin HOME=/root TMPDIR=/tmp LANG=C.UTF-8 USER=root \
             LITELLM_LOCAL_MODEL_COST_MAP=True OH_PRELOAD_TOOLS=false OH_ENABLE_VSCODE=false OH_ENABLE_VNC=false\n\
             ENTRYPOINT [\"{}\", \"-m\", \"openhands.agent_server\"]\n",
            python().display()
        );
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        self.call(&["build", "--quiet", "--tag", &self.server_image, context.to_str().unwrap()]);
    }

    /// The image of the Dockerfile, with the static binary.
    pub async fn runner_image(&self) -> &str {
        let build = async || {
            super::release::Release::built().await;
            let name = name_of("runner");
            self.call(&["build", "--quiet", "--tag", &name, repository::file("").to_str().unwrap()]);
            name
        };
        self.runner_image.get_or_init(build).await
    }

    /// An LLM that a container can reach, at this address of the engine's network.
    pub async fn llm(&self) -> (ScriptedLlm, String) {
        let llm = ScriptedLlm::start_at("0.0.0.0", 0).await.unwrap();
        let gateway = self.call(&["network", "inspect", "podman", "--format", "{{(index .Subnets 0).Gateway}}"]);
        let url = llm.url().replace("0.0.0.0", &gateway);
        (llm, url)
    }

    /// `PATH` with the program that stands in for the docker CLI.
    pub fn path(&self) -> String {
        format!("{}:{}", self.folder.path().display(), env!("PATH"))
    }

    /// What a container of the server's image needs of this machine.
    pub fn volumes() -> Vec<String> {
        let python = python().canonicalize().unwrap();
        let environments = repository::file("target/python");
        let mut volumes = vec!["/usr:/usr:ro".to_owned()];
        for folder in [python.ancestors().nth(2).unwrap(), &environments, &environments.canonicalize().unwrap()] {
            let volume = format!("{0}:{0}:ro", folder.display());
            if !folder.starts_with("/usr") && !volumes.contains(&volume) {
                volumes.push(volume);
            }
        }
        volumes
    }
}

fn name_of(image: &str) -> String {
    // The same for each process, so that an image replaces that of the tests before.
    format!("localhost/openhands-runner-tests/{image}")
}

fn python() -> PathBuf {
    repository::file(format!("target/python/agent-server-{NEWEST}/bin/python"))
}

//! `install.sh` and the archives of a release.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::support::file_server::FileServer;
use crate::support::release::{Release, output, succeeds, without_rust};

/// Releases as a project's page has them: the newest one, and this one by its version.
pub struct Releases {
    folder: TempDir,
    server: FileServer,
}

impl Releases {
    pub async fn published() -> Self {
        let release = Release::built().await;
        let folder = tempfile::tempdir().unwrap();
        let server = FileServer::start(folder.path());
        for place in ["latest/download", &format!("download/v{}", env!("CARGO_PKG_VERSION"))] {
            let place = folder.path().join(place);
            std::fs::create_dir_all(&place).unwrap();
            for file in [release.archive(), release.archive().with_extension("gz.sha256")] {
                std::fs::copy(&file, place.join(file.file_name().unwrap())).unwrap();
            }
        }
        Self { folder, server }
    }

    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// Runs the script as `sh`, with nothing but this in its environment.
    async fn install(&self, home: &Path, arguments: &[&str]) -> Output {
        let script = Release::built().await.folder.join("install.sh");
        let mut command = without_rust("sh", home);
        command.arg(script).args(arguments).env("OPENHANDS_RUNNER_BASE_URL", self.url());
        output(command).await
    }
}

#[track_caller]
fn fails_with(output: &Output, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(words), "no \"{words}\" in:\n{stderr}");
}

#[track_caller]
fn installs(output: &Output, program: &Path) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.starts_with(&format!("installed openhands-runner {}", env!("CARGO_PKG_VERSION"))), "{stdout}");
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
}

/// What a folder has, hidden files too.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect());
    let entries: Vec<_> = entries.unwrap_or_default();
    entries.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn install_sh_installs_the_newest_release_and_it_runs() {
    let releases = Releases::published().await;
    let home = tempfile::tempdir().unwrap();
    let output = releases.install(home.path(), &[]).await;
    let folder = home.path().join(".local/bin");
    installs(&output, &folder.join("openhands-runner"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains(&format!("export PATH=\"{}:$PATH\"", folder.display())), "{stdout}");
    assert_eq!(names(&folder), ["openhands-runner"]);
    super::runs(&folder.join("openhands-runner")).await;
}

#[tokio::test]
async fn install_sh_replaces_the_program_by_the_version_that_is_asked_for() {
    let releases = Releases::published().await;
    // There is no newest release to fall back to.
    std::fs::remove_dir_all(releases.folder.path().join("latest")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("a folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("openhands-runner"), "an old one").unwrap();
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    let output = releases.install(home.path(), &["--version", &version, "--to", folder.to_str().unwrap()]).await;
    installs(&output, &folder.join("openhands-runner"));
    let output = releases.install(home.path(), &["--version", "99.0.0", "--to", folder.to_str().unwrap()]).await;
    fails_with(&output, "cannot download http://127.0.0.1:");
    fails_with(&output, "/download/v99.0.0/openhands-runner-x86_64-unknown-linux-musl.tar.gz");
    assert_eq!(names(&folder), ["openhands-runner"]);
}

#[tokio::test]
async fn install_sh_installs_nothing_from_an_archive_with_another_hash() {
    let releases = Releases::published().await;
    let archive = Release::built().await.archive();
    let mut content = std::fs::read(&archive).unwrap();
    content.push(0);
    std::fs::write(releases.folder.path().join("latest/download").join(archive.file_name().unwrap()), content).unwrap();
    let home = tempfile::tempdir().unwrap();
    let output = releases.install(home.path(), &["--to", home.path().join("bin").to_str().unwrap()]).await;
    fails_with(&output, "it is damaged or not the release");
    assert_eq!(names(&home.path().join("bin")), [""; 0]);
}

#[tokio::test]
async fn install_sh_says_where_there_is_no_binary_and_what_an_argument_may_be() {
    let releases = Releases::published().await;
    let home = tempfile::tempdir().unwrap();
    fails_with(
        &releases.install(home.path(), &["--prefix", "x"]).await,
        "unknown argument --prefix: expected --version",
    );
    fails_with(&releases.install(home.path(), &["--to"]).await, "--to needs a value");
    let uname = home.path().join("uname");
    std::fs::write(&uname, "#!/bin/sh\necho Plan9\n").unwrap();
    std::fs::set_permissions(&uname, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = without_rust("sh", home.path());
    command.arg(Release::built().await.folder.join("install.sh"));
    let path = format!("{}:/usr/bin:/bin", home.path().display());
    command.env("PATH", path).env("OPENHANDS_RUNNER_BASE_URL", releases.url());
    fails_with(&output(command).await, "there is no binary for Plan9 on Plan9: build it from source");
    assert_eq!(names(home.path()), ["uname"]);
}

#[tokio::test]
async fn an_archive_is_what_cargo_binstall_looks_for_and_knows_nothing_of_the_machine_that_built_it() {
    let release = Release::built().await;
    let home = tempfile::tempdir().unwrap();
    let mut command = without_rust("tar", home.path());
    command.args(["--list", "--verbose", "--numeric-owner", "--gzip", "--file"]).arg(release.archive());
    let list = succeeds(command).await;
    let files: Vec<&str> = list.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(files, ["openhands-runner", "CHANGELOG.md", "LICENSE", "README.md"]);
    assert!(list.lines().all(|line| line.contains(" 0/0 ")), "{list}");

    let manifest = std::fs::read_to_string(crate::support::repository::file("Cargo.toml")).unwrap();
    let archive = "/releases/download/v{ version }/{ name }-{ target }.tar.gz\"";
    assert!(manifest.contains(archive), "Cargo.toml has no address of the archives");

    let bill = std::fs::read_to_string(release.bill_of_materials()).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(parsed["bomFormat"], "CycloneDX");
    let components = parsed["components"].as_array().unwrap();
    assert!(
        components
            .iter()
            .any(|component| component["purl"].as_str().is_some_and(|url| url.starts_with("pkg:cargo/rustls@")))
    );
    let binary = std::fs::read(crate::support::repository::file(format!(
        "target/{}/release/openhands-runner",
        Release::target()
    )));
    let binary = String::from_utf8_lossy(&binary.unwrap()).into_owned();
    let root = crate::support::repository::file("");
    let homes =
        [root.to_str().unwrap().trim_end_matches('/').to_owned(), std::env::home_dir().unwrap().display().to_string()];
    for home in homes {
        assert!(!bill.contains(&home), "the bill of materials names {home}");
        assert!(!binary.contains(&format!("{home}/")), "the binary names {home}");
    }
}

//! Git repositories, and a real git server over HTTP that asks for a token.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::http_listener::{Handler, HttpListener};

/// Opens the server's repositories.
pub const TOKEN: &str = "token-of-the-test-0123";
/// `x-access-token` and the token, as basic authentication has them.
const AUTHORIZATION: &str = "Basic eC1hY2Nlc3MtdG9rZW46dG9rZW4tb2YtdGhlLXRlc3QtMDEyMw==";

/// A folder with git repositories.
pub struct Repositories(TempDir);

impl Repositories {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn url(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    /// A repository with two commits, the tag `v1` on the first, a branch `next`, and an `AGENTS.md`. Gives the id of the
    /// first commit.
    pub fn create(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        git(&path, &["init", "--quiet", "--initial-branch", "main"]);
        std::fs::write(path.join("version.txt"), "one\n").unwrap();
        std::fs::write(path.join("AGENTS.md"), format!("Rules of {name}.\n")).unwrap();
        git(&path, &["add", "--all"]);
        git(&path, &["commit", "--quiet", "--message", "one"]);
        git(&path, &["tag", "v1"]);
        let first = git(&path, &["rev-parse", "HEAD"]);
        git(&path, &["branch", "next"]);
        std::fs::write(path.join("version.txt"), "two\n").unwrap();
        git(&path, &["commit", "--quiet", "--all", "--message", "two"]);
        first
    }
}

/// Runs git in a folder, and gives what it says.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a [`GitServer`] does with a request.
#[derive(Debug, Clone)]
pub enum Manner {
    /// It asks for the token.
    AsksForToken,
    /// It asks for the token, and redirects the client that has it.
    RedirectsTo(String),
    /// It has an error for so many requests, and then asks for the token.
    FailsAtFirst(usize),
    /// It never answers.
    Hangs,
}

/// What a server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The `Authorization` headers.
    pub authorizations: Vec<String>,
    /// Command lines that held the token while git was at work.
    pub token_in_argv: Vec<String>,
    /// Requests in all.
    pub requests: usize,
}

/// `git http-backend` behind HTTP.
pub struct GitServer {
    listener: HttpListener,
    pub seen: Arc<Mutex<Seen>>,
}

impl GitServer {
    pub async fn start(repositories: &Repositories, manner: Manner) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let backend = Backend { root: repositories.0.path().to_owned(), manner, seen: Arc::clone(&seen) };
        Self { listener: HttpListener::start(0, backend).await.unwrap(), seen }
    }

    pub fn port(&self) -> u16 {
        self.listener.address.port()
    }

    pub fn url(&self, name: &str) -> String {
        self.listener.url(&format!("/{name}"))
    }
}

struct Backend {
    root: PathBuf,
    manner: Manner,
    seen: Arc<Mutex<Seen>>,
}

impl Handler for Backend {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let earlier = {
            let mut seen = self.seen.lock().unwrap();
            seen.requests += 1;
            seen.authorizations.extend(authorization.clone());
            seen.token_in_argv.extend(command_lines_with(TOKEN));
            seen.requests - 1
        };
        let mut refused = Response::new(Full::default());
        match &self.manner {
            Manner::Hangs => {
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            Manner::FailsAtFirst(count) if earlier < *count => *refused.status_mut() = StatusCode::BAD_GATEWAY,
            _ if authorization.as_deref() != Some(AUTHORIZATION) => {
                *refused.status_mut() = StatusCode::UNAUTHORIZED;
                refused.headers_mut().insert("www-authenticate", "Basic realm=\"git\"".parse().unwrap());
            }
            Manner::RedirectsTo(base) => {
                let target = format!("{base}{}", request.uri().path_and_query().unwrap());
                *refused.status_mut() = StatusCode::FOUND;
                refused.headers_mut().insert("location", target.parse().unwrap());
            }
            Manner::AsksForToken | Manner::FailsAtFirst(_) => return self.backend(request).await,
        }
        refused
    }
}

impl Backend {
    /// One request as CGI (RFC 3875).
    async fn backend(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let mut command = tokio::process::Command::new("git");
        command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("GIT_PROJECT_ROOT", &self.root).env("GIT_HTTP_EXPORT_ALL", "1");
        command.env("REQUEST_METHOD", request.method().as_str()).env("PATH_INFO", request.uri().path());
        command.env("QUERY_STRING", request.uri().query().unwrap_or_default());
        for (variable, name) in [
            ("CONTENT_TYPE", "content-type"),
            ("HTTP_CONTENT_ENCODING", "content-encoding"),
            ("HTTP_GIT_PROTOCOL", "git-protocol"),
        ] {
            command.env(variable, header(name).unwrap_or_default());
        }
        command.env("CONTENT_LENGTH", request.body().len().to_string());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let body = request.body().clone();
        let feed = tokio::spawn(async move { stdin.write_all(&body).await });
        let output = child.wait_with_output().await.unwrap();
        let _ = feed.await;

        let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut response = Response::new(Full::new(Bytes::copy_from_slice(&output.stdout[end + 4..])));
        for line in std::str::from_utf8(&output.stdout[..end]).unwrap().lines() {
            let (name, value) = line.split_once(": ").unwrap();
            if name == "Status" {
                *response.status_mut() = value[..3].parse().unwrap();
            } else {
                let name: hyper::header::HeaderName = name.parse().unwrap();
                response.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        response
    }
}

/// The command lines on this machine that hold a text.
pub fn command_lines_with(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    processes
        .filter_map(line)
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

//! The machine of an instant sandbox: it runs commands and keeps files as an agent-server's machine does, and may fail as one.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code, of which tests use a part"
)]

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::sleep;

use super::instant_server::json_body;

/// A response that never arrives: its connection ends.
#[derive(Debug)]
pub struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the response is lost")
    }
}

impl std::error::Error for Lost {}

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 429, and nothing is done.
    TooMany,
    /// 503, and nothing is done.
    Unavailable,
    /// It is done, and the response is lost.
    Lost,
}

/// How often each fault happens, from 0 to 1, in an order that the seed decides.
pub struct Faults {
    frequency: f64,
    random: Mutex<fastrand::Rng>,
    seen: Mutex<HashMap<Fault, usize>>,
    /// Whether no request gets through.
    is_cut_off: AtomicBool,
    /// Requests that did not.
    cut_off: AtomicUsize,
}

impl Faults {
    pub fn new(frequency: f64, seed: u64) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self {
            frequency,
            random,
            seen: Mutex::default(),
            is_cut_off: AtomicBool::new(false),
            cut_off: AtomicUsize::new(0),
        }
    }

    /// Lets no request through, or all again.
    pub fn cut_off(&self, is_cut_off: bool) {
        self.is_cut_off.store(is_cut_off, Ordering::Relaxed);
    }

    /// Whether this request does not get through.
    pub fn takes_request(&self) -> bool {
        let is_cut_off = self.is_cut_off.load(Ordering::Relaxed);
        self.cut_off.fetch_add(usize::from(is_cut_off), Ordering::Relaxed);
        is_cut_off
    }

    /// Requests that did not get through.
    pub fn taken(&self) -> usize {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// What happens to the next request.
    pub fn next(&self) -> Option<Fault> {
        let kinds = [Fault::TooMany, Fault::Unavailable, Fault::Lost];
        let value = self.random.lock().unwrap().f64();
        let fault = kinds.into_iter().enumerate().find_map(|(number, fault)| {
            let number = f64::from(u32::try_from(number).unwrap());
            (value >= number * self.frequency && value < (number + 1.0) * self.frequency).then_some(fault)
        })?;
        *self.seen.lock().unwrap().entry(fault).or_default() += 1;
        Some(fault)
    }

    pub fn count(&self, fault: Fault) -> usize {
        self.seen.lock().unwrap().get(&fault).copied().unwrap_or_default()
    }
}

impl Fault {
    /// What the client gets where nothing is done.
    pub fn response(self) -> Option<Response<Full<Bytes>>> {
        let (status, words) = match self {
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"),
            Self::Lost => return None,
        };
        let mut response = json_body(status, &json!({"detail": words}));
        if self == Self::TooMany {
            response.headers_mut().insert("retry-after", "1".parse().unwrap());
        }
        Some(response)
    }
}

/// Folders and files that clients make outside of the machine's own folder, and the length of what follows.
const OUTSIDE: [&str; 3] = ["/tmp/launched-", "/tmp/sandbox-command-", "/tmp/sandbox-copy-"];
const ID: usize = 32;

/// The time from the first start of a command to the pause of a machine that pauses.
const BEFORE_PAUSE: Duration = Duration::from_millis(50);

/// The machine. Everything of it ends and goes when it is dropped.
pub struct Machine {
    key: String,
    folder: PathBuf,
    cache: PathBuf,
    faults: Arc<Faults>,
    /// Whether it pauses once, soon after the first command was started.
    pauses: AtomicBool,
    is_paused: Arc<AtomicBool>,
    is_gone: AtomicBool,
    commands: Arc<Mutex<Vec<Started>>>,
    outside: Mutex<BTreeSet<String>>,
}

struct Started {
    id: String,
    line: String,
    group: Option<u32>,
    exit_code: Option<i32>,
}

impl Machine {
    /// A machine with this session key. Programs are kept in `cache`.
    pub fn new(key: String, folder: PathBuf, cache: PathBuf, faults: Arc<Faults>, pauses: bool) -> Self {
        Self {
            key,
            folder,
            cache,
            faults,
            pauses: AtomicBool::new(pauses),
            is_paused: Arc::default(),
            is_gone: AtomicBool::new(false),
            commands: Arc::default(),
            outside: Mutex::default(),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
    }

    /// Answers nothing any more, and ends what runs.
    pub fn end(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        for command in self.commands.lock().unwrap().iter().filter(|command| command.exit_code.is_none()) {
            let group = command.group.and_then(|group| i32::try_from(group).ok()).map(Pid::from_raw);
            let _ = group.map(|group| killpg(group, Signal::SIGKILL));
        }
    }

    /// The response, where the request is one for commands and files.
    pub async fn respond<B>(
        &self,
        request: &Request<B>,
        content: &Bytes,
    ) -> Result<Option<Response<Full<Bytes>>>, Lost> {
        if self.is_gone.load(Ordering::Relaxed) || self.is_paused() {
            return Err(Lost);
        }
        let path = request.uri().path();
        if !path.starts_with("/api/bash/") && !path.starts_with("/api/file/") {
            return Ok(None);
        }
        if request.headers().get("x-session-api-key").is_none_or(|key| key != self.key.as_str()) {
            return Ok(Some(json_body(StatusCode::UNAUTHORIZED, &json!({"detail": "Unauthorized"}))));
        }
        if self.faults.takes_request() {
            return Err(Lost);
        }
        let fault = self.faults.next();
        if let Some(response) = fault.and_then(Fault::response) {
            return Ok(Some(response));
        }
        let query: HashMap<String, String> = request
            .uri()
            .query()
            .map(|query| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
            .unwrap_or_default();
        let file = query.get("path").cloned().unwrap_or_default();
        let response = match (request.method(), path) {
            (&Method::POST, "/api/bash/execute_bash_command") => self.execute(&line_of(content)).await,
            (&Method::POST, "/api/bash/start_bash_command") => self.start(line_of(content)),
            (&Method::GET, "/api/bash/bash_events/search") => self.events(&query),
            (&Method::POST, "/api/file/upload") => self.upload(&file, content).await,
            (&Method::GET, "/api/file/download") => {
                let range = request.headers().get("range").and_then(|range| range.to_str().ok());
                download(&file, range).await
            }
            _ => json_body(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"})),
        };
        if fault.is_some() { Err(Lost) } else { Ok(Some(response)) }
    }

    fn shell(&self, line: &str) -> Command {
        self.note(line);
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(&self.folder).env_clear().envs([
            ("PATH", "/usr/local/bin:/usr/bin:/bin".as_ref()),
            ("HOME", self.folder.as_os_str()),
            ("XDG_CACHE_HOME", self.cache.as_os_str()),
        ]);
        command.process_group(0).stdin(Stdio::null());
        command
    }

    async fn execute(&self, line: &str) -> Response<Full<Bytes>> {
        let output = self.shell(line).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let result = json!({
            "exit_code": output.status.code(), "stdout": text(&output.stdout), "stderr": text(&output.stderr),
        });
        json_body(StatusCode::OK, &result)
    }

    fn start(&self, line: String) -> Response<Full<Bytes>> {
        let mut child = self.shell(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let id = uuid::Uuid::new_v4().to_string();
        let started = Started { id: id.clone(), line, group: child.id(), exit_code: None };
        self.commands.lock().unwrap().push(started);
        let (commands, of) = (Arc::clone(&self.commands), id.clone());
        tokio::spawn(async move {
            let code = child.wait().await.unwrap().code().unwrap_or(-9);
            if let Some(command) = commands.lock().unwrap().iter_mut().find(|command| command.id == of) {
                command.exit_code = Some(code);
            }
        });
        if self.pauses.swap(false, Ordering::Relaxed) {
            let is_paused = Arc::clone(&self.is_paused);
            tokio::spawn(async move {
                sleep(BEFORE_PAUSE).await;
                is_paused.store(true, Ordering::Relaxed);
            });
        }
        json_body(StatusCode::OK, &json!({"id": id}))
    }

    fn events(&self, query: &HashMap<String, String>) -> Response<Full<Bytes>> {
        let commands = self.commands.lock().unwrap();
        let event = |kind: &str, command: &Started| {
            json!({
                "kind": kind, "id": command.id, "timestamp": "2026-01-01T00:00:00", "command": command.line,
                "exit_code": command.exit_code,
            })
        };
        let items: Vec<Value> = match query.get("kind__eq").map(String::as_str) {
            Some("BashCommand") => commands.iter().rev().map(|command| event("BashCommand", command)).collect(),
            Some("BashOutput") => {
                let of = query.get("command_id__eq");
                let ended = commands.iter().filter(|command| Some(&command.id) == of && command.exit_code.is_some());
                ended.map(|command| event("BashOutput", command)).collect()
            }
            _ => Vec::new(),
        };
        json_body(StatusCode::OK, &json!({"items": items, "next_page_id": null}))
    }

    async fn upload(&self, path: &str, content: &Bytes) -> Response<Full<Bytes>> {
        self.note(path);
        let start = content.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |at| at + 4);
        let first_line = content.windows(2).position(|bytes| bytes == b"\r\n").unwrap_or_default();
        // The boundary at the end has two line breaks and two hyphens more.
        let end = content.len().saturating_sub(first_line + 6).max(start);
        let path = PathBuf::from(path);
        let folder = path.parent().unwrap().to_owned();
        let written = async {
            tokio::fs::create_dir_all(folder).await?;
            tokio::fs::write(&path, &content[start..end]).await
        };
        match written.await {
            Ok(()) => json_body(StatusCode::OK, &json!({"success": true})),
            Err(error) => json_body(StatusCode::BAD_REQUEST, &json!({"detail": error.to_string()})),
        }
    }

    /// Remembers what is to be removed at the end.
    fn note(&self, text: &str) {
        for start in OUTSIDE {
            let found = text.match_indices(start).filter_map(|(at, _)| text.get(at..at + start.len() + ID));
            self.outside.lock().unwrap().extend(found.map(str::to_owned));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
        for path in self.outside.lock().unwrap().iter() {
            let _ = std::fs::remove_dir_all(path);
            let _ = std::fs::remove_file(format!("{path}.tar"));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn line_of(content: &Bytes) -> String {
    let body: Value = serde_json::from_slice(content).unwrap_or_default();
    body["command"].as_str().unwrap_or_default().to_owned()
}

async fn download(path: &str, range: Option<&str>) -> Response<Full<Bytes>> {
    let Ok(bytes) = tokio::fs::read(path).await.map(Bytes::from) else {
        return json_body(StatusCode::NOT_FOUND, &json!({"detail": "File not found"}));
    };
    let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range.and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<usize>().ok()?)))
    else {
        return Response::new(Full::new(bytes));
    };
    let mut response = Response::default();
    if first >= bytes.len() {
        *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
        return response;
    }
    let last = last.min(bytes.len() - 1);
    let header = format!("bytes {first}-{last}/{}", bytes.len());
    response = Response::new(Full::new(bytes.slice(first..=last)));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert("content-range", header.parse().unwrap());
    response
}

//! `scripts/fuzz --corpora`: what real servers send, as the files that the fuzz targets start from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::faults::Work;
use crate::support::{AgentServer, NEWEST, OLDEST, Step, repository};

/// A longer file makes a fuzzer slow.
const LONGEST: usize = 16 * 1024;

fn keep(target: &str, name: &str, data: &[u8]) {
    // No folder of this machine, and no length changes: a frame has its own.
    let (own, other) = (repository::file("").display().to_string(), "/");
    let own = own.trim_end_matches('/');
    let other = format!("{other}{}", "r".repeat(own.len() - 1));
    let mut data = data.to_vec();
    while let Some(at) = data.windows(own.len()).position(|window| window == own.as_bytes()) {
        data[at..at + own.len()].copy_from_slice(other.as_bytes());
    }
    let data = &data;
    let folder: PathBuf = repository::file(format!("fuzz/corpus/{target}"));
    std::fs::create_dir_all(&folder).unwrap();
    if data.len() <= LONGEST {
        std::fs::write(folder.join(name), data).unwrap();
    }
}

/// What the server has sent on each connection through a port that leads to it.
async fn tap(server: u16) -> (u16, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let kept = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            let number = {
                let mut kept = kept.lock().unwrap();
                kept.push(Vec::new());
                kept.len() - 1
            };
            tokio::spawn(async move {
                let peer = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let ((mut from_client, mut to_client), (mut from_peer, mut to_peer)) =
                    (client.into_split(), peer.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_peer).await });
                let mut piece = vec![0; 16 * 1024];
                while let Ok(count @ 1..) = from_peer.read(&mut piece).await {
                    kept.lock().unwrap()[number].extend_from_slice(&piece[..count]);
                    if to_client.write_all(&piece[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, sent)
}

#[tokio::test]
#[ignore = "writes into the repository: scripts/fuzz --corpora"]
async fn corpora_of_real_servers() {
    for (version, server) in [(NEWEST, None), (OLDEST, Some(AgentServer::start(OLDEST).await))] {
        let server = match &server {
            Some(server) => server,
            None => AgentServer::shared(version).await,
        };
        let work = Work::on(server).await;
        work.llm.script(
            "Do the task",
            [
                Step::terminal("echo one; ls /"),
                Step::terminal("exit 3"),
                Step::call("no_such_tool", serde_json::json!({"x": 1})),
                Step::finish("Done."),
            ],
        );
        let (port, sent) = tap(server.port).await;
        let run = work.run(server).env("AGENT_SERVER_PORT", port.to_string());
        let lines = run.finish().await.exits_with(0).json_lines();
        let mut kinds = Vec::new();
        for event in &lines {
            let kind = event["kind"].as_str().unwrap_or_default().to_owned();
            let key = event["key"].as_str().unwrap_or_default().to_owned();
            let name = format!("{version}-{kind}{key}.json");
            if !kinds.contains(&name) {
                keep("event", &name, event.to_string().as_bytes());
                kinds.push(name);
            }
        }
        let story: String = lines
            .iter()
            .filter(|line| line["kind"] != "SystemPromptEvent")
            .map(|line| line.to_string() + "\n")
            .collect();
        keep("story", &format!("{version}.jsonl"), &story.as_bytes()[..story.len().min(LONGEST)]);
        let head: &[u8] = b"\r\n\r\n";
        for (number, stream) in sent.lock().unwrap().iter().enumerate() {
            if stream.starts_with(b"HTTP/1.1 101") {
                let start = stream.windows(4).position(|four| four == head).unwrap() + 4;
                let frames = &stream[start..];
                // The piece of a long frame is a frame that is cut off.
                keep(
                    "frames",
                    &format!("{version}-{number}"),
                    &[&[40], &frames[..frames.len().min(LONGEST - 1)]].concat(),
                );
            }
        }
        let id = lines.iter().find_map(|line| line["conversation_id"].as_str()).unwrap().to_owned();
        for (name, path) in [
            ("server", "/server_info".to_owned()),
            ("conversation", format!("/api/conversations/{id}")),
            ("events", format!("/api/conversations/{id}/events/search?limit=3&sort_order=TIMESTAMP_DESC")),
            ("final", format!("/api/conversations/{id}/agent_final_response")),
            ("bash", "/api/bash/bash_events/search?limit=4".to_owned()),
            ("settings", "/api/settings".to_owned()),
            ("profiles", "/api/profiles".to_owned()),
            ("agent-profiles", "/api/agent-profiles".to_owned()),
            ("secrets", "/api/settings/secrets".to_owned()),
            ("git", format!("/api/git/changes?path={}", work.working_dir.display())),
        ] {
            if let Some(body) = server.get_if_there(&path).await {
                keep("responses", &format!("{version}-{name}.json"), body.to_string().as_bytes());
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let make = "mkdir -p from/inner/empty && echo content >from/file && ln from/file from/hard && ln -s ../outside from/link && \
                mkfifo from/inner/fifo && chmod 0500 from/inner/empty && echo x >'from/inner/a name' && tar -cf archive -C from .";
    assert!(std::process::Command::new("sh").args(["-c", make]).current_dir(folder.path()).status().unwrap().success());
    keep("archive", "folder.tar", &std::fs::read(folder.path().join("archive")).unwrap());
}

//! Commands and files in a sandbox, on the newest and the oldest agent-server.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openhands_client::agent_server::AgentServer as Server;
use openhands_client::agent_server::ready::await_ready;
use openhands_client::agent_server::{self, AgentServerClient, Capabilities};
use openhands_client::http::Http;
use openhands_client::http::Network;
use openhands_client::sandbox::copy::{CopyError, download, download_file, upload};
use openhands_client::sandbox::exec::{Command, Exit, Output, execute, start};
use openhands_client::secret::Secret;
use openhands_client::time_limits::TimeLimits;

use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::on_newest_and_oldest;
use crate::support::AgentServer;

async fn server_of(server: &AgentServer) -> Server {
    let address = agent_server::AgentServerAddress {
        url: server.url("").parse().unwrap(),
        session_key: Some(Secret::new(&server.key)),
    };
    let client = AgentServerClient::new(Http::new(&Network::default(), TimeLimits::default()).unwrap(), &address);
    let capabilities = await_ready(&client, Duration::from_secs(60)).await.unwrap();
    Server { client, capabilities }
}

async fn a_command_gives_its_output_and_exit_code(server: &AgentServer) {
    let server = server_of(server).await;
    let command = Command::shell("printf 'out\\377'; echo err >&2; exit 3");
    let done = execute(&server, &command).await.unwrap();
    assert_eq!(
        (done.exit, done.stdout.as_slice(), done.stderr.as_slice()),
        (Exit::Code(3), &b"out\xff"[..], &b"err\n"[..])
    );
    // As a shell has it.
    assert_eq!(execute(&server, &Command::shell("kill -KILL $$")).await.unwrap().exit, Exit::Code(137));
    assert_eq!(execute(&server, &Command::shell("kill -USR1 $$")).await.unwrap().exit, Exit::Code(138));
}

async fn a_command_gets_words_directory_and_environment_as_they_are(server: &AgentServer) {
    let work = server.working_dir();
    let odd = work.join("it's ä \"folder\" $HOME");
    std::fs::create_dir(&odd).unwrap();
    let value = "a 'secret' \"value\" $PATH\nand `more`";
    let shown = Command::program(["printf", "%s|%s|", "a b", "it's $HOME"]);
    let server = server_of(server).await;
    assert_eq!(execute(&server, &shown).await.unwrap().stdout_text(), "a b|it's $HOME|");
    let command =
        Command::shell("pwd; printf %s \"$THE_SECRET\"; tr '\\0' ' ' </proc/$$/cmdline >&2; ls /proc/self/cwd")
            .directory(odd.to_str().unwrap())
            .env("THE_SECRET", Secret::new(value));
    let done = execute(&server, &command).await.unwrap();
    assert_eq!(done.stdout_text(), format!("{}\n{value}", odd.display()));
    assert!(!String::from_utf8_lossy(&done.stderr).contains("secret' \"value"), "the value is in the command line");
    let missing = execute(&server, &Command::shell("true").directory("/no/such/folder")).await.unwrap();
    assert_eq!(missing.exit, Exit::Code(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/folder"));
    let bad_name = execute(&server, &Command::shell("true").env("A;B", Secret::new("x"))).await.unwrap_err();
    assert!(bad_name.to_string().contains("A;B"), "{bad_name}");
}

async fn output_comes_while_the_command_runs_and_all_of_it(server: &AgentServer) {
    let work = server.working_dir();
    let go_on = work.join("go-on");
    let server = server_of(server).await;
    // Ends only when its first line has been seen here.
    let line = format!("echo first; until [ -e {} ]; do sleep 0.05; done; seq 300000", go_on.display());
    let mut running = start(&server, &Command::shell(line).limit(Duration::from_secs(60))).await.unwrap();
    let mut stdout = Vec::new();
    let exit = running.follow(async |output| {
        let Output::Stdout(bytes) = output else { panic!("{output:?}") };
        stdout.extend_from_slice(&bytes);
        std::fs::write(&go_on, "").unwrap();
    });
    assert_eq!(exit.await.unwrap(), Exit::Code(0));
    let numbers = (1..=300_000).map(|number: u32| number.to_string()).collect::<Vec<_>>().join(
        "
",
    );
    assert_eq!(String::from_utf8(stdout).unwrap(), format!("first\n{numbers}\n"));
}

async fn a_command_ends_at_its_limit_and_when_it_is_told_to(server: &AgentServer) {
    let server = server_of(server).await;
    let asleep = async |marker: &str| {
        let each = "for one in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$one; echo; done 2>/dev/null";
        let count = Command::shell(format!("{each} | grep -c '^sleep {marker}'"));
        execute(&server, &count).await.unwrap().stdout_text()
    };
    let marker = format!("86401.{}", uuid::Uuid::new_v4().as_u128());
    let line = format!("echo begun; sleep {marker} & sleep {marker}; true");
    let done = execute(&server, &Command::shell(&line).limit(Duration::from_secs(10))).await.unwrap();
    assert_eq!((done.exit, done.stdout_text().as_str()), (Exit::TimedOut, "begun\n"));
    assert_eq!(asleep(&marker).await, "0\n");
    for (command, processes) in [(Command::program(["sleep", &marker]), "1\n"), (Command::shell(&line), "2\n")] {
        let running = start(&server, &command).await.unwrap();
        let started = Instant::now();
        while asleep(&marker).await != processes {
            assert!(started.elapsed() < Duration::from_secs(60), "the command does not begin");
        }
        running.terminate().await.unwrap();
        assert_eq!(asleep(&marker).await, "0\n");
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

async fn files_with_odd_names_go_both_ways(server: &AgentServer) {
    let there = server.working_dir();
    let here = tempfile::tempdir().unwrap();
    let server = server_of(server).await;
    for (name, content) in [("empty", &b""[..]), ("it's ä \"file\" $HOME ?&#%.bin", &[0, 255, 10, 13][..])] {
        let original = here.path().join(name);
        write(&original, content);
        std::fs::set_permissions(&original, std::fs::Permissions::from_mode(0o750)).unwrap();
        // Into an existing folder, under its own name.
        let copied = upload(&server, &original, there.to_str().unwrap()).await.unwrap();
        assert_eq!((copied.files, copied.bytes), (1, content.len() as u64));
        let copy = there.join(name);
        assert_eq!(std::fs::read(&copy).unwrap(), content);
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        let back = here.path().join("back");
        download(&server, copy.to_str().unwrap(), &back).await.unwrap();
        assert_eq!(std::fs::read(&back).unwrap(), content);
        assert_eq!(back.metadata().unwrap().permissions().mode() & 0o777, 0o750);
    }
    let missing = download(&server, &format!("{}/no such file", there.display()), &here.path().join("x")).await;
    assert!(missing.unwrap_err().to_string().contains("no such file"));
    assert!(matches!(upload(&server, &here.path().join("empty"), "relative").await, Err(CopyError::NotAbsolute(_))));
    let left: Vec<_> = std::fs::read_dir(here.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

async fn folders_go_both_ways(server: &AgentServer) {
    let there = server.working_dir();
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("a folder");
    write(&folder.join("one"), b"1");
    write(&folder.join("deeper/it's two"), &vec![7; 3_000_000]);
    std::fs::create_dir(folder.join("empty")).unwrap();
    symlink("../outside", folder.join("link")).unwrap();
    let server = server_of(server).await;
    let target = there.join("the copy");
    let copied = upload(&server, &folder, target.to_str().unwrap()).await.unwrap();
    assert_eq!((copied.files, copied.bytes), (3, 3_000_001));
    let again = upload(&server, &folder, target.to_str().unwrap()).await.unwrap();
    assert_eq!(again, copied);
    assert_eq!(std::fs::read(target.join("a folder/one")).unwrap(), b"1");
    std::fs::remove_dir_all(target.join("a folder")).unwrap();

    download(&server, target.to_str().unwrap(), here.path()).await.unwrap();
    let back = here.path().join("the copy");
    assert_eq!(std::fs::read(back.join("deeper/it's two")).unwrap().len(), 3_000_000);
    assert!(back.join("empty").is_dir());
    assert_eq!(std::fs::read_link(back.join("link")).unwrap(), Path::new("../outside"));
}

async fn a_copy_has_the_name_that_cp_gives_it_and_makes_no_folder_above(server: &AgentServer) {
    let there = server.working_dir();
    let here = tempfile::tempdir().unwrap();
    write(&there.join("inner/file"), b"content");
    write(&here.path().join("file"), b"content");
    let server = server_of(server).await;
    // As with `cp -r`, the content of `..` goes into the folder itself, and never into the folder above it.
    let out = here.path().join("above/out");
    std::fs::create_dir_all(&out).unwrap();
    download(&server, &format!("{}/inner/..", there.display()), &out).await.unwrap();
    assert!(out.join("inner/file").exists());
    let above: Vec<_> = std::fs::read_dir(here.path().join("above")).unwrap().flatten().collect();
    assert_eq!(above.len(), 1, "{above:?}");

    let missing = here.path().join("no/such");
    for from in ["inner", "inner/file"] {
        let error = download(&server, &there.join(from).to_string_lossy(), &missing.join("x")).await.unwrap_err();
        assert!(error.to_string().contains(&format!("`{}`", missing.display())), "{error}");
    }
    assert!(!here.path().join("no").exists());
    let missing = there.join("no/such");
    for from in [here.path().join("above"), here.path().join("file")] {
        let error = upload(&server, &from, missing.join("x").to_str().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains(&format!("`{}`", missing.display())), "{error}");
    }
    assert!(!there.join("no").exists());
}

async fn pipes_and_devices_are_skipped_in_both_directions(server: &AgentServer) {
    let there = server.working_dir();
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("folder");
    write(&folder.join("file"), b"content");
    let fifo = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    fifo(&folder.join("fifo"));
    let server = server_of(server).await;
    let copied = upload(&server, &folder, there.to_str().unwrap()).await.unwrap();
    assert_eq!(copied.files, 1);
    assert!(!there.join("folder/fifo").exists());
    fifo(&there.join("folder/fifo"));
    let back = here.path().join("back");
    let copied = download(&server, there.join("folder").to_str().unwrap(), &back).await.unwrap();
    assert_eq!(copied.files, 1);
    assert!(!back.join("fifo").exists());
    let alone = download(&server, there.join("folder/fifo").to_str().unwrap(), &back).await;
    assert!(matches!(alone, Err(CopyError::NotAFile(_))), "{alone:?}");
    let alone = upload(&server, &folder.join("fifo"), there.to_str().unwrap()).await;
    assert!(matches!(alone, Err(CopyError::NotAFile(_))), "{alone:?}");
}

async fn what_is_no_file_is_written_into_and_a_link_is_followed(server: &AgentServer) {
    let original = server.working_dir().join("the original");
    write(&original, b"content");
    let original = original.to_str().unwrap();
    let here = tempfile::tempdir().unwrap();
    let (pipe, file) = (here.path().join("pipe"), here.path().join("file"));
    let (link, to_nothing) = (here.path().join("link"), here.path().join("to nothing"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(&file, "older").unwrap();
    symlink("file", &link).unwrap();
    symlink("new", &to_nothing).unwrap();
    let server = server_of(server).await;

    let (from_pipe, (tell, read)) = (pipe.clone(), tokio::sync::oneshot::channel());
    std::thread::spawn(move || tell.send(std::fs::read(from_pipe).unwrap()));
    download(&server, original, &pipe).await.unwrap();
    assert!(pipe.metadata().unwrap().file_type().is_fifo(), "it was replaced");
    assert_eq!(read.await.unwrap(), b"content");
    for (link, file) in [(link, file), (to_nothing, here.path().join("new"))] {
        download(&server, original, &link).await.unwrap();
        assert!(link.is_symlink(), "{} was replaced", link.display());
        assert_eq!(std::fs::read(file).unwrap(), b"content");
    }
}

/// The archive that a `tar` at work with this folder in its command line packs.
fn packing(folder: &str) -> Option<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok()).find_map(|line| {
        let words: Vec<&str> = line.split('\0').collect();
        (words[0] == "tar" && words.contains(&folder)).then(|| PathBuf::from(words[2]))
    })
}

async fn a_copy_of_a_folder_that_is_given_up_leaves_nothing_in_the_sandbox(server: &AgentServer) {
    let folder = server.working_dir().join("big");
    std::fs::create_dir(&folder).unwrap();
    std::fs::File::create(folder.join("file")).unwrap().set_len(2 << 30).unwrap();
    let folder = folder.to_str().unwrap();
    let here = tempfile::tempdir().unwrap();
    let server = server_of(server).await;
    let packing_begins = async {
        loop {
            match packing(folder) {
                Some(archive) if archive.exists() => return archive,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let archive = tokio::select! {
        archive = packing_begins => archive,
        copied = download(&server, folder, here.path()) => panic!("{copied:?}"),
    };
    assert!(!archive.exists(), "{} is left", archive.display());
    assert_eq!(packing(folder), None);
}

/// Until its permissions are known, a copy is for no one else to read.
#[tokio::test]
async fn a_file_that_is_being_downloaded_is_private() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ").await.unwrap();
        std::future::pending::<()>().await;
    });
    let client = AgentServerClient::new(
        Http::new(&Network::default(), TimeLimits::default()).unwrap(),
        &agent_server::AgentServerAddress { url, session_key: None },
    );
    let server = Server { client, capabilities: Capabilities::newest() };
    let here = tempfile::tempdir().unwrap();
    let mode = async {
        loop {
            if let Some(part) = std::fs::read_dir(here.path()).unwrap().next() {
                return part.unwrap().metadata().unwrap().permissions().mode() & 0o777;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let target = here.path().join("copy");
    tokio::select! {
        mode = mode => assert_eq!(mode, 0o600),
        copied = download_file(&server, "/secret", &target) => panic!("{copied:?}"),
    }
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0, "a part is left");
}

/// A proxy may take the header away that asks for a part.
#[tokio::test]
async fn a_part_of_a_file_is_a_part_where_the_whole_file_comes() {
    let fake = MockServer::start().await;
    let whole = ResponseTemplate::new(200).set_body_string("0123456789");
    Mock::given(path("/api/file/download")).respond_with(whole).mount(&fake).await;
    let address = agent_server::AgentServerAddress { url: fake.uri().parse().unwrap(), session_key: None };
    let client = AgentServerClient::new(Http::new(&Network::default(), TimeLimits::default()).unwrap(), &address);
    for (offset, rest) in [(0, Some("0123456789")), (4, Some("456789")), (10, None), (11, None)] {
        let part = client.read_from("/file", offset, 100, Capabilities::newest()).await.unwrap();
        let part = match part {
            Some(mut part) => Some(part.piece().await.unwrap().unwrap()),
            None => None,
        };
        assert_eq!(part.as_deref(), rest.map(str::as_bytes));
    }
}

/// A hostile sandbox answers the request for 4 MiB with 600 MB.
#[tokio::test]
async fn a_read_of_output_stops_at_what_was_asked_for() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const CLAIMED: u64 = 600_000_000;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut head = vec![0; 65536];
                let length = stream.read(&mut head).await.unwrap();
                if String::from_utf8_lossy(&head[..length]).contains("/file/download") {
                    let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {CLAIMED}\r\n\r\n");
                    stream.write_all(head.as_bytes()).await.unwrap();
                    let piece = vec![b'x'; 65536];
                    while stream.write_all(&piece).await.is_ok() {
                        counter.fetch_add(65536, Ordering::Relaxed);
                    }
                    return;
                }
                let body = r#"{"id": "5b716b4b-78d1-4d0c-9f3a-0123456789ab", "items": [], "exit_code": 0}"#;
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    let client = AgentServerClient::new(
        Http::new(&Network::default(), TimeLimits::default()).unwrap(),
        &agent_server::AgentServerAddress { url, session_key: None },
    );
    let server = Server { client, capabilities: Capabilities::newest() };
    let mut running = start(&server, &Command::shell("true")).await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let followed = running.follow(async |output| {
        let Output::Stdout(bytes) = output else { panic!("{output:?}") };
        tell.send(bytes.len()).await.unwrap();
        std::future::pending::<()>().await;
    });
    tokio::select! {
        exit = followed => panic!("{exit:?}"),
        length = told.recv() => assert_eq!(length, Some(4 << 20)),
    }
    // What is on its way in buffers comes on top.
    assert!(sent.load(Ordering::Relaxed) < 64 << 20, "{}", sent.load(Ordering::Relaxed));
}

/// An early answer, which a server gives whose disk is full.
#[tokio::test]
async fn a_servers_refusal_of_a_folder_is_told_and_not_the_pipe_that_it_breaks() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let answer = if String::from_utf8_lossy(&head[..length]).contains("/upload") {
                "507 Insufficient Storage\r\ncontent-length: 16\r\nconnection: close\r\n\r\nthe disk is full"
            } else {
                "200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"exit_code\":0}"
            };
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
            // Otherwise the rest of the request would take the answer away.
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    let here = tempfile::tempdir().unwrap();
    write(&here.path().join("big"), &vec![0; 50_000_000]);
    let client = AgentServerClient::new(
        Http::new(&Network::default(), TimeLimits::default()).unwrap(),
        &agent_server::AgentServerAddress { url, session_key: None },
    );
    let server = Server { client, capabilities: Capabilities::newest() };
    let error = upload(&server, here.path(), "/copy").await.unwrap_err();
    assert!(openhands_client::text::chain(&error).contains("507 the disk is full"), "{error:?}");
}

/// A fault that no real server has on demand: the environment is there, and the start of the command fails or hangs.
#[tokio::test]
async fn the_environment_of_a_command_that_is_not_started_is_removed() {
    for hangs in [false, true] {
        let fake = MockServer::start().await;
        let done = ResponseTemplate::new(200).set_body_json(json!({"exit_code": 0, "stdout": "", "stderr": ""}));
        let refused = ResponseTemplate::new(422).set_delay(Duration::from_secs(if hangs { 3600 } else { 0 }));
        Mock::given(path("/api/bash/execute_bash_command")).respond_with(done).mount(&fake).await;
        Mock::given(path("/api/file/upload")).respond_with(ResponseTemplate::new(200)).mount(&fake).await;
        Mock::given(path("/api/bash/start_bash_command")).respond_with(refused).mount(&fake).await;
        let address = agent_server::AgentServerAddress { url: fake.uri().parse().unwrap(), session_key: None };
        let client = AgentServerClient::new(Http::new(&Network::default(), TimeLimits::default()).unwrap(), &address);
        let server = Server { client, capabilities: Capabilities::newest() };
        let command = Command::shell("true").env("KEY", Secret::new("x"));
        let started =
            tokio::time::timeout(Duration::from_secs(if hangs { 1 } else { 60 }), start(&server, &command)).await;
        assert_eq!(started.is_err(), hangs);
        drop(started);
        let asked = fake.received_requests().await.unwrap();
        let last: Value = asked.last().unwrap().body_json().unwrap();
        assert!(last["command"].as_str().unwrap().contains("rm -rf /tmp/sandbox-command-"), "{last}");
    }
}

on_newest_and_oldest!(
    a_command_gives_its_output_and_exit_code,
    a_command_gets_words_directory_and_environment_as_they_are,
    output_comes_while_the_command_runs_and_all_of_it,
    a_command_ends_at_its_limit_and_when_it_is_told_to,
    files_with_odd_names_go_both_ways,
    folders_go_both_ways,
    a_copy_has_the_name_that_cp_gives_it_and_makes_no_folder_above,
    pipes_and_devices_are_skipped_in_both_directions,
    what_is_no_file_is_written_into_and_a_link_is_followed,
    a_copy_of_a_folder_that_is_given_up_leaves_nothing_in_the_sandbox,
);

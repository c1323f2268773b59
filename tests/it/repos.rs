//! The repositories of a run: cloned, opened with the account's token and with nothing else, and gone when half-done.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::git::{GitServer, Manner, Repositories, TOKEN, command_lines_with, git};
use crate::support::run::{account_settings, holds};
use crate::support::tls_front::TlsFront;
use crate::support::{AgentServer, Cloud, NEWEST, Receiver, Run, ScriptedLlm, Step, time_scale};

crate::on_newest_and_oldest!(repositories_are_where_the_agent_is_told);

async fn llm(steps: impl IntoIterator<Item = Step>) -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", steps);
    llm
}

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A run that finds git.
fn run_in(server: &AgentServer, working_dir: &Path) -> Run {
    Run::inside(server).env("PATH", env!("PATH")).env("WORKSPACE_BASE", working_dir)
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files under a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).contains(text) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

async fn repositories_are_where_the_agent_is_told(server: &AgentServer) {
    let repositories = Repositories::new();
    let first_commit = repositories.create("demo");
    repositories.create("more/demo");
    repositories.create("private");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let llm = llm([
        Step::terminal("cat demo/version.txt demo_1/version.txt demo_2/version.txt private/version.txt >versions.txt"),
        Step::finish("Done."),
    ])
    .await;
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    let (receiver, working_dir) = (Receiver::start().await, server.working_dir());
    let repos = json!([
        {"url": repositories.url("demo")},
        {"url": repositories.url("more/demo"), "ref": "v1"},
        {"url": repositories.url("demo"), "ref": first_commit},
        {"url": git_server.url("private"), "provider": "github", "ref": "next"},
        {"url": repositories.url("demo")},
    ]);
    run_in(server, &working_dir)
        .account(&cloud)
        .reports_to(&receiver, &unique())
        .file("prompt.txt", "Do the task.")
        .file("repos_config.json", repos.to_string())
        .finish()
        .await
        .exits_with(0);

    assert_eq!(std::fs::read_to_string(working_dir.join("versions.txt")).unwrap(), "two\none\none\none\n");
    assert_eq!(git(&working_dir.join("demo"), &["rev-list", "--count", "HEAD"]), "1");
    assert_eq!(git(&working_dir.join("private"), &["remote", "get-url", "origin"]), git_server.url("private"));
    let report = receiver.accepted();
    let id = report["conversation_id"].as_str().unwrap();
    let (dir, demo, more) = (working_dir.display(), repositories.url("demo"), repositories.url("more/demo"));
    let expected = format!(
        "## Cloned Repositories\n\nThe following repositories have been cloned to your workspace:\n\n\
         - `{demo}` → `{dir}/demo/`\n- `{more}` (ref: v1) → `{dir}/demo_1/`\n\
         - `{demo}` (ref: {first_commit}) → `{dir}/demo_2/`\n- `{}` (ref: next) → `{dir}/private/`\n\n\n\
         ## Task\n\nDo the task.",
        git_server.url("private"),
    );
    assert_eq!(server.user_messages(id).await, [expected]);
}

#[tokio::test]
async fn a_token_opens_its_host_and_is_left_nowhere() {
    let (repositories, home) = (Repositories::new(), tempfile::tempdir().unwrap());
    repositories.create("private");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("GITHUB_TOKEN", TOKEN)]).await;
    let working_dir = server.working_dir();
    // A machine whose git keeps every password, tells all that it does, and runs a hook.
    let hooks = home.path().join("hooks");
    std::fs::create_dir(&hooks).unwrap();
    let hook = hooks.join("post-checkout");
    std::fs::write(&hook, format!("#!/bin/sh\nenv >{}/hook.txt\n", home.path().display())).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = format!("[credential]\n helper = store\n[core]\n hooksPath = {}\n", hooks.display());
    std::fs::write(home.path().join(".gitconfig"), config).unwrap();
    let trace = home.path().join("trace.txt");
    run_in(server, &working_dir)
        .account(&cloud)
        .env("HOME", home.path())
        .env("RUST_LOG", "trace")
        .env("GIT_TRACE", &trace)
        .env("GIT_TRACE_CURL", &trace)
        .env("GIT_TRACE_REDACT", "0")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "url.http://127.0.0.1:9/.insteadOf")
        .env("GIT_CONFIG_VALUE_0", git_server.url(""))
        .env("GIT_DIR", home.path())
        .task(&format!("---\nrepos: [{{url: '{}', provider: github}}]\n---\nDo the task.", git_server.url("private")))
        .finish()
        .await
        .exits_with(0)
        .says("cloned in")
        .never_shows(TOKEN);

    assert!(holds(&working_dir.join("private/version.txt"), "two"));
    assert!(git_server.seen.lock().unwrap().authorizations.len() >= 2);
    assert_eq!(git_server.seen.lock().unwrap().token_in_argv, Vec::<String>::new());
    assert_eq!(files_with(&working_dir, TOKEN), Vec::<String>::new());
    assert_eq!(files_with(home.path(), TOKEN), Vec::<String>::new());
    assert_eq!(entries(home.path()), [".gitconfig", "hooks"]);
}

/// An earlier agent of the same user has left it.
#[tokio::test]
async fn the_machines_filters_and_attributes_do_not_run_and_a_checkout_has_no_credentials() {
    let (repositories, home) = (Repositories::new(), tempfile::tempdir().unwrap());
    repositories.create("private");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let (llm, server) = (llm([Step::finish("Done."), Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    let (config, seen) = (home.path().join(".gitconfig"), home.path().join("seen.txt"));
    let smudge = format!("env >>{}; cat", seen.display());
    std::fs::write(home.path().join("attributes"), "*.txt filter=left\n").unwrap();
    let attributes = home.path().join("attributes");
    let text = format!(
        "[core]\n attributesFile = {}\n[filter \"left\"]\n smudge = \"{smudge}\"\n[http]\n proxy = http://127.0.0.1:1\n",
        attributes.display()
    );
    std::fs::write(&config, text).unwrap();
    std::fs::create_dir_all(home.path().join(".config/git")).unwrap();
    std::fs::write(home.path().join(".config/git/attributes"), "*.txt filter=left\n").unwrap();
    let task = format!("---\nrepos: [{{url: '{}', provider: github}}]\n---\nDo the task.", git_server.url("private"));
    let working_dir = server.working_dir();
    let run = || run_in(server, &working_dir).account(&cloud).env("HOME", home.path()).task(&task);
    run().finish().await.exits_with(0);
    assert!(holds(&working_dir.join("private/version.txt"), "two"));
    assert!(!seen.exists(), "the filter ran");

    // Asked for, the filters run, without the password.
    std::fs::write(&config, format!("[filter \"left\"]\n smudge = \"{smudge}\"\n")).unwrap();
    std::fs::write(repositories.path("private").join(".gitattributes"), "*.txt filter=left\n").unwrap();
    git(&repositories.path("private"), &["add", "--all"]);
    git(&repositories.path("private"), &["commit", "--quiet", "--message", "attributes"]);
    run().env("GIT_CONFIG_GLOBAL", &config).finish().await.exits_with(0);
    let environment = std::fs::read_to_string(&seen).unwrap();
    assert!(environment.contains("GIT_") && !environment.contains(TOKEN), "{environment}");
}

#[tokio::test]
async fn two_runs_clone_the_same_repository_into_one_directory_at_the_same_time() {
    let repositories = Repositories::new();
    repositories.create("demo");
    // The first clone is still under way when the second begins.
    let git_server = GitServer::start(&repositories, Manner::FailsAtFirst(1)).await;
    let (llm, server) = (llm([Step::finish("Done."), Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    let working_dir = server.working_dir();
    let task = format!("---\nrepos: [{{url: '{}', provider: github}}]\n---\nDo the task.", git_server.url("demo"));
    let start = || run_in(server, &working_dir).account(&cloud).task(&task).start();
    let first = start();
    first.says("returned error: 502").await;
    assert_eq!(entries(&working_dir).len(), 1);
    let second = start();
    let (first, second) = tokio::join!(first.finish(), second.finish());
    first.exits_with(0);
    second.exits_with(0);
    let clones: Vec<String> = entries(&working_dir).into_iter().filter(|name| name.contains("demo")).collect();
    assert_eq!(clones, ["demo", "demo_1"]);
    for clone in clones {
        assert!(holds(&working_dir.join(clone).join("version.txt"), "two"));
    }
}

#[tokio::test]
async fn submodules_and_large_files_are_cloned_when_asked_for_and_named_otherwise() {
    let repositories = Repositories::new();
    repositories.create("inner");
    repositories.create("outer");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let outer = repositories.path("outer");
    let commit = git(&repositories.path("inner"), &["rev-parse", "HEAD"]);
    let modules = format!("[submodule \"inner\"]\n path = parts/inner\n url = {}\n", git_server.url("inner"));
    std::fs::write(outer.join(".gitmodules"), modules).unwrap();
    std::fs::write(outer.join(".gitattributes"), "*.bin filter=lfs\n").unwrap();
    std::fs::write(outer.join("large.bin"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    git(&outer, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},parts/inner")]);
    git(&outer, &["add", ".gitmodules", ".gitattributes", "large.bin"]);
    git(&outer, &["commit", "--quiet", "--message", "parts"]);
    let (llm, server) = (llm([Step::finish("Done."), Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    let url = git_server.url("outer");
    let run = |fields: &str| {
        let task = format!("---\nrepos: [{{url: '{url}', provider: github{fields}}}]\n---\nDo the task.");
        let working_dir = server.working_dir();
        (run_in(server, &working_dir).account(&cloud).task(&task), working_dir)
    };
    let (without, working_dir) = run("");
    let finished = without.finish().await.exits_with(0);
    finished.says("submodules: true").says("parts/inner").says("lfs: true").says("large.bin");
    assert_eq!(entries(&working_dir.join("outer/parts/inner")), Vec::<String>::new());

    let (with, working_dir) = run(", submodules: true");
    with.finish().await.exits_with(0).never_shows(TOKEN);
    assert!(holds(&working_dir.join("outer/parts/inner/version.txt"), "two"));

    // A stand-in for `git-lfs`, which git finds by its name.
    let tools = tempfile::tempdir().unwrap();
    let (tool, seen) = (tools.path().join("git-lfs"), tools.path().join("seen.txt"));
    let script = "#!/bin/sh\necho \"$1 ${OPENHANDS_RUNNER_GIT_PASSWORD:-none}\" >>SEEN\n"
        .replace("SEEN", seen.to_str().unwrap());
    std::fs::write(&tool, script).unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (with, _) = run(", lfs: true");
    with.env("PATH", format!("{}:{}", tools.path().display(), env!("PATH"))).finish().await.exits_with(0);
    let asked = std::fs::read_to_string(&seen).unwrap();
    assert_eq!(asked, format!("install none\nfetch {TOKEN}\ncheckout none\n"));
}

/// With the tool itself, where the machine has it.
#[tokio::test]
async fn the_files_of_git_lfs_have_their_content_with_the_real_tool() {
    let is_installed = std::process::Command::new("git").args(["lfs", "version"]).output().unwrap().status.success();
    if !is_installed {
        println!("left out: git-lfs is not installed");
        return;
    }
    let repositories = Repositories::new();
    repositories.create("large");
    let path = repositories.path("large");
    git(&path, &["lfs", "install", "--local"]);
    git(&path, &["lfs", "track", "*.bin"]);
    std::fs::write(path.join("large.bin"), "the whole content\n").unwrap();
    git(&path, &["add", "--all"]);
    git(&path, &["commit", "--quiet", "--message", "large"]);
    assert!(git(&path, &["show", "HEAD:large.bin"]).starts_with("version https://git-lfs"));

    let (llm, server) = (llm([Step::finish("Done."), Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    for (fields, content) in [(", lfs: true", "the whole content"), ("", "version https://git-lfs")] {
        let working_dir = server.working_dir();
        let task = format!("---\nrepos: [{{url: '{}'{fields}}}]\n---\nDo the task.", repositories.url("large"));
        let finished = run_in(server, &working_dir).llm(&llm).task(&task).finish().await.exits_with(0);
        assert!(holds(&working_dir.join("large/large.bin"), content), "{}", finished.stderr);
        assert_eq!(finished.stderr.contains("lfs: true"), fields.is_empty(), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn another_host_gets_no_token() {
    let (repositories, home) = (Repositories::new(), tempfile::tempdir().unwrap());
    repositories.create("private");
    let other = GitServer::start(&repositories, Manner::AsksForToken).await;
    let redirecting =
        GitServer::start(&repositories, Manner::RedirectsTo(other.url("").trim_end_matches('/').into())).await;
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    // The machine's git rewrites addresses.
    let config = format!("[url \"{}\"]\n insteadOf = https://github.com/octo/\n", other.url(""));
    std::fs::write(home.path().join(".gitconfig"), config).unwrap();
    let unnamed = other.url("private");
    for repo in [
        // Redirected by the host that the token is for.
        format!("{{url: '{}', provider: github}}", redirecting.url("private")),
        // Rewritten.
        "https://github.com/octo/private".to_owned(),
        // No one's host.
        unnamed,
    ] {
        let finished = run_in(server, &server.working_dir())
            .account(&cloud)
            .env("HOME", home.path())
            .env("GIT_CONFIG_GLOBAL", home.path().join(".gitconfig"))
            .task(&format!("---\nrepos: [{repo}]\n---\nDo the task."))
            .finish()
            .await
            .exits_with(69);
        finished.says("cannot clone").never_shows(TOKEN);
        assert_eq!(other.seen.lock().unwrap().authorizations, Vec::<String>::new(), "{repo}");
    }
    assert!(other.seen.lock().unwrap().requests >= 3);
}

#[tokio::test]
async fn the_token_goes_to_the_provider_itself_and_not_to_its_lookalike() {
    const HOSTS: [&str; 2] = ["github.com", "github.com.evil.example"];
    let (repositories, home) = (Repositories::new(), tempfile::tempdir().unwrap());
    repositories.create("private");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let front = TlsFront::named(&HOSTS, git_server.port(), 0).await;
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    // Git finds both names here, and trusts both.
    let trusted = home.path().join("trusted.pem");
    std::fs::write(&trusted, &front.trusted_pem).unwrap();
    let places: String = HOSTS.map(|host| format!(" curloptResolve = {host}:{}:127.0.0.1\n", front.port())).concat();
    let config = format!("[http]\n sslCAInfo = {}\n{places}", trusted.display());
    std::fs::write(home.path().join(".gitconfig"), config).unwrap();
    for (host, exit_code, gets_it) in [(HOSTS[0], 0, true), (HOSTS[1], 69, false)] {
        let before = git_server.seen.lock().unwrap().requests;
        git_server.seen.lock().unwrap().authorizations.clear();
        let url = format!("https://{host}:{}/private", front.port());
        run_in(server, &server.working_dir())
            .account(&cloud)
            .env("HOME", home.path())
            .env("GIT_CONFIG_GLOBAL", home.path().join(".gitconfig"))
            .task(&format!("---\nrepos: [{{url: '{url}', provider: github}}]\n---\nDo the task."))
            .finish()
            .await
            .exits_with(exit_code);
        let seen = git_server.seen.lock().unwrap();
        assert!(seen.requests > before, "{host} was not asked");
        assert_eq!(!seen.authorizations.is_empty(), gets_it, "{host}");
    }
}

#[tokio::test]
async fn a_lookalike_does_not_make_the_runner_read_the_token() {
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    let repos = "{url: 'https://github.com.evil.invalid/o/r', provider: github}, 'https://github.com@evil.invalid/o/r'";
    let finished = run_in(server, &server.working_dir())
        .account(&cloud)
        .task(&format!("---\nrepos: [{repos}]\nsecrets: []\n---\nDo the task."))
        .scaled(time_scale(0.1), ["git_server_delays"])
        .finish()
        .await
        .exits_with(69);
    // Which of the two is given up first is chance.
    finished.says("cannot clone https://").says("evil.invalid/o/r: fatal:");
    let asked = cloud.server.received_requests().await.unwrap();
    assert!(asked.iter().all(|request| !request.url.path().to_lowercase().ends_with("github_token")));
}

#[tokio::test]
async fn a_repository_that_cannot_be_cloned_fails_the_run_and_leaves_nothing() {
    let repositories = Repositories::new();
    repositories.create("demo");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[]).await;
    let demo = repositories.url("demo");
    for (repo, words) in [
        (format!("{{url: '{demo}', ref: nope}}"), "fatal: Remote branch nope not found"),
        (format!("{{url: '{demo}', ref: 0123456789}}"), "(ref: 0123456789): fatal:"),
        (repositories.url("missing"), "does not appear to be a git repository"),
        (
            format!("{{url: '{}', provider: github}}", git_server.url("demo")),
            ", without a token: the account has no secret github_token: fatal: could not read Username",
        ),
    ] {
        let (receiver, working_dir) = (Receiver::start().await, server.working_dir());
        run_in(server, &working_dir)
            .account(&cloud)
            .reports_to(&receiver, &unique())
            .task(&format!("---\nrepos: [{repo}]\n---\nDo the task."))
            .finish()
            .await
            .exits_with(69)
            .says(words);
        let report = receiver.accepted();
        assert_eq!(report["error"]["code"], "RepositoryNotCloned");
        assert!(report.get("conversation_id").is_none());
        assert_eq!(entries(&working_dir), Vec::<String>::new(), "{repo}");
    }
}

#[tokio::test]
async fn a_clone_that_fails_on_the_way_is_tried_again() {
    let repositories = Repositories::new();
    repositories.create("private");
    let git_server = GitServer::start(&repositories, Manner::FailsAtFirst(2)).await;
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("github_token", TOKEN)]).await;
    let working_dir = server.working_dir();
    let finished = run_in(server, &working_dir)
        .account(&cloud)
        .task(&format!("---\nrepos: [{{url: '{}', provider: github}}]\n---\nDo the task.", git_server.url("private")))
        .scaled(time_scale(0.1), ["git_server_delays"])
        .finish()
        .await
        .exits_with(0);
    finished.says("returned error: 502").says("retrying").never_shows(TOKEN);
    assert!(holds(&working_dir.join("private/version.txt"), "two"));
}

#[tokio::test]
async fn a_run_goes_on_without_an_optional_repository() {
    let repositories = Repositories::new();
    repositories.create("demo");
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let (receiver, working_dir) = (Receiver::start().await, server.working_dir());
    let (demo, missing) = (repositories.url("demo"), repositories.url("missing"));
    run_in(server, &working_dir)
        .llm(&llm)
        .reports_to(&receiver, &unique())
        .task(&format!("---\nrepos: [{{url: '{missing}', optional: true}}, '{demo}']\n---\nDo the task."))
        .finish()
        .await
        .exits_with(0)
        .says("continuing without an optional repository");
    let messages = server.user_messages(receiver.accepted()["conversation_id"].as_str().unwrap()).await;
    assert!(messages[0].contains("/demo/`\n") && !messages[0].contains("missing"), "{messages:?}");
    // The agent-server makes the working directory a repository of its own.
    assert_eq!(entries(&working_dir), [".git", "demo"]);
}

#[tokio::test]
async fn a_server_that_hangs_ends_with_the_time_limit_and_with_a_signal() {
    let repositories = Repositories::new();
    let git_server = GitServer::start(&repositories, Manner::Hangs).await;
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let url = git_server.url("hanging");
    let working_dir = server.working_dir();
    let task = |timeout: &str| format!("---\nrepos: [{{url: '{url}', timeout: {timeout}}}]\n---\nDo the task.");
    let finished = run_in(server, &working_dir).llm(&llm).task(&task("1s")).finish().await.exits_with(69);
    finished.says("no end within 1s");

    let running = run_in(server, &working_dir).llm(&llm).task(&task("5m")).start();
    let requests = || git_server.seen.lock().unwrap().requests;
    while requests() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    running.signal(Signal::SIGTERM);
    running.finish().await.exits_with(143);
    assert_eq!(entries(&working_dir), Vec::<String>::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !command_lines_with(&url).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", command_lines_with(&url));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_run_that_starts_again_goes_on_with_its_repositories() {
    let repositories = Repositories::new();
    repositories.create("demo");
    let llm = llm([Step::terminal("echo mine >>demo/version.txt"), Step::finish("Done.")]).await;
    let server = AgentServer::shared(NEWEST).await;
    let (run_id, working_dir) = (unique(), server.working_dir());
    let task = format!("---\nrepos: ['{}']\n---\nDo the task.", repositories.url("demo"));
    let event = json!({"trigger": "event", "event": {"number": 7}}).to_string();
    for _ in 0..2 {
        let receiver = Receiver::start().await;
        run_in(server, &working_dir)
            .llm(&llm)
            .env("AUTOMATION_EVENT_PAYLOAD", &event)
            .reports_to(&receiver, &run_id)
            .task(&task)
            .finish()
            .await
            .exits_with(0);
        let id = receiver.accepted()["conversation_id"].as_str().unwrap().to_owned();
        assert_eq!(server.user_messages(&id).await.len(), 1);
        assert_eq!(std::fs::read_to_string(working_dir.join("demo/version.txt")).unwrap(), "two\nmine\n");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_counted_on_and_found_again() {
    let repositories = Repositories::new();
    repositories.create("openhands-runner");
    let llm = llm([Step::finish("Done.")]).await;
    let server = AgentServer::shared(NEWEST).await;
    let (run_id, working_dir) = (unique(), server.working_dir());
    // As in the automation service's own working directory, where the program itself is.
    std::fs::write(working_dir.join("openhands-runner"), "not a repository").unwrap();
    let task = format!("---\nrepos: ['{}']\n---\nDo the task.", repositories.url("openhands-runner"));
    for words in ["cloned in", "reusing the existing conversation"] {
        let receiver = Receiver::start().await;
        let run = run_in(server, &working_dir).llm(&llm).reports_to(&receiver, &run_id).task(&task);
        run.finish().await.exits_with(0).says(words);
        let messages = server.user_messages(receiver.accepted()["conversation_id"].as_str().unwrap()).await;
        let place = format!("→ `{}/openhands-runner_1/`", working_dir.display());
        assert!(messages.len() == 1 && messages[0].contains(&place), "{messages:?}");
        assert_eq!(entries(&working_dir), [".git", "openhands-runner", "openhands-runner_1"]);
    }
}

#[tokio::test]
async fn an_optional_repository_that_comes_between_two_starts_sends_nothing_again() {
    let repositories = Repositories::new();
    let llm = llm([Step::finish("Done.")]).await;
    let server = AgentServer::shared(NEWEST).await;
    let (run_id, working_dir) = (unique(), server.working_dir());
    let task = format!("---\nrepos: [{{url: '{}', optional: true}}]\n---\nDo the task.", repositories.url("demo"));
    for words in ["continuing without an optional repository", "cloned in"] {
        let receiver = Receiver::start().await;
        let run = run_in(server, &working_dir).llm(&llm).reports_to(&receiver, &run_id).task(&task);
        run.finish().await.exits_with(0).says(words);
        let id = receiver.accepted()["conversation_id"].as_str().unwrap().to_owned();
        assert_eq!(server.user_messages(&id).await, ["Do the task."]);
        if !repositories.path("demo").exists() {
            repositories.create("demo");
        }
    }
}

#[tokio::test]
async fn a_clone_whose_checkout_fails_on_the_way_is_begun_anew() {
    let (repositories, home) = (Repositories::new(), tempfile::tempdir().unwrap());
    repositories.create("demo");
    std::fs::write(repositories.path("demo").join(".gitattributes"), "*.txt filter=fetched\n").unwrap();
    git(&repositories.path("demo"), &["add", "--all"]);
    git(&repositories.path("demo"), &["commit", "--quiet", "--message", "attributes"]);
    // As large files are fetched: the first attempt fails.
    let config = "[filter \"fetched\"]\n required = true\n \
        smudge = \"test -d ~/once && cat || { mkdir ~/once; echo 'The requested URL returned error: 503' >&2; exit 1; }\"\n";
    std::fs::write(home.path().join(".gitconfig"), config).unwrap();
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let working_dir = server.working_dir();
    let task = format!("---\nrepos: ['{}']\n---\nDo the task.", repositories.url("demo"));
    let run = run_in(server, &working_dir)
        .llm(&llm)
        .env("HOME", home.path())
        .env("GIT_CONFIG_GLOBAL", home.path().join(".gitconfig"))
        .task(&task);
    let finished = run.scaled(time_scale(0.1), ["git_server_delays"]).finish().await;
    finished.exits_with(0).says("returned error: 503").says("retrying");
    assert!(holds(&working_dir.join("demo/version.txt"), "two"));
}

#[tokio::test]
async fn a_token_that_cannot_be_used_is_named_as_it_is() {
    let repositories = Repositories::new();
    repositories.create("private");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let (llm, server) = (llm([Step::finish("Done.")]).await, AgentServer::shared(NEWEST).await);
    let task = format!("---\nrepos: [{{url: '{}', provider: github}}]\n---\nDo the task.", git_server.url("private"));
    let run = run_in(server, &server.working_dir()).llm(&llm).task(&task);
    run.finish().await.exits_with(69).says(", without a token: there is no account to take one from: fatal: ");
    for (secret, words) in [
        (("GITHUB_TOKEN", "no-such-token"), ", with the account's secret GITHUB_TOKEN: fatal: "),
        (
            ("github_token", "two\nlines"),
            ", without a token: the account's secret github_token cannot be used: fatal: ",
        ),
    ] {
        let cloud = Cloud::start(&server.key, account_settings(&llm), &[secret]).await;
        let run = run_in(server, &server.working_dir()).account(&cloud);
        run.task(&task).finish().await.exits_with(69).says(words);
    }
}

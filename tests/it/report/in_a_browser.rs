//! The page of a report in a real browser.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{page_of, run_of, run_that_ends};
use crate::support::{Browser, Step};

/// Of the page as it is shown now: whether it is wider than the window, where the verdict stands, the colours, and how much of the steps'
/// texts is seen.
const MEASURES: &str = "(() => {
    const light = color => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number); return (r + g + b) / 765; };
    const texts = [...document.querySelectorAll('details pre')];
    const verdict = document.querySelector('h1');
    return {
        too_wide: document.documentElement.scrollWidth - window.innerWidth,
        top: verdict.getBoundingClientRect().top, size: parseFloat(getComputedStyle(verdict).fontSize),
        back: light(getComputedStyle(document.body).backgroundColor), text: light(getComputedStyle(document.body).color),
        texts: texts.length, seen: texts.filter(text => text.checkVisibility() && text.clientHeight > 0).length,
        nodes: document.querySelectorAll('*').length,
    };
})()";

/// The page fits, has its verdict at its top, is readable in both colour schemes, and on paper shows what is folded.
async fn fits_everywhere(browser: &mut Browser, page: &Path) -> Value {
    browser.open(page).await;
    for (width, media, scheme) in [
        (1280, "screen", "light"),
        (1280, "screen", "dark"),
        (360, "screen", "light"),
        (360, "screen", "dark"),
        (700, "print", "light"),
        (700, "print", "dark"),
    ] {
        let what = format!("{} {width} {media} {scheme}", page.display());
        browser.show(width, media, scheme).await;
        let shown = browser.value(MEASURES).await;
        let number = |name: &str| shown[name].as_f64().unwrap();
        assert!(number("too_wide") <= 0.0, "{what}: {shown}");
        assert!(number("top") < 150.0 && number("size") >= 20.0, "{what}: {shown}");
        let is_dark = media == "screen" && scheme == "dark";
        assert_eq!(number("back") < number("text"), is_dark, "{what}: {shown}");
        assert!((number("back") - number("text")).abs() > 0.6, "{what}: {shown}");
        assert!(media != "print" || shown["seen"] == shown["texts"], "{what}: {shown}");
    }
    browser.show(1280, "screen", "light").await;
    browser.value(MEASURES).await
}

#[tokio::test]
async fn a_success_and_a_failure_fit_every_width_both_schemes_and_paper() {
    let mut browser = Browser::start().await;
    let long = "word-without-end".repeat(40);
    let done = run_of(vec![
        Step::terminal(&format!("echo {long}; exit_with() {{ return 3; }}; exit_with")),
        Step::terminal("echo fine"),
        Step::finish(&format!("It is done: {long}")),
    ])
    .await;
    let shown = fits_everywhere(&mut browser, &done.path().join("out/report.html")).await;
    // The step that failed is open, the other one is folded.
    assert!(shown["seen"].as_u64().unwrap() > 0 && shown["seen"].as_u64() < shown["texts"].as_u64(), "{shown}");
    assert_eq!(browser.value("document.querySelector('h1').textContent").await, "COMPLETED");

    let failed = run_that_ends(vec![Step::terminal("true"), Step::fail(401, "no such key")], 1).await;
    fits_everywhere(&mut browser, &failed.path().join("out/report.html")).await;
    assert_eq!(browser.value("document.querySelector('.bad h1').textContent").await, "FAILED: LLMAuthenticationError");
}

/// The lines of a run whose steps are repeated so many times.
fn repeated(lines: &str, times: usize) -> String {
    let is_step =
        |line: &&str| line.contains(r#""kind":"ActionEvent""#) || line.contains(r#""kind":"ObservationEvent""#);
    let steps: Vec<&str> = lines.lines().filter(is_step).take(2).collect();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    let (action, observation) = (id(steps[0]), id(steps[1]));
    let mut all = String::new();
    for line in lines.lines() {
        if line == steps[0] {
            for time in 0..times {
                for step in &steps {
                    let step = step.replace(&action, &format!("a{time}")).replace(&observation, &format!("o{time}"));
                    writeln!(all, "{step}").unwrap();
                }
            }
        } else if line != steps[1] {
            writeln!(all, "{line}").unwrap();
        }
    }
    all
}

#[tokio::test]
async fn a_page_of_500_steps_and_one_of_20_000_events_respond_at_once() {
    let mut browser = Browser::start().await;
    let folder = run_of(vec![Step::terminal("seq 100"), Step::finish("Done.")]).await;
    let lines = fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    for (times, steps) in [(500, 500), (10_000, 600)] {
        fs::write(folder.path().join("run.jsonl"), repeated(&lines, times)).unwrap();
        page_of(folder.path()).await;
        let shown = fits_everywhere(&mut browser, &folder.path().join("run.html")).await;
        assert!(shown["texts"].as_u64().unwrap() >= steps && shown["nodes"].as_u64().unwrap() < 30_000, "{shown}");
        // The time from a press of the mouse on the last step until its text is drawn. Both were drawn within 20 ms when this was written.
        let pressed = "new Promise(done => { const start = performance.now();
            const last = [...document.querySelectorAll('details')].at(-1); last.scrollIntoView();
            last.querySelector('summary').click();
            requestAnimationFrame(() => setTimeout(() => done([last.open, performance.now() - start]))); })";
        let pressed = browser.value(pressed).await;
        assert!(pressed[0] == json!(true) && pressed[1].as_f64().unwrap() < 30_000.0, "{pressed}");
    }
}

/// Counts connections, and ends each: a browser waits for an answer.
async fn counting_listener() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            connections.fetch_add(1, SeqCst);
            drop(connection);
        }
    });
    (address, count)
}

#[tokio::test]
async fn hostile_output_is_text_that_runs_and_fetches_nothing() {
    let (address, connections) = counting_listener().await;
    let hostile = format!(
        "</title></style></pre><script>document.title=\"owned\";fetch(\"http://{address}/script\")</script>\
         <img src=http://{address}/image onerror=document.title=\"owned\"><svg onload=document.title=\"owned\">\
         <style>@import \"http://{address}/css\";</style><iframe src=\"http://{address}/frame\"></iframe>\
         <a href=\"javascript:document.title=1\">x</a>"
    );
    let unseen = "\u{1b}[2J\u{202e}";
    let finish = Step::finish(&format!("{hostile}{unseen}"));
    let folder = run_of(vec![Step::terminal(&format!("echo '{hostile}'")), finish]).await;
    page_of(folder.path()).await;
    let mut browser = Browser::start().await;
    let page = folder.path().join("run.html");
    fits_everywhere(&mut browser, &page).await;
    let elements = "document.querySelectorAll('script, img, iframe, a, link, object, [onload], [onerror]').length";
    assert_eq!(browser.value(elements).await, 0);
    assert_eq!(browser.value("document.title").await, "COMPLETED: Do the task.");
    assert_eq!(browser.requests(), [format!("file://{}", page.display())]);
    let answer = browser.value("document.querySelector('.prose').textContent").await;
    assert_eq!(answer, format!("{hostile}\u{241b}[2JU+202E"));
    assert_eq!(browser.value("document.querySelectorAll('.prose u').length").await, 2);

    // What would get into the page in spite of all that is stopped by its policy.
    let smuggled = "new Promise(done => { document.addEventListener('securitypolicyviolation', violation =>
        done(violation.effectiveDirective)); document.body.insertAdjacentHTML('beforeend', 'HOSTILE'); })";
    let stopped = browser.value(&smuggled.replace("HOSTILE", &hostile.replace('"', "&quot;"))).await;
    assert!(stopped.as_str().is_some(), "{stopped}");
    assert_eq!(browser.value("document.title").await, "COMPLETED: Do the task.");
    assert_eq!(connections.load(SeqCst), 0, "the page has fetched something");

    // The same text as HTML does all of it, so that the browser of this test would have.
    let control = folder.path().join("control.html");
    fs::write(&control, format!("<!doctype html><title>x{hostile}")).unwrap();
    browser.open(&control).await;
    assert!(browser.requests().len() > 1 && connections.load(SeqCst) > 0, "the browser fetches nothing at all");
    assert_eq!(browser.value("document.title").await, "owned");
}

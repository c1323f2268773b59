//! Checks of what the receiver of the completion callback may send: see [`crate::hostile`].

#![expect(clippy::missing_panics_doc, reason = "a panic is what a fuzzer looks for")]

use futures_util::FutureExt as _;
use reqwest::StatusCode;
use url::Url;

use super::callback::{Delivered, Judgement, judge};
use crate::http::ResponseHead;
use crate::retry::Retryable as _;
use crate::text;

/// Checks a response to the callback: a line with the status, header lines, an empty line, the body.
pub fn callback(data: &[u8]) {
    let (head, body) = data.split_at(data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len()));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse().ok());
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else { return };
    let mut response = http_response(status, body);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (name.trim().parse(), value.trim().parse()) {
            response.headers_mut().insert::<reqwest::header::HeaderName>(name, value);
        }
    }
    let url = Url::parse("https://me:key-of-the-user-part@service.example/complete?token=key-of-the-query")
        .expect("an address");
    let judging = judge(ResponseHead::of(response, &url), &url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    match judging.now_or_never().expect("all bytes are there") {
        Ok(Judgement::Delivered(Delivered::Accepted)) => assert!(status.is_success()),
        Ok(Judgement::Delivered(Delivered::AlreadySettled)) => assert_eq!(status, StatusCode::CONFLICT),
        Ok(Judgement::Follow(target)) => assert_eq!(target.host(), url.host(), "the key goes to another host"),
        Err(error) => {
            let _ = (error.retry(), error.may_be_accepted());
            let shown = text::chain(&error);
            assert!(!shown.contains("key-of-the-user-part") && !shown.contains("key-of-the-query"), "{shown}");
        }
    }
}

fn http_response(status: StatusCode, body: &[u8]) -> reqwest::Response {
    let mut response = tokio_tungstenite::tungstenite::http::Response::new(body.to_vec());
    *response.status_mut() = status;
    response.into()
}

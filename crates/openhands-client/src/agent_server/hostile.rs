//! Checks of what an agent-server may send: see [`crate::hostile`].

use futures_util::{FutureExt as _, StreamExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Event;
use super::endpoints::{AgentProfileList, BashResult, GitChange, GitDiff};
use super::settings::{Profile, ProfileList, SecretList, ServerSettings};
use super::short_frames::{LONGEST_FRAME, ShortFrames};
use super::skill::SkillList;
use super::wire::{BashPage, ConversationInfo, EventPage, FinalResponse, ServerInfo, Usage};
use crate::http::json;

/// Checks an event of a conversation.
pub fn event(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(event) = Event::parse(text.as_ref()) else { return };
    assert_eq!(event.raw(), text, "an event is passed on byte for byte");
    let _ = (event.meaning(), event.finish_arguments(), event.mcp_tools());
    let _ = format!("{event:?}");
}

/// The longest message in this test, in bytes.
const LONGEST: usize = 1 << 20;

/// Checks frames of the events socket. The first byte determines in which pieces they arrive.
pub fn frames(data: &[u8]) {
    let Some((&pieces, frames)) = data.split_first() else { return };
    let config = WebSocketConfig::default().max_message_size(Some(LONGEST));
    let whole = messages(frames, config.max_frame_size(Some(LONGEST)));
    let head: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    let stream = [head, frames].concat();
    let (first, rest) = stream.split_at(usize::from(pieces).min(stream.len()));
    let mut short = ShortFrames::new(tokio::io::join(first.chain(rest), tokio::io::sink()), LONGEST as u64);
    let mut seen = vec![0; head.len()];
    short.read_exact(&mut seen).now_or_never().expect("all bytes are there").expect("the head is there");
    assert_eq!(seen, head);
    let cut = messages(short, config.max_frame_size(Some(LONGEST_FRAME)));
    // A frame that is cut may fail earlier or later than a whole one, but what is read before that is the same.
    let both = whole.len().min(cut.len());
    assert_eq!(whole[..both], cut[..both]);
}

/// Returns the messages until the connection ends or fails.
fn messages(stream: impl tokio::io::AsyncRead + Unpin + Send, config: WebSocketConfig) -> Vec<Message> {
    let stream = tokio::io::join(stream, tokio::io::sink());
    let reading = async {
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await;
        let mut messages = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            messages.push(message);
        }
        messages
    };
    reading.now_or_never().expect("all bytes are there")
}

/// Checks the body of a response, parsed as each endpoint would parse it.
pub(crate) fn responses(data: &[u8]) {
    read::<ConversationInfo>(data);
    read::<EventPage>(data);
    read::<BashPage>(data);
    read::<BashResult>(data);
    read::<ServerInfo>(data);
    read::<FinalResponse>(data);
    read::<SkillList>(data);
    read::<ServerSettings>(data);
    read::<Profile>(data);
    read::<ProfileList>(data);
    read::<AgentProfileList>(data);
    read::<SecretList>(data);
    read::<Vec<GitChange>>(data);
    read::<GitDiff>(data);
    if let Ok(settings) = serde_json::from_slice::<ServerSettings>(data) {
        let _ = (settings.llm(), settings.is_acp(), settings.mcp_servers());
    }
    if let Ok(stats) = serde_json::from_slice::<Value>(data) {
        let _ = Usage::parse(&stats.to_string());
    }
    let text = String::from_utf8_lossy(data);
    let _ = (super::client::capabilities_of(&text), json::without_lone_surrogates(&text));
}

fn read<T: DeserializeOwned>(data: &[u8]) {
    let _ = serde_json::from_slice::<T>(data);
}

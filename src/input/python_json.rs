//! JSON as Python's `json` writes it: with `NaN` and `Infinity`, halves of surrogate pairs, and any depth of nesting.

use std::borrow::Cow;

use openhands_client::http::json::without_lone_surrogates;
use serde::Deserialize as _;
use serde_json::Value;

/// The maximum depth of nesting.
const DEEPEST: usize = 512;

/// Parses a text. Half of a surrogate pair becomes U+FFFD; `NaN` and `Infinity` become null, with a warning.
///
/// # Errors
/// Why it cannot be parsed.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let text = without_lone_surrogates(text);
    let (text, depth) = without_constants(&text);
    if depth > DEEPEST {
        return Err(format!("nested more than {DEEPEST} levels deep"));
    }
    if let Cow::Owned(_) = text {
        tracing::warn!("AUTOMATION_EVENT_PAYLOAD holds NaN or Infinity, which are read as null");
    }
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Replaces each `NaN`, `Infinity` and `-Infinity` outside of strings by `null`, and returns the depth of nesting.
fn without_constants(json: &str) -> (Cow<'_, str>, usize) {
    let (mut plain, mut copied) = (String::new(), 0);
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(byte) = json.as_bytes().get(at) {
        at += match byte {
            b'"' => length_of_text(&json.as_bytes()[at..]),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
                1
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                1
            }
            b'N' | b'I' | b'-' => {
                let rest = &json[at..];
                match ["NaN", "Infinity", "-Infinity"].into_iter().find(|constant| rest.starts_with(constant)) {
                    Some(constant) => {
                        plain.push_str(&json[copied..at]);
                        plain.push_str("null");
                        copied = at + constant.len();
                        constant.len()
                    }
                    None => 1,
                }
            }
            _ => 1,
        };
    }
    if copied == 0 {
        return (Cow::Borrowed(json), deepest);
    }
    plain.push_str(&json[copied..]);
    (Cow::Owned(plain), deepest)
}

/// Returns the length of a JSON string with its quotes.
fn length_of_text(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    json.len()
}

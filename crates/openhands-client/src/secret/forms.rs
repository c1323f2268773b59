//! The forms in which a secret may appear in a text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that RFC 3986 does not escape.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The additional characters that `encodeURIComponent` of a browser and `quote` of Python do not escape.
const COMPONENT: &AsciiSet = &UNRESERVED.remove(b'/').remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Returns the secret as it is, and in the forms that a sink or a peer may write: JSON-escaped, `Debug`-quoted, quoted for a
/// shell, on one line, in a patch, in HTML or XML, percent-encoded, in base64, in hexadecimal digits. No form is shorter than
/// `shortest` bytes, and each is in the list once.
pub(super) fn forms(secret: &str, shortest: usize) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let debug = format!("{secret:?}");
    let debug = debug[1..debug.len() - 1].to_owned();
    let percent = utf8_percent_encode(secret, UNRESERVED).to_string();
    let mut forms = vec![
        secret.to_owned(),
        secret.split_whitespace().collect::<Vec<_>>().join(" "),
        ascii(&json),
        // A JSON log line whose field is already quoted.
        escaped_again(&debug),
        // JSON in the arguments of a tool call, which are themselves JSON in a text field of an event.
        escaped_again(&escaped_again(&json)),
        escaped_again(&json),
        json.clone(),
        debug,
        percent.replace("%20", "+"),
    ];
    // JSON for a web page as Go writes it, and JSON as PHP writes it.
    forms.push(replaced(&json, &[('&', "\\u0026"), ('<', "\\u003c"), ('>', "\\u003e")]));
    forms.push(json.replace('/', "\\/"));
    // Inside single quotes in a shell.
    forms.push(secret.replace('\'', "'\\''"));
    for (quote, apostrophe) in
        [("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&#34;", "&#39;"), ("&quot;", "&apos;"), ("\"", "'")]
    {
        let entities = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', quote), ('\'', apostrophe)];
        forms.push(replaced(secret, &entities));
    }
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    // A short form would be found in ordinary numbers.
    if hex.len() >= 2 * SHORTEST_HEX {
        forms.extend([hex.to_ascii_uppercase(), hex]);
    }
    if secret.contains('\n') {
        // The lines of a patch.
        forms.extend(["\n+", "\n-", "\n "].map(|begin| secret.replace('\n', begin)));
    }
    for kept in [UNRESERVED, COMPONENT, NON_ALPHANUMERIC] {
        let percent = utf8_percent_encode(secret, kept).to_string();
        forms.extend([lower_case_escapes(&percent), percent]);
    }
    forms.extend((0..3).flat_map(|offset| base64_at(secret, offset)));
    forms.retain(|form| form.len() >= shortest);
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Returns the forms whose beginning and end are searched separately, in case a secret is split over texts: as it is, in JSON,
/// and in JSON inside JSON.
pub(super) fn forms_in_pieces(secret: &str) -> [String; 3] {
    let json = serde_json::Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    [secret.to_owned(), escaped_again(&json), json]
}

/// The minimum number of bytes of a secret that is searched in hexadecimal digits.
const SHORTEST_HEX: usize = 8;

fn replaced(text: &str, replacements: &[(char, &str)]) -> String {
    let mut result = String::with_capacity(text.len());
    for char in text.chars() {
        match replacements.iter().find(|(replaced, _)| *replaced == char) {
            Some((_, replacement)) => result.push_str(replacement),
            None => result.push(char),
        }
    }
    result
}

/// Returns JSON as Python writes it, in ASCII.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_ascii() {
            text.push(char);
        } else {
            let escape = |unit: &mut u16| format!("\\u{unit:04x}");
            text.extend(char.encode_utf16(&mut [0; 2]).iter_mut().map(escape));
        }
    }
    text
}

fn escaped_again(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Writes `%2b` instead of `%2B`.
fn lower_case_escapes(percent: &str) -> String {
    let mut after_percent = 0_u8;
    let lower = |char: char| {
        let char = if after_percent > 0 { char.to_ascii_lowercase() } else { char };
        after_percent = if char == '%' { 2 } else { after_percent.saturating_sub(1) };
        char
    };
    percent.chars().map(lower).collect()
}

/// Returns the part of the secret's base64 form that does not depend on its neighbours, in both alphabets, if this many bytes
/// (modulo 3) come before it, such as the user name in `Basic` credentials. A short core is left out, because it would be found
/// in other text too.
fn base64_at(secret: &str, offset: usize) -> Vec<String> {
    const SHORTEST_CORE: usize = 10;
    let bytes: Vec<u8> = std::iter::repeat_n(0, offset).chain(secret.bytes()).collect();
    let encoded = STANDARD_NO_PAD.encode(&bytes);
    // A character at either end may contain bits of the neighbouring bytes.
    let first = (offset * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    let core = encoded.get(first..last).unwrap_or_default();
    if core.len() < SHORTEST_CORE {
        return Vec::new();
    }
    vec![core.to_owned(), core.replace('+', "-").replace('/', "_")]
}

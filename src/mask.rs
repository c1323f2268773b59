//! Removes what looks like a secret from text that others will read, where nobody told us the secret itself.
//!
//! Rather one word too many than a key: the texts are summaries, not data.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::secret::{MASK, Secret};

/// How well-known keys begin.
const PREFIXES: &[&str] = &[
    "sk-",
    "sk_live_",
    "rk_live_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gsk_",
    "hf_",
    "tgp_v1_",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "AKIA",
    "ASIA",
    "AIza",
    "ATATT",
    "lin_api_",
    "tvly-",
    "sntryu_",
    "ctx7sk-",
    "cla_",
    "npm_",
    "pypi-",
    "eyJ",
];

/// What follows a prefix must be this long, in bytes: `sk-learn` is no key.
const SHORTEST_KEY: usize = 10;

/// Parts of names whose values are secrets.
const NAMES: &[&str] = &["key", "secret", "token", "passw", "pwd", "authorization", "credential"];

/// Whether a word is like a token, whatever its name: it begins as keys do, or is long and random.
#[must_use]
pub fn is_token(word: &str) -> bool {
    const SHORTEST: usize = 24;
    let holds = |kind: fn(&char) -> bool| word.chars().any(|char| kind(&char));
    let is_mixed = holds(char::is_ascii_uppercase) && holds(char::is_ascii_lowercase) && holds(char::is_ascii_digit);
    let is_hex = word.len() >= 32 && word.chars().all(|char| char.is_ascii_hexdigit());
    let is_one_word = word.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '+' | '='));
    well_known(word) != word || (word.len() >= SHORTEST && is_one_word && (is_mixed || is_hex))
}

/// What of an address must not be seen: its user part, and values of its query that are or look like secrets. A short user
/// name stands in ordinary text too, and is no token.
#[must_use]
pub fn secrets_of_address(url: &Url) -> Vec<Secret> {
    const SHORTEST_TOKEN: usize = 16;
    let user = Some(url.username()).filter(|user| user.len() >= SHORTEST_TOKEN);
    let pairs = url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let values = pairs.filter(|(name, value)| is_secret_name(name) || is_token(value)).map(|(_, value)| value);
    // As it stands in the address, and as it is meant.
    let forms = |text: &str| [text.to_owned(), percent_decode_str(text).decode_utf8_lossy().into_owned()];
    user.into_iter().chain(url.password()).chain(values).flat_map(forms).map(Secret::new).collect()
}

/// The text with [`MASK`] in the place of what looks like a key, a password, or the user part of an address.
#[must_use]
pub fn lookalikes(text: &str) -> String {
    let mut masked = Vec::new();
    let mut expects_value = false;
    for word in text.split(' ') {
        if expects_value && is_scheme(word) {
            masked.push(word.to_owned());
            continue;
        }
        let value = bare(word);
        if expects_value && is_random(value) {
            masked.push(word.replacen(value, MASK, 1));
            expects_value = false;
            continue;
        }
        expects_value = is_scheme(word) || names_a_secret(word);
        masked.push(assignment(&well_known(&user_part(word))));
    }
    masked.join(" ")
}

fn bare(word: &str) -> &str {
    word.trim_matches(|char: char| {
        matches!(char, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '[' | ']' | '{' | '}' | '\\')
    })
}

fn is_scheme(word: &str) -> bool {
    matches!(bare(word).to_ascii_lowercase().as_str(), "bearer" | "basic")
}

/// Whether a word says that a secret comes next: `token:`, `"api_key":`, `--password`.
fn names_a_secret(word: &str) -> bool {
    let name = word.trim_end_matches(['"', '\'']);
    (name.ends_with([':', '=']) || name.starts_with("--")) && is_secret_name(name)
}

/// Whether a name says that its value is a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

/// The secrets in the value of a field, a header or a variable of this name.
#[must_use]
pub fn secrets_of_field(name: &str, text: &str) -> Vec<Secret> {
    if is_secret_name(name) {
        return vec![key_of(name, text)];
    }
    let words = text.split(|char: char| char.is_whitespace() || ",;:=\"'".contains(char));
    words.filter(|word| is_token(word)).map(Secret::new).collect()
}

/// The value without the scheme of an authorization.
#[must_use]
pub fn key_of(name: &str, text: &str) -> Secret {
    let (scheme, key) = text.trim().split_once(' ').unwrap_or(("", text));
    let is_scheme = ["bearer", "basic", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let has_scheme = is_scheme || name.to_ascii_lowercase().ends_with("authorization");
    Secret::new(if has_scheme { key.trim() } else { text })
}

/// Whether a word is no word of a language.
fn is_random(word: &str) -> bool {
    word.len() >= 6 && word.contains(|char: char| !char.is_ascii_lowercase())
}

/// `https://user:password@host` without its user part.
fn user_part(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}://{MASK}{}", &rest[at..]),
        None => word.to_owned(),
    }
}

fn well_known(word: &str) -> String {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let mut masked = word.to_owned();
    for prefix in PREFIXES {
        let mut from = 0;
        while let Some(found) = masked[from..].find(prefix) {
            let start = from + found;
            let begins = start == 0 || !masked.as_bytes()[start - 1].is_ascii_alphanumeric();
            let length = masked.as_bytes()[start..].iter().take_while(|byte| is_part(byte)).count();
            if begins && length >= prefix.len() + SHORTEST_KEY {
                masked.replace_range(start..start + length, MASK);
                from = start + MASK.len();
            } else {
                from = start + prefix.len();
            }
        }
    }
    masked
}

/// `name=value` and `"name":"value"` without their values, where the name is that of a secret. What follows a value may
/// hold the next one, as in a query.
fn assignment(word: &str) -> String {
    let mut shown = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(['=', ':']) {
        let (name, after) = rest.split_at(at + 1);
        let value = after.trim_start_matches(['"', '\'', '\\']);
        shown.push_str(name);
        shown.push_str(&after[..after.len() - value.len()]);
        let (value, others) = value.split_at(value.find(['&', '"', '\'', ')', ']', '}', '\\']).unwrap_or(value.len()));
        let is_secret = is_secret_name(name) && !value.is_empty();
        if value.starts_with("//") || (!is_secret && value.contains("://")) {
            // Of an address only the query has names and values.
            let query = value.find('?').map_or(value.len(), |at| at + 1);
            shown.push_str(&value[..query]);
            rest = &after[after.len() - others.len() - (value.len() - query)..];
        } else {
            shown.push_str(if is_secret { MASK } else { value });
            rest = others;
        }
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_passwords_and_user_parts_are_removed() {
        for (text, expected) in [
            ("export OPENAI_API_KEY=sk-proj-0123456789abc", "export OPENAI_API_KEY=***"),
            ("curl -H 'Authorization: Bearer abcDEF123456'", "curl -H 'Authorization: Bearer ***'"),
            ("push to https://x:hunter22@host/a?b=c now", "push to https://***@host/a?b=c now"),
            ("GET https://h/?access_token=abc&page=2", "GET https://h/?access_token=***&page=2"),
            (r#"send {"api_key": "Abc123xyz"} on"#, r#"send {"api_key": "***"} on"#),
            (r#"send {"password":"x"} on"#, r#"send {"password":"***"} on"#),
            ("login --password Tr0ub4dor", "login --password ***"),
            ("with ghp_0123456789abcdef.", "with ***"),
            ("a=1&token=x&b=2", "a=1&token=***&b=2"),
            (r#"{"url":"https://h/?token=x","key":"y"}"#, r#"{"url":"https://h/?token=***","key":"***"}"#),
        ] {
            assert_eq!(lookalikes(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "Install sk-learn and check the token: it expires",
            "Look at src/main.rs:12: no key",
            "Open https://github.com/octo/alpha/pull/7?tab=files",
            "a = b, c: d — ä",
            "",
        ] {
            assert_eq!(lookalikes(text), text);
        }
    }

    #[test]
    fn a_token_is_told_from_a_name() {
        for token in ["ghp_0123456789abcdef", "aB3dE6gH9jK2mN5pQ8sT1vW4", "0123456789abcdef0123456789abcdef"] {
            assert!(is_token(token), "{token}");
        }
        for name in ["production", "claude-sonnet-4-5-20250929", "Qwen2.5-Coder-32B-Instruct", "/home/Me/a1", "1", ""] {
            assert!(!is_token(name), "{name}");
        }
    }

    #[test]
    fn an_address_has_secrets_in_its_user_part_and_its_query() {
        let secrets = |url: &str| -> Vec<String> {
            let secrets = secrets_of_address(&Url::parse(url).unwrap());
            secrets.iter().map(|secret| secret.expose().to_owned()).collect()
        };
        assert_eq!(
            secrets("https://me:hunter%4022@h/?api_key=a%2Bb&page=2"),
            ["hunter%4022", "hunter@22", "a%2Bb", "a+b"]
        );
        assert_eq!(secrets("https://me@h/p?mode=production#key=1"), Vec::<String>::new());
        let token = "ghp_0123456789abcdef";
        assert_eq!(secrets(&format!("https://{token}@h/?x={token}")), [token; 4]);
    }

    #[test]
    fn a_text_of_any_length_is_taken_in_one_go() {
        for (piece, expected, length) in [
            ("a=b&", "a=b&", 1 << 20),
            (r#""key":"b","#, r#""key":"***","#, 1 << 20),
            // Each looks for its end in all of the rest.
            ("a=//?", "a=//?", 1 << 14),
        ] {
            let count = length / piece.len();
            assert!(lookalikes(&piece.repeat(count)) == expected.repeat(count), "{piece}");
        }
    }

    #[test]
    fn odd_text_does_no_harm() {
        for text in ["=", ":", "://", "a://@", "token=", "key=\"", "ä=ö:ü", "sk-", "eyJ=eyJ0123456789", "?token=ä&"]
        {
            assert!(!lookalikes(text).contains("0123456789"), "{text}");
        }
    }
}

//! Removes what looks like a secret from text that others will read, where nobody told us the secret itself.
//!
//! Rather one word too many than a key: the texts are summaries, not data.

use crate::secret::MASK;

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
    (name.ends_with([':', '=']) || name.starts_with("--")) && holds_secret_name(name)
}

fn holds_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
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

/// `name=value` and `"name":"value"` without their values, where the name is that of a secret.
fn assignment(word: &str) -> String {
    let Some(at) = word.find(['=', ':']) else { return word.to_owned() };
    let (name, rest) = word.split_at(at + 1);
    let start = rest.len() - rest.trim_start_matches(['"', '\'', '\\']).len();
    let value = &rest[start..];
    let end = value.find(['&', '"', '\'', ')', ']', '}', '\\']).unwrap_or(value.len());
    // What follows may hold the next one, as in a query.
    let tail = &value[end..];
    let tail = tail.chars().next().map_or_else(String::new, |first| {
        let (first, others) = tail.split_at(first.len_utf8());
        format!("{first}{}", assignment(others))
    });
    let is_address = value.starts_with("//");
    let shown = if holds_secret_name(name) && end > 0 && !is_address { MASK } else { &value[..end] };
    let value = if is_address { assignment_in_query(&value[..end]) } else { shown.to_owned() };
    format!("{name}{}{value}{tail}", &rest[..start])
}

fn assignment_in_query(address: &str) -> String {
    match address.split_once('?') {
        Some((address, query)) => format!("{address}?{}", assignment(query)),
        None => address.to_owned(),
    }
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
    fn odd_text_does_no_harm() {
        for text in ["=", ":", "://", "a://@", "token=", "key=\"", "ä=ö:ü", "sk-", "eyJ=eyJ0123456789", "?token=ä&"]
        {
            assert!(!lookalikes(text).contains("0123456789"), "{text}");
        }
    }
}

//! Masks text that looks like a secret before others read it, for secrets that we do not know.
//!
//! Masked are words with a known key prefix, the user part of a URL, and the value of a name that clearly belongs to a secret.
//! Other text is not changed, because people read it.

mod fields;
mod names;

pub use self::fields::{key_of, secrets_of_address, secrets_of_arguments, secrets_of_field, secrets_of_own_address};
pub use self::names::{describes_secret, is_secret_name};

use self::names::{ends_with_quoted_key, is_secret_name_in_text};
use crate::secret::MASK;

/// The prefixes of well-known keys.
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

/// The minimum number of bytes after a prefix: `sk-learn` is not a key.
const SHORTEST_KEY: usize = 10;

/// Returns whether a word looks like a token, whatever its name: it has the prefix of a key, or is long and random.
#[must_use]
pub fn is_token(word: &str) -> bool {
    const SHORTEST: usize = 24;
    let holds = |kind: fn(&char) -> bool| word.chars().any(|char| kind(&char));
    let is_mixed = holds(char::is_ascii_uppercase) && holds(char::is_ascii_lowercase) && holds(char::is_ascii_digit);
    let is_hex = word.len() >= 32 && word.chars().all(|char| char.is_ascii_hexdigit());
    let is_one_word = word.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '+' | '='));
    well_known(word) != word || (word.len() >= SHORTEST && is_one_word && (is_mixed || is_hex))
}

/// Returns whether a word has the prefix of a key and contains digits, as keys do.
#[must_use]
pub fn begins_as_key(word: &str) -> bool {
    well_known(word) != word && word.contains(|char: char| char.is_ascii_digit())
}

/// Replaces anything that looks like a key, a password or the user part of a URL by [`MASK`].
#[must_use]
pub fn mask_suspected(text: &str) -> String {
    let mut masked = Vec::new();
    let mut expects_value = false;
    for word in text.split(' ') {
        if expects_value && is_scheme(word) {
            masked.push(word.to_owned());
            continue;
        }
        let value = bare(word);
        if expects_value && may_be_key(value) {
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

/// Returns whether a word announces a secret: `token:`, `"api_key":`, `--password`.
fn names_a_secret(word: &str) -> bool {
    let name = word.trim_end_matches(['"', '\'']);
    (name.ends_with([':', '=']) || name.starts_with("--")) && is_secret_name_in_text(name)
}

/// Returns whether a word after the name of a secret may be that secret: it has letters and digits, and is not a file name.
fn may_be_key(word: &str) -> bool {
    let holds = |kind: fn(&char) -> bool| word.chars().any(|char| kind(&char));
    is_random(word) && holds(char::is_ascii_digit) && holds(char::is_ascii_alphabetic) && !word.contains('/')
}

/// Returns whether a word is not a word of a natural language.
fn is_random(word: &str) -> bool {
    word.len() >= 6 && word.contains(|char: char| !char.is_ascii_lowercase())
}

/// Returns `https://user:password@host` without its user part.
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

/// Returns whether a value stands for another one: `$PASSWORD`, `${PASSWORD` or `<password>`.
fn is_placeholder(value: &str) -> bool {
    let value = value.trim_end_matches([',', ';']);
    let of_variable = value.strip_prefix('$').map(|name| name.trim_start_matches('{'));
    let of_person = value.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
    let is_name =
        |name: &str, kind: fn(char) -> bool| !name.is_empty() && name.chars().all(|char| kind(char) || char == '_');
    of_variable.is_some_and(|name| is_name(name, |char| char.is_ascii_uppercase()))
        || of_person.is_some_and(|name| is_name(name, |char| char.is_ascii_lowercase()))
}

/// Returns `name=value` and `"name":"value"` without the value, if the name is that of a secret. The text after a value may
/// contain the next pair, as in a query.
fn assignment(word: &str) -> String {
    let mut shown = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(['=', ':']) {
        let (name, after) = rest.split_at(at + 1);
        let value = after.trim_start_matches(['"', '\'', '\\']);
        shown.push_str(name);
        shown.push_str(&after[..after.len() - value.len()]);
        let (value, others) = value.split_at(value.find(['&', '"', '\'', ')', ']', '}', '\\']).unwrap_or(value.len()));
        let names_secret = is_secret_name_in_text(name) || ends_with_quoted_key(name);
        let is_secret = !value.is_empty() && names_secret && !is_placeholder(value);
        if value.starts_with("//") || (!is_secret && value.contains("://")) {
            // In a URL, only the query has names and values.
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
            ("DB_PASS=hunter22 AZURE_DEVOPS_PAT=abc make", "DB_PASS=*** AZURE_DEVOPS_PAT=*** make"),
            (r#"{"smtpPass": "Hunter22"}"#, r#"{"smtpPass": "***"}"#),
            (r#"{"url":"https://h/?token=x","key":"y"}"#, r#"{"url":"https://h/?token=***","key":"***"}"#),
        ] {
            assert_eq!(mask_suspected(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "Install sk-learn and check the token: it expires",
            "Look at src/main.rs:12: no key",
            "Tests pass: TestLogin and test_author=Me, compass:North, src/auth/login.rs:12",
            "Fix auth: Refactor the cookie: SameSite, auth_type=OAuth2, bypassed=Yes",
            "Open https://github.com/octo/alpha/pull/7?tab=files",
            "monkey: see README.md, turkey=Brown12, keyword=Match99, max_tokens=4096",
            "Key: value (README.md), key=README.md, the hotkey: Ctrl+K7",
            "Secret: see docs/Secrets2.md; tokenizer=GPT2",
            "token_count=3000, tokenBudget=8K, cache-key: v1-npm-lock, cache_key=npm-linux-x64, sort_key=created_at, partitionKey=tenant1",
            "DB_PASSWORD=$PASSWORD, api_key=${API_KEY}, password=<redacted>",
            "a = b, c: d — ä",
            "",
        ] {
            assert_eq!(mask_suspected(text), text);
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
    fn a_text_of_any_length_is_taken_in_one_go() {
        for (piece, expected, length) in [
            ("a=b&", "a=b&", 1 << 20),
            (r#""key":"b","#, r#""key":"***","#, 1 << 20),
            // Each search for the end reads the rest of the text.
            ("a=//?", "a=//?", 1 << 14),
        ] {
            let count = length / piece.len();
            assert!(mask_suspected(&piece.repeat(count)) == expected.repeat(count), "{piece}");
        }
    }

    #[test]
    fn odd_text_does_no_harm() {
        for text in ["=", ":", "://", "a://@", "token=", "key=\"", "ä=ö:ü", "sk-", "eyJ=eyJ0123456789", "?token=ä&"]
        {
            assert!(!mask_suspected(text).contains("0123456789"), "{text}");
        }
    }
}

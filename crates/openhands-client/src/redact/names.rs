//! Names whose values are secrets.

/// Endings of words whose values are secrets, alone or after another word, as in `dbpassword`.
const ENDINGS: &[&str] = &[
    "secret",
    "secrets",
    "token",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "authorization",
    "credential",
    "credentials",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "signingkey",
    "authkey",
];

/// Words that count only as whole words, and not inside a longer word such as `passed`, `author`, `path` or `monkey`.
const WORDS: &[&str] = &["auth", "cookie", "cookies", "creds", "jwt", "key", "pass", "pat"];

/// Words of the list above that also appear in names of other things.
const VAGUE: &[&str] = &["auth", "cookie", "cookies", "key"];

/// Words before `key` that make it a secret.
const OF_KEYS: &[&str] =
    &["api", "access", "auth", "encryption", "private", "secret", "session", "signing", "subscription"];

/// Words before `key` that make it one by which something is found.
const OF_PLACES: &[&str] = &["cache", "foreign", "group", "partition", "primary", "routing", "row", "sort"];

/// Last words of names that describe a secret but whose value is not one.
const DESCRIPTIONS: &[&str] = &[
    "at", "budget", "count", "domain", "enabled", "endpoint", "env", "expires", "file", "format", "host", "id",
    "limit", "max", "method", "mode", "name", "path", "policy", "port", "prefix", "provider", "realm", "scheme",
    "server", "strategy", "through", "type", "ttl", "uri", "url", "usage", "user", "username", "version",
];

/// Prefixes of options that turn something off.
const NEGATIONS: &[&str] = &["--no-", "--skip-", "--disable-", "--without-"];

/// Returns whether the value of this name is a secret. Only whole words count: `monkey` and `max_tokens` are not such names.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let is_negated = NEGATIONS.iter().any(|negation| name.starts_with(negation));
    !is_negated && !describes_secret(name) && (has_ending(name) || has_word(name))
}

/// Returns whether the value of this secret name is a secret, whatever it looks like. `key`, `auth` and `cookie` are part of many
/// other names.
pub(super) fn is_surely_secret_name(name: &str) -> bool {
    let parts: Vec<String> = parts(name).collect();
    let is_key = parts.windows(2).any(|pair| pair[1] == "key" && OF_KEYS.contains(&pair[0].as_str()));
    let is_word = |part: &String| WORDS.contains(&part.as_str()) && !VAGUE.contains(&part.as_str());
    is_key || has_ending(name) || parts.iter().any(is_word)
}

/// Returns whether a name counts as secret only because of a word that also has other meanings.
pub(super) fn is_secret_by_part(name: &str) -> bool {
    !is_surely_secret_name(name)
}

/// Returns whether a name describes a secret, as `token_type` does.
#[must_use]
pub fn describes_secret(name: &str) -> bool {
    parts(name).last().is_some_and(|part| DESCRIPTIONS.contains(&part.as_str()))
}

/// Returns whether a text for people ends with the name of a secret. A single word such as "pass" or "key" does not count there:
/// "the tests pass: …", "Key: value".
pub(super) fn is_secret_name_in_text(text: &str) -> bool {
    let name = name_at_end(text);
    let is_name = name.starts_with("--") || parts(name).count() > 1;
    is_secret_name(name) && (has_ending(name) || is_name)
}

/// Returns whether a text ends with `"key"`, the name of a JSON field.
pub(super) fn ends_with_quoted_key(text: &str) -> bool {
    let name = name_at_end(text);
    let before = text.rfind(name).and_then(|at| text[..at].chars().next_back());
    name.eq_ignore_ascii_case("key") && before == Some('"')
}

fn name_at_end(text: &str) -> &str {
    let end = text.trim_end_matches(|char: char| !char.is_ascii_alphanumeric());
    end.rsplit(|char: char| !is_of_name(char)).next().unwrap_or_default()
}

fn has_word(name: &str) -> bool {
    let mut before = String::new();
    parts(name).any(|part| {
        let is_place = part == "key" && OF_PLACES.contains(&before.as_str());
        let is_word = WORDS.contains(&part.as_str()) && !is_place;
        before = part;
        is_word
    })
}

fn has_ending(name: &str) -> bool {
    parts(name).any(|part| ENDINGS.iter().any(|ending| part.ends_with(ending)))
}

pub(super) fn is_of_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

/// Splits `DB_PASS`, `X-Auth` or `dbPass` into its parts, in lower case.
pub(super) fn parts(name: &str) -> impl Iterator<Item = String> {
    let mut apart = String::with_capacity(name.len());
    let mut before = None;
    for char in name.chars() {
        if char.is_ascii_uppercase() && before.is_some_and(|before: char| before.is_ascii_lowercase()) {
            apart.push(' ');
        }
        apart.push(if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { ' ' });
        before = Some(char);
    }
    apart.split(' ').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_whole_words() {
        for name in ["dbpassword", "GITHUB_TOKEN", "mytoken", "x-api-key", "apiKey", "key", "client_secret"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["monkey", "turkey", "keyword", "max_tokens", "tokenizer", "hotkeys", "secretary", "token_limit"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn the_parts_of_a_name_decide_where_longer_words_mean_something_else() {
        for name in ["DB_PASS", "smtpPass", "X-Auth", "auth", "--pass", "AZURE_DEVOPS_PAT", "Set-Cookie", "PASSPHRASE"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["author", "PASSED", "compass", "PATH", "pattern", "AUTH_TYPE", "authUrl", "COOKIE_DOMAIN", "oauth"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}

//! Names that say that their value is a secret.

/// What names hold whose values are secrets.
const NAMES: &[&str] = &["key", "secret", "token", "passw", "passphrase", "pwd", "authorization", "credential"];

/// Whole parts of such names; in longer words, as `passed`, `author` and `path`, they mean nothing.
const PARTS: &[&str] = &["auth", "cookie", "cookies", "creds", "jwt", "pass", "pat"];

/// The last part of a name that tells something about a secret, and whose value is none.
const DESCRIPTIONS: &[&str] = &[
    "at", "domain", "enabled", "endpoint", "env", "file", "format", "host", "id", "limit", "max", "method", "mode",
    "name", "path", "policy", "port", "prefix", "provider", "realm", "scheme", "server", "strategy", "through", "type",
    "uri", "url", "user", "username",
];

/// How options begin that turn something off.
const NEGATIONS: &[&str] = &["--no-", "--skip-", "--disable-", "--without-"];

/// Whether a name says that its value is a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let is_negated = NEGATIONS.iter().any(|negation| name.starts_with(negation));
    !is_negated && (holds_secret_name(name) || (has_secret_part(name) && !describes_secret(name)))
}

/// Whether a value of this secret name is one, whatever it looks like: other keys, counted tokens, `auth` and `cookie` stand in
/// many names.
pub(super) fn is_surely_secret_name(name: &str) -> bool {
    const KEYS: [&str; 5] = ["apikey", "accesskey", "privatekey", "signingkey", "authkey"];
    let whole: String = parts(name).collect();
    let is_part = |part: &str| PARTS.contains(&part) && part != "auth" && !part.starts_with("cookie");
    NAMES
        .iter()
        .filter(|part| **part != "key")
        .chain(&KEYS)
        .any(|part| whole.contains(part) && !whole.ends_with("tokens"))
        || parts(name).any(|part| is_part(&part))
}

/// Whether a name is secret by a part alone that means other things too.
pub(super) fn is_secret_by_part(name: &str) -> bool {
    !holds_secret_name(name) && !is_surely_secret_name(name)
}

/// Whether a name tells something about a secret, as `token_type` does.
#[must_use]
pub fn describes_secret(name: &str) -> bool {
    parts(name).last().is_some_and(|part| DESCRIPTIONS.contains(&part.as_str()))
}

/// The same in text for people, where "the tests pass: …" names nothing.
pub(super) fn is_secret_name_in_text(text: &str) -> bool {
    let end = text.trim_end_matches(|char: char| !char.is_ascii_alphanumeric());
    let name = end.rsplit(|char: char| !is_of_name(char)).next().unwrap_or_default();
    let is_name = name.starts_with("--") || parts(name).count() > 1;
    holds_secret_name(text) || (is_name && is_secret_name(name))
}

fn holds_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

fn has_secret_part(name: &str) -> bool {
    parts(name).any(|part| PARTS.contains(&part.as_str()))
}

pub(super) fn is_of_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

/// The parts of `DB_PASS`, `X-Auth` or `dbPass`, in lower case.
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

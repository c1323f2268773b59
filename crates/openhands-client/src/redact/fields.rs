//! Finds the secrets in named values, in arguments and in URLs.

use percent_encoding::percent_decode_str;
use url::Url;
use uuid::Uuid;

use super::names::{describes_secret, is_of_name, is_secret_by_part, is_secret_name, is_surely_secret_name, parts};
use super::{bare, is_random, is_scheme, is_token};
use crate::secret::Secret;

/// Returns the secrets in a URL: its user part, and values in its query that are secrets or look like secrets. A short user name
/// is left out: it also appears in ordinary text and is not a token.
#[must_use]
pub fn secrets_of_address(url: &Url) -> Vec<Secret> {
    const SHORTEST_TOKEN: usize = 16;
    let user = Some(url.username()).filter(|user| user.len() >= SHORTEST_TOKEN);
    let pairs = url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let values = pairs.filter(|(name, value)| is_field(name, value) || is_key(name, value)).map(|(_, value)| value);
    // Both the encoded and the decoded form.
    let forms = |text: &str| [text.to_owned(), percent_decode_str(text).decode_utf8_lossy().into_owned()];
    user.into_iter().chain(url.password()).chain(values).flat_map(forms).map(Secret::new).collect()
}

/// Returns the secrets in a URL that we were configured to use: its user part, and every value in its query, whatever it looks
/// like. They give access to the service at that URL.
#[must_use]
pub fn secrets_of_own_address(url: &Url) -> Vec<Secret> {
    let user = (url.password().is_none() || is_token(url.username())).then(|| url.username());
    let pairs = url.query().unwrap_or_default().split('&');
    let values = pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let forms = |text: &str| [text.to_owned(), percent_decode_str(text).decode_utf8_lossy().into_owned()];
    let texts = user.into_iter().chain(url.password()).chain(values).filter(|text| !text.is_empty());
    texts.flat_map(forms).map(Secret::new).collect()
}

/// Returns the secrets in the value of a field, a header or a variable with this name.
#[must_use]
pub fn secrets_of_field(name: &str, text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    if is_field(name, text) {
        found.push(key_of(name, text));
    }
    // Any value of a cookie may be the secret one.
    if parts(name).any(|part| part.starts_with("cookie")) {
        let pairs = text.split([';', ' ']).filter_map(|pair| pair.split_once('='));
        let values = pairs.filter(|(name, value)| !name.eq_ignore_ascii_case("samesite") && is_random(value));
        found.extend(values.map(|(_, value)| Secret::new(value)));
    }
    // `Authorization: Bearer X`. If there are several pairs, each word is checked.
    if let Some((name, value)) = pair(text)
        .filter(|(name, value)| is_argument(name, value) && !value.trim_end_matches('=').contains([';', '&', '=']))
    {
        found.push(key_of(name, value));
        return found;
    }
    let mut named = "";
    for word in text.split_whitespace().map(bare) {
        if is_secret_name(named) && is_scheme(word) {
            continue;
        }
        if is_argument(named, word) && (named.starts_with('-') || is_random(word)) {
            found.push(Secret::new(word));
        }
        named = if word.starts_with("--") || word.ends_with(':') { word } else { "" };
        for piece in word.split([';', ',', '&']) {
            let pair = pair(bare(piece)).filter(|(name, value)| is_argument(name, value) && !is_scheme(value));
            found.extend(pair.map(|(_, value)| Secret::new(value)));
        }
        let pieces = word.split([',', ';', ':', '=', '"', '\'']);
        found.extend(pieces.filter(|word| is_key(name, word)).map(Secret::new));
        found.extend(secrets_of_address_in(word));
    }
    found
}

/// Returns the secrets in a program's arguments: `--api-key X`, `--header "Authorization: Bearer X"`, URLs.
#[must_use]
pub fn secrets_of_arguments<'t>(arguments: impl IntoIterator<Item = &'t str>) -> Vec<Secret> {
    let mut found = Vec::new();
    let mut option = "";
    for argument in arguments {
        let is_option = argument.starts_with('-');
        if !is_option && is_argument(option, argument) {
            found.push(key_of(option, argument));
        } else {
            found.extend(secrets_of_field("", argument));
        }
        option = if is_option && !argument.contains('=') { argument } else { "" };
    }
    found
}

/// Returns whether the value of a field with this name is a secret.
fn is_field(name: &str, value: &str) -> bool {
    is_secret_name(name) && (!is_secret_by_part(name) || is_random(value))
}

/// Does the same for a command line, where names have many meanings and a value may be another argument.
fn is_argument(name: &str, value: &str) -> bool {
    let is_plain = value.starts_with('/') || value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let are_words = || value.bytes().all(|byte| byte.is_ascii_lowercase() || b"-_.".contains(&byte));
    let may_be = || is_random(value) && !is_plain && !are_words();
    is_secret_name(name) && !describes_secret(name) && (is_surely_secret_name(name) || may_be())
}

/// Splits `name=value` and `name: value`.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(['=', ':'])?;
    let value = bare(value.trim());
    let name = name.trim_end_matches('"');
    let is_pair = !name.is_empty() && name.chars().all(is_of_name) && !value.is_empty() && !value.starts_with("//");
    is_pair.then_some((name, value))
}

/// Returns the secrets in a word that is a URL or ends with one.
fn secrets_of_address_in(word: &str) -> Vec<Secret> {
    let Some(scheme_end) = word.find("://") else { return Vec::new() };
    let start = word[..scheme_end].rfind(['=', '"', '\'']).map_or(0, |before| before + 1);
    if let Ok(url) = Url::parse(&word[start..]) {
        return secrets_of_address(&url);
    }
    // The authority may be a list of hosts, which only databases accept.
    let rest = &word[scheme_end + 3..];
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let user_part = authority.rsplit_once('@').map(|(user_part, _)| user_part);
    user_part
        .and_then(|user_part| user_part.split_once(':'))
        .map(|(_, password)| Secret::new(password))
        .into_iter()
        .collect()
}

/// Returns whether a word looks like a token, or is a UUID whose name does not call it an id.
fn is_key(name: &str, word: &str) -> bool {
    let is_id = || parts(name).last().is_some_and(|part| matches!(part.as_str(), "id" | "uuid"));
    is_token(word) || (word.len() == 36 && Uuid::try_parse(word).is_ok() && !is_id())
}

/// Returns the value without the scheme of an authorization.
#[must_use]
pub fn key_of(name: &str, text: &str) -> Secret {
    let (scheme, key) = text.trim().split_once(' ').unwrap_or(("", text));
    let is_scheme = ["bearer", "basic", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let has_scheme = is_scheme || name.to_ascii_lowercase().ends_with("authorization");
    Secret::new(if has_scheme { key.trim() } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

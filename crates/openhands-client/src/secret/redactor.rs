//! Removes known secrets from text that leaves the process.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::forms::{forms, forms_in_pieces};
use super::needle::Needle;
use super::{MASK, Secret};

/// The minimum length of a value that is masked, in bytes. Masking shorter values would also mask ordinary words.
const SHORTEST_REDACTED: usize = 6;

/// Placeholders for a key that is not needed, and well-known names. They are not secrets and appear in ordinary text. Compared
/// without regard to case.
const KNOWN_WORDS: &[&str] = &[
    "anonymous",
    "anything",
    "api-key",
    "api_key",
    "apikey",
    "changeme",
    "default",
    "development",
    "disabled",
    "enabled",
    "example",
    "github",
    "gitlab",
    "lm-studio",
    "lmstudio",
    "localhost",
    "no-key",
    "no-key-required",
    "not-needed",
    "not-required",
    "not-used",
    "oauth2",
    "ollama",
    "openai",
    "openhands",
    "password",
    "placeholder",
    "production",
    "public",
    "secret",
    "staging",
    "string",
    "unused",
    "whatever",
    "x-access-token",
    "x-token-auth",
];

/// Removes all secrets that the process has learned so far from text that leaves it.
///
/// A secret is found in every form that a sink or a peer may write: as it is, JSON-escaped, quoted, percent-encoded, in base64.
/// Its beginning and its end are also found separately, so that a secret that is split over two texts is masked in both. A text
/// is scanned once, however many secrets there are. Clones share one list: a secret that is learned during a run is masked in the
/// log from then on.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

/// The first bytes of a form. One lookup tells whether any form can start at a position.
type Start = [u8; 4];

/// The forms of all secrets to search for.
#[derive(Default)]
struct Known {
    secrets: Vec<Secret>,
    /// The forms and pieces with the same first bytes.
    needles: HashMap<Start, Vec<Needle>>,
    filter: Filter,
}

/// Rules out almost every position of a text with a dozen instructions (callgrind). A lookup in the map would hash each position
/// with SipHash.
#[derive(Default)]
struct Filter {
    /// A bit for each hash. Empty until a secret is known. 8 KiB stay sparse with the forms of hundreds of secrets.
    bits: Vec<u64>,
}

impl Filter {
    const WORDS: usize = 1 << 10;

    /// Returns the word and the bit of a start, from the upper 16 bits of Fibonacci hashing.
    fn place(start: Start) -> (usize, u64) {
        let hash = u32::from_le_bytes(start).wrapping_mul(0x9e37_79b1) >> 16;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }

    fn add(&mut self, start: Start) {
        self.bits.resize(Self::WORDS, 0);
        let (word, bit) = Self::place(start);
        self.bits[word] |= bit;
    }

    fn may_hold(&self, start: Start) -> bool {
        let (word, bit) = Self::place(start);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

impl Redactor {
    /// Masks this value from now on. Values under 6 bytes are ignored, and so are words such as `default` that stand for "no
    /// key".
    pub fn learn(&self, secret: &Secret) {
        let value = secret.expose();
        if value.len() < SHORTEST_REDACTED || KNOWN_WORDS.iter().any(|word| word.eq_ignore_ascii_case(value.trim())) {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !known.secrets.contains(secret) {
            known.secrets.push(secret.clone());
            known.add(forms_in_pieces(value).iter().flat_map(|form| Needle::pieces(form)));
            known.add(forms(value, SHORTEST_REDACTED).into_iter().map(Needle::whole));
        }
    }

    /// Returns the text with every learned secret replaced by [`MASK`].
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.places_in(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
        for place in found {
            shown.push_str(&text[end..place.start]);
            shown.push_str(MASK);
            end = place.end;
        }
        shown.push_str(&text[end..]);
        Cow::Owned(shown)
    }
}

impl Known {
    fn add(&mut self, needles: impl IntoIterator<Item = Needle>) {
        for needle in needles {
            let Some(&start) = needle.as_bytes().first_chunk() else { continue };
            self.filter.add(start);
            let needles = self.needles.entry(start).or_default();
            if !needles.contains(&needle) {
                needles.push(needle);
            }
        }
    }

    /// Returns the positions of secrets in a text. Positions that overlap or touch are merged, so that no part of a secret is
    /// left.
    fn places_in(&self, text: &str) -> Vec<Range<usize>> {
        let mut places: Vec<Range<usize>> = Vec::new();
        if self.needles.is_empty() {
            return places;
        }
        for (at, window) in text.as_bytes().windows(size_of::<Start>()).enumerate() {
            let Some(start) = window.first_chunk().filter(|start| self.filter.may_hold(**start)) else { continue };
            let Some(needles) = self.needles.get(start) else { continue };
            for mut place in needles.iter().filter_map(|needle| needle.place_in(text, at)) {
                // The full extent of a secret is known only when the positions before it have been found.
                while let Some(last) = places.pop_if(|last| place.start < last.end) {
                    place = last.start.min(place.start)..last.end.max(place.end);
                }
                places.push(place);
            }
        }
        places
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;

    fn knowing<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Redactor {
        let redactor = Redactor::default();
        secrets.into_iter().for_each(|secret| redactor.learn(&Secret::new(secret)));
        redactor
    }

    #[test]
    fn learned_secrets_are_removed_longest_first_and_shared_by_clones() {
        let redactor = knowing(["abcdef"]);
        redactor.clone().learn(&Secret::new("abcdef-123"));
        assert_eq!(redactor.redact("key abcdef-123, abcdef"), "key ***, ***");
    }

    #[test]
    fn of_secrets_that_overlap_nothing_is_left() {
        assert_eq!(knowing(["abcdef", "def-123456"]).redact("x abcdef-123456 y"), "x *** y");
    }

    #[test]
    fn a_secret_is_removed_in_every_form_in_which_it_is_written() {
        for secret in [
            "sec\"ret-123456",
            "line one\nline two",
            "b\\ack/slash+plus=",
            "pässwörd ✓ 123",
            "sk-plain-0123456789",
            "a<b>&'c'-12",
        ] {
            let redactor = knowing([secret]);
            let json = serde_json::to_string(secret).unwrap();
            let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for text in [
                secret.to_owned(),
                json.clone(),
                serde_json::to_string(&json).unwrap(),
                format!("{secret:?}"),
                serde_json::to_string(&format!("{secret:?}")).unwrap(),
                encoded,
                utf8_percent(secret),
                STANDARD.encode(secret),
                STANDARD.encode(format!("user:{secret}")),
                STANDARD.encode(format!("me:{secret}\n")),
                URL_SAFE.encode(format!("a:{secret}!")),
                secret.split_whitespace().collect::<Vec<_>>().join(" "),
                shell_words::quote(secret).into_owned(),
                json.replace('/', "\\/"),
                json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e"),
                in_html(secret, "&quot;", "&#39;"),
                in_html(secret, "&quot;", "&#x27;"),
                in_html(secret, "\"", "'"),
                hex.to_uppercase(),
                hex,
            ] {
                let shown = redactor.redact(&text).into_owned();
                assert!(shown.contains(MASK), "{text} is shown as {shown}");
            }
        }
    }

    fn in_html(secret: &str, quote: &str, apostrophe: &str) -> String {
        let text = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('"', quote).replace('\'', apostrophe)
    }

    fn utf8_percent(secret: &str) -> String {
        percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    #[test]
    fn a_secret_that_is_split_over_texts_is_in_none_of_them() {
        const SECRET: &str = "tok-3f9Kd02mWq71ZxP5aa4cYb8e";
        let redactor = knowing([SECRET]);
        for at in 8..=SECRET.len() - 8 {
            let (first, second) = SECRET.split_at(at);
            for text in [
                format!("first {first}"),
                format!("{second} is the rest"),
                format!("{{\"text\":\"{first}\\n\"}}"),
                format!("{first}\n{second}"),
                format!("{first} and {first}, {second}{second}"),
            ] {
                let shown = redactor.redact(&text).into_owned();
                assert!(!shown.contains(&first[..8]) && !shown.contains(&second[second.len() - 8..]), "{shown}");
            }
        }
        assert_eq!(redactor.redact("x tok-3f9Kd y"), "x *** y");
        assert_eq!(redactor.redact("x 4cYb8e, a4cYb8ee"), "x 4cYb8e, a4cYb8ee");
        assert_eq!(redactor.redact("xaa4cYb8e y"), "x*** y");
    }

    #[test]
    fn the_beginning_and_the_end_of_a_secret_that_are_words_are_left_alone() {
        for (secret, text) in [
            ("production-database-of-2026", "the production-database of-2026"),
            ("https://hooks.example.com/a1b2c3d4e5f6/services", "see https://hooks.example.com, for services"),
            ("https://s3.eu-west-1.example.com/bucket/K7f3a9Qx", "reads https://s3.eu-west-1.example.com/other"),
            ("postgres://app:Zt5Kq81vP0@db1.internal:5432/app2026", "cannot connect to db1.internal:5432/app2026"),
            ("release-2024.1-x7Kp93Lq", "merged into release-2024.1"),
            ("ubuntu-22.04-passphrase", "runs on ubuntu-22.04"),
            ("Sommer2024-in-Hamburg", "die Ferien im Sommer2024"),
            ("MyCompany2024ProdKey", "in MyCompany2024 and its 2024ProdKey"),
            ("aX93kfP2-python3.11-utf8", "for python3.11-utf8"),
            ("user@example1.com:pw12", "mail to user@example1.com"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpQIBAAKCAQEA7x", "it says -----BEGIN RSA PRIVATE KEY-----"),
        ] {
            assert_eq!(knowing([secret]).redact(text), text);
        }
        let redactor = knowing(["ü1K3m9Qä7x-und-mehr-dahinter-Z8y4W2q5ö1"]);
        assert_eq!(redactor.redact("a ü1K3m9Qä7x-unx ä, Z8y4W2q5ö1"), "a ***x ä, ***");
    }

    #[test]
    fn short_values_and_known_words_are_left_alone() {
        let redactor = knowing(["a", "default", "Ollama", "placeholder"]);
        let text = "a banana: completion delivered by default with ollama";
        assert_eq!(redactor.redact(text), text);
    }

    #[test]
    fn a_large_text_with_many_secrets_is_read_once() {
        let redactor = Redactor::default();
        (0..200).for_each(|number| redactor.learn(&Secret::new(format!("secret-value-{number:04}"))));
        let text = "secret-value-none ".repeat(1 << 13);
        assert_eq!(redactor.redact(&text), text);
    }

    proptest! {
        #[test]
        fn no_learned_secret_is_left_in_any_text(secret in "\\PC{6,20}", before in "\\PC{0,9}", after in "\\PC{0,9}") {
            prop_assume!(!KNOWN_WORDS.contains(&secret.as_str()) && !MASK.contains(secret.as_str()));
            let text = format!("{before}{secret}{after}");
            let shown = knowing([secret.as_str()]).redact(&text).into_owned();
            prop_assert!(!shown.contains(&secret), "{shown}");
        }
    }
}

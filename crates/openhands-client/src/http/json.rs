//! JSON as Python's `json` writes it, which is not always valid JSON.

use std::borrow::Cow;

/// Replaces each escape of half a surrogate pair by `\\ufffd`, because a Rust string cannot hold it.
#[must_use]
pub fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = json[at..].find('\\') {
        let start = at + found;
        let unit = |at: usize| {
            let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
            u16::from_str_radix(digits, 16).ok()
        };
        at = match unit(start) {
            Some(0xd800..=0xdbff) if matches!(unit(start + 6), Some(0xdc00..=0xdfff)) => start + 12,
            Some(0xd800..=0xdfff) => {
                shown.push_str(&json[copied..start]);
                shown.push_str("\\ufffd");
                copied = start + 6;
                copied
            }
            // After an escaped backslash, the next characters are ordinary ones. The character of another escape may be any.
            _ => start + 1 + json[start + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    shown.push_str(&json[copied..]);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_becomes_a_replacement_character() {
        for (json, read) in [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\ud83d\ude00b\ude00""#, "a\u{1f600}b\u{fffd}"),
            (r#""\\ud83d\ud83dx\\""#, "\\ud83d\u{fffd}x\\"),
            (r#""\ud83d\u0041\\""#, "\u{fffd}A\\"),
            (r#""plain ä""#, "plain ä"),
        ] {
            let cleaned = without_lone_surrogates(json);
            assert_eq!(serde_json::from_str::<String>(&cleaned).unwrap(), read, "{json}");
        }
        assert!(matches!(without_lone_surrogates("\\"), Cow::Borrowed("\\")));
    }
}

//! The parts of a secret that are searched: the whole, the beginning, the end.

use std::ops::Range;

/// The shortest piece of a secret that is searched on its own, in bytes.
const SHORTEST_PIECE: usize = 8;
/// A piece is at least this fraction of its secret.
const PARTS: usize = 4;

/// A form of a secret, or a piece of it, to search for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needle {
    /// The secret in one of its forms.
    form: String,
    /// The part of the form that must be in a text.
    least: Range<usize>,
}

impl Needle {
    /// Searches for the whole form.
    pub(super) fn whole(form: String) -> Self {
        Self { least: 0..form.len(), form }
    }

    /// Searches for the beginning and the end of a secret, if each is long enough.
    pub(super) fn pieces(secret: &str) -> Vec<Self> {
        let (all, least) = (secret.len(), secret.len().div_ceil(PARTS).max(SHORTEST_PIECE));
        if least >= all {
            return Vec::new();
        }
        let piece = |least| Self { form: secret.to_owned(), least };
        vec![piece(0..least), piece(all - least..all)]
    }

    /// Returns the bytes that a text must contain.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.form.as_bytes()[self.least.clone()]
    }

    /// Returns how far the secret extends around this position of a text, if it is there.
    pub(super) fn place_in(&self, text: &str, at: usize) -> Option<Range<usize>> {
        let (bytes, form) = (text.as_bytes(), self.form.as_bytes());
        if !bytes[at..].starts_with(self.as_bytes()) {
            return None;
        }
        let end = at + self.least.len();
        let behind = common(bytes[end..].iter(), form[self.least.end..].iter());
        let before = common(bytes[..at].iter().rev(), form[..self.least.start].iter().rev());
        let place = text.ceil_char_boundary(at - before)..text.floor_char_boundary(end + behind);
        (self.least.len() == form.len() || is_random(&text[place.clone()])).then_some(place)
    }
}

/// Returns the length of the common prefix of two byte sequences.
fn common<'b>(one: impl Iterator<Item = &'b u8>, other: impl Iterator<Item = &'b u8>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

/// Returns whether letters, capitals and digits alternate in a piece as in random text. Words, names, versions, dates and addresses
/// also appear in ordinary text: `release-2024.1` or `https://s3.example.com` at the beginning of a secret is not masked on its own.
fn is_random(piece: &str) -> bool {
    /// More changes than in an abbreviation such as `i18n`, or a version such as `v1b2`.
    const FEWEST_CHANGES: usize = 3;
    /// The maximum number of letters and digits for each change in a random piece.
    const PER_CHANGE: usize = 4;
    let is_change = |pair: &[u8]| {
        let (one, other) = (pair[0], pair[1]);
        let both = one.is_ascii_alphanumeric() && other.is_ascii_alphanumeric();
        both && (one.is_ascii_digit() != other.is_ascii_digit()
            || (one.is_ascii_lowercase() && other.is_ascii_uppercase()))
    };
    let changes = piece.as_bytes().windows(2).filter(|pair| is_change(pair)).count();
    let letters_and_digits = piece.bytes().filter(u8::is_ascii_alphanumeric).count();
    changes >= FEWEST_CHANGES && changes * PER_CHANGE >= letters_and_digits
}

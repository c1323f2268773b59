//! What is looked for of a secret: all of it, its beginning, its end.

use std::ops::Range;

/// The shortest piece of a secret that is looked for alone, in bytes.
const SHORTEST_PIECE: usize = 8;
/// A piece is at least this part of its secret.
const PARTS: usize = 4;

/// Something of a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needle {
    /// The secret in one of its forms.
    form: String,
    /// What has to be in a text of it.
    least: Range<usize>,
}

impl Needle {
    /// All of this form.
    pub(super) fn whole(form: String) -> Self {
        Self { least: 0..form.len(), form }
    }

    /// The beginning and the end of a secret, each long enough to say something of it.
    pub(super) fn pieces(secret: &str) -> Vec<Self> {
        let (all, least) = (secret.len(), secret.len().div_ceil(PARTS).max(SHORTEST_PIECE));
        if least >= all {
            return Vec::new();
        }
        let piece = |least| Self { form: secret.to_owned(), least };
        vec![piece(0..least), piece(all - least..all)]
    }

    /// What a text must have where this is found.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.form.as_bytes()[self.least.clone()]
    }

    /// How far the secret stands around this place of a text, if it does.
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

/// How many bytes two sequences have in common at their beginning.
fn common<'b>(one: impl Iterator<Item = &'b u8>, other: impl Iterator<Item = &'b u8>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

/// Whether letters, capitals and digits alternate in a piece as they do in random ones. Words, names, versions, dates and addresses stand in
/// ordinary text, too: `release-2024.1` or `https://s3.example.com` at the beginning of a secret is no reason to mask it there.
fn is_random(piece: &str) -> bool {
    /// More than an abbreviation such as `i18n` has, or a version such as `v1b2`.
    const FEWEST_CHANGES: usize = 3;
    /// Letters and digits of a random piece for each change, at most.
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

//! Input from outside, as hostile as it can be: a function for each place where it comes in. cargo-fuzz calls them with what it makes
//! up (`fuzz/`); the tests call them with the files of its corpora and with changes of these. A function panics if something is wrong.

#[cfg(test)]
#[path = "../../../fuzz/changes.rs"]
mod changes;

pub use crate::agent_server::hostile::{event, frames};
pub use crate::automation::hostile::callback;
pub use crate::sandbox::copy::hostile::archive;

use crate::redact;
use crate::secret::{Redactor, Secret};

/// A body of a response, read as each endpoint would read it.
pub fn responses(data: &[u8]) {
    crate::agent_server::hostile::responses(data);
    crate::cloud::hostile::responses(data);
}

/// A text from a peer, with a secret of ours in it. The secret is the first line of the data.
pub fn redaction(data: &[u8]) {
    let data = String::from_utf8_lossy(data);
    let Some((secret, rest)) = data.split_once('\n') else { return };
    let redactor = Redactor::default();
    redactor.learn(&Secret::new(secret));
    let text = format!("{rest}{secret}{rest}");
    let shown = redactor.redact(&text);
    // What is left alone on purpose is found as a whole.
    let is_removed = redactor.redact(secret) != secret;
    // Around a mask, other text may look like the secret again.
    if is_removed && !secret.contains('*') {
        assert!(!shown.contains(secret), "{secret:?} is left in {shown:?}");
    }
    let masked = redact::mask_suspected(rest);
    assert!(masked.len() <= rest.len() * 4, "a mask makes a text longer without end");
}

#[cfg(test)]
mod tests {
    use super::changes::for_each;
    use super::*;

    #[test]
    fn what_servers_send_is_read_whatever_it_is() {
        for_each("event", event);
        for_each("frames", frames);
        for_each("responses", responses);
        for_each("callback", callback);
        for_each("redaction", redaction);
        for_each("archive", archive);
    }
}

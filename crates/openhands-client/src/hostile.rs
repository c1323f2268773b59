//! Checks of hostile input, with a function for each place where outside data comes in. cargo-fuzz calls the functions with
//! generated data (`fuzz/`); the tests call them with the files of its corpora and with mutations of these. A function panics if
//! something is wrong.

#[cfg(test)]
#[path = "../../../fuzz/changes.rs"]
mod changes;

pub use crate::agent_server::hostile::{event, frames};
pub use crate::automation::hostile::callback;
pub use crate::sandbox::copy::hostile::archive;

use crate::redact;
use crate::secret::{Redactor, Secret};

/// Checks the body of a response, parsed as each endpoint would parse it.
pub fn responses(data: &[u8]) {
    crate::agent_server::hostile::responses(data);
    crate::cloud::hostile::responses(data);
}

/// Checks a text from a peer that contains one of our secrets. The secret is the first line of the data.
pub fn redaction(data: &[u8]) {
    let data = String::from_utf8_lossy(data);
    let Some((secret, rest)) = data.split_once('\n') else { return };
    let redactor = Redactor::default();
    redactor.learn(&Secret::new(secret));
    let text = format!("{rest}{secret}{rest}");
    let shown = redactor.redact(&text);
    // A value that is not masked on purpose is found unchanged.
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

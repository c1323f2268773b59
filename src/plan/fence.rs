//! Text from outside as data: between two lines that hold a mark which the text cannot hold.

use std::io;

use openhands_client::ids::RunId;
use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use uuid::Uuid;

/// Separates our marks from everybody else's derived ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x9d3c_5a0e_77b1_4f0b_8a51_4e0d_6b92_c7f3);

/// What nobody who wrote the data could know: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nonce(String);

impl Nonce {
    /// The first mark of this run that the data does not hold. The same run has the same one (UUID version 5 of its id,
    /// which the service makes up when the event is written already), so that a runner that starts again sends nothing
    /// twice. Without a run it is random.
    #[must_use]
    pub(crate) fn absent_from(data: &[&str], run: Option<&RunId>) -> Self {
        let seed = run.map_or_else(|| Uuid::new_v4().to_string(), |run| run.as_str().to_owned());
        let data: Vec<String> = data.iter().map(|text| text.to_ascii_lowercase()).collect();
        let mut attempt = 0_u64;
        loop {
            let nonce = Uuid::new_v5(&NAMESPACE, format!("{attempt} {seed}").as_bytes()).simple().to_string();
            if data.iter().all(|text| !text.contains(&nonce)) {
                return Self(nonce);
            }
            attempt += 1;
        }
    }

    /// The mark's text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The data between its two lines.
    #[must_use]
    pub(crate) fn fence(&self, data: &str) -> String {
        let Self(nonce) = self;
        format!("<data-from-outside {nonce}>\n{data}\n</data-from-outside {nonce}>")
    }
}

/// JSON for people, in ASCII alone: so nothing in it is invisible or changes the direction of reading.
#[must_use]
pub(crate) fn plain_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Ascii(PrettyFormatter::new()));
    // Writing a value into memory cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

struct Ascii(PrettyFormatter<'static>);

macro_rules! as_pretty {
    ($($name:ident($($argument:ident: $type:ty),*);)+) => {
        $(fn $name<W: ?Sized + io::Write>(&mut self, writer: &mut W, $($argument: $type),*) -> io::Result<()> {
            self.0.$name(writer, $($argument),*)
        })+
    };
}

impl Formatter for Ascii {
    as_pretty! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                write!(writer, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_has_one_mark_unless_the_data_holds_it() {
        let run = RunId::new("run-1");
        let first = Nonce::absent_from(&[], Some(&run));
        assert_eq!(Nonce::absent_from(&["x"], Some(&run)), first);
        assert_ne!(Nonce::absent_from(&["x"], Some(&RunId::new("run-2"))), first);
        assert_ne!(Nonce::absent_from(&[], None), Nonce::absent_from(&[], None));
        // A released version must not change it: a restart may come with a newer binary.
        assert_eq!(first.as_str(), "94470e1b4f395345b5acb7e3014d0bf6");

        let second = Nonce::absent_from(&["x", &first.as_str().to_uppercase()], Some(&run));
        let third = Nonce::absent_from(&[&format!("{} {}", first.as_str(), second.as_str())], Some(&run));
        assert!(first != second && second != third && third != first);
    }

    #[test]
    fn json_keeps_its_order_and_is_ascii() {
        let value: Value = serde_json::from_str(r#"{"b": "ü\u202e😀\n", "a": [1, []], "c": {}}"#).unwrap();
        let text = plain_json(&value);
        assert_eq!(
            text,
            "{\n  \"b\": \"\\u00fc\\u202e\\ud83d\\ude00\\n\",\n  \"a\": [\n    1,\n    []\n  ],\n  \"c\": {}\n}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert_eq!(plain_json(&json!("x")), "\"x\"");
    }
}

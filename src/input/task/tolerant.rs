//! Reads a value in which several parts may be wrong: each wrong part is recorded and left out, until the rest can be read.
//!
//! [`Walk`] is placed between a parser and the type that is read. It knows the path of the current value, and can leave out
//! paths.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, de};
use serde_json::Value;

use super::filling::{Filled, suited};

/// The text of an error that only ends the reading.
const END: &str = "the end of the reading";

/// A step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The field with this name.
    Field(String),
    /// The item with this index.
    Item(usize),
}

/// The position of a part of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Part {
    /// The steps to the part.
    pub(super) path: Vec<Step>,
    /// Whether the part is the name of a field, and not its value.
    pub(super) is_name: bool,
}

impl fmt::Display for Part {
    /// Writes a path such as `repos[1].url`; empty for the whole value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.path.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// A wrong part with the parser's message.
pub(super) struct Wrong<E> {
    pub(super) part: Part,
    pub(super) error: E,
}

/// Reads a text up to a part of it, and returns the error that ends the reading, which contains the place.
pub(super) fn stop_at<'de, D: Deserializer<'de>>(part: &Part, parser: D) -> Option<D::Error> {
    let reading = Reading { stop: Some(part.clone()), ..Reading::default() };
    let ended = reading.read::<Value, D>(parser).err()?;
    ended.to_string().contains(END).then_some(ended)
}

/// A single reading of a text.
#[derive(Debug, Default)]
pub(super) struct Reading<'f> {
    /// Values that replace those of the text.
    filled: &'f [Filled],
    skipped: Vec<Vec<Step>>,
    stop: Option<Part>,
    here: RefCell<Vec<Step>>,
    failed: RefCell<Option<Part>>,
}

impl Reading<'_> {
    /// Reads a value through this.
    ///
    /// # Errors
    /// The errors of the parser.
    pub(super) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(&self, parser: D) -> Result<T, D::Error> {
        T::deserialize(Walk { inner: parser, reading: self })
    }

    fn enter(&self, step: Step) {
        self.here.borrow_mut().push(step);
    }

    fn leave(&self) {
        self.here.borrow_mut().pop();
    }

    fn is_skipped(&self) -> bool {
        self.skipped.contains(&*self.here.borrow())
    }

    fn filled_here(&self) -> Option<&Value> {
        let here = self.here.borrow();
        self.filled.iter().find(|(path, _)| *path == *here).map(|(_, value)| value)
    }

    fn ends_here(&self, is_name: bool) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.is_name == is_name && stop.path == *self.here.borrow())
    }

    /// Records the innermost part that failed, which is reported first.
    fn fails(&self, is_name: bool) {
        let mut failed = self.failed.borrow_mut();
        failed.get_or_insert_with(|| Part { path: self.here.borrow().clone(), is_name });
    }
}

/// Limits for wrong parts.
pub(super) struct Tolerance {
    /// The number of wrong parts after which reading ends.
    pub(super) most: usize,
    /// Whether the error of a part explains errors in its parents, which are then not reported: the field that was left out may
    /// be missing there.
    pub(super) explains: fn(&str) -> bool,
}

/// Calls `read` until only parts that are left out are wrong. Returns the value without them, and the wrong parts. There is no
/// value if the whole is wrong, or too many parts are.
pub(super) fn read_all<T, E: fmt::Display>(
    tolerance: &Tolerance,
    filled: &[Filled],
    read: impl Fn(&Reading<'_>) -> Result<T, E>,
) -> (Option<T>, Vec<Wrong<E>>) {
    let mut reading = Reading { filled, ..Reading::default() };
    let mut wrong: Vec<Wrong<E>> = Vec::new();
    let mut explaining: Vec<Vec<Step>> = Vec::new();
    while wrong.len() < tolerance.most {
        let error = match read(&reading) {
            Ok(value) => return (Some(value), wrong),
            Err(error) => error,
        };
        // A duplicate field fails between its name and its value.
        let Reading { failed, here, .. } = &reading;
        let part = failed.take().unwrap_or_else(|| Part { path: here.take(), is_name: false });
        let mut skipped = reading.skipped;
        let path = part.path.clone();
        if !explaining.iter().any(|below| below.starts_with(&path)) {
            if (tolerance.explains)(&error.to_string()) {
                explaining.push(path.clone());
            }
            wrong.push(Wrong { part, error });
        }
        if path.is_empty() || skipped.contains(&path) {
            break;
        }
        skipped.push(path);
        reading = Reading { filled, skipped, ..Reading::default() };
    }
    (None, wrong)
}

/// A wrapper around a deserializer, a visitor or an access, which follows the reading.
struct Walk<'r, I> {
    inner: I,
    reading: &'r Reading<'r>,
}

/// Accepts no value of any kind.
struct Nothing;

impl Visitor<'_> for Nothing {
    type Value = Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(END)
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $name<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let Self { inner, reading } = self;
            if reading.ends_here(false) {
                return inner.deserialize_any(Nothing).map(|never| match never {});
            }
            if let Some(value) = reading.filled_here() && !is_around_a_value(stringify!($name)) {
                IgnoredAny::deserialize(inner)?;
                return give(suited(value.clone(), stringify!($name)), visitor);
            }
            inner.$name($($argument,)* Walk { inner: visitor, reading })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Walk<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_option() deserialize_unit() deserialize_seq()
        deserialize_map() deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let Self { inner, reading } = self;
        if reading.ends_here(false) {
            return inner.deserialize_any(Nothing).map(|never| match never {});
        }
        if let Some(Value::String(word)) = reading.filled_here() {
            IgnoredAny::deserialize(inner)?;
            let word: StrDeserializer<'_, D::Error> = word.as_str().into_deserializer();
            return visitor.visit_enum(word);
        }
        inner.deserialize_enum(name, variants, Walk { inner: visitor, reading })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Returns whether the method reads a wrapper, whose inner value is at the same path.
fn is_around_a_value(method: &str) -> bool {
    matches!(method, "deserialize_option" | "deserialize_newtype_struct")
}

/// Passes a value of a row to the visitor. A separate deserializer would generate the code of each type once more.
fn give<'de, V: Visitor<'de>, E: de::Error>(value: Value, visitor: V) -> Result<V::Value, E> {
    match value {
        Value::Bool(value) => visitor.visit_bool(value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => visitor.visit_u64(whole),
            (None, Some(whole)) => visitor.visit_i64(whole),
            (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => visitor.visit_string(text),
        // Rows contain no such values.
        Value::Null | Value::Array(_) | Value::Object(_) => visitor.visit_unit(),
    }
}

macro_rules! pass_on {
    ($($name:ident($type:ty))*) => {$(
        fn $name<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$name(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Walk<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass_on! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String) visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Walk { inner, reading: self.reading })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Walk { inner, reading: self.reading })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Items { inner, reading: self.reading, next: 0 })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Walk { inner, reading: self.reading })
    }

    // An enum variant is a single word.
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(inner)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Walk<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Walk { inner, reading: self.reading })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Walk<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        loop {
            match self.inner.next_key_seed(Name { seed: &mut seed, reading: self.reading })? {
                None => return Ok(None),
                Some(Some(name)) => return Ok(Some(name)),
                Some(None) => _ = self.inner.next_value::<IgnoredAny>()?,
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let value = self.inner.next_value_seed(Walk { inner: seed, reading: self.reading });
        match value {
            Ok(_) => self.reading.leave(),
            Err(_) => self.reading.fails(false),
        }
        value
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The name of a field. Returns `None` for a field that is left out.
struct Name<'s, 'r, K> {
    seed: &'s mut Option<K>,
    reading: &'r Reading<'r>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Name<'_, '_, K> {
    type Value = Option<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Name<'_, '_, K> {
    type Value = Option<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        self.reading.enter(Step::Field(name.to_owned()));
        if self.reading.is_skipped() {
            self.reading.leave();
            return Ok(None);
        }
        if self.reading.ends_here(true) {
            return Err(E::custom(END));
        }
        let Some(seed) = self.seed.take() else { return Err(E::custom("two names of one field")) };
        let parser: StrDeserializer<'_, E> = name.into_deserializer();
        seed.deserialize(parser).map(Some).inspect_err(|_| self.reading.fails(true))
    }
}

/// The items of a list.
struct Items<'r, A> {
    inner: A,
    reading: &'r Reading<'r>,
    next: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        loop {
            self.reading.enter(Step::Item(self.next));
            self.next += 1;
            if !self.reading.is_skipped() {
                break;
            }
            self.reading.leave();
            if self.inner.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let item = self.inner.next_element_seed(Walk { inner: seed, reading: self.reading });
        match item {
            Ok(_) => self.reading.leave(),
            Err(_) => self.reading.fails(false),
        }
        item
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

//! A text with fields as a value, with all errors in it, each with its place.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::value::RawValue;

use super::filling::{self, Filled};
use super::parse::TaskFormat;
use super::places::{Place, TextPlace, in_json};
use super::syntax::{self, SyntaxMistake};
use super::tolerant::{self, Part, Step, Tolerance, read_all, stop_at};
use super::{foreign, refusal};
use crate::input::rows::Row;
use crate::problem::{Mistake, Problem};

/// A text with fields: YAML or JSON.
pub(super) struct Fields<'t> {
    pub(super) text: &'t str,
    pub(super) format: TaskFormat,
    pub(super) file: &'t str,
    /// The row from which fields take their values.
    pub(super) row: Option<&'t Row>,
}

impl Fields<'_> {
    /// Reads the value as far as it is valid, and the parts that are wrong.
    ///
    /// # Errors
    /// The text is not valid YAML or JSON.
    pub(super) fn read<T: DeserializeOwned>(&self, tolerance: &Tolerance) -> Result<(Option<T>, Vec<Wrong>), Problem> {
        self.check_syntax().map_err(|SyntaxMistake { place, found, help }| {
            Problem::new(format!("{}:{place}", self.file), found, help)
        })?;
        // The other fields are read after these have their values.
        let filled = match self.filled() {
            Ok(filled) => filled,
            Err(wrong) => return Ok((None, wrong)),
        };
        Ok(match self.format {
            TaskFormat::Json => {
                let text = self.with_params_as_texts();
                let read = read_all(tolerance, &filled, |reading| {
                    reading.read(&mut serde_json::Deserializer::from_str(&text))
                });
                self.told(read, &filled)
            }
            _ => {
                let read =
                    read_all(tolerance, &filled, |reading| reading.read(yaml_serde::Deserializer::from_str(self.text)));
                self.told(read, &filled)
            }
        })
    }

    /// Returns the fields that take their values from a row.
    fn filled(&self) -> Result<Vec<Filled>, Vec<Wrong>> {
        if !self.text.contains("{{") && !self.text.contains("{%") {
            return Ok(Vec::new());
        }
        let fields: Value = match self.format {
            TaskFormat::Json => serde_json::from_str(self.text).unwrap_or_default(),
            // A text that is not a value at all is reported when the whole is read.
            _ => yaml_serde::from_str(self.text).unwrap_or_default(),
        };
        filling::filled(&fields, self.row).map_err(|unfilled| {
            let told = |(path, mistake): (Vec<Step>, Mistake)| {
                let part = Part { path, is_name: false };
                Wrong { place: self.place(&part), part, message: mistake.to_string(), of_row: None }
            };
            unfilled.into_iter().map(told).collect()
        })
    }

    fn told<T, E: fmt::Display>(
        &self,
        (value, wrong): (Option<T>, Vec<tolerant::Wrong<E>>),
        filled: &[Filled],
    ) -> (Option<T>, Vec<Wrong>) {
        let told = |tolerant::Wrong { part, error }: tolerant::Wrong<E>| {
            let row = self.row.filter(|_| filled.iter().any(|(path, _)| part.path.starts_with(path)));
            Wrong {
                place: self.place(&part),
                part,
                message: error.to_string(),
                of_row: row.map(|row| row.place.clone()),
            }
        };
        (value, wrong.into_iter().map(told).collect())
    }

    /// Checks the syntax first: the parsers report an error in a part of the text before they have checked the syntax of the
    /// rest.
    fn check_syntax(&self) -> Result<(), SyntaxMistake> {
        match self.format {
            TaskFormat::Json => {
                serde_json::from_str::<&RawValue>(self.text).map(|_| ()).map_err(|error| syntax::in_json(&error))
            }
            _ => IgnoredAny::deserialize(yaml_serde::Deserializer::from_str(self.text))
                .map(|_| ())
                .map_err(|error| syntax::in_yaml(&error)),
        }
    }

    /// Returns file, line and column of a part.
    pub(super) fn place(&self, part: &Part) -> String {
        self.position(part).map_or_else(|| self.file.to_owned(), |place| format!("{}:{place}", self.file))
    }

    /// Returns line and column of a part.
    pub(super) fn position(&self, part: &Part) -> Option<Place> {
        match self.format {
            TaskFormat::Json => in_json(self.text, part),
            _ => stop_at(part, yaml_serde::Deserializer::from_str(self.text)).and_then(|end| Place::of_yaml(&end)),
        }
    }

    /// Returns the place of each line of this value.
    pub(super) fn text_place(&self, path: Vec<Step>, text: &str) -> TextPlace {
        let start = self.position(&Part { path, is_name: false });
        start.map_or_else(TextPlace::default, |start| TextPlace::of_value(self.text, start, text))
    }

    /// Returns the JSON with numbers as parameter values converted to texts, exactly as they are written.
    fn with_params_as_texts(&self) -> Cow<'_, str> {
        let mut value: Value = serde_json::from_str(self.text).unwrap_or_default();
        let params = value.get_mut("params").and_then(Value::as_object_mut);
        let params = params.into_iter().flat_map(|params| params.values_mut());
        let numbers: Vec<&mut Value> = params.filter(|param| param.is_number() || param.is_boolean()).collect();
        if numbers.is_empty() {
            return Cow::Borrowed(self.text);
        }
        for number in numbers {
            *number = Value::String(number.to_string());
        }
        Cow::Owned(value.to_string())
    }
}

/// A part that is wrong, with its place and the parser's message.
pub(super) struct Wrong {
    pub(super) part: Part,
    place: String,
    message: String,
    /// The place of the row that the value comes from.
    of_row: Option<String>,
}

impl Wrong {
    /// Returns the problem for users.
    pub(super) fn problem(&self) -> Problem {
        let Mistake { mut found, help } = refusal::mistake(&self.part, &self.message);
        if let Some(place) = &self.of_row {
            found = format!("{found}, from {place}");
        }
        let renamed = match self.part.path.as_slice() {
            [Step::Field(name)] if self.unknown_field().is_some() => foreign::renamed(name),
            _ => None,
        };
        Problem::new(self.place.as_str(), found, renamed.map_or(help, |own| format!("here it is `{own}`")))
    }

    /// Returns the name of the field, if the error is that it is unknown.
    pub(super) fn unknown_field(&self) -> Option<&str> {
        refusal::known_names(&self.message)?;
        match self.part.path.last()? {
            Step::Field(name) => Some(name),
            Step::Item(_) => None,
        }
    }
}

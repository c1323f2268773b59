//! The values of a template, which record failed lookups: the template language only reports where an error is.

use openhands_client::collections::inserted;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use serde_json::{Map, Value};

use crate::input::template::fence::plain_json;

/// A lookup of a name that does not exist.
#[derive(Debug, Clone)]
pub(super) struct Miss {
    /// The object in which the name was looked up.
    pub(super) place: Arc<Node>,
    /// The name.
    pub(super) name: String,
}

/// The lookups, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Misses(Arc<Mutex<VecDeque<Lookup>>>);

/// The maximum number of recorded lookups: a loop may look up the same name without end.
const REMEMBERED: usize = 256;

#[derive(Debug)]
enum Lookup {
    Missed(Miss),
    /// One or more successful lookups in a row.
    Found,
}

impl Misses {
    fn note(&self, lookup: Lookup) {
        let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!((lookups.back(), &lookup), (Some(Lookup::Found), Lookup::Found)) {
            if lookups.len() == REMEMBERED {
                lookups.pop_front();
            }
            lookups.push_back(lookup);
        }
    }

    /// Returns the failed lookup that an error in this line is about; the line is without its conditions. If the name is not in
    /// the line and something was found after it, the failure was accepted.
    pub(super) fn in_line(&self, line: &str) -> Option<Miss> {
        let lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut misses = lookups.iter().rev().filter_map(|lookup| match lookup {
            Lookup::Missed(miss) => Some(miss),
            Lookup::Found => None,
        });
        let last = match lookups.back() {
            Some(Lookup::Missed(miss)) => Some(miss),
            _ => None,
        };
        misses.find(|miss| place_of_name(line, &miss.name).is_some()).or(last).cloned()
    }
}

/// Returns the byte position of this name as a whole word in a line.
pub(super) fn place_of_name(line: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    line.match_indices(name)
        .find(|(at, _)| !line[..*at].ends_with(is_part) && !line[at + name.len()..].starts_with(is_part))
        .map(|(at, _)| at)
}

/// An object in the values, which records failed lookups. It is created once and shared by its values.
pub(super) struct Node {
    /// The fields as template values.
    fields: BTreeMap<String, minijinja::Value>,
    /// The fields as they were given.
    given: Arc<Map<String, Value>>,
    /// The path of the object, such as `event.issue`; empty for the root.
    path: String,
    misses: Misses,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.path)
    }
}

impl Node {
    /// Creates the root with everything below it.
    pub(super) fn new(fields: Map<String, Value>, misses: Misses) -> Self {
        Self::at(String::new(), fields, &misses)
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the names of the fields in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }

    fn at(path: String, given: Map<String, Value>, misses: &Misses) -> Self {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let fields =
            inserted(given.iter().map(|(name, value)| (name.clone(), Self::value(below(name), value, misses))));
        Self { fields, given: Arc::new(given), path, misses: misses.clone() }
    }

    fn value(path: String, value: &Value, misses: &Misses) -> minijinja::Value {
        match value {
            Value::Object(fields) => minijinja::Value::from_object(Self::at(path, fields.clone(), misses)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| Self::value(format!("{path}[{index}]"), item, misses))
                .collect(),
            Value::Number(number) => number_of(number),
            value => minijinja::Value::from(Serde(value)),
        }
    }
}

/// Returns a number if the template language writes it in the same way; otherwise the text that its sender wrote.
fn number_of(number: &serde_json::Number) -> minijinja::Value {
    let whole = number.as_i128().map(minijinja::Value::from);
    let float = || number.as_f64().map(minijinja::Value::from);
    let written = number.to_string();
    whole.or_else(float).filter(|value| value.to_string() == written).unwrap_or_else(|| written.into())
}

impl Object for Node {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let name = key.as_str()?;
        let found = self.fields.get(name).cloned();
        self.misses.note(match found {
            Some(_) => Lookup::Found,
            None => Lookup::Missed(Miss { place: Arc::clone(self), name: name.to_owned() }),
        });
        found
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.names().map(minijinja::Value::from).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain_json(&Value::Object((*self.given).clone())))
    }
}

//! The values of a template, which remember what was looked for in vain: the template language says only where.

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
    /// Where it was looked for.
    pub(super) place: Arc<Node>,
    /// What was looked for.
    pub(super) name: String,
}

/// What was looked for in vain, in the order of the lookups.
#[derive(Debug, Clone, Default)]
pub(super) struct Misses(Arc<Mutex<VecDeque<Lookup>>>);

/// Lookups that are remembered: a loop may look for the same name for ever.
const REMEMBERED: usize = 256;

#[derive(Debug)]
enum Lookup {
    Missed(Miss),
    /// One or more in a row.
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

    /// The one that an error in this line is about; the line is without its conditions. One that stands nowhere in it was
    /// allowed for if anything was found after it.
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

/// The byte at which this name stands as a whole in a line.
pub(super) fn place_of_name(line: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    line.match_indices(name)
        .find(|(at, _)| !line[..*at].ends_with(is_part) && !line[at + name.len()..].starts_with(is_part))
        .map(|(at, _)| at)
}

/// An object of the values, which notes what was looked for in it in vain. It is made once; values of it share it.
pub(super) struct Node {
    /// What is in it, ready for the template.
    fields: BTreeMap<String, minijinja::Value>,
    /// The same, as it was given.
    given: Arc<Map<String, Value>>,
    /// Where it stands, as `event.issue`; empty for the top.
    path: String,
    misses: Misses,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.path)
    }
}

impl Node {
    /// The top, with all that is below.
    pub(super) fn new(fields: Map<String, Value>, misses: Misses) -> Self {
        Self::at(String::new(), fields, &misses)
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The names of its fields in their order.
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

/// A number that can be counted with; one that would be written in another way is the text that its sender wrote.
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

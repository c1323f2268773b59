//! The values of a template, which remember what was looked for in vain: the template language says only where.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use serde_json::{Map, Value};

use crate::plan::fence::plain_json;

/// A lookup of a name that does not exist.
#[derive(Debug, Clone)]
pub(super) struct Miss {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) known: Vec<String>,
}

/// All that was looked for in vain, in the order of the lookups.
#[derive(Debug, Clone, Default)]
pub(super) struct Misses(Arc<Mutex<Vec<Lookup>>>);

#[derive(Debug)]
enum Lookup {
    Missed(Miss),
    /// One or more in a row.
    Found,
}

impl Misses {
    fn note(&self, lookup: Lookup) {
        let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!((lookups.last(), &lookup), (Some(Lookup::Found), Lookup::Found)) {
            lookups.push(lookup);
        }
    }

    /// The one that an error in this line is about; the line is without its conditions. One that stands nowhere in it was
    /// allowed for if anything was found after it.
    pub(super) fn in_line(&self, line: &str) -> Option<Miss> {
        let is_part = |c: char| c == '_' || c.is_alphanumeric();
        let is_in_line = |name: &str| {
            line.match_indices(name)
                .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + name.len()..].starts_with(is_part))
        };
        let lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut misses = lookups.iter().rev().filter_map(|lookup| match lookup {
            Lookup::Missed(miss) => Some(miss),
            Lookup::Found => None,
        });
        let last = match lookups.last() {
            Some(Lookup::Missed(miss)) => Some(miss),
            _ => None,
        };
        misses.find(|miss| is_in_line(&miss.name)).or(last).cloned()
    }
}

/// An object of the values, which notes what was looked for in it in vain.
pub(super) struct Node {
    pub(super) fields: Map<String, Value>,
    pub(super) path: String,
    pub(super) misses: Misses,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.path)
    }
}

impl Node {
    fn value(&self, path: String, value: &Value) -> minijinja::Value {
        match value {
            Value::Object(fields) => {
                minijinja::Value::from_object(Self { fields: fields.clone(), path, misses: self.misses.clone() })
            }
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| self.value(format!("{path}[{index}]"), item)).collect()
            }
            value => minijinja::Value::from(Serde(value)),
        }
    }
}

impl Object for Node {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let name = key.as_str()?;
        let Some(value) = self.fields.get(name) else {
            let known = self.fields.keys().cloned().collect();
            let miss = Miss { path: self.path.clone(), name: name.to_owned(), known };
            self.misses.note(Lookup::Missed(miss));
            return None;
        };
        self.misses.note(Lookup::Found);
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Some(self.value(path, value))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.fields.keys().map(|name| minijinja::Value::from(name.as_str())).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain_json(&Value::Object(self.fields.clone())))
    }
}

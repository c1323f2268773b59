//! The list of a library's public items, from the JSON that rustdoc writes (format 57, of the toolchain in `rust-toolchain.toml`).
//!
//! An item with `#[doc(hidden)]` is not a public item, nor is what stands in it; it may be re-exported where users find it. A
//! re-exported item is listed with its members once, and at its other paths alone.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::Failure;

/// The crates whose types may stand in signatures of the library: those that its users expect.
const EXPECTED_CRATES: &[&str] = &["alloc", "bytes", "core", "futures_core", "serde_json", "std", "url", "uuid"];

/// Prints one line for each public item, sorted, and their number at the top. Fails if a signature has a type of a crate that
/// users do not expect.
pub(crate) fn print(rustdoc_json: &Path) -> Result<(), Failure> {
    let rustdoc: Value = serde_json::from_slice(&std::fs::read(rustdoc_json)?)?;
    let walk = Walk::through(&rustdoc).ok_or("the file does not have the format that this program knows")?;
    println!("# Written by scripts/public-api. Public items: {}", walk.found.len());
    for item in &walk.found {
        println!("{item}");
    }
    match walk.foreign.iter().next() {
        Some(foreign) => Err(format!("a public signature has a type of another crate: {foreign}").into()),
        None => Ok(()),
    }
}

/// A walk from the root of a crate along everything that its users can name.
struct Walk<'a> {
    library: &'a str,
    index: &'a Map<String, Value>,
    /// The full path of each type, those of other crates included.
    paths: &'a Map<String, Value>,
    found: BTreeSet<String>,
    /// Items, and the types of unexpected crates in their signatures.
    foreign: BTreeSet<String>,
    /// Items whose members are listed.
    entered: Vec<&'a Value>,
}

impl<'a> Walk<'a> {
    fn through(rustdoc: &'a Value) -> Option<Self> {
        let (index, paths) = (rustdoc["index"].as_object()?, rustdoc["paths"].as_object()?);
        let root = index.get(&rustdoc["root"].to_string())?;
        let library = root["name"].as_str()?;
        let (found, foreign, entered) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let mut walk = Self { library, index, paths, found, foreign, entered };
        walk.members(root, "module", library);
        Some(walk)
    }

    fn item(&self, id: &Value) -> Option<&'a Value> {
        self.index.get(&id.to_string())
    }

    /// Visits the members of an item of this kind, which users reach at `path`.
    fn members(&mut self, item: &'a Value, kind: &str, path: &str) {
        let inner = &item["inner"][kind];
        let lists = match kind {
            "module" | "trait" => vec![&inner["items"]],
            "struct" => vec![&inner["kind"]["plain"]["fields"], &inner["kind"]["tuple"], &inner["impls"]],
            "enum" => vec![&inner["variants"], &inner["impls"]],
            "impl" if inner["trait"].is_null() => vec![&inner["items"]],
            _ => Vec::new(),
        };
        let all_are_public = matches!(kind, "trait" | "enum");
        for id in lists.into_iter().filter_map(Value::as_array).flatten() {
            if let Some(member) = self.item(id) {
                self.visit(member, path, all_are_public);
            }
        }
    }

    fn visit(&mut self, item: &'a Value, parent: &str, is_public: bool) {
        let Some((kind, inner)) = item["inner"].as_object().and_then(|inner| inner.iter().next()) else { return };
        if kind == "impl" {
            if !is_hidden(item) {
                self.members(item, kind, parent);
            }
            return;
        }
        if !is_public && item["visibility"] != "public" || is_hidden(item) {
            return;
        }
        if kind == "use" {
            return self.re_export(inner, parent);
        }
        let Some(name) = item["name"].as_str() else { return };
        let path = format!("{parent}::{name}");
        self.found.insert(format!("{kind} {path}"));
        self.check(inner, &path);
        self.enter(item, kind, &path);
    }

    /// Notes the types of unexpected crates in this signature.
    fn check(&mut self, signature: &Value, path: &str) {
        match signature {
            Value::Object(fields) => {
                let target = fields.get("id").filter(|_| fields.contains_key("path") && fields.contains_key("args"));
                let full = target.and_then(|id| self.paths.get(&id.to_string())?["path"].as_array());
                if let Some(full) = full.map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>())
                    && full.first().is_some_and(|name| *name != self.library && !EXPECTED_CRATES.contains(name))
                {
                    self.foreign.insert(format!("{path}: {}", full.join("::")));
                }
                for value in fields.values() {
                    self.check(value, path);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.check(value, path)),
            _ => {}
        }
    }

    /// Items of this crate are listed where users find them, items of other crates by their name alone.
    fn re_export(&mut self, inner: &'a Value, parent: &str) {
        match self.item(&inner["id"]) {
            Some(module) if inner["is_glob"] == true => self.enter(module, "module", parent),
            Some(item) if item["inner"]["module"].is_object() && is_hidden(item) => {}
            Some(item) => {
                let path = format!("{parent}::{}", inner["name"].as_str().unwrap_or_default());
                let kind =
                    item["inner"].as_object().and_then(|inner| inner.keys().next()).map_or("use", String::as_str);
                self.found.insert(format!("{kind} {path}"));
                self.check(&item["inner"], &path);
                self.enter(item, kind, &path);
            }
            None => _ = self.found.insert(format!("use {parent}::{}", inner["name"].as_str().unwrap_or_default())),
        }
    }

    fn enter(&mut self, item: &'a Value, kind: &str, path: &str) {
        if !self.entered.iter().any(|entered| std::ptr::eq(*entered, item)) {
            self.entered.push(item);
            self.members(item, kind, path);
        }
    }
}

/// Whether the item has `#[doc(hidden)]`.
fn is_hidden(item: &Value) -> bool {
    item["attrs"].as_array().is_some_and(|attributes| attributes.iter().any(|one| one.to_string().contains("hidden")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_users_can_name_is_listed() {
        let item = |name: &str, visibility: &str, inner: Value| json!({"name": name, "visibility": visibility, "inner": inner});
        let rustdoc = json!({"root": 0, "paths": {}, "index": {
            "0": item("demo", "public", json!({"module": {"items": [1, 2, 8]}})),
            "1": item("hidden", "crate", json!({"module": {"items": [3]}})),
            "2": {"name": null, "visibility": "public", "inner": {"use": {"name": "Key", "id": 3, "is_glob": false}}},
            "3": item("Key", "public", json!({"struct": {"kind": {"plain": {"fields": [4, 5]}}, "impls": [6]}})),
            "4": item("id", "public", json!({"struct_field": {}})),
            "5": item("secret", "default", json!({"struct_field": {}})),
            "6": {"name": null, "visibility": "default", "inner": {"impl": {"trait": null, "items": [7]}}},
            "7": item("new", "public", json!({"function": {}})),
            "8": item("Kind", "public", json!({"enum": {"variants": [9], "impls": []}})),
            "9": item("One", "default", json!({"variant": {}})),
        }});
        let found = Walk::through(&rustdoc).unwrap().found;
        let expected = [
            "enum demo::Kind",
            "function demo::Key::new",
            "struct demo::Key",
            "struct_field demo::Key::id",
            "variant demo::Kind::One",
        ];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn hidden_items_are_listed_only_where_users_find_them_and_foreign_types_are_found() {
        let hidden = json!([{"other": "#[doc(hidden)]"}]);
        let reference = |id: u32| json!({"resolved_path": {"path": "T", "id": id, "args": null}});
        let function = |output: Value| json!({"function": {"sig": {"inputs": [], "output": output}}});
        let rustdoc = json!({"root": 0,
            "paths": {"20": {"path": ["alloc", "string", "String"]}, "21": {"path": ["reqwest", "Client"]}},
            "index": {
                "0": {"name": "demo", "visibility": "public", "inner": {"module": {"items": [1, 5]}}},
                "1": {"name": "parts", "visibility": "public", "attrs": hidden, "inner": {"module": {"items": [2, 4]}}},
                "2": {"name": "Key", "visibility": "public", "inner": {"struct": {"kind": "unit", "impls": [3, 8]}}},
                "3": {"name": null, "visibility": "default", "inner": {"impl": {"trait": null, "items": [6, 7]}}},
                "4": {"name": "inner", "visibility": "public", "inner": function(reference(21))},
                "5": {"name": null, "visibility": "public", "inner": {"use": {"name": "Key", "id": 2, "is_glob": false}}},
                "6": {"name": "text", "visibility": "public", "inner": function(reference(20))},
                "7": {"name": "client", "visibility": "public", "inner": function(reference(21))},
                "8": {"name": null, "visibility": "default", "attrs": hidden,
                    "inner": {"impl": {"trait": null, "items": [9]}}},
                "9": {"name": "hidden", "visibility": "public", "inner": function(reference(21))},
        }});
        let walk = Walk::through(&rustdoc).unwrap();
        let found = ["function demo::Key::client", "function demo::Key::text", "struct demo::Key"];
        assert_eq!(walk.found.iter().collect::<Vec<_>>(), found);
        assert_eq!(walk.foreign.iter().collect::<Vec<_>>(), ["demo::Key::client: reqwest::Client"]);
    }
}

//! The list of a library's public items, from the JSON that rustdoc writes (format 57, of the toolchain in `rust-toolchain.toml`).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::Failure;

/// Prints one line for each public item, sorted, and their number at the top.
pub(crate) fn print(rustdoc_json: &Path) -> Result<(), Failure> {
    let rustdoc: Value = serde_json::from_slice(&std::fs::read(rustdoc_json)?)?;
    let items = public_items(&rustdoc).ok_or("the file does not have the format that this program knows")?;
    println!("# Written by scripts/public-api. Public items: {}", items.len());
    for item in items {
        println!("{item}");
    }
    Ok(())
}

fn public_items(rustdoc: &Value) -> Option<BTreeSet<String>> {
    let mut walk = Walk { index: rustdoc["index"].as_object()?, found: BTreeSet::new(), open: Vec::new() };
    let root = walk.item(&rustdoc["root"])?;
    let name = root["name"].as_str()?.to_owned();
    walk.members(root, "module", &name);
    Some(walk.found)
}

/// A walk from the root of a crate along everything that its users can name.
struct Walk<'a> {
    index: &'a Map<String, Value>,
    found: BTreeSet<String>,
    /// The modules that the walk is in: modules may re-export each other.
    open: Vec<&'a Value>,
}

impl<'a> Walk<'a> {
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
            return self.members(item, kind, parent);
        }
        if !is_public && item["visibility"] != "public" {
            return;
        }
        if kind == "use" {
            return self.re_export(inner, parent);
        }
        let Some(name) = item["name"].as_str() else { return };
        let path = format!("{parent}::{name}");
        self.found.insert(format!("{kind} {path}"));
        self.enter(item, kind, &path);
    }

    /// Items of this crate are listed where users find them, items of other crates by their name alone.
    fn re_export(&mut self, inner: &'a Value, parent: &str) {
        match self.item(&inner["id"]) {
            Some(module) if inner["is_glob"] == true => self.enter(module, "module", parent),
            Some(item) => {
                let path = format!("{parent}::{}", inner["name"].as_str().unwrap_or_default());
                let kind =
                    item["inner"].as_object().and_then(|inner| inner.keys().next()).map_or("use", String::as_str);
                self.found.insert(format!("{kind} {path}"));
                self.enter(item, kind, &path);
            }
            None => _ = self.found.insert(format!("use {parent}::{}", inner["name"].as_str().unwrap_or_default())),
        }
    }

    fn enter(&mut self, item: &'a Value, kind: &str, path: &str) {
        if !self.open.contains(&item) {
            self.open.push(item);
            self.members(item, kind, path);
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_users_can_name_is_listed() {
        let item = |name: &str, visibility: &str, inner: Value| json!({"name": name, "visibility": visibility, "inner": inner});
        let rustdoc = json!({"root": 0, "index": {
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
        let found = public_items(&rustdoc).unwrap();
        let expected = [
            "enum demo::Kind",
            "function demo::Key::new",
            "struct demo::Key",
            "struct_field demo::Key::id",
            "variant demo::Kind::One",
        ];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }
}

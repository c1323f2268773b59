//! The part of JSON Schema that a task's `result.schema` may use, and values against it.
//!
//! A validator of the whole standard is larger than a third of this program. What is not checked here is refused, so
//! that no task relies on it.

use serde_json::{Map, Value};

use super::references::resolved;

/// A checked JSON Schema of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResultSchema(Value);

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} at `{place}`: {help}")]
pub(crate) struct SchemaError {
    /// Where in the schema, as `schema.properties.name`.
    pub(crate) place: String,
    /// What is there.
    pub(crate) found: String,
    /// What would be right.
    pub(crate) help: String,
}

/// Keywords that say nothing about a value.
const ANNOTATIONS: &[&str] =
    &["title", "description", "default", "examples", "deprecated", "format", "$schema", "$id", "$comment"];

const CHECKED: &[&str] = &[
    "type",
    "enum",
    "const",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

const TYPES: &[&str] = &["object", "array", "string", "integer", "number", "boolean", "null"];

/// Arguments that the finish tool has already (agent-server 1.58.0).
const RESERVED: &[&str] = &["message", "kind", "security_risk", "structured_output", "summary"];

/// What the agent-server takes at the top of the finish tool's schema (1.58.0), of what we check.
const AT_TOP: &[&str] = &["type", "properties", "required", "additionalProperties"];

impl ResultSchema {
    /// Checks a schema.
    ///
    /// # Errors
    /// [`SchemaError`]: the first thing that is wrong with it, or not supported.
    pub(crate) fn new(schema: Value) -> Result<Self, SchemaError> {
        let schema = resolved(schema)?;
        let refuse = |found: String, help: &str| Err(error("", found, help));
        let Some(object) = schema.as_object() else {
            return refuse("not an object".to_owned(), "give a JSON Schema of an object");
        };
        if object.get("type").and_then(Value::as_str) != Some("object") {
            return refuse("no `type: object`".to_owned(), "write `type: object`");
        }
        if let Some(keyword) =
            object.keys().find(|key| CHECKED.contains(&key.as_str()) && !AT_TOP.contains(&key.as_str()))
        {
            return refuse(format!("`{keyword}`"), "write it in a property");
        }
        if !matches!(object.get("additionalProperties"), None | Some(Value::Bool(false))) {
            return refuse("`additionalProperties`".to_owned(), "name every property");
        }
        let names: Vec<&String> =
            object.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys).collect();
        if names.is_empty() {
            return refuse("no `properties`".to_owned(), "name at least one property");
        }
        if let Some(name) = names.iter().find(|name| RESERVED.contains(&name.as_str())) {
            return refuse(
                format!("a property `{name}`"),
                "the agent's finish tool has a field with this name; choose another name",
            );
        }
        let required = object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        if let Some(name) = required.clone().find(|name| names.iter().all(|known| known != name)) {
            return refuse(format!("`{name}` is required but not a property"), "name it under `properties`");
        }
        check(&schema, "")?;
        Ok(Self(schema))
    }

    /// The schema as it was given.
    #[must_use]
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// The names of the object's properties.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// Where a value differs from the schema, at most [`MOST_MISFITS`] places.
    #[must_use]
    pub(crate) fn violations(&self, value: &Value) -> Vec<String> {
        let mut violations = Vec::new();
        compare(&self.0, value, "", &mut violations);
        violations.truncate(MOST_MISFITS);
        violations
    }
}

/// The largest number of wrong places that a message lists.
pub(crate) const MOST_MISFITS: usize = 5;

pub(super) fn error(place: &str, found: impl Into<String>, help: impl Into<String>) -> SchemaError {
    let place = if place.is_empty() { "schema".to_owned() } else { format!("schema.{place}") };
    SchemaError { place, found: found.into(), help: help.into() }
}

pub(super) fn below(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

fn check(schema: &Value, place: &str) -> Result<(), SchemaError> {
    let Some(keywords) = schema.as_object() else {
        return if schema.is_boolean() { Ok(()) } else { Err(error(place, "not a schema", "give an object")) };
    };
    for (keyword, value) in keywords {
        let wrong = |help: &str| Err(error(place, format!("`{keyword}: {value}`"), help));
        let schema_at = |value: &Value| check(value, &below(place, keyword));
        match keyword.as_str() {
            "type" => {
                let known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
                if !(known(value) || value.as_array().is_some_and(|names| !names.is_empty() && names.iter().all(known)))
                {
                    return wrong(&format!("give one or more of {}", TYPES.join(", ")));
                }
            }
            "enum" if !value.is_array() => return wrong("give a list of values"),
            "required" if !value.as_array().is_some_and(|names| names.iter().all(Value::is_string)) => {
                return wrong("give a list of names");
            }
            "minItems" | "maxItems" | "minLength" | "maxLength" if !value.is_u64() => {
                return wrong("give a whole number");
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" if !value.is_number() => {
                return wrong("give a number");
            }
            "items" | "additionalProperties" => schema_at(value)?,
            "properties" => {
                let Some(properties) = value.as_object() else { return wrong("give a map from name to schema") };
                for (name, property) in properties {
                    check(property, &below(place, &format!("properties.{name}")))?;
                }
            }
            "anyOf" => match value.as_array().filter(|schemas| !schemas.is_empty()) {
                Some(schemas) => schemas.iter().try_for_each(schema_at)?,
                None => return wrong("give a list of schemas"),
            },
            name if CHECKED.contains(&name) || ANNOTATIONS.contains(&name) => {}
            _ => {
                let help = format!("not supported; there are {}", CHECKED.join(", "));
                return Err(error(place, format!("`{keyword}`"), help));
            }
        }
    }
    Ok(())
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    if name == "null" { name.to_owned() } else { format!("{article} {name}") }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    let own = type_of(value);
    own == name || (own == "integer" && name == "number")
}

fn compare(schema: &Value, value: &Value, place: &str, violations: &mut Vec<String>) {
    let mut misfit = |what: String| {
        violations.push(if place.is_empty() { what } else { format!("{place}: {what}") });
    };
    let Some(keywords) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            misfit("not allowed".to_owned());
        }
        return;
    };
    let keyword = |name: &str| keywords.get(name);
    let number = |name: &str| keyword(name).and_then(Value::as_f64);
    let size = |name: &str| keyword(name).and_then(Value::as_u64);

    if let Some(types) = keyword("type") {
        let names: Vec<&str> = types
            .as_array()
            .map_or(vec![types], |list| list.iter().collect())
            .into_iter()
            .filter_map(Value::as_str)
            .collect();
        if !names.iter().any(|name| is_of_type(value, name)) {
            let wanted = names.iter().map(|name| with_article(name)).collect::<Vec<_>>().join(" or ");
            return misfit(format!("{}, not {wanted}", with_article(type_of(value))));
        }
    }
    if let Some(allowed) = keyword("enum").and_then(Value::as_array).filter(|allowed| !allowed.contains(value)) {
        misfit(format!("{value}, which is none of {}", Value::Array(allowed.clone())));
    }
    if let Some(only) = keyword("const").filter(|only| *only != value) {
        misfit(format!("{value}, not {only}"));
    }
    let fits = |schema: &Value| {
        let mut violations = Vec::new();
        compare(schema, value, "", &mut violations);
        violations.is_empty()
    };
    if keyword("anyOf").and_then(Value::as_array).is_some_and(|schemas| !schemas.iter().any(fits)) {
        misfit("none of the shapes of `anyOf`".to_owned());
    }
    if let Some(found) = value.as_f64() {
        for (name, is_within) in [
            ("minimum", f64::ge as fn(&f64, &f64) -> bool),
            ("maximum", f64::le),
            ("exclusiveMinimum", f64::gt),
            ("exclusiveMaximum", f64::lt),
        ] {
            if let Some(limit) = number(name).filter(|limit| !is_within(&found, limit)) {
                misfit(format!("{found} is beyond the {name} {limit}"));
            }
        }
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        _ => None,
    };
    if let Some((length, least, most)) = length {
        let length = length as u64;
        let (least, most) = (size(least), size(most));
        if least.is_some_and(|least| length < least) || most.is_some_and(|most| length > most) {
            let allowed = match (least, most) {
                (Some(least), Some(most)) => format!("{least} to {most}"),
                (Some(least), None) => format!("at least {least}"),
                (None, Some(most)) => format!("at most {most}"),
                (None, None) => "any".to_owned(),
            };
            let unit = if value.is_string() { "characters" } else { "items" };
            misfit(format!("{length} {unit}; allowed: {allowed}"));
        }
    }
    match value {
        Value::Array(items) => {
            if let Some(schema) = keyword("items") {
                for (index, item) in items.iter().enumerate() {
                    compare(schema, item, &below(place, &index.to_string()), violations);
                }
            }
        }
        Value::Object(fields) => compare_object(keywords, fields, place, violations),
        _ => {}
    }
}

fn compare_object(
    keywords: &Map<String, Value>,
    fields: &Map<String, Value>,
    place: &str,
    violations: &mut Vec<String>,
) {
    let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    violations.extend(
        required.filter(|name| !fields.contains_key(*name)).map(|name| format!("{}: missing", below(place, name))),
    );
    for (name, value) in fields {
        let own = keywords.get("properties").and_then(|properties| properties.get(name));
        if let Some(schema) = own.or_else(|| keywords.get("additionalProperties")) {
            compare(schema, value, &below(place, name), violations);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(property: &Value) -> ResultSchema {
        ResultSchema::new(json!({"type": "object", "properties": {"x": property}, "required": ["x"]})).unwrap()
    }

    fn refusal(schema: Value) -> String {
        ResultSchema::new(schema).unwrap_err().to_string()
    }

    #[test]
    fn values_are_compared_keyword_by_keyword() {
        for (property, good, bad) in [
            (json!({"type": "integer"}), json!(3), json!(3.5)),
            (json!({"type": "number"}), json!(3), json!("3")),
            (json!({"type": ["string", "null"]}), json!(null), json!(true)),
            (json!({"enum": ["a", 1]}), json!(1), json!("b")),
            (json!({"const": "a"}), json!("a"), json!("b")),
            (json!({"minimum": 1, "exclusiveMaximum": 2}), json!(1), json!(2)),
            (json!({"minLength": 2, "maxLength": 3}), json!("äöü"), json!("ä")),
            (json!({"items": {"type": "string"}, "minItems": 1}), json!(["a"]), json!([1])),
            (json!({"items": {"type": "string"}, "minItems": 1}), json!(["a"]), json!([])),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(null), json!(1)),
            (
                json!({"type": "object", "properties": {"y": {"type": "boolean"}}, "required": ["y"]}),
                json!({"y": true}),
                json!({}),
            ),
            (json!({"type": "object", "additionalProperties": false}), json!({}), json!({"z": 1})),
        ] {
            let schema = of(&property);
            assert_eq!(schema.violations(&json!({"x": good})), Vec::<String>::new(), "{property}");
            assert_eq!(schema.violations(&json!({"x": bad})).len(), 1, "{property}");
            assert_eq!(schema.violations(&json!({})), ["x: missing"]);
        }
    }

    #[test]
    fn a_misfit_names_its_place() {
        let schema =
            of(&json!({"type": "array", "items": {"type": "object", "properties": {"y": {"type": "string"}}}}));
        assert_eq!(schema.violations(&json!({"x": [{"y": "a"}, {"y": 1}]})), ["x.1.y: an integer, not a string"]);
    }

    #[test]
    fn a_length_out_of_bounds_is_told_with_the_bounds() {
        let violations = |property: Value, value: Value| of(&property).violations(&json!({ "x": value })).join("");
        let text = json!({"type": "string", "minLength": 2, "maxLength": 3});
        assert_eq!(violations(text, json!("a")), "x: 1 characters; allowed: 2 to 3");
        assert_eq!(violations(json!({"minItems": 1}), json!([])), "x: 0 items; allowed: at least 1");
    }

    #[test]
    fn what_is_not_checked_is_refused() {
        let error = refusal(json!({"type": "object", "properties": {"x": {"type": "string", "pattern": "a+"}}}));
        assert!(error.starts_with("`pattern` at `schema.properties.x`: not supported"), "{error}");
        let error = refusal(json!({"type": "object", "properties": {"x": {"items": {"$ref": "#/$defs/a"}}}}));
        assert!(error.contains("`$ref` at `schema.properties.x.items`"), "{error}");
    }

    #[test]
    fn what_the_finish_tool_cannot_take_is_refused() {
        for (schema, words) in [
            (json!([]), "not an object"),
            (json!({"type": "array"}), "no `type: object`"),
            (json!({"type": "object"}), "no `properties`"),
            (json!({"type": "object", "properties": {"message": {}}}), "a property `message`"),
            (json!({"type": "object", "properties": {"a": {}}, "required": ["b"]}), "`b` is required"),
            (json!({"type": "object", "properties": {"a": {}}, "anyOf": [{}]}), "`anyOf`"),
            (json!({"type": "object", "properties": {"a": {"type": "text"}}}), "`type: \"text\"`"),
        ] {
            let error = refusal(schema);
            assert!(error.contains(words), "{error}");
        }
    }
}

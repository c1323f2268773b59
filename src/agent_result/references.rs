//! `$defs` and `$ref` of a JSON Schema, as pydantic writes them: each reference becomes a copy of what it names.

use serde_json::{Map, Value};

use super::schema::{SchemaError, below, error};

/// Definitions may hold references to each other; a schema that is larger than this with all of them in place is refused.
const MOST_PARTS: usize = 10_000;

/// The schema without references.
///
/// # Errors
/// A reference to something that is not there, outside of the schema, or to itself.
pub(super) fn resolved(schema: Value) -> Result<Value, SchemaError> {
    let Value::Object(mut top) = schema else { return Ok(schema) };
    let mut definitions = Map::new();
    for name in ["$defs", "definitions"] {
        if let Some(Value::Object(named)) = top.remove(name) {
            definitions.extend(named.into_iter().map(|(key, value)| (format!("#/{name}/{key}"), value)));
        }
    }
    let mut resolver = Resolver { definitions: &definitions, inside: Vec::new(), parts: 0 };
    resolver.resolve(&Value::Object(top), "")
}

struct Resolver<'s> {
    definitions: &'s Map<String, Value>,
    /// The references around the present place.
    inside: Vec<String>,
    parts: usize,
}

impl Resolver<'_> {
    fn resolve(&mut self, value: &Value, place: &str) -> Result<Value, SchemaError> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(error(place, "`$ref`", "the schema is too large with its definitions in place"));
        }
        match value {
            Value::Object(fields) => self.object(fields, place),
            Value::Array(items) => items.iter().map(|item| self.resolve(item, place)).collect(),
            other => Ok(other.clone()),
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, place: &str) -> Result<Value, SchemaError> {
        let mut whole = match fields.get("$ref") {
            Some(Value::String(reference)) => self.definition(reference, place)?,
            // A property may be called `$ref`; its schema is an object.
            _ => Map::new(),
        };
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("$ref", Value::String(_)) => {}
                // So pydantic writes a reference that has a description beside it.
                ("allOf", Value::Array(schemas)) if schemas.len() == 1 => {
                    if let Value::Object(only) = self.resolve(&schemas[0], &below(place, name))? {
                        whole.extend(only);
                    }
                }
                _ => {
                    whole.insert(name.clone(), self.resolve(value, &below(place, name))?);
                }
            }
        }
        Ok(Value::Object(whole))
    }

    fn definition(&mut self, reference: &str, place: &str) -> Result<Map<String, Value>, SchemaError> {
        let Some(definition) = self.definitions.get(reference) else {
            return Err(error(place, "`$ref`", "give the name of a schema under `$defs`, such as `#/$defs/Name`"));
        };
        if self.inside.iter().any(|around| around == reference) {
            return Err(error(place, "`$ref`", "a schema that holds itself is not supported"));
        }
        self.inside.push(reference.to_owned());
        let resolved = self.resolve(definition, place);
        self.inside.pop();
        match resolved? {
            Value::Object(fields) => Ok(fields),
            _ => Err(error(place, "`$ref`", "the definition is not an object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_to_definitions_are_put_in_place() {
        let schema = json!({"type": "object", "properties": {
            "a": {"$ref": "#/$defs/A"}, "list": {"type": "array", "items": {"$ref": "#/$defs/B"}},
            "b": {"allOf": [{"$ref": "#/$defs/B"}], "description": "d"}},
            "$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}}}, "B": {"type": "string"}}});
        let expected = json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"b": {"type": "string"}}},
            "list": {"type": "array", "items": {"type": "string"}}, "b": {"type": "string", "description": "d"}}});
        assert_eq!(resolved(schema).unwrap(), expected);
    }

    #[test]
    fn references_that_cannot_be_put_in_place_are_refused() {
        for (definition, words) in [
            (json!({"$ref": "#/$defs/A"}), "a schema that holds itself"),
            (json!({"$ref": "#/$defs/Other"}), "give the name of a schema under `$defs`"),
            (json!({"$ref": "https://elsewhere/"}), "give the name of a schema under `$defs`"),
        ] {
            let schema = json!({"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": definition}});
            let error = resolved(schema).unwrap_err().to_string();
            assert!(error.contains("`$ref` at `schema.properties.x`") && error.contains(words), "{error}");
        }
        let doubling: Map<String, Value> = (0..30)
            .map(|n| {
                (
                    n.to_string(),
                    json!({"anyOf": [{"$ref": format!("#/$defs/{}", n + 1)}, {"$ref": format!("#/$defs/{}", n + 1)}]}),
                )
            })
            .collect();
        let schema = json!({"properties": {"x": {"$ref": "#/$defs/0"}}, "$defs": doubling});
        assert!(resolved(schema).is_err());
    }
}

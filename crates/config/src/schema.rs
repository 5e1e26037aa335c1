//! The JSON Schema of a config. The part that works is derived from [`settings`](crate::settings) and is
//! also what a config is judged by; the rest is added from the table of what is not served yet.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::path::{Path, Step};
use crate::settings::Config;
use crate::shape::Shape;
use crate::unsupported::TREE;

/// Marks a setting that does nothing yet.
pub(crate) const SERVED: &str = "x-moltbot-supported";
/// Names a form that JSON Schema has no word for.
pub(crate) const FORM: &str = "x-moltbot-form";

/// The schema of the settings that work, every type in its place. Made once, when a config is first read.
pub(crate) fn served() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Config>().to_value()
    });
    &SCHEMA
}

/// The JSON Schema of everything known. What is accepted but does nothing yet has
/// `"x-moltbot-supported": false`.
pub fn schema() -> Value {
    let mut schema = served().clone();
    merge(&mut schema, &TREE);
    schema
}

/// The alternatives that a schema leaves: itself, or the members of its `anyOf` or `oneOf`.
pub(crate) fn alternatives(schema: &Value) -> Vec<&Value> {
    match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        None => vec![schema],
        Some(several) => several.iter().flat_map(alternatives).collect(),
    }
}

/// Whether a setting at this path works.
pub(crate) fn serves(path: &Path) -> bool {
    let below = |schema: &'static Value, step: &Step| match step {
        Step::Index(_) => schema.get("items"),
        Step::Key(key) => {
            let named = schema.get("properties").and_then(|all| all.get(key));
            named.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()))
        }
    };
    let possible = path.0.iter().fold(vec![served()], |schemas, step| {
        schemas.into_iter().flat_map(alternatives).filter_map(|schema| below(schema, step)).collect()
    });
    possible.iter().any(|schema| schema.get(SERVED) != Some(&Value::Bool(false)))
}

/// Adds to a schema the members of `shape` that it does not have.
fn merge(schema: &mut Value, shape: &'static Shape) {
    match shape.plain() {
        Shape::List(element) => merge_at(schema, "items", element),
        Shape::Map(value) => merge_at(schema, "additionalProperties", value),
        Shape::Open(_) => open(schema),
        _ => {}
    }
    for (name, member) in shape.members() {
        if name.ends_with('*') {
            add(schema, "patternProperties", &format!("^{}", name.trim_end_matches('*')), member);
        } else if schema.pointer(&format!("/properties/{name}")).is_some() {
            merge_at(schema, &format!("properties/{name}"), member);
        } else {
            add(schema, "properties", name, member);
        }
    }
}

/// Other members are known to be possible.
fn open(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        object.insert("additionalProperties".into(), Value::Bool(true));
    }
}

fn merge_at(schema: &mut Value, place: &str, shape: &'static Shape) {
    if let Some(inner) = schema.pointer_mut(&format!("/{place}")) {
        merge(inner, shape);
    }
}

fn add(schema: &mut Value, place: &str, name: &str, shape: &'static Shape) {
    let Some(object) = schema.as_object_mut() else { return };
    let members = object.entry(place).or_insert_with(|| Value::Object(Map::new()));
    if let (Some(members), Value::Object(mut described)) = (members.as_object_mut(), describe(shape)) {
        described.insert(SERVED.into(), Value::Bool(false));
        if let Some(note) = shape.note() {
            described.insert("description".into(), format!("Not supported yet: {note}.").into());
        }
        members.insert(name.into(), Value::Object(described));
    }
}

/// The schema of a shape.
fn describe(shape: &'static Shape) -> Value {
    match shape.plain() {
        Shape::Any | Shape::Noted(..) => json!({}),
        Shape::Barred(text, why) => {
            json!({ "not": { "const": text }, "description": format!("Not \"{text}\": {why}.") })
        }
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::List(element) => json!({ "type": "array", "items": describe(element) }),
        Shape::Map(value) => json!({ "type": "object", "additionalProperties": describe(value) }),
        Shape::Never(why) => json!({ "const": false, "description": format!("Must not be true: {why}.") }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Object(_) => object(shape, false),
        Shape::OneOf(texts) => json!({ "type": "string", "enum": texts }),
        Shape::Open(_) => object(shape, true),
        Shape::Refused(why) => json!({ "not": {}, "description": format!("Not accepted: {why}.") }),
        Shape::Text => json!({ "type": "string" }),
        Shape::TextOr(inner) => json!({ "anyOf": [{ "type": "string" }, describe(inner)] }),
        Shape::Whole(least, i64::MAX) => json!({ "type": "integer", "minimum": least }),
        Shape::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
    }
}

fn object(shape: &'static Shape, is_open: bool) -> Value {
    let mut schema = json!({ "type": "object", "additionalProperties": is_open });
    for (name, member) in shape.members() {
        let (place, name) = match name.strip_suffix('*') {
            None => ("properties", (*name).to_owned()),
            Some(start) => ("patternProperties", format!("^{start}")),
        };
        add(&mut schema, place, &name, member);
    }
    schema
}

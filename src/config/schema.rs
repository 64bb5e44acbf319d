//! The JSON schema of pilot.toml, for editors, and for the loader, which asks it what a key may be.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use super::Config;

/// The JSON schema (draft 2020-12) of pilot.toml.
pub fn schema() -> Value {
    let mut schema = generate::<Config>(false);
    let head = [
        ("$id", "urn:pilot:schema:config"),
        ("title", "pilot.toml"),
        ("description", "The configuration of pilot. Every key but one registry may be left out."),
    ];
    for (key, value) in head {
        schema[key] = value.into();
    }
    schema
}

fn generate<T: JsonSchema>(inline: bool) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = inline);
    let schema = settings.with_transform(RecursiveTransform(without_null)).into_generator();
    schema.into_root_schema_for::<T>().to_value()
}

/// TOML has no null: a key that may be left out is not one that may be null.
fn without_null(schema: &mut schemars::Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            object["type"] = only.clone();
        }
    }
    if let Some(Value::Array(options)) = object.get_mut("anyOf") {
        options.retain(|option| option["type"] != "null");
        if let [Value::Object(only)] = options.as_mut_slice() {
            let only = std::mem::take(only);
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
}

/// What may stand in one place of pilot.toml.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a>(&'a Value);

/// The types of values without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    String,
    Integer,
    Boolean,
}

/// Whether pilot.toml has a key at its top that is called so, or nearly so.
pub fn has_key_like(name: &str) -> bool {
    let schema = schema();
    let mut keys = Shape(&schema).keys();
    keys.any(|(key, _)| strsim::damerau_levenshtein(name, key) <= key.len() / 3)
}

/// The shape of all of pilot.toml, without references.
pub(super) fn inlined() -> Value {
    generate::<Config>(true)
}

impl<'a> Shape<'a> {
    pub(super) fn new(schema: &'a Value) -> Self {
        Self(schema)
    }

    /// The keys that it has, in order; of a table with names of the user's choice: none.
    pub(super) fn keys(self) -> impl Iterator<Item = (&'a str, Shape<'a>)> {
        let properties = self.0["properties"].as_object().into_iter().flatten();
        properties.map(|(key, shape)| (key.as_str(), Shape(shape)))
    }

    /// The shape of what stands under that key.
    pub(super) fn get(self, key: &str) -> Option<Shape<'a>> {
        self.keys().find(|(known, _)| *known == key).map(|(_, shape)| shape).or(self.any_key())
    }

    /// The shape of what stands under names of the user's choice.
    pub(super) fn any_key(self) -> Option<Shape<'a>> {
        let shape = &self.0["additionalProperties"];
        shape.is_object().then_some(Shape(shape))
    }

    pub(super) fn is_table(self) -> bool {
        self.0["type"] == "object"
    }

    /// The shape of a table that may stand there instead of a value without parts: `80` or `{ http = 80 }`.
    pub(super) fn table_instead(self) -> Option<Shape<'a>> {
        self.options().find(|option| option.is_table())
    }

    /// What it may be, where that is one of several.
    fn options(self) -> impl Iterator<Item = Shape<'a>> {
        ["oneOf", "anyOf"].into_iter().flat_map(move |key| self.0[key].as_array()).flatten().map(Shape)
    }

    pub(super) fn scalar(self) -> Option<Scalar> {
        let shape = self.options().next().unwrap_or(self);
        match shape.0["type"].as_str()? {
            "string" => Some(Scalar::String),
            "integer" => Some(Scalar::Integer),
            "boolean" => Some(Scalar::Boolean),
            _ => None,
        }
    }

    /// The words that it may be, if it may only be one of some.
    pub(super) fn words(self) -> Vec<&'a str> {
        let options = self.0["oneOf"].as_array().into_iter().flatten().map(|option| &option["const"]);
        options.chain(self.0["enum"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect()
    }

    /// The bounds of an integer.
    pub(super) fn bounds(self) -> (i64, i64) {
        let shape = self.options().next().unwrap_or(self);
        let bound = |key: &str| shape.0[key].as_i64();
        (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX))
    }

    /// What is expected here, in words.
    pub(super) fn expected(self) -> String {
        let words = self.words();
        let kind = match self.scalar() {
            _ if !words.is_empty() => return format!("expected one of {}", super::problem::quoted(&words)),
            Some(Scalar::Integer) => match self.bounds() {
                (i64::MIN, _) => "a whole number".into(),
                (min, i64::MAX) => format!("a whole number from {min}"),
                (min, max) => format!("a whole number from {min} to {max}"),
            },
            Some(Scalar::String) => "a string".into(),
            Some(Scalar::Boolean) => "true or false".into(),
            None if self.is_table() => "a table".into(),
            None => "another type".to_owned(),
        };
        let example = self.0.get("default").or(self.0["examples"].get(0));
        match example.filter(|example| !example.is_object()) {
            Some(example) => format!("expected {kind}, like {example}"),
            None => match self.table_instead() {
                Some(table) => {
                    let keys: Vec<&str> = table.keys().map(|(key, _)| key).collect();
                    format!("expected {kind}, or a table of such by {}", keys.join(", "))
                }
                None => format!("expected {kind}"),
            },
        }
    }
}

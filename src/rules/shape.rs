//! What may stand where in a document: the shape of a kind, from the types that hold it.
//!
//! The types say it with `schemars`. What a JSON schema has no word for stands in these extensions:
//!
//! | extension | at | meaning |
//! |---|---|---|
//! | `x-rejected` | a field | refused, and what to do instead |
//! | `x-inert` | a field | means nothing here, and why; warned of |
//! | `x-old` | a field | an old spelling that counts, and the new one; warned of |
//! | `x-removed` | a table | names that are no fields any more, each with what to write instead |
//! | `x-one-of` | a table | lists of fields of which at most one may be there |

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

/// The shape of a kind, without references.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.with_transform(RecursiveTransform(without_null)).into_generator();
    schema.into_root_schema_for::<T>().to_value()
}

/// A field that may be left out is not one that may be null.
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
}

/// What may stand in one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a>(pub(super) &'a Value);

/// What kind of value may stand in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A table with keys that are known.
    Table,
    /// A table with keys of the author's choice.
    Map,
    List,
    Text,
    Integer,
    Number,
    Bool,
}

impl<'a> Shape<'a> {
    /// What kind of value it is; `None` = it is always refused.
    pub(super) fn kind(self) -> Option<Type> {
        let kind = match self.0["type"].as_str() {
            Some("object") if self.0["properties"].is_object() => Type::Table,
            Some("object") => Type::Map,
            Some("array") => Type::List,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Bool,
            Some("string") => Type::Text,
            _ if !self.words().is_empty() => Type::Text,
            _ => return None,
        };
        Some(kind)
    }

    /// The fields of a table, in order.
    pub(super) fn fields(self) -> impl Iterator<Item = (&'a str, Shape<'a>)> {
        let properties = self.0["properties"].as_object().into_iter().flatten();
        properties.map(|(key, shape)| (key.as_str(), Shape(shape)))
    }

    /// A field of a table.
    pub(super) fn field(self, key: &str) -> Option<Shape<'a>> {
        self.0["properties"].get(key).map(Shape)
    }

    /// The fields that have to be there.
    pub(super) fn required(self) -> impl Iterator<Item = &'a str> {
        self.0["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// What a list, or a table with keys of the author's choice, has.
    pub(super) fn item(self) -> Option<Shape<'a>> {
        let inside = ["items", "additionalProperties"].into_iter().map(|key| &self.0[key]);
        inside.into_iter().find(|inside| inside.is_object()).map(Shape)
    }

    /// The words that a text may be, if it may only be one of some.
    pub(super) fn words(self) -> Vec<&'a str> {
        let options = self.0["oneOf"].as_array().into_iter().flatten();
        let options = options.flat_map(|option| {
            std::iter::once(&option["const"]).chain(option["enum"].as_array().into_iter().flatten())
        });
        options.chain(self.0["enum"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect()
    }

    /// How a text is written: `duration`, `regex`.
    pub(super) fn format(self) -> Option<&'a str> {
        self.0["format"].as_str()
    }

    /// The bounds of a number.
    pub(super) fn bounds(self) -> (Option<f64>, Option<f64>) {
        (self.0["minimum"].as_f64(), self.0["maximum"].as_f64())
    }

    /// How many items a list, or characters a text, has at least.
    pub(super) fn least(self) -> u64 {
        ["minItems", "minLength"].into_iter().find_map(|key| self.0[key].as_u64()).unwrap_or(0)
    }

    /// One of the extensions of a field.
    pub(super) fn word(self, extension: &str) -> Option<&'a str> {
        self.0[extension].as_str()
    }

    /// What to write instead of a name that is no field any more.
    pub(super) fn removed(self, key: &str) -> Option<&'a str> {
        self.0["x-removed"][key].as_str()
    }

    /// Fields of which at most one may be there.
    pub(super) fn alternatives(self) -> impl Iterator<Item = Vec<&'a str>> {
        let groups = self.0["x-one-of"].as_array().into_iter().flatten();
        groups.map(|group| group.as_array().into_iter().flatten().filter_map(Value::as_str).collect())
    }

    /// What is expected, in words.
    pub(super) fn expected(self) -> String {
        let words = self.words();
        if !words.is_empty() {
            return format!("expected one of {}", words.join(", "));
        }
        let text = match self.kind() {
            Some(Type::Table | Type::Map) => "a table",
            Some(Type::List) => "a list",
            Some(Type::Text) if self.format() == Some("duration") => "a duration with its unit, like 5s",
            Some(Type::Text) => "a text",
            Some(Type::Bool) => "true or false",
            Some(kind @ (Type::Integer | Type::Number)) => {
                let kind = if kind == Type::Integer { "a whole number" } else { "a number" };
                return match self.bounds() {
                    (Some(min), Some(max)) if max < f64::from(u32::MAX / 2) => {
                        format!("expected {kind} from {min} to {max}")
                    }
                    (Some(min), _) => format!("expected {kind}, at least {min}"),
                    _ => format!("expected {kind}"),
                };
            }
            None => "nothing",
        };
        format!("expected {text}")
    }
}

//! What several kinds of documents have.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A duration, in Go's way to write it: `250ms`, `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        pilot_registry::duration::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

/// A regular expression of RE2. It has to match the whole value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Regex(pub String);

impl JsonSchema for Regex {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Regex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "regex" })
    }
}

/// A regular expression of RE2 that has to match the whole value; `*` = the value is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct RegexOrAny(pub String);

impl JsonSchema for RegexOrAny {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RegexOrAny".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "regex-or-any" })
    }
}

/// What is never allowed: its field says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Refused {}

impl JsonSchema for Refused {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Refused".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// How a text has to look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["exact", "prefix", "regex"]]))]
pub struct StringMatch {
    /// It is this.
    pub exact: Option<String>,
    /// It begins with this, character by character.
    pub prefix: Option<String>,
    /// All of it matches this.
    pub regex: Option<Regex>,
}

/// How a header or a parameter has to look; `{}` = it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["exact", "prefix", "regex"]]))]
pub struct ValueMatch {
    /// It is this.
    pub exact: Option<String>,
    /// It begins with this.
    pub prefix: Option<String>,
    /// All of it matches this; `*` = it is there.
    pub regex: Option<RegexOrAny>,
}

/// A share of requests.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Percent {
    /// In percent, with up to four decimals.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub value: f64,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// The service: its host, one of its aliases, or its short name in the document's namespace.
    #[schemars(length(min = 1))]
    pub host: String,
    /// One of the subsets that the host's DestinationRule defines.
    #[schemars(length(min = 1))]
    pub subset: Option<String>,
    /// The port; without it the only port of the service, else the one at which the request came in.
    pub port: Option<PortSelector>,
}

/// A port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-removed" = {"name": "a port is chosen by its number: write number"}))]
pub struct PortSelector {
    /// Its number.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u16,
}

/// What becomes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Headers {
    /// Of requests, on their way to the destination.
    pub request: Option<HeaderOperations>,
    /// Of responses, on their way to the client.
    pub response: Option<HeaderOperations>,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderOperations {
    /// Headers that replace those of the same name.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Headers that are added to those of the same name.
    #[serde(default)]
    pub add: BTreeMap<String, String>,
    /// Names of headers that are taken away.
    #[serde(default)]
    pub remove: Vec<String>,
}

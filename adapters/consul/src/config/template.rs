//! From a service's name in Consul to its host, and back.

use std::borrow::Cow;
use std::fmt;

use pilot_registry::{Hostname, ModelError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// The placeholders, and which field each is.
const PLACEHOLDERS: [&str; 4] = ["service", "datacenter", "namespace", "partition"];

/// A host with placeholders: `{service}.service.{datacenter}.consul`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The index of a placeholder.
    Field(usize),
}

/// What the placeholders of one service stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names<'a> {
    pub(crate) service: &'a str,
    pub(crate) datacenter: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) partition: &'a str,
}

impl HostTemplate {
    /// The host of that service.
    pub(crate) fn host(&self, names: Names<'_>) -> Result<Hostname, ModelError> {
        let fields = [names.service, names.datacenter, names.namespace, names.partition];
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(field) => fields[*field].to_owned(),
        };
        self.0.iter().map(text).collect::<String>().parse()
    }

    /// Whether a host can come of the name of a service, wherever it is.
    pub(crate) fn takes(&self, service: &str) -> Result<(), ModelError> {
        self.host(Names { service, datacenter: "a", namespace: "a", partition: "a" }).map(drop)
    }

    /// The name of the service with that host, if it can have it. Each placeholder stands for the shortest
    /// text that fits.
    pub(crate) fn service<'a>(&self, host: &'a str) -> Option<&'a str> {
        let (mut rest, mut service) = (host, None);
        for (at, part) in self.0.iter().enumerate() {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Field(field) => {
                    let end = match self.0.get(at + 1) {
                        Some(Part::Text(text)) => rest.find(text.as_str())?,
                        _ => rest.len(),
                    };
                    let (value, behind) = rest.split_at(end);
                    if value.is_empty() || (PLACEHOLDERS[*field] != "service" && value.contains('.')) {
                        return None;
                    }
                    if PLACEHOLDERS[*field] == "service" {
                        service = Some(value);
                    }
                    rest = behind;
                }
            }
        }
        service.filter(|_| rest.is_empty())
    }
}

impl Default for HostTemplate {
    fn default() -> Self {
        Self(vec![Part::Field(0), Part::Text(".service.consul".to_owned())])
    }
}

impl TryFrom<String> for HostTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refused = |why: &str| {
            format!(
                "{text:?} is no template of hosts: {why}; expected {{service}}.service.consul, or with {{datacenter}}, {{namespace}} and {{partition}}"
            )
        };
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or_else(|| refused("a '{' is not closed"))?;
            let field = PLACEHOLDERS.iter().position(|known| *known == name);
            let field = field.ok_or_else(|| refused("it has another placeholder"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_ascii_lowercase()));
            } else if !parts.is_empty() {
                return Err(refused("two placeholders stand side by side"));
            }
            parts.push(Part::Field(field));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_ascii_lowercase()));
        }
        if !parts.contains(&Part::Field(0)) {
            return Err(refused("it has no {service}"));
        }
        let template = Self(parts);
        let sample = Names { service: "a", datacenter: "a", namespace: "a", partition: "a" };
        match template.host(sample) {
            Ok(_) => Ok(template),
            Err(error) => Err(refused(&error.to_string())),
        }
    }
}

impl fmt::Display for HostTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Field(field) => write!(f, "{{{}}}", PLACEHOLDERS[*field]),
        })
    }
}

impl JsonSchema for HostTemplate {
    fn schema_name() -> Cow<'static, str> {
        "HostTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> HostTemplate {
        HostTemplate::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn hosts_are_made_and_understood() {
        let both = template("{service}.service.{datacenter}.Consul");
        let names = Names { service: "Web", datacenter: "dc1", ..Names::default() };
        assert_eq!(both.host(names).unwrap().as_str(), "web.service.dc1.consul");
        assert_eq!(both.service("web.service.dc1.consul"), Some("web"));
        assert_eq!(both.to_string(), "{service}.service.{datacenter}.consul");
        for other in ["web", "web.service.consul", "web.service.a.b.consul", ".service.dc1.consul"] {
            assert_eq!(both.service(other), None, "{other}");
        }
        assert_eq!(HostTemplate::default().service("a.b.service.consul"), Some("a.b"));
    }

    #[test]
    fn templates_that_make_no_sense_are_refused() {
        for text in ["", "web.consul", "{service", "{servic}.consul", "{service}{datacenter}", "{service}..b"]
        {
            let why = HostTemplate::try_from(text.to_owned()).unwrap_err();
            assert!(why.contains("{service}.service.consul"), "{why}");
        }
    }
}

//! Where registries disagree about one service, and which of them is believed.
//!
//! Ports, aliases, addresses and endpoints are united: registries cannot disagree about these. The preferred
//! registry decides what has only one value.

use std::collections::BTreeMap;
use std::fmt;

use pilot_registry::{Port, Service};
use serde::{Deserialize, Serialize};

use super::part::Part;

/// Something that registries say differently of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// What they disagree about.
    pub field: Field,
    /// What each says that says anything, preferred first: the first one's word is taken.
    pub said: Vec<Opinion>,
}

/// What registries disagree about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// How the service's addresses are found.
    Resolution,
    /// The service's place among others.
    Namespace,
    /// Which clients see the service.
    Visibility,
    /// How proxies find out which endpoints serve.
    HealthCheck,
    /// The protocol of a port.
    Protocol(Port),
    /// The number of a port, by its name. All numbers stay ports of the service.
    PortName(String),
}

/// What one registry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// The registry's name in pilot.toml, or the document: `ServiceEntry/default/api`.
    pub registry: String,
    /// The registry's priority; 0 is preferred.
    pub priority: u32,
    /// What it says.
    pub value: String,
}

/// All that registries say differently, each with the preferred one first.
pub(super) fn between(parts: &[Part]) -> Vec<Disagreement> {
    if parts.len() < 2 {
        return Vec::new();
    }
    let mut said: BTreeMap<Field, Vec<Opinion>> = BTreeMap::new();
    for part in parts {
        for (field, value) in statements(&part.service) {
            // A guess is taken only where nobody says it.
            let yields =
                matches!(field, Field::Protocol(port) if is_guess(part, port) && !all_guess(parts, port));
            if yields {
                continue;
            }
            let (registry, priority) = (part.registry.to_string(), part.priority);
            said.entry(field).or_default().push(Opinion { registry, priority, value });
        }
    }
    let disputed = said.into_iter().filter(|(_, said)| said.iter().any(|it| it.value != said[0].value));
    disputed.map(|(field, said)| Disagreement { field, said }).collect()
}

fn is_guess(part: &Part, port: Port) -> bool {
    part.service.guessed_protocols.contains(&port)
}

fn all_guess(parts: &[Part], port: Port) -> bool {
    parts.iter().filter(|part| part.service.port(port).is_some()).all(|part| is_guess(part, port))
}

/// What a registry says of which another one might say something else.
fn statements(service: &Service) -> impl Iterator<Item = (Field, String)> {
    let whole = [
        (Field::Resolution, service.resolution.as_str().to_owned()),
        (Field::Namespace, service.namespace.to_string()),
        (Field::Visibility, service.visibility.to_string()),
    ];
    let ports = service.ports.iter().flat_map(|port| {
        let protocol = (Field::Protocol(port.number), port.protocol.to_string());
        [protocol, (Field::PortName(port.name.clone()), port.number.to_string())]
    });
    let check = service.health_check.as_ref().map(|check| (Field::HealthCheck, check.to_string()));
    whole.into_iter().chain(check).chain(ports)
}

/// Who says something, as its name is meant: documents have slashes in their names, and registries have none.
fn in_words(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("registry {name}") }
}

impl Disagreement {
    /// Whose word is taken.
    pub fn taken(&self) -> &Opinion {
        &self.said[0]
    }

    /// The rule that decided it.
    pub fn reason(&self) -> &'static str {
        let lead = self.taken();
        let rival = self.said.iter().find(|opinion| opinion.value != lead.value);
        match rival.is_some_and(|rival| rival.priority == lead.priority) {
            true => "of equal priority, its name comes first",
            false => "it is preferred",
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        for Opinion { registry, value, .. } in &self.said {
            write!(f, "{} says {value}, ", in_words(registry))?;
        }
        write!(f, "{} decides: {}", self.taken().registry, self.reason())?;
        match self.field {
            Field::PortName(_) => f.write_str("; the service has all of these ports"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolution => f.write_str("resolution"),
            Self::Namespace => f.write_str("namespace"),
            Self::Visibility => f.write_str("export_to"),
            Self::HealthCheck => f.write_str("health_check"),
            Self::Protocol(port) => write!(f, "protocol of port {port}"),
            Self::PortName(name) => write!(f, "number of port {name:?}"),
        }
    }
}

//! An instance, as it is registered with the agent.

use std::time::Duration;

use pilot_registry::{ConfigError, Registration};
use serde_json::{Map, Value, json};

use crate::Config;
use crate::convert::Meta;

/// Consul removes a critical instance no sooner.
const REMOVED_AFTER: Duration = Duration::from_secs(60);

/// How long an instance is critical before Consul removes it.
pub(super) fn removed_after(ttl: Duration) -> Duration {
    REMOVED_AFTER.max(ttl)
}

/// The largest weight that Consul takes.
const MAX_WEIGHT: u32 = 65_535;

/// The body of a registration, and the names of what it makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Instance {
    pub(super) id: String,
    /// The check that says that the instance is kept.
    pub(super) heartbeat: String,
    /// The check that says how it is.
    pub(super) health: String,
    pub(super) body: Value,
}

/// The id with which an agent tells an instance from all others that it has.
pub(super) fn service_id(service: &str, id: &str) -> String {
    format!("{service}:{id}")
}

impl Instance {
    pub(super) fn new(
        service: &str,
        registration: &Registration,
        config: &Config,
    ) -> Result<Self, ConfigError> {
        let Some((name, port)) = registration.ports.iter().next().filter(|_| registration.ports.len() == 1)
        else {
            let why =
                "an instance in consul has one port: expected one; register others as instances of their own";
            return Err(ConfigError::new("ports", why));
        };
        if registration.id.is_empty() {
            return Err(ConfigError::new("id", "it is empty: expected a name for the instance"));
        }
        if registration.ttl < Duration::from_secs(1) {
            return Err(ConfigError::new("ttl", "consul expects at least 1s"));
        }
        let weight = registration.weight.get();
        if weight > MAX_WEIGHT {
            return Err(ConfigError::new(
                "weight",
                format!("{weight} is too large: expected 1 to {MAX_WEIGHT}"),
            ));
        }
        let (mut meta, tags) = labels(registration, config)?;
        let place = &registration.locality;
        let facts = [
            (Meta::PORT_NAME, name.clone()),
            (Meta::PROTOCOL, port.protocol.map(|protocol| protocol.to_string()).unwrap_or_default()),
            (config.region_meta.as_str(), place.region.clone()),
            (config.zone_meta.as_str(), place.zone.clone()),
            (config.sub_zone_meta.as_str(), place.sub_zone.clone()),
        ];
        let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
        meta.extend(facts.map(|(key, value)| (key.to_owned(), value.into())));
        let id = service_id(service, &registration.id);
        let body = json!({
            "ID": id, "Name": service, "Address": registration.address.to_string(),
            "Port": port.number.get(), "Meta": meta, "Tags": tags,
            // Who warns gets half, where that is served at all.
            "Weights": { "Passing": weight, "Warning": (weight / 2).max(1) },
        });
        Ok(Self { heartbeat: format!("ttl:{id}"), health: format!("health:{id}"), id, body })
    }

    /// The same with checks that become critical unless they are updated. Consul removes whose heartbeat has
    /// been critical for long; who is unhealthy for long stays.
    pub(super) fn with_checks(&self, ttl: Duration, status: &str) -> Value {
        let mut body = self.body.clone();
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        body["Checks"] = json!([
            {
                "CheckID": self.heartbeat, "Name": "kept alive by pilot register", "Status": "passing",
                "TTL": millis(ttl), "DeregisterCriticalServiceAfter": millis(removed_after(ttl)),
            },
            {
                "CheckID": self.health, "Name": "condition, as pilot register says", "Status": status,
                "TTL": millis(ttl),
            },
        ]);
        body
    }
}

/// Labels are meta where Consul takes such keys, else tags.
fn labels(
    registration: &Registration,
    config: &Config,
) -> Result<(Map<String, Value>, Vec<String>), ConfigError> {
    let known = [
        Meta::PROTOCOL,
        Meta::SERVICE_PORT,
        Meta::PORT_NAME,
        &config.region_meta,
        &config.zone_meta,
        &config.sub_zone_meta,
    ];
    let (mut meta, mut tags) = (Map::new(), Vec::new());
    for (key, value) in &registration.labels {
        let refused = |why: String| Err(ConfigError::new(format!("labels.{key}"), why));
        if known.contains(&key.as_str()) {
            return refused(
                "consul's meta of that name says something else: expected another key".to_owned(),
            );
        }
        if key.is_empty() || key.contains(['=', '|']) || value.len() > 512 {
            return refused(
                "expected a key without '=' and '|', and a value of at most 512 bytes".to_owned(),
            );
        }
        let simple = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if key.len() <= 128 && key.bytes().all(simple) && meta.len() < 48 {
            meta.insert(key.clone(), value.clone().into());
        } else {
            tags.push(format!("{key}={value}"));
        }
    }
    Ok((meta, tags))
}

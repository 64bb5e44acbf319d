//! Services as the text of a file.

use pilot_registry::{Address, Endpoint, Health, Service, ServicePort, Weight};
use serde_json::{Map, Value, json};

/// A TOML file of these services, its lists in order or from last to first.
pub(crate) fn text(services: &[&Service], backwards: bool) -> String {
    if services.is_empty() {
        return "service = []\n".to_owned();
    }
    // One by one: written as one document, the time grows with the square of its size.
    let mut tables: Vec<String> = services.iter().map(|service| table(service, backwards)).collect();
    if backwards {
        tables.reverse();
    }
    tables.concat()
}

fn table(service: &Service, backwards: bool) -> String {
    let order = |mut list: Vec<Value>| {
        if backwards {
            list.reverse();
        }
        Value::Array(list)
    };
    let port =
        |port: &ServicePort| json!({"port": port.number, "name": port.name, "protocol": port.protocol});
    let table = json!({
        "host": service.host,
        "aliases": order(service.aliases.iter().map(|alias| json!(alias)).collect()),
        "ports": order(service.ports.iter().map(port).collect()),
        "addresses": order(service.virtual_addresses.iter().map(|ip| json!(ip)).collect()),
        "resolution": service.resolution,
        "namespace": service.namespace,
        "labels": service.labels,
        "identities": order(service.identities.iter().map(|id| json!(id)).collect()),
        "endpoints": order(service.endpoints.iter().map(endpoint).collect()),
    });
    toml::to_string(&json!({"service": [table]})).expect("strings, numbers, lists and tables are TOML")
}

fn endpoint(endpoint: &Endpoint) -> Value {
    // What is as by default is left out, as most people would: it makes large files quicker to read.
    let mut table = Map::from_iter([("address".to_owned(), json!(endpoint.address))]);
    if endpoint.weight != Weight::default() {
        table.insert("weight".to_owned(), json!(endpoint.weight));
    }
    if !endpoint.labels.is_empty() {
        table.insert("labels".to_owned(), json!(endpoint.labels));
    }
    if !matches!(endpoint.address, Address::Unix(_)) {
        let ports = endpoint.ports.iter().map(|(service, own)| (service.to_string(), json!(own)));
        table.insert("ports".to_owned(), ports.collect::<Map<_, _>>().into());
    }
    if endpoint.health != Health::Unknown {
        table.insert("health".to_owned(), json!(endpoint.health));
    }
    let locality = &endpoint.locality;
    for (key, part) in
        [("region", &locality.region), ("zone", &locality.zone), ("sub_zone", &locality.sub_zone)]
    {
        if !part.is_empty() {
            table.insert(key.to_owned(), json!(part));
        }
    }
    table.extend(endpoint.identity.iter().map(|id| ("identity".to_owned(), json!(id))));
    Value::Object(table)
}

/// A TOML entry that is read and makes no sense.
pub(crate) fn malformed(entry: &str) -> String {
    format!("[[service]]\nhost = \"{entry}\"\nports = [{{ port = 0, protocol = \"htp\" }}]\n\n")
}

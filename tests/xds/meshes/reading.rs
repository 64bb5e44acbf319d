//! How clients read real resources: as words that say what a resource is, what it names, and whether they refuse it.
//!
//! ```text
//!  =version hash cds:a rds:r              clusters, endpoints, listeners
//!  =version hash %name%hash%domains%how% @domain@cluster   routes, and virtual hosts of their own
//! ```

use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Route, VirtualHost};
use pilot::resources::{PerType, Resource, View, any_to_json};
use pilot_envoy_api::google::protobuf::Any;
use prost::Message;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Having, Reading};
use crate::things::Thing;

/// What a resource names: `cds:a`, and so on.
fn references(kind: ResourceType, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let to = match key.as_str() {
                    "cluster" => Some(Cluster),
                    "route_config_name" => Some(Route),
                    _ => None,
                };
                if key == "weighted_clusters" {
                    let clusters = value["clusters"].as_array().into_iter().flatten();
                    let names = clusters.filter_map(|cluster| cluster["name"].as_str());
                    found.extend(names.map(|name| format!("{Cluster}:{name}")));
                }
                match (to, value) {
                    (Some(to), Value::String(name)) => found.push(format!("{to}:{name}")),
                    _ => references(kind, value, found),
                }
                if kind == Cluster && key == "eds_cluster_config" {
                    let name = value.get("service_name").or(fields.get("name"));
                    found.push(format!("{Endpoint}:{}", name.and_then(Value::as_str).unwrap()));
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(kind, item, found)),
        _ => {}
    }
}

/// What clients refuse.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taste {
    /// One version in so many; none if 0.
    pub(crate) one_in: u64,
    pub(crate) seed: u64,
    /// Also virtual hosts, and some versions such that nothing that comes with them is taken.
    pub(crate) is_bitter: bool,
}

impl Taste {
    /// How bad it is.
    fn of(self, kind: ResourceType, hash: u64) -> &'static str {
        let drawn = hash.wrapping_add(self.seed);
        let is_host = matches!(kind, Route | VirtualHost);
        if self.one_in == 0 || !drawn.is_multiple_of(self.one_in) || (is_host && !self.is_bitter) {
            return "";
        }
        if self.is_bitter && (drawn / self.one_in).is_multiple_of(4) { "worse" } else { "bad" }
    }
}

/// `%name%hash%domains%how` of a virtual host, and `@domain@cluster` where it leads. Says how bad it is.
fn host(host: &Value, taste: Taste, found: &mut Vec<String>) -> &'static str {
    let mut unnamed = host.clone();
    let name = unnamed.as_object_mut().unwrap().remove("name").unwrap();
    // In parts it is `80~v/cart:80~shop`.
    let name = name.as_str().unwrap();
    let name = name.split_once("~v/").map_or(name, |(_, name)| name).replace('/', "~").replace(':', ";");
    let hash = xxh3_64(unnamed.to_string().as_bytes());
    let how = taste.of(VirtualHost, hash);
    let domains = host["domains"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let domains: Vec<String> = domains.map(|domain| domain.replace(':', ";")).collect();
    found.push(format!("%{name}%{hash:x}%{}%{how}", domains.join(",")));
    let mut clusters = Vec::new();
    references(Route, host, &mut clusters);
    for domain in domains {
        let clusters = clusters.iter().filter_map(|cluster| cluster.split_once(':'));
        found.extend(clusters.map(|(_, cluster)| format!("@{domain}@{cluster}")));
    }
    how
}

/// How clients of that taste read. `knows_versions`: each resource has a version of its own.
pub(crate) fn reading(knows_versions: bool, taste: Taste) -> Reading {
    Arc::new(move |any: &Any, version: Option<&str>| {
        let kind = ResourceType::from_type_url(&any.type_url).unwrap();
        let json = any_to_json(any).unwrap();
        let name = if kind == Endpoint { "cluster_name" } else { "name" };
        let name = json[name].as_str().unwrap().to_owned();
        if kind == Endpoint && json.get("endpoints").is_none() {
            // The same as none.
            return Thing { name, content: String::new() };
        }
        let hash = xxh3_64(&any.value);
        let version = version.filter(|_| knows_versions).unwrap_or("?");
        let mut found = Vec::new();
        let how = match kind {
            Route => {
                let hosts = json["virtual_hosts"].as_array().into_iter().flatten();
                let how: Vec<_> = hosts.map(|it| host(it, taste, &mut found)).collect();
                ["worse", "bad"].into_iter().find(|it| how.contains(it)).unwrap_or_default()
            }
            VirtualHost => host(&json, taste, &mut found),
            _ => {
                references(kind, &json, &mut found);
                taste.of(kind, hash)
            }
        };
        found.sort();
        found.dedup();
        Thing {
            name,
            content: format!("={version} {hash:x} {} {how}", found.join(" ")).trim_end().to_owned(),
        }
    })
}

/// All that there is, as clients read it.
pub(crate) fn all(view: &View, reading: &Reading) -> PerType<Having> {
    PerType::of(|kind| {
        // What is for those only who ask by name, Envoys do not get.
        let resources = view.of(kind);
        let resources = resources.iter().filter(|it| kind == Endpoint || !it.is_by_name_only());
        resources.flat_map(|resource| read(kind, resource, reading)).collect()
    })
}

fn read(kind: ResourceType, resource: &Arc<Resource>, reading: &Reading) -> Vec<(String, String)> {
    if kind == VirtualHost {
        let hosts = resource.rope().unwrap().virtual_hosts();
        let parts = hosts.map(|host| {
            let part = host.part(resource.name());
            let part = pilot_envoy_api::envoy::service::discovery::v3::Resource::decode(part).unwrap();
            (part.name, reading(&part.resource.unwrap(), Some(&part.version)).content)
        });
        return parts.collect();
    }
    let any = Any::decode(resource.any_bytes()).unwrap();
    let thing = reading(&any, Some(resource.version()));
    vec![(thing.name, thing.content)]
}

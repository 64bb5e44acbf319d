//! The resources that a proxy is sent, in Envoy's JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use pilot_envoy_api::envoy::config::core::v3::{Locality, Node};
use pilot_envoy_api::google::protobuf::{Struct, Value as WireValue, value::Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::Admin;
use super::query::GRPC_SCHEME;
use super::query::Query;
use super::readiness::Readiness;
use super::reply::Failure;
use super::services::{BEGUN_MAX, nearest};
use crate::proxies::Subscriber;
use crate::proxy::{Proxy, Scope, Transport};
use crate::resources::{
    JsonError, PerType, Resource, ResourceType, View, VirtualHost, part_name, part_to_json, read_part_name,
    to_json,
};

/// A scope that nobody uses is translated on demand; it may take that long.
const TRANSLATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many names of each type are offered for one that is not known.
const NAMES_OF_TYPE_MAX: usize = 2;

/// The parameters that say where a proxy runs.
const PLACE: [&str; 3] = ["region", "zone", "sub_zone"];

/// The parameter that says whose short names it uses.
const NAMESPACE: &str = "namespace";

/// The resources of one proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourcesReport {
    /// The node id.
    pub proxy: String,
    /// Whether it has a stream now.
    pub connected: bool,
    /// What its configuration depends on.
    pub scope: String,
    /// The version of each type's set.
    pub versions: BTreeMap<String, String>,
    /// The resources by type, ordered by name.
    pub resources: BTreeMap<String, Vec<ResourceReport>>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceReport {
    /// Its name.
    pub name: String,
    /// The hash of its content.
    pub version: String,
    /// The resource, with Envoy's field names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Value>,
    /// Why it cannot be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which resources, and of whom.
#[derive(Debug)]
pub(super) struct Selection {
    id: String,
    connected: bool,
    subscriber: Subscriber,
    kind: Option<ResourceType>,
    name: Option<String>,
}

impl Selection {
    pub(super) const PARAMETERS: [&str; 8] =
        ["proxy", "node", "region", "zone", "sub_zone", NAMESPACE, "type", "name"];

    /// Reads `proxy=<id of a connected one>`, or `node=<any id>` with `region`, `zone` and `sub_zone` where it runs,
    /// and `namespace`; `type` and `name`.
    pub(super) fn read(query: &Query<'_>, admin: &Admin) -> Result<Self, Failure> {
        let (id, connected, subscriber) = match (query.get("proxy"), query.get("node")) {
            (Some(id), None) => {
                let (id, subscriber) = connected(admin, id, query)?;
                (id, true, subscriber)
            }
            (None, Some(id)) => (id.to_owned(), false, described(admin, id, query)?),
            _ => {
                let error = "expected proxy=<id of a connected proxy>, or node=<any node id>";
                return Err(Failure::bad_request(error).knowing(Self::PARAMETERS));
            }
        };
        let kind = query.get("type").map(read_type).transpose()?;
        let name = query.get("name").map(str::to_owned);
        Ok(Self { id, connected, subscriber, kind, name })
    }

    /// The node id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether it has a stream now.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// What its configuration depends on.
    pub(super) fn scope(&self) -> &Scope {
        &self.subscriber.scope
    }

    /// The resources of the scope, waiting for their translation.
    pub(super) async fn set(&self, admin: &Admin) -> Result<std::sync::Arc<View>, Failure> {
        let resources = admin.world.view(&self.subscriber.scope);
        let known = timeout(TRANSLATION_TIMEOUT, resources).await;
        known.ok().flatten().ok_or_else(|| {
            let waiting = Readiness::of(admin).lines();
            Failure::unavailable("the services are not known yet").because(waiting)
        })
    }

    /// Writes the chosen ones of the resources. Costs what they weigh.
    pub(super) fn report(&self, set: &View) -> Result<ResourcesReport, Failure> {
        let kinds = ResourceType::ALL.into_iter().filter(|kind| self.kind.is_none_or(|it| it == *kind));
        let resources: BTreeMap<_, Vec<_>> = kinds
            .clone()
            .map(|kind| {
                let chosen = set.of(kind).iter().filter(|it| self.chooses(kind, it));
                (kind.as_str().to_owned(), {
                    let all = chosen.flat_map(|it| ResourceReport::all_of(kind, it));
                    all.filter(|it| self.names(kind, it)).collect()
                })
            })
            .collect();
        if let Some(name) = &self.name
            && resources.values().all(Vec::is_empty)
        {
            return Err(Failure::not_found(format!("no resource {name:?}")).knowing(self.like(name, set)));
        }
        let version = |kind: ResourceType| (kind.as_str().to_owned(), set.of(kind).version().to_owned());
        Ok(ResourcesReport {
            proxy: self.id.clone(),
            connected: self.connected,
            scope: self.subscriber.scope.to_string(),
            versions: ResourceType::ALL.map(version).into(),
            resources,
        })
    }

    /// The names that are most like that one: some of each type, each once.
    fn like(&self, name: &str, set: &View) -> Vec<String> {
        let each = if self.kind.is_some() { usize::MAX } else { NAMES_OF_TYPE_MAX };
        let mut like = Vec::new();
        for kind in ResourceType::ALL.into_iter().filter(|kind| self.kind.is_none_or(|it| it == *kind)) {
            let names: Vec<String> = set.of(kind).iter().flat_map(|it| names_of(kind, it)).collect();
            for near in nearest(name, names.iter().map(String::as_str)).into_iter().take(each) {
                if !like.iter().any(|known| known == near) {
                    like.push(near.to_owned());
                }
            }
        }
        like
    }

    /// Of routes in parts, the name may be that of one virtual host.
    fn names(&self, kind: ResourceType, report: &ResourceReport) -> bool {
        let names_host = |name: &&String| kind == ResourceType::VirtualHost && name.contains('/');
        self.name.as_ref().filter(names_host).is_none_or(|name| *name == report.name)
    }

    /// What is there by name only is not shown to those who ask for everything.
    fn chooses(&self, kind: ResourceType, resource: &Resource) -> bool {
        match &self.name {
            Some(name) => {
                let routes = read_part_name(name).filter(|_| kind == ResourceType::VirtualHost);
                **name == **resource.name() || routes.is_some_and(|(routes, _)| *routes == **resource.name())
            }
            None => !(resource.is_by_name_only() && self.subscriber.wildcard[kind]),
        }
    }
}

/// The one of that id, or the only one whose id begins so; and its id.
fn connected(admin: &Admin, asked: &str, query: &Query<'_>) -> Result<(String, Subscriber), Failure> {
    if let Some(part) = PLACE.into_iter().chain([NAMESPACE]).find(|part| query.get(part).is_some()) {
        let error = format!("{part} goes with node: a connected proxy has said where it is");
        return Err(Failure::bad_request(error));
    }
    if let Some(subscriber) = admin.proxies.subscriber(asked) {
        return Ok((asked.to_owned(), subscriber));
    }
    let ids = admin.proxies.ids();
    if asked.is_empty() {
        let error = "the node id is empty: expected that of a connected proxy, or how it begins";
        return Err(Failure::bad_request(error).knowing(ids.iter().map(AsRef::as_ref).take(BEGUN_MAX)));
    }
    let begun: Vec<&str> = ids.iter().map(AsRef::as_ref).filter(|id: &&str| id.starts_with(asked)).collect();
    if let [id] = begun.as_slice()
        && let Some(subscriber) = admin.proxies.subscriber(id)
    {
        return Ok(((*id).to_owned(), subscriber));
    }
    if begun.len() > 1 {
        let error = format!("{asked:?} is the beginning of {} node ids", begun.len());
        return Err(Failure::not_found(error).knowing(begun.into_iter().take(BEGUN_MAX)));
    }
    let error = match ids.len() {
        0 => "no proxy is connected: --not-connected shows what one would get".to_owned(),
        count => format!("no proxy {asked:?} is connected, of {count} that are"),
    };
    Err(Failure::not_found(error).knowing(nearest(asked, ids.iter().map(AsRef::as_ref))))
}

/// An Envoy of that id, place and namespace, as it would ask: one stream, all clusters and listeners.
fn described(admin: &Admin, id: &str, query: &Query<'_>) -> Result<Subscriber, Failure> {
    let [region, zone, sub_zone] = PLACE.map(|part| query.get(part).unwrap_or_default().to_owned());
    let locality = Some(Locality { region, zone, sub_zone });
    let said = |namespace: &str| {
        let value = WireValue { kind: Some(Kind::StringValue(namespace.to_owned())) };
        Struct { fields: [("NAMESPACE".to_owned(), value)].into() }
    };
    let metadata = query.get(NAMESPACE).map(said);
    // Who asks about a call of gRPC means one of gRPC's own clients.
    let is_grpc = query.get("url").is_some_and(|url| url.starts_with(GRPC_SCHEME));
    let user_agent_name = if is_grpc { "gRPC".to_owned() } else { String::new() };
    let node = Node { id: id.to_owned(), locality, metadata, user_agent_name, ..Node::default() };
    let proxy = Proxy::from_node(Some(&node)).map_err(|error| Failure::bad_request(error.to_string()))?;
    let wildcard = PerType::of(ResourceType::has_wildcard);
    Ok(Subscriber { scope: admin.world.scope(&proxy, Transport::Ads), wildcard })
}

/// The names by which a resource is asked for: its own, or those of its virtual hosts.
fn names_of(kind: ResourceType, resource: &Resource) -> Vec<String> {
    let routes = resource.name();
    match resource.rope().filter(|_| kind == ResourceType::VirtualHost) {
        None => vec![routes.to_string()],
        Some(rope) => rope.virtual_hosts().map(|host| part_name(routes, host.name()).to_string()).collect(),
    }
}

fn read_type(word: &str) -> Result<ResourceType, Failure> {
    ResourceType::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        let known = ResourceType::ALL.map(ResourceType::as_str);
        Failure::bad_request(format!("unknown type {word:?}")).knowing(known)
    })
}

impl ResourceReport {
    /// What a proxy is sent of a resource: itself, or its virtual hosts one by one.
    fn all_of(kind: ResourceType, resource: &Resource) -> Vec<Self> {
        let routes = resource.name();
        match resource.rope().filter(|_| kind == ResourceType::VirtualHost) {
            None => vec![Self::new(routes.to_string(), resource.version(), to_json(resource))],
            Some(rope) => {
                let part = |host: &VirtualHost| {
                    Self::new(part_name(routes, host.name()), &host.version(), part_to_json(host, routes))
                };
                rope.virtual_hosts().map(part).collect()
            }
        }
    }

    fn new(name: String, version: &str, json: Result<Value, JsonError>) -> Self {
        let (json, error) = match json {
            Ok(json) => (Some(json), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self { name, version: version.to_owned(), resource: json, error }
    }
}

//! The same two properties, of real meshes: clients of several scopes follow one mesh after another through layers that
//! are made of those before. The model is each scope translated from nothing.

use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{Role, Scope};
use pilot::resources::ResourceType::{self, Cluster, Endpoint, Route};
use pilot::resources::{PerType, View, any_to_json};
use pilot::xds::{Delta, Sotw};
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Locality, ServiceSpec};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Envoy, Having, Reading, Words};
use crate::properties::config;
use crate::things::Thing;
use crate::world::{Translator, empty, mesh_after, router, source, spec, translate};

pub(crate) const HOSTS: [&str; 4] = ["a", "b", "c", "d"];
const CLIENTS: usize = 3;

/// What can happen.
#[derive(Clone, Debug)]
enum Step {
    /// A service comes, changes or goes.
    Service(usize, Option<Box<ServiceSpec>>),
    /// What happened is published.
    Publish,
    Request(usize),
    Response(usize),
    Disconnect(usize),
    Connect(usize),
    /// A client belongs to another scope.
    Move(usize, usize),
}

pub(crate) fn scopes() -> [Scope; 4] {
    let near = Locality { region: "eu".into(), zone: "a".into(), ..Locality::default() };
    let shop = Some("shop".to_owned().try_into().unwrap());
    [
        router(),
        Scope { namespace: shop.clone(), ..router() },
        Scope { locality: near.clone(), ..router() },
        Scope { role: Role::Sidecar, namespace: shop, locality: near, ..router() },
    ]
}

/// Few names, ports and places, so that services collide and move between listeners.
pub(crate) fn service(host: &'static str) -> impl Strategy<Value = ServiceSpec> {
    let protocol = prop::sample::select(vec!["http", "http", "grpc", "tcp"]);
    let ports = btree_map(prop::sample::select(vec!["80", "81"]), protocol, 1..3);
    let names = vec(prop::sample::select(vec!["a", "x", "web"]), 0..2);
    let local = vec(prop::sample::select(vec!["x", "web"]), 0..2);
    let endpoints =
        vec((prop::sample::select(vec!["10.1.0.1:1", "10.1.0.2:2", "10.1.0.3:3"]), any::<bool>()), 0..3);
    (ports, names, local, endpoints).prop_map(move |(ports, names, local, endpoints)| {
        let ports: Vec<String> = ports.iter().map(|(port, protocol)| format!("{port}/{protocol}")).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let addresses: Vec<&str> = endpoints.iter().map(|(address, _)| *address).collect();
        let mut spec = spec(host, &ports, &addresses);
        for (endpoint, (_, near)) in spec.endpoints.iter_mut().zip(endpoints) {
            let zone = if near { "a" } else { "b" };
            endpoint.locality = Locality { region: "eu".into(), zone: zone.into(), ..Locality::default() };
        }
        spec.aliases = names.iter().map(|name| name.parse().unwrap()).collect();
        spec.local_names = local.iter().map(|name| name.parse().unwrap()).collect();
        spec.namespace = "shop".to_owned().try_into().unwrap();
        spec
    })
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let change = (0..HOSTS.len()).prop_flat_map(|at| {
        let spec = prop::option::weighted(0.8, service(HOSTS[at]).prop_map(Box::new));
        spec.prop_map(move |spec| Step::Service(at, spec))
    });
    prop_oneof![
        6 => change,
        6 => Just(Step::Publish),
        20 => client().prop_map(Step::Request),
        20 => client().prop_map(Step::Response),
        1 => client().prop_map(Step::Disconnect),
        2 => client().prop_map(Step::Connect),
        1 => (client(), 0..4usize).prop_map(|(client, scope)| Step::Move(client, scope)),
    ]
}

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

/// Where the virtual hosts lead: `@domain@cluster` for each.
fn routed(json: &Value, found: &mut Vec<String>) {
    for host in json["virtual_hosts"].as_array().into_iter().flatten() {
        let mut clusters = Vec::new();
        references(Route, host, &mut clusters);
        for domain in host["domains"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let clusters = clusters.iter().filter_map(|cluster| cluster.split_once(':'));
            found.extend(clusters.map(|(_, cluster)| format!("@{}@{cluster}", domain.replace(':', ";"))));
        }
    }
}

/// `=version hash cds:a`. One version in so many is such that the clients refuse it; none if 0.
fn reading(knows_versions: bool, one_in: u64, seed: u64) -> Reading {
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
        match kind {
            Route => routed(&json, &mut found),
            _ => references(kind, &json, &mut found),
        }
        found.sort();
        found.dedup();
        let is_bad = kind != Route && one_in > 0 && hash.wrapping_add(seed).is_multiple_of(one_in);
        let bad = if is_bad { " bad" } else { "" };
        Thing { name, content: format!("={version} {hash:x} {}{bad}", found.join(" ")) }
    })
}

/// All that there is, as the clients read it.
fn all(view: &View, reading: &Reading) -> PerType<Having> {
    PerType::of(|kind| {
        let read = |resource: &Arc<pilot::resources::Resource>| {
            let any = Any::decode(resource.any_bytes()).unwrap();
            let thing = reading(&any, Some(resource.version()));
            (thing.name, thing.content)
        };
        // What is for those only who ask by name, Envoys do not get.
        view.of(kind).iter().filter(|it| kind == Endpoint || !it.is_by_name_only()).map(read).collect()
    })
}

struct Server {
    translator: Translator<4>,
    services: [Option<Box<ServiceSpec>>; 4],
    mesh: Mesh,
    views: [Arc<View>; 4],
}

impl Server {
    fn new() -> Self {
        let (mesh, mut translator) = (empty(), Translator::of(scopes()));
        let views = translator.all(&mesh).map(|it| it.view);
        Self { translator, services: Default::default(), mesh, views }
    }

    fn publish(&mut self) {
        let specs = self.services.iter().flatten().map(|spec| (**spec).clone()).collect();
        self.mesh = mesh_after(&self.mesh, &[source("file", 0, specs)]);
        self.views = self.translator.all(&self.mesh).map(|it| it.view);
    }
}

fn run<V: Words>(steps: &[Step], one_in: u64, seed: u64) {
    let mut server = Server::new();
    let reading = reading(V::TELLS, one_in, seed);
    let mut at = [0, 1, 2];
    let mut clients = at.map(|scope| Envoy::<V>::reading(&server.views[scope], Some(Arc::clone(&reading))));
    for step in steps {
        match step {
            Step::Service(at, spec) => server.services[*at].clone_from(spec),
            Step::Publish => {
                server.publish();
                clients.iter_mut().zip(at).for_each(|(client, at)| client.update(&server.views[at]));
            }
            Step::Request(client) => _ = clients[*client].deliver_request(),
            Step::Response(client) => _ = clients[*client].deliver_response(),
            Step::Disconnect(client) => clients[*client].disconnect(),
            Step::Connect(client) => clients[*client].connect(),
            Step::Move(client, scope) => {
                at[*client] = *scope;
                clients[*client].update(&server.views[*scope]);
            }
        }
    }
    server.publish();
    for (client, at) in clients.iter_mut().zip(at) {
        client.update(&server.views[at]);
        client.quiet();
        let fresh = translate(&server.mesh, &scopes()[at]);
        client.assert_has(&all(&fresh.view, &reading));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn clients_of_any_mesh_have_what_their_scope_is_from_nothing_delta(steps in vec(step(), 0..150)) {
        run::<Delta>(&steps, 0, 0);
    }

    #[test]
    fn clients_of_any_mesh_have_what_their_scope_is_from_nothing_sotw(steps in vec(step(), 0..150)) {
        run::<Sotw>(&steps, 0, 0);
    }

    #[test]
    fn what_they_refuse_keeps_nothing_else_from_them_delta(steps in vec(step(), 0..150), seed: u64) {
        run::<Delta>(&steps, 8, seed);
    }

    #[test]
    fn what_they_refuse_keeps_nothing_else_from_them_sotw(steps in vec(step(), 0..150), seed: u64) {
        run::<Sotw>(&steps, 8, seed);
    }
}

/// Services with ports of HTTP.
fn of(host: &str, ports: &[&str], aliases: &[&str]) -> Option<Box<ServiceSpec>> {
    let mut spec = spec(host, ports, &[]);
    spec.aliases = aliases.iter().map(|name| name.parse().unwrap()).collect();
    spec.namespace = "shop".to_owned().try_into().unwrap();
    Some(Box::new(spec))
}

/// Cases that chance found, made small.
#[test]
fn meshes_that_once_went_wrong() {
    use Step::{Publish, Service};
    let (request, response) = (|| Step::Request(2), || Step::Response(2));
    // The endpoints of what a name led to were on their way when the name came to lead elsewhere.
    run::<Delta>(
        &[
            Service(0, of("a", &["80/http"], &[])),
            request(),
            request(),
            response(),
            response(),
            Publish,
            request(),
            request(),
            request(),
            response(),
            request(),
            Service(1, of("b", &["81/http"], &["a"])),
            Service(0, None),
            Publish,
            Service(0, of("a", &["81/http"], &[])),
        ],
        8,
        9_343_392_160_573_924_539,
    );
    run::<Sotw>(
        &[
            Service(1, of("b", &["80/http"], &[])),
            request(),
            response(),
            request(),
            response(),
            Publish,
            request(),
            request(),
            request(),
            Service(3, of("d", &["81/http"], &[])),
            Publish,
            response(),
            Service(1, None),
            request(),
            Publish,
            Service(3, of("d", &["80/http", "81/http"], &[])),
        ],
        8,
        7_393_247_977_581_502_599,
    );
    // A name moved to a virtual host that led to a cluster before, which was not ready.
    let (request, response) = (|| Step::Request(0), || Step::Response(0));
    run::<Sotw>(
        &[
            Service(0, of("a", &["80/grpc"], &[])),
            Publish,
            request(),
            request(),
            response(),
            request(),
            response(),
            Service(1, of("b", &["80/http"], &["a"])),
            request(),
            request(),
            request(),
            Service(0, of("a", &["80/http"], &[])),
            Publish,
            Service(0, None),
            response(),
            request(),
            Publish,
        ],
        0,
        0,
    );
}

//! Whole translations as YAML in Envoy's field names. `UPDATE_GOLDEN=1` rewrites the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pilot::mesh::{Mesh, MeshOptions};
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::{ResourceType, dangling, part_to_json, to_json};
use pilot::translate::Translation;
use pilot_registry::{Health, Locality, Resolution, ServiceSpec};
use serde_json::{Value, json};

use crate::drawn_rules::Store;
use crate::world::{empty, mesh, mesh_after, port, resolved, router, source, spec, translate};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every case: its file's name, a world, who asks.
fn cases() -> Vec<(&'static str, Mesh, Scope)> {
    let per_type = |delta| ConfigSource::PerType { cluster: "pilot".into(), delta };
    let one_http = || mesh(vec![spec("reviews.local", &["9080/http"], &["127.0.0.1:9181"])]);
    vec![
        ("empty", Mesh::default(), router()),
        ("http", http(), router()),
        ("http_sidecar", one_http(), Scope { role: Role::Sidecar, ..router() }),
        ("http_delta", one_http(), Scope { config_source: per_type(true), ..router() }),
        ("http_sotw", one_http(), Scope { config_source: per_type(false), ..router() }),
        ("grpc", grpc(), router()),
        ("tcp_and_udp", tcp_and_udp(), router()),
        ("dns_and_passthrough", dns_and_passthrough(), router()),
        ("localities_and_priorities", localities_and_priorities(), router()),
        ("nearby", nearby(), near()),
        ("places_with_shares", ruled(SHARES), Scope { locality: locality("eu/a"), ..router() }),
        ("regions_that_take_over", ruled(FAILOVER), Scope { locality: locality("eu/a"), ..router() }),
        ("local_names", local_names(), shop()),
        ("ipv6", ipv6(), router()),
        ("conflicts", conflicts(), router()),
    ]
}

fn http() -> Mesh {
    let mut reviews =
        spec("reviews.local", &["9080/http", "9090/http"], &["127.0.0.1:9181", "127.0.0.1:9182"]);
    reviews.aliases = vec!["reviews".parse().unwrap()];
    reviews.virtual_addresses = vec!["10.1.0.1".parse().unwrap()];
    reviews.endpoints[0].labels = [("version".to_owned(), "v1".to_owned())].into();
    reviews.endpoints[1].weight = 2.try_into().unwrap();
    reviews.endpoints[1].identity = Some("spiffe://mesh/reviews".parse().unwrap());
    // Not every endpoint serves every port.
    reviews.endpoints[1].ports.remove(&port(9090));
    mesh(vec![reviews, spec("ratings.local", &["9080/http"], &[])])
}

fn grpc() -> Mesh {
    let mut greeter = spec("greeter.local", &["50051/grpc", "8080/http"], &["127.0.0.1:50151"]);
    greeter.aliases = vec!["greeter".parse().unwrap()];
    mesh(vec![greeter])
}

fn tcp_and_udp() -> Mesh {
    let mut mysql = spec("mysql.local", &["3306/tcp"], &["127.0.0.1:3307"]);
    mysql.virtual_addresses = vec!["127.0.0.9".parse().unwrap(), "198.51.100.7".parse().unwrap()];
    mesh(vec![
        mysql,
        spec("mongo.local", &["27017/mongo"], &["127.0.0.1:27018"]),
        spec("redis.local", &["6379/redis"], &["unix:/run/redis.sock:6379"]),
        spec("secure.local", &["8443/tls"], &["127.0.0.1:8444"]),
        spec("dns.local", &["5353/udp"], &["127.0.0.1:5354"]),
    ])
}

fn dns_and_passthrough() -> Mesh {
    mesh(vec![
        resolved(spec("api.example.com", &["80/http"], &[]), Resolution::Dns),
        resolved(
            spec("db.local", &["5432/tcp"], &["db.example.com:5433", "127.0.0.1:5434"]),
            Resolution::Dns,
        ),
        resolved(spec("outside.local", &["8081/http", "8082/tcp"], &[]), Resolution::Passthrough),
    ])
}

fn localities_and_priorities() -> Mesh {
    let addresses = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80"];
    let health = [Health::Healthy, Health::Warning, Health::Unhealthy, Health::Draining, Health::Unknown];
    let mut near = spec("a.local", &["80/http"], &addresses);
    for ((endpoint, health), zone) in near.endpoints.iter_mut().zip(health).zip(["b", "a", "b", "a", ""]) {
        let region = if zone.is_empty() { "" } else { "eu" };
        endpoint.locality = Locality { region: region.into(), zone: zone.into(), sub_zone: String::new() };
        endpoint.health = health;
    }
    // The second registry knows an endpoint of the first, too: it counts once.
    let far = spec("a.local", &["80/http"], &["10.0.0.1:80", "10.9.0.1:80"]);
    mesh_after(&empty(), &[source("near", 3, vec![near]), source("far", 7, vec![far])])
}

/// A router in a rack of a zone.
fn near() -> Scope {
    Scope { locality: locality("eu/a/r1"), ..router() }
}

const SHARES: &str = r#"{"distribute": [{"from": "eu/*", "to": {"eu/a": 60, "eu/b": 20, "us/*": 20}}]}"#;
const FAILOVER: &str = r#"{"failover": [{"from": "eu", "to": "us"}]}"#;

/// A service in five places, about which a document says this.
fn ruled(setting: &str) -> Mesh {
    let endpoints = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80"];
    let mut shop = spec("shop.local", &["80/http"], &endpoints);
    for (endpoint, place) in shop.endpoints.iter_mut().zip(["eu/a", "eu/b", "us/a", "us/b", "asia/a"]) {
        endpoint.locality = locality(place);
    }
    let document = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": { "name": "shop" },
        "spec": { "host": "shop.local", "trafficPolicy": {
            "loadBalancer": { "localityLbSetting": serde_json::from_str::<Value>(setting).unwrap() },
            "outlierDetection": { "consecutive5xxErrors": 5 },
        } },
    });
    let mut store = Store::default();
    store.take(&[document]);
    Mesh { rules: store.rules, ..mesh(vec![shop]) }
}

/// Two namespaces, each with a service that its clients call alike.
fn local_names() -> Mesh {
    let web = |namespace: &str, port| {
        let mut web = spec(&format!("web.{namespace}"), &[port], &[]);
        web.namespace = namespace.to_owned().try_into().unwrap();
        web.local_names = vec!["web".parse().unwrap()];
        web
    };
    mesh(vec![web("bank", "80/http"), web("shop", "80/grpc")])
}

/// A router in one of both.
fn shop() -> Scope {
    Scope { namespace: Some("shop".to_owned().try_into().unwrap()), ..router() }
}

fn locality(text: &str) -> Locality {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}

/// Registries go before places, and there is no gap where a place has no endpoint.
fn nearby() -> Mesh {
    let placed = |mut service: ServiceSpec, places: &[&str]| {
        for (endpoint, place) in service.endpoints.iter_mut().zip(places) {
            endpoint.locality = locality(place);
        }
        service
    };
    let preferred = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"];
    let preferred = spec("a.local", &["80/http"], &preferred);
    let backup = spec("a.local", &["80/http"], &["10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"]);
    let names = ["one.example.com:80", "two.example.com:80"];
    let by_name = resolved(spec("dns.local", &["82/tcp"], &names), Resolution::Dns);
    let same_zone = spec("same.local", &["81/grpc"], &["10.2.0.1:81", "10.2.0.2:81"]);
    let sources = [
        source(
            "near",
            0,
            vec![
                placed(preferred, &["us/a", "eu/b", "eu/a/r2", "eu/c"]),
                placed(by_name, &["eu/b", "eu/a"]),
                placed(same_zone, &["eu/b", "eu/b"]),
            ],
        ),
        source("far", 1, vec![placed(backup, &["eu/a/r1", "eu/a", ""])]),
    ];
    let mut before = empty();
    before.options.prefer_near = true;
    mesh_after(&before, &sources)
}

fn ipv6() -> Mesh {
    let mut web = spec("web.local", &["8080/http"], &["::1:8081"]);
    web.virtual_addresses = vec!["2001:db8::1".parse().unwrap()];
    let mut mesh = mesh(vec![web, spec("db.local", &["5432/tcp"], &["::1:5433"])]);
    mesh.options = MeshOptions { bind: "::1".parse().unwrap(), ..mesh.options };
    mesh
}

fn conflicts() -> Mesh {
    let mut first = spec("a.local", &["3306/tcp", "9080/http"], &["127.0.0.1:1001"]);
    first.aliases = vec!["db".parse().unwrap(), "b.local".parse().unwrap()];
    let mut second = spec("b.local", &["3306/tcp", "9080/tcp", "15080/http"], &["127.0.0.1:1002"]);
    second.aliases = vec!["db".parse().unwrap()];
    mesh(vec![first, second])
}

fn as_yaml(translation: &Translation) -> String {
    let mut document = BTreeMap::new();
    for kind in ResourceType::ASKED {
        let resources = translation.view.of(kind).iter();
        let resources: Vec<Value> = resources.map(|resource| to_json(resource).unwrap()).collect();
        document.insert(kind.as_str(), json!(resources));
    }
    let mut parts = Vec::new();
    for routes in translation.view.of(ResourceType::VirtualHost).iter() {
        let hosts = routes.rope().unwrap().virtual_hosts();
        parts.extend(hosts.map(|host| part_to_json(host, routes.name()).unwrap()));
    }
    if !parts.is_empty() {
        document.insert(ResourceType::VirtualHost.as_str(), json!(parts));
    }
    let conflicts = translation.conflicts.iter().map(ToString::to_string);
    document.insert("conflicts", json!(conflicts.collect::<Vec<_>>()));
    serde_saphyr::to_string(&document).unwrap()
}

#[test]
fn translations_are_those_written_down() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, mesh, scope) in cases() {
        let translation = translate(&mesh, &scope);
        assert_eq!(dangling(&translation.view), [], "{name}");
        let (path, text) = (folder().join(name).with_extension("yaml"), as_yaml(&translation));
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == text,
            "{} differs; UPDATE_GOLDEN=1 rewrites it. It would be:\n{text}",
            path.display()
        );
    }
}

#[test]
fn no_golden_file_is_an_orphan() {
    let cases: BTreeSet<String> = cases().iter().map(|(name, ..)| format!("{name}.yaml")).collect();
    let files = std::fs::read_dir(folder()).unwrap();
    // Folders are those of `features.rs`.
    let files = files.map(Result::unwrap).filter(|file| file.path().is_file());
    let files: BTreeSet<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(files.difference(&cases).collect::<Vec<_>>(), Vec::<&String>::new());
}

//! Services that not everybody sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot::catalog::Source;
use pilot::mesh::{Mesh, MeshOptions};
use pilot::proxy::{ClientKind, Scope};
use pilot::resources::{ResourceType, dangling};
use pilot::translate::{LayerKey, Layers, Translation, Wave};
use pilot_registry::{Content, Namespace, Resolution, ServiceSpec, Snapshot, Visibility};
use tokio::time::Instant;

use crate::world::{Translator, empty, mesh, mesh_after, resolved, router, same, source, spec, translate};

fn namespace(name: &str) -> Namespace {
    name.to_owned().try_into().unwrap()
}

fn scope(name: &str) -> Scope {
    Scope { namespace: Some(namespace(name)), ..router() }
}

/// The service in that namespace, seen by clients of those that the words name.
fn seen_by(words: &str, own: &str, spec: ServiceSpec) -> ServiceSpec {
    let own = namespace(own);
    ServiceSpec { visibility: Visibility::of_words(words.split(','), &own).unwrap(), namespace: own, ..spec }
}

fn names(translation: &Translation, kind: ResourceType) -> Vec<&str> {
    translation.view.of(kind).iter().map(|resource| &**resource.name()).collect()
}

/// The addresses of a cluster's endpoints, and `None` where the cluster is not.
fn endpoints(translation: &Translation, cluster: &str) -> Option<String> {
    let resource = translation.view.of(ResourceType::Endpoint).get(cluster)?;
    let json = pilot::resources::to_json(resource).unwrap().to_string();
    let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].into_iter().filter(|it| json.contains(it));
    Some(addresses.collect::<Vec<_>>().join(" "))
}

/// The cluster of a TCP listener.
fn leads_to(translation: &Translation, listener: &str) -> Option<String> {
    let listener = translation.view.of(ResourceType::Listener).get(listener)?;
    listener.references().next().map(|(_, to)| to.to_string())
}

fn conflicts(mesh: &Mesh) -> Vec<String> {
    translate(mesh, &router()).conflicts.iter().map(ToString::to_string).collect()
}

#[test]
fn each_namespace_sees_its_own_and_everybody_else_the_public_one() {
    let db = |endpoint| spec("db.example", &["5432/tcp"], &[endpoint]);
    let mesh = mesh(vec![
        db("10.0.0.1:1"),
        seen_by(".", "shop", db("10.0.0.2:1")),
        seen_by(".", "bank", db("10.0.0.3:1")),
    ]);
    let cluster = "outbound|5432||db.example";
    for (scope, own) in [
        (router(), "10.0.0.1"),
        (scope("elsewhere"), "10.0.0.1"),
        (scope("shop"), "10.0.0.2"),
        (scope("bank"), "10.0.0.3"),
    ] {
        let translation = translate(&mesh, &scope);
        assert_eq!(endpoints(&translation, cluster).as_deref(), Some(own), "{scope}");
        assert_eq!(leads_to(&translation, "127.0.0.1_5432").as_deref(), Some(cluster), "{scope}");
        assert_eq!(dangling(&translation.view), vec![]);
    }
    assert_eq!(conflicts(&mesh), Vec::<String>::new(), "none of them takes anything from another");
}

#[test]
fn nobody_else_sees_a_service_that_names_who_does() {
    let mesh = mesh(vec![
        seen_by("shop,bank", "data", spec("a.example", &["80/http"], &["10.0.0.1:1"])),
        seen_by("~", "data", spec("b.example", &["81/http"], &["10.0.0.1:1"])),
    ]);
    for scope in [router(), scope("data"), scope("elsewhere")] {
        let translation = translate(&mesh, &scope);
        for kind in [ResourceType::Cluster, ResourceType::Endpoint] {
            assert_eq!(names(&translation, kind), Vec::<&str>::new(), "{scope} {kind}");
        }
        assert_eq!(names(&translation, ResourceType::Listener), ["http_listen"]);
        assert_eq!(names(&translation, ResourceType::Route), ["http_listen"]);
    }
    for name in ["shop", "bank"] {
        let translation = translate(&mesh, &scope(name));
        assert_eq!(names(&translation, ResourceType::Cluster), ["outbound|80||a.example"]);
        assert_eq!(names(&translation, ResourceType::Listener), ["127.0.0.1_80", "http_listen"]);
        assert_eq!(names(&translation, ResourceType::Route), ["80", "http_listen"]);
    }
}

/// Of the public one, nothing is left that the other does not have.
#[test]
fn what_the_hidden_one_has_beside_is_hidden() {
    let everybodys = spec("db.example", &["80/http", "5432/tcp", "50051/grpc"], &["10.0.0.1:1"]);
    let own = seen_by(".", "shop", spec("db.example", &["80/http"], &["10.0.0.2:1"]));
    let mesh = mesh(vec![everybodys, own]);
    let translation = translate(&mesh, &scope("shop"));
    assert_eq!(names(&translation, ResourceType::Cluster), ["outbound|80||db.example"]);
    assert_eq!(names(&translation, ResourceType::Endpoint), ["outbound|80||db.example"]);
    assert_eq!(names(&translation, ResourceType::Listener), ["127.0.0.1_80", "http_listen"]);
    assert_eq!(names(&translation, ResourceType::Route), ["80", "http_listen"]);
    assert_eq!(translate(&mesh, &router()).view.of(ResourceType::Cluster).len(), 3);
}

#[test]
fn a_tcp_port_is_the_first_ones_that_a_client_sees() {
    let a = |words| seen_by(words, "bank", spec("a.example", &["90/tcp"], &["10.0.0.1:1"]));
    let b = seen_by("*", "shop", spec("b.example", &["90/tcp"], &["10.0.0.2:1"]));
    let lead = |mesh: &Mesh, scope: &Scope| leads_to(&translate(mesh, scope), "127.0.0.1_90").unwrap();
    let (to_a, to_b) = ("outbound|90||a.example", "outbound|90||b.example");

    // Both for everybody: the first has it.
    let public = mesh(vec![a("*"), b.clone()]);
    assert_eq!(lead(&public, &router()), to_a);
    assert_eq!(conflicts(&public).len(), 1);
    // The winner is hidden from all but its own namespace: the loser's listener is there for all others.
    let hidden = mesh(vec![a("."), b.clone()]);
    assert_eq!((lead(&hidden, &router()), lead(&hidden, &scope("bank"))), (to_b.into(), to_a.into()));
    let expected =
        "b.example cannot be reached at 127.0.0.1:90 in namespace bank: a.example of namespace bank has it";
    assert!(conflicts(&hidden).len() == 1 && conflicts(&hidden)[0].starts_with(expected), "{hidden:?}");
    // Two of different namespaces do not see each other.
    let b = seen_by(".", "shop", spec("b.example", &["90/tcp"], &["10.0.0.2:1"]));
    let apart = mesh(vec![a("."), b]);
    assert_eq!((lead(&apart, &scope("bank")), lead(&apart, &scope("shop"))), (to_a.into(), to_b.into()));
    assert_eq!(conflicts(&apart), Vec::<String>::new());
}

/// HTTP services share a port, so all of them lose it where a TCP service is seen that goes first.
#[test]
fn http_services_have_a_port_where_the_tcp_service_that_takes_it_is_not_seen() {
    let tcp = seen_by(".", "shop", spec("a.example", &["80/tcp"], &["10.0.0.1:1"]));
    let web = spec("web.example", &["80/http"], &["10.0.0.2:1"]);
    let mesh = mesh(vec![tcp, web]);
    let shop = translate(&mesh, &scope("shop"));
    assert_eq!(leads_to(&shop, "127.0.0.1_80").as_deref(), Some("outbound|80||a.example"));
    assert_eq!(names(&shop, ResourceType::Route), ["http_listen"]);
    let others = translate(&mesh, &router());
    assert_eq!(names(&others, ResourceType::Route), ["80", "http_listen"]);
    assert_eq!(leads_to(&others, "127.0.0.1_80").as_deref(), Some("80"));
}

#[test]
fn a_local_name_is_a_hosts_where_that_is_seen() {
    let mut local = spec("web.shop", &["80/grpc"], &["10.0.0.1:1"]);
    local.namespace = namespace("shop");
    local.local_names = vec!["web".parse().unwrap()];
    let host = |words| seen_by(words, "bank", spec("web", &["80/grpc"], &["10.0.0.2:1"]));
    let lead = |mesh: &Mesh, name: &str| leads_to(&translate(mesh, &scope(name)), "web:80");
    // Everybody sees the host: it is no local name.
    let public = mesh(vec![local.clone(), host("*")]);
    assert_eq!(lead(&public, "shop").as_deref(), Some("outbound|80||web"));
    // Where the host is not seen, the local name is there.
    let hidden = mesh(vec![local, host(".")]);
    assert_eq!(lead(&hidden, "shop").as_deref(), Some("outbound|80||web.shop"));
    assert_eq!(lead(&hidden, "bank").as_deref(), Some("outbound|80||web"));
    assert_eq!(conflicts(&hidden), Vec::<String>::new());
}

#[test]
fn who_names_a_namespace_that_sees_another_is_told() {
    let db = |own| seen_by("shop", own, spec("db.example", &["80/tcp"], &["10.0.0.1:1"]));
    assert_eq!(
        conflicts(&mesh(vec![db("bank"), db("data")])),
        [
            "db.example of namespace data cannot be called db.example in namespace shop: db.example of namespace \
          bank has that name (the first in the alphabet wins): give one of them another"
        ]
    );
    let own = seen_by(".", "shop", spec("db.example", &["80/tcp"], &[]));
    assert_eq!(conflicts(&mesh(vec![db("bank"), db("data"), own])), Vec::<String>::new());
}

#[test]
fn nearness_counts_for_services_that_not_everybody_sees_too() {
    let near = |zone: &str| pilot_registry::Locality {
        region: "eu".into(),
        zone: zone.into(),
        sub_zone: String::new(),
    };
    let with_zones = |mut spec: ServiceSpec| {
        for (endpoint, zone) in spec.endpoints.iter_mut().zip(["a", "b"]) {
            endpoint.locality = near(zone);
        }
        spec
    };
    let own = seen_by(".", "shop", spec("a.example", &["80/http"], &["10.0.0.1:1", "10.0.0.2:1"]));
    let dns = resolved(spec("b.example", &["80/http"], &["a.lan:1", "b.lan:1"]), Resolution::Dns);
    let dns = seen_by(".", "shop", dns);
    let options = MeshOptions { prefer_near: true, ..empty().options };
    let mesh = mesh(vec![with_zones(own), with_zones(dns)]);
    let mesh = Mesh { options, ..mesh };
    let [here, there] =
        ["a", "b"].map(|zone| translate(&mesh, &Scope { locality: near(zone), ..scope("shop") }));
    for (kind, name) in [
        (ResourceType::Endpoint, "outbound|80||a.example"),
        (ResourceType::Cluster, "outbound|80||b.example"),
    ] {
        let version = |it: &Translation| it.view.of(kind).get(name).unwrap().version().to_owned();
        assert_ne!(version(&here), version(&there), "{name}");
    }
    assert_eq!(dangling(&here.view), vec![]);
}

/// The jobs of a step, by the layers that they make.
fn touched(layers: &Layers, before: &Source, specs: Vec<ServiceSpec>) -> BTreeSet<LayerKey> {
    let mut now = source("file", 0, specs);
    // As a sink does: what did not change is the same allocation.
    now.snapshot = Arc::new(Snapshot::clone(&now.snapshot).reusing(&before.snapshot));
    let mesh = mesh_after(layers.mesh().unwrap(), &[now]);
    let step = layers.step(Arc::new(mesh), Instant::now());
    let mut done = pilot::translate::Results::new();
    let mut keys = BTreeSet::new();
    for wave in Wave::ALL {
        let made: Vec<_> = layers.jobs(&step, wave, &done).into_iter().map(|job| job.run()).collect();
        keys.extend(made.iter().map(|(key, _)| key.clone()));
        done.extend(made);
    }
    keys
}

/// Whom a change does not concern has nothing to do.
#[test]
fn a_change_of_what_is_seen_alike_costs_namespaces_nothing() {
    let services = |public: &str, own: &str| {
        vec![
            spec("a.example", &["90/tcp"], &[public]),
            seen_by(".", "shop", spec("b.example", &["91/tcp"], &[own])),
            seen_by(".", "bank", spec("c.example", &["92/tcp"], &["10.0.0.3:1"])),
        ]
    };
    let first = source("file", 0, services("10.0.0.1:1", "10.0.0.1:1"));
    let mut layers = Layers::default();
    let in_parts = |name| Scope { client: ClientKind::EnvoyWithVhds, ..scope(name) };
    [in_parts("shop"), in_parts("bank"), router()].iter().for_each(|scope| layers.follow(scope));
    layers.advance(Arc::new(mesh_after(&empty(), std::slice::from_ref(&first))), Instant::now());
    let special = |keys: &BTreeSet<LayerKey>| -> Vec<String> {
        let name = |key: &LayerKey| match key {
            LayerKey::Audience(_, _, namespace) => Some(format!("audience {namespace}")),
            LayerKey::AudienceParts(_, _, namespace) => Some(format!("parts {namespace}")),
            LayerKey::Scoped { namespace, .. } => Some(format!("scoped {namespace}")),
            _ => None,
        };
        keys.iter().filter_map(name).collect()
    };
    let keys = touched(&layers, &first, services("10.0.0.2:1", "10.0.0.1:1"));
    assert_eq!(special(&keys), Vec::<String>::new(), "an endpoint that everybody sees");
    let mut more = services("10.0.0.1:1", "10.0.0.1:1");
    more.push(spec("d.example", &["93/tcp"], &[]));
    let keys = touched(&layers, &first, more);
    assert_eq!(special(&keys), Vec::<String>::new(), "a service that everybody sees alike");
    let keys = touched(&layers, &first, services("10.0.0.1:1", "10.0.0.2:1"));
    assert_eq!(special(&keys), ["audience shop", "scoped shop"], "an endpoint that one namespace sees");
    let mut more = services("10.0.0.1:1", "10.0.0.1:1");
    more.push(seen_by(".", "shop", spec("d.example", &["80/http"], &[])));
    let keys = touched(&layers, &first, more);
    assert_eq!(special(&keys), ["audience shop", "parts shop", "scoped shop"], "routes of one namespace");
}

/// A service that goes from one owner to another takes along what it has.
#[test]
fn owners_may_change() {
    let db = |words, own| seen_by(words, own, spec("db.example", &["80/http"], &["10.0.0.1:1"]));
    let in_parts = |scope: Scope| Scope { client: ClientKind::EnvoyWithVhds, ..scope };
    let scopes = [router(), scope("shop"), scope("bank")];
    let scopes: [_; 6] = [scopes.clone(), scopes.map(in_parts)].concat().try_into().unwrap();
    let mut all = Translator::of(scopes.clone());
    let mut last = empty();
    for specs in [
        vec![db("*", "shop")],
        vec![db(".", "shop")],
        vec![db(".", "shop"), db(".", "bank")],
        vec![db("shop", "bank"), db("*", "bank")],
        vec![db("~", "bank")],
        vec![db("*", "bank"), db(".", "shop")],
        // The port goes, for everybody else.
        vec![db(".", "shop")],
        vec![db("*", "bank"), db(".", "shop")],
        vec![],
    ] {
        let mesh = mesh_after(&last, &[source("file", 0, specs)]);
        for (translation, scope) in all.all(&mesh).iter().zip(&scopes) {
            assert!(crate::world::same(translation, &translate(&mesh, scope)), "{scope}");
            assert_eq!(dangling(&translation.view), vec![]);
        }
        last = mesh;
    }
}

/// Services that share a listener are one owner of it: who comes first among them matters where another claims it, too.
#[test]
fn a_protocol_that_comes_to_be_guessed_loses_its_port_to_what_only_a_namespace_sees() {
    let web = |guessed: &[u16]| ServiceSpec {
        guessed_protocols: guessed.iter().map(|port| u32::from(*port).try_into().unwrap()).collect(),
        ..spec("b.local", &["81/http"], &[])
    };
    let queue = seen_by(
        ".",
        "shop",
        ServiceSpec {
            guessed_protocols: [81u32.try_into().unwrap()].into(),
            ..spec("a.local", &["81/tcp"], &["10.0.0.1:1"])
        },
    );
    let mut translator = Translator::new(scope("shop"));
    let before = mesh(vec![web(&[]), queue.clone()]);
    translator.translate(&before);
    let after = mesh_after(&before, &[source("east", 0, vec![web(&[81]), queue])]);
    let translation = translator.translate(&after);
    assert_eq!(leads_to(&translation, "127.0.0.1_81").as_deref(), Some("outbound|81||a.local"));
    assert_eq!(translation.view.of(ResourceType::Route).get("81"), None, "nothing leads there");
    assert!(same(&translation, &translate(&after, &scope("shop"))));
}

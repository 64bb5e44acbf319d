//! Cases of [`meshes`](super) that chance found, made small.

use pilot_registry::{Locality, Resolution, ServiceSpec};
use serde_json::json;

use super::Step::{Document, Move, Of, Publish, Service, Talk};
use super::reading::Taste;
use super::{ALL_KINDS, Kind, Step, options, run};
use crate::properties::Deed;
use crate::world::{empty, resolved, spec};

/// Services with ports of HTTP.
fn named(host: &str, ports: &[&str], aliases: &[&str]) -> Option<Box<ServiceSpec>> {
    let mut spec = spec(host, ports, &[]);
    spec.aliases = aliases.iter().map(|name| name.parse().unwrap()).collect();
    spec.namespace = "shop".to_owned().try_into().unwrap();
    Some(Box::new(spec))
}

/// Clients of one kind in three scopes, of a mesh without rules in which no place matters.
fn run_plain(steps: &[Step], kind: fn(usize) -> Kind, taste: Taste) {
    run(steps, &[kind(0), kind(1), kind(2)], empty().options, [taste; 2]);
}

/// What a client's messages are, one by one.
fn deeds_of(client: usize) -> (impl Fn() -> Step, impl Fn() -> Step) {
    (move || Of(client, Deed::Request), move || Of(client, Deed::Response))
}

#[test]
fn meshes_that_once_went_wrong() {
    let delta = |steps: &[Step], one_in, seed| {
        run_plain(steps, Kind::Delta, Taste { one_in, seed, is_bitter: false })
    };
    let sotw =
        |steps: &[Step], one_in, seed| run_plain(steps, Kind::Sotw, Taste { one_in, seed, is_bitter: false });
    let (request, response) = deeds_of(2);
    // The endpoints of what a name led to were on their way when the name came to lead elsewhere.
    delta(
        &[
            Service(0, named("a", &["80/http"], &[])),
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
            Service(1, named("b", &["81/http"], &["a"])),
            Service(0, None),
            Publish,
            Service(0, named("a", &["81/http"], &[])),
        ],
        8,
        9_343_392_160_573_924_539,
    );
    sotw(
        &[
            Service(1, named("b", &["80/http"], &[])),
            request(),
            response(),
            request(),
            response(),
            Publish,
            request(),
            request(),
            request(),
            Service(3, named("d", &["81/http"], &[])),
            Publish,
            response(),
            Service(1, None),
            request(),
            Publish,
            Service(3, named("d", &["80/http", "81/http"], &[])),
        ],
        8,
        7_393_247_977_581_502_599,
    );
    // A name moved to a virtual host that led to a cluster before, which was not ready.
    let (request, response) = deeds_of(0);
    sotw(
        &[
            Service(0, named("a", &["80/grpc"], &[])),
            Publish,
            request(),
            request(),
            response(),
            request(),
            response(),
            Service(1, named("b", &["80/http"], &["a"])),
            request(),
            request(),
            request(),
            Service(0, named("a", &["80/http"], &[])),
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

/// Envoy uses a cluster as it was until the next version has its endpoints. Meanwhile no name leaves it for one that is
/// not ready.
#[test]
fn p15_a_name_stays_with_a_service_of_dns_until_the_endpoints_that_replace_it_are_there() {
    let (request, response) = deeds_of(1);
    let before = resolved(spec("d", &["80/http"], &[]), Resolution::Dns);
    let mut after = spec("d", &["80/tls", "81/grpc"], &["10.1.0.1:1", "::1:3"]);
    after.local_names = vec!["web".parse().unwrap()];
    after.guessed_protocols = after.ports.iter().map(|port| port.number).collect();
    let far = Locality { region: "eu".into(), zone: "b".into(), ..Locality::default() };
    after.endpoints[0].locality = far;
    after.endpoints[1].locality = Locality { zone: "a".into(), ..Locality::default() };
    after.endpoints[1].labels = [("version".to_owned(), "v1".to_owned())].into();
    let steps = [
        Service(3, Some(Box::new(before))),
        Move(1, 2),
        Talk(1, 12),
        request(),
        Publish,
        response(),
        request(),
        request(),
        Service(3, Some(Box::new(after))),
    ];
    let bitter = |seed| Taste { one_in: 8, seed, is_bitter: true };
    let tastes = [8_657_557_291_041_751_611, 12_529_915_663_457_695_628].map(bitter);
    run(&steps, &ALL_KINDS, options(), tastes);
}

/// All clients refuse the cluster that there was, and then what came beside the one that took its place. The first comes
/// back, and so they are told that there is none.
#[test]
fn p15_a_listener_goes_although_a_cluster_is_refused_came_in_another_version_and_is_refused_again() {
    let one = spec("a", &["80/http2", "81/http"], &[]);
    let mut two = spec("a", &["80/http2"], &[]);
    two.local_names = vec!["x".parse().unwrap()];
    let (request, _) = deeds_of(0);
    let subset = json!({
        "name": "v1",
        "labels": {"version": "v1"},
        "trafficPolicy": {"loadBalancer": {"localityLbSetting": {}}},
    });
    let rule = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "random", "namespace": "default"},
        "spec": {
            "exportTo": [],
            "host": "x",
            "subsets": [subset],
            "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}},
        },
    });
    let steps = [
        Service(0, None),
        Service(0, Some(Box::new(one))),
        Publish,
        Service(0, None),
        request(),
        request(),
        Service(0, Some(Box::new(two))),
        Talk(2, 5),
        Document(3, Some(rule)),
        Publish,
        Document(3, None),
    ];
    let bitter = |seed| Taste { one_in: 8, seed, is_bitter: true };
    run(&steps, &ALL_KINDS, options(), [14_464_200_484_026_775_201, 0].map(bitter));
}

/// Its listener comes anew, because the client took it from a response that it refused, and so does not tell of it.
#[test]
fn p14_who_comes_back_keeps_its_routes_while_it_refuses_newer_ones() {
    let mut one = spec("a", &["81/http"], &[]);
    one.aliases = vec!["b".parse().unwrap()];
    let mut two = spec("a", &["80/tcp", "81/http"], &[]);
    two.aliases = vec!["b".parse().unwrap()];
    two.virtual_addresses = ["127.0.0.1", "10.0.0.1"].map(|it| it.parse().unwrap()).into();
    let (request, response) = deeds_of(3);
    let steps = [
        Service(0, Some(Box::new(one))),
        Publish,
        request(),
        Talk(3, 7),
        request(),
        request(),
        response(),
        Of(3, Deed::Disconnect),
        Service(0, Some(Box::new(two))),
    ];
    let bitter = |seed| Taste { one_in: 8, seed, is_bitter: true };
    run(&steps, &ALL_KINDS, options(), [6_290_024_945_454_416_710; 2].map(bitter));
}

/// Hosts that no service has lead to subsets of a service; these get other names at the time at which a rule for callers with
/// labels comes or goes.
#[test]
fn p15_hosts_that_no_service_has_lead_on_while_a_rule_for_labels_comes_and_goes() {
    let head = |kind: &str, name: &str, spec: serde_json::Value| {
        let version = "networking.istio.io/v1";
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "spec": spec })
    };
    let to = |host: &str, subset: String| {
        let destination = json!({ "host": "a", "subset": subset });
        json!({ "hosts": [host], "http": [{ "route": [{ "destination": destination }] }] })
    };
    let subset = |name: String, version: &str| json!({ "name": name, "labels": { "version": version } });
    let mut service = spec("a", &["80/http"], &["10.0.0.1:80", "10.0.0.2:80"]);
    for (endpoint, version) in service.endpoints.iter_mut().zip(["v1", "v2"]) {
        endpoint.labels.insert("version".to_owned(), version.to_owned());
    }
    for client in [Kind::InParts(4), Kind::Delta(4), Kind::Sotw(4), Kind::InParts(0)] {
        for told in 0..12 {
            let mut steps = vec![Service(0, Some(Box::new(service.clone())))];
            for round in 0..6 {
                let names = ["a", "b", "c"].map(|name| format!("{name}{}", round % 3));
                let rule = head(
                    "DestinationRule",
                    "d",
                    json!({ "host": "a", "subsets":
                    [subset(names[0].clone(), "v1"), subset(names[1].clone(), "v2")] }),
                );
                let labelled = json!({ "hosts": ["a"], "http": [{ "match": [{ "sourceLabels": { "app": "x" } }],
                    "route": [{ "destination": { "host": "a", "subset": names[0] } }] }] });
                steps.extend([
                    Document(0, Some(rule)),
                    Document(1, Some(head("VirtualService", "n1", to("nobody.test", names[0].clone())))),
                    Document(2, Some(head("VirtualService", "n2", to("*.wild.test", names[1].clone())))),
                    Document(3, (round % 2 == 1).then(|| head("VirtualService", "lab", labelled))),
                    Publish,
                    Talk(0, if round == 0 { 40 } else { told }),
                ]);
            }
            run(&steps, &[client], options(), Default::default());
        }
    }
}

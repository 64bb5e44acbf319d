//! What is said of ServiceEntries and WorkloadEntries, and of rules that lead out of the mesh.

use pilot::mesh::Mesh;
use pilot::translate::rules::Standing;

use super::{said, world};

/// That is said of the document, in that state.
#[track_caller]
fn assert_told(mesh: &Mesh, name: &str, standing: Standing, words: &[&str]) {
    let found = said(mesh, name);
    let is_it =
        |(of, why): &(Standing, String)| *of == standing && words.iter().all(|word| why.contains(word));
    assert!(found.iter().any(is_it), "{name}: expected {standing:?} {words:?}, found {found:#?}");
}

#[track_caller]
fn assert_silent(mesh: &Mesh, name: &str) {
    assert_eq!(said(mesh, name), [], "{name}");
}

fn entry(host: &str, port: &str, more: &str) -> String {
    format!("{{hosts: [{host}], ports: [{port}], resolution: DNS{more}}}")
}

const HTTP: &str = "{number: 80, name: http, protocol: HTTP}";
const TCP: &str = "{number: 5432, name: db, protocol: TCP}";
const TLS: &str = "{number: 443, name: tls, protocol: TLS}";

#[test]
fn of_two_that_take_all_connections_of_a_port_both_are_told_and_the_cure() {
    let (a, b) = (entry("a.example", TCP, ""), entry("b.example", TCP, ""));
    let mesh = world(&[("ServiceEntry one", &a), ("ServiceEntry two", &b)]);
    let cure = "write addresses in each";
    assert_told(
        &mesh,
        "two",
        Standing::Conflicted,
        &["port 5432 go to a.example (ServiceEntry/default/one)", cure],
    );
    assert_told(&mesh, "one", Standing::Accepted, &["before b.example (ServiceEntry/default/two)", cure]);
    // With addresses they are told apart; TLS is by the names that clients ask for.
    let addressed = |host, ip: &str| entry(host, TCP, &format!(", addresses: [{ip}]"));
    let (a, b) = (addressed("a.example", "127.0.0.7"), addressed("b.example", "127.0.0.8"));
    let mesh = world(&[("ServiceEntry one", &a), ("ServiceEntry two", &b)]);
    ["one", "two"].iter().for_each(|name| assert_silent(&mesh, name));
    let (a, b) = (entry("a.example", TLS, ""), entry("b.example", TLS, ""));
    let mesh = world(&[("ServiceEntry one", &a), ("ServiceEntry two", &b)]);
    ["one", "two"].iter().for_each(|name| assert_silent(&mesh, name));
    // Of namespaces that do not see each other's, each has its own.
    let (a, b) = (entry("a.example", TCP, ", exportTo: [.]"), entry("b.example", TCP, ", exportTo: [.]"));
    let mesh = world(&[("ServiceEntry shop/one", &a), ("ServiceEntry bank/two", &b)]);
    ["one", "two"].iter().for_each(|name| assert_silent(&mesh, name));
}

#[test]
fn what_documents_of_one_host_say_differently_is_a_conflict_of_both() {
    let other = "{number: 80, name: http, protocol: GRPC}";
    let (a, b) = (entry("api.example", HTTP, ""), entry("api.example", other, ""));
    let mesh = world(&[("ServiceEntry one", &a), ("ServiceEntry two", &b)]);
    let both = ["ServiceEntry/default/one says http", "ServiceEntry/default/two says grpc"];
    assert_told(&mesh, "two", Standing::Conflicted, &both);
    assert_told(&mesh, "one", Standing::Accepted, &both);
    // A registry is believed before documents.
    let mesh = world(&[("ServiceEntry one", &entry("cart.local", other, ""))]);
    assert_told(&mesh, "one", Standing::Conflicted, &["registry file says"]);
}

#[test]
fn who_chooses_nothing_and_who_is_not_chosen_is_told() {
    let chooses = format!(
        "{{hosts: [api.example], ports: [{HTTP}], resolution: STATIC, workloadSelector: {{labels: {{app: api}}}}}}"
    );
    let vm = |app: &str| format!("{{address: 10.0.0.1, labels: {{app: {app}}}}}");
    let mesh = world(&[("ServiceEntry api", &chooses), ("WorkloadEntry vm", &vm("web"))]);
    assert_told(&mesh, "api", Standing::Dangling, &["workloadSelector", "namespace default"]);
    assert_told(&mesh, "vm", Standing::Unused, &["no ServiceEntry of namespace default"]);
    let mesh = world(&[("ServiceEntry api", &chooses), ("WorkloadEntry vm", &vm("api"))]);
    ["api", "vm"].iter().for_each(|name| assert_silent(&mesh, name));
    let named = "{address: vm.example, labels: {app: api}}";
    let mesh = world(&[("ServiceEntry api", &chooses), ("WorkloadEntry vm", named)]);
    assert_told(
        &mesh,
        "vm",
        Standing::Dangling,
        &["no endpoint of ServiceEntry/default/api", "write an IP address"],
    );
    let hidden = entry("api.example", HTTP, ", exportTo: ['~']");
    assert_told(&world(&[("ServiceEntry api", &hidden)]), "api", Standing::Unused, &["no proxy sees it"]);
}

#[test]
fn tls_twice_is_told() {
    let both = "{number: 443, name: tls, protocol: HTTPS}, {number: 80, name: http, protocol: HTTP}";
    let rule = "{host: api.example, trafficPolicy: {tls: {mode: SIMPLE}}}";
    let mesh =
        world(&[("ServiceEntry api", &entry("api.example", both, "")), ("DestinationRule rule", rule)]);
    assert_told(
        &mesh,
        "rule",
        Standing::Accepted,
        &["port 443 of api.example are TLS already", "targetPort 443"],
    );
    let of_port = "{host: api.example, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}}";
    let mesh =
        world(&[("ServiceEntry api", &entry("api.example", both, "")), ("DestinationRule rule", of_port)]);
    assert_silent(&mesh, "rule");
}

#[test]
fn a_callers_host_that_leaves_the_mesh_is_told() {
    let of = |more: &str, location: &str| {
        let routes = format!(
            "{{hosts: [prices.example], http: [{{{more}route: [{{destination: {{host: api.example}}}}]}}]}}"
        );
        let external = entry("api.example", HTTP, &format!(", location: {location}"));
        world(&[("ServiceEntry api", &external), ("VirtualService prices", &routes)])
    };
    let words = ["api.example is outside of the mesh", "prices.example", "rewrite: {authority: api.example}"];
    assert_told(&of("", "MESH_EXTERNAL"), "prices", Standing::Accepted, &words);
    assert_silent(&of("", "MESH_INTERNAL"), "prices");
    assert_silent(&of("rewrite: {authority: api.example}, ", "MESH_EXTERNAL"), "prices");
    assert_silent(&of("headers: {request: {set: {Host: api.example}}}, ", "MESH_EXTERNAL"), "prices");
}

//! What became of documents: what is said of each.

mod entries;

use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::Scope;
use pilot::rules::{DocumentChange, Library, Rules, StoreRank};
use pilot::translate::rules::{Standing, contest_of_routes, standing};
use pilot_registry::{Resolution, Text, Texts};

use crate::world::{mesh, resolved, router, spec};

const HEAD: &str = "apiVersion: networking.istio.io/v1\nkind: ";

/// A document: `VirtualService apps/cart`, and what stands under `spec` in YAML's short form.
fn document((name, spec): &(&str, &str)) -> String {
    let (kind, name) = name.split_once(' ').unwrap();
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    format!("{HEAD}{kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n")
}

/// The services `cart.local`, with versions 1 and 2, and `db.local`, which is no HTTP, `two.local`, which has several ports, and
/// `named.local`, whose names proxies resolve; and these documents.
fn world(documents: &[(&str, &str)]) -> Mesh {
    let mut cart = spec("cart.local", &["80/http"], &["10.0.0.1:80", "10.0.0.2:80"]);
    for (endpoint, version) in cart.endpoints.iter_mut().zip(["v1", "v2"]) {
        endpoint.labels.insert("version".to_owned(), version.to_owned());
    }
    let two = spec("two.local", &["8000/http", "8001/http", "9000/tcp"], &[]);
    let named = resolved(spec("named.local", &["80/http"], &["cart.example:80"]), Resolution::Dns);
    let (stock, db) = (spec("stock.local", &["80/http"], &[]), spec("db.local", &["3306/tcp"], &[]));
    let mesh = mesh(vec![cart, stock, db, two, named]);
    let text: String = documents.iter().map(document).collect();
    let text = Text { text: text.into(), age: None, namespace: None };
    let mut library = Library::default();
    library.take(&Texts::from_iter([("a.yaml".into(), Arc::new(text))]), "default");
    let wrong: Vec<_> = library.entries().iter().filter(|entry| entry.is_rejected()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let store = StoreRank { priority: 0, name: "local".into() };
    let change = |(id, version): (&_, &Arc<_>)| DocumentChange {
        store: store.clone(),
        id: Clone::clone(id),
        now: Some(Arc::clone(version)),
    };
    let rules = Rules::default().with(library.in_force().iter().map(change)).0;
    mesh.with_rules(rules)
}

/// What is said of the document of that name.
fn said(mesh: &Mesh, name: &str) -> Vec<(Standing, String)> {
    let ruling = mesh.rules.iter().find(|ruling| ruling.version.id.name == name).unwrap();
    standing(mesh, ruling)
}

#[track_caller]
fn assert_said(mesh: &Mesh, name: &str, expected: &[(Standing, &str)]) {
    let found = said(mesh, name);
    let found: Vec<_> = found.iter().map(|(standing, why)| (*standing, why.as_str())).collect();
    assert_eq!(found, expected, "{name}");
}

const ANSWER: &str = "{hosts: [cart.local], http: [{directResponse: {status: 200}}]}";

#[test]
fn of_documents_of_one_host_the_losers_say_who_won_and_why() {
    let mesh = world(&[("VirtualService a", ANSWER), ("VirtualService b", ANSWER)]);
    assert_said(&mesh, "a", &[]);
    let lost =
        "cart.local: VirtualService/default/a counts in its place for all proxies: its name comes first";
    assert_said(&mesh, "b", &[(Standing::Conflicted, lost)]);
}

#[test]
fn a_document_that_wins_for_some_proxies_says_for_which_it_loses() {
    let private = "{hosts: [cart.local], exportTo: [apps], http: [{directResponse: {status: 200}}]}";
    let mesh = world(&[("VirtualService a", ANSWER), ("VirtualService b", private)]);
    let lost = "cart.local: VirtualService/default/b counts in its place for proxies of namespace apps: it is exported to \
                them by name";
    assert_said(&mesh, "a", &[(Standing::Conflicted, lost)]);
    assert_said(&mesh, "b", &[]);
}

#[test]
fn a_document_without_a_rule_for_a_proxy_leaves_it_to_the_next() {
    let labelled =
        "{hosts: [cart.local], http: [{match: [{sourceLabels: {app: web}}], directResponse: {status: 200}}]}";
    let mesh = world(&[("VirtualService a", labelled), ("VirtualService b", ANSWER)]);
    assert_said(&mesh, "a", &[]);
    let lost = "cart.local: VirtualService/default/a counts in its place for proxies of all other namespaces with app=web, \
                namespace default with app=web: its name comes first";
    assert_said(&mesh, "b", &[(Standing::Conflicted, lost)]);
    // The other way round nobody comes to it.
    let mesh = world(&[("VirtualService b", labelled), ("VirtualService a", ANSWER)]);
    let lost =
        "cart.local: VirtualService/default/a counts in its place for all proxies: its name comes first";
    assert_said(&mesh, "b", &[(Standing::Conflicted, lost)]);
}

#[test]
fn what_a_document_names_and_is_not_there_is_named() {
    let routes = "{hosts: [cart.local, gone], gateways: [mesh, edge], http: [{match: [{uri: {exact: /a}}], delegate: {name: \
                  leaf}}, {mirror: {host: nobody.local}, route: [{destination: {host: cart.local, subset: v9}}]}, {route: \
                  [{destination: {host: stock.local, port: {number: 81}}}]}]}";
    let mesh = world(&[("VirtualService a", routes), ("DestinationRule b", "{host: gone.local}")]);
    let expected = [
        "spec.gateways: no Gateway default/edge is there",
        "spec.hosts: no service is called gone in namespace default",
        "spec.http[1].route[0].destination.subset: no DestinationRule of cart.local defines v9",
        "spec.http[1].mirror.host: no service is called nobody.local in namespace default",
        "spec.http[2].route[0].destination.port: stock.local has no port 81",
        "spec.http[0].delegate: VirtualService/default/leaf is not there, has hosts, or is not exported",
    ];
    assert_said(&mesh, "a", &expected.map(|why| (Standing::Dangling, why)));
    let unknown = "spec.host: no service is called gone.local in namespace default";
    assert_said(&mesh, "b", &[(Standing::Dangling, unknown)]);
}

#[test]
fn what_nobody_asks_for_says_who_would() {
    let documents = [
        ("VirtualService tcp", "{hosts: [db.local], http: [{directResponse: {status: 200}}]}"),
        (
            "VirtualService private",
            "{hosts: [other.example], exportTo: [apps], http: [{directResponse: {status: 200}}]}",
        ),
        (
            "VirtualService nobody",
            "{hosts: [stock.local], exportTo: [\"~\"], http: [{directResponse: {status: 200}}]}",
        ),
        ("VirtualService leaf", "{http: [{directResponse: {status: 200}}]}"),
        ("DestinationRule third/policy", "{host: cart.local, exportTo: [\"*\"]}"),
        ("DestinationRule default/own", "{host: cart.local}"),
    ];
    let mesh = world(&documents);
    let expected = [
        ("tcp", "db.local has no HTTP port"),
        ("private", "other.example: no service has it"),
        ("nobody", "stock.local: no proxy asks it: its exportTo names nobody"),
        ("leaf", "delegate: {name: leaf, namespace: default}"),
    ];
    for (name, why) in expected {
        let found = said(&mesh, name);
        let is_it = matches!(found.as_slice(), [(Standing::Unused, said)] if said.contains(why));
        assert!(is_it, "{name}: {found:?}");
    }
    let narrow = "only proxies of namespace third use it: the proxy's namespace is asked, then default, which is the \
                  service's, then istio-system";
    assert_said(&mesh, "policy", &[(Standing::Accepted, narrow)]);
    assert_said(&mesh, "own", &[]);
}

#[test]
fn a_policy_for_some_workloads_counts_for_these() {
    let selected = "{host: cart.local, workloadSelector: {matchLabels: {app: web}}}";
    let mesh = world(&[("DestinationRule a", selected)]);
    assert_said(&mesh, "a", &[]);
}

#[test]
fn of_policies_of_one_host_the_parts_that_are_there_twice_are_named() {
    let first = "{host: cart.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v1, labels: {version: \
                 v1}}]}";
    let second = "{host: cart.local, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}, subsets: [{name: v1, labels: \
                  {version: v2}}, {name: v2, labels: {version: v2}}]}";
    let mesh = world(&[("DestinationRule a", first), ("DestinationRule b", second)]);
    assert_said(&mesh, "a", &[]);
    let place = "that of DestinationRule/default/a counts in its place for all proxies: its name comes first";
    let lost = [format!("spec.subsets[0] v1: {place}"), format!("spec.trafficPolicy: {place}")];
    assert_said(&mesh, "b", &[(Standing::Conflicted, &lost[0]), (Standing::Conflicted, &lost[1])]);
}

#[test]
fn subsets_without_endpoints_and_policies_that_nobody_comes_to_are_warned_of() {
    let policy = "trafficPolicy: {loadBalancer: {simple: RANDOM}}";
    let rule = format!(
        "{{host: cart.local, subsets: [{{name: v1, labels: {{version: v1}}, {policy}}}, {{name: v2, labels: {{version: \
         v2}}, {policy}}}, {{name: v3, labels: {{version: v3}}}}]}}"
    );
    let routes = "{hosts: [cart.local], http: [{route: [{destination: {host: cart.local, subset: v1}}]}]}";
    let mesh = world(&[("DestinationRule a", &rule), ("VirtualService b", routes)]);
    let expected = [
        "spec.subsets[1].trafficPolicy: it does nothing: no rule routes to subset v2",
        "spec.subsets[2] v3: no endpoint of cart.local has version=v3",
    ];
    assert_said(&mesh, "a", &expected.map(|why| (Standing::Accepted, why)));
    assert_said(&mesh, "b", &[]);
}

#[test]
fn of_a_delegate_both_sides_say_what_does_not_fit() {
    let root = "{hosts: [cart.local], http: [{match: [{uri: {prefix: /a}}], delegate: {name: leaf}}]}";
    let leaf = "{http: [{match: [{uri: {prefix: /b}}], directResponse: {status: 200}}, {directResponse: {status: 201}}]}";
    let mesh = world(&[("VirtualService root", root), ("VirtualService leaf", leaf)]);
    let of_root = "spec.http[0].delegate: http[0] of VirtualService/default/leaf matches nothing that this rule matches: it \
                   does not count";
    assert_said(&mesh, "root", &[(Standing::Conflicted, of_root)]);
    let of_leaf = "spec.http[0]: it matches nothing that http[0] of VirtualService/default/root, which delegates to it, \
                   matches";
    assert_said(&mesh, "leaf", &[(Standing::Conflicted, of_leaf)]);
}

#[test]
fn delegates_of_which_a_document_would_become_too_many_routes_are_named() {
    let matches = |header: &str| {
        let all: Vec<_> = (0..600).map(|i| format!("{{headers: {{{header}: {{exact: x{i}}}}}}}")).collect();
        all.join(", ")
    };
    let root =
        format!("{{hosts: [cart.local], http: [{{match: [{}], delegate: {{name: leaf}}}}]}}", matches("a"));
    let leaf = format!("{{http: [{{match: [{}], directResponse: {{status: 200}}}}]}}", matches("b"));
    let mesh = world(&[
        ("VirtualService root", &root),
        ("VirtualService leaf", &leaf),
        ("VirtualService z", ANSWER),
    ]);
    let of_root = "spec.http[0].delegate: it does not count: with the matches of VirtualService/default/leaf, this rule would \
                   become 360000 routes at each host, and 20000 are left of 20000 for all rules and hosts of this document; \
                   write fewer matches, here or there";
    assert_said(&mesh, "root", &[(Standing::Dangling, of_root)]);
    let of_leaf = "http[0] of VirtualService/default/root delegates to it, and would become 360000 routes at each host: more \
                   than a document may; it does not count there";
    assert_said(&mesh, "leaf", &[(Standing::Dangling, of_leaf)]);
    // No rule of it counts, so the next document does.
    assert_said(&mesh, "z", &[]);
}

#[test]
fn a_subset_that_is_not_there_for_some_proxies_says_for_which() {
    let subset = "{host: cart.local, exportTo: [\".\"], subsets: [{name: v1, labels: {version: v1}}]}";
    let to = |more: &str| {
        format!(
            "{{hosts: [cart.local]{more}, http: [{{route: [{{destination: {{host: cart.local, subset: v1}}}}]}}]}}"
        )
    };
    let mesh = world(&[("DestinationRule shop/a", subset), ("VirtualService shop/b", &to(""))]);
    let said = "spec.http[0].route[0].destination.subset: no DestinationRule of cart.local that counts for proxies of all other \
                namespaces defines v1";
    assert_said(&mesh, "b", &[(Standing::Dangling, said)]);
    // Only those count for whom the document does.
    let mesh =
        world(&[("DestinationRule shop/a", subset), ("VirtualService shop/b", &to(", exportTo: [\".\"]"))]);
    assert_said(&mesh, "b", &[]);
}

#[test]
fn a_policy_for_a_wildcard_counts_for_services_that_have_an_alias_within_it() {
    let mut mesh = world(&[("DestinationRule a", "{host: \"*.corp.example\"}")]);
    let unknown = "spec.host: no service is called *.corp.example in namespace default";
    assert_said(&mesh, "a", &[(Standing::Dangling, unknown)]);
    let mut cart = spec("cart.local", &["80/http"], &[]);
    cart.aliases = vec!["cart.corp.example".parse().unwrap()];
    mesh.catalog = crate::world::mesh(vec![cart]).catalog;
    assert_said(&mesh, "a", &[]);
}

#[test]
fn a_short_form_that_no_client_says_is_told_of() {
    let document = "{hosts: [cart], http: [{directResponse: {status: 200}}]}";
    let mut mesh = world(&[("VirtualService a", document)]);
    mesh.options.domain = Some("cluster.local".into());
    let host = "cart.default.svc.cluster.local";
    let mut cart = spec(host, &["80/http"], &[]);
    mesh.catalog = crate::world::mesh(vec![cart.clone()]).catalog;
    let said = format!(
        "spec.hosts: cart is short for {host}, and no client calls it so: a request with Host: cart is answered 404; clients say \
         {host}, or give the service the alias cart"
    );
    assert_said(&mesh, "a", &[(Standing::Accepted, &said)]);
    cart.aliases = vec!["cart".parse().unwrap()];
    mesh.catalog = crate::world::mesh(vec![cart]).catalog;
    assert_said(&mesh, "a", &[]);
}

#[test]
fn a_destination_at_which_no_request_arrives_is_told() {
    let to = |destination: &str| {
        format!("{{hosts: [cart.local], http: [{{route: [{{destination: {{{destination}}}}}]}}]}}")
    };
    let path = "spec.http[0].route[0].destination";
    let unsaid = "without port, it leads to the port at which a request came in, and two.local has no HTTP port 80: write port, \
                  which may be 8000, 8001";
    for (destination, why) in [
        ("host: two.local", unsaid),
        ("host: db.local", "port 3306 of db.local takes no HTTP requests, as its protocol says"),
        (
            "host: two.local, port: {number: 9000}",
            "port 9000 of two.local takes no HTTP requests, as its protocol says",
        ),
    ] {
        let mesh = world(&[("VirtualService a", &to(destination))]);
        assert_said(&mesh, "a", &[(Standing::Dangling, &format!("{path}: {why}"))]);
    }
    assert_said(&world(&[("VirtualService a", &to("host: two.local, port: {number: 8001}"))]), "a", &[]);
    // Of several ports, one may fit: and a rule may be for that one alone.
    let both = "{hosts: [two.local], http: [{match: [{port: 8000}], mirror: {host: two.local}, route: [{destination: {host: \
                two.local}}]}, {route: [{destination: {host: cart.local}}]}]}";
    assert_said(&world(&[("VirtualService a", both)]), "a", &[]);
    // A delegate's requests come in at the ports of the hosts of those that delegate to it.
    let leaf = "{http: [{route: [{destination: {host: two.local}}]}]}";
    let root = "{hosts: [cart.local], http: [{delegate: {name: leaf}}]}";
    let mesh = world(&[("VirtualService root", root), ("VirtualService leaf", leaf)]);
    assert_said(&mesh, "leaf", &[(Standing::Dangling, &format!("{path}: {unsaid}"))]);
}

#[test]
fn rules_that_no_request_comes_to_are_unused() {
    let answer = "directResponse: {status: 200}";
    let port = "it never matches: requests to its hosts come in at 80";
    let gateways = "it never matches: the document is not bound to default/edge";
    for (matches, field, why) in [("port: 15080", "port", port), ("gateways: [edge]", "gateways", gateways)] {
        let dead = format!("{{hosts: [cart.local], http: [{{match: [{{{matches}}}], {answer}}}]}}");
        let said = format!("spec.http[0].match[0].{field}: {why}");
        assert_said(&world(&[("VirtualService a", &dead)]), "a", &[(Standing::Unused, &said)]);
        let other =
            format!("{{hosts: [cart.local], http: [{{match: [{{{matches}}}], {answer}}}, {{{answer}}}]}}");
        assert_said(&world(&[("VirtualService a", &other)]), "a", &[(Standing::Accepted, &said)]);
    }
}

#[test]
fn policies_for_ports_and_protocols_that_are_not_there_are_told() {
    let ports = "{host: cart.local, trafficPolicy: {portLevelSettings: [{port: {number: 15080}, loadBalancer: {simple: \
                 RANDOM}}, {port: {number: 80}, loadBalancer: {simple: RANDOM}}]}}";
    let of_port =
        "spec.trafficPolicy.portLevelSettings[0].port: it does nothing: cart.local has no port 15080";
    assert_said(&world(&[("DestinationRule a", ports)]), "a", &[(Standing::Accepted, of_port)]);
    let http =
        "connectionPool: {http: {maxRetries: 3}}, loadBalancer: {consistentHash: {httpHeaderName: x-user}}";
    let tcp = format!("{{host: db.local, trafficPolicy: {{{http}}}}}");
    let why = ["loadBalancer.consistentHash.httpHeaderName", "connectionPool.http"]
        .map(|field| format!("spec.trafficPolicy.{field}: it does nothing: db.local has no HTTP port"));
    let expected = [(Standing::Accepted, why[0].as_str()), (Standing::Accepted, why[1].as_str())];
    assert_said(&world(&[("DestinationRule a", &tcp)]), "a", &expected);
    let port = format!(
        "{{host: two.local, trafficPolicy: {{portLevelSettings: [{{port: {{number: 9000}}, {http}}}]}}}}"
    );
    let found = said(&world(&[("DestinationRule a", &port)]), "a");
    assert!(
        found.iter().all(|(_, why)| why.ends_with("port 9000 of two.local is no HTTP port")),
        "{found:?}"
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn places_that_are_not_there_or_cannot_count_are_told() {
    let settings = |host: &str, rest: &str, setting: &str| {
        format!(
            "{{host: {host}, {rest}trafficPolicy: {{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {setting}}}}}}}"
        )
    };
    let shares = settings("cart.local", "", "{distribute: [{from: '*', to: {nowhere: 100}}]}");
    let mesh = world(&[("DestinationRule a", &shares)]);
    let told = "distribute: no endpoint of cart.local is at nowhere: the other places divide its share";
    assert_said(&mesh, "a", &[(Standing::Accepted, told)]);
    let takes_over = settings("cart.local", "", "{failover: [{from: here, to: nowhere}]}");
    let mesh = world(&[("DestinationRule a", &takes_over)]);
    assert_said(&mesh, "a", &[(Standing::Accepted, "failover: no endpoint of cart.local is in nowhere")]);
    let labels = "{failoverPriority: [rack]}";
    let everybodys = settings("named.local", "", labels);
    assert_said(&world(&[("DestinationRule a", &everybodys)]), "a", &[]);
    let of_some = settings("named.local", "workloadSelector: {matchLabels: {app: web}}, ", labels);
    let told = "localityLbSetting: it does nothing: proxies resolve the names of named.local, and the document is only for some \
                proxies; leave out workloadSelector, export it to all, or write it in the service's namespace";
    assert_said(&world(&[("DestinationRule a", &of_some)]), "a", &[(Standing::Accepted, told)]);
}

#[test]
fn rules_for_some_callers_at_hosts_that_no_service_has_are_told() {
    let rule = |host: &str| {
        format!(
            "{{hosts: ['{host}'], http: [{{match: [{{sourceLabels: {{app: web}}}}], directResponse: {{status: 201}}}}, \
             {{directResponse: {{status: 202}}}}]}}"
        )
    };
    let told = |host: &str, which: &str| {
        format!(
            "{host}: {which} rules with sourceLabels or sourceNamespace do not count, only those for all proxies"
        )
    };
    for (host, which) in
        [("a.test", "no service has it:"), ("*.test", "at hosts within it that no service has")]
    {
        let mesh = world(&[("VirtualService a", &rule(host))]);
        assert_said(&mesh, "a", &[(Standing::Accepted, &told(host, which))]);
    }
    assert_said(&world(&[("VirtualService a", &rule("cart.local"))]), "a", &[]);
}

#[test]
fn of_the_document_that_counts_the_rules_for_others_are_told() {
    let rule = "{hosts: [cart.local], http: [\
                {match: [{sourceLabels: {app: web}, uri: {prefix: /a}}], directResponse: {status: 201}}, \
                {match: [{port: 81}, {sourceNamespace: apps}], directResponse: {status: 202}}, \
                {match: [{gateways: [edge]}], directResponse: {status: 203}}, \
                {directResponse: {status: 204}}]}";
    let mesh = world(&[("VirtualService a", rule)]);
    let of = |scope: &Scope| {
        let contest = contest_of_routes(&mesh, scope, "cart.local", 80.try_into().unwrap());
        contest.left_out.into_iter().map(|(place, why)| (place.rule, why)).collect::<Vec<_>>()
    };
    let told = [
        (0, "it is for proxies with app=web".to_owned()),
        (1, "it is for port 81; it is for proxies of namespace apps".to_owned()),
        (2, "it is for the gateways default/edge".to_owned()),
    ];
    assert_eq!(of(&router()), told);
    let labels = Arc::new([("app".to_owned(), "web".to_owned())].into());
    let namespace = Some("apps".to_owned().try_into().unwrap());
    assert_eq!(of(&Scope { labels, namespace, ..router() }), told[2..]);
}

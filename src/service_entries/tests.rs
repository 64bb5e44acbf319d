//! Which services documents become, and what a change of documents or registries changes.

use pilot_registry::{Address, Resolution};
use pilot_registry_testkit::{ServiceBuilder, service, snapshot};

use super::*;
use crate::catalog::CatalogService;
use crate::mesh::Mesh;
use crate::rules::{DocumentChange, StoreRank, Version, read};

/// Documents of a text, the first one the oldest.
fn documents(text: &str) -> Vec<DocumentChange> {
    let all = read(text, "default").into_iter().zip(0..);
    let change = all.map(|(document, age)| {
        let (id, spec) = document.id.zip(document.spec).unwrap_or_else(|| panic!("{:?}", document.findings));
        let version =
            Version { id: id.clone(), spec, place: "a".into(), age: Some(age), source: document.source };
        let store = StoreRank { priority: 0, name: "local".into() };
        DocumentChange { store, id, now: Some(Arc::new(version)) }
    });
    change.collect()
}

fn rules(text: &str) -> Rules {
    Rules::default().with(documents(text)).0
}

fn envelope(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: \
         {spec}\n"
    )
}

/// A ServiceEntry of that host with an HTTP port.
fn entry(name: &str, namespace: &str, host: &str, more: &str) -> String {
    let ports = "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]";
    envelope("ServiceEntry", name, namespace, &format!("{{hosts: [\"{host}\"], {ports}, {more}}}"))
}

fn vm(name: &str, namespace: &str, address: &str, app: &str) -> String {
    envelope("WorkloadEntry", name, namespace, &format!("{{address: {address}, labels: {{app: {app}}}}}"))
}

const CHOOSES: &str = "resolution: STATIC, workloadSelector: {labels: {app: api}}";

fn none() -> [Source; 0] {
    []
}

/// The addresses and ports of a service, in order.
fn endpoints(service: &Service) -> Vec<String> {
    let endpoint = |endpoint: &pilot_registry::Endpoint| {
        let ports: Vec<_> = endpoint.ports.values().map(ToString::to_string).collect();
        format!("{}:{}", endpoint.address, ports.join(","))
    };
    service.endpoints.iter().map(endpoint).collect()
}

fn only(entries: &ServiceEntries) -> Arc<Service> {
    let [source] = entries.sources() else { panic!("{:?}", entries.sources()) };
    let [service] = source.snapshot.services() else { panic!("{:?}", source.snapshot) };
    Arc::clone(service)
}

fn registry(services: &[ServiceBuilder]) -> Source {
    Source::new("east", 0, Arc::new(snapshot(services.iter().map(|it| it.clone().build()))))
}

#[test]
fn each_host_of_a_document_is_a_service_of_its_namespace() {
    let text = envelope(
        "ServiceEntry",
        "api",
        "shop",
        "{hosts: [a.example.com, '*.b.example.com'], exportTo: [.], resolution: STATIC, addresses: [240.0.0.1], \
         subjectAltNames: [c.example.com], ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: \
         10.0.0.1, ports: {http: 8080}, weight: 3, locality: eu/a, labels: {version: v1}}, {address: 10.0.0.2}]}",
    );
    let entries = ServiceEntries::default().next(&rules(&text), &none());
    let services = entries.sources()[0].snapshot.services();
    let hosts: Vec<_> = services.iter().map(|it| it.id().to_string()).collect();
    assert_eq!(hosts, ["*.b.example.com of namespace shop", "a.example.com of namespace shop"]);
    let one = &services[1];
    assert_eq!(endpoints(one), ["10.0.0.1:8080", "10.0.0.2:80"]);
    let first = &one.endpoints[0];
    assert_eq!((first.weight.get(), &*first.locality.region, &*first.locality.zone), (3, "eu", "a"));
    assert_eq!(
        (first.labels["version"].as_str(), one.certificate_names.as_slice()),
        ("v1", &["c.example.com".to_owned()][..])
    );
    assert_eq!(one.virtual_addresses, ["240.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn a_name_is_resolved_and_sockets_are_paths() {
    let of = |more: &str| {
        only(&ServiceEntries::default().next(&rules(&entry("a", "default", "a.example.com", more)), &none()))
    };
    let dns = of("resolution: DNS_ROUND_ROBIN, endpoints: [{address: eu.example.com}]");
    assert_eq!(
        (dns.resolution, endpoints(&dns)),
        (Resolution::DnsRoundRobin, vec!["eu.example.com:8080".to_owned()])
    );
    let socket = of("resolution: STATIC, endpoints: [{address: 'unix:///run/app.sock'}]");
    assert_eq!(socket.endpoints[0].address, Address::Unix("/run/app.sock".into()));
    assert_eq!(endpoints(&of("resolution: DNS")), ["a.example.com:8080"], "its own name, at targetPort");
    assert_eq!(of("resolution: NONE").resolution, Resolution::Passthrough);
}

#[test]
fn a_selector_chooses_documents_and_registries_endpoints_of_its_own_namespace() {
    let text = [
        entry("api", "shop", "api.shop", CHOOSES),
        vm("one", "shop", "10.0.0.1", "api"),
        vm("two", "shop", "10.0.0.2", "other"),
        vm("three", "bank", "10.0.0.3", "api"),
    ]
    .concat();
    let pods = |namespace: &str, address: &str, app: &str| {
        let pods = service("pods").http(9090).endpoint(address, 9090).label("app", app);
        registry(&[pods.namespace(namespace)])
    };
    let rules = rules(&text);
    let mut entries = ServiceEntries::default().next(&rules, &[pods("shop", "10.0.1.1", "api")]);
    assert_eq!(endpoints(&only(&entries)), ["10.0.0.1:8080", "10.0.1.1:8080"]);
    // What is chosen follows what registries say.
    for (source, chosen) in [
        (pods("shop", "10.0.1.2", "api"), Some("10.0.1.2:8080")),
        (pods("shop", "10.0.1.2", "web"), None),
        (pods("bank", "10.0.1.2", "api"), None),
        (pods("shop", "10.0.1.3", "api"), Some("10.0.1.3:8080")),
    ] {
        entries = entries.next(&rules, &[source]);
        let expected: Vec<&str> = ["10.0.0.1:8080"].into_iter().chain(chosen).collect();
        assert_eq!(endpoints(&only(&entries)), expected);
    }
    entries = entries.next(&rules, &none());
    assert_eq!(endpoints(&only(&entries)), ["10.0.0.1:8080"]);
    // And what documents say.
    let (rules, _) = rules.with(documents(&vm("two", "shop", "10.0.0.2", "api")));
    entries = entries.next(&rules, &none());
    assert_eq!(endpoints(&only(&entries)), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    let gone = |id: &DocumentId| DocumentChange { id: id.clone(), now: None, ..documents(&text).remove(0) };
    let one = documents(&text).remove(1).id;
    assert_eq!(
        entries.choosing(&one).map(ToString::to_string).collect::<Vec<_>>(),
        ["ServiceEntry/shop/api"]
    );
    let (rules, _) = rules.with([gone(&one)]);
    entries = entries.next(&rules, &none());
    assert_eq!(endpoints(&only(&entries)), ["10.0.0.2:8080"]);
    let (rules, _) = rules.with([gone(&documents(&text)[0].id)]);
    assert!(entries.next(&rules, &none()).sources().is_empty());
}

#[test]
fn an_endpoint_that_does_not_fit_is_left_out_and_told() {
    let text = [
        entry("api", "shop", "api.shop", CHOOSES),
        vm("one", "shop", "db.example.com", "api"),
        vm("two", "shop", "10.0.0.2", "api"),
    ];
    let entries = ServiceEntries::default().next(&rules(&text.concat()), &none());
    assert_eq!(endpoints(&only(&entries)), ["10.0.0.2:8080"]);
    let told = entries.faults(&documents(&text.concat())[0].id);
    assert!(told[0].starts_with("WorkloadEntry/shop/one: db.example.com is a name"), "{told:?}");
}

#[test]
fn documents_and_registries_of_one_host_are_one_service_and_the_catalog_names_each() {
    let text = [
        entry("old", "shop", "api.shop", "resolution: STATIC, endpoints: [{address: 10.0.0.1}]"),
        entry("new", "bank", "api.shop", "resolution: STATIC, endpoints: [{address: 10.0.0.2}]"),
        entry("own", "bank", "api.shop", "resolution: DNS, exportTo: [.]"),
    ]
    .concat();
    let mesh = Mesh::default().next(&none(), rules(&text));
    let parts = |mesh: &Mesh, number: usize| -> Vec<String> {
        let services: &[Arc<CatalogService>] = mesh.catalog.services();
        services[number].parts().iter().map(|part| part.registry.to_string()).collect()
    };
    assert_eq!(mesh.catalog.services().len(), 2, "that of everybody, and that of bank");
    assert_eq!(parts(&mesh, 0), ["ServiceEntry/shop/old", "ServiceEntry/bank/new"], "the older one first");
    assert_eq!(parts(&mesh, 1), ["ServiceEntry/bank/own"]);
    let service = &mesh.catalog.services()[0];
    assert_eq!((service.endpoints().count(), service.lead().namespace.as_str()), (2, "shop"));
    assert_eq!(service.document().map(|it| &**it), Some("ServiceEntry/shop/old"));
    let told = service.disagreements()[0].to_string();
    assert!(told.contains("ServiceEntry/bank/new says bank"), "{told}");
    let known = registry(&[service_of("api.shop")]);
    let both = mesh.next(std::slice::from_ref(&known), mesh.rules.clone());
    assert_eq!(parts(&both, 0), ["east", "ServiceEntry/shop/old", "ServiceEntry/bank/new"]);
    assert_eq!(both.catalog.services()[0].document(), None);
    // The older one goes: the other one takes its place.
    let gone = DocumentChange { now: None, ..documents(&text).remove(0) };
    let after = mesh.with_rules(mesh.rules.with([gone]).0);
    assert_eq!(parts(&after, 0), ["ServiceEntry/bank/new"]);
    assert_eq!(after.catalog, Mesh::default().next(&none(), after.rules.clone()).catalog);
}

fn service_of(host: &str) -> ServiceBuilder {
    service(host).http(80).endpoint("10.0.0.9", 8080)
}

#[test]
fn what_did_not_change_is_shared() {
    let text = [
        entry("api", "shop", "api.shop", CHOOSES),
        entry("web", "shop", "web.shop", "resolution: DNS"),
        vm("one", "shop", "10.0.0.1", "api"),
    ]
    .concat();
    let rules = rules(&text);
    let east = registry(&[service_of("east.local")]);
    let mesh = Mesh::default().next(std::slice::from_ref(&east), rules.clone());
    assert!(mesh.next(std::slice::from_ref(&east), rules.clone()).catalog.same(&mesh.catalog));
    let other = mesh.next(&[registry(&[service_of("east.local"), service_of("west.local")])], rules.clone());
    let shared = |host: &str, other: &Mesh| {
        Arc::ptr_eq(mesh.catalog.get(host).unwrap(), other.catalog.get(host).unwrap())
    };
    assert!(
        shared("api.shop", &other) && shared("web.shop", &other),
        "a registry's change is none of theirs"
    );
    let moved = mesh.with_rules(rules.with(documents(&vm("one", "shop", "10.0.0.2", "api"))).0);
    assert!(!shared("api.shop", &moved) && shared("web.shop", &moved) && shared("east.local", &moved));
}

/// Whatever comes and goes, in whatever order: what is made step by step is what is made from nothing.
#[test]
fn the_way_does_not_matter() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let documents_of = |rng: &mut fastrand::Rng| {
        let mut text = String::new();
        for (name, namespace) in [("a", "shop"), ("b", "shop"), ("c", "bank")] {
            let host = ["api.shop", "web.shop", "*.shop"][rng.usize(..3)];
            let more = match rng.u8(..4) {
                0 => CHOOSES,
                1 => "resolution: STATIC, endpoints: [{address: 10.0.0.1}], exportTo: [.]",
                2 => "resolution: DNS, endpoints: [{address: a.example.com}]",
                _ => continue,
            };
            text.push_str(&entry(name, namespace, host, more));
        }
        for (name, namespace) in [("vm1", "shop"), ("vm2", "shop"), ("vm3", "bank")] {
            if rng.bool() {
                let address = ["10.0.1.1", "10.0.1.2"][rng.usize(..2)];
                text.push_str(&vm(name, namespace, address, ["api", "web"][rng.usize(..2)]));
            }
        }
        text
    };
    let registries_of = |rng: &mut fastrand::Rng| {
        let services = ["x.local", "y.local", "api.shop"].map(|host| {
            let app = ["api", "web"][rng.usize(..2)];
            let address = ["10.0.2.1", "10.0.2.2", "10.0.1.1"][rng.usize(..3)];
            let built = service(host).http(80).endpoint(address, 80).label("app", app);
            rng.u8(..4).min(2).checked_sub(1).map(|it| built.namespace(["shop", "bank"][usize::from(it)]))
        });
        let services: Vec<ServiceBuilder> = services.into_iter().flatten().collect();
        if rng.u8(..5) == 0 { Vec::new() } else { vec![registry(&services)] }
    };
    let mut last = Mesh::default();
    let mut sources = Vec::new();
    for step in 0..300 {
        let text = documents_of(&mut rng);
        let changes = documents(&text);
        let is_there = |id: &DocumentId| changes.iter().any(|change| change.id == *id);
        let gone: Vec<_> = last.rules.iter().filter(|ruling| !is_there(&ruling.version.id)).collect();
        let gone = gone.into_iter().map(|ruling| DocumentChange {
            store: ruling.store.clone(),
            id: ruling.version.id.clone(),
            now: None,
        });
        let rules = match rng.bool() {
            true => last.rules.with(gone.chain(changes.iter().cloned()).collect::<Vec<_>>()).0,
            false => last.rules.clone(),
        };
        if rng.bool() {
            sources = registries_of(&mut rng);
        }
        let next = last.next(&sources, rules.clone());
        let fresh = Mesh::default().next(&sources, rules);
        assert_eq!(next.catalog, fresh.catalog, "step {step} of seed {seed}");
        last = next;
    }
}

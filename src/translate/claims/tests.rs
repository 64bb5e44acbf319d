use std::collections::BTreeSet;

use pilot_registry::{Service, ServiceSpec, Visibility};
use pilot_registry_testkit::{service, snapshot};
use proptest::prelude::*;

use super::*;
use crate::catalog::{Catalog, Source};

/// Clients of a namespace that reach only some services.
struct Reach<'a> {
    namespace: Option<&'a Namespace>,
    services: BTreeSet<ServiceId>,
}

impl ClaimViewer for Reach<'_> {
    fn namespace(&self) -> Option<&Namespace> {
        self.namespace
    }

    fn reaches(&self, service: &ServiceId) -> bool {
        self.services.contains(service)
    }
}

fn services(specs: impl IntoIterator<Item = Arc<Service>>) -> Vec<Arc<CatalogService>> {
    let source = Source::new("east", 0, Arc::new(snapshot(specs)));
    Catalog::merge(&[source], &Catalog::default()).services().to_vec()
}

fn ledger(services: &[Arc<CatalogService>]) -> Ledger {
    let mut ledger = Ledger::new(None);
    for of_host in services.chunk_by(|one, other| one.host() == other.host()) {
        ledger.replace(&[], of_host, &MeshOptions::default(), &mut Affected::default());
    }
    ledger
}

fn host(owner: &Owner) -> Option<&str> {
    match owner {
        Owner::One(rank) => rank.service.as_ref().map(|id| id.host.as_str()),
        _ => None,
    }
}

#[test]
fn who_does_not_reach_the_winner_finds_the_loser_there() {
    let services = services([service("a").tcp(90).build(), service("b").tcp(90).build()]);
    let ledger = ledger(&services);
    let listener = Claim::Listener("127.0.0.1:90".parse().unwrap());
    let reach = |hosts: &[&str]| {
        let services = hosts.iter().map(|host| ServiceId::of_all(host.parse().unwrap())).collect();
        ledger.owner(&listener, &Reach { namespace: None, services })
    };
    assert_eq!(host(&ledger.owner(&listener, &EVERYBODY)), Some("a"));
    assert_eq!(host(&reach(&["a", "b"])), Some("a"));
    assert_eq!(host(&reach(&["b"])), Some("b"));
    assert_eq!(reach(&[]), Owner::Nobody);
}

fn drawn(host: &'static str) -> impl Strategy<Value = Option<Arc<Service>>> {
    let port = prop::sample::select(vec![80u32, 81]);
    let seen_by = prop::sample::select(vec!["*", "*", ".", "shop"]);
    let namespace = prop::sample::select(vec!["shop", "bank"]);
    let alias = prop::sample::select(vec!["a", "b", "x"]);
    prop::option::of((port, any::<bool>(), seen_by, namespace, alias).prop_map(
        move |(port, is_http, words, namespace, alias)| {
            let one = service(host).alias(alias).namespace(namespace);
            let one = if is_http { one.http(port) } else { one.tcp(port) }.build();
            let mut spec: ServiceSpec = Service::clone(&one).into_spec();
            spec.visibility = Visibility::of_words([words], &spec.namespace).unwrap();
            Arc::new(Service::new(spec).unwrap())
        },
    ))
}

proptest! {
    /// A reach is as if there were no other services than those that it has.
    #[test]
    fn a_reach_sees_what_is_there_without_the_others(
        drawn in [drawn("a"), drawn("b"), drawn("c"), drawn("d")],
        reached in [any::<bool>(); 4],
        in_shop: bool,
    ) {
        let all = services(drawn.into_iter().flatten());
        let mut reached = reached.into_iter();
        let some: Vec<_> = all.iter().filter(|_| reached.next() == Some(true)).cloned().collect();
        let shop = "shop".to_owned().try_into().unwrap();
        let namespace = in_shop.then_some(&shop);
        let reach = Reach { namespace, services: some.iter().map(|it| it.id().clone()).collect() };
        let (ledger, without) = (ledger(&all), ledger(&some));
        for claim in ledger.entries.keys() {
            prop_assert_eq!(ledger.owner(claim, &reach), without.owner(claim, &namespace), "{}", claim);
        }
    }
}

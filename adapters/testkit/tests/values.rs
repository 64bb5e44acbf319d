//! What is drawn at random makes sense, in any order.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pilot_registry::{Address, Content, Health, Port, Protocol, Resolution, Service};
use pilot_registry_testkit::{service, snapshot, strategies};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_service_in_another_order_and_with_repetitions_is_equal((one, other) in strategies::shuffled_specs()) {
        prop_assert_eq!(Service::new(one).unwrap(), Service::new(other).unwrap());
    }

    #[test]
    fn a_snapshot_in_another_order_is_equal((one, other) in strategies::shuffled_snapshots()) {
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_snapshot_that_reuses_another_keeps_its_content(
        old in strategies::snapshot(),
        new in strategies::snapshot(),
    ) {
        let reusing = new.clone().reusing(&old);
        prop_assert_eq!(&reusing, &new);
        prop_assert_eq!(reusing.same(&old), new == old);
    }
}

#[test]
fn the_strategies_draw_every_kind_of_thing() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let draw = |_| strategies::service().new_tree(&mut runner).unwrap().current();
    let drawn: Vec<_> = (0..500).map(draw).collect();
    let some = |what: &dyn Fn(&Service) -> bool| drawn.iter().any(|service| what(service));
    let address = |what: fn(&Address) -> bool| {
        some(&|service| service.endpoints.iter().any(|endpoint| what(&endpoint.address)))
    };
    assert!(address(|address| matches!(address, Address::Ip(ip) if ip.is_ipv4())));
    assert!(address(|address| matches!(address, Address::Ip(ip) if ip.is_ipv6())));
    assert!(address(|address| matches!(address, Address::Unix(_))));
    assert!(address(|address| matches!(address, Address::Dns(_))));
    assert!(some(&|service| service.resolution == Resolution::Passthrough));
    assert!(some(&|service| service.endpoints.iter().any(|endpoint| endpoint.health == Health::Draining)));
    assert!(some(&|service| service.ports.len() == 3));
    for protocol in Protocol::ALL {
        assert!(some(&|service| service.ports.iter().any(|port| port.protocol == protocol)), "{protocol}");
    }
}

#[test]
fn a_builder_describes_the_endpoint_that_was_added_last() {
    let built = service("a.local")
        .http(80)
        .endpoint("10.0.0.1", 8080)
        .weight(2)
        .tcp(90)
        .endpoint("10.0.0.2", 9090)
        .serving(80, 8081)
        .label("version", "v2")
        .build();
    let port = |number: u32| Port::try_from(number).unwrap();
    let [one, two] = &built.endpoints[..] else { panic!("{built:?}") };
    assert_eq!((one.weight.get(), one.ports.clone()), (2, [(port(80), port(8080))].into()));
    assert_eq!(two.ports, [(port(80), port(8081)), (port(90), port(9090))].into());
    assert_eq!(two.labels, [("version".to_owned(), "v2".to_owned())].into());
    assert_eq!(snapshot([built]).endpoint_count(), 2);
}

//! What the two ends of a registry's way promise each other.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use pilot_registry::{
    Endpoint, Feed, Port, Protocol, RegistryError, RegistryHealth, Service, ServicePort, ServiceSpec,
    Snapshot, SnapshotSink, channel,
};

fn service(host: &str, endpoints: &[&str]) -> Arc<Service> {
    let port = Port::try_from(80).unwrap();
    let mut spec = ServiceSpec::new(host.parse().unwrap());
    spec.ports = vec![ServicePort { number: port, name: "http".into(), protocol: Protocol::Http }];
    let endpoint = |ip: &&str| Endpoint::new(ip.parse().unwrap()).serving(port, port);
    spec.endpoints = endpoints.iter().map(endpoint).collect();
    Arc::new(Service::new(spec).unwrap())
}

fn snapshot(services: &[Arc<Service>]) -> Snapshot {
    Snapshot::new(services.iter().cloned()).unwrap()
}

fn ends() -> (SnapshotSink, Feed<Snapshot>) {
    channel()
}

#[tokio::test]
async fn empty_is_not_unknown() {
    let (sink, feed) = ends();
    assert!(feed.published().is_none());
    assert!(matches!(feed.health(), RegistryHealth::Connecting));
    sink.publish(Snapshot::default());
    assert_eq!(*feed.published().unwrap().value, Snapshot::default());
    assert!(matches!(feed.health(), RegistryHealth::Live));
}

#[tokio::test]
async fn equal_content_makes_no_revision_and_unchanged_services_keep_their_allocation() {
    let (sink, feed) = ends();
    sink.publish(snapshot(&[service("a.local", &["10.0.0.1"]), service("c.local", &[])]));
    let first = feed.published().unwrap();
    sink.publish(snapshot(&[service("c.local", &[]), service("a.local", &["10.0.0.1"])]));
    assert_eq!(feed.published().unwrap().revision, 1);
    assert!(Arc::ptr_eq(&feed.published().unwrap().value, &first.value));

    sink.publish(snapshot(&[service("b.local", &[]), service("c.local", &[]), service("a.local", &[])]));
    let second = feed.published().unwrap();
    assert_eq!(second.revision, 2);
    assert!(Arc::ptr_eq(second.value.get("c.local").unwrap(), first.value.get("c.local").unwrap()));
    assert!(!Arc::ptr_eq(second.value.get("a.local").unwrap(), first.value.get("a.local").unwrap()));
}

#[tokio::test]
async fn outage_keeps_last_good() {
    let (sink, feed) = ends();
    sink.publish(snapshot(&[service("a.local", &[])]));
    feed.attempt_failed(RegistryError::unavailable("connecting to 127.0.0.1:1"));
    let RegistryHealth::Degraded(first) = feed.health() else { panic!("{:?}", feed.health()) };
    feed.attempt_failed(RegistryError::unavailable("again"));
    let RegistryHealth::Degraded(second) = feed.health() else { panic!("{:?}", feed.health()) };
    assert_eq!(first.since, second.since);
    assert_eq!(feed.published().unwrap().value.services().len(), 1);
    sink.publish(snapshot(&[service("a.local", &[])]));
    assert!(matches!(feed.health(), RegistryHealth::Live));
}

#[tokio::test]
async fn a_fault_degrades_while_its_guard_lives() {
    let (sink, feed) = ends();
    sink.publish(Snapshot::default());
    let fault = sink.fault(RegistryError::malformed("services.toml:3:1: expected ="));
    let other = sink.fault(RegistryError::malformed("other.toml:1:1: expected ="));
    drop(fault);
    assert!(matches!(feed.health(), RegistryHealth::Degraded(_)));
    drop(other);
    assert!(matches!(feed.health(), RegistryHealth::Live));
}

#[tokio::test]
async fn skipped_entries_belong_to_one_value() {
    let (sink, feed) = ends();
    sink.skipped("b.local", "unknown protocol");
    assert!(feed.with_state(|state| state.skipped.is_empty()));
    sink.publish(Snapshot::default());
    assert_eq!(feed.with_state(|state| state.skipped.len()), 1);
    sink.publish(Snapshot::default());
    assert!(feed.with_state(|state| state.skipped.is_empty()));
}

#[tokio::test]
async fn notes_belong_to_one_value_and_are_no_skipped_entries() {
    let (sink, feed) = ends();
    sink.note("a.local", "its port was guessed");
    assert!(feed.with_state(|state| state.notes.is_empty()));
    sink.publish(Snapshot::default());
    let seen = feed.with_state(|state| (state.notes.get("a.local").cloned(), state.skipped.len()));
    assert_eq!(seen, (Some("its port was guessed".to_owned()), 0));
    sink.publish(Snapshot::default());
    assert!(feed.with_state(|state| state.notes.is_empty()));
}

#[test]
fn two_services_with_one_host_make_no_snapshot() {
    let error = Snapshot::new([service("a.local", &[]), service("a.local", &["10.0.0.1"])]).unwrap_err();
    assert_eq!(error.to_string(), "service a.local is there twice");
}

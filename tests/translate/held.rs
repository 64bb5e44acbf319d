//! Where endpoints stand that the guard holds back from disappearing, and those that are unhealthy.

use std::sync::Arc;
use std::time::Duration;

use pilot::catalog::{Guard, GuardSettings, Source};
use pilot_envoy_api::envoy::config::core::v3::HealthStatus;
use pilot_envoy_api::envoy::config::core::v3::address::Address;
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot_envoy_api::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use pilot_registry::Health;
use tokio::time::Instant;

use crate::rules::assignment;
use crate::world::{empty, mesh_after, source, spec};

/// The addresses of each priority.
fn priorities(assignment: &ClusterLoadAssignment) -> Vec<Vec<String>> {
    let mut priorities: Vec<Vec<String>> = Vec::new();
    for locality in &assignment.endpoints {
        let at = locality.priority as usize;
        priorities.resize(priorities.len().max(at + 1), Vec::new());
        for endpoint in &locality.lb_endpoints {
            let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier else {
                panic!("no endpoint")
            };
            let address = host.address.as_ref().and_then(|address| address.address.as_ref());
            let Some(Address::SocketAddress(socket)) = address else { panic!("no socket address") };
            priorities[at].push(socket.address.clone());
        }
    }
    priorities
}

fn endpoints(numbers: std::ops::Range<u8>) -> Vec<String> {
    numbers.map(|number| format!("10.0.0.{number}")).collect()
}

/// A registry that had endpoints 10 to 29 of a service and now says these.
fn east(numbers: std::ops::Range<u8>) -> Source {
    let said = |numbers| {
        let endpoints: Vec<String> =
            endpoints(numbers).iter().map(|address| format!("{address}:80")).collect();
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        source("east", 0, vec![spec("a.local", &["80/http"], &endpoints)]).snapshot
    };
    let (mut guard, now) = (Guard::new(Some(GuardSettings::default())), Instant::now());
    guard.publish(now, &said(10..30), 1);
    guard.publish(now + Duration::from_secs(60), &said(numbers), 1);
    let held = guard.held().map(Arc::new);
    Source { held, ..Source::new("east", 0, Arc::clone(guard.counts())) }
}

#[test]
fn what_is_held_comes_after_all_that_its_registry_says() {
    let seen =
        |sources: &[Source]| priorities(&assignment(&mesh_after(&empty(), sources), "outbound|80||a.local"));
    assert_eq!(seen(&[east(10..12)]), [endpoints(10..12), endpoints(12..30)]);
    assert_eq!(seen(&[east(10..10)]), [endpoints(10..30)], "nothing else is left");
    assert_eq!(seen(&[east(10..25)]), [endpoints(10..25)], "nothing is held");
    let west = source("west", 1, vec![spec("a.local", &["80/http"], &["10.0.0.29:80", "10.0.0.30:80"])]);
    let expected = [endpoints(10..12), endpoints(12..29), endpoints(29..31)];
    assert_eq!(seen(&[east(10..12), west]), expected, "the other registry says that one is there");
}

/// What a router is told of the health of a service's endpoints, in two registries.
fn health(serves_unhealthy: bool, east: &[Health], west: &[Health]) -> Vec<HealthStatus> {
    let of = |name: &str, priority: u32, healths: &[Health]| {
        let addresses: Vec<String> =
            (0..healths.len()).map(|at| format!("10.0.{priority}.{at}:80")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut spec = spec("a.local", &["80/http"], &addresses);
        spec.endpoints.iter_mut().zip(healths).for_each(|(endpoint, health)| endpoint.health = *health);
        source(name, priority, vec![spec])
    };
    let mut mesh = mesh_after(&empty(), &[of("east", 0, east), of("west", 1, west)]);
    mesh.options.serves_unhealthy = serves_unhealthy;
    let assignment = assignment(&mesh, "outbound|80||a.local");
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    endpoints.map(|endpoint| endpoint.health_status()).collect()
}

#[test]
fn unhealthy_endpoints_are_tried_where_nothing_else_is_left_and_only_if_that_is_wanted() {
    use Health::{Draining, Healthy, Unhealthy};
    use HealthStatus as Told;
    let none_well = [Unhealthy, Draining];
    assert_eq!(health(false, &none_well, &[]), [Told::Unhealthy, Told::Draining]);
    assert_eq!(health(true, &none_well, &[]), [Told::Unknown, Told::Draining], "draining was wanted");
    let one_well = [Told::Unhealthy, Told::Draining, Told::Healthy];
    assert_eq!(health(true, &none_well, &[Healthy]), one_well, "another registry has one");
}

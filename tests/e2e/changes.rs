//! Services and endpoints change under load, and no request is lost.

use std::fs;

use pilot_registry_testkit::effort;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::envoy;

/// The only endpoint of a service moves, again and again.
async fn endpoints_come_and_go(kinds: &[Kind]) {
    let Some(envoy) = envoy() else { return };
    let mut backends = Vec::new();
    for name in ["a", "b", "c", "d"] {
        backends.push((name, Backend::http(name).await));
    }
    let services = |backend: &Backend| service("moving.local", 9080, "http", &[backend.place()]);
    for kind in kinds {
        let pilot = Pilot::start(&services(&backends[0].1)).await;
        let envoy = Envoy::start(&envoy, &pilot, *kind).await;
        envoy.answers("moving.local", "a").await;
        let load = Load::start(envoy.http_address(), &["moving.local"], 4, &[]);
        for round in 1..=40 {
            let (name, backend) = &backends[round % backends.len()];
            pilot.write_services(&services(backend));
            envoy.answers("moving.local", name).await;
            load.more(20).await;
        }
        load.finish().await.assert_no_failure();
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_endpoints_come_and_go_without_a_failed_request_delta() {
    endpoints_come_and_go(&[Kind::Delta]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_endpoints_come_and_go_without_a_failed_request_sotw() {
    endpoints_come_and_go(&[Kind::Sotw]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_endpoints_come_and_go_without_a_failed_request_per_type() {
    endpoints_come_and_go(&[Kind::PerTypeDelta, Kind::PerTypeSotw]).await;
}

/// A service comes and goes; it is answered, or unknown, but its cluster never goes before its route.
async fn services_come_and_go(kind: Kind) {
    let Some(envoy) = envoy() else { return };
    let (stays, comes) = (Backend::http("stays").await, Backend::http("comes").await);
    let without = service("stays.local", 9080, "http", &[stays.place()]);
    let with = without.clone()
        + &service("comes.local", 9080, "http", &[comes.place()])
        + &service("alone.local", 9081, "http", &[comes.place()]);
    let pilot = Pilot::start(&without).await;
    let envoy = Envoy::start(&envoy, &pilot, kind).await;
    envoy.answers("stays.local", "stays").await;
    let stable = [
        Load::start(envoy.http_address(), &["stays.local"], 2, &[]),
        Load::start(envoy.port(9080), &["stays.local"], 2, &[]),
    ];
    let coming = Load::start(envoy.http_address(), &["comes.local", "alone.local:9081"], 2, &[404]);
    for _ in 0..effort(5, 20) {
        pilot.write_services(&with);
        envoy.answers("comes.local", "comes").await;
        envoy.answers("alone.local:9081", "comes").await;
        coming.more(20).await;
        pilot.write_services(&without);
        envoy.knows_nothing_of("comes.local").await;
        envoy.knows_nothing_of("alone.local:9081").await;
        stable[0].more(20).await;
    }
    for load in stable {
        load.finish().await.assert_no_failure();
    }
    let outcome = coming.finish().await;
    outcome.assert_no_failure();
    let statuses: Vec<u16> = outcome.answers.keys().map(|(status, _)| *status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&404), "{statuses:?}");
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_services_come_and_go_without_a_failed_request_delta() {
    services_come_and_go(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_services_come_and_go_without_a_failed_request_sotw() {
    services_come_and_go(Kind::Sotw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l11_rewrites_of_the_file_lose_no_request() {
    let Some(envoy) = envoy() else { return };
    let backends = [Backend::http("a").await, Backend::http("b").await];
    let services = |round: usize| {
        let mut services = service("stays.local", 9080, "http", &[backends[round % 2].place()]);
        for other in 0..round % 7 {
            services += &service(&format!("other-{other}.local"), 9080, "http", &[backends[0].place()]);
        }
        services
    };
    let pilot = Pilot::start(&services(0)).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("stays.local", "a").await;
    let stays = Load::start(envoy.http_address(), &["stays.local"], 3, &[]);
    let comes = Load::start(envoy.http_address(), &["other-0.local", "other-3.local"], 1, &[404]);
    for round in 1..=effort(40, 200) {
        // Careful editors rename, others write in place.
        if round % 2 == 0 {
            pilot.write_services(&services(round));
        } else {
            fs::write(pilot.services(), services(round)).unwrap();
        }
        // Some changes come in a burst, others have all the time that they need.
        if round % 4 == 0 {
            envoy.answers("stays.local", "a").await;
        } else {
            stays.more(20).await;
        }
    }
    pilot.write_services(&services(203));
    envoy.answers("stays.local", "b").await;
    envoy.knows_nothing_of("other-0.local").await;
    stays.finish().await.assert_no_failure();
    comes.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

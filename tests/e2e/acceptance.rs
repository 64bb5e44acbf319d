//! Every kind of client, of the newest and the oldest Envoy, accepts everything that pilot sends.

use std::path::Path;

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools;

/// A service of each sort that a services file can have; of all but one nobody answers.
fn every_sort(places: &[Place]) -> String {
    let nobody = &[Place::at("127.0.0.1:9"), Place::at("[::1]:9").weight(2).health("unhealthy")];
    let mut services = service("reviews.local", 9080, "http", places);
    for (port, protocol) in [
        (9080, "http"),
        (9081, "http2"),
        (9082, "grpc"),
        (9083, "tls"),
        (9084, "tcp"),
        (9085, "mongo"),
        (9086, "redis"),
        (9087, "udp"),
    ] {
        services += &service(&format!("{protocol}.local"), port, protocol, nobody);
    }
    services += &service("nobody.local", 9080, "http", &[]);
    services + include_str!("acceptance.toml")
}

async fn everything_is_accepted(binary: &Path, kind: Kind) {
    let backends = [Backend::http("one").await, Backend::http("two").await];
    let pilot = Pilot::start(&every_sort(&[backends[0].place()])).await;
    let registries = pilot.debug("/debug/registries").await.unwrap();
    assert_eq!(registries.pointer("/registries/0/skipped"), Some(&json!({})), "{registries}");
    let envoy = Envoy::start(binary, &pilot, kind).await;
    envoy.answers("reviews.local", "one").await;
    pilot.write_services(&every_sort(&[backends[1].place()]));
    envoy.answers("reviews.local", "two").await;
    // Takes away nearly all and gives it back.
    pilot.write_services(&service("reviews.local", 9080, "http", &[backends[0].place()]));
    envoy.answers("reviews.local", "one").await;
    pilot.write_services(&every_sort(&[backends[1].place()]));
    envoy.answers("reviews.local", "two").await;
    // What the repository shows its readers.
    pilot.write_services(include_str!("../../examples/services.toml"));
    envoy.has_endpoints("outbound|9080||ratings.local", 1).await;
    envoy.knows_nothing_of("many.local").await;
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_envoy_accepts_everything() {
    let Some(envoy) = tools::envoy() else { return };
    for kind in Kind::ALL {
        everything_is_accepted(&envoy, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oldest_envoy_accepts_everything() {
    let Some(envoy) = tools::oldest_envoy() else { return };
    for kind in Kind::ALL {
        everything_is_accepted(&envoy, kind).await;
    }
}

/// More than one message of the usual size can hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_services_with_twenty_endpoints_are_accepted() {
    let Some(envoy) = tools::envoy() else { return };
    let backend = Backend::http("last").await;
    let many: Vec<_> = (0..20).map(|host| Place::at(&format!("10.0.0.{host}:80"))).collect();
    let mut services = service("last.local", 9080, "http", &[backend.place()]);
    for number in 0..1000 {
        services += &service(&format!("service-{number}.local"), 9080, "http", &many);
    }
    for kind in [Kind::Delta, Kind::Sotw] {
        let pilot = Pilot::start(&services).await;
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        envoy.answers("last.local", "last").await;
        envoy.has_endpoints("outbound|9080||service-999.local", 20).await;
        envoy.assert_no_rejections().await;
    }
}

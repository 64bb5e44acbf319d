//! Several registries at once.

use std::fs;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

const BACKUP: &str =
    "[registry.backup]\npriority = 1\n[registry.backup.file]\npath = \"backup.toml\"\n[registry.local.file]";

/// A pilot with a second registry, which is not preferred.
fn with_backup(services: &str, backup: &str) -> Pilot {
    let pilot = Pilot::prepare(services);
    pilot.configure("[registry.local.file]", BACKUP);
    fs::write(pilot.folder().join("backup.toml"), backup).unwrap();
    pilot
}

#[tokio::test(flavor = "multi_thread")]
async fn second_choice_takes_over_when_the_first_is_unhealthy_or_gone() {
    let Some(envoy) = envoy() else { return };
    let (first, second) = (Backend::http("first").await, Backend::http("second").await);
    let places = |health: &str| service("reviews.local", 9080, "http", &[first.place().health(health)]);
    let mut pilot =
        with_backup(&places("healthy"), &service("reviews.local", 9080, "http", &[second.place()]));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("reviews.local", "first").await;
    let load = Load::start(envoy.http_address(), &["reviews.local"], 2, &[]);
    load.more(200).await;
    assert_eq!(second.served(), 0, "the second choice was asked although the first is healthy");
    for services in [&places("unhealthy"), "service = []"] {
        pilot.write_services(services);
        envoy.answers("reviews.local", "second").await;
        pilot.write_services(&places("healthy"));
        envoy.answers("reviews.local", "first").await;
    }
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// One registry that is not known yet is not one that is empty: what it has must not be taken away.
#[tokio::test(flavor = "multi_thread")]
async fn l12_nothing_is_served_before_every_registry_has_spoken() {
    let Some(envoy) = envoy() else { return };
    let (first, second) = (Backend::http("first").await, Backend::http("second").await);
    let services = service("first.local", 9080, "http", &[first.place()]);
    let backup = service("second.local", 9080, "http", &[second.place()]);
    let mut pilot = with_backup(&services, &backup);
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("second.local", "second").await;
    let load = Load::start(envoy.http_address(), &["first.local", "second.local"], 2, &[]);

    pilot.kill();
    fs::write(pilot.folder().join("backup.toml"), "[[service").unwrap();
    pilot.write_services(&(services + &service("new.local", 9080, "http", &[first.place()])));
    pilot.spawn();
    envoy.is_connected(true).await;
    load.more(2000).await;
    envoy.knows_nothing_of("new.local").await;
    let ready = until("pilot says what it waits for", async || {
        let ready = crate::support::http::get(pilot.admin_address(), "localhost", "/readyz").await?;
        holds(ready.status == 503, ready.status).map(|()| ready.body)
    });
    assert!(ready.await.contains("backup"), "no word of the registry that is waited for");
    fs::write(pilot.folder().join("backup.toml"), backup).unwrap();
    envoy.answers("new.local", "first").await;
    load.finish().await.assert_no_failure();
}

//! Envoys without ADS, which open a stream for each cluster and each route configuration.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, throughout, until};

/// Of streams that have not said who they are, few may be open. An Envoy opens hundreds at once, and is served.
#[tokio::test(flavor = "multi_thread")]
async fn p19a_an_envoy_with_a_stream_for_each_of_300_clusters_is_served() {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let services = (0..300).map(|n| service(&format!("s{n}.local"), 9080, "http", &[backend.place()]));
    for kind in [Kind::PerTypeSotw, Kind::PerTypeDelta] {
        let pilot = Pilot::start(&services.clone().collect::<String>()).await;
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        envoy.answers("s299.local", "a").await;
        until("no cluster waits for its endpoints", async || {
            let (active, warming) = ("cluster_manager.active_clusters", "cluster_manager.warming_clusters");
            let (active, warming) = (envoy.stat(active).await?, envoy.stat(warming).await?);
            holds((active, warming) == (301, 0), format!("{active} clusters, {warming} of them wait"))
        })
        .await;
        let metrics = http::body(pilot.admin_address(), "localhost", "/metrics").await.unwrap();
        let refused = metrics.lines().filter(|line| line.starts_with("pilot_xds_refused_total{"));
        let refused: Vec<_> = refused.filter(|line| !line.ends_with(" 0")).collect();
        assert!(refused.is_empty(), "{refused:#?}");
        envoy.assert_no_rejections().await;
    }
}

/// Envoy's own limit is 15 s: then it would serve what it has, which is a cluster without endpoints, or a listener
/// without routes. `streams`: how many of its streams are let in at first.
async fn waits_for_the_others(streams: usize) {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let mut pilot = Pilot::prepare(&service("a.local", 9080, "http", &[backend.place()]));
    pilot.configure("[xds]", &format!("[xds]\nmax_streams = {streams}"));
    pilot.spawn();
    pilot.ready().await;
    let mut envoy = Envoy::spawn(&envoy, &pilot, Kind::PerTypeDelta);
    let admin = envoy.admin_address();
    until("a stream is refused", async || {
        let metrics = http::body(pilot.admin_address(), "localhost", "/metrics").await?;
        let none = r#"pilot_xds_refused_total{reason="streams"} 0"#;
        holds(!metrics.contains(none), metrics)
    })
    .await;
    throughout("the Envoy waits", Duration::from_secs(17), async || {
        let stats = envoy.stats().await;
        let given_up = stats.iter().find(|(name, count)| name.ends_with("init_fetch_timeout") && **count > 0);
        holds(given_up.is_none(), format!("{given_up:?}"))?;
        let ready = http::get(admin, "envoy", "/ready").await?;
        holds(ready.status == 503, format!("/ready answers {}", ready.status))
    })
    .await;
    pilot.kill();
    pilot.configure(&format!("max_streams = {streams}"), "max_streams = 20");
    pilot.spawn();
    pilot.ready().await;
    envoy.configured().await;
    envoy.answers("a.local", "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p14a_an_envoy_that_is_not_told_endpoints_waits_instead_of_serving_a_cluster_without_any() {
    waits_for_the_others(1).await; // clusters
}

#[tokio::test(flavor = "multi_thread")]
async fn p14a_an_envoy_that_is_not_told_routes_waits_instead_of_serving_a_listener_without_any() {
    waits_for_the_others(3).await; // clusters, endpoints, listeners
}

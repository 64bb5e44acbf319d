//! pilot comes and goes, and what the proxies have stays.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, throughout, until};

/// The counters of accepted updates, of which none may move when nothing was sent.
async fn updates(envoy: &Envoy, of: &[&str]) -> Vec<(String, u64)> {
    let stats = envoy.stats().await;
    let wanted = |name: &str| name.ends_with(".update_success") && of.iter().any(|part| name.contains(part));
    stats.into_iter().filter(|(name, _)| wanted(name)).collect()
}

async fn survives_a_kill(kind: Kind) {
    let Some(envoy) = envoy() else { return };
    let backends = [Backend::http("stays").await, Backend::http("a").await, Backend::http("b").await];
    let services = |moving: &Backend| {
        service("stays.local", 9080, "http", &[backends[0].place()])
            + &service("moving.local", 9080, "http", &[moving.place()])
    };
    let mut pilot = Pilot::start(&services(&backends[1])).await;
    let envoy = Envoy::start(&envoy, &pilot, kind).await;
    envoy.answers("moving.local", "a").await;
    let load = Load::start(envoy.http_address(), &["stays.local"], 4, &[]);
    let kept = ["cluster_manager.cds", "listener_manager.lds", ".rds.", "stays.local"];
    let before = updates(&envoy, &kept).await;
    assert!(before.len() >= kept.len(), "{before:?}");

    pilot.kill();
    envoy.is_connected(false).await;
    load.more(500).await;
    pilot.spawn();
    pilot.ready().await;
    envoy.is_connected(true).await;
    load.more(500).await;
    // Whatever was sent on the new stream arrives before this change does.
    pilot.write_services(&services(&backends[2]));
    envoy.answers("moving.local", "b").await;

    if kind == Kind::Delta {
        assert_eq!(updates(&envoy, &kept).await, before, "something was sent that the client had");
        until("pilot says that the client has everything", async || {
            let report = pilot.debug("/debug/proxies").await?;
            let types = report.pointer("/proxies/0/streams/0/types").and_then(Value::as_object);
            let states = types.into_iter().flatten().map(|(_, it)| it["state"].as_str().unwrap_or_default());
            match states.filter(|state| *state == "acked").count() {
                // Virtual hosts are a type of their own.
                5 => Ok(()),
                _ => Err(report.to_string()),
            }
        })
        .await;
    }
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_killed_pilot_comes_back_and_resends_nothing_to_a_delta_client() {
    survives_a_kill(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_killed_pilot_comes_back_without_a_failed_request_sotw() {
    survives_a_kill(Kind::Sotw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l17_changes_of_an_outage_are_made_up_for_after_it() {
    let Some(envoy) = envoy() else { return };
    let (a, b) = (Backend::http("a").await, Backend::http("b").await);
    let one = |host: &str, backend: &Backend| service(host, 9080, "http", &[backend.place()]);
    let before = one("stays.local", &a) + &one("moves.local", &a) + &one("goes.local", &a);
    let after = one("stays.local", &a) + &one("moves.local", &b) + &one("comes.local", &b);
    for kind in [Kind::Delta, Kind::Sotw] {
        let mut pilot = Pilot::start(&before).await;
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        envoy.answers("goes.local", "a").await;
        let load = Load::start(envoy.http_address(), &["stays.local", "moves.local"], 2, &[]);
        // A client of the state of the world does not say what it holds: nobody can know that its routes
        // still name a cluster which is not in the first response of the new stream.
        let answers: &[u16] = if kind == Kind::Sotw { &[404, 503] } else { &[404] };
        let going = Load::start(envoy.http_address(), &["goes.local"], 1, answers);
        pilot.kill();
        envoy.is_connected(false).await;
        pilot.write_services(&after);
        pilot.spawn();
        envoy.answers("moves.local", "b").await;
        envoy.answers("comes.local", "b").await;
        envoy.knows_nothing_of("goes.local").await;
        until("the cluster is gone", async || {
            let stats = envoy.stats().await;
            let left = stats.keys().find(|name| name.starts_with("cluster.outbound|9080||goes.local"));
            left.map_or(Ok(()), |name| Err(name.clone()))
        })
        .await;
        load.finish().await.assert_no_failure();
        going.finish().await.assert_no_failure();
        envoy.assert_no_rejections().await;
    }
}

/// An Envoy that lost only its stream opens the next one on the same connection: replicas would never even out.
#[tokio::test(flavor = "multi_thread")]
async fn p22a_an_envoy_whose_connection_is_old_comes_back_on_another_one_and_is_resent_nothing() {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let mut pilot = Pilot::prepare(&service("stays.local", 9080, "http", &[backend.place()]));
    pilot.configure("[xds]", "[xds]\nmax_connection_age = \"2s\"");
    pilot.spawn();
    pilot.ready().await;
    for kind in [Kind::Delta, Kind::PerTypeDelta] {
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        envoy.answers("stays.local", "a").await;
        let kept = ["cluster_manager.cds", "listener_manager.lds", ".rds.", "stays.local"];
        let before = updates(&envoy, &kept).await;
        let load = Load::start(envoy.http_address(), &["stays.local"], 2, &[]);
        let mut ports = BTreeSet::new();
        until("the Envoy came from three ports", async || {
            let report = pilot.debug("/debug/proxies").await?;
            let streams = report.pointer("/proxies/0/streams").and_then(Value::as_array);
            ports
                .extend(streams.into_iter().flatten().filter_map(|it| Some(it["peer"].as_str()?.to_owned())));
            holds(ports.len() >= 3, format!("{ports:?}"))
        })
        .await;
        if kind == Kind::Delta {
            assert_eq!(updates(&envoy, &kept).await, before);
        }
        load.finish().await.assert_no_failure();
        envoy.assert_no_rejections().await;
    }
}

/// What may be where the services file should be when pilot starts.
async fn keeps_what_it_has(damage: impl Fn(&Pilot)) {
    let Some(envoy) = envoy() else { return };
    let (a, b) = (Backend::http("a").await, Backend::http("b").await);
    let mut pilot = Pilot::start(&service("stays.local", 9080, "http", &[a.place()])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("stays.local", "a").await;
    let load = Load::start(envoy.http_address(), &["stays.local"], 2, &[]);

    pilot.kill();
    envoy.is_connected(false).await;
    damage(&pilot);
    pilot.spawn();
    let admin = pilot.admin_address();
    until("pilot is alive", async || http::body(admin, "localhost", "/livez").await).await;
    throughout("the route stays", Duration::from_secs(3), async || {
        pilot.process().assert_alive();
        http::body(envoy.http_address(), "stays.local", "/").await.map(drop)
    })
    .await;

    pilot.write_services(&service("stays.local", 9080, "http", &[b.place()]));
    envoy.answers("stays.local", "b").await;
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_pilot_that_starts_with_a_malformed_file_empties_no_proxy() {
    keeps_what_it_has(|pilot| pilot.write_services("[[service]\nhost =")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l18_pilot_that_starts_without_its_file_empties_no_proxy() {
    keeps_what_it_has(|pilot| fs::remove_file(pilot.services()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l18_pilot_that_starts_with_a_file_of_no_bytes_empties_no_proxy() {
    keeps_what_it_has(|pilot| pilot.write_services("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l18_services_that_say_they_are_none_are_taken_away() {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let services = service("goes.local", 9080, "http", &[backend.place()]);
    for kind in Kind::ALL {
        let pilot = Pilot::start(&services).await;
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        envoy.answers("goes.local", "a").await;
        pilot.write_services("service = []");
        envoy.knows_nothing_of("goes.local").await;
        until("the cluster is gone", async || {
            let clusters = envoy.stat("cluster_manager.active_clusters").await?;
            holds(clusters == 1, format!("{clusters} clusters, of which one is pilot's"))
        })
        .await;
        pilot.write_services(&services);
        envoy.answers("goes.local", "a").await;
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_nothing_is_served_before_the_first_complete_list() {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let mut pilot = Pilot::prepare("[[service]\nhost =");
    pilot.spawn();
    let admin = pilot.admin_address();
    until("pilot is alive", async || http::body(admin, "localhost", "/livez").await).await;
    let mut envoy = Envoy::spawn(&envoy, &pilot, Kind::Delta);
    let envoy_admin = envoy.admin_address();
    until("envoy runs", async || http::body(envoy_admin, "envoy", "/stats").await).await;
    throughout("nothing is served", Duration::from_secs(3), async || {
        let ready = http::get(admin, "localhost", "/readyz").await?;
        holds(ready.status == 503, format!("/readyz answers {}", ready.status))?;
        let updates = updates(&envoy, &["cluster_manager.cds", "listener_manager.lds"]).await;
        holds(updates.iter().all(|(_, count)| *count == 0), format!("{updates:?}"))
    })
    .await;
    pilot.write_services(&service("stays.local", 9080, "http", &[backend.place()]));
    pilot.ready().await;
    envoy.configured().await;
    envoy.answers("stays.local", "a").await;
}

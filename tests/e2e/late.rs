//! Envoys that answer late, and clusters that change: nothing waits for what it does not need.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::resources::{Origin, PerType, Resource, Rope, TypeSet};
use pilot_envoy_api::envoy::config::cluster::v3::Cluster as ClusterMessage;
use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;
use pilot_envoy_api::google::protobuf::{Any, Duration as ProtoDuration};
use prost::Message;
use tokio::time::{MissedTickBehavior, interval};

use crate::e2e::handmade::{Server, cluster, endpoints, listener, name, virtual_host};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::slow;
use crate::support::tools::{envoy, oldest_envoy};
use crate::support::wait::{holds, until, within};

/// How late an answer of the Envoy arrives.
const LATE: Duration = Duration::from_millis(100);

/// A service more comes each time that passes.
const EACH: Duration = Duration::from_millis(100);

const BURST: usize = 60;

/// How many services may come until one is reached. It takes about seven answers of the Envoy: to the clusters and
/// endpoints and routes before, a request for its endpoints, and the answer to these. Less than pilot's patience of 5 s.
const BEHIND: usize = 35;

async fn a_burst_is_followed(binary: Option<PathBuf>, kind: Kind) {
    let Some(binary) = binary else { return };
    let backend = Backend::http("a").await;
    let text = |count: usize| -> String {
        (0..count).map(|n| service(&format!("s{n}.local"), 9080, "http", &[backend.place()])).collect()
    };
    let pilot = Pilot::start(&text(1)).await;
    let slow = slow::before(pilot.xds_address(), LATE).await;
    let at = slow.address().to_string();
    let envoy = Envoy::start_with(&binary, &pilot, kind, &["--xds-address", &at]).await;
    envoy.answers("s0.local", "a").await;
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in 1..=BURST {
        ticks.tick().await;
        if let Some(old) = count.checked_sub(BEHIND) {
            let answer = http::get(envoy.http_address(), &format!("s{old}.local"), "/").await.unwrap();
            assert_eq!(answer.body, "a", "service {old} when {count} have come: {}", answer.status);
        }
        pilot.write_services(&text(count + 1));
    }
    envoy.answers(&format!("s{BURST}.local"), "a").await;
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p15a_services_that_come_fast_do_not_hold_each_other_up_while_the_envoy_answers_late_delta() {
    a_burst_is_followed(envoy(), Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p15a_services_that_come_fast_do_not_hold_each_other_up_while_the_envoy_answers_late_sotw() {
    a_burst_is_followed(envoy(), Kind::Sotw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p15a_services_that_come_fast_do_not_hold_each_other_up_while_the_oldest_envoy_answers_late() {
    a_burst_is_followed(oldest_envoy(), Kind::Delta).await;
}

/// Two services at that backend; the timeout of the first one's cluster is so long.
fn two(server: &Server, backend: &Backend, seconds: i64, second: bool) -> PerType<TypeSet> {
    let at = (backend.socket().ip().to_string(), u32::from(backend.socket().port()));
    let mut sets = PerType::<TypeSet>::default();
    let mut rope = Rope::new(&RouteConfiguration { name: "routes".to_owned(), ..Default::default() });
    for number in 0..if second { 2 } else { 1 } {
        let name = name(number);
        let any = Any::decode(cluster(&name, true).any_bytes()).unwrap();
        let timeout = Some(ProtoDuration { seconds, nanos: 0 });
        let message =
            ClusterMessage { connect_timeout: timeout, ..ClusterMessage::decode(any.value).unwrap() };
        let needs = vec![(Endpoint, name.as_str().into())];
        let changed = Resource::new(name.as_str().into(), &message, needs, Origin::Shared);
        sets[Cluster].insert(Arc::new(changed));
        sets[Endpoint].insert(Arc::new(endpoints(&name, (&at.0, at.1))));
        rope.insert(virtual_host(&name, false));
    }
    let socket = Some((server.pilot.address(), 15080).into());
    sets[Listener].insert(Arc::new(listener("listener", socket, "routes")));
    sets[Route].insert(Arc::new(Resource::from_rope("routes".into(), rope, Origin::Shared)));
    sets
}

/// Envoy warms a cluster that changed until its endpoints come, for 15 s, and answers nothing about clusters meanwhile.
/// With delta it does not ask for them again.
async fn a_changed_cluster_is_ready_at_once(binary: Option<PathBuf>, kind: Kind) {
    let Some(binary) = binary else { return };
    let backend = Backend::http("a").await;
    let server = Server::start().await;
    server.publish(two(&server, &backend, 1, false), 1);
    let envoy = Envoy::spawn(&binary, &server.pilot, kind);
    envoy.answers(&name(0), "a").await;
    let changed = async {
        server.publish(two(&server, &backend, 2, false), 2);
        until("the cluster is the new one", async || {
            let (modified, warming) =
                ("cluster_manager.cluster_modified", "cluster_manager.warming_clusters");
            let now = (envoy.stat(modified).await?, envoy.stat(warming).await?);
            holds(now == (1, 0), format!("(modified, warming) is {now:?}"))
        })
        .await;
        // And it answers for what comes next.
        server.publish(two(&server, &backend, 2, true), 3);
        envoy.answers(&name(1), "a").await;
    };
    within(Duration::from_secs(10), "Envoy does not wait its 15 s", changed).await;
    let cached = format!("cluster.{}.assignment_use_cached", name(0));
    assert_eq!(envoy.stats().await.get(&cached).copied().unwrap_or_default(), 0);
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p14b_a_cluster_that_changes_is_ready_at_once_delta() {
    a_changed_cluster_is_ready_at_once(envoy(), Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p14b_a_cluster_that_changes_is_ready_at_once_sotw() {
    a_changed_cluster_is_ready_at_once(envoy(), Kind::Sotw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p14b_a_cluster_that_changes_is_ready_at_once_in_the_oldest_envoy() {
    a_changed_cluster_is_ready_at_once(oldest_envoy(), Kind::Delta).await;
}

//! What becomes of connections when the defaults change: with another pilot.toml, or with another pilot.

use super::envoys;
use crate::support::backend::Backend;
use crate::support::conversation::Conversation;
use crate::support::envoy::{Envoy, Kind};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::wait::{holds, until};

/// Nothing of what this pilot tells of clusters is as by default.
const OTHER_CLUSTERS: &str = "[mesh]\nconnect_timeout = \"4s\"\n[mesh.keepalive]\nhttp2_quiet = \"0s\"\n\
    http2_interval = \"0s\"\n[mesh.idle]\nhttp1 = \"1h\"\nhttp2 = \"1h\"\n[mesh.outliers]\nfailures = 0\n[mesh.retries]\n\
    budget_percent = 50\n";

#[tokio::test(flavor = "multi_thread")]
async fn other_defaults_of_clusters_cut_no_connection_and_lose_no_request() {
    for binary in envoys() {
        let (queue, web) = (Backend::echo("queue").await, Backend::http("web").await);
        let services = service("queue.local", 9090, "tcp", &[queue.place()])
            + &service("web.local", 9080, "http", &[web.place()]);
        let mut pilot = super::pilot(&services, OTHER_CLUSTERS).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        envoy.answers("web.local", "web").await;
        let mut conversation = Conversation::open(envoy.port(9090)).await;
        let load = Load::start(envoy.http_address(), &["web.local"], 2, &[]);
        let before = envoy.stat("cluster_manager.cluster_modified").await.unwrap();
        restart(&mut pilot, OTHER_CLUSTERS).await;
        until("the clusters are others", async || {
            let changed = envoy.stat("cluster_manager.cluster_modified").await? - before;
            holds(changed >= 2, format!("{changed} are"))
        })
        .await;
        load.more(200).await;
        load.finish().await.assert_no_failure();
        conversation.say("still here").await;
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_defaults_of_listeners_drain_them_and_lose_no_request() {
    let other = "[mesh.keepalive]\ntcp = \"0s\"\nclient_interval = \"0s\"\n[mesh.idle]\ntcp = \"1h\"\nstream = \"1h\"\n";
    for binary in envoys() {
        let (queue, web) = (Backend::echo("queue").await, Backend::http("web").await);
        let services = service("queue.local", 9090, "tcp", &[queue.place()])
            + &service("web.local", 9080, "http", &[web.place()]);
        let mut pilot = super::pilot(&services, other).await;
        let envoy = Envoy::start_draining(&binary, &pilot, Kind::Delta, 600).await;
        envoy.answers("web.local", "web").await;
        let mut conversation = Conversation::open(envoy.port(9090)).await;
        let load = Load::start(envoy.http_address(), &["web.local"], 2, &[]);
        restart(&mut pilot, other).await;
        until("the listeners are others", async || {
            // An Envoy that knows no probes of clients sees other filters only.
            let listeners = envoy.stat("listener_manager.total_listeners_draining").await?;
            let filters = envoy.stat("listener_manager.total_filter_chains_draining").await?;
            holds(listeners + filters >= 2, format!("{listeners} and {filters} are drained"))
        })
        .await;
        load.more(200).await;
        load.finish().await.assert_no_failure();
        // Connections have the time that Envoy is told: `--drain-time-s`.
        conversation.say("still here").await;
        Conversation::open(envoy.port(9090)).await.say("new").await;
    }
}

/// The same pilot with the defaults.
async fn restart(pilot: &mut Pilot, lines: &str) {
    pilot.configure(lines, "");
    pilot.kill();
    pilot.spawn();
    pilot.ready().await;
}

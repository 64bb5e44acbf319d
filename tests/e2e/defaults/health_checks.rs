//! Proxies find out for themselves which endpoints serve, where a services file asks for it.

use super::envoys;
use crate::support::backend::{Backend, HEALTH};
use crate::support::envoy::{Envoy, Kind};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::wait::{holds, until};

/// The service, with a check that is made often.
fn checked(protocol: &str, places: &[Place], check: &str) -> String {
    let service = service("web.local", 9080, protocol, places);
    let check =
        format!("health_check = {{ {check}, interval = \"100ms\", timeout = \"2s\", failures = 2 }}\n");
    service.replacen("[[service]]\n", &format!("[[service]]\n{check}"), 1)
}

async fn has_healthy(envoy: &Envoy, count: u64) {
    until(&format!("{count} endpoints are healthy"), async || {
        let healthy = envoy.stat("cluster.outbound|9080||web.local.membership_healthy").await?;
        holds(healthy == count, format!("{healthy} are"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_endpoint_is_taken_out_and_back() {
    for binary in envoys() {
        for protocol in ["http", "http2"] {
            let (one, two) = (Backend::http("one").await, Backend::http("two").await);
            let check = format!("http = \"{HEALTH}\"");
            let pilot = Pilot::start(&checked(protocol, &[one.place(), two.place()], &check)).await;
            let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
            has_healthy(&envoy, 2).await;
            let load = Load::start(envoy.http_address(), &["web.local"], 2, &[]);
            two.be_sick(true);
            has_healthy(&envoy, 1).await;
            envoy.answers_only("web.local", "one").await;
            two.be_sick(false);
            has_healthy(&envoy, 2).await;
            envoy.answers("web.local", "two").await;
            load.finish().await.assert_no_failure();
            envoy.assert_no_rejections().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_takes_no_connections_is_sick() {
    for binary in envoys() {
        let (one, two) = (Backend::echo("one").await, Backend::echo("two").await);
        let places = [one.place(), two.place()];
        let pilot = Pilot::start(&checked("tcp", &places, "tcp = true")).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        has_healthy(&envoy, 2).await;
        drop(two);
        has_healthy(&envoy, 1).await;
    }
}

/// pilot itself is a server of gRPC that tells its health.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_grpc_is_asked_for_its_health() {
    for binary in envoys() {
        let healthy = Pilot::start("service = []\n").await;
        let place = Place::at(&healthy.xds_address().to_string());
        for (name, count) in [("", 1), ("no.such.Service", 0)] {
            let services = checked("grpc", std::slice::from_ref(&place), &format!("grpc = \"{name}\""));
            let pilot = Pilot::start(&services).await;
            let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
            until("it was asked", async || {
                let attempts = envoy.stat("cluster.outbound|9080||web.local.health_check.attempt").await?;
                holds(attempts > 3, format!("{attempts} times"))
            })
            .await;
            has_healthy(&envoy, count).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_unless_a_file_says_so() {
    for binary in envoys() {
        let web = Backend::http("web").await;
        let pilot = Pilot::start(&service("web.local", 9080, "http", &[web.place()])).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        has_healthy(&envoy, 1).await;
        assert_eq!((web.accepted(), web.served()), (0, 0));
        // A check is added while the service is in use.
        pilot.write_services(&checked("http", &[web.place()], &format!("http = \"{HEALTH}\"")));
        let load = Load::start(envoy.http_address(), &["web.local"], 2, &[]);
        until("it is asked", async || holds(web.asked_for_health() > 2, "not yet")).await;
        load.more(50).await;
        load.finish().await.assert_no_failure();
    }
}

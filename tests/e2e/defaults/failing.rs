//! Endpoints that fail: they are left alone for a while, and retries have their limits.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::{envoys, pilot};
use crate::support::backend::{Backend, UNAVAILABLE};
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::slow;
use crate::support::wait::{holds, until};

/// Where nothing listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn at(address: SocketAddr) -> Place {
    Place::at(&address.to_string())
}

const WEB: &str = "cluster.outbound|9080||web.local.";

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_connections_is_left_alone_and_gets_traffic_again() {
    for binary in envoys() {
        let (web, gone) = (Backend::http("web").await, nowhere());
        let services = service("web.local", 9080, "http", &[web.place(), at(gone)]);
        let pilot = pilot(&services, "[mesh.outliers]\nejection = \"1s\"\n").await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        until("web answers", async || http::body(envoy.http_address(), "web.local", "/").await).await;
        let load = Load::start(envoy.http_address(), &["web.local"], 2, &[]);
        until("it is left alone", async || {
            let ejected = envoy.stat(&format!("{WEB}outlier_detection.ejections_active")).await?;
            holds(ejected == 1, format!("{ejected} are left alone"))
        })
        .await;
        load.more(400).await;
        load.finish().await.assert_no_failure();
        // It is tried again now and then: each time five failures, and one that was under way beside.
        let tried = envoy.stat(&format!("{WEB}upstream_cx_connect_fail")).await.unwrap();
        let times = envoy.stat(&format!("{WEB}outlier_detection.ejections_enforced_total")).await.unwrap();
        assert!(tried <= 7 * (times + 1), "{tried} connections were tried in {times} times");
        let _back = Backend::http_again("back", gone).await;
        envoy.answers("web.local", "back").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_a_failing_priority_are_all_left_alone_but_never_more_than_half() {
    for binary in envoys() {
        let (one, two) = (Backend::http("spare").await, Backend::http("spare").await);
        let mut pilot = Pilot::prepare_with(
            "[registry.near.file]\npath = \"services.toml\"\n[registry.far]\npriority = 1\n[registry.far.file]\n\
             path = \"far.toml\"\n",
        );
        pilot.write_services(&service("web.local", 9080, "http", &[at(nowhere()), at(nowhere())]));
        let far = service("web.local", 9080, "http", &[one.place(), two.place()]);
        fs::write(pilot.folder().join("far.toml"), far).unwrap();
        pilot.spawn();
        pilot.ready().await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        envoy.answers("web.local", "spare").await;
        let load = Load::start(envoy.http_address(), &["web.local"], 4, &[]);
        until("both are left alone", async || {
            let ejected = envoy.stat(&format!("{WEB}outlier_detection.ejections_active")).await?;
            holds(ejected == 2, format!("{ejected} are left alone"))
        })
        .await;
        load.more(200).await;
        load.finish().await.assert_no_failure();

        // Where all fail, half of them are still asked.
        fs::write(pilot.folder().join("far.toml"), "service = []\n").unwrap();
        envoy.has_endpoints("outbound|9080||web.local", 2).await;
        let load = Load::start(envoy.http_address(), &["web.local"], 4, &[503]);
        load.more(400).await;
        load.finish().await;
        let ejected = envoy.stat(&format!("{WEB}outlier_detection.ejections_active")).await.unwrap();
        assert!(ejected <= 2, "{ejected} of 2 are left alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_do_not_double_the_load_when_everything_fails() {
    for binary in envoys() {
        let places: Vec<Place> = (0..4).map(|_| at(nowhere())).collect();
        let pilot = Pilot::start(&service("web.local", 9080, "http", &places)).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        let load = Load::start(envoy.http_address(), &["web.local"], 64, &[503, 404]);
        load.more(2000).await;
        let answered = load.finish().await.answered();
        let retried = envoy.stat(&format!("{WEB}upstream_rq_retry")).await.unwrap();
        assert!(retried * 2 < answered, "{answered} requests were tried again {retried} times");
        assert!(retried > 0, "none was tried again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_gets_less() {
    for binary in envoys() {
        let (quick, slow) = (Backend::http("quick").await, Backend::http("slow").await);
        let late = slow::before(slow.socket(), Duration::from_millis(50)).await;
        let services = service("web.local", 9080, "http", &[quick.place(), at(late.address())]);
        let pilot = Pilot::start(&services).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        envoy.answers("web.local", "quick").await;
        let load = Load::start(envoy.http_address(), &["web.local"], 8, &[]);
        load.more(600).await;
        load.finish().await.assert_no_failure();
        // In turns it would be a half. Of two endpoints drawn at random, both are the slow one now and then.
        let (quick, slow) = (quick.served(), slow.served());
        assert!(slow * 10 < (quick + slow) * 4, "{quick} to the quick one, {slow} to the slow one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_may_have_done_is_not_repeated() {
    for binary in envoys() {
        let web = Backend::http("web").await;
        let services = service("web.local", 9080, "grpc", &[web.place()]);
        let pilot = Pilot::start(&services).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        envoy.answers("web.local", "web").await;
        let before = web.served();
        let answer = http::get(envoy.http_address(), "web.local", UNAVAILABLE).await.unwrap();
        assert_eq!(answer.header("grpc-status"), "14");
        assert_eq!(web.served() - before, 1, "the server was asked again");
    }
}

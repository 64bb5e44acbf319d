//! gRPC's own xDS client follows what the services file says, without a proxy.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::{node_grpc, python};
use crate::support::wait::{holds, until};

/// Calls until this backend answers.
async fn answered_by(client: &mut GrpcClient, name: &str) {
    until(&format!("{name} answers"), async || {
        let answer = client.call()?;
        holds(answer == name, answer)
    })
    .await;
}

async fn follows_the_file(python: &Path, target: &str) {
    let (one, two) = (GrpcBackend::start(python, "one"), GrpcBackend::start(python, "two"));
    let echo = |backend: &GrpcBackend| service("echo.local", 50051, "grpc", &[backend.place()]);
    let pilot = Pilot::start(&echo(&one)).await;
    let mut client = GrpcClient::start(python, &pilot, target);
    answered_by(&mut client, "one").await;

    pilot.write_services(&echo(&two));
    // No call fails on the way.
    until("two answers", async || {
        let name = client.call().unwrap();
        holds(name == "two", name)
    })
    .await;

    pilot.write_services(&service("other.local", 50051, "grpc", &[one.place()]));
    until("the service is gone", async || match client.call() {
        Ok(name) => Err(format!("{name} answered")),
        Err(_) => Ok(()),
    })
    .await;

    pilot.write_services(&echo(&one));
    answered_by(&mut client, "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_client_follows_host_and_port() {
    let Some(python) = python() else { return };
    follows_the_file(&python, "xds:///echo.local:50051").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_client_follows_host() {
    let Some(python) = python() else { return };
    follows_the_file(&python, "xds:///echo.local").await;
}

/// The client of Node.js takes the printed bootstrap as it is. After a service was removed and made anew it stays
/// with what it knew of the cluster, for good: its cache outlives the removal. Of pilot is asked that all it needs is
/// there at once, so that a client which begins then is served.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_client_of_node_follows_the_file() {
    let (Some(python), Some(packages)) = (python(), node_grpc()) else { return };
    let (one, two) = (GrpcBackend::start(&python, "one"), GrpcBackend::start(&python, "two"));
    let echo = |places: &[Place]| service("echo.local", 50051, "grpc", places);
    let pilot = Pilot::start(&echo(&[one.place()])).await;
    let target = "xds:///echo.local:50051";
    let mut client = GrpcClient::start_node(&packages, &pilot, target);
    answered_by(&mut client, "one").await;

    pilot.write_services(&echo(&[one.place(), two.place()]));
    answered_by(&mut client, "two").await;
    pilot.write_services(&echo(&[two.place()]));
    until("one is asked no more", async || {
        for _ in 0..4 {
            let name = client.call().unwrap();
            holds(name == "two", name)?;
        }
        Ok::<_, String>(())
    })
    .await;

    let other = service("other.local", 50051, "grpc", &[one.place()]);
    pilot.write_services(&other);
    until("the service is gone", async || holds(client.call().is_err(), "it answers")).await;
    until("its listener is gone", async || holds(listeners(&pilot).await? == 0, "it is there")).await;
    pilot.write_services(&(echo(&[one.place()]) + &other));
    let began = Instant::now();
    until("its listener is there", async || holds(listeners(&pilot).await? == 1, "it is not")).await;
    // What waits for a client's request waits for 5 s.
    assert!(began.elapsed() < Duration::from_secs(4), "its listener came after {:?}", began.elapsed());
    answered_by(&mut GrpcClient::start_node(&packages, &pilot, target), "one").await;
}

/// How many listeners the only client was sent last.
async fn listeners(pilot: &Pilot) -> Result<u64, String> {
    let proxies = pilot.debug("/debug/proxies").await?;
    let sent = &proxies["proxies"][0]["streams"][0]["types"]["lds"]["resources"];
    sent.as_u64().ok_or_else(|| proxies.to_string())
}

//! gRPC's own xDS client follows what the services file says, without a proxy.

use std::path::Path;

use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::python;
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

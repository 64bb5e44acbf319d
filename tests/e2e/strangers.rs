//! Clients that are set up wrongly learn what is wrong where their owner looks: in their own log.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::bootstrap;
use crate::support::envoy::Kind;
use crate::support::grpc::GrpcClient;
use crate::support::pilot::Pilot;
use crate::support::process::Process;
use crate::support::services::{Place, service};
use crate::support::tools::{envoy, python};
use crate::support::wait::{holds, until};

/// Starts an Envoy with pilot's bootstrap, changed like that, and waits until both logs have their line.
async fn wrong(change: impl Fn(&mut Value, &Pilot), in_envoys_log: &str, in_pilots_log: &str) {
    let Some(binary) = envoy() else { return };
    let mut pilot = Pilot::start(&service("a.local", 80, "http", &[Place::at("127.0.0.1:9")])).await;
    let mut bootstrap = bootstrap::envoy(&pilot, Kind::Delta, &[]);
    change(&mut bootstrap, &pilot);
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("envoy.json");
    fs::write(&config, bootstrap.to_string()).unwrap();
    let mut command = std::process::Command::new(binary);
    command.arg("--config-path").arg(config).args(["--disable-hot-restart", "--log-level", "info"]);
    let envoy = Process::spawn("envoy", folder.path(), &mut command);
    until("both logs say it", async || {
        let (envoys, pilots) = (envoy.output(), pilot.process().output());
        holds(envoys.contains(in_envoys_log), format!("envoy: {envoys}"))?;
        holds(pilots.contains(in_pilots_log), format!("pilot: {pilots}"))
    })
    .await;
    let lines = pilot.process().output();
    assert_eq!(lines.matches(in_pilots_log).count(), 1, "once: {lines}");
}

fn cluster(bootstrap: &mut Value) -> &mut serde_json::Map<String, Value> {
    bootstrap["static_resources"]["clusters"][0].as_object_mut().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_without_http2_protocol_options_writes_the_missing_key_to_its_own_log() {
    let http1 = |bootstrap: &mut Value, _: &Pilot| {
        let cluster = cluster(bootstrap);
        let removed =
            ["http2_protocol_options", "typed_extension_protocol_options"].map(|key| cluster.remove(key));
        assert!(removed.iter().any(Option::is_some), "{cluster:?}");
    };
    wrong(http1, "http2_protocol_options", "a client speaks gRPC over HTTP/1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_is_told_the_admin_port_writes_where_xds_is_to_its_own_log() {
    let admin = |bootstrap: &mut Value, pilot: &Pilot| {
        let text = bootstrap.to_string();
        let (xds, admin) = (pilot.xds_address().port(), pilot.admin_address().port());
        let text = text.replace(&format!("\"port_value\":{xds}"), &format!("\"port_value\":{admin}"));
        *bootstrap = serde_json::from_str(&text).unwrap();
    };
    wrong(admin, "xDS is served at", "admin port: a client speaks HTTP/2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_that_asks_for_an_http_port_is_not_found_and_told_the_protocol() {
    let Some(python) = python() else { return };
    let mut pilot = Pilot::start(&service("a.local", 80, "http", &[Place::at("127.0.0.1:9")])).await;
    let mut client = GrpcClient::start(&python, &pilot, "xds:///a.local:80");
    assert!(client.call().is_err());
    until("it is not found", async || {
        let proxies = pilot.debug("/debug/proxies").await?;
        let lds = &proxies["proxies"][0]["streams"][0]["types"]["lds"];
        holds(lds["state"] == "not_found", format!("{proxies}"))?;
        let hint = lds["not_found"][0]["hint"].as_str().unwrap_or_default();
        holds(hint.starts_with("port 80 of a.local has protocol http"), format!("{proxies}"))
    })
    .await;
    let log = pilot.process().output();
    assert_eq!(log.matches("no listener has the name that a client asks for").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_version_configuration_first_answer_ready_and_changes() {
    let mut pilot = Pilot::start(&service("a.local", 80, "http", &[Place::at("127.0.0.1:9")])).await;
    pilot.write_services(&service("b.local", 80, "http", &[Place::at("127.0.0.1:9")]));
    let config = pilot.config().display().to_string();
    until("it says all", async || {
        let log = pilot.process().output();
        for part in [
            concat!("pilot starts version=\"", env!("CARGO_PKG_VERSION"), "\" config="),
            &config,
            "registry has answered registry=",
            "services=1 endpoints=1",
            "ready: proxies are told what the registries know",
            "services: 1 added (b.local), 1 removed (a.local)",
        ] {
            holds(log.contains(part), format!("{part}: {log}"))?;
        }
        Ok::<_, String>(())
    })
    .await;
}

//! What the commands show of a running pilot and the proxies that are connected to it.

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

/// What a command prints when all is well.
fn print(pilot: &Pilot, arguments: &[&str]) -> String {
    let output = pilot.command(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_show_what_is_served_and_to_whom() {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let pilot = Pilot::start(&service("reviews.local", 9080, "http", &[backend.place()])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("reviews.local", "a").await;

    let services = print(&pilot, &["services"]);
    assert!(services.contains("reviews.local"), "{services}");
    let proxies = until("all is acknowledged", async || {
        let proxies = print(&pilot, &["proxies"]);
        let line = proxies.lines().find(|line| line.contains("envoy 1.")).unwrap_or_default();
        holds(line.matches("ACKED").count() == 5, &proxies).map(|()| line.to_owned())
    })
    .await;
    let id = proxies.split_whitespace().next().expect("a row begins with the node id");
    let config = print(&pilot, &["config", id, "-o", "yaml"]);
    for name in ["outbound|9080||reviews.local", "http_connection_manager"] {
        assert!(config.contains(name), "no {name} in {config}");
    }
    let config = print(&pilot, &["config", "sidecar~10.0.0.1~a.b~c", "--not-connected", "--type", "cds"]);
    assert!(config.contains("outbound|9080||reviews.local"), "{config}");
}

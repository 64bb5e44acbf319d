//! Services of Consul whose instances do not say which port clients call.

use serde_json::json;

use super::platform::{Consul, Platform};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

const HOST: &str = "web.service.consul";

/// Two sites of one Consul, told apart by a tag, with more keys for each.
fn sites(consul: &Consul, more: &str) -> String {
    let site = |name: &str, priority: u8| {
        let table = consul.tables(name);
        format!("[registry.{name}]\npriority = {priority}\n{table}tags = [\"{name}\"]\n{more}")
    };
    site("east", 0) + &site("west", 1)
}

/// Each site has an instance at a port of its own, so each registry guesses another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_takes_over_although_no_instance_says_which_port_clients_call() {
    let (Some(binary), Some(consul)) = (envoy(), Consul::start().await) else { return };
    let (east, west) = (Backend::http("east").await, Backend::http("west").await);
    consul.put_tagged("web", "1", east.socket(), "east").await;
    consul.put_tagged("web", "2", west.socket(), "west").await;
    let mut pilot = Pilot::prepare_with(&sites(&consul, ""));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers_only(HOST, "east").await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    load.more(100).await;
    consul.set_healthy("web", "1", east.socket(), false).await;
    envoy.answers_only(HOST, "west").await;
    load.more(100).await;
    consul.set_healthy("web", "1", east.socket(), true).await;
    envoy.answers_only(HOST, "east").await;
    // Nobody is there any more who has guessed that port, and it is the port still.
    let port = async || {
        let services = pilot.debug("/debug/services").await?;
        let ports = services.pointer("/services/0/ports").cloned().ok_or(services.to_string())?;
        Ok::<_, String>(ports)
    };
    let before = port().await.unwrap();
    assert_eq!(before.as_array().map(Vec::len), Some(1), "{before}");
    consul.remove("web", "1").await;
    envoy.answers_only(HOST, "west").await;
    until("east no longer has the service", async || {
        let services = pilot.debug("/debug/services").await?;
        let registries = services.pointer("/services/0/registries").map(ToString::to_string);
        holds(registries.as_deref() == Some("[\"west\"]"), services)
    })
    .await;
    assert_eq!(port().await.unwrap(), before);
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// `other` comes first in the alphabet.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_say_what_it_speaks_takes_no_port_from_one_that_does() {
    let (Some(binary), Some(consul)) = (envoy(), Consul::start().await) else { return };
    let (reviews, other) = (Backend::http("reviews").await, Backend::http("other").await);
    consul.put_described("other", other.socket(), json!({ "service_port": "9080" })).await;
    let said = json!({ "service_port": "9080", "protocol": "http" });
    consul.put_described("reviews", reviews.socket(), said).await;
    let mut pilot = Pilot::prepare_with(&consul.tables("east"));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    until("reviews answers at its port", async || {
        let answer = http::body(envoy.port(9080), "reviews.service.consul", "/").await?;
        holds(answer == "reviews", answer)
    })
    .await;
    let services = pilot.debug("/debug/services").await.unwrap();
    let told = "a protocol that is said goes before one that was guessed";
    assert!(services["conflicts"].to_string().contains(told), "{services}");
}

/// Nothing is guessed, and nothing is told but what there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_registrys_table_is_the_port_that_clients_call() {
    let (Some(binary), Some(consul)) = (envoy(), Consul::start().await) else { return };
    let (one, two) = (Backend::http("one").await, Backend::http("two").await);
    consul.put_tagged("web", "1", one.socket(), "east").await;
    consul.put_tagged("web", "2", two.socket(), "east").await;
    let guessing = sites(&consul, "");
    let mut pilot = Pilot::prepare_with(&guessing);
    pilot.spawn();
    pilot.ready().await;
    let report = pilot.debug("/debug/registries").await.unwrap();
    let note = report.pointer("/registries/0/notes/web.service.consul").and_then(|note| note.as_str());
    assert!(note.is_some_and(|note| note.contains("served at port") && note.contains("guessed")), "{report}");
    assert_eq!(
        report.pointer("/registries/0/skipped").and_then(|it| it.as_object()).map(|it| it.len()),
        Some(0)
    );
    pilot.kill();

    let mut pilot = Pilot::prepare_with(&sites(&consul, "service_port = { http = 9080 }\n"));
    pilot.spawn();
    pilot.ready().await;
    let report = pilot.debug("/debug/registries").await.unwrap();
    assert_eq!(report.pointer("/registries/0/notes"), Some(&json!({})), "{report}");
    let services = pilot.debug("/debug/services").await.unwrap();
    assert_eq!(services.pointer("/services/0/ports/0/number"), Some(&9080.into()), "{services}");
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers(HOST, "one").await;
    envoy.answers(HOST, "two").await;
}

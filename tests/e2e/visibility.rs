//! Services that not everybody sees, on real Envoys of different namespaces.

use std::path::Path;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::{envoy, oldest_envoy};

/// The same, of a namespace, and seen by those.
fn owned(text: &str, namespace: &str, export_to: &str) -> String {
    let more = format!("namespace = \"{namespace}\"\nexport_to = [\"{export_to}\"]\nports");
    text.replacen("ports", &more, 1)
}

async fn client(binary: &Path, pilot: &Pilot, kind: Kind, namespace: &str) -> Envoy {
    let node_id = format!("router~127.0.0.1~laptop~{namespace}.svc.cluster.local");
    Envoy::start_with(binary, pilot, kind, &["--node-id", &node_id]).await
}

async fn clients_see_what_is_theirs(binary: &Path, kind: Kind) {
    let [all, shop, next] =
        [Backend::http("all").await, Backend::http("shop").await, Backend::http("next").await];
    let db =
        |backend: &Backend| service("db.example", 8000, "http", &[Place::at(&backend.socket().to_string())]);
    let shops = |backend: &Backend| owned(&db(backend), "shop", ".");
    let only = owned(
        &service("secret.example", 8001, "http", &[Place::at(&shop.socket().to_string())]),
        "shop",
        ".",
    );
    let services = [db(&all), shops(&shop), only.clone()].concat();
    // Each Envoy opens the same listeners: each has a pilot of its own, and with it an address.
    let pilots = [Pilot::start(&services).await, Pilot::start(&services).await];
    let in_shop = client(binary, &pilots[0], kind, "shop").await;
    let in_bank = client(binary, &pilots[1], kind, "bank").await;
    in_shop.answers_only("db.example", "shop").await;
    in_shop.answers_only("secret.example", "shop").await;
    in_bank.answers_only("db.example", "all").await;
    in_bank.knows_nothing_of("secret.example").await;

    // Its endpoint moves, it goes, and it is for everybody.
    for (services, of_shop, of_bank, is_public) in [
        ([db(&all), shops(&next), only.clone()].concat(), "next", "all", false),
        ([db(&all), only.clone()].concat(), "all", "all", false),
        ([db(&all), only.replace("\".\"", "\"*\"")].concat(), "all", "all", true),
        ([db(&next), shops(&shop), only.clone()].concat(), "shop", "next", false),
    ] {
        pilots.iter().for_each(|pilot| pilot.write_services(&services));
        in_shop.answers_only("db.example", of_shop).await;
        in_bank.answers_only("db.example", of_bank).await;
        in_shop.answers("secret.example", "shop").await;
        match is_public {
            true => in_bank.answers("secret.example", "shop").await,
            false => in_bank.knows_nothing_of("secret.example").await,
        }
    }
    for envoy in [&in_shop, &in_bank] {
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_the_services_of_their_namespace() {
    let Some(binary) = envoy() else { return };
    for kind in [Kind::Delta, Kind::Sotw, Kind::PerTypeDelta] {
        clients_see_what_is_theirs(&binary, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_oldest_envoy_see_the_services_of_their_namespace() {
    let Some(binary) = oldest_envoy() else { return };
    clients_see_what_is_theirs(&binary, Kind::Delta).await;
}

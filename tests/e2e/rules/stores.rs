//! Documents in a platform's keys count as those in files do, also while the platform is away; and what an Envoy refuses
//! of a document.

use pilot_registry_testkit::server::consul::{Consul, Options};
use serde_json::{Value, json};

use super::shop::{SUBSETS, Shop, TO_V1, cart, virtual_service};
use crate::support::http::body;
use crate::support::wait::{holds, until};

async fn put(consul: &Consul, name: &str, text: &str) {
    let (path, body) = (format!("/v1/kv/pilot/rules/{name}"), text.to_owned().into());
    let (status, _) = consul.admin().request(http::Method::PUT, &path, body).await.unwrap();
    assert_eq!(status, 200);
}

fn to(version: &str) -> String {
    virtual_service("cart", "cart.local", &TO_V1.replace("v1", version))
}

/// What became of that document.
async fn report(shop: &Shop, document: &str) -> Result<Value, String> {
    let report = shop.pilot.debug("/debug/rules").await?;
    let all = report["documents"].as_array().into_iter().flatten();
    let found = all.into_iter().find(|it| it["document"] == document).cloned();
    found.ok_or_else(|| format!("{report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_in_consuls_keys_count_and_stay_while_consul_is_away_also_over_a_restart() {
    let Some(mut consul) = Consul::start(Options::default()).await.unwrap() else { return };
    put(&consul, "subsets", SUBSETS).await;
    put(&consul, "cart", &to("v1")).await;
    let address = consul.address();
    let stores = format!(
        "[state]\ndir = \"state\"\nwait = \"500ms\"\n[rules.dc1.consul]\naddress = \"http://{address}\"\n"
    );
    let Some(mut shop) = Shop::open_with(&stores, &[], json!({})).await else { return };
    shop.envoy.answers_only("cart.local", "v1").await;
    put(&consul, "cart", &to("v2")).await;
    shop.envoy.answers_only("cart.local", "v2").await;
    put(&consul, "cart", &to("v1").replace("route:", "rout:")).await;
    until("it is rejected, and its last good version is in force", async || {
        let report = report(&shop, "VirtualService/default/cart").await?;
        holds(report["state"] == "rejected" && report["in_force"] == "last_good", &report)
    })
    .await;
    consul.kill();
    until("the store is in trouble", async || {
        let report = shop.pilot.debug("/debug/rules").await?;
        holds(!report["stores"][0]["troubles"].is_null(), &report)
    })
    .await;
    assert_eq!(shop.ask(cart("/").builder()).await.unwrap().body, "v2");
    shop.pilot.kill();
    shop.pilot.spawn();
    shop.pilot.ready().await;
    shop.envoy.is_connected(true).await;
    shop.envoy.answers_only("cart.local", "v2").await;
    // What was wrong before is wrong still.
    consul.restart().await.unwrap();
    put(&consul, "stock", &virtual_service("stock", "stock.local", "  - directResponse: {status: 298}\n"))
        .await;
    let stock = super::shop::Asked { host: "stock.local", path: "/", headers: &[] };
    shop.until("the others change", &stock, |answer| answer.status == 298).await;
    assert_eq!(shop.ask(cart("/").builder()).await.unwrap().body, "v2");
    put(&consul, "cart", &to("v1")).await;
    shop.envoy.answers_only("cart.local", "v1").await;
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_envoy_refuses_is_shown_on_the_document_that_asks_for_it() {
    let Some(shop) = Shop::open(&[("cart.yaml", &to("v1")), ("subsets.yaml", SUBSETS)]).await else { return };
    shop.envoy.answers_only("cart.local", "v1").await;
    let policy = "  trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /nowhere/ca.pem}}\n";
    shop.write("subsets.yaml", &format!("{SUBSETS}{policy}"));
    let refused = until("it is shown", async || {
        let report = report(&shop, "DestinationRule/default/cart").await?;
        let words = report["refused"][0].as_str().unwrap_or_default().to_owned();
        let is_named = report["refused_by"].as_array().is_some_and(|by| by.len() == 1);
        let is_refused = report["state"] == "refused" && report["in_force"] == "this";
        holds(words.contains("/nowhere/ca.pem") && is_named && is_refused, &report).map(|()| words)
    })
    .await;
    assert!(refused.contains("cart.local"), "{refused}");
    let metrics = body(shop.pilot.admin_address(), "localhost", "/metrics").await.unwrap();
    for line in [
        "pilot_rules_documents{store=\"local\",state=\"accepted\"} 1",
        "pilot_rules_documents{store=\"local\",state=\"refused\"} 1",
        "pilot_rules_documents{store=\"local\",state=\"rejected\"} 0",
        "pilot_rules_store_health{store=\"local\",state=\"live\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // What it had before is in force there.
    assert_eq!(shop.ask(cart("/").builder()).await.unwrap().body, "v1");
    shop.write("subsets.yaml", SUBSETS);
    until("nothing is refused", async || {
        let report = report(&shop, "DestinationRule/default/cart").await?;
        holds(report["refused"].is_null() && report["state"] == "accepted", &report)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_envoy_refuses_of_a_delegates_rules_is_shown_on_the_delegate_too() {
    let leaf = |http: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: leaf}}\nspec: {{http: [{http}]}}\n"
        )
    };
    let root = virtual_service("root", "cart.local", "  - delegate: {name: leaf}\n");
    let good = leaf("{directResponse: {status: 298}}");
    let Some(shop) = Shop::open(&[("root.yaml", &root), ("leaf.yaml", &good)]).await else { return };
    let asked = super::shop::Asked { host: "cart.local", path: "/", headers: &[] };
    shop.until("the leaf answers", &asked, |answer| answer.status == 298).await;
    // The command is one of Envoy's, and takes no argument.
    let bad =
        "{route: [{destination: {host: cart.local}}], headers: {request: {set: {x-a: '%PROTOCOL(x)%'}}}}";
    shop.write("leaf.yaml", &leaf(bad));
    for (name, words) in [("root", ""), ("leaf", "of VirtualService/default/root, which delegates to it: ")] {
        until("it is shown", async || {
            let report = report(&shop, &format!("VirtualService/default/{name}")).await?;
            let is_told = report["refused"][0].as_str().unwrap_or_default().starts_with(words);
            let is_named = report["refused_by"].as_array().is_some_and(|by| by.len() == 1);
            holds(report["state"] == "refused" && is_told && is_named, &report)
        })
        .await;
    }
    shop.write("leaf.yaml", &good);
    until("nothing is refused", async || {
        let report = report(&shop, "VirtualService/default/leaf").await?;
        holds(report["refused"].is_null() && report["state"] == "accepted", &report)
    })
    .await;
}

//! `pilot wait` beside a real Envoy: it ends when Envoy has what was changed, and names who does not.

use std::process::Output;

use serde_json::{Value, json};

use super::shop::{SUBSETS, Shop, TO_V1, cart, virtual_service};
use crate::support::envoy::{Envoy, Kind};
use crate::support::http::body;
use crate::support::loopback::own_address;
use crate::support::tools::envoy;

/// Runs `pilot wait` against the shop's pilot.
async fn wait(shop: &Shop, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = shop.pilot.command(&[&["wait"], arguments].concat());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// The file of that name in the folder of rules.
fn file(shop: &Shop, name: &str) -> String {
    shop.pilot.folder().join("rules").join(name).display().to_string()
}

/// What Envoy says now of its routes.
async fn routes(shop: &Shop) -> String {
    let dump = body(shop.envoy.admin_address(), "envoy", "/config_dump?resource=dynamic_route_configs")
        .await
        .unwrap();
    let dump: Value = serde_json::from_str(&dump).unwrap();
    let vhds = body(shop.envoy.admin_address(), "envoy", "/config_dump").await.unwrap();
    format!("{dump} {vhds}")
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_ends_when_envoy_has_the_document_of_a_file_and_not_before() {
    let Some(shop) = Shop::open(&[("subsets.yaml", SUBSETS)]).await else { return };
    let path = file(&shop, "cart.yaml");
    for round in 0..6 {
        let text = virtual_service(
            "cart",
            "cart.local",
            &format!("  - directResponse: {{status: 299, body: {{string: round-{round}}}}}\n"),
        );
        shop.write("cart.yaml", &text);
        let (code, said) = wait(&shop, &["--for", &path]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with(&format!("1 of 1 proxies have {path} (1 connected)\n")), "{said}");
        let routes = routes(&shop).await;
        assert!(routes.contains(&format!("round-{round}")), "Envoy does not have round {round}");
    }
    // Who does not answer does not have it.
    shop.envoy.process().signal("STOP");
    shop.write("cart.yaml", &virtual_service("cart", "cart.local", TO_V1));
    let (code, said) = wait(&shop, &["--for", &path, "--timeout", "2s"]).await;
    shop.envoy.process().signal("CONT");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("0 of 1 proxies have") && said.contains("has not acknowledged"), "{said}");
    for wanted in [path.as_str(), "VirtualService/default/cart", "cart", "cart.local"] {
        let (code, said) = wait(&shop, &["--for", wanted]).await;
        assert_eq!(code, Some(0), "{wanted}: {said}");
    }
    let (code, said) = wait(&shop, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    // A version that pilot does not have is not there, whoever has acknowledged what.
    let other = shop.pilot.folder().join("other.yaml");
    std::fs::write(&other, virtual_service("cart", "cart.local", &TO_V1.replace("v1", "v2"))).unwrap();
    let (code, said) = wait(&shop, &["--for", other.to_str().unwrap(), "--timeout", "0s"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("pilot has read another version of VirtualService/default/cart, not this one"),
        "{said}"
    );
    shop.answers(&cart("/"), 200, "v1").await;
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_names_who_refuses_a_document_and_what_is_rejected() {
    let document = virtual_service("cart", "cart.local", TO_V1);
    let Some(shop) = Shop::open(&[("cart.yaml", &document), ("subsets.yaml", SUBSETS)]).await else { return };
    let (code, said) = wait(&shop, &["--for", "cart.local"]).await;
    assert_eq!(code, Some(0), "{said}");
    let secured = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stock}
spec:
  host: stock.local
  trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /no/such/ca.pem}}
";
    shop.write("stock.yaml", secured);
    let (code, said) = wait(&shop, &["--for", &file(&shop, "stock.yaml")]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("refuses cds outbound|8080||stock.local (DestinationRule/default/stock)"),
        "{said}"
    );
    assert!(said.contains("/no/such/ca.pem"), "Envoy's own words: {said}");
    // What is refused is no matter of the other document, and one of everything.
    let (code, said) = wait(&shop, &["--for", &file(&shop, "cart.yaml")]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(wait(&shop, &[]).await.0, Some(1));

    shop.write("cart.yaml", &document.replace("hosts:", "hots:"));
    let rejected = async || {
        let (code, said) = wait(&shop, &["--for", "VirtualService/default/cart"]).await;
        let is_told = said.contains("VirtualService/default/cart is rejected: ")
            && said.contains("did you mean hosts?");
        crate::support::wait::holds(code == Some(2) && is_told, said)
    };
    crate::support::wait::until("pilot has read it, and rejects it", rejected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_counts_the_proxies_that_a_document_concerns_however_they_ask() {
    let Some(binary) = envoy() else { return };
    let document = |status: u32| {
        virtual_service("cart", "cart.local", &format!("  - directResponse: {{status: {status}}}\n"))
            .replace("metadata: {name: cart}", "metadata: {name: cart, namespace: apps}")
            .replace("spec:\n", "spec:\n  exportTo: [\".\"]\n")
    };
    for kind in Kind::ALL {
        let Some(shop) =
            Shop::open_to(&[("cart.yaml", &document(299))], json!({ "NAMESPACE": "apps" })).await
        else {
            return;
        };
        let mut other = Envoy::spawn_at(&binary, &shop.pilot, kind, own_address());
        other.configured().await;
        let (code, said) = wait(&shop, &[]).await;
        assert_eq!(code, Some(0), "{kind:?}: {said}");
        assert!(said.starts_with("2 of 2 proxies have everything (2 connected)\n"), "{kind:?}: {said}");
        // What does not concern it does not wait for it.
        other.process().signal("STOP");
        shop.write("cart.yaml", &document(298));
        let (code, said) = wait(&shop, &["--for", &file(&shop, "cart.yaml")]).await;
        assert_eq!(code, Some(0), "{kind:?}: {said}");
        assert!(
            said.starts_with("1 of 1 proxies have") && said.contains("(2 connected)"),
            "{kind:?}: {said}"
        );
        shop.write(
            "stock.yaml",
            &virtual_service("stock", "stock.local", "  - directResponse: {status: 297}\n"),
        );
        let stock = file(&shop, "stock.yaml");
        let (code, said) = wait(&shop, &["--for", &stock, "--timeout", "1s"]).await;
        assert_eq!(code, Some(1), "{kind:?}: {said}");
        assert!(said.starts_with("1 of 2 proxies have") && said.contains("envoy-127."), "{kind:?}: {said}");
        other.process().signal("CONT");
        let (code, said) = wait(&shop, &["--for", &stock]).await;
        assert_eq!(code, Some(0), "{kind:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_ends_when_envoy_has_let_go_of_what_was_removed_and_not_before() {
    let said_by_rule = "  - directResponse: {status: 299, body: {string: to-be-gone}}\n";
    let document = virtual_service("cart", "cart.local", said_by_rule);
    let Some(shop) = Shop::open(&[("cart.yaml", &document), ("subsets.yaml", SUBSETS)]).await else { return };
    let path = file(&shop, "cart.yaml");
    let (code, said) = wait(&shop, &["--for", &path]).await;
    assert_eq!(code, Some(0), "{said}");
    for gone in [path.as_str(), "VirtualService/default/cart", "cart"] {
        let (code, said) = wait(&shop, &["--gone", gone, "--timeout", "0s"]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("pilot still has VirtualService/default/cart in "), "{said}");
    }
    let gone = ["--gone", "VirtualService/default/cart"];
    shop.envoy.process().signal("STOP");
    shop.remove("cart.yaml");
    let (code, said) = wait(&shop, &[&gone[..], &["--timeout", "3s"]].concat()).await;
    shop.envoy.process().signal("CONT");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("0 of 1 proxies have let go of") && said.contains("has not acknowledged"),
        "{said}"
    );
    let (code, said) = wait(&shop, &gone).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("1 of 1 proxies have let go of VirtualService/default/cart (1 connected)"),
        "{said}"
    );
    assert!(!routes(&shop).await.contains("to-be-gone"), "Envoy still has it");
    let (code, said) = wait(&shop, &["--gone", "stock.local", "--timeout", "0s"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("pilot still has the host stock.local, of local"), "{said}");
    let services = std::fs::read_to_string(shop.pilot.services()).unwrap();
    shop.pilot.write_services(&services.replace("stock.local", "store.local"));
    let (code, said) = wait(&shop, &["--for", "store.local", "--gone", "stock.local"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = wait(&shop, &["--gone", "stock.local", "--for", "cart.local"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("1 of 1 proxies have cart.local, and let go of stock.local (1 connected)"),
        "{said}"
    );
    assert!(!routes(&shop).await.contains("stock.local"), "Envoy still has it");
    shop.envoy.assert_no_rejections().await;
}

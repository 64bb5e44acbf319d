//! `pilot wait`, and what the admin server answers to it, as far as no Envoy is needed.

use std::fs;

use http::StatusCode;
use pilot::admin::{Failure, ReachReport};
use pilot::proxy::Transport;
use pilot::resources::ResourceType;
use serde_json::Value;

use crate::fixture::{pilot, proxy, snapshot};
use crate::verbs::{ask, with_services};

#[tokio::test]
async fn who_waits_is_answered_when_pilot_serves_what_is_waited_for() {
    let pilot = with_services().await;
    let waits = async { pilot.get("/debug/reach?for=c.local&wait=60").await.json::<ReachReport>() };
    let publishes = async {
        // It waits: nobody has it yet.
        let first: ReachReport = pilot.get("/debug/reach?for=c.local").await.json();
        assert!(!first.is_over && first.at.is_none(), "{first:?}");
        assert!(first.pending[0].contains("called c.local (nearest: "), "{first:?}");
        pilot.sinks[0].publish(snapshot(&["a.local", "c.local"]));
    };
    let (answer, ()) =
        tokio::time::timeout(crate::fixture::DEADLINE, async { tokio::join!(waits, publishes) })
            .await
            .expect("it is answered long before its time is over");
    assert!(answer.reached && answer.is_over && answer.at > Some(1), "{answer:?}");
}

#[tokio::test]
async fn waiting_where_nobody_is_connected_is_over_at_once_and_says_so() {
    let pilot = with_services().await;
    let ended = ask(&pilot, &["wait"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, "no proxy is connected: there is nobody to have everything\n");
    let other = with_services().await;
    let url = format!("http://{}", other.addr);
    let _connection = other.proxies.connect(&proxy("a"), Transport::Ads, true, None);
    let ended =
        ask(&pilot, &["wait", "--for", "b.local", "--timeout", "0s", "--admin", &url, "-o", "json"]).await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["pilots"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!((&report["connected"], &report["current"]), (&1.into(), &0.into()), "{report}");
}

#[tokio::test]
async fn who_has_not_acknowledged_is_named_when_the_time_is_over() {
    let pilot = with_services().await;
    let connection = pilot.proxies.connect(&proxy("router~127.0.0.1~a~b"), Transport::Ads, true, None);
    connection.update(ResourceType::Cluster, |status| status.wildcard = true);
    let ended = ask(&pilot, &["wait", "--timeout", "0s"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    assert!(ended.stdout.starts_with("0 of 1 proxies have everything (1 connected)\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("router~127.0.0.1~a~b"), "{}", ended.stdout);
    assert!(ended.stdout.contains("has not acknowledged"), "{}", ended.stdout);
}

#[tokio::test]
async fn what_pilot_does_not_have_is_waited_for_and_named() {
    let unready = pilot(&["east"]).await;
    let ended = ask(&unready, &["wait", "--timeout", "0s"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("pilot is not ready"), "{}", ended.stdout);
    let pilot = with_services().await;
    let ended = ask(&pilot, &["wait", "--for", "VirtualService/default/cart", "--timeout", "0s"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("pilot has no VirtualService/default/cart"), "{}", ended.stdout);
}

#[tokio::test]
async fn what_can_never_be_reached_ends_with_2() {
    let pilot = with_services().await;
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("cart.yaml");
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart}\nspec: {hots: [a]}\n";
    fs::write(&wrong, text).unwrap();
    let wrong = wrong.to_str().unwrap();
    for (arguments, words) in [
        (["wait", "--for", wrong], "cart.yaml:4:8: spec.hots: unknown field: did you mean hosts?"),
        (["wait", "--for", "no-such-file.yaml"], "no-such-file.yaml"),
        (
            ["wait", "--for", "VirtalService/default/cart"],
            "expected kind/namespace/name (known: VirtualService/",
        ),
        (["wait", "--timeout", "soon"], "--timeout"),
    ] {
        let ended = ask(&pilot, &arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
    let gone = ask(&pilot, &["wait", "--admin", "127.0.0.1:1"]).await;
    assert_eq!(gone.code, Some(2), "one of two pilots does not answer: {}", gone.stdout);
    assert!(gone.stderr.contains("pilot does not answer at 127.0.0.1:1"), "{}", gone.stderr);
    for (path, words) in [("for=a/b", "no document"), ("wait=1s", "no number"), ("at=x", "no number")] {
        let answer = pilot.get(&format!("/debug/reach?{path}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.json::<Failure>().error.contains(words), "{path}");
    }
}

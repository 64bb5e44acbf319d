//! HTTP without TLS: hosts, merged documents, redirects, changes.

use super::edge::{Edge, HTTP, all_to, bound, gateway, http_server};
use crate::support::envoy::Kind;
use crate::support::http::get;
use crate::support::load::Load;
use crate::support::wait::{holds, until};

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_servers_are_served_by_the_rules_that_are_bound_to_them() {
    for kind in Kind::ALL {
        let servers = http_server("shop.example.com, '*.example.org'");
        let rules = gateway("edge", &servers)
            + &bound("shop", "shop.example.com", &all_to("shop.mesh"))
            + &bound(
                "other",
                "shop.example.com",
                "  - match: [{uri: {prefix: /blog}}]\n    route: [{destination: {host: blog.mesh}}]\n",
            )
            + &bound(
                "all",
                "*",
                "  - match: [{uri: {prefix: /blog}}]\n    route: [{destination: {host: blog.mesh}}]\n",
            )
            + "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: inner}\nspec:\n  hosts: \
               [blog.mesh]\n  http: [{directResponse: {status: 418}}]\n";
        let Some(edge) = Edge::open_as(kind, &[("edge.yaml", &rules)]).await else { return };
        edge.answers("shop.example.com", "/", 200, "shop").await;
        edge.answers("SHOP.example.com:8080", "/", 200, "shop").await;
        // Documents of one host are one: what is for all requests comes last.
        edge.answers("shop.example.com", "/blog", 200, "blog").await;
        edge.answers("a.example.org", "/blog", 200, "blog").await;
        edge.answers("a.example.org", "/", 404, "").await;
        for host in ["example.org", "blog.mesh", "shop.mesh", "other.example.com"] {
            let answer = edge.get(host, "/").await.unwrap();
            assert_eq!(answer.status, 404, "{host}: {answer:?}");
            assert_eq!(answer.body, format!("pilot: no rule at this gateway has host {host}"));
        }
        assert!(get(edge.at(80), "shop.mesh", "/").await.is_err(), "services have no listeners of their own");
        edge.envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_documents_at_gateways_is_said() {
    let second = gateway("second", &http_server("'*'").replace("HTTP,", "TCP,").replace("HTTP}", "TCP}"));
    let rules = gateway("edge", &http_server("'*.example.com'"))
        + &second
        + &gateway(
            "idle",
            "  - {port: {number: 9, name: http, protocol: HTTP}, bind: ADDRESS, hosts: ['*']}\n",
        )
        + &bound("shop", "shop.example.com", &all_to("shop.mesh"))
        + &bound("outside", "example.com", &all_to("shop.mesh"))
        + &bound("nowhere", "blog.example.com", &all_to("blog.mesh")).replace("[edge]", "[none]")
        + &bound("twice", "shop.example.com", &all_to("blog.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    edge.answers("shop.example.com", "/", 200, "shop").await;
    for (document, state, why) in [
        ("Gateway/default/edge", "accepted", ""),
        (
            "Gateway/default/second",
            "conflicted",
            "spec.servers[0]: servers[0] of Gateway/default/edge counts",
        ),
        ("Gateway/default/idle", "unused", "expected gateways: [default/idle]"),
        ("VirtualService/default/shop", "accepted", ""),
        ("VirtualService/default/outside", "unused", "default/edge has *.example.com"),
        ("VirtualService/default/nowhere", "dangling", "no Gateway default/none is there"),
        (
            "VirtualService/default/twice",
            "conflicted",
            "VirtualService/default/shop has a rule for all requests",
        ),
    ] {
        let (found, text) = edge.state(document).await;
        assert!(found == state && text.contains(why), "{document}: {text}");
    }
    edge.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_redirects_to_https_whatever_rules_say() {
    let servers = http_server("shop.example.com").replace("hosts:", "tls: {httpsRedirect: true}, hosts:");
    let plain = http_server("'*.example.com'").replace("name: http", "name: other");
    let rules = gateway("edge", &(servers + &plain)) + &bound("all", "*.example.com", &all_to("shop.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    let answer = edge.answers("shop.example.com", "/a?b=c", 301, "").await;
    assert_eq!(answer.header("location"), "https://shop.example.com/a?b=c");
    edge.answers("blog.example.com", "/", 200, "shop").await;
}

/// How often documents change under load: 500 times where there is time.
fn changes() -> usize {
    if std::env::var_os("PILOT_TEST_LONG").is_some() { 500 } else { 20 }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_documents_lose_no_request() {
    let rules = gateway("edge", &http_server("'*.example.com'"))
        + &bound("shop", "shop.example.com", &all_to("shop.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    edge.answers("shop.example.com", "/", 200, "shop").await;
    let load = Load::start(edge.at(HTTP), &["shop.example.com"], 2, &[]);
    for turn in 0..changes() {
        // Another host, another destination, and at times another Gateway at another port.
        let to = if turn % 2 == 0 { "blog" } else { "shop" };
        edge.write("blog.yaml", &bound("blog", "blog.example.com", &all_to(&format!("{to}.mesh"))));
        if turn % 5 == 0 {
            let port = format!(
                "  - {{port: {{number: {}, name: http, protocol: HTTP}}, bind: ADDRESS, hosts: ['*']}}\n",
                9000 + turn
            );
            edge.write("more.yaml", &gateway("more", &port));
        }
        edge.answers("blog.example.com", "/", 200, to).await;
        load.more(10).await;
    }
    // Who has the requests under load is another one now.
    edge.write(
        "edge.yaml",
        &(gateway("edge", &http_server("'*.example.com'"))
            + &bound("shop", "shop.example.com", &all_to("blog.mesh"))),
    );
    edge.answers("shop.example.com", "/", 200, "blog").await;
    let outcome = load.finish().await;
    outcome.assert_no_failure();
    edge.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_endpoints_makes_nothing_at_the_edge_anew() {
    let rules =
        gateway("edge", &http_server("'*'")) + &bound("shop", "shop.example.com", &all_to("shop.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    edge.answers("shop.example.com", "/", 200, "shop").await;
    let updates = async || {
        let stats = edge.envoy.stats().await;
        (
            stats["listener_manager.lds.update_success"],
            stats[&format!(
                "http.gateway_http.{HTTP}.{}.rds.http.{HTTP}.{}.update_success",
                edge.pilot.address(),
                edge.pilot.address()
            )],
        )
    };
    let before = updates().await;
    let blog =
        "[[service]]\nhost = \"shop.mesh\"\nports = [{ port = 80, protocol = \"http\" }]\nendpoints = []\n";
    edge.pilot.write_services(blog);
    until("the endpoint is gone", async || {
        let answer = edge.get("shop.example.com", "/").await?;
        holds(answer.status == 503, format!("{answer:?}"))
    })
    .await;
    assert_eq!(updates().await, before);
    until("the failure is written", async || {
        let written = edge.envoy.process().output();
        holds(written.contains("\"status\":503") && !written.contains("\"status\":200"), written)
    })
    .await;
}

//! Hosts as clients send them to `http_listen`, with any port: wildcards, exact hosts, and where redirects lead.

use pilot::admin::ExplainReport;
use serde_json::json;

use super::shop::{Asked, SUBSETS, Shop, TO_V1, virtual_service};
use crate::support::envoy::Kind;

const STORE: &str = "[rules.local.file]\npath = \"rules\"\n";

fn explained(shop: &Shop, url: &str) -> ExplainReport {
    let output = shop.pilot.command(&["explain", url, "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_is_for_hosts_with_any_port_and_exact_hosts_go_first() {
    let answer = |status: u32| format!("  - directResponse: {{status: {status}}}\n");
    let rules = [
        ("any.yaml", virtual_service("any", "\"*.example.com\"", TO_V1)),
        ("near.yaml", virtual_service("near", "\"*.api.example.com\"", &answer(297))),
        ("one.yaml", virtual_service("one", "one.example.com", &answer(296))),
        ("subsets.yaml", SUBSETS.to_owned()),
    ];
    let rules: Vec<_> = rules.iter().map(|(name, text)| (*name, text.as_str())).collect();
    // Routes in parts, and as a whole.
    for kind in [Kind::Delta, Kind::Sotw] {
        let Some(shop) = Shop::open_as(kind, STORE, &rules, json!({})).await else { return };
        let cases = [
            ("blog.example.com", 200, "*.example.com"),
            ("blog.example.com:15080", 200, "*.example.com"),
            ("Blog.Example.com.:8080", 200, "*.example.com"),
            ("x.api.example.com:15080", 297, "*.api.example.com"),
            ("one.example.com:15080", 296, "one.example.com:*"),
            ("one.example.com:1", 296, "one.example.com:*"),
            ("example.com:15080", 404, ""),
            ("blog.example.com.org:15080", 404, ""),
        ];
        for (host, status, domain) in cases {
            let asked = Asked { host, path: "/a", headers: &[] };
            let answer = shop.until(host, &asked, |answer| answer.status == status).await;
            assert_eq!(answer.body == "v1", status == 200, "{host}: {answer:?}");
            let report = explained(&shop, &format!("http://{host}/a"));
            let found = report.virtual_host.filter(|found| found.domain != "*").map(|found| found.domain);
            assert_eq!(found.unwrap_or_default(), domain, "{host}");
            if status != 404 {
                assert_eq!(report.routes.last().unwrap().rule.as_deref(), Some("spec.http[0]"), "{host}");
            }
        }
        // What is gone is gone for these hosts, too.
        shop.remove("any.yaml");
        let asked = Asked { host: "blog.example.com:15080", path: "/", headers: &[] };
        shop.until("gone", &asked, |answer| answer.status == 404).await;
        shop.envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_lead_to_ports_that_the_client_can_reach() {
    let http = "  - match: [{uri: {prefix: /same}}]
    redirect: {uri: /x, derivePort: FROM_REQUEST_PORT}
  - match: [{uri: {prefix: /secure}}]
    redirect: {uri: /x, scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}
  - match: [{uri: {prefix: /other}}]
    redirect: {uri: /x, authority: other.example, port: 80}
  - redirect: {uri: /x, port: 80}
";
    let document = virtual_service("cart", "cart.local, away.example, \"*.far.example\"", http);
    let Some(shop) = Shop::open(&[("cart.yaml", &document)]).await else { return };
    for host in ["cart.local", "away.example", "a.far.example"] {
        for (path, location) in [
            ("/same", format!("http://{host}:15080/x")),
            ("/secure", format!("https://{host}:443/x")),
            ("/other", "http://other.example/x".to_owned()),
            ("/", format!("http://{host}:80/x")),
        ] {
            let named = format!("{host}:15080");
            let asked = Asked { host: &named, path, headers: &[] };
            shop.until(&location, &asked, |answer| answer.header("location") == location).await;
        }
    }
    shop.envoy.assert_no_rejections().await;
}

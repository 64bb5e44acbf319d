//! Rules in a folder of files: what people write there is what happens to requests through a real Envoy.

mod access_log;
mod changes;
mod connections;
mod explain;
mod grpc;
mod hosts;
mod places;
mod proxy_protocol;
mod shop;
mod stores;
mod wait;

use std::time::Duration;

use pilot_registry_testkit::server::etcd::EtcdCluster;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::envoy::Kind;
use crate::support::http::{Answer, Connection};
use crate::support::load::Load;
use crate::support::wait::{holds, throughout, until};
use shop::{Asked, SUBSETS, Shop, TO_V1, cart, virtual_service};

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_the_first_rule_that_fits_says() {
    let http = "  - match: [{headers: {end-user: {exact: jo}}}, {uri: {prefix: /next}}]
    route: [{destination: {host: cart.local, subset: v2}}]
  - match: [{uri: {exact: /stock}}]
    route: [{destination: {host: stock.local}}]
  - match: [{uri: {prefix: /}, method: {exact: GET}}]
    route: [{destination: {host: cart.local, subset: v1}}]
";
    let document = virtual_service("cart", "cart.local", http);
    let Some(shop) = Shop::open(&[("cart.yaml", &document), ("subsets.yaml", SUBSETS)]).await else { return };
    let as_jo = Asked { headers: &[("end-user", "jo")], ..cart("/") };
    for _ in 0..4 {
        shop.answers(&cart("/"), 200, "v1").await;
        shop.answers(&as_jo, 200, "v2").await;
        shop.answers(&cart("/next/x"), 200, "v2").await;
        shop.answers(&cart("/stock?q=1"), 200, "stock").await;
    }
    let post = http::Request::post("/").header("host", "cart.local");
    let answer = shop.ask(post).await.unwrap();
    assert_eq!(answer.status, 404, "no rule is for it");
    assert!(answer.body.contains("VirtualService/default/cart"), "{answer:?}");
    // The port of the service leads to the same.
    let by_port = Connection::open(shop.envoy.port(8080)).await.unwrap().send(as_jo.builder()).await.unwrap();
    assert_eq!(by_port.body, "v2");
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_shift_requests_from_one_version_to_the_other_and_none_is_lost() {
    let weighted = |v1: u32, v2: u32| {
        let http = format!(
            "  - route:\n    - {{destination: {{host: cart.local, subset: v1}}, weight: {v1}}}\n    - {{destination: \
             {{host: cart.local, subset: v2}}, weight: {v2}}}\n"
        );
        virtual_service("cart", "cart.local", &http)
    };
    let Some(shop) = Shop::open(&[("subsets.yaml", SUBSETS)]).await else { return };
    let load = Load::start(shop.envoy.http_address(), &["cart.local"], 2, &[]);
    shop.write("cart.yaml", &weighted(90, 10));
    load.more(200).await;
    let before = (shop.v1.served(), shop.v2.served());
    load.more(1000).await;
    let (v1, v2) = (shop.v1.served() - before.0, shop.v2.served() - before.1);
    let share = v2 as f64 / (v1 + v2) as f64;
    assert!((0.05..0.2).contains(&share), "{v1} to v1, {v2} to v2");
    shop.write("cart.yaml", &weighted(0, 1));
    until("all requests go to v2", async || {
        let before = shop.v1.served();
        load.more(50).await;
        holds(shop.v1.served() == before, "v1 is still asked")
    })
    .await;
    shop.remove("cart.yaml");
    until("both are asked", async || {
        let before = shop.v1.served();
        load.more(50).await;
        holds(shop.v1.served() > before, "v1 is not asked")
    })
    .await;
    load.finish().await.assert_no_failure();
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_does_to_requests_is_done() {
    let http = "  - match: [{uri: {prefix: /aborted}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: cart.local}}]
  - match: [{uri: {prefix: /delayed}}]
    fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}
    route: [{destination: {host: stock.local}}]
  - match: [{uri: {prefix: /never}}]
    timeout: 200ms
    route: [{destination: {host: silent.local}}]
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /here, authority: other.local, redirectCode: 302}
  - match: [{uri: {prefix: /said}}]
    directResponse: {status: 203, body: {string: so}}
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/, authority: inner.local}
    headers: {request: {set: {x-added: yes-it-is}}, response: {add: {x-answered: indeed}, remove: [x-seen-version]}}
    route: [{destination: {host: stock.local}}]
  - match: [{uri: {prefix: /gone}}]
    route: [{destination: {host: nowhere.local}}]
  - match: [{uri: {prefix: /unknown-subset}}]
    route: [{destination: {host: cart.local, subset: v9}}]
  - corsPolicy: {allowOrigins: [{exact: \"https://page.example\"}], allowMethods: [GET], maxAge: 1h}
    mirror: {host: cart.local, subset: v2}
    route: [{destination: {host: stock.local}}]
";
    let document = virtual_service("cart", "cart.local", http);
    let Some(shop) = Shop::open(&[("cart.yaml", &document), ("subsets.yaml", SUBSETS)]).await else { return };
    shop.answers(&cart("/aborted"), 418, "fault filter abort").await;
    let began = Instant::now();
    shop.answers(&cart("/delayed"), 200, "stock").await;
    // Envoy's clock goes in steps of some milliseconds.
    assert!(began.elapsed() >= Duration::from_millis(280), "{:?}", began.elapsed());
    shop.answers(&cart("/never"), 504, "upstream request timeout").await;
    shop.until("moved", &cart("/moved"), |answer| {
        answer.status == 302 && answer.header("location") == "http://other.local/here"
    })
    .await;
    shop.answers(&cart("/said"), 203, "so").await;
    let rewritten = shop.answers(&cart("/old/x?y=1"), 200, "stock").await;
    assert_eq!(rewritten.header("x-seen-path"), "/new/x?y=1");
    assert_eq!(rewritten.header("x-seen-host"), "inner.local");
    assert_eq!(rewritten.header("x-seen-added"), "yes-it-is");
    assert_eq!((rewritten.header("x-answered"), rewritten.header("x-seen-version")), ("indeed", ""));
    for path in ["/gone", "/unknown-subset"] {
        assert_eq!(shop.ask(cart(path).builder()).await.unwrap().status, 503, "{path}");
    }
    let preflight = http::Request::options("/")
        .header("host", "cart.local")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "GET");
    let allowed = shop.ask(preflight).await.unwrap();
    assert_eq!(allowed.header("access-control-allow-origin"), "https://page.example", "{allowed:?}");
    assert_eq!(allowed.header("access-control-max-age"), "3600");
    let mirrored = shop.v2.served();
    shop.answers(&cart("/"), 200, "stock").await;
    until("a copy reaches v2", async || holds(shop.v2.served() > mirrored, shop.v2.served())).await;
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_wrong_keeps_its_last_good_version_and_stops_no_other() {
    let good = virtual_service("cart", "cart.local", TO_V1);
    let Some(mut shop) = Shop::open(&[("cart.yaml", &good), ("subsets.yaml", SUBSETS)]).await else { return };
    shop.answers(&cart("/"), 200, "v1").await;
    shop.write("cart.yaml", &good.replace("route:", "rout:"));
    let stock = "  - directResponse: {status: 299}\n";
    shop.write("stock.yaml", &virtual_service("stock", "stock.local", stock));
    let stock = Asked { host: "stock.local", path: "/", headers: &[] };
    shop.until("the other counts", &stock, |answer| answer.status == 299).await;
    for _ in 0..6 {
        assert_eq!(shop.ask(cart("/").builder()).await.unwrap().body, "v1", "its last good version");
    }
    let log = shop.pilot.process().output();
    assert!(log.contains("cart.yaml:7:5: spec.http[0].rout: unknown field: did you mean route?"), "{log}");
    shop.write("cart.yaml", &good.replace("subset: v1", "subset: v2"));
    shop.envoy.answers_only("cart.local", "v2").await;
    // A version that could not be read at all is no other document.
    shop.write("cart.yaml", "kind: [");
    shop.write("stock.yaml", "");
    shop.envoy.answers("stock.local", "stock").await;
    assert_eq!(shop.ask(cart("/").builder()).await.unwrap().body, "v2");
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_rules_that_is_suddenly_empty_is_believed_when_it_stays_so() {
    let document = virtual_service("cart", "cart.local", "  - directResponse: {status: 299}\n");
    let Some(shop) = Shop::open(&[("cart.yaml", &document)]).await else { return };
    let is_ruled = |answer: &Answer| answer.status == 299;
    shop.until("it counts", &cart("/"), is_ruled).await;
    shop.remove("cart.yaml");
    throughout("it is held", Duration::from_millis(500), async || {
        let answer = shop.ask(cart("/").builder()).await?;
        holds(is_ruled(&answer), format!("{answer:?}"))
    })
    .await;
    shop.until("it is believed", &cart("/"), |answer| answer.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_connections_count_with_and_without_a_rule_of_routes() {
    let hashed = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart.local
  trafficPolicy:
    loadBalancer: {consistentHash: {httpHeaderName: x-user}}
    connectionPool: {tcp: {connectTimeout: 2s}, http: {http1MaxPendingRequests: 7}}
    outlierDetection: {consecutive5xxErrors: 3, interval: 1s}
";
    let Some(shop) = Shop::open(&[("cart.yaml", hashed)]).await else { return };
    let dump = async || -> Result<Value, String> {
        let clusters = crate::support::http::body(
            shop.envoy.admin_address(),
            "envoy",
            "/config_dump?resource=dynamic_active_clusters&name_regex=.*cart.local",
        );
        serde_json::from_str(&clusters.await?).map_err(|error| error.to_string())
    };
    let found = until("the cluster has the policy", async || {
        let dump = dump().await?;
        let cluster = dump["configs"][0]["cluster"].clone();
        holds(cluster["lb_policy"] == "RING_HASH", &cluster).map(|()| cluster)
    })
    .await;
    assert_eq!(found["connect_timeout"], "2s");
    assert_eq!(found["circuit_breakers"]["thresholds"][0]["max_pending_requests"], 7);
    assert_eq!(found["outlier_detection"]["consecutive_5xx"], 3);
    for user in ["ann", "bob", "cy", "dee"] {
        let headers = [("x-user", user)];
        let asked = Asked { headers: &headers, ..cart("/") };
        let first = shop.ask(asked.builder()).await.unwrap().body;
        for _ in 0..5 {
            assert_eq!(shop.ask(asked.builder()).await.unwrap().body, first, "{user} stays");
        }
    }
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_for_proxies_of_the_namespaces_that_they_name() {
    let private = virtual_service("cart", "cart.local", "  - directResponse: {status: 299}\n")
        .replace("metadata: {name: cart}", "metadata: {name: cart, namespace: apps}")
        .replace("spec:\n", "spec:\n  exportTo: [\".\"]\n");
    let sourced = virtual_service(
        "stock",
        "stock.local",
        "  - match: [{sourceNamespace: apps}]\n    directResponse: {status: 298}\n",
    );
    let rules = [("cart.yaml", private.as_str()), ("stock.yaml", sourced.as_str())];
    let stock = Asked { host: "stock.local", path: "/", headers: &[] };
    let Some(inside) = Shop::open_to(&rules, json!({ "NAMESPACE": "apps" })).await else {
        return;
    };
    inside.until("its own namespace", &cart("/"), |answer| answer.status == 299).await;
    inside.until("its namespace as the source", &stock, |answer| answer.status == 298).await;
    inside.envoy.assert_no_rejections().await;
    let Some(outside) = Shop::open(&rules).await else { return };
    outside.until("everybody else", &cart("/"), |answer| answer.status == 200).await;
    outside.until("everybody else", &stock, |answer| answer.status == 200).await;
    outside.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_callers_with_labels_are_there_for_these_alone() {
    let http = "  - match: [{sourceLabels: {app: web}}]
    directResponse: {status: 295}
  - route: [{destination: {host: stock.local}}]
";
    let document = virtual_service("cart", "cart.local", http);
    let rules = [("cart.yaml", document.as_str())];
    let labels = json!({ "LABELS": { "app": "web", "tier": "front" } });
    let Some(shop) = Shop::open_to(&rules, labels).await else { return };
    shop.until("it has the label", &cart("/"), |answer| answer.status == 295).await;
    // A proxy that has what no rule asks for any more is as all others.
    shop.write("cart.yaml", &document.replace("app: web", "app: batch"));
    shop.answers(&cart("/"), 200, "stock").await;
    shop.write("cart.yaml", &document.replace("app: web", "tier: front"));
    shop.until("it has the other label", &cart("/"), |answer| answer.status == 295).await;
    shop.envoy.assert_no_rejections().await;
    let Some(other) = Shop::open(&rules).await else { return };
    other.answers(&cart("/"), 200, "stock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_no_service_has_and_wildcards_lead_to_services() {
    let rules = [
        (
            "shop.yaml",
            virtual_service("shop", "shop.example.com", "  - route: [{destination: {host: stock.local}}]\n"),
        ),
        ("any.yaml", virtual_service("any", "\"*.example.com\"", TO_V1)),
        ("local.yaml", virtual_service("local", "\"*.local\"", "  - directResponse: {status: 297}\n")),
        ("subsets.yaml", SUBSETS.to_owned()),
    ];
    let rules: Vec<_> = rules.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let Some(shop) = Shop::open(&rules).await else { return };
    let at = |host| Asked { host, path: "/", headers: &[] };
    shop.answers(&at("shop.example.com"), 200, "stock").await;
    shop.answers(&at("blog.example.com"), 200, "v1").await;
    shop.until("a wildcard is for services, too", &cart("/"), |answer| answer.status == 297).await;
    shop.write("cart.yaml", &virtual_service("cart", "cart.local", "  - directResponse: {status: 296}\n"));
    shop.until("what is exact goes first", &cart("/"), |answer| answer.status == 296).await;
    shop.until("for others it is the wildcard", &at("stock.local"), |answer| answer.status == 297).await;
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_in_the_keys_of_an_etcd_count_as_those_in_files() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let put = async |name: &str, text: &str| {
        etcd.etcdctl(&["put", &format!("/pilot/rules/{name}"), text]).await.unwrap();
    };
    put("subsets", SUBSETS).await;
    put("cart", &virtual_service("cart", "cart.local", TO_V1)).await;
    // Of a document that two stores have, the preferred one's counts.
    let local = virtual_service("stock", "stock.local", "  - directResponse: {status: 294}\n");
    put("stock", &local.replace("294", "293")).await;
    let stores = format!(
        "[rules.local.file]\npath = \"rules\"\n[rules.far]\npriority = 1\n[rules.far.etcd]\nendpoints = [\"{}\"]\n",
        etcd.endpoint(0)
    );
    let Some(shop) = Shop::open_with(&stores, &[("stock.yaml", &local)], json!({})).await else { return };
    let stock = Asked { host: "stock.local", path: "/", headers: &[] };
    shop.envoy.answers_only("cart.local", "v1").await;
    shop.until("the preferred store's", &stock, |answer| answer.status == 294).await;
    put("cart", &virtual_service("cart", "cart.local", &TO_V1.replace("v1", "v2"))).await;
    shop.envoy.answers_only("cart.local", "v2").await;
    put("cart", "kind: [").await;
    shop.remove("stock.yaml");
    shop.until("the other store's", &stock, |answer| answer.status == 293).await;
    assert_eq!(shop.ask(cart("/").builder()).await.unwrap().body, "v2", "its last good version");
    etcd.etcdctl(&["del", "/pilot/rules/cart"]).await.unwrap();
    shop.envoy.answers("cart.local", "v1").await;
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_rule_may_be_long() {
    let long = "x".repeat(1_000_000);
    let http = format!("  - directResponse: {{status: 203, body: {{string: {long}}}}}\n");
    let document = virtual_service("cart", "cart.local", &http);
    for kind in [Kind::Delta, Kind::Sotw] {
        let rules = "[rules.local.file]\npath = \"rules\"\n";
        let Some(shop) = Shop::open_as(kind, rules, &[("cart.yaml", &document)], json!({})).await else {
            return;
        };
        shop.answers(&cart("/"), 203, &long).await;
        shop.envoy.assert_no_rejections().await;
    }
}

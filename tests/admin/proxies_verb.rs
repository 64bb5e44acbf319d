//! `pilot proxies`, as its users run it.

use pilot::proxies::{RefusedStatus, WithheldStatus};
use pilot::proxy::{Proxy, Transport};
use pilot::resources::{Origin, ResourceType};
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType;
use pilot_registry_testkit::service;
use serde_json::Value;

use crate::fixture::{pilot, port, proxy};
use crate::verbs::{ask, with_services};

#[tokio::test]
async fn without_proxies_it_is_said_what_one_is_started_with() {
    let pilot = with_services().await;
    let shown = ask(&pilot, &["proxies"]).await.stdout;
    let words =
        "no proxy is connected: `pilot bootstrap` prints what an Envoy or a gRPC client is started with";
    assert!(shown.ends_with(&format!("\n\n{words}\n")), "{shown}");
    let json = ask(&pilot, &["proxies", "-o", "json"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), serde_json::json!({ "proxies": [] }));
}

#[tokio::test]
async fn proxies_show_the_worst_of_each_type_and_what_was_refused() {
    let pilot = with_services().await;
    let per_type = Transport::PerType { delta: true };
    let streams = [(); 2].map(|()| pilot.proxies.connect(&proxy("envoy-1"), per_type, true, None));
    for stream in &streams {
        stream.update(ResourceType::Endpoint, |status| {
            status.on_sent("1", "nonce", 1);
            status.on_acked("1");
        });
    }
    streams[1].update(ResourceType::Endpoint, |status| status.on_sent("2", "nonce", 1));
    streams[0].update(ResourceType::Listener, |status| {
        status.on_sent("1", "nonce", 1);
        status.on_nacked("1", "all of it");
        let refused = RefusedStatus {
            name: "l".into(),
            virtual_host: Some("h".into()),
            version: "1".into(),
            origin: "service a.local".into(),
            shared_port: None,
            message: "can't:\nno such filter\u{1b}[31m".into(),
        };
        status.on_refusals(vec![refused], false);
    });
    assert_eq!(
        ask(&pilot, &["proxies"]).await.stdout,
        "PROXY    ROLE    CLIENT  PEER  CONNS  CDS  EDS    LDS     RDS  VHDS  WORKLOAD\n\
         envoy-1  router  -       -     0      -    STALE  NACKED  -    -     -\n\
         \n\
         envoy-1 refuses lds l, virtual host h (service a.local):\n  can't:\n  no such filter\\u{1b}[31m\n"
    );
}

#[tokio::test]
async fn of_one_proxy_it_is_shown_what_its_configuration_depends_on_and_why() {
    let pilot = with_services().await;
    let ids = ["sidecar~10.0.0.7~cart-1~shop", "router~10.0.0.8~edge~shop"];
    let _streams = ids.map(|id| pilot.proxies.connect(&proxy(id), Transport::Ads, true, None));
    let all = ask(&pilot, &["proxies"]).await.stdout;
    assert!(ids.iter().all(|id| all.contains(id)) && !all.contains("is told"), "{all}");
    for name in [ids[0], "cart-1", "10.0.0.7"] {
        let shown = ask(&pilot, &["proxies", name]).await.stdout;
        assert!(!shown.contains(ids[1]), "{shown}");
        let words = format!(
            "\n\n{}:\n  is told what is for: sidecar\n  namespace: not known: it says none, and has no workload with one\n  \
             labels: none: it says none, and registries have no endpoint at the address in its node id\n",
            ids[0]
        );
        assert!(shown.ends_with(&words), "{shown}");
    }
    let mut labelled = proxy("sidecar~10.0.0.9~web-1~shop");
    labelled.labels.insert("app".to_owned(), "web".to_owned());
    let _stream = pilot.proxies.connect(&labelled, Transport::Ads, true, None);
    let shown = ask(&pilot, &["proxies", "web-1"]).await.stdout;
    assert!(shown.ends_with("labels: app=web, as it says itself\n"), "{shown}");
    let json: Value = serde_json::from_str(&ask(&pilot, &["proxies", "-o", "json"]).await.stdout).unwrap();
    let of = json["proxies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["id"] == "sidecar~10.0.0.9~web-1~shop")
        .unwrap();
    assert_eq!(
        (&of["labels"]["app"], &of["effective_labels"]["app"]),
        (&Value::from("web"), &Value::from("web"))
    );
    let shown = ask(&pilot, &["proxies", "cart-9"]).await.stdout;
    assert!(
        shown.ends_with(&format!(
            "no proxy is called cart-9: there are {}, {}, {}\n",
            ids[1], ids[0], labelled.id
        )),
        "{shown}"
    );
}

/// A listener of a port is there for all HTTP services of it: whoever looks wants to know which.
#[tokio::test]
async fn what_services_of_a_port_share_and_a_proxy_refuses_is_told_with_their_names() {
    for (hosts, words) in [
        (&["a.local"][..], "service a.local"),
        (&["a.local", "b.local"], "services a.local and b.local"),
        (&["a.local", "b.local", "c.local", "d.local"], "services a.local, b.local and 2 more"),
        (&[], "the HTTP services of port 80"),
    ] {
        let pilot = pilot(&["east"]).await;
        let db = service("db.local").tcp(80).build();
        let http = hosts.iter().map(|host| service(host).http(80).build());
        pilot.sinks[0].publish(pilot_registry_testkit::snapshot(http.chain([db])));
        pilot.ready().await;
        let stream = pilot.proxies.connect(&proxy("envoy-1"), Transport::Ads, true, None);
        stream.update(ResourceType::Listener, |status| {
            status.on_nacked("1", "");
            let refused = RefusedStatus {
                name: "127.0.0.1_80".into(),
                virtual_host: None,
                version: "1".into(),
                origin: Origin::Port(port(80)).to_string(),
                shared_port: Some(port(80)),
                message: "cannot bind".into(),
            };
            status.on_refusals(vec![refused], false);
        });
        let shown = ask(&pilot, &["proxies"]).await.stdout;
        assert!(shown.contains(&format!("refuses lds 127.0.0.1_80 ({words}):\n")), "{shown}");
    }
}

#[tokio::test]
async fn proxies_show_what_they_are_spared_because_others_refused_it() {
    let pilot = with_services().await;
    let stream = pilot.proxies.connect(&proxy("envoy-1"), Transport::Ads, true, None);
    stream.update(ResourceType::Cluster, |status| {
        status.on_sent("1", "nonce", 1);
        status.on_acked("1");
        status.withheld.push(WithheldStatus {
            name: "c".into(),
            virtual_host: None,
            version: "2".into(),
            origin: "service a.local".into(),
            shared_port: None,
            refused_by: 3,
            message: "no such type".into(),
        });
    });
    let ended = ask(&pilot, &["proxies"]).await;
    let (_, notes) = ended.stdout.split_once("\n\n").unwrap();
    assert_eq!(
        notes,
        "envoy-1 has an older version of cds c (service a.local), because 3 proxies of its client and version refused \
         the newest:\n  no such type\n"
    );
}

#[tokio::test]
async fn clients_of_two_kinds_with_one_id_have_a_row_each() {
    let pilot = with_services().await;
    let client = |name: &str| {
        let node = Node { id: "same".into(), user_agent_name: name.into(), ..Node::default() };
        pilot.proxies.connect(&Proxy::from_node(Some(&node)).unwrap(), Transport::Ads, true, None)
    };
    let _connections = [client("envoy"), client("gRPC"), client("envoy")];
    assert_eq!(
        ask(&pilot, &["proxies"]).await.stdout,
        "PROXY  ROLE    CLIENT  PEER  CONNS  CDS  EDS  LDS  RDS  VHDS  WORKLOAD\n\
         same   router  envoy   -     0      -    -    -    -    -     -\n\
         same   router  gRPC    -     0      -    -    -    -    -     -\n"
    );
}

#[tokio::test]
async fn two_proxies_with_one_node_id_have_a_row_each_and_are_named() {
    let pilot = with_services().await;
    let connect = |peer: &str| {
        let peer = Some(peer.parse().unwrap());
        pilot.proxies.connect(&proxy("same"), Transport::PerType { delta: true }, true, peer)
    };
    // The streams of one client that does not use ADS, two of them on one connection, and another client.
    let streams = ["10.0.0.1:4001", "10.0.0.1:4001", "10.0.0.1:4002"].map(connect);
    assert_eq!(
        ask(&pilot, &["proxies"]).await.stdout,
        "PROXY  ROLE    CLIENT  PEER      CONNS  CDS  EDS  LDS  RDS  VHDS  WORKLOAD\n\
         same   router  -       10.0.0.1  2      -    -    -    -    -     -\n"
    );
    let other = connect("10.0.0.2:4001");
    for (stream, version) in [(&streams[0], "1"), (&other, "2")] {
        stream.update(ResourceType::Cluster, |status| status.on_sent(version, "nonce", 1));
    }
    streams[0].update(ResourceType::Cluster, |status| status.on_acked("1"));
    assert_eq!(
        ask(&pilot, &["proxies"]).await.stdout,
        "PROXY  ROLE    CLIENT  PEER      CONNS  CDS    EDS  LDS  RDS  VHDS  WORKLOAD\n\
         same   router  -       10.0.0.1  2      ACKED  -    -    -    -     -\n\
         same   router  -       10.0.0.2  1      STALE  -    -    -    -     -\n\
         \n\
         2 proxies have node id same (10.0.0.1, 10.0.0.2): give each its own (pilot bootstrap --node-id)\n"
    );
    let json = ask(&pilot, &["proxies", "-o", "json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["proxies"][1]["peers"], serde_json::json!(["10.0.0.1", "10.0.0.2"]));
    let text = pilot.get("/metrics").await.body;
    for line in [
        "pilot_proxies_shared_node_ids 1",
        r#"pilot_proxies{state="acked"} 1"#,
        r#"pilot_proxies{state="stale"} 1"#,
        r#"pilot_proxies{state="nacked"} 0"#,
        "pilot_scopes 0",
        r#"pilot_registry_held_seconds{registry="east"} 0.0"#,
        r#"pilot_xds_refused_total{reason="streams"} 0"#,
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn names_that_do_not_exist_are_shown_with_what_may_be_meant() {
    let pilot = with_services().await;
    let connection = pilot.proxies.connect(&proxy("shop"), Transport::Ads, true, None);
    connection.update(ResourceType::Listener, |status| {
        status.on_sent("1", "nonce", 0);
        status.on_acked("1");
        status.missing = vec!["a.locale:80".into(), "a.local".into()];
    });
    assert_eq!(
        ask(&pilot, &["proxies"]).await.stdout,
        "PROXY  ROLE    CLIENT  PEER  CONNS  CDS  EDS  LDS        RDS  VHDS  WORKLOAD\n\
         shop   router  -       -     0      -    -    NOT FOUND  -    -     -\n\
         \n\
         shop asks for lds a.locale:80, which does not exist (no service has that name; did you mean a.local:80?)\n\
         \n\
         shop asks for lds a.local, which does not exist (no port of a.local has protocol grpc or http2: it has \
         80/http)\n"
    );
}

#[tokio::test]
async fn an_envoy_older_than_what_is_tested_is_marked() {
    let pilot = with_services().await;
    let client = |version: &str| {
        let version = Some(UserAgentVersionType::UserAgentVersion(version.into()));
        let node = Node {
            id: "old".into(),
            user_agent_name: "envoy".into(),
            user_agent_version_type: version,
            ..Node::default()
        };
        pilot.proxies.connect(&Proxy::from_node(Some(&node)).unwrap(), Transport::Ads, true, None)
    };
    let _connections = [client("1.20.0"), client("1.36.2")];
    let table = ask(&pilot, &["proxies"]).await.stdout;
    assert!(table.contains("envoy 1.20.0 (older than 1.36)"), "{table}");
    assert!(table.contains("envoy 1.36.2  "), "{table}");
}

#[tokio::test]
async fn of_many_proxies_the_nearest_are_named() {
    let pilot = with_services().await;
    let _connections: Vec<_> = (0..200)
        .map(|n| pilot.proxies.connect(&proxy(&format!("envoy-{n}")), Transport::Ads, true, None))
        .collect();
    let unknown = ask(&pilot, &["config", "envoy-1999"]).await.stderr;
    assert!(unknown.contains("of 200 that are (known: envoy-199, "), "{unknown}");
    assert_eq!(unknown.matches("envoy-").count(), 6, "{unknown}");
}

#[tokio::test]
async fn proxies_behind_one_address_that_share_a_node_id_are_told_so() {
    let pilot = with_services().await;
    let connect = |peer: &str| {
        let peer = Some(peer.parse().unwrap());
        let connection = pilot.proxies.connect(&proxy("same"), Transport::Ads, true, peer);
        connection.update(ResourceType::Cluster, |status| {
            status.on_sent("1", "nonce", 1);
            status.on_acked("1");
        });
        connection
    };
    let first = connect("10.0.0.1:4001");
    assert!(!ask(&pilot, &["proxies"]).await.stdout.contains("node id"));
    let second = connect("10.0.0.1:4002");
    assert_eq!(
        ask(&pilot, &["proxies"]).await.stdout,
        "PROXY  ROLE    CLIENT  PEER      CONNS  CDS    EDS  LDS  RDS  VHDS  WORKLOAD\n\
         same   router  -       10.0.0.1  2      ACKED  -    -    -    -     -\n\
         \n\
         2 connections from 10.0.0.1 ask for the same with node id same: give each proxy its own (pilot bootstrap \
         --node-id). A proxy that has just connected again is shown so until its old connection ends\n"
    );
    drop(first);
    assert!(!ask(&pilot, &["proxies"]).await.stdout.contains("node id"));
    drop(second);
}

//! The verbs that ask a running pilot, as their users run them.

use std::process::Stdio;

use pilot::proxies::{RefusedStatus, WithheldStatus};
use pilot::proxy::{Proxy, Transport};
use pilot::resources::ResourceType;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType;
use pilot_registry::{Protocol, Snapshot};
use pilot_registry_testkit::service;
use serde_json::Value;
use tokio::process::Command;

use crate::fixture::{Pilot, pilot, proxy, snapshot, speaking};

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `pilot` in a folder without pilot.toml, with nothing in its environment.
async fn run(args: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilot"));
    command.args(args).current_dir(&folder).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a verb against that pilot.
pub(crate) async fn ask(pilot: &Pilot, args: &[&str]) -> Ended {
    let url = format!("http://{}", pilot.addr);
    run(&[args, &["--admin", &url]].concat()).await
}

async fn with_services() -> Pilot {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local", "b.local"]));
    pilot.ready().await;
    pilot
}

#[tokio::test]
async fn a_release_takes_the_admin_server_before_and_after_it_and_ignores_nothing() {
    let pilot = with_services().await;
    let url = format!("http://{}", pilot.addr);
    for arguments in [
        ["registries", "--admin", &url, "release", "nope"],
        ["registries", "release", "nope", "--admin", &url],
    ] {
        assert_eq!(
            run(&arguments).await.stderr,
            "error: no registry \"nope\" (known: east)\n",
            "{arguments:?}"
        );
    }
    let misplaced = ask(&pilot, &["registries", "-o", "json", "release", "east"]).await;
    assert!(misplaced.stderr.contains("pilot registries release NAME -o json"), "{}", misplaced.stderr);
}

#[tokio::test]
async fn services_are_shown_as_a_table_and_as_json() {
    let pilot = with_services().await;
    let table = ask(&pilot, &["services"]).await;
    assert_eq!(
        table.stdout,
        "HOST     PORTS    ENDPOINTS  REGISTRIES\n\
         a.local  80/http  1          east\n\
         b.local  80/http  1          east\n"
    );
    let one = ask(&pilot, &["services", "a.local"]).await;
    assert_eq!(
        one.stdout,
        "a.local (endpoints), 80/http\n\n\
         ADDRESS    PORTS     HEALTH   WEIGHT  LOCALITY  REGISTRY\n\
         127.0.0.1  80->8080  unknown  1       /a        east\n"
    );
    let json = ask(&pilot, &["services", "-o", "json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["services"][1]["host"], "b.local");
}

/// Before a proxy is connected, too: the first one would find it so.
#[tokio::test]
async fn services_that_want_one_port_are_told_with_the_list_and_with_each() {
    let pilot = pilot(&["east"]).await;
    let quarrel = ["a.local", "b.local"];
    let services = quarrel.map(|host| service(host).tcp(3306).endpoint("10.0.0.1", 3306).build());
    pilot.sinks[0].publish(pilot_registry_testkit::snapshot(services));
    pilot.ready().await;
    let words = "b.local cannot be reached at 127.0.0.1:3306: a.local has it";
    let all = ask(&pilot, &["services"]).await.stdout;
    assert!(all.contains(&format!("\nconflicts for routers (no proxy is connected):\n  {words}")), "{all}");
    for host in quarrel {
        let one = ask(&pilot, &["services", host]).await.stdout;
        assert!(one.contains(&format!("\nconflicts with others:\n  {words}")), "{one}");
    }
}

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
async fn the_beginning_of_a_node_id_is_enough_where_no_other_begins_so() {
    let pilot = with_services().await;
    let connect = |id: &str| pilot.proxies.connect(&proxy(id), Transport::Ads, true, None);
    let _connections = ["router~127.0.0.1~east~a", "router~127.0.0.1~west~a"].map(connect);
    let one = ask(&pilot, &["config", "router~127.0.0.1~e", "--type", "cds"]).await;
    assert!(one.code == Some(0) && one.stdout.contains("outbound|80||a.local"), "{}", one.stderr);
    let several = ask(&pilot, &["config", "router~"]).await;
    assert_eq!(
        several.stderr,
        "error: \"router~\" is the beginning of 2 node ids (known: router~127.0.0.1~east~a, router~127.0.0.1~west~a)\n"
    );
}

#[tokio::test]
async fn services_that_registries_disagree_about_are_marked() {
    let pilot = pilot(&["east", "west"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local", "b.local"]));
    pilot.sinks[1].publish(speaking(Protocol::Tcp, &["a.local"]));
    pilot.ready().await;
    let told = "protocol of port 80: registry east says http, registry west says tcp, \
                east decides: it is preferred\n";
    let table = ask(&pilot, &["services"]).await;
    assert_eq!(
        table.stdout,
        format!(
            "HOST     PORTS    ENDPOINTS  REGISTRIES\n\
             a.local  80/http  1          east,west (1 conflict)\n\
             b.local  80/http  1          east\n\n\
             what registries disagree about:\n  a.local: {told}"
        )
    );
    let one = ask(&pilot, &["services", "a.local"]).await;
    assert!(
        one.stdout.ends_with(&format!("\n\nwhat registries disagree about:\n  {told}")),
        "{}",
        one.stdout
    );
    assert!(one.stdout.contains("west (not used: east has it)"), "{}", one.stdout);
}

#[tokio::test]
async fn an_unknown_service_is_an_error_that_names_others() {
    let ended = ask(&with_services().await, &["services", "a.locale"]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "error: no service \"a.locale\" (known: a.local, b.local)\n");
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
         2 proxies have node id same (10.0.0.1, 10.0.0.2): give each its own\n"
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
async fn config_shows_what_a_proxy_gets_connected_or_not() {
    let pilot = with_services().await;
    let _connection = pilot.proxies.connect(&proxy("envoy-1"), Transport::Ads, true, None);
    let name = "outbound|80||a.local";
    let yaml = ask(&pilot, &["config", "envoy-1", "--type", "cds", "--name", name]).await;
    assert!(
        yaml.stdout.starts_with("cds:\n") && yaml.stdout.contains(name),
        "{}{}",
        yaml.stdout,
        yaml.stderr
    );
    let json = ask(&pilot, &["config", "envoy-2", "--not-connected", "-o", "json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["cds"][0]["name"], name);
    let placed = ["config", "envoy-2", "--region", "eu", "--zone", "a", "--sub-zone", "b", "-o", "json"];
    let json = ask(&pilot, &[&placed[..], &["--not-connected"]].concat()).await;
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap(), report, "nearness is not asked for");
    let wrong = ask(&pilot, &placed).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("add --not-connected"), "{}", wrong.stderr);
    let unknown = ask(&pilot, &["config", "envoy-2"]).await;
    assert_eq!(unknown.code, Some(1));
    assert_eq!(unknown.stderr, "error: no proxy \"envoy-2\" is connected, of 1 that are (known: envoy-1)\n");
}

#[tokio::test]
async fn names_of_a_namespace_are_shown() {
    let pilot = pilot(&["east"]).await;
    let web = service("web.shop").http(80).namespace("shop").local_name("web").build();
    pilot.sinks[0].publish(Snapshot::new([web]).unwrap());
    pilot.ready().await;
    let shown = ask(&pilot, &["services", "web.shop"]).await.stdout;
    assert!(shown.contains("\nweb in namespace shop\n"), "{shown}");
    let of = ["config", "laptop", "--type", "rds", "--namespace", "shop"];
    let config = ask(&pilot, &[&of[..], &["--not-connected"]].concat()).await.stdout;
    assert!(config.contains("- web\n"), "{config}");
    let wrong = ask(&pilot, &of).await;
    assert!(wrong.stderr.contains("add --not-connected"), "{}", wrong.stderr);
}

#[tokio::test]
async fn where_no_pilot_answers_the_error_says_what_to_do() {
    let closed = pilot_registry_testkit::server::free_address().unwrap();
    let ended = run(&["proxies", "--admin", &closed.to_string()]).await;
    assert_eq!(ended.code, Some(1));
    let start = format!("error: pilot does not answer at {closed} (");
    assert!(
        ended.stderr.starts_with(&start) && ended.stderr.contains("--admin names another"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn bootstraps_need_no_configuration_and_follow_it_where_there_is_one() {
    let yaml = run(&["bootstrap", "--node-id", "on", "--sotw"]).await;
    assert!(yaml.stdout.starts_with("# Starts an Envoy"), "{}{}", yaml.stdout, yaml.stderr);
    let bootstrap: Value = serde_saphyr::from_str(&yaml.stdout).unwrap();
    assert_eq!(bootstrap["node"]["id"], "on");
    assert_eq!(bootstrap["dynamic_resources"]["ads_config"]["api_type"], "GRPC");
    let json = run(&["bootstrap", "--grpc", "--set", "xds.listen=127.0.0.1:19000"]).await;
    let bootstrap: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(bootstrap["xds_servers"][0]["server_uri"], "127.0.0.1:19000");
    // An Envoy and a gRPC client of one machine are two.
    let grpc_id = bootstrap["node"]["id"].as_str().unwrap().to_owned();
    let envoy: Value = serde_saphyr::from_str(&run(&["bootstrap"]).await.stdout).unwrap();
    assert_eq!(grpc_id, envoy["node"]["id"].as_str().unwrap().replace("~local", "-grpc~local"));
    let missing = run(&["bootstrap", "--config", "missing.toml"]).await;
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(2), ""));
}

#[tokio::test]
async fn a_pilot_that_knows_nothing_yet_says_what_it_waits_for() {
    let pilot = pilot(&["east"]).await;
    let expected = "error: the services are not known yet: registry east: has not answered yet\n";
    assert_eq!(ask(&pilot, &["services"]).await.stderr, expected);
    assert_eq!(ask(&pilot, &["config", "a", "--not-connected"]).await.stderr, expected);
}

#[tokio::test]
async fn registries_are_shown_and_what_is_held_is_let_go() {
    let pilot = pilot(&["east", "west"]).await;
    let hosts: Vec<String> = (0..12).map(|n| format!("s{n}.local")).collect();
    pilot.sinks[0].publish(snapshot(&hosts.iter().map(String::as_str).collect::<Vec<_>>()));
    pilot.sinks[1].skipped("reviews", "port 0 is not a port");
    pilot.sinks[1].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    pilot.sinks[0].publish(snapshot(&["s0.local", "s1.local"]));
    pilot.feeds[1].attempt_failed(pilot_registry::RegistryError::denied("the token was refused"));
    pilot.get_until("/metrics", |it| it.body.contains("held_endpoints{registry=\"east\"} 10")).await;

    let shown = ask(&pilot, &["registries"]).await.stdout;
    let lines: Vec<_> = shown.lines().collect();
    let cells = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    let heads = cells(0);
    assert_eq!(heads[..6], ["REGISTRY", "KIND", "PRIORITY", "HEALTH", "SOURCE", "REVISION"]);
    assert_eq!(heads[6..], ["AGE", "SERVICES", "ENDPOINTS", "HELD", "SKIPPED"]);
    let (east, west) = (cells(1), cells(2));
    assert_eq!(east[..6], ["east", "scripted", "0", "live", "registry", "2"]);
    assert_eq!(east[7..], ["12", "12", "10", "-"]);
    assert_eq!(west[..6], ["west", "scripted", "1", "degraded", "registry", "1"]);
    assert_eq!(west[7..], ["1", "1", "-", "1"]);
    assert!(lines[4].starts_with("east: held since ") && lines[4].contains("s9.local (1)"), "{shown}");
    assert!(lines[4].contains(", until 2"), "{shown}");
    let services = ask(&pilot, &["services"]).await.stdout;
    assert!(services.contains("\nwhat registries do not say now:\n"), "{services}");
    assert!(services.contains("  s9.local: 1 held of east\n"), "{services}");
    assert!(
        lines[5].starts_with("west: denied since ") && lines[5].ends_with("the token was refused"),
        "{shown}"
    );
    assert_eq!(lines[6], "west: reviews is skipped: port 0 is not a port");
    let json = ask(&pilot, &["registries", "-o", "json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["registries"][0]["held"]["endpoints"], 10);

    let released = ask(&pilot, &["registries", "release", "east"]).await.stdout;
    assert!(released.starts_with("let go of 10 endpoints of east\n\nSERVICE "), "{released}");
    let again = ask(&pilot, &["registries", "release", "east"]).await.stdout;
    assert_eq!(again, "nothing was held of east\n");
    let unknown = ask(&pilot, &["registries", "release", "south"]).await;
    assert_eq!(
        (unknown.code, unknown.stderr.as_str()),
        (Some(1), "error: no registry \"south\" (known: east, west)\n")
    );
}

//! The verbs that ask a running pilot, as their users run them.

use std::process::Stdio;
use std::sync::Arc;

use pilot::proxy::Transport;
use pilot_registry::{Protocol, Service, ServicePort, ServiceSpec, Snapshot};
use pilot_registry_testkit::service;
use serde_json::Value;
use tokio::process::Command;

use crate::fixture::{Pilot, pilot, port, proxy, snapshot, speaking};

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

pub(crate) async fn with_services() -> Pilot {
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
    let json = ask(&pilot, &["services", "-o", "json"]).await.stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    for (host, of_list) in quarrel.into_iter().zip(json["services"].as_array().unwrap()) {
        let of_one = ask(&pilot, &["services", host, "-o", "json"]).await.stdout;
        let of_one: Value = serde_json::from_str(&of_one).unwrap();
        assert!(of_one["conflicts"][0].as_str().unwrap().starts_with(words), "{of_one}");
        assert_eq!(of_one["conflicts"], of_list["conflicts"]);
        let one = ask(&pilot, &["services", host]).await.stdout;
        assert!(one.contains(&format!("\nconflicts:\n  {words}")), "{one}");
    }
}

#[tokio::test]
async fn the_beginning_of_a_node_id_is_enough_where_no_other_begins_so() {
    let pilot = with_services().await;
    let connect = |id: &str| pilot.proxies.connect(&proxy(id), Transport::Ads, true, None);
    let _connections = ["router~127.0.0.1~east~a", "router~127.0.0.1~west~a"].map(connect);
    let one = ask(&pilot, &["config", "router~127.0.0.1~e", "--type", "cds"]).await;
    assert!(one.code == Some(0) && one.stdout.contains("outbound|80||a.local"), "{}", one.stderr);
    let nobody = ask(&pilot, &["config", ""]).await;
    assert!(nobody.stderr.starts_with("error: the node id is empty: expected that of"), "{}", nobody.stderr);
    assert_eq!(nobody.code, Some(1));
    let wrong = ask(&pilot, &["config", "router~127.0.0.1~east", "--name", "a.local"]).await;
    for (name, count) in [("outbound|80||a.local", 1), ("127.0.0.1_80", 1), ("80", 1)] {
        let known = wrong.stderr.split_once("(known: ").unwrap().1.trim_end().trim_end_matches(')');
        assert_eq!(known.split(", ").filter(|it| *it == name).count(), count, "{name}: {}", wrong.stderr);
    }
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
             a.local  80/http  1          east,west (1 disagreement)\n\
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
async fn services_with_a_port_of_pilot_or_of_envoys_admin_page_are_told() {
    let pilot = pilot(&["east"]).await;
    let on = |number: u32, host: &str| {
        let number = port(number);
        let mut spec = ServiceSpec::new(host.parse().unwrap());
        spec.ports = vec![ServicePort { number, name: "tcp".into(), protocol: Protocol::Tcp }];
        Arc::new(Service::new(spec).unwrap())
    };
    let services = [on(18000, "a.local"), on(18080, "b.local"), on(9901, "c.local"), on(5432, "d.local")];
    pilot.sinks[0].publish(Snapshot::new(services).unwrap());
    pilot.ready().await;
    let all = ask(&pilot, &["services"]).await.stdout;
    let beside = all.split_once("conflicts for proxies on pilot's machine:\n").unwrap().1;
    let expected = [
        "port 9901 of c.local: Envoy has its own admin page there: give the service another port, or move the page \
         with pilot bootstrap --admin-address",
        "port 18000 of a.local: pilot itself listens at 127.0.0.1:18000 (xds.listen), so Envoy cannot listen there: \
         give the service another port, or pilot another xds.listen",
        "port 18080 of b.local: pilot itself listens at 127.0.0.1:18080 (admin.listen), so Envoy cannot listen there: \
         give the service another port, or pilot another admin.listen",
    ];
    assert_eq!(beside.lines().map(str::trim_start).collect::<Vec<_>>(), expected);
    assert!(ask(&pilot, &["services", "a.local"]).await.stdout.contains(expected[1]));
    assert!(!ask(&pilot, &["services", "d.local"]).await.stdout.contains("conflicts"));
}

#[tokio::test]
async fn ports_that_were_guessed_are_noted_where_all_is_asked_for() {
    let pilot = pilot(&["east"]).await;
    let guessed = service("a.local").http(8080).guessed().endpoint("10.0.0.1", 8080).build();
    let said = service("b.local").http(80).endpoint("10.0.0.1", 8080).build();
    pilot.sinks[0].publish(pilot_registry_testkit::snapshot([guessed, said]));
    pilot.ready().await;
    let note = "served at port 8080, which was guessed: say in its registry which port clients call\n";
    let all = ask(&pilot, &["services", "-o", "wide"]).await.stdout;
    assert!(all.ends_with(&format!("\n\nwhat was guessed:\n  a.local: {note}")), "{all}");
    let one = ask(&pilot, &["services", "a.local", "-o", "wide"]).await.stdout;
    assert!(one.ends_with(&format!("\n\nwhat was guessed:\n  {note}")), "{one}");
    let short = ask(&pilot, &["services", "a.local"]).await.stdout;
    assert!(!short.contains("guessed"), "{short}");
    let json = ask(&pilot, &["services", "-o", "json"]).await.stdout;
    let report: Value = serde_json::from_str(&json).unwrap();
    let ports = [0, 1].map(|at| report["services"][at]["guessed_ports"].clone());
    assert_eq!(ports, [serde_json::json!([8080]), Value::Null]);
    let metrics = pilot.get("/metrics").await.body;
    let line = r#"pilot_registry_guessed_ports{registry="east"} 1"#;
    assert!(metrics.lines().any(|it| it == line), "{metrics}");
}

#[tokio::test]
async fn an_unknown_service_is_an_error_that_names_others() {
    let ended = ask(&with_services().await, &["services", "a.locale"]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "error: no service \"a.locale\" (known: a.local, b.local)\n");
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

#[tokio::test]
async fn documents_are_compared_with_the_services_of_a_running_pilot() {
    let pilot = with_services().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, host: &str| {
        let head = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: ";
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, format!("{head}{name}}}\nspec: {{host: {host}}}\n")).unwrap();
        file.display().to_string()
    };
    let (known, unknown) = (write("a", "a.local"), write("gone", "gone.local"));
    let checked = ask(&pilot, &["check", &known]).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{}", checked.stdout);
    assert!(!checked.stdout.contains("no service"), "{}", checked.stdout);
    let checked = ask(&pilot, &["check", &known, &unknown]).await;
    assert_eq!(checked.code, Some(0), "services may come later: {}", checked.stdout);
    assert_eq!(checked.stdout.matches("no service is called gone.local").count(), 1, "{}", checked.stdout);
    let silent = run(&["check", &known, "--admin", "http://127.0.0.1:1"]).await;
    assert_eq!(silent.code, Some(1), "{}", silent.stdout);
}

#[tokio::test]
async fn what_is_empty_says_where_to_look() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&[]));
    pilot.ready().await;
    let services = ask(&pilot, &["services"]).await.stdout;
    assert!(services.contains("no service is known: `pilot registries` says"), "{services}");
    let rules = ask(&pilot, &["rules"]).await.stdout;
    assert!(rules.contains("pilot.toml has no table [rules.<name>.<kind>]"), "{rules}");
    let unknown = ask(&pilot, &["rules", "cart", "-o", "json"]).await;
    assert_eq!((unknown.code, unknown.stderr.as_str()), (Some(1), "error: no document \"cart\"\n"));
}

/// Subsets by the labels of endpoints, and places where they are.
#[tokio::test]
async fn documents_are_compared_with_the_endpoints_of_a_running_pilot() {
    let pilot = with_services().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec:\n  host: a.local\n\
                \x20 subsets: [{name: old, labels: {version: v9}}]\n\
                \x20 trafficPolicy:\n    loadBalancer:\n      localityLbSetting: {distribute: [{from: '*', to: {nowhere: 100}}]}\n";
    std::fs::write(&file, text).unwrap();
    let checked = ask(&pilot, &["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("spec.subsets[0] old: no endpoint of a.local has version=v9"), "{said}");
    assert!(said.contains("distribute: no endpoint of a.local is at nowhere"), "{said}");
}

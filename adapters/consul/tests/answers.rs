//! Single answers that a healthy server does not give, and those of newer servers than the tests have.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "answers/access.rs"]
mod access;
#[allow(dead_code, reason = "shared with tests that need more of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "answers/settled.rs"]
mod settled;

use std::time::Duration;

use cluster::follow;
use pilot_registry::{Endpoint, ErrorKind, Locality, RegistryHealth, Service, Snapshot, State};
use pilot_registry_consul::{Config, Consistency, Limits};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::Acceptor;
use pilot_registry_testkit::server::consul::FakeConsul;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

const NAMES: &str = "/v1/catalog/services";
const WEB: &str = "/v1/health/service/web";
const API: &str = "/v1/health/service/api";

/// A server with a leader, and nothing else.
async fn server() -> MockServer {
    let server = MockServer::start().await;
    let leader = ResponseTemplate::new(200).set_body_string("\"127.0.0.1:8300\"");
    Mock::given(method("GET")).and(path("/v1/status/leader")).respond_with(leader).mount(&server).await;
    server
}

fn answer(index: u64, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .insert_header("X-Consul-Index", index.to_string())
        .insert_header("X-Consul-KnownLeader", "true")
        .set_body_json(body)
}

fn names() -> Value {
    json!({ "consul": [], "web": [] })
}

fn web(address: &str) -> Value {
    json!([{
        "Node": { "Node": "n1", "Address": address, "Datacenter": "dc1" },
        "Service": { "ID": "web-1", "Service": "web", "Port": 80 },
        "Checks": [],
    }])
}

/// Answers at once where nothing is waited for, and else when the wait is over.
async fn always(server: &MockServer, at: &str, index: u64, body: &Value) {
    let late = answer(index, body).set_delay(Duration::from_secs(1));
    let at_once = Mock::given(path(at)).and(query_param_is_missing("index"));
    at_once.respond_with(answer(index, body)).mount(server).await;
    Mock::given(path(at)).respond_with(late).with_priority(9).mount(server).await;
}

fn runner(server: &MockServer) -> Runner {
    follow(*server.address(), |config| {
        config.limits = Limits { wait_seconds: 1, timeout_seconds: 2, ..Limits::default() };
    })
}

fn service(state: &State<Snapshot>) -> Option<std::sync::Arc<Service>> {
    state.published.as_ref()?.value.get("web.service.consul").cloned()
}

async fn address(runner: &mut Runner, expected: &str) {
    let there = |state: &State<Snapshot>| {
        let service = service(state)?;
        (service.endpoints.first()?.address.to_string() == expected).then_some(())
    };
    runner.until(expected, there).await.unwrap();
}

async fn fails(runner: &mut Runner, kind: ErrorKind, mentions: &str) {
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), kind, "{}", error.chain());
    assert!(error.chain().contains(mentions), "{}", error.chain());
    assert!(runner.feed().published().is_none(), "something was made up");
}

/// L22: a server without a leader has an empty list, which says nothing.
#[tokio::test]
async fn l22_an_empty_list_without_a_leader_is_not_believed() {
    let server = server().await;
    let leaderless = ResponseTemplate::new(200)
        .insert_header("X-Consul-Index", "1")
        .insert_header("X-Consul-KnownLeader", "false")
        .set_body_json(json!({}));
    Mock::given(path(NAMES)).respond_with(leaderless).mount(&server).await;
    fails(&mut runner(&server), ErrorKind::Unavailable, "no leader").await;
}

/// The same of the instances of one service: what was known of it stays.
#[tokio::test]
async fn l22_a_service_without_a_leader_keeps_its_instances() {
    let server = server().await;
    always(&server, NAMES, 9, &names()).await;
    Mock::given(path(WEB)).respond_with(answer(5, &web("10.0.0.1"))).up_to_n_times(1).mount(&server).await;
    let leaderless = ResponseTemplate::new(200)
        .insert_header("X-Consul-Index", "6")
        .insert_header("X-Consul-KnownLeader", "false")
        .set_body_json(json!([]));
    Mock::given(path(WEB)).respond_with(leaderless).mount(&server).await;
    let mut runner = runner(&server);
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    address(&mut runner, "10.0.0.1").await;
    assert_eq!(runner.revision(), 1);
}

/// L22: an index that goes backwards is not waited beyond, and its answer is asked for once more of a leader
/// that is sure of itself.
#[tokio::test]
async fn l22_an_index_that_goes_backwards_is_asked_again() {
    let server = server().await;
    always(&server, NAMES, 9, &names()).await;
    Mock::given(path(WEB)).respond_with(answer(500, &web("10.0.0.1"))).up_to_n_times(1).mount(&server).await;
    // A server that lags says something old.
    let old = Mock::given(path(WEB)).and(query_param("index", "500"));
    old.respond_with(answer(40, &json!([]))).mount(&server).await;
    let sure = Mock::given(path(WEB)).and(query_param("consistent", ""));
    sure.respond_with(answer(41, &web("10.0.0.2"))).expect(1..).mount(&server).await;
    let next = Mock::given(path(WEB)).and(query_param("index", "41"));
    let late = answer(41, &web("10.0.0.2")).set_delay(Duration::from_secs(1));
    next.respond_with(late).expect(1..).mount(&server).await;
    let mut runner = runner(&server);
    address(&mut runner, "10.0.0.2").await;
    assert!(runner.revision() <= 2, "the answer that lagged was believed");
    // And the wait goes on from there.
    let asked = |request: &wiremock::Request| request.url.query().unwrap_or_default().contains("index=41");
    let went_on = async {
        while !server.received_requests().await.unwrap().iter().any(asked) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), went_on).await.unwrap();
}

#[tokio::test]
async fn errors_of_the_server_are_of_their_kind() {
    let cases = [
        (500, "No cluster leader", ErrorKind::Unavailable),
        (429, "too many", ErrorKind::Unavailable),
        (403, "Permission denied", ErrorKind::Denied),
        (401, "ACL not found", ErrorKind::Denied),
        (404, "404 page not found", ErrorKind::Malformed),
        (301, "Moved", ErrorKind::Malformed),
    ];
    for (status, said, kind) in cases {
        let server = server().await;
        let response = ResponseTemplate::new(status).set_body_string(said);
        Mock::given(path(NAMES)).respond_with(response).mount(&server).await;
        fails(&mut runner(&server), kind, said).await;
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_malformed() {
    let cases = [
        answer(9, &json!(["consul", "web"])),
        answer(9, &names()).set_body_string("{\"web\": ["),
        answer(9, &names()).insert_header("X-Consul-Index", "many"),
        ResponseTemplate::new(200).set_body_string("It works!"),
        answer(9, &names()).set_body_string(" ".repeat(2000)),
    ];
    for response in cases {
        let server = server().await;
        Mock::given(path(NAMES)).respond_with(response).mount(&server).await;
        let mut runner = follow(*server.address(), |config| config.limits.max_body_bytes = 1024);
        fails(&mut runner, ErrorKind::Malformed, "").await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_too_slow_is_given_up() {
    let server = server().await;
    let large: String = " ".repeat(5000);
    let response = answer(9, &names()).set_body_string(large);
    Mock::given(path(NAMES)).respond_with(response).mount(&server).await;
    let mut runner = follow(*server.address(), |config| config.limits.max_body_bytes = 1024);
    fails(&mut runner, ErrorKind::Malformed, "limits.max_body_bytes").await;

    let server = self::server().await;
    let slow = answer(9, &names()).set_delay(Duration::from_secs(60));
    Mock::given(path(NAMES)).respond_with(slow).mount(&server).await;
    fails(&mut self::runner(&server), ErrorKind::Unavailable, "did not answer in 2 s").await;
}

/// A body that ends before its end.
#[tokio::test]
async fn a_truncated_body_is_no_shorter_list() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let half = |mut stream: tokio::net::TcpStream| async move {
        _ = stream.read(&mut [0; 2048]).await;
        let head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\nX-Consul-KnownLeader: true\r\n\
                    Content-Length: 100\r\n\r\n{\"consul\":[]}";
        _ = stream.write_all(head.as_bytes()).await;
    };
    let server = Acceptor::start(half).await.unwrap();
    fails(&mut follow(server.address(), |_| {}), ErrorKind::Unavailable, "broke off").await;
}

/// A body that stalls in its middle, at the first read of a service and in the answer to a long poll.
#[tokio::test]
async fn a_body_that_stalls_half_way_is_given_up() {
    let consul = FakeConsul::start(None).await.unwrap();
    consul.put("web", web("10.0.0.1").as_array().unwrap());
    consul.stall();
    let mut runner = follow(consul.address(), |config| {
        config.limits = Limits { wait_seconds: 1, timeout_seconds: 1, ..Limits::default() };
    });
    consul.stalled().await;
    fails(&mut runner, ErrorKind::Unavailable, "web of consul did not answer in 1 s").await;
    // No other answer stalls.
    address(&mut runner, "10.0.0.1").await;
    let live = |state: &State<Snapshot>| matches!(state.health(), RegistryHealth::Live).then_some(());
    runner.until("the next attempt", live).await.unwrap();

    consul.stall();
    consul.put("web", web("10.0.0.2").as_array().unwrap());
    consul.stalled().await;
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("web of consul did not answer in 2 s"), "{}", error.chain());
    address(&mut runner, "10.0.0.2").await;
    assert_eq!(runner.revision(), 2, "nothing came of half a list");
}

fn two_names() -> Value {
    json!({ "consul": [], "web": [], "api": [] })
}

/// What makes no sense of one service hides that service only, and not what was known of it.
#[tokio::test]
async fn a_service_that_is_answered_with_nonsense_hides_only_itself() {
    let wrong = [
        ResponseTemplate::new(301).set_body_string("Moved"),
        ResponseTemplate::new(400).set_body_string("Bad Request"),
        ResponseTemplate::new(404).set_body_string("404 page not found"),
        answer(6, &json!({})),
        answer(6, &json!([])).set_body_string(" ".repeat(5000)),
    ];
    for response in wrong {
        let server = server().await;
        always(&server, NAMES, 9, &two_names()).await;
        always(&server, API, 5, &web("10.0.0.2")).await;
        let good = answer(5, &web("10.0.0.1"));
        Mock::given(path(WEB)).respond_with(good).up_to_n_times(1).mount(&server).await;
        Mock::given(path(WEB)).respond_with(response).mount(&server).await;
        let mut runner = follow(*server.address(), |config| {
            config.limits = Limits { wait_seconds: 1, max_body_bytes: 2000, ..Limits::default() };
        });
        let reported = |state: &State<Snapshot>| state.skipped.get("web").cloned();
        runner.until("the report", reported).await.unwrap();
        address(&mut runner, "10.0.0.1").await;
        let live = |state: &State<Snapshot>| matches!(state.health(), RegistryHealth::Live).then_some(());
        runner.until("the registry to be live", live).await.unwrap();
    }
}

/// Names that no request can ask for are not asked for.
#[tokio::test]
async fn names_of_which_no_host_comes_are_reported_and_not_asked_for() {
    let server = server().await;
    always(&server, NAMES, 9, &json!({ "consul": [], "web": [], "..": [], "a//b": [], "a\u{1}": [] })).await;
    always(&server, WEB, 5, &web("10.0.0.1")).await;
    let mut runner = runner(&server);
    address(&mut runner, "10.0.0.1").await;
    let skipped = runner.feed().with_state(|state| state.skipped.clone());
    assert_eq!(skipped.keys().collect::<Vec<_>>(), ["..", "a\u{1}", "a//b"]);
    let asked = server.received_requests().await.unwrap();
    let others = asked.iter().filter(|request| request.url.path() != WEB);
    assert!(others.clone().all(|request| !request.url.path().starts_with("/v1/health")));
}

/// Who stands before the agent may answer at once what should wait: that is no reason to ask without end.
#[tokio::test]
async fn answers_that_do_not_wait_are_asked_for_at_a_pace() {
    let server = server().await;
    Mock::given(path(NAMES)).respond_with(answer(9, &names())).mount(&server).await;
    Mock::given(path(WEB)).respond_with(answer(5, &web("10.0.0.1"))).mount(&server).await;
    let mut runner = runner(&server);
    address(&mut runner, "10.0.0.1").await;
    let first = server.received_requests().await.unwrap().len();
    let began = tokio::time::Instant::now();
    let mut many = 0;
    while many < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        many = server.received_requests().await.unwrap().len() - first;
    }
    assert!(began.elapsed() > Duration::from_millis(250), "{many} requests in {:?}", began.elapsed());
}

/// Where any server may answer, one that has just been started may know less than it will.
#[tokio::test]
async fn the_first_answer_about_a_service_is_a_sure_one() {
    let server = server().await;
    always(&server, NAMES, 9, &names()).await;
    let sure = Mock::given(path(WEB)).and(query_param("consistent", ""));
    sure.respond_with(answer(9, &web("10.0.0.1"))).with_priority(1).mount(&server).await;
    always(&server, WEB, 5, &json!([])).await;
    let mut runner = follow(*server.address(), |config| config.consistency = Consistency::Stale);
    let seen = runner.until("the service", service).await.unwrap();
    assert_eq!(seen.endpoints.len(), 1);
}

/// What newer servers add: localities, namespaces, partitions, several ports, sockets, and fields that
/// nobody knows yet.
#[tokio::test]
async fn answers_of_newer_servers_are_understood() {
    let recorded: Value = serde_json::from_str(include_str!("answers/newer.json")).unwrap();
    let server = server().await;
    always(&server, NAMES, 9, &names()).await;
    let asked = Mock::given(path(WEB)).and(query_param("ns", "shop")).and(query_param("partition", "eu"));
    asked.respond_with(answer(5, &recorded)).mount(&server).await;
    let mut runner = follow(*server.address(), |config: &mut Config| {
        config.namespace = Some("shop".into());
        config.partition = Some("eu".into());
        config.host =
            "{service}.{namespace}.ns.{partition}.ap.{datacenter}.dc.consul".to_owned().try_into().unwrap();
    });
    let found = |state: &State<Snapshot>| {
        state.published.as_ref()?.value.get("web.shop.ns.eu.ap.dc1.dc.consul").cloned()
    };
    let service = runner.until("the service", found).await.unwrap();
    assert_eq!(service.namespace.as_str(), "shop");
    let ports: Vec<_> = service.ports.iter().map(|port| (port.number.get(), port.name.as_str())).collect();
    assert_eq!(ports, [(8080, "http"), (9090, "grpc-admin")]);
    let [inet, socket]: &[Endpoint; 2] = service.endpoints.as_slice().try_into().unwrap();
    let place = Locality { region: "us-west-1".into(), zone: "us-west-1b".into(), sub_zone: String::new() };
    assert_eq!(inet.locality, place);
    assert_eq!(inet.ports.len(), 2);
    assert_eq!(socket.address.to_string(), "unix:/run/web.sock");
    assert_eq!(socket.locality.region, "us-west-1", "the node's");
}

/// An agent may listen on a Unix socket only.
#[tokio::test]
async fn an_agent_behind_a_unix_socket_is_followed() {
    let server = server().await;
    always(&server, NAMES, 9, &names()).await;
    always(&server, WEB, 5, &web("10.0.0.1")).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("consul.sock");
    let (listener, target) = (tokio::net::UnixListener::bind(&socket).unwrap(), *server.address());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut passing = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            passing.spawn(async move {
                let mut agent = tokio::net::TcpStream::connect(target).await.unwrap();
                _ = tokio::io::copy_bidirectional(&mut client, &mut agent).await;
            });
        }
    });
    let at_socket = |config: &mut Config| config.address = format!("unix://{}", socket.display());
    address(&mut follow(target, at_socket), "10.0.0.1").await;
}

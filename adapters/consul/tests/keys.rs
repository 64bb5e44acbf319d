//! Answers about keys that the real server of the tests does not give: what a token may not read, servers without a
//! leader, and indexes that go backwards.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{ErrorKind, State, Texts};
use pilot_registry_consul::{RulesConfig, RulesLimits, rules};
use pilot_registry_testkit::Runner;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param, query_param_contains, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

const KEYS: &str = "/v1/kv/pilot/rules/";

/// A server with a leader, and nothing else.
async fn server() -> MockServer {
    let server = MockServer::start().await;
    let leader = ResponseTemplate::new(200).set_body_string("\"127.0.0.1:8300\"");
    Mock::given(method("GET")).and(path("/v1/status/leader")).respond_with(leader).mount(&server).await;
    server
}

fn runner(server: &MockServer) -> Runner<Texts> {
    let config = RulesConfig {
        address: format!("http://{}", server.address()),
        limits: RulesLimits { wait_seconds: 1, timeout_seconds: 2, ..RulesLimits::default() },
        ..RulesConfig::default()
    };
    Runner::of_rules(Arc::new(rules(config).unwrap()))
}

fn answer(index: u64) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .insert_header("X-Consul-Index", index.to_string())
        .insert_header("X-Consul-KnownLeader", "true")
}

/// A key with the value `text`, in base64.
fn key(name: &str) -> Value {
    json!({ "Key": format!("pilot/rules/{name}"), "Value": "dGV4dA==", "CreateIndex": 3 })
}

fn names(state: &State<Texts>) -> Vec<String> {
    let published = state.published.iter();
    let places = published.flat_map(|published| published.value.iter().map(|(place, _)| place.to_string()));
    places.map(|place| place.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

async fn has(runner: &mut Runner<Texts>, expected: &[&str]) {
    let what = format!("{expected:?}");
    runner.until(&what, |state| (names(state) == expected).then_some(())).await.unwrap();
}

#[tokio::test]
async fn keys_that_are_left_out_stay_and_the_store_says_why() {
    let server = server().await;
    let first = answer(5).set_body_json(json!([key("a"), key("b")]));
    let at_once = Mock::given(path(KEYS)).and(query_param_is_missing("index"));
    at_once.respond_with(first).mount(&server).await;
    let less = answer(6).set_body_json(json!([key("a"), key("c")]));
    let less = less.insert_header("X-Consul-Results-Filtered-By-ACLs", "true");
    Mock::given(path(KEYS)).and(query_param("index", "5")).respond_with(less).mount(&server).await;
    let again = answer(7).set_body_json(json!([key("c")])).set_delay(Duration::from_secs(2));
    Mock::given(path(KEYS)).and(query_param("index", "6")).respond_with(again).mount(&server).await;
    let mut runner = runner(&server);
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.chain().contains("key_prefix \"pilot/rules/\""), "{}", error.chain());
    has(&mut runner, &["a", "b", "c"]).await;
    has(&mut runner, &["c"]).await;
}

#[tokio::test]
async fn nothing_is_believed_of_who_may_not_read_the_prefix() {
    let server = server().await;
    let none = ResponseTemplate::new(404)
        .append_headers([("X-Consul-Index", "5"), ("X-Consul-KnownLeader", "true")]);
    let listed = Mock::given(path(KEYS)).and(query_param_contains("recurse", ""));
    listed.respond_with(none).with_priority(1).mount(&server).await;
    let denied = ResponseTemplate::new(403).set_body_string("Permission denied");
    Mock::given(path(KEYS)).respond_with(denied).with_priority(2).mount(&server).await;
    let mut runner = runner(&server);
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(runner.feed().published().is_none(), "something was made up");
}

#[tokio::test]
async fn a_list_without_a_leader_and_one_from_before_count_only_when_a_sure_leader_says_so() {
    let server = server().await;
    let first = answer(50).set_body_json(json!([key("a"), key("b")]));
    let at_once = Mock::given(path(KEYS)).and(query_param_is_missing("index"));
    at_once.respond_with(first).up_to_n_times(1).with_priority(1).mount(&server).await;
    // A server that has just been started.
    let early = answer(7).set_body_json(json!([]));
    let waited = Mock::given(path(KEYS)).and(query_param("index", "50"));
    waited.respond_with(early).up_to_n_times(1).with_priority(1).mount(&server).await;
    let sure = answer(51).set_body_json(json!([key("a"), key("c")]));
    let at_once = Mock::given(path(KEYS))
        .and(query_param_contains("consistent", ""))
        .and(query_param_is_missing("index"));
    at_once.respond_with(sure).with_priority(2).mount(&server).await;
    let nothing = answer(51).set_body_json(json!([key("a"), key("c")])).set_delay(Duration::from_secs(1));
    Mock::given(path(KEYS)).respond_with(nothing).with_priority(9).mount(&server).await;
    let mut runner = runner(&server);
    has(&mut runner, &["a", "c"]).await;
    assert_eq!(runner.revision(), 2, "the early list was believed");
    let requests = server.received_requests().await.unwrap();
    let lists: Vec<_> = requests.iter().filter(|it| it.url.path() == KEYS).collect();
    assert!(lists.iter().all(|it| it.url.query().unwrap_or_default().contains("recurse")));
}

//! What a token may not read, and where tokens come from.

use std::sync::{Arc, Mutex};

use pilot_registry::{ErrorKind, RegistryHealth, Snapshot, State};
use pilot_registry_consul::Config;
use serde_json::{Value, json};
use wiremock::matchers::{header, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{API, NAMES, WEB, always, answer, fails, follow, names, runner, server, service, two_names, web};

/// Who may read nothing is answered with an empty list. No cluster is empty, so it is a refusal; but not
/// where there is no access control.
#[tokio::test]
async fn an_empty_list_is_a_refusal_where_there_is_access_control() {
    for (status, said, denied) in
        [(403, "ACL not found", true), (200, "{}", true), (401, "ACL support disabled", false)]
    {
        let server = server().await;
        always(&server, NAMES, 9, &json!({})).await;
        let own = ResponseTemplate::new(status).set_body_string(said);
        Mock::given(path("/v1/acl/token/self")).respond_with(own).mount(&server).await;
        let mut runner = runner(&server);
        if denied {
            fails(&mut runner, ErrorKind::Denied, "service:read").await;
        } else {
            let empty =
                |state: &State<Snapshot>| state.published.as_ref().map(|one| one.value.services().len());
            assert_eq!(runner.until("emptiness", empty).await.unwrap(), 0);
        }
    }
}

/// A newer server says so itself.
#[tokio::test]
async fn an_empty_list_that_was_filtered_is_a_refusal() {
    let server = server().await;
    let filtered = answer(9, &json!({})).insert_header("X-Consul-Results-Filtered-By-ACLs", "true");
    Mock::given(path(NAMES)).respond_with(filtered).mount(&server).await;
    let mut runner = follow(*server.address(), |config| config.namespace = Some("shop".into()));
    fails(&mut runner, ErrorKind::Denied, "service:read").await;
}

/// A service that is listed and has no instance that we may see is reported.
#[tokio::test]
async fn a_service_without_visible_instances_is_reported() {
    let server = server().await;
    always(&server, NAMES, 9, &two_names()).await;
    always(&server, API, 5, &web("10.0.0.2")).await;
    always(&server, WEB, 5, &json!([])).await;
    let reported = |state: &State<Snapshot>| state.skipped.get("web").cloned();
    let why = runner(&server).until("the report", reported).await.unwrap();
    assert!(why.contains("nodes"), "{why}");
}

/// Instances of web on these nodes, each at an address of its own.
fn on(nodes: &[u8]) -> Value {
    let instance = |n: &u8| {
        json!({
            "Node": { "Node": format!("n{n}"), "Address": format!("10.0.0.{n}"), "Datacenter": "dc1" },
            "Service": { "ID": format!("web-{n}"), "Service": "web", "Port": 80 },
            "Checks": [],
        })
    };
    nodes.iter().map(instance).collect()
}

fn filtered(index: u64, nodes: &[u8]) -> ResponseTemplate {
    answer(index, &on(nodes)).insert_header("X-Consul-Results-Filtered-By-ACLs", "true")
}

/// A server whose answer about web the test sets.
async fn server_saying(first: ResponseTemplate) -> (MockServer, Arc<Mutex<ResponseTemplate>>) {
    let server = server().await;
    always(&server, NAMES, 9, &names()).await;
    let said = Arc::new(Mutex::new(first));
    let answers = Arc::clone(&said);
    let respond = move |_: &Request| answers.lock().unwrap().clone();
    Mock::given(path(WEB)).respond_with(respond).mount(&server).await;
    (server, said)
}

fn addresses(state: &State<Snapshot>) -> Vec<String> {
    let endpoints = service(state).map(|service| service.endpoints.clone()).unwrap_or_default();
    endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

/// Rights that shrink hide instances, as if they were gone: a newer server says that it is so.
#[tokio::test]
async fn instances_that_the_token_may_no_longer_read_are_kept() {
    let (server, said) = server_saying(answer(5, &on(&[1, 2]))).await;
    let mut runner = runner(&server);
    let two = |state: &State<Snapshot>| (addresses(state).len() == 2).then_some(());
    runner.until("both", two).await.unwrap();
    *said.lock().unwrap() = filtered(6, &[1, 3]);
    let keeps = |state: &State<Snapshot>, many: &str| {
        let why = state.skipped.get("web")?;
        let all = addresses(state) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        (all && why.contains("may not read") && why.contains(many)).then_some(())
    };
    runner.until("the second to be kept", |state| keeps(state, "1 that it could read")).await.unwrap();
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.chain().contains("\"web\"") && error.chain().contains("node:read"), "{}", error.chain());
    *said.lock().unwrap() = filtered(7, &[3]);
    runner.until("two to be kept", |state| keeps(state, "2 that it could read")).await.unwrap();
    *said.lock().unwrap() = answer(8, &on(&[3]));
    let third = |state: &State<Snapshot>| {
        let is_live = matches!(state.health(), RegistryHealth::Live);
        (is_live && state.skipped.is_empty() && addresses(state) == ["10.0.0.3"]).then_some(())
    };
    runner.until("what there is, once all may be read", third).await.unwrap();
}

/// What may be read is all that there ever was for a token that may read some nodes only.
#[tokio::test]
async fn a_token_that_never_could_read_all_keeps_nothing() {
    let (server, said) = server_saying(filtered(5, &[1, 2])).await;
    let mut runner = runner(&server);
    let two = |state: &State<Snapshot>| (addresses(state).len() == 2).then_some(());
    runner.until("both", two).await.unwrap();
    *said.lock().unwrap() = filtered(6, &[1]);
    let one = |state: &State<Snapshot>| (addresses(state) == ["10.0.0.1"]).then_some(());
    runner.until("one", one).await.unwrap();
    assert!(runner.feed().with_state(|state| matches!(state.health(), RegistryHealth::Live)));
}

/// A token that a server repeats is hidden wherever it stands, also across the end of what is shown.
#[tokio::test]
async fn a_token_is_hidden_before_the_text_is_cut() {
    let server = server().await;
    let said = format!("{}secret-token", "x".repeat(193));
    let refused = ResponseTemplate::new(403).set_body_string(said);
    Mock::given(path(NAMES)).respond_with(refused).mount(&server).await;
    let token = |config: &mut Config| config.token = Some("secret-token".to_owned().into());
    let error = follow(*server.address(), token).degraded().await.unwrap().error;
    assert!(!error.chain().contains("secret-"), "{}", error.chain());
}

/// A token from a file is read again with each attempt, so that a new one is taken without a restart.
#[tokio::test]
async fn a_token_is_read_again_when_it_was_refused() {
    let server = server().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old-token\n").unwrap();
    let new = Mock::given(path(NAMES)).and(header("x-consul-token", "new-token"));
    new.respond_with(answer(9, &json!({ "consul": [] }))).with_priority(1).mount(&server).await;
    let refused = ResponseTemplate::new(403).set_body_string("ACL not found: old-token");
    Mock::given(path(NAMES)).respond_with(refused).mount(&server).await;
    let mut runner = follow(*server.address(), |config| config.token_file = Some(file.path().into()));
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!error.chain().contains("old-token"), "what a server repeats is a secret all the same");
    std::fs::write(file.path(), "new-token\n").unwrap();
    let live = |state: &State<Snapshot>| state.published.as_ref().map(drop);
    runner.until("the new token to be used", live).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_there_is_a_refusal() {
    let server = server().await;
    let unset = |config: &mut Config| config.token_env = Some("PILOT_TEST_UNSET_TOKEN".into());
    fails(&mut follow(*server.address(), unset), ErrorKind::Denied, "PILOT_TEST_UNSET_TOKEN").await;
    let missing = |config: &mut Config| config.token_file = Some("/nonexistent/token".into());
    fails(&mut follow(*server.address(), missing), ErrorKind::Denied, "/nonexistent/token").await;
}

/// Of several datacenters, the one that nobody knows is named.
#[tokio::test]
async fn a_datacenter_that_does_not_exist_is_named() {
    let server = server().await;
    always(&server, NAMES, 9, &names()).await;
    let unknown = ResponseTemplate::new(500).set_body_string("No path to datacenter");
    Mock::given(path(NAMES))
        .and(query_param("dc", "nowhere"))
        .respond_with(unknown)
        .with_priority(1)
        .mount(&server)
        .await;
    let mut runner =
        follow(*server.address(), |config| config.datacenters = vec!["dc1".into(), "nowhere".into()]);
    fails(&mut runner, ErrorKind::Unavailable, "no path to datacenter \"nowhere\"").await;
}

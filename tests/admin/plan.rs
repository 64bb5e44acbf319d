//! `pilot plan`, and what the admin server answers to it.

use std::fs;
use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use pilot::admin::{ChangeKind, Failure, PlanFile, PlanReport, PlanRequest, RulesReport};
use pilot::proxy::Transport;
use pilot::translate::rules::Standing;
use pilot_registry::{Text, Texts};
use serde_json::Value;

use crate::fixture::{Answer, Pilot, pilot_ruled, proxy, snapshot};
use crate::verbs::{ask, with_services};

const ROUTES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.local]
  http:
  - route: [{destination: {host: b.local}}]
";

const POLICY: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec: {host: a.local, subsets: [{name: v1, labels: {version: v1}}]}
";

/// Two services, and a store of rules with that text.
async fn ruled(text: &str) -> Pilot {
    let pilot = pilot_ruled(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local", "b.local"]));
    let text = Text { text: text.into(), age: None, namespace: None };
    pilot
        .rules
        .as_ref()
        .unwrap()
        .publish([("rules.yaml".into(), Arc::new(text))].into_iter().collect::<Texts>());
    pilot.ready().await;
    pilot
}

async fn post(pilot: &Pilot, origin: Option<&str>, body: Vec<u8>) -> Answer {
    let request = Request::post("/plan").header(HOST, pilot.addr.to_string());
    let request = origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
    pilot.send(request.body(Full::new(Bytes::from(body))).unwrap()).await
}

async fn plan(pilot: &Pilot, text: &str) -> PlanReport {
    let file = PlanFile { place: "a.yaml".into(), text: text.into() };
    let request = PlanRequest { files: vec![file], delete: Vec::new() };
    post(pilot, None, serde_json::to_vec(&request).unwrap()).await.json()
}

/// What is in force, for a proxy and of documents.
async fn in_force(pilot: &Pilot) -> (Value, RulesReport) {
    let resources: Value = pilot.get("/debug/resources?node=a").await.json();
    (resources, pilot.get("/debug/rules").await.json())
}

#[tokio::test]
async fn a_plan_says_what_documents_would_change_and_changes_nothing() {
    let pilot = ruled("").await;
    let before = in_force(&pilot).await;
    let folder = tempfile::tempdir().unwrap();
    let [routes, policy] = [("routes.yaml", ROUTES), ("policy.yaml", POLICY)].map(|(name, text)| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    });
    let shown = ask(&pilot, &["plan", &routes, &policy]).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{}", shown.stdout);
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let found = lines(&shown.stdout);
    for line in [
        format!("VirtualService/default/a new accepted {routes}:1"),
        format!("DestinationRule/default/a new accepted {policy}:1"),
        "a proxy that says nothing of itself (router); none is connected:".to_owned(),
        "rds 80/a.local:80 changed VirtualService/default/a".to_owned(),
        "cds outbound|80|v1|a.local added DestinationRule/default/a".to_owned(),
    ] {
        assert!(found.contains(&line), "{line:?} is not in {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("b.local:80"), "nothing changes of b.local: {}", shown.stdout);
    let diff = ask(&pilot, &["plan", folder.path().to_str().unwrap(), "-o", "yaml"]).await.stdout;
    for line in ["-       cluster: outbound|80||a.local", "+       cluster: outbound|80||b.local"] {
        let has = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(has(&diff).contains(&has(line)), "{line:?} is not in {diff}");
    }
    assert_eq!(in_force(&pilot).await, before);
}

#[tokio::test]
async fn a_plan_is_for_the_proxies_that_are_connected() {
    let pilot = ruled(ROUTES).await;
    let _router = pilot.proxies.connect(&proxy("router-1"), Transport::Ads, true, None);
    let _sidecar = pilot.proxies.connect(&proxy("sidecar~10.0.0.1~a~b"), Transport::Ads, true, None);
    let same = plan(&pilot, ROUTES).await;
    assert!(same.ok && same.groups.is_empty() && same.unchanged == 2, "{same:?}");
    let changed = plan(&pilot, &ROUTES.replace("b.local", "c.local")).await;
    let scopes: Vec<_> = changed.groups.iter().map(|it| (it.scope.as_str(), it.proxies.as_slice())).collect();
    assert_eq!(
        scopes,
        [("router", &["router-1".to_owned()][..]), ("sidecar", &["sidecar~10.0.0.1~a~b".to_owned()])]
    );
    let names: Vec<_> = changed.groups[0].changes.iter().map(|it| (it.name.as_str(), it.change)).collect();
    assert_eq!(names, [("80/a.local:80", ChangeKind::Changed)]);
    let document = &changed.documents[0];
    assert_eq!(document.state, Standing::Dangling);
    assert!(document.reasons[0].contains("no service is called c.local"), "{document:?}");
    // For proxies of its namespace alone, which nobody is.
    let private = ROUTES
        .replace("b.local", "a.local")
        .replace("metadata: {name: a}", "metadata: {name: x, namespace: apps}");
    let private = plan(&pilot, &private.replace("spec:\n", "spec:\n  exportTo: [\".\"]\n")).await;
    assert!(private.groups.is_empty() && private.unchanged == 2, "{private:?}");
}

#[tokio::test]
async fn what_is_rejected_is_told_as_check_does_and_ends_with_2() {
    let pilot = ruled("").await;
    let wrong = ROUTES.replace("hosts:", "hots:");
    let words = "5:3: spec.hots: unknown field: did you mean hosts?";
    let answer = plan(&pilot, &format!("{wrong}---\n{POLICY}")).await;
    assert!(!answer.ok && answer.documents[0].state == Standing::Rejected, "{answer:?}");
    assert_eq!(answer.documents[0].reasons[0], format!("a.yaml:{words}"));
    assert!(answer.groups[0].changes.iter().all(|it| it.kind != "rds"), "the others are planned: {answer:?}");
    assert_eq!(answer.documents[1].state, Standing::Accepted);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, &wrong).unwrap();
    let file = file.to_str().unwrap();
    let ended = ask(&pilot, &["plan", file]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("a.yaml:5:3: spec.hots: unknown field: did you mean hosts?"),
        "{}",
        ended.stderr
    );
    let none = ask(&pilot, &["plan", folder.path().join("none.yaml").to_str().unwrap()]).await;
    assert!(none.code == Some(2) && none.stderr.contains("none.yaml"), "{}", none.stderr);
}

#[tokio::test]
async fn a_plan_is_refused_where_it_makes_no_sense() {
    let pilot = ruled("").await;
    let whole = |text: &str| {
        serde_json::to_vec(&serde_json::json!({ "files": [{ "place": "a", "text": text }] })).unwrap()
    };
    let read = pilot.get("/plan").await;
    assert_eq!(
        (read.status, read.json::<Failure>().known),
        (StatusCode::METHOD_NOT_ALLOWED, vec!["POST".to_owned()])
    );
    let foreign = post(&pilot, Some("http://page.example"), whole("")).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let own = format!("http://{}", pilot.addr);
    assert_eq!(post(&pilot, Some(&own), whole(POLICY)).await.status, StatusCode::OK);
    let large = post(&pilot, None, whole(&"# ".repeat(33 << 20))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(large.json::<Failure>().error.contains("67108864 bytes"), "{}", large.body);
    for body in ["", "{}", "{\"files\": [], \"more\": 1}"] {
        let answer = post(&pilot, None, body.into()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}: {}", answer.body);
        assert!(answer.json::<Failure>().error.contains("expected {\"files\""), "{body:?}: {}", answer.body);
    }
    let unruled = with_services().await;
    let answer = post(&unruled, None, whole(POLICY)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.json::<Failure>().error.contains("no store of rules"), "{}", answer.body);
}

#[tokio::test]
async fn a_plan_says_what_removing_a_document_would_change_and_who_needs_it() {
    let to_v1 = ROUTES.replace("host: b.local", "host: a.local, subset: v1");
    assert_ne!(to_v1, ROUTES);
    let pilot = ruled(&format!("{POLICY}---\n{to_v1}")).await;
    let before = in_force(&pilot).await;
    let shown = ask(&pilot, &["plan", "--delete", "DestinationRule/default/a"]).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{}", shown.stdout);
    let words = shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "DestinationRule/default/a deleted accepted rules.yaml",
        "VirtualService/default/a the same dangling rules.yaml",
        "cds outbound|80|v1|a.local removed DestinationRule/default/a",
    ] {
        assert!(words.contains(part), "{part:?} is not in {}", shown.stdout);
    }
    assert_eq!(in_force(&pilot).await, before);
    let unknown = ask(&pilot, &["plan", "--delete", "DestinationRule/default/b"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.stdout);
    assert!(
        unknown.stderr.contains("no document DestinationRule/default/b is in force"),
        "{}",
        unknown.stderr
    );
    assert!(unknown.stderr.contains("DestinationRule/default/a"), "{}", unknown.stderr);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, POLICY).unwrap();
    let both = ask(&pilot, &["plan", file.to_str().unwrap(), "--delete", "DestinationRule/default/a"]).await;
    assert_eq!(both.code, Some(1), "{}", both.stdout);
    assert!(both.stderr.contains("is in a file, too"), "{}", both.stderr);
}

//! How registries are shown: from disk, missing, held; and how what is held is let go.

use std::time::{Duration, SystemTime};

use http::header::{ALLOW, HOST, ORIGIN};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use pilot::admin::{Failure, Readiness, RegistryReport, Released, ServiceReport, ServicesReport};
use pilot::catalog::saved::SnapshotFile;
use pilot::catalog::{Policy, SavePolicy};
use pilot_registry::{RegistryError, Snapshot};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{Answer, Pilot, pilot, pilot_with, snapshot};

fn hosts() -> Vec<String> {
    (0..20).map(|n| format!("s{n}.local")).collect()
}

/// A pilot whose registry east has 20 endpoints, all of which are held.
async fn holding() -> Pilot {
    let pilot = pilot(&["east", "west"]).await;
    let hosts = hosts();
    pilot.sinks[0].publish(snapshot(&hosts.iter().map(String::as_str).collect::<Vec<_>>()));
    pilot.sinks[1].publish(Snapshot::default());
    pilot.ready().await;
    pilot.sinks[0].publish(Snapshot::default());
    until(&pilot, "a hold", |report| report.held.is_some()).await;
    pilot
}

fn east(answer: &Answer) -> RegistryReport {
    let mut report: Value = answer.json();
    serde_json::from_value(report["registries"][0].take()).unwrap()
}

async fn until(pilot: &Pilot, what: &str, expected: impl Fn(&RegistryReport) -> bool) -> RegistryReport {
    let answer = pilot.get_until("/debug/registries", |answer| expected(&east(answer))).await;
    assert_eq!(answer.status, StatusCode::OK, "{what}");
    east(&answer)
}

async fn post(pilot: &Pilot, path: &str) -> Answer {
    pilot.send(pilot.request(Method::POST, path).body(Empty::new()).unwrap()).await
}

fn with_disk(folder: &TempDir) -> Policy {
    let file = SnapshotFile::new(folder.path(), "east", "scripted", 1 << 20);
    let (wait, save_interval) = (Duration::from_secs(60), Duration::from_secs(60));
    Policy { save: Some(SavePolicy { file, wait, save_interval }), ..Policy::default() }
}

#[tokio::test]
async fn what_is_held_is_shown_everywhere() {
    let pilot = holding().await;
    let report = until(&pilot, "a hold", |_| true).await;
    assert_eq!((report.health.as_str(), report.services, report.endpoints), ("live", 20, 20));
    assert_eq!((report.revision, report.origin.as_deref()), (Some(2), Some("registry")));
    let held = report.held.unwrap();
    assert_eq!((held.endpoints, held.services.len(), held.services["s7.local"]), (20, 20, 1));
    assert!(held.since < held.until, "{held:?}");
    let services: ServicesReport = pilot.get("/debug/services").await.json();
    assert!(services.services.iter().all(|service| service.held == [("east".to_owned(), 1)].into()));
    let service: ServiceReport = pilot.get("/debug/services?host=s7.local").await.json();
    assert_eq!(service.summary.held, [("east".to_owned(), 1)].into());
    let metrics = pilot.get("/metrics").await.body;
    for line in [
        r#"pilot_registry_held_endpoints{registry="east"} 20"#,
        r#"pilot_registry_held_endpoints{registry="west"} 0"#,
        r#"pilot_registry_holds_total{registry="east"} 1"#,
        r#"pilot_registry_endpoints{registry="east"} 20"#,
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn what_is_held_is_let_go_on_request_and_once() {
    let pilot = holding().await;
    let released: Released = post(&pilot, "/registries/east/release").await.json();
    assert_eq!((released.registry.as_str(), released.endpoints, released.services.len()), ("east", 20, 20));
    let again: Released = post(&pilot, "/registries/east/release").await.json();
    assert_eq!((again.endpoints, again.services.len()), (0, 0));
    let report = until(&pilot, "nothing held", |report| report.held.is_none()).await;
    assert_eq!(report.services, 0);
}

#[tokio::test]
async fn a_release_is_refused_where_it_makes_no_sense() {
    let pilot = holding().await;
    let unknown = post(&pilot, "/registries/south/release").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let failure: Failure = unknown.json();
    assert_eq!(
        (failure.error.as_str(), failure.known),
        ("no registry \"south\"", vec!["east".into(), "west".into()])
    );
    let read = pilot.get("/registries/east/release").await;
    assert_eq!(
        (read.status, &read.headers[ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
    for path in ["/registries/east", "/registries/east/release/", "/registries/release"] {
        assert_eq!(post(&pilot, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(post(&pilot, "/registries/east/release?now=1").await.status, StatusCode::BAD_REQUEST);
    until(&pilot, "still held", |report| report.held.is_some()).await;
}

/// A form on any web page can send a POST to loopback, and browsers say which page it was.
#[tokio::test]
async fn a_page_of_another_origin_lets_nothing_go() {
    let pilot = holding().await;
    let from = |origin: &str| {
        let request = Request::post("/registries/east/release").header(HOST, pilot.addr.to_string());
        request.header(ORIGIN, origin).body(Empty::new()).unwrap()
    };
    for origin in ["https://example.com", "null", "http://127.0.0.1:1", &format!("https://{}", pilot.addr)] {
        assert_eq!(pilot.send(from(origin)).await.status, StatusCode::FORBIDDEN, "{origin}");
    }
    until(&pilot, "still held", |report| report.held.is_some()).await;
    assert_eq!(pilot.send(from(&format!("http://{}", pilot.addr))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_registry_that_is_served_from_disk_is_marked_stale_everywhere() {
    let folder = TempDir::new().unwrap();
    let policy = with_disk(&folder);
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    policy.save.as_ref().unwrap().file.save(&snapshot(&["a.local"]), an_hour_ago).unwrap();
    let pilot = pilot_with(&["east"], &policy).await;
    pilot.feeds[0].attempt_failed(RegistryError::unavailable("connecting to 127.0.0.1:8500 failed"));
    pilot.ready().await;
    let ready = pilot.get("/readyz").await.body;
    assert!(ready.starts_with("ready\nregistry east: stale: from disk, as of 2"), "{ready}");
    assert!(ready.contains(" s ago: connecting to 127.0.0.1:8500 failed\n"), "{ready}");
    let report = until(&pilot, "from disk", |_| true).await;
    assert_eq!((report.origin.as_deref(), report.revision, report.services), (Some("disk"), None, 1));
    assert!(report.age_seconds.unwrap() >= 3_600.0 && report.disk.unwrap().saved_at.is_some());
    let services: ServicesReport = pilot.get("/debug/services").await.json();
    assert!(services.services[0].stale_seconds["east"] >= 3_600, "{services:?}");
    let metrics = pilot.get("/metrics").await.body;
    assert!(metrics.contains("pilot_registry_stale{registry=\"east\"} 1\n"), "{metrics}");
    assert!(metrics.contains("pilot_registry_data_age_seconds{registry=\"east\"} 36"), "{metrics}");

    pilot.sinks[0].publish(snapshot(&["a.local", "b.local"]));
    let report = until(&pilot, "live", |report| report.health == "live").await;
    assert_eq!((report.origin.as_deref(), report.services), (Some("registry"), 2));
    assert_eq!(pilot.get("/readyz").await.body, "ready\n");
    let services: ServicesReport = pilot.get("/debug/services").await.json();
    assert!(services.services.iter().all(|service| service.stale_seconds.is_empty()), "{services:?}");
}

#[tokio::test]
async fn an_optional_registry_that_is_missing_is_named() {
    let policy = Policy { patience: Some(Duration::from_millis(50)), ..Policy::default() };
    let pilot = pilot_with(&["east", "west"], &policy).await;
    pilot.sinks[1].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    assert_eq!(pilot.get("/readyz").await.body, "ready\nregistry east: has not answered yet\n");
    let json = pilot.request(Method::GET, "/readyz").header("accept", "application/json");
    let readiness: Readiness = pilot.send(json.body(Empty::new()).unwrap()).await.json();
    assert_eq!((readiness.ready, readiness.waiting.len(), readiness.stale.len()), (true, 1, 0));
    let report = until(&pilot, "missing", |_| true).await;
    assert_eq!((report.optional, report.origin), (true, None));
    let metrics = pilot.get("/metrics").await.body;
    assert!(metrics.contains("pilot_registry_known{registry=\"east\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn what_cannot_be_saved_is_shown() {
    let folder = TempDir::new().unwrap();
    let policy = with_disk(&folder);
    std::fs::create_dir(policy.save.as_ref().unwrap().file.path()).unwrap();
    let pilot = pilot_with(&["east"], &policy).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    let failed = |report: &RegistryReport| report.disk.as_ref().is_some_and(|disk| disk.error.is_some());
    let report = until(&pilot, "an error", failed).await;
    assert!(report.disk.unwrap().error.unwrap().contains("east.snapshot"), "the file is named");
    assert_eq!(report.health, "live", "the registry is in order all the same");
    let metrics = pilot.get("/metrics").await.body;
    assert!(metrics.contains("pilot_registry_save_failing{registry=\"east\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_file_that_is_not_believed_is_named_where_pilot_says_what_it_waits_for() {
    let folder = TempDir::new().unwrap();
    let policy = with_disk(&folder);
    std::fs::write(policy.save.as_ref().unwrap().file.path(), "services = []").unwrap();
    let pilot = pilot_with(&["east"], &policy).await;
    pilot.feeds[0].attempt_failed(RegistryError::unavailable("nobody is there"));
    let told = |answer: &Answer| answer.body.contains("nobody is there; last known good: ");
    let answer = pilot.get_until("/readyz", told).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.body.contains("east.snapshot is not used: it is no file of pilot's; set aside as "),
        "{}",
        answer.body
    );
}

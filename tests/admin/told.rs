//! What registries tell of themselves, as JSON and as their users read it.

use http::StatusCode;
use pilot::admin::{Failure, RegistryReport};
use pilot_registry::{RegistryError, Snapshot};
use serde_json::Value;

use crate::fixture::{Pilot, pilot, snapshot};
use crate::verbs::ask;

async fn east(pilot: &Pilot) -> RegistryReport {
    pilot.get("/debug/registries?name=east").await.json()
}

#[tokio::test]
async fn version_watches_and_last_errors_are_shown() {
    let pilot = pilot(&["east"]).await;
    let sink = &pilot.sinks[0];
    sink.fact("server_version", "v1.36.2");
    let (pods, services) = (sink.following("pods"), sink.following("services"));
    services.listing();
    services.watching();
    pods.listing();
    let report = east(&pilot).await;
    assert_eq!(report.facts["server_version"], "v1.36.2");
    assert_eq!(
        report.watches.keys().zip(report.watches.values().map(|it| it.state.as_str())).collect::<Vec<_>>(),
        [(&"pods".to_owned(), "listing"), (&"services".to_owned(), "watching")]
    );
    let watch = &report.watches["services"];
    assert_eq!((watch.opened, watch.lists, &watch.last_error), (1, 1, &None));
    assert!(watch.quiet_seconds.unwrap() <= watch.age_seconds && watch.since.ends_with('Z'), "{watch:?}");
    assert_eq!((report.watches["pods"].quiet_seconds, report.last_error), (None, None));

    pods.failed(&RegistryError::denied("list pods: 403 Forbidden"));
    pilot.feeds[0].attempt_failed(RegistryError::unavailable("the connection broke"));
    sink.publish(Snapshot::default());
    let report = east(&pilot).await;
    assert_eq!((report.health.as_str(), report.trouble), ("live", None));
    let last = report.last_error.unwrap();
    assert_eq!((last.kind.as_str(), last.error.as_str()), ("unavailable", "the connection broke"));
    assert!(last.age_seconds >= 0.0 && last.at.ends_with('Z'), "{last:?}");
    let watch = &report.watches["pods"];
    let last = watch.last_error.as_ref().unwrap();
    assert_eq!((watch.state.as_str(), last.error.as_str()), ("stopped", "list pods: 403 Forbidden"));
}

#[tokio::test]
async fn all_that_is_wrong_is_shown_not_only_the_oldest() {
    let pilot = pilot(&["east"]).await;
    let sink = &pilot.sinks[0];
    sink.publish(snapshot(&["a.local"]));
    let _faults = ["list pods: 403", "list nodes: 403"].map(|text| sink.fault(RegistryError::denied(text)));
    let report = east(&pilot).await;
    assert_eq!(report.trouble.unwrap().error, "list pods: 403");
    let others: Vec<_> = report.other_troubles.iter().map(|trouble| trouble.error.as_str()).collect();
    assert_eq!(others, ["list nodes: 403"]);
    let shown = ask(&pilot, &["registries"]).await.stdout;
    let notes: Vec<_> = shown.lines().skip(3).collect();
    assert_eq!(notes.len(), 2, "what stands is no last error, too: {shown}");
    assert!(notes[0].starts_with("east: denied since ") && notes[0].ends_with(": list pods: 403"), "{shown}");
    assert!(notes[1].ends_with(": list nodes: 403"), "{shown}");
}

#[tokio::test]
async fn one_registry_is_asked_for_by_its_name() {
    let pilot = pilot(&["east", "west"]).await;
    assert_eq!(east(&pilot).await.name, "east");
    let unknown = pilot.get("/debug/registries?name=south").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.json::<Failure>().known, ["east", "west"]);
    let ended = ask(&pilot, &["registries", "south"]).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(1), "error: no registry \"south\" (known: east, west)\n")
    );
}

#[tokio::test]
async fn a_list_tells_in_a_line_what_one_registry_tells_in_a_table() {
    let pilot = pilot(&["east", "west"]).await;
    let sink = &pilot.sinks[0];
    sink.fact("server_version", "v1.36.2\u{1b}[31m");
    let watches = ["nodes", "pods", "services"].map(|name| sink.following(name));
    watches[0].watching();
    watches[2].listing();
    watches[2].watching();
    watches[1].failed(&RegistryError::denied("list pods: 403\nForbidden"));
    drop(sink.fault(RegistryError::denied("list pods: 403\nForbidden")));
    pilot.sinks.iter().for_each(|sink| sink.publish(Snapshot::default()));

    let shown = ask(&pilot, &["registries"]).await.stdout;
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 6, "nothing is said of west: {shown}");
    let start = "east: server version v1.36.2\\u{1b}[31m; 2 watches, 0s old, quiet for 0s at most; ";
    assert_eq!(lines[4], format!("{start}not watched: pods (stopped)"), "{shown}");
    assert_eq!(lines[5], "east: last failed 0s ago: denied: list pods: 403\\nForbidden");

    let shown = ask(&pilot, &["registries", "east"]).await.stdout;
    assert!(shown.starts_with("REGISTRY ") && !shown.contains("west"), "{shown}");
    let table = shown.split("\n\n").nth(2).unwrap();
    assert_eq!(
        table,
        "WATCH     STATE     AGE  QUIET  OPENED  LISTS  LAST ERROR\n\
         nodes     watching  0s   0s     1       0      -\n\
         pods      stopped   0s   -      0       0      0s ago: denied: list pods: 403\\nForbidden\n\
         services  watching  0s   0s     1       1      -\n"
    );
    let json = ask(&pilot, &["registries", "east", "-o", "json"]).await.stdout;
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["watches"]["services"]["opened"], 1);
    let yaml = ask(&pilot, &["registries", "-o", "yaml"]).await.stdout;
    let report: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(report["registries"][0]["watches"]["pods"]["state"], "stopped");
}

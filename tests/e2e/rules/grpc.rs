//! gRPC's own xDS clients follow rules, as far as they know them.

use std::collections::BTreeSet;
use std::fs;

use pilot::admin::ExplainReport;

use super::shop::virtual_service;
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::{node_grpc, python};
use crate::support::wait::{holds, until};

const SUBSETS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo.local
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";

/// Two versions of a service, and what is said of it.
struct Echo {
    pilot: Pilot,
    _backends: [GrpcBackend; 2],
}

impl Echo {
    /// `None` = there is no gRPC on this machine.
    async fn start() -> Option<Self> {
        let python = python()?;
        let backends = ["v1", "v2"].map(|version| GrpcBackend::start(&python, version));
        let places = [("v1", &backends[0]), ("v2", &backends[1])];
        let places = places.map(|(version, backend)| backend.place().label("version", version));
        let mut pilot = Pilot::prepare_with(
            "[registry.local.file]\npath = \"services.toml\"\n[rules.local.file]\npath = \"rules\"\n",
        );
        pilot.write_services(&service("echo.local", 50051, "grpc", &places));
        fs::create_dir(pilot.folder().join("rules")).unwrap();
        fs::write(pilot.folder().join("rules/subsets.yaml"), SUBSETS).unwrap();
        pilot.spawn();
        pilot.ready().await;
        Some(Self { pilot, _backends: backends })
    }

    fn rule(&self, http: &str) {
        let folder = self.pilot.folder().join("rules");
        fs::write(folder.join(".new"), virtual_service("echo", "echo.local", http)).unwrap();
        fs::rename(folder.join(".new"), folder.join("echo.yaml")).unwrap();
    }
}

/// Waits until calls with that metadata have these outcomes and no others.
async fn outcomes(client: &mut GrpcClient, metadata: &str, expected: &[&str]) {
    let what = format!("calls with {metadata:?} are answered by {expected:?}");
    until(&what, async || {
        let outcome = |_| client.call_with(metadata).unwrap_or_else(|error| error);
        let seen: BTreeSet<String> = (0..40).map(outcome).collect();
        let is_so = seen.len() == expected.len()
            && expected.iter().all(|one| seen.iter().any(|outcome| outcome.starts_with(one)));
        holds(is_so, format!("{seen:?}"))
    })
    .await;
}

const HEADERS: &str = "  - match: [{headers: {end-user: {exact: ann}}}]
    route: [{destination: {host: echo.local, subset: v2}}]
  - match: [{uri: {prefix: /test.Who/}}]
    corsPolicy: {allowOrigins: [{exact: x}]}
    rewrite: {authority: other}
    mirror: {host: echo.local}
    route: [{destination: {host: echo.local, subset: v1}}]
";

/// What is for browsers fails a call, and nothing else.
const FOR_BROWSERS: &str = "  - match: [{headers: {end-user: {exact: ann}}}]
    directResponse: {status: 200}
  - route: [{destination: {host: echo.local, subset: v1}}]
";

fn weighted(v1: u32, v2: u32) -> String {
    format!(
        "  - route:\n    - {{destination: {{host: echo.local, subset: v1}}, weight: {v1}}}\n    - {{destination: \
         {{host: echo.local, subset: v2}}, weight: {v2}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_follow_subsets_headers_weights_and_faults() {
    let Some(echo) = Echo::start().await else { return };
    let python = python().unwrap();
    let mut client = GrpcClient::start(&python, &echo.pilot, "xds:///echo.local:50051");
    outcomes(&mut client, "", &["v1", "v2"]).await;
    echo.rule(HEADERS);
    outcomes(&mut client, "", &["v1"]).await;
    outcomes(&mut client, "end-user=ann", &["v2"]).await;
    echo.rule(&weighted(1, 1));
    outcomes(&mut client, "", &["v1", "v2"]).await;
    echo.rule(&weighted(0, 1));
    outcomes(&mut client, "", &["v2"]).await;
    echo.rule(FOR_BROWSERS);
    outcomes(&mut client, "end-user=ann", &["error UNAVAILABLE"]).await;
    outcomes(&mut client, "", &["v1"]).await;
    echo.rule(
        "  - fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}\n    route: \
         [{destination: {host: echo.local, subset: v1}}]\n",
    );
    outcomes(&mut client, "", &["error RESOURCE_EXHAUSTED"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_lose_no_call_while_rules_change() {
    let Some(echo) = Echo::start().await else { return };
    let python = python().unwrap();
    let mut client = GrpcClient::start(&python, &echo.pilot, "xds:///echo.local:50051");
    outcomes(&mut client, "", &["v1", "v2"]).await;
    for (v1, v2, expected) in [(1, 0, "v1"), (0, 1, "v2"), (1, 0, "v1"), (0, 1, "v2")] {
        echo.rule(&weighted(v1, v2));
        until(&format!("{expected} answers all calls"), async || {
            let seen: BTreeSet<String> = (0..10).map(|_| client.call().unwrap()).collect();
            holds(seen.len() == 1 && seen.contains(expected), format!("{seen:?}"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_of_node_follow_subsets_and_weights() {
    let Some(packages) = node_grpc() else { return };
    let Some(echo) = Echo::start().await else { return };
    let mut client = GrpcClient::start_node(&packages, &echo.pilot, "xds:///echo.local:50051");
    outcomes(&mut client, "", &["v1", "v2"]).await;
    echo.rule(HEADERS);
    outcomes(&mut client, "", &["v1"]).await;
    outcomes(&mut client, "end-user=ann", &["v2"]).await;
    echo.rule(&weighted(0, 1));
    outcomes(&mut client, "", &["v2"]).await;
    echo.rule(FOR_BROWSERS);
    outcomes(&mut client, "end-user=ann", &["error UNAVAILABLE"]).await;
    outcomes(&mut client, "", &["v1"]).await;
}

/// A policy that gRPC clients do not know keeps them from nothing.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_have_services_of_which_policies_are_for_envoys() {
    let Some(echo) = Echo::start().await else { return };
    let python = python().unwrap();
    let mut client = GrpcClient::start(&python, &echo.pilot, "xds:///echo.local:50051");
    outcomes(&mut client, "", &["v1", "v2"]).await;
    for balancer in
        ["simple: LEAST_REQUEST", "simple: RANDOM", "consistentHash: {maglev: {}, httpHeaderName: x}"]
    {
        let policy = format!("  trafficPolicy: {{loadBalancer: {{{balancer}}}}}\n");
        fs::write(echo.pilot.folder().join("rules/subsets.yaml"), format!("{SUBSETS}{policy}")).unwrap();
        echo.rule(&weighted(1, 0));
        outcomes(&mut client, "", &["v1"]).await;
        echo.rule(&weighted(0, 1));
        outcomes(&mut client, "", &["v2"]).await;
        let mut newcomer = GrpcClient::start(&python, &echo.pilot, "xds:///echo.local:50051");
        outcomes(&mut newcomer, "", &["v2"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_explain_says_of_calls_is_what_becomes_of_them() {
    let Some(echo) = Echo::start().await else { return };
    let python = python().unwrap();
    let mut client = GrpcClient::start(&python, &echo.pilot, "xds:///echo.local:50051");
    echo.rule(HEADERS);
    outcomes(&mut client, "", &["v1"]).await;
    outcomes(&mut client, "end-user=ann", &["v2"]).await;
    let explained = |target: &str, more: &[&str]| -> ExplainReport {
        let output =
            echo.pilot.command(&[&["explain", target, "-o", "json"], more].concat()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let call = "xds:///echo.local:50051/test.Who/Ask";
    let node = explained(call, &[]).proxy;
    let connected = echo.pilot.debug("/debug/proxies").await.unwrap();
    let connected = connected["proxies"][0]["id"].as_str().unwrap().to_owned();
    assert_ne!(node, connected);
    for of_whom in [&[][..], &["--proxy", &connected]] {
        for (header, rule, subset) in [("", "spec.http[1]", "v1"), ("end-user: ann", "spec.http[0]", "v2")] {
            let header = if header.is_empty() { vec![] } else { vec!["--header", header] };
            let report = explained(call, &[of_whom, &header].concat());
            assert!(report.scope.starts_with("router/grpc"), "{report:?}");
            assert_eq!(report.request, "POST http://echo.local:50051/test.Who/Ask");
            assert_eq!(report.listener.as_ref().unwrap().name, "echo.local:50051");
            assert_eq!(report.virtual_host.as_ref().unwrap().origin, "VirtualService/default/echo");
            let last = report.routes.last().unwrap();
            assert_eq!((last.rule.as_deref(), &last.why_not), (Some(rule), &None), "{report:?}");
            let [destination] = report.destinations.as_slice() else { panic!("{report:?}") };
            assert_eq!((destination.subset.as_str(), destination.endpoints.len()), (subset, 1), "{report:?}");
        }
    }
    // What no rule takes fails, as the client finds out.
    echo.rule(
        "  - match: [{headers: {end-user: {exact: ann}}}]\n    route: [{destination: {host: echo.local}}]\n",
    );
    outcomes(&mut client, "", &["error UNAVAILABLE"]).await;
    assert_eq!(explained(call, &[]).outcome, ["no route is for it: UNAVAILABLE"]);
    let nobody = explained("xds:///ecko.local:50051", &[]).outcome.join("; ");
    assert!(
        nobody.contains("there is none: UNAVAILABLE") && nobody.contains("did you mean echo.local"),
        "{nobody}"
    );
}

//! What Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::Empty;
use pilot::catalog::Policy;
use pilot::mesh::MeshOptions;
use pilot::metrics::{Format, Metrics};
use pilot::proxies::Proxies;
use pilot::proxy::Transport;
use pilot::supervisor::Registered;
use pilot::world::World;
use pilot_registry::{Snapshot, channel};
use pilot_registry_testkit::server::tool;

use crate::fixture::{Answer, Pilot, pilot, proxy, snapshot};

#[tokio::test]
async fn metrics_tell_health_and_age_of_each_registry() {
    let pilot = pilot(&["east", "local"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    let _connection = pilot.proxies.connect(&proxy("envoy-1"), Transport::Ads, true, None);
    let served = r#"pilot_registry_services{registry="east"} 1"#;
    pilot.get_until("/metrics", |answer| answer.body.contains(served)).await;
    let answer = metrics(&pilot, "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1").await;
    assert!(answer.headers[CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    for line in [
        r#"pilot_registry_health{registry="east",state="live"} 1"#,
        r#"pilot_registry_health{registry="local",state="connecting"} 1"#,
        r#"pilot_registry_health{registry="local",state="live"} 0"#,
        r#"pilot_registry_services{registry="east"} 1"#,
        r#"pilot_registry_revision{registry="east"} 1"#,
        r#"pilot_ready 0"#,
        r#"pilot_proxies{state="acked"} 1"#,
        r#"pilot_scopes 0"#,
    ] {
        assert!(answer.body.lines().any(|known| known == line), "{line} is not in\n{}", answer.body);
    }
    assert!(answer.body.contains(r#"pilot_registry_data_age_seconds{registry="east"} "#));
    assert!(!answer.body.contains(r#"pilot_registry_data_age_seconds{registry="local"} "#));
    check_openmetrics(&answer.body);
}

async fn metrics(pilot: &Pilot, accept: &str) -> Answer {
    let request = pilot.request(Method::GET, "/metrics").header(ACCEPT, accept);
    pilot.send(request.body(Empty::new()).unwrap()).await
}

/// Prometheus' own text, for whoever does not ask for OpenMetrics.
#[tokio::test]
async fn metrics_are_prometheus_text_unless_openmetrics_is_asked_for() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    for answer in [pilot.get("/metrics").await, metrics(&pilot, "text/plain;version=0.0.4").await] {
        assert_eq!(answer.headers[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
        check_prometheus(&answer.body);
        for line in [
            "# TYPE pilot_xds_acks_total counter",
            "# TYPE pilot_build_info gauge",
            "# TYPE process_cpu_seconds_total counter",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_virtual_memory_bytes gauge",
            "# TYPE process_open_fds gauge",
            "# TYPE process_max_fds gauge",
            "# TYPE process_start_time_seconds gauge",
            r#"pilot_registry_health{registry="east",state="live"} 1"#,
        ] {
            assert!(answer.body.lines().any(|known| known == line), "{line} is not in\n{}", answer.body);
        }
    }
}

/// Version 0.0.4: each family is described once, before its samples, and called as they are.
fn check_prometheus(text: &str) {
    let mut families = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(
                families.insert(family.to_owned(), kind.to_owned()),
                None,
                "{family} is described twice"
            );
        } else if line.starts_with('#') {
            assert!(line.starts_with("# HELP "), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let histogram = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let kind = families.get(name).or_else(|| families.get(histogram.unwrap_or_default()));
            let kind = kind.unwrap_or_else(|| panic!("{line} has no family"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_say_of_metrics() {
    let Some(promtool) = tool("PILOT_TEST_PROMTOOL", "promtool") else { return };
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    let text = pilot.get("/metrics").await.body;
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}

/// OpenMetrics 1.0: every sample belongs to a family that is described once, and the end is marked.
fn check_openmetrics(text: &str) {
    let mut families = BTreeSet::new();
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, _) = rest.split_once(' ').unwrap();
            assert!(families.insert(family.to_owned()), "{family} is described twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let of = |family: &String| {
                name.strip_prefix(family.as_str()).is_some_and(|suffix| {
                    ["", "_total", "_bucket", "_count", "_sum", "_info"].contains(&suffix)
                })
            };
            assert!(families.iter().any(of), "{line} has no family");
            value.parse::<f64>().unwrap();
        }
    }
}

/// L17: data that nobody checks grows old, and the age says so.
#[tokio::test(start_paused = true)]
async fn age_grows_while_the_platform_is_silent() {
    let (sink, feed) = channel::<Snapshot>();
    sink.publish(Snapshot::default());
    let registered = Registered::new("east", "scripted", 0, feed, Policy::default());
    let world = World::new(vec![registered], MeshOptions::default(), 16);
    tokio::time::advance(Duration::from_secs(90)).await;
    let age = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("pilot_registry_data_age_seconds{")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let metrics = Metrics::new();
    assert!((age(&metrics.encode(Format::Prometheus, &world, &Proxies::default())) - 90.0).abs() < 0.1);
    sink.publish(Snapshot::default());
    assert!(age(&metrics.encode(Format::Prometheus, &world, &Proxies::default())) < 0.1);
}

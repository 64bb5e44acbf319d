//! What Prometheus reads.

use std::collections::BTreeSet;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use pilot::catalog::Policy;
use pilot::mesh::MeshOptions;
use pilot::metrics::Metrics;
use pilot::proxies::Proxies;
use pilot::proxy::Transport;
use pilot::supervisor::Registered;
use pilot::world::World;
use pilot_registry::{Snapshot, channel};

use crate::fixture::{pilot, proxy, snapshot};

#[tokio::test]
async fn metrics_tell_health_and_age_of_each_registry() {
    let pilot = pilot(&["east", "local"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    let _connection = pilot.proxies.connect(&proxy("envoy-1"), Transport::Ads, true, None);
    let served = r#"pilot_registry_services{registry="east"} 1"#;
    let answer = pilot.get_until("/metrics", |answer| answer.body.contains(served)).await;
    assert!(answer.headers[CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    for line in [
        r#"pilot_registry_health{registry="east",state="live"} 1"#,
        r#"pilot_registry_health{registry="local",state="connecting"} 1"#,
        r#"pilot_registry_health{registry="local",state="live"} 0"#,
        r#"pilot_registry_services{registry="east"} 1"#,
        r#"pilot_registry_revision{registry="east"} 1"#,
        r#"pilot_ready 0"#,
        r#"pilot_proxies 1"#,
    ] {
        assert!(answer.body.lines().any(|known| known == line), "{line} is not in\n{}", answer.body);
    }
    assert!(answer.body.contains(r#"pilot_registry_data_age_seconds{registry="east"} "#));
    assert!(!answer.body.contains(r#"pilot_registry_data_age_seconds{registry="local"} "#));
    check_openmetrics(&answer.body);
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
    assert!((age(&metrics.encode(&world, &Proxies::default())) - 90.0).abs() < 0.1);
    sink.publish(Snapshot::default());
    assert!(age(&metrics.encode(&world, &Proxies::default())) < 0.1);
}

//! What the log says of changes: numbers and a few names, at once after a quiet time, and together in a busy one.

use std::time::Duration;

use pilot_registry::{Health, Service};
use pilot_registry_testkit::{service, snapshot};

use super::conflicts::Log;
use super::{Arc, Fixture, a, b, router, start, until};

fn other(address: &str) -> Arc<Service> {
    service("a.local").http(80).endpoint("10.0.0.1", 8080).endpoint(address, 8080).build()
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_with_counts_and_names_and_not_more_often_than_every_few_seconds() {
    let log = Log::default();
    let _guard = log.follow();
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a()])).await;
    let mut last = until(&mut sets, |_| true).await;
    let ready = log.fresh_of("ready: ");
    assert!(ready.len() == 1 && ready[0].contains("services=1 endpoints=1"), "{ready:#?}");

    // A quiet time, and then three changes in a row.
    tokio::time::sleep(Duration::from_secs(300)).await;
    for services in [vec![a(), b()], vec![b()], vec![other("10.0.0.3"), b()]] {
        scripts[0].publish(snapshot(services)).await;
        last = until(&mut sets, |set| set.generation() > last.generation()).await;
    }
    let told = log.fresh_of("services: ");
    assert!(
        told.len() == 1 && told[0].contains("services: 1 added (b.local) added=1 removed=0"),
        "{told:#?}"
    );
    tokio::time::sleep(Duration::from_secs(70)).await;
    let told = log.fresh_of("services: ");
    assert_eq!(told.len(), 1, "what came and went meanwhile is nothing: {told:#?}");
    assert!(told[0].contains("services: 1 with other endpoints (a.local 1 -> 2)"), "{told:#?}");

    // Endpoints that change all the time are told of once a minute.
    tokio::time::sleep(Duration::from_secs(300)).await;
    for second in 0..120 {
        scripts[0].publish(snapshot([other(&format!("10.0.1.{second}")), b()])).await;
        last = until(&mut sets, |set| set.generation() > last.generation()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let told = log.fresh_of("services: ");
    assert!((2..=3).contains(&told.len()), "{told:#?}");

    // A service that goes meanwhile is told of at once or within seconds.
    scripts[0].publish(snapshot([b()])).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let told = log.fresh_of("1 removed (a.local)");
    assert_eq!(told.len(), 1, "{told:#?}");
}

/// An HTTP service whose meta loses a word is bytes from then on.
#[tokio::test(start_paused = true)]
async fn a_protocol_that_nobody_says_any_more_is_told_of() {
    let log = Log::default();
    let _guard = log.follow();
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a(), b()])).await;
    let last = until(&mut sets, |_| true).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let unsaid = service("a.local").tcp(80).guessed_protocol().endpoint("10.0.0.1", 8080).build();
    scripts[0].publish(snapshot([unsaid, b()])).await;
    until(&mut sets, |set| set.generation() > last.generation()).await;
    tokio::task::yield_now().await;
    let told = log.fresh_of("which is a guess");
    assert!(told.len() == 1 && told[0].contains("any more: a.local:80 http -> tcp"), "{told:#?}");
}

/// Clients call the number that was guessed until somebody tells them.
#[tokio::test(start_paused = true)]
async fn a_guessed_port_that_a_registry_replaces_is_a_warning() {
    let log = Log::default();
    let _guard = log.follow();
    let Fixture { world, scripts, _tasks } = start(&["east", "west"]);
    let mut sets = world.subscribe(&router()).unwrap();
    let guessed = service("web.local").http(26_201).guessed().endpoint("10.0.0.1", 26_201).build();
    scripts[0].publish(snapshot([guessed])).await;
    scripts[1].publish(snapshot([])).await;
    let last = until(&mut sets, |_| true).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    scripts[1].publish(snapshot([service("web.local").http(80).endpoint("10.0.1.1", 8080).build()])).await;
    until(&mut sets, |set| set.generation() > last.generation()).await;
    tokio::task::yield_now().await;
    let told = log.fresh_of("were guessed are gone");
    assert!(
        told.len() == 1 && told[0].contains("WARN") && told[0].contains("web.local:26201 -> 80"),
        "{told:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_loses_its_last_usable_endpoint_is_told_of_at_once_and_so_is_its_return() {
    let log = Log::default();
    let _guard = log.follow();
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let mut sets = world.subscribe(&router()).unwrap();
    let of = |health| service("a.local").http(80).endpoint("10.0.0.1", 8080).health(health).build();
    scripts[0].publish(snapshot([of(Health::Healthy), b()])).await;
    let mut last = until(&mut sets, |_| true).await;
    assert_eq!(log.fresh_of("usable endpoint"), [""; 0]);
    for (health, words) in [
        (Health::Unhealthy, "services have no usable endpoint: clients get 503 services=1 names=\"a.local\""),
        (Health::Healthy, "services have a usable endpoint again services=1 names=\"a.local\""),
        (Health::Draining, "services have no usable endpoint: clients get 503"),
    ] {
        scripts[0].publish(snapshot([of(health), b()])).await;
        last = until(&mut sets, |set| set.generation() > last.generation()).await;
        tokio::task::yield_now().await;
        let told = log.fresh_of("usable endpoint");
        assert!(told.len() == 1 && told[0].contains(words), "{told:#?}");
    }
}

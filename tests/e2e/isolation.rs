//! A change touches what it is about, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::support::backend::Backend;
use crate::support::conversation::Conversation;
use crate::support::envoy::{Envoy, Kind};
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::http;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::{envoy, python};
use crate::support::wait::{holds, throughout, until};

const QUEUE: &str = "outbound|9090||queue.local";

/// All that Envoy counts of listeners coming, going and changing.
async fn listener_changes(envoy: &Envoy) -> BTreeMap<String, u64> {
    let counted = ["listener_added", "listener_modified", "listener_removed", "lds.update_success"];
    let mut stats = envoy.stats().await;
    stats
        .retain(|name, _| name.strip_prefix("listener_manager.").is_some_and(|name| counted.contains(&name)));
    assert_eq!(stats.len(), counted.len(), "{stats:?}");
    stats
}

#[tokio::test(flavor = "multi_thread")]
async fn l3_endpoint_changes_never_touch_a_listener_or_cut_a_connection() {
    let Some(envoy) = envoy() else { return };
    let (first, second) = (Backend::echo("first").await, Backend::echo("second").await);
    let one = service("queue.local", 9090, "tcp", &[first.place()]);
    let two = service("queue.local", 9090, "tcp", &[first.place(), second.place()]);
    for kind in [Kind::Delta, Kind::Sotw] {
        let pilot = Pilot::start(&one).await;
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        let mut connection = Conversation::open(envoy.port(9090)).await;
        assert_eq!(connection.partner(), "first");
        let before = listener_changes(&envoy).await;
        for round in 1..=20 {
            let (services, endpoints) = if round % 2 == 1 { (&two, 2) } else { (&one, 1) };
            pilot.write_services(services);
            envoy.has_endpoints(QUEUE, endpoints).await;
            connection.say(&format!("round {round}")).await;
        }
        assert_eq!(listener_changes(&envoy).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_endpoints_keep_their_connections_and_get_no_new_ones() {
    let Some(envoy) = envoy() else { return };
    let (old, new) = (Backend::echo("old").await, Backend::echo("new").await);
    let pilot = Pilot::start(&service("queue.local", 9090, "tcp", &[old.place()])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    let mut connection = Conversation::open(envoy.port(9090)).await;
    assert_eq!(connection.partner(), "old");
    let places = [old.place().health("draining"), new.place()];
    pilot.write_services(&service("queue.local", 9090, "tcp", &places));
    envoy.has_endpoints(QUEUE, 2).await;
    for _ in 0..10 {
        assert_eq!(Conversation::open(envoy.port(9090)).await.partner(), "new");
    }
    connection.say("still there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_changes_lose_no_request() {
    let Some(envoy) = envoy() else { return };
    let backends = [Backend::http("a").await, Backend::http("b").await];
    let services = |a: &str, b: &str| {
        let places = [backends[0].place().health(a), backends[1].place().health(b)];
        service("reviews.local", 9080, "http", &places)
    };
    let pilot = Pilot::start(&services("healthy", "unhealthy")).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("reviews.local", "a").await;
    let load = Load::start(envoy.http_address(), &["reviews.local"], 2, &[]);
    for _ in 0..5 {
        for (a, b) in [("healthy", "healthy"), ("unhealthy", "healthy"), ("healthy", "healthy")] {
            pilot.write_services(&services(a, b));
            envoy.answers("reviews.local", "b").await;
            load.more(20).await;
        }
        pilot.write_services(&services("healthy", "draining"));
        envoy.answers("reviews.local", "a").await;
    }
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l13_one_bad_service_stays_as_it_was_and_the_others_follow() {
    let Some(envoy) = envoy() else { return };
    let backends = [Backend::http("a").await, Backend::http("b").await];
    let good = |backend: &Backend| service("good.local", 9080, "http", &[backend.place()]);
    let bad = service("bad.local", 9080, "http", &[backends[0].place()]);
    let pilot = Pilot::start(&(good(&backends[0]) + &bad)).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("bad.local", "a").await;
    let load = Load::start(envoy.http_address(), &["bad.local", "good.local"], 2, &[]);
    let broken = bad.replace("port = 9080", "port = 70000");
    pilot.write_services(&(good(&backends[1]) + &broken));
    envoy.answers("good.local", "b").await;
    envoy.answers("bad.local", "a").await;
    let registries = pilot.debug("/debug/registries").await.unwrap().to_string();
    assert!(registries.contains("bad.local") && registries.contains("70000"), "{registries}");
    load.finish().await.assert_no_failure();
}

/// A stopped Envoy, and a gRPC client that follows all the while.
async fn does_not_read(kind: Kind) {
    let Some(envoy) = envoy() else { return };
    let Some(python) = python() else { return };
    let backends = [GrpcBackend::start(&python, "a"), GrpcBackend::start(&python, "b")];
    let web = Backend::http("web").await;
    // Large enough that the responses which are not read fill every buffer on the way.
    let many: Vec<_> = (1..200).map(|host| Place::at(&format!("10.0.0.{host}:80"))).collect();
    let services = |round: usize| {
        let fill = (0..20).map(|n| service(&format!("s-{n}-{round}.local"), 9080, "http", &many));
        service("echo.local", 50051, "grpc", &[backends[round % 2].place()])
            + &service("web.local", 9080, "http", &[web.place()])
            + &fill.collect::<String>()
    };
    let pilot = Pilot::start(&services(0)).await;
    let envoy = Envoy::start(&envoy, &pilot, kind).await;
    let mut client = GrpcClient::start(&python, &pilot, "xds:///echo.local");
    envoy.process().signal("STOP");
    for round in 1..=6 {
        pilot.write_services(&services(round));
        let name = if round % 2 == 0 { "a" } else { "b" };
        until("the other client follows", async || {
            let answer = client.call()?;
            holds(answer == name, answer)
        })
        .await;
    }
    envoy.process().signal("CONT");
    // Well before Envoy's own 15 s after which it stops to wait for what never comes.
    let caught_up = envoy.has_endpoints("outbound|9080||s-19-6.local", 199);
    timeout(Duration::from_secs(10), caught_up).await.expect("envoy waits for something that is not sent");
    envoy.answers("web.local", "web").await;
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_does_not_read_holds_up_nobody_else_delta() {
    does_not_read(Kind::Delta).await;
}

/// What it was sent before it stopped is gone when it asks for the rest of it.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_does_not_read_holds_up_nobody_else_sotw() {
    does_not_read(Kind::Sotw).await;
}

/// The refusal that pilot shows for a type, if it shows one.
async fn refusal(pilot: &Pilot, kind: &str) -> Result<String, String> {
    let proxies = pilot.debug("/debug/proxies").await?;
    let message = find(&proxies, kind).and_then(|report| report.pointer("/nack/message")?.as_str());
    message.map(str::to_owned).ok_or_else(|| format!("no refusal of {kind} in {proxies}"))
}

/// The first value that has this key, however deep.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => {
            fields.get(key).or_else(|| fields.values().find_map(|inner| find(inner, key)))
        }
        Value::Array(items) => items.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l19_what_envoy_rejects_is_shown_in_its_words_and_not_sent_again() {
    let Some(envoy) = envoy() else { return };
    let backends = [Backend::http("a").await, Backend::http("b").await];
    let good = |backend: &Backend| service("good.local", 9080, "http", &[backend.place()]);
    let pilot = Pilot::start(&good(&backends[0])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("good.local", "a").await;
    // Envoy's own admin port: a listener cannot be bound there.
    let taken = service("taken.local", 15000, "tcp", &[backends[0].place()]);
    pilot.write_services(&(good(&backends[0]) + &taken));
    let words = until("the refusal is shown", async || refusal(&pilot, "lds").await).await;
    assert!(words.contains("15000"), "{words}");
    // It is the fault of that listener, and of no other.
    let proxies = pilot.debug("/debug/proxies").await.unwrap();
    let refused =
        find(&proxies, "lds").unwrap().pointer("/nack/refused").unwrap().as_array().unwrap().clone();
    let [one] = refused.as_slice() else { panic!("{refused:?}") };
    assert!(one["name"].as_str().unwrap().contains("15000"), "{one}");
    assert_eq!(one["origin"], "service taken.local");
    throughout("it is not sent again", Duration::from_secs(2), async || {
        let rejected = envoy.stat("listener_manager.lds.update_rejected").await?;
        holds(rejected == 1, format!("{rejected} refusals"))
    })
    .await;
    // All else goes on, and the refusal is over when its reason is.
    pilot.write_services(&(good(&backends[1]) + &taken));
    envoy.answers("good.local", "b").await;
    let other = service("other.local", 9081, "http", &[backends[0].place()]);
    pilot.write_services(&(good(&backends[1]) + &other));
    until("the new listener is there", async || http::body(envoy.port(9081), "other.local", "/").await).await;
    until("the refusal is over", async || match refusal(&pilot, "lds").await {
        Ok(words) => Err(words),
        Err(_) => Ok(()),
    })
    .await;
}

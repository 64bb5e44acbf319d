//! Real Envoys that take routes in parts (VHDS), under load: whatever comes, changes, moves and goes, no other request
//! fails. And those that cannot, which get routes as a whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::liar;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::{envoy, oldest_envoy};
use crate::support::wait::{holds, until};

/// Envoy's own limit for what a listener waits for.
const WARMING: Duration = Duration::from_secs(15);

fn with_aliases(service: &str, aliases: &[&str]) -> String {
    service.replacen("ports =", &format!("aliases = {aliases:?}\nports ="), 1)
}

/// Many services, so that a table takes a while to be made.
fn many(backend: &Backend) -> String {
    let one = |number| service(&format!("service-{number}.local"), 9080, "http", &[backend.place()]);
    (0..200).map(one).collect()
}

/// What pilot has counted of virtual hosts and routes.
pub(crate) async fn pushed(pilot: &Pilot, counter: &str, kind: &str) -> u64 {
    let text = http::body(pilot.admin_address(), "localhost", "/metrics").await.unwrap();
    let head = format!("pilot_xds_{counter}_total{{type=\"{kind}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&head));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Waits until Envoy has acknowledged all that it was sent.
pub(crate) async fn in_sync(pilot: &Pilot) {
    until("the proxy has everything", async || {
        let report = pilot.debug("/debug/proxies").await?;
        let types = report.pointer("/proxies/0/streams/0/types").and_then(Value::as_object);
        let states: Vec<_> = types.into_iter().flatten().map(|(_, it)| it["state"].clone()).collect();
        holds(!states.is_empty() && states.iter().all(|state| state == "acked"), report)
    })
    .await;
}

/// The virtual hosts that Envoy has, by route configuration.
pub(crate) async fn virtual_hosts(envoy: &Envoy) -> BTreeMap<String, Vec<String>> {
    let dump =
        http::body(envoy.admin_address(), "envoy", "/config_dump?resource=dynamic_route_configs").await;
    let dump: Value = serde_json::from_str(&dump.unwrap()).unwrap();
    let mut all = BTreeMap::new();
    for routes in dump["configs"].as_array().into_iter().flatten().map(|it| &it["route_config"]) {
        let hosts = routes["virtual_hosts"].as_array().into_iter().flatten();
        let names = hosts.map(|host| host["name"].as_str().unwrap().to_owned()).collect();
        all.insert(routes["name"].as_str().unwrap().to_owned(), names);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_services_come_change_and_go_one_by_one_and_no_other_request_fails() {
    let Some(envoy) = envoy() else { return };
    let [one, two] = [Backend::http("one").await, Backend::http("two").await];
    let pilot = Pilot::start(&many(&one)).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("service-0.local", "one").await;
    in_sync(&pilot).await;
    let (routes, bytes) =
        (pushed(&pilot, "push_bytes", "rds").await, pushed(&pilot, "push_bytes", "vhds").await);
    assert!(routes < 1000, "skeletons of {routes} bytes");
    let load = Load::start(envoy.http_address(), &["service-0.local", "service-199.local"], 4, &[]);
    for round in 0..5 {
        let new = service("new.local", 9080, "http", &[two.place()]);
        pilot.write_services(&(many(&one) + &new));
        envoy.answers("new.local", "two").await;
        let name = format!("alias-{round}.local");
        pilot.write_services(&(many(&one) + &with_aliases(&new, &[&name])));
        envoy.answers(&name, "two").await;
        pilot.write_services(&many(&one));
        envoy.knows_nothing_of("new.local").await;
    }
    load.more(100).await;
    load.finish().await.assert_no_failure();
    in_sync(&pilot).await;
    assert_eq!(pushed(&pilot, "push_bytes", "rds").await, routes, "routes stay as they are");
    // A service is in the routes of its port and in those of all.
    let each = (pushed(&pilot, "push_bytes", "vhds").await - bytes) / 15;
    assert!(each < 4096, "{each} bytes a change");
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_a_name_that_moves_between_services_is_answered_all_the_time() {
    let Some(envoy) = envoy() else { return };
    let [one, two] = [Backend::http("one").await, Backend::http("two").await];
    let services = |first: &[&str], second: &[&str]| {
        many(&one)
            + &with_aliases(&service("a.local", 9080, "http", &[one.place()]), first)
            + &with_aliases(&service("z.local", 9080, "http", &[two.place()]), second)
    };
    let pilot = Pilot::start(&services(&["moving.local"], &[])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("moving.local", "one").await;
    let load = Load::start(envoy.http_address(), &["moving.local"], 4, &[]);
    for _ in 0..5 {
        pilot.write_services(&services(&[], &["moving.local"]));
        envoy.answers("moving.local", "two").await;
        pilot.write_services(&services(&["moving.local"], &[]));
        envoy.answers("moving.local", "one").await;
    }
    let outcome = load.finish().await;
    outcome.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// Nothing is sent that did not change while pilot was away; what did is made up for.
#[tokio::test(flavor = "multi_thread")]
async fn p25_a_pilot_that_comes_back_sends_what_changed_meanwhile() {
    let Some(envoy) = envoy() else { return };
    let [one, two] = [Backend::http("one").await, Backend::http("two").await];
    let gone = service("gone.local", 9080, "http", &[two.place()]);
    let mut pilot = Pilot::start(&(many(&one) + &gone)).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers("gone.local", "two").await;
    in_sync(&pilot).await;
    let load = Load::start(envoy.http_address(), &["service-7.local"], 4, &[]);
    pilot.kill();
    envoy.is_connected(false).await;
    let new = service("new.local", 9080, "http", &[two.place()]);
    pilot.write_services(&(many(&one) + &new));
    pilot.spawn();
    pilot.ready().await;
    envoy.answers("new.local", "two").await;
    envoy.knows_nothing_of("gone.local").await;
    in_sync(&pilot).await;
    let resources = pushed(&pilot, "pushed_resources", "vhds").await;
    assert!((1..10).contains(&resources), "{resources} virtual hosts were sent");
    assert_eq!(pushed(&pilot, "pushed_resources", "rds").await, 0);
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

async fn changes_over(from: &str, to: &str, suffix: &str) {
    let Some(envoy) = envoy() else { return };
    let one = Backend::http("one").await;
    let mut pilot = Pilot::prepare(&many(&one));
    pilot.configure("[xds]\n", &format!("[xds]\nvhds = \"{from}\"\n"));
    pilot.spawn();
    pilot.ready().await;
    // Long enough for each client to be asked to open another connection.
    let envoy = Envoy::start_draining(&envoy, &pilot, Kind::Delta, 10).await;
    envoy.answers("service-3.local", "one").await;
    let loads = [envoy.http_address(), envoy.port(9080)]
        .map(|target| Load::start(target, &["service-3.local", "service-150.local"], 2, &[]));
    pilot.kill();
    envoy.is_connected(false).await;
    pilot.configure(&format!("vhds = \"{from}\""), &format!("vhds = \"{to}\""));
    pilot.spawn();
    pilot.ready().await;
    until("the routes have the other name, and no others are there", async || {
        let names: Vec<String> = virtual_hosts(&envoy).await.into_keys().collect();
        holds(names == [format!("9080{suffix}"), format!("http_listen{suffix}")], format!("{names:?}"))
    })
    .await;
    for load in loads {
        load.more(100).await;
        load.finish().await.assert_no_failure();
    }
    let new = service("new.local", 9080, "http", &[one.place()]);
    pilot.write_services(&(many(&one) + &new));
    envoy.answers("new.local", "one").await;
    in_sync(&pilot).await;
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_an_envoy_comes_to_take_routes_in_parts_without_a_gap() {
    changes_over("off", "auto", "~v").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_an_envoy_comes_to_take_routes_as_a_whole_without_a_gap() {
    changes_over("auto", "off", "").await;
}

/// Envoy has dropped the virtual hosts, and does not ask for them again.
#[tokio::test(flavor = "multi_thread")]
async fn p25_a_listener_that_goes_and_comes_back_serves_at_once() {
    let Some(envoy) = envoy() else { return };
    let [one, two] = [Backend::http("one").await, Backend::http("two").await];
    let other = service("other.local", 9099, "http", &[two.place()]);
    let mut pilot = Pilot::start(&(many(&one) + &other)).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    let answers = async |what: &str| {
        let begun = Instant::now();
        until(what, async || {
            let answer = http::body(envoy.port(9099), "other.local", "/").await?;
            holds(answer == "two", answer)
        })
        .await;
        assert!(begun.elapsed() < WARMING, "{what} took {:?}", begun.elapsed());
    };
    let goes = async || {
        until("the port is closed", async || match http::get(envoy.port(9099), "other.local", "/").await {
            Ok(answer) => Err(format!("{} answered", answer.status)),
            Err(_) => Ok(()),
        })
        .await;
        until("the routes are gone", async || {
            let routes = virtual_hosts(&envoy).await;
            holds(!routes.contains_key("9099~v"), format!("{:?}", routes.keys()))
        })
        .await;
    };
    answers("the listener is there").await;
    let load = Load::start(envoy.http_address(), &["service-7.local"], 2, &[]);
    pilot.write_services(&many(&one));
    goes().await;
    pilot.write_services(&(many(&one) + &other));
    answers("the listener is there again").await;
    // Envoy tells a pilot that comes back of virtual hosts that it has dropped.
    pilot.write_services(&many(&one));
    goes().await;
    in_sync(&pilot).await;
    pilot.kill();
    envoy.is_connected(false).await;
    pilot.spawn();
    pilot.ready().await;
    envoy.is_connected(true).await;
    pilot.write_services(&(many(&one) + &other));
    answers("the listener is there once more").await;
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_routes_without_services_keep_no_envoy_waiting() {
    let Some(envoy) = envoy() else { return };
    let one = Backend::http("one").await;
    let pilot = Pilot::start("service = []").await;
    let begun = Instant::now();
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.knows_nothing_of("new.local").await;
    assert!(begun.elapsed() < WARMING, "it took {:?}", begun.elapsed());
    pilot.write_services(&service("new.local", 9080, "http", &[one.place()]));
    envoy.answers("new.local", "one").await;
    pilot.write_services("service = []");
    envoy.knows_nothing_of("new.local").await;
    envoy.assert_no_rejections().await;
}

async fn gets_routes_as_a_whole(binary: &Path, kind: Kind) {
    let one = Backend::http("one").await;
    let pilot = Pilot::start(&many(&one)).await;
    let envoy = Envoy::start(binary, &pilot, kind).await;
    envoy.answers("service-3.local", "one").await;
    let routes = virtual_hosts(&envoy).await;
    assert!(routes.keys().eq(["9080", "http_listen"]), "{:?}", routes.keys());
    assert!(routes.values().all(|hosts| hosts.len() > 200), "{routes:?}");
    assert_eq!(pushed(&pilot, "pushed_resources", "vhds").await, 0);
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_the_oldest_envoy_gets_routes_as_a_whole() {
    let Some(envoy) = oldest_envoy() else { return };
    gets_routes_as_a_whole(&envoy, Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_envoys_without_delta_ads_get_routes_as_a_whole() {
    let Some(envoy) = envoy() else { return };
    for kind in [Kind::Sotw, Kind::PerTypeDelta, Kind::PerTypeSotw] {
        gets_routes_as_a_whole(&envoy, kind).await;
    }
}

/// An Envoy that turns out not to take what its version promises: it is the oldest one, and on the way its word is
/// changed.
#[tokio::test(flavor = "multi_thread")]
async fn p25_an_envoy_that_refuses_routes_in_parts_gets_them_as_a_whole() {
    let Some(binary) = oldest_envoy() else { return };
    let one = Backend::http("one").await;
    let pilot = Pilot::start(&many(&one)).await;
    // A `SemanticVersion` of 1.36 with some patch, and one of 1.40.
    let (says, is_heard) = ([8, 1, 16, 36, 24], [8, 1, 16, 40, 24]);
    let liar = liar::before(pilot.xds_address(), says, is_heard).await;
    let at = liar.address().to_string();
    let envoy = Envoy::start_with(&binary, &pilot, Kind::Delta, &["--xds-address", &at]).await;
    envoy.answers("service-3.local", "one").await;
    let rejected = async || pushed(&pilot, "nacks", "rds").await;
    until("only whole routes are left", async || {
        let routes = virtual_hosts(&envoy).await;
        holds(routes.keys().eq(["9080", "http_listen"]), format!("{:?}", routes.keys()))
    })
    .await;
    let before = rejected().await;
    assert!(before > 0, "it was sent routes in parts, and refused them");
    let load = Load::start(envoy.http_address(), &["service-3.local"], 2, &[]);
    pilot.write_services(&(many(&one) + &service("new.local", 9080, "http", &[one.place()])));
    envoy.answers("new.local", "one").await;
    load.finish().await.assert_no_failure();
    in_sync(&pilot).await;
    assert_eq!(rejected().await, before, "it is not asked again");
}

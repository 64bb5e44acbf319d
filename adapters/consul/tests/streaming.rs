//! An agent of today, which answers long polls from views of its own: what is believed of them, and what
//! becomes of their failures.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[allow(dead_code, reason = "shared with tests that need more of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "streaming/failures.rs"]
mod failures;
#[path = "streaming/history.rs"]
mod history;
#[path = "streaming/rights.rs"]
mod rights;

use std::time::Duration;

use cluster::follow;
use pilot_registry::{RegistryHealth, Snapshot, State};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::consul::{FakeConsul, Profile, Streams};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// Instances of web with these numbers, each on a node of its own.
fn web(numbers: &[u8]) -> Vec<Value> {
    let instance = |n: &u8| {
        json!({
            "Node": { "Node": format!("n{n}"), "Address": format!("10.0.0.{n}"), "Datacenter": "dc1",
                      "Meta": {}, "TaggedAddresses": {} },
            "Service": { "ID": "web-1", "Service": "web", "Tags": [], "Port": 80, "Meta": {} },
            "Checks": [],
        })
    };
    numbers.iter().map(instance).collect()
}

async fn consul(profile: Profile) -> FakeConsul {
    let consul = FakeConsul::with(profile, None).await.unwrap();
    consul.put("web", &web(&[1, 2]));
    consul
}

/// Follows that agent with waits as short as they can be.
fn runner(consul: &FakeConsul) -> Runner {
    follow(consul.address(), |config| config.limits.wait_seconds = 1)
}

/// The last numbers of the addresses of web.
fn numbers(state: &State<Snapshot>) -> Vec<u8> {
    let service =
        state.published.as_ref().and_then(|published| published.value.get("web.service.consul").cloned());
    let last = |address: String| address.rsplit('.').next().unwrap().parse().unwrap();
    let all = service.iter().flat_map(|service| &service.endpoints);
    all.map(|endpoint| last(endpoint.address.to_string())).collect()
}

async fn sees(runner: &mut Runner, expected: &[u8]) {
    let there = |state: &State<Snapshot>| {
        let live = matches!(state.health(), RegistryHealth::Live);
        (live && numbers(state) == expected).then_some(())
    };
    runner.until(&format!("instances {expected:?}"), there).await.unwrap();
}

/// What is asked about web.
fn about_web(consul: &FakeConsul) -> Vec<String> {
    consul.asked().into_iter().filter(|asked| asked.starts_with("/v1/health/service/web")).collect()
}

fn polls(asked: &[String]) -> usize {
    asked.iter().filter(|asked| asked.contains("index=")).count()
}

/// Reads of web by which a leader makes sure of what it says.
fn plain(asked: &[String]) -> usize {
    asked.iter().filter(|asked| asked.contains("?consistent") && !asked.contains("index=")).count()
}

/// How many attempts have begun: each reads web once without knowing anything of it.
fn attempts(consul: &FakeConsul) -> usize {
    about_web(consul).iter().filter(|asked| asked.ends_with("web?")).count()
}

/// Waits until what is asked about web is so.
async fn until_asked(consul: &FakeConsul, what: &str, so: impl Fn(&[String]) -> bool + Send + Sync) {
    let look = async {
        while !so(&about_web(consul)) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(Duration::from_secs(30), look).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}: {:#?}", about_web(consul)));
}

/// Waits until that many more polls have begun: all but the last have ended.
async fn more_polls(consul: &FakeConsul, many: usize) {
    let before = polls(&about_web(consul));
    until_asked(consul, "more polls", |asked| polls(asked) >= before + many).await;
}

/// No view says that there is a leader: that ends no attempt, neither when something changes nor when a wait ends.
#[tokio::test]
async fn answers_of_views_count() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    consul.put("web", &web(&[1, 2, 3]));
    sees(&mut runner, &[1, 2, 3]).await;
    assert_eq!(plain(&about_web(&consul)), 0, "what comes is believed at once");
    more_polls(&consul, 3).await;
    consul.put("web", &web(&[1, 2, 3, 4]));
    sees(&mut runner, &[1, 2, 3, 4]).await;
    assert_eq!(attempts(&consul), 1);
    assert_eq!(runner.revision(), 3);
    assert_eq!(consul.counts().views, 1);
}

/// What goes is confirmed by one plain read, and seen soon.
#[tokio::test]
async fn what_a_view_takes_away_is_confirmed_once() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    more_polls(&consul, 1).await;
    consul.put("web", &web(&[2]));
    sees(&mut runner, &[2]).await;
    assert_eq!(plain(&about_web(&consul)), 1, "{:#?}", about_web(&consul));
    // One that is replaced goes, too.
    consul.put("web", &web(&[3]));
    sees(&mut runner, &[3]).await;
    assert_eq!(plain(&about_web(&consul)), 2);
    consul.remove("web");
    sees(&mut runner, &[]).await;
    assert_eq!(attempts(&consul), 1, "{:#?}", consul.asked());
}

/// A view that is emptied for a new snapshot, or has never been filled, is empty: so is nothing else.
#[tokio::test]
async fn an_empty_view_takes_nothing_away() {
    for streams in [Streams::Reset, Streams::Cold] {
        let consul = consul(Profile::Streaming).await;
        let mut runner = runner(&consul);
        sees(&mut runner, &[1, 2]).await;
        more_polls(&consul, 1).await;
        consul.stream(streams);
        more_polls(&consul, 3).await;
        assert_eq!((runner.revision(), attempts(&consul)), (1, 1), "{streams:?}");
        assert!(plain(&about_web(&consul)) >= 2, "{streams:?}: the servers were not asked");
        sees(&mut runner, &[1, 2]).await;
        consul.stream(Streams::Fair);
        consul.put("web", &web(&[1, 2, 3]));
        sees(&mut runner, &[1, 2, 3]).await;
    }
}

/// A view that is stuck looks like a service that does not change. Servers are asked now and then, and what they
/// say is not taken back by the view.
#[tokio::test]
async fn a_view_that_is_stuck_is_noticed_and_takes_nothing_away() {
    let consul = consul(Profile::Streaming).await;
    let mut runner = runner(&consul);
    sees(&mut runner, &[1, 2]).await;
    more_polls(&consul, 1).await;
    consul.stream(Streams::Stuck);
    consul.put("web", &web(&[1, 2, 3]));
    sees(&mut runner, &[1, 2, 3]).await;
    more_polls(&consul, 2).await;
    assert_eq!((runner.revision(), attempts(&consul)), (2, 1));
    sees(&mut runner, &[1, 2, 3]).await;
}

/// An agent keeps each view for twenty minutes: a probe must not make one.
#[tokio::test]
async fn services_that_are_read_in_turn_make_no_views() {
    let consul = consul(Profile::Streaming).await;
    consul.put("api", &web(&[9]));
    let mut runner = follow(consul.address(), |config| {
        config.limits.wait_seconds = 1;
        config.limits.max_polls = 1;
    });
    sees(&mut runner, &[1, 2]).await;
    consul.put("web", &web(&[2, 3]));
    sees(&mut runner, &[2, 3]).await;
    let probes = |asked: &[String]| asked.iter().filter(|asked| asked.contains("&tag=")).count() >= 3;
    until_asked(&consul, "probes", probes).await;
    assert_eq!(consul.counts().views, 0);
    assert_eq!(polls(&about_web(&consul)), 0);
}

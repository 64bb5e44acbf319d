//! Defects of earlier systems, on a real Consul: each is a rule here.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;

use std::time::Duration;

use cluster::{SOON, endpoints, entry, follow, in_turn};
use pilot_registry::{Health, RegistryHealth, Snapshot, State};
use pilot_registry_consul::{CheckStatus, Config};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::consul::{Consul, Options};
use serde_json::json;
use tokio::time::Instant;

async fn consul() -> Option<Consul> {
    Consul::start(Options::default()).await.unwrap()
}

fn count(state: &State<Snapshot>, host: &str, health: Health) -> usize {
    let found = endpoints(state, host).unwrap_or_default();
    found.iter().filter(|endpoint| endpoint.health == health).count()
}

/// Waits until so many are so, and says how long it took.
async fn soon(runner: &mut Runner, host: &str, many: usize, health: Health) {
    let began = Instant::now();
    let what = format!("{many} {health:?} instances of {host}");
    runner.until(&what, |state| (count(state, host, health) == many).then_some(())).await.unwrap();
    assert!(began.elapsed() < SOON, "{what} took {:?}", began.elapsed());
}

/// L1: health decides. What warns takes no traffic, unless it is configured to, with its own weight.
#[tokio::test]
async fn l01_health_decides() {
    let Some(consul) = consul().await else { return };
    for (number, status) in [(1, "passing"), (2, "warning"), (3, "critical")] {
        let mut entry = entry("web", number, status);
        entry["Service"]["Weights"] = json!({ "Passing": 9, "Warning": 2 });
        consul.admin().register(&entry).await.unwrap();
    }
    let by_default = follow(consul.address(), |_| {});
    let warned = follow(consul.address(), |config| {
        config.serve = vec![CheckStatus::Passing, CheckStatus::Warning];
    });
    let both = [(by_default, [Health::Healthy, Health::Unhealthy], 9), (warned, [Health::Healthy; 2], 2)];
    for (mut runner, expected, weight) in both {
        let seen = |state: &_| endpoints(state, "web.service.consul").map(<[_]>::to_vec);
        let seen = runner.until("the service", seen).await.unwrap();
        assert_eq!([seen[0].health, seen[1].health], expected);
        assert_eq!((seen[1].weight.get(), seen[2].health), (weight, Health::Unhealthy));
    }
}

/// L3: clients call the number. It stays while any instance lives, also across an outage.
#[tokio::test]
async fn l03_a_port_stays_when_the_instance_that_listened_on_it_goes() {
    let Some(consul) = consul().await else { return };
    for (number, port) in [(1, 26_201), (2, 26_203)] {
        let mut entry = entry("web", number, "passing");
        entry["Service"]["Port"] = port.into();
        consul.admin().register(&entry).await.unwrap();
    }
    let relay = Relay::to(consul.address()).await.unwrap();
    let mut runner = follow(relay.address(), |_| {});
    let has = |state: &State<Snapshot>, endpoints: usize| {
        let service = state.published.as_ref()?.value.get("web.service.consul").cloned()?;
        (service.endpoints.len() == endpoints).then(|| service.ports[0].number.get())
    };
    assert_eq!(runner.until("both", |state| has(state, 2)).await.unwrap(), 26_201);
    let note = runner.feed().with_state(|state| state.notes.get("web.service.consul").cloned()).unwrap();
    assert!(note.contains("served at port 26201, which was guessed"), "{note}");
    assert!(runner.feed().with_state(|state| state.skipped.is_empty()));
    relay.refuse();
    runner.degraded().await.unwrap();
    consul.admin().deregister("web-node-1", "web-1").await.unwrap();
    relay.open();
    assert_eq!(runner.until("the second", |state| has(state, 1)).await.unwrap(), 26_201);
}

/// L4: instances and their health are watched, not only names: seen within a second.
async fn changes_are_seen_soon(consul: &Consul, runner: &mut Runner) {
    const HOST: &str = "web.service.consul";
    let admin = consul.admin();
    for other in ["a", "b", "c"] {
        admin.register(&entry(other, 1, "passing")).await.unwrap();
    }
    admin.register(&entry("web", 1, "passing")).await.unwrap();
    let all = |state: &State<Snapshot>| (count(state, HOST, Health::Healthy) == 1).then_some(());
    runner.until("the first list", all).await.unwrap();

    admin.register(&entry("web", 2, "passing")).await.unwrap();
    soon(runner, HOST, 2, Health::Healthy).await;
    admin.register(&entry("web", 2, "critical")).await.unwrap();
    soon(runner, HOST, 1, Health::Unhealthy).await;
    admin.register(&entry("web", 2, "warning")).await.unwrap();
    admin.register(&entry("web", 1, "critical")).await.unwrap();
    soon(runner, HOST, 2, Health::Unhealthy).await;
    admin.register(&entry("web", 1, "passing")).await.unwrap();
    admin.register(&entry("web", 2, "passing")).await.unwrap();
    soon(runner, HOST, 2, Health::Healthy).await;

    // A check of the whole node.
    let check = |status: &str| {
        let check = json!({ "CheckID": "serfHealth", "Name": "alive", "Status": status });
        json!({ "Node": "web-node-1", "Address": "10.1.0.1", "SkipNodeUpdate": true, "Check": check })
    };
    admin.register(&check("critical")).await.unwrap();
    soon(runner, HOST, 1, Health::Unhealthy).await;
    admin.register(&check("passing")).await.unwrap();
    soon(runner, HOST, 2, Health::Healthy).await;
    admin.deregister("web-node-2", "web-2").await.unwrap();
    soon(runner, HOST, 1, Health::Healthy).await;
    admin.deregister("web-node-1", "web-1").await.unwrap();
    soon(runner, HOST, 0, Health::Healthy).await;
}

#[tokio::test]
async fn l04_changes_are_seen_within_a_second() {
    let Some(consul) = consul().await else { return };
    let mut runner = follow(consul.address(), |_| {});
    changes_are_seen_soon(&consul, &mut runner).await;
}

#[tokio::test]
async fn l04_changes_are_seen_within_a_second_where_services_are_read_in_turn() {
    let Some(consul) = consul().await else { return };
    let mut runner = follow(consul.address(), in_turn);
    changes_are_seen_soon(&consul, &mut runner).await;
}

/// L2 and L5: one registry has as many connections as open questions, whatever changes, and keeps them.
#[tokio::test]
async fn l05_connections_are_reused() {
    let Some(consul) = consul().await else { return };
    let relay = Relay::to(consul.address()).await.unwrap();
    for number in 1..=10 {
        consul.admin().register(&entry(&format!("s{number}"), 1, "passing")).await.unwrap();
    }
    let mut runner = follow(relay.address(), |_| {});
    let all =
        |state: &State<Snapshot>| (state.published.as_ref()?.value.services().len() == 10).then_some(());
    runner.until("all services", all).await.unwrap();
    // One for each service, one for their names, one for the pulse.
    assert!(relay.connections() <= 12, "{} connections", relay.connections());
    for round in 1..=20 {
        let status = if round % 2 == 0 { "passing" } else { "critical" };
        let health = if round % 2 == 0 { Health::Healthy } else { Health::Unhealthy };
        consul.admin().register(&entry("s1", 1, status)).await.unwrap();
        soon(&mut runner, "s1.service.consul", 1, health).await;
        assert!(relay.connections() <= 12, "{} connections", relay.connections());
    }
}

/// L6: the same service in two datacenters is one service, or two where the host names the datacenter.
#[tokio::test]
async fn l06_datacenters_do_not_collide() {
    let Some(first) = consul().await else { return };
    let (datacenter, join) = ("dc2".to_owned(), Some(first.wan_address()));
    let second = Consul::start(Options { datacenter, join, ..Options::default() }).await.unwrap().unwrap();
    first.admin().register(&entry("web", 1, "passing")).await.unwrap();
    second.admin().register(&entry("web", 2, "passing")).await.unwrap();
    first.knows("dc2").await.unwrap();

    let both = |config: &mut Config| config.datacenters = vec!["dc1".into(), "dc2".into()];
    let mut merged = follow(first.address(), both);
    let regions = |state: &State<Snapshot>| {
        let found = endpoints(state, "web.service.consul").unwrap_or_default();
        let regions: Vec<_> = found.iter().map(|one| one.locality.region.clone()).collect();
        (regions == ["dc1", "dc2"]).then_some(())
    };
    merged.until("one service of both datacenters", regions).await.unwrap();

    let mut apart = follow(first.address(), |config| {
        both(config);
        config.host = "{service}.service.{datacenter}.consul".to_owned().try_into().unwrap();
    });
    let two = |state: &State<Snapshot>| {
        let one = |host| endpoints(state, host).filter(|found| found.len() == 1);
        one("web.service.dc1.consul").and(one("web.service.dc2.consul")).map(drop)
    };
    apart.until("a service for each datacenter", two).await.unwrap();
}

/// A partition tells nobody anything. It is noticed, what is known stays, and what changed meanwhile is seen
/// soon after it.
#[tokio::test]
async fn a_partition_is_noticed_and_healed() {
    let Some(consul) = consul().await else { return };
    let relay = Relay::to(consul.address()).await.unwrap();
    consul.admin().register(&entry("web", 1, "passing")).await.unwrap();
    let mut runner = follow(relay.address(), |_| {});
    let one =
        |state: &State<Snapshot>| (count(state, "web.service.consul", Health::Healthy) == 1).then_some(());
    runner.until("the service", one).await.unwrap();
    relay.silence();
    runner.degraded().await.unwrap();
    assert_eq!(runner.revision(), 1, "what is known stays");
    consul.admin().register(&entry("web", 2, "passing")).await.unwrap();
    relay.open();
    let healed = Instant::now();
    let two =
        |state: &State<Snapshot>| (count(state, "web.service.consul", Health::Healthy) == 2).then_some(());
    runner.until("what changed meanwhile", two).await.unwrap();
    assert!(healed.elapsed() < Duration::from_secs(5), "it took {:?}", healed.elapsed());
}

/// A server that was killed and started again has all that it had; nothing that lives is taken away.
#[tokio::test]
async fn a_restart_takes_nothing_away() {
    let Some(mut consul) = consul().await else { return };
    for number in 1..=20 {
        consul.admin().register(&entry("web", number, "passing")).await.unwrap();
    }
    let mut runner = follow(consul.address(), |_| {});
    let all =
        |state: &State<Snapshot>| (count(state, "web.service.consul", Health::Healthy) == 20).then_some(());
    runner.until("the service", all).await.unwrap();
    consul.kill();
    runner.degraded().await.unwrap();
    consul.restart().await.unwrap();
    let live = |state: &State<Snapshot>| matches!(state.health(), RegistryHealth::Live).then_some(());
    runner.until("the registry to be live", live).await.unwrap();
    assert_eq!(runner.revision(), 1);
    consul.admin().register(&entry("web", 21, "passing")).await.unwrap();
    let more =
        |state: &State<Snapshot>| (count(state, "web.service.consul", Health::Healthy) == 21).then_some(());
    runner.until("a change after it", more).await.unwrap();
}

/// TLS with a client certificate; without one, Consul hangs up.
#[tokio::test]
async fn tls_with_a_client_certificate() {
    let options = Options { tls: true, ..Options::default() };
    let Some(consul) = Consul::start(options).await.unwrap() else { return };
    consul.admin().register(&entry("web", 1, "passing")).await.unwrap();
    let files = consul.certificates().unwrap();
    let address = consul.https_address();
    let tls = |config: &mut Config| {
        config.address = format!("https://{address}");
        config.tls.ca = Some(files.ca.clone());
        config.tls.server_name = Some("server.dc1.consul".into());
    };
    let mut trusted = follow(address, |config| {
        tls(config);
        (config.tls.cert, config.tls.key) = (Some(files.cert.clone()), Some(files.key.clone()));
    });
    let one = |state: &State<Snapshot>| endpoints(state, "web.service.consul").map(drop);
    trusted.until("the service", one).await.unwrap();
    let mut stranger = follow(address, tls);
    stranger.degraded().await.unwrap();
    let mut elsewhere = follow(address, |config| {
        tls(config);
        config.tls.server_name = Some("server.dc9.consul".into());
    });
    let trouble = elsewhere.degraded().await.unwrap().error;
    assert_eq!(trouble.kind(), pilot_registry::ErrorKind::Denied, "{}", trouble.chain());
}

/// Names that a path cannot have as they are.
#[tokio::test]
async fn names_are_encoded_and_those_that_are_no_hosts_are_reported() {
    let Some(consul) = consul().await else { return };
    consul.admin().register(&entry("web", 1, "passing")).await.unwrap();
    consul.admin().register(&entry("a/b c?d", 1, "passing")).await.unwrap();
    let mut runner = follow(consul.address(), |_| {});
    let reported = |state: &State<Snapshot>| {
        state.skipped.get("a/b c?d").is_some_and(|why| why.contains("not a DNS name")).then_some(())
    };
    runner.until("the report", reported).await.unwrap();
    runner.until("the other", |state| endpoints(state, "web.service.consul").map(drop)).await.unwrap();
}

/// A token that may no longer read nodes takes nothing away, in this attempt or the next.
#[tokio::test]
async fn a_token_that_loses_its_right_to_nodes_takes_nothing_away() {
    const TOKEN: &str = "8b6c2f4e-1d3a-4b5c-9e7f-0a1b2c3d4e5f";
    let Some(consul) = Consul::start(Options { acl: true, ..Options::default() }).await.unwrap() else {
        return;
    };
    let relay = Relay::to(consul.address()).await.unwrap();
    let admin = consul.admin();
    let rules = |nodes: &str| {
        let rules = format!("service_prefix \"\" {{ policy = \"read\" }} {nodes}");
        json!({ "Name": "reads", "Rules": rules })
    };
    let policy = admin.put("/v1/acl/policy", &rules("node_prefix \"\" { policy = \"read\" }")).await.unwrap();
    let token = json!({ "SecretID": TOKEN, "Policies": [{ "Name": "reads" }] });
    admin.put("/v1/acl/token", &token).await.unwrap();
    for service in ["web", "api"] {
        admin.register(&entry(service, 1, "passing")).await.unwrap();
    }
    let mut runner = follow(relay.address(), |config| {
        config.token = Some(TOKEN.to_owned().into());
        config.limits.wait_seconds = 1;
    });
    let both =
        |state: &State<Snapshot>| (state.published.as_ref()?.value.services().len() == 2).then_some(());
    runner.until("both services", both).await.unwrap();

    // Of one service first, then of all.
    for nodes in ["node_prefix \"api\" { policy = \"read\" }", ""] {
        let path = format!("/v1/acl/policy/{}", policy["ID"].as_str().unwrap());
        admin.put(&path, &rules(nodes)).await.unwrap();
        let denied = |state: &State<Snapshot>| match state.health() {
            RegistryHealth::Degraded(trouble) => {
                (trouble.error.kind() == pilot_registry::ErrorKind::Denied).then_some(())
            }
            _ => None,
        };
        runner.until("the refusal", denied).await.unwrap();
        relay.refuse();
        let cut = |state: &State<Snapshot>| match state.health() {
            RegistryHealth::Degraded(trouble) => {
                (trouble.error.kind() == pilot_registry::ErrorKind::Unavailable).then_some(())
            }
            _ => None,
        };
        runner.until("the attempt to end", cut).await.unwrap();
        relay.open();
        runner.until("the refusal in another attempt", denied).await.unwrap();
        assert_eq!(runner.revision(), 1, "something was taken away");
    }
    let path = format!("/v1/acl/policy/{}", policy["ID"].as_str().unwrap());
    admin.put(&path, &rules("node_prefix \"\" { policy = \"read\" }")).await.unwrap();
    let live = |state: &State<Snapshot>| matches!(state.health(), RegistryHealth::Live).then_some(());
    runner.until("the registry to be live", live).await.unwrap();
    assert_eq!(runner.revision(), 1);
}

/// What another client registers is understood: `rs-consul` shares no line with ours.
#[tokio::test]
async fn what_another_client_registers_is_seen() {
    use rs_consul::types::{DeregisterEntityPayload, RegisterEntityPayload, RegisterEntityService};
    let Some(consul) = consul().await else { return };
    let address = format!("http://{}", consul.address());
    let client = rs_consul::Consul::new(rs_consul::Config { address, ..rs_consul::Config::default() });
    let mut runner = follow(consul.address(), |_| {});
    let service = RegisterEntityService::builder()
        .Service("web".to_owned())
        .ID("web-1".to_owned())
        .Tags(vec!["version=v2".to_owned(), "stage|test".to_owned(), "http".to_owned()])
        .Port(8080);
    let entity = RegisterEntityPayload::builder()
        .Node("n1".to_owned())
        .Address("10.0.0.1".to_owned())
        .Service(service.build())
        .build();
    client.register_entity(&entity).await.unwrap();
    let seen = |state: &State<Snapshot>| state.published.as_ref()?.value.get("web.service.consul").cloned();
    let web = runner.until("the service", seen).await.unwrap();
    assert_eq!((web.ports[0].number.get(), web.ports[0].protocol.as_str()), (8080, "http"));
    let labels: Vec<_> =
        web.endpoints[0].labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["stage=test", "version=v2"]);
    let gone = DeregisterEntityPayload::builder().Node("n1".to_owned()).ServiceID("web-1".to_owned()).build();
    client.deregister_entity(&gone).await.unwrap();
    runner.until("its end", |state| seen(state).is_none().then_some(())).await.unwrap();
}

/// Its other ports take connections, too, and what comes of that says nothing of the mistake.
#[tokio::test]
async fn an_address_that_is_another_port_of_consul_is_asked_about() {
    let Some(consul) = consul().await else { return };
    for (name, address) in consul.other_addresses() {
        let error = follow(address, |_| {}).degraded().await.unwrap().error.chain();
        assert!(error.contains("is this Consul's HTTP port?"), "{name}: {error}");
    }
    // What breaks off later is no such mistake.
    let relay = Relay::to(consul.address()).await.unwrap();
    let mut runner = follow(relay.address(), |_| {});
    runner.until("an answer", |state| state.published.as_ref().map(drop)).await.unwrap();
    relay.silence();
    let error = runner.degraded().await.unwrap().error.chain();
    assert!(!error.contains("HTTP port"), "{error}");
}

//! What keys and values do: leases, pages, large transactions, nonsense.

use std::collections::BTreeSet;

use etcd_client::{Client, DeleteOptions, PutOptions, Txn, TxnOp};
use pilot_registry::{Snapshot, State};
use pilot_registry_etcd::Config;
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::etcd::{EtcdCluster, EtcdOptions};
use tokio::task::JoinSet;

use crate::{follow, instance, key, put, sees};

#[tokio::test]
async fn a_lease_that_ends_takes_away_its_instance_and_no_other() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    put(&etcd, "stays", &instance("10.0.0.1")).await;
    let lease = client.lease_grant(1, None).await.unwrap().id();
    let under = PutOptions::new().with_lease(lease);
    client.put(key("goes"), instance("10.0.0.2"), Some(under)).await.unwrap();
    let mut runner = follow(Config::new(etcd.endpoints()));
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
}

#[tokio::test]
async fn nonsense_leaves_the_last_good_value_also_across_an_outage() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let relay = Relay::to(etcd.address(0)).await.unwrap();
    let mut runner = follow(Config::new([etcd.url(relay.address())]));
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    relay.refuse();
    runner.degraded().await.unwrap();
    put(&etcd, "1", r#"{"address": "10.0.0.9", "prot": 8080}"#).await;
    put(&etcd, "2", &instance("10.0.0.2")).await;
    relay.open();
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
    let skipped = runner.feed().with_state(|state| state.skipped.get(&key("1")).cloned()).unwrap();
    assert!(skipped.contains("unknown field `prot`"), "{skipped}");
    assert!(skipped.contains("its last good version stays in force"), "{skipped}");
    etcd.etcdctl(&["del", &key("1")]).await.unwrap();
    sees(&mut runner, &["10.0.0.2"]).await.unwrap();
}

/// Clients call the number: it stays while any instance lives, also across an outage.
#[tokio::test]
async fn a_port_stays_when_the_instance_that_listened_on_it_goes() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    for (id, port) in [("1", 21_111), ("2", 21_112)] {
        let instance = format!(r#"{{"address": "10.0.0.1", "port": {port}, "protocol": "grpc"}}"#);
        put(&etcd, id, &instance).await;
    }
    let relay = Relay::to(etcd.address(0)).await.unwrap();
    let mut runner = follow(Config::new([etcd.url(relay.address())]));
    let has = |state: &State<Snapshot>, endpoints: usize| {
        let service = state.published.as_ref()?.value.get("a.local").cloned()?;
        (service.endpoints.len() == endpoints).then(|| service.ports[0].number.get())
    };
    assert_eq!(runner.until("both", |state| has(state, 2)).await.unwrap(), 21_111);
    let note = runner.feed().with_state(|state| state.notes.get("a.local").cloned()).unwrap();
    assert!(note.contains("served at port 21111, which was guessed"), "{note}");
    assert!(runner.feed().with_state(|state| state.skipped.is_empty()));
    relay.refuse();
    runner.degraded().await.unwrap();
    etcd.etcdctl(&["del", &key("1")]).await.unwrap();
    relay.open();
    assert_eq!(runner.until("the second", |state| has(state, 1)).await.unwrap(), 21_111);
}

#[tokio::test]
async fn all_pages_of_a_list_are_of_one_moment() {
    const PAIRS: usize = 40;
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    for n in 0..PAIRS {
        put(&etcd, &format!("m{n}"), &instance("10.0.1.1")).await;
    }
    let pair = |n: u16| {
        let value = format!(r#"{{"address": "10.0.0.1", "port": {}}}"#, 1 + n);
        let puts = ["a", "z"].map(|id| TxnOp::put(key(id), value.as_str(), None));
        Txn::new().and_then(puts)
    };
    client.txn(pair(0)).await.unwrap();
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        for n in (0..60_000).cycle() {
            client.txn(pair(n)).await.unwrap();
        }
    });
    for _ in 0..20 {
        // One page has one key, so that first and last are many questions apart.
        let mut runner = follow(Config { page_size: 1, ..Config::new(etcd.endpoints()) });
        let ports = runner.until("the first list", |state| {
            let service = state.published.as_ref()?.value.get("a.local").cloned()?;
            let pair = service.endpoints.iter().filter(|one| one.address.to_string() == "10.0.0.1");
            Some(pair.flat_map(|one| one.ports.values().copied()).collect::<BTreeSet<_>>())
        });
        assert_eq!(ports.await.unwrap().len(), 1, "both of a pair say the same");
        runner.stop().await;
    }
}

#[tokio::test]
async fn a_transaction_larger_than_a_message_is_published_in_one_piece() {
    const KEYS: usize = 10_000;
    // The least that etcd takes: it sends pieces of that and half a megabyte.
    let options =
        EtcdOptions { arguments: vec!["--max-request-bytes=65536".into()], ..EtcdOptions::default() };
    let Some(etcd) = EtcdCluster::with(options).await.unwrap() else { return };
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    let id = |n: usize| format!("{n:05}-{}", "x".repeat(60));
    let address = |n: usize| format!("10.1.{}.{}", n >> 8, n & 255);
    for first in (0..KEYS).step_by(100) {
        let one = |n: usize| TxnOp::put(key(&id(n)), instance(&address(n)), None);
        client.txn(Txn::new().and_then((first..first + 100).map(one).collect::<Vec<_>>())).await.unwrap();
    }
    let mut runner = follow(Config::new(etcd.endpoints()));
    let endpoints = |state: &pilot_registry::State<pilot_registry::Snapshot>| {
        state.published.as_ref().map(|published| published.value.endpoint_count())
    };
    runner.until("all of it", |state| (endpoints(state)? == KEYS).then_some(())).await.unwrap();
    let all = DeleteOptions::new().with_prefix();
    client.delete("/pilot/v1/instances/a.local/", Some(all)).await.unwrap();
    let revision = runner.revision();
    runner.until("nothing", |state| (endpoints(state)? == 0).then_some(())).await.unwrap();
    assert_eq!(runner.revision(), revision + 1, "the deletion was one change");
}

#[tokio::test]
async fn more_than_is_allowed_is_refused_as_a_whole() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let mut runner = follow(Config { max_keys: 1, ..Config::new(etcd.endpoints()) });
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    let error = runner.degraded().await.unwrap().error;
    assert!(error.chain().contains("2 keys below /pilot/v1/: max_keys = 1"), "{}", error.chain());
    assert_eq!(runner.revision(), 1);
    etcd.etcdctl(&["del", &key("1")]).await.unwrap();
    sees(&mut runner, &["10.0.0.2"]).await.unwrap();
    let error =
        follow(Config { max_bytes: 10, ..Config::new(etcd.endpoints()) }).degraded().await.unwrap().error;
    assert_eq!(error.kind(), pilot_registry::ErrorKind::Malformed, "{}", error.chain());
}

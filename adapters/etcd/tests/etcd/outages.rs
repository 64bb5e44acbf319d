//! Members that go, connections that fall silent, history that is lost.

use std::time::Duration;

use pilot_registry_etcd::Config;
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::etcd::EtcdCluster;

use crate::{follow, instance, key, put, sees};

#[tokio::test]
async fn the_next_member_takes_over_from_one_that_is_killed() {
    let Some(mut etcd) = EtcdCluster::start(3).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let mut runner = follow(Config::new(etcd.endpoints()));
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    // The first attempt asks the first.
    etcd.kill(0);
    runner.degraded().await.unwrap();
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    etcd.leader().await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
    etcd.restart(0).await.unwrap();
    etcd.etcdctl(&["del", &key("1")]).await.unwrap();
    sees(&mut runner, &["10.0.0.2"]).await.unwrap();
}

#[tokio::test]
async fn a_leader_that_is_killed_takes_no_endpoint_with_it() {
    let Some(mut etcd) = EtcdCluster::start(3).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let leader = etcd.leader().await.unwrap();
    // Followed through another member.
    let mut endpoints = etcd.endpoints();
    endpoints.rotate_left((leader + 1) % 3);
    let mut runner = follow(Config::new(endpoints));
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    etcd.kill(leader);
    etcd.leader().await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
    assert_eq!(runner.revision(), 2, "nothing but the change was published");
}

#[tokio::test]
async fn a_member_that_has_lost_the_others_says_nothing_of_value() {
    let Some(mut etcd) = EtcdCluster::start(3).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let mut runner = follow(Config::new(etcd.endpoints()));
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    (1..3).for_each(|n| etcd.kill(n));
    runner.degraded().await.unwrap();
    assert_eq!(runner.revision(), 1);
    for n in 1..3 {
        etcd.restart(n).await.unwrap();
    }
    etcd.ready().await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_noticed_and_replaced() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let relay = Relay::to(etcd.address(0)).await.unwrap();
    let mut config = Config::new([etcd.url(relay.address())]);
    config.progress_interval = Duration::from_millis(200);
    let mut runner = follow(config);
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    // A change that is seen says that the watch has begun.
    put(&etcd, "0", &instance("10.0.0.9")).await;
    sees(&mut runner, &["10.0.0.1", "10.0.0.9"]).await.unwrap();
    relay.silence();
    let trouble = runner.degraded().await.unwrap();
    assert!(trouble.error.chain().contains("has not answered on the watch"), "{}", trouble.error.chain());
    etcd.etcdctl(&["del", &key("0")]).await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    etcd.compact().await.unwrap();
    relay.open();
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
}

#[tokio::test]
async fn compaction_in_an_outage_leads_to_a_new_list() {
    let Some(mut etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let mut runner = follow(Config::new(etcd.endpoints()));
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    etcd.kill(0);
    runner.degraded().await.unwrap();
    assert_eq!(runner.revision(), 1);
    etcd.restart(0).await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    etcd.etcdctl(&["del", &key("1")]).await.unwrap();
    etcd.compact().await.unwrap();
    sees(&mut runner, &["10.0.0.2"]).await.unwrap();
}

//! What the registry tells of itself: the member's version, the age of the watch, the last error.

use std::time::Duration;

use pilot_registry::{Status, WatchState, WatchStatus};
use pilot_registry_etcd::Config;
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::etcd::EtcdCluster;

use crate::{follow, instance, key, put, sees};

async fn until_watching(runner: &mut Runner, right: impl Fn(&WatchStatus) -> bool) -> WatchStatus {
    let look = |status: &Status| {
        let watch = status.watches.get("services")?;
        (watch.state == WatchState::Watching && right(watch)).then(|| watch.clone())
    };
    runner.until_status("the watch", look).await.unwrap()
}

#[tokio::test]
async fn version_watch_and_last_error_are_told() {
    let Some(mut etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let config = Config { progress_interval: Duration::from_secs(1), ..Config::new(etcd.endpoints()) };
    let mut runner = follow(config);
    let version = |status: &Status| status.facts.get("server_version").cloned();
    let version = runner.until_status("the version", version).await.unwrap();
    assert!(version.starts_with("3."), "{version}");

    let first = until_watching(&mut runner, |_| true).await;
    assert_eq!((first.lists, first.opened, first.last_error.is_none()), (1, 1, true));
    let heard = until_watching(&mut runner, |watch| watch.heard > first.heard).await;
    assert_eq!(heard.since, first.since, "progress is no new watch");

    etcd.kill(0);
    runner.degraded().await.unwrap();
    etcd.restart(0).await.unwrap();
    etcd.etcdctl(&["del", &key("1")]).await.unwrap();
    sees(&mut runner, &[]).await.unwrap();
    let again = until_watching(&mut runner, |watch| watch.opened > 1).await;
    assert!(again.since > first.since);
    let error = again.last_error.unwrap();
    assert!(error.at <= again.since && error.error.chain().contains("etcd"), "{error:?}");
}

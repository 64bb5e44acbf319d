//! The registrar: what it writes, how long it stays, and when it says that it is gone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{
    Health, Labels, Locality, Port, Protocol, RegisteredPort, Registrar, Registration, RegistryError, Weight,
};
use pilot_registry_etcd::{Config, registrar};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::etcd::EtcdCluster;
use pilot_registry_testkit::{Runner, service, snapshot};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{follow, key, sees};

fn registration() -> Registration {
    let port = RegisteredPort { number: Port::try_from(8080).unwrap(), protocol: Some(Protocol::Http) };
    Registration {
        id: "one".into(),
        service: "a.local".into(),
        address: [10, 0, 0, 1].into(),
        ports: BTreeMap::from([(String::new(), port)]),
        labels: Labels::from([("version".into(), "v2".into())]),
        weight: Weight::try_from(3).unwrap(),
        locality: Locality { zone: "b".into(), ..Locality::default() },
        ttl: Duration::from_secs(2),
    }
}

/// What is being kept, until it is dropped.
struct Keeping {
    condition: watch::Sender<Health>,
    written: watch::Receiver<Option<Health>>,
    attempt: JoinSet<Result<Infallible, RegistryError>>,
}

impl Keeping {
    fn start(registrar: Arc<dyn Registrar>) -> Self {
        let (condition, followed) = watch::channel(Health::Healthy);
        let (tell, written) = watch::channel(None);
        let mut attempt = JoinSet::new();
        attempt.spawn(async move { registrar.keep(&registration(), followed, &tell).await });
        Self { condition, written, attempt }
    }

    async fn written(&mut self, health: Health) {
        self.written.wait_for(|written| *written == Some(health)).await.unwrap();
    }

    async fn error(&mut self) -> RegistryError {
        self.attempt.join_next().await.unwrap().unwrap().unwrap_err()
    }
}

async fn sees_health(runner: &mut Runner, health: Health) {
    // No description says which port clients call.
    let expected = service("a.local").named_port(8080, "http-8080", Protocol::Http).guessed();
    let expected = expected.endpoint("10.0.0.1", 8080);
    let expected = expected.label("version", "v2").weight(3).zone("b").health(health).build();
    runner.sees(&snapshot([expected])).await.unwrap();
}

#[tokio::test]
async fn an_instance_is_kept_and_goes_with_whoever_kept_it() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let registrar: Arc<dyn Registrar> = Arc::new(registrar(Config::new(etcd.endpoints())).unwrap());
    let mut runner = follow(Config::new(etcd.endpoints()));
    let mut keeping = Keeping::start(registrar);
    keeping.written(Health::Healthy).await;
    sees_health(&mut runner, Health::Healthy).await;
    keeping.condition.send_replace(Health::Unhealthy);
    keeping.written(Health::Unhealthy).await;
    sees_health(&mut runner, Health::Unhealthy).await;
    assert!(etcd.etcdctl(&["lease", "list"]).await.unwrap().starts_with("found 1 leases"));
    drop(keeping);
    sees(&mut runner, &[]).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_is_gone_ends_the_keeping() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let registrar: Arc<dyn Registrar> = Arc::new(registrar(Config::new(etcd.endpoints())).unwrap());
    let mut keeping = Keeping::start(Arc::clone(&registrar));
    keeping.written(Health::Healthy).await;
    let leases = etcd.etcdctl(&["lease", "list"]).await.unwrap();
    etcd.etcdctl(&["lease", "revoke", leases.lines().nth(1).unwrap()]).await.unwrap();
    let error = keeping.error().await;
    assert!(error.chain().contains("the lease is gone"), "{}", error.chain());
    let mut again = Keeping::start(registrar);
    again.written(Health::Healthy).await;
    sees(&mut follow(Config::new(etcd.endpoints())), &["10.0.0.1"]).await.unwrap();
}

#[tokio::test]
async fn an_etcd_that_does_not_answer_ends_the_keeping() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let relay = Relay::to(etcd.address(0)).await.unwrap();
    let mut config = Config::new([etcd.url(relay.address())]);
    config.timeout = Duration::from_millis(500);
    let registrar: Arc<dyn Registrar> = Arc::new(registrar(config).unwrap());
    let mut keeping = Keeping::start(Arc::clone(&registrar));
    keeping.written(Health::Healthy).await;
    relay.silence();
    let error = keeping.error().await;
    assert_eq!(error.kind(), pilot_registry::ErrorKind::Unavailable, "{}", error.chain());
    relay.open();
    Keeping::start(registrar).written(Health::Healthy).await;
}

#[tokio::test]
async fn what_is_written_for_good_stays_until_it_is_removed() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let registrar = registrar(Config::new(etcd.endpoints())).unwrap();
    registrar.write(&registration(), Health::Draining).await.unwrap();
    let mut runner = follow(Config::new(etcd.endpoints()));
    sees_health(&mut runner, Health::Draining).await;
    assert!(etcd.etcdctl(&["lease", "list"]).await.unwrap().starts_with("found 0 leases"));
    assert!(registrar.remove("a.local", "one").await.unwrap());
    sees(&mut runner, &[]).await.unwrap();
    assert!(!registrar.remove("a.local", "one").await.unwrap());
}

#[tokio::test]
async fn what_has_no_place_in_a_key_is_refused_by_its_field() {
    let registrar = registrar(Config::new(["http://127.0.0.1:1"])).unwrap();
    registrar.check(&registration()).unwrap();
    type Change = fn(&mut Registration);
    let broken: [(&str, Change); 6] = [
        ("service", |one| one.service = "a b".into()),
        ("id", |one| one.id.clear()),
        ("id", |one| one.id = "a/b".into()),
        ("ports", |one| one.ports.clear()),
        ("ports", |one| _ = one.ports.insert("http".into(), one.ports[""])),
        ("ttl", |one| one.ttl = Duration::from_millis(999)),
    ];
    for (field, break_it) in broken {
        let mut registration = registration();
        break_it(&mut registration);
        assert_eq!(registrar.check(&registration).unwrap_err().key, field);
    }
}

#[tokio::test]
async fn a_key_that_is_deleted_ends_the_keeping_and_comes_back() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let registrar: Arc<dyn Registrar> = Arc::new(registrar(Config::new(etcd.endpoints())).unwrap());
    let mut keeping = Keeping::start(Arc::clone(&registrar));
    keeping.written(Health::Healthy).await;
    etcd.etcdctl(&["del", &key("one")]).await.unwrap();
    let error = keeping.error().await;
    assert!(error.chain().contains("somebody has deleted /pilot/v1/"), "{}", error.chain());
    Keeping::start(registrar).written(Health::Healthy).await;
    sees(&mut follow(Config::new(etcd.endpoints())), &["10.0.0.1"]).await.unwrap();
}

#[tokio::test]
async fn whoever_registers_an_id_later_has_it_and_the_earlier_one_waits() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let config = Config::new(etcd.endpoints());
    let new = || -> Arc<dyn Registrar> { Arc::new(registrar(config.clone()).unwrap()) };
    let (old, young) = (new(), new());
    let mut first = Keeping::start(Arc::clone(&old));
    first.written(Health::Healthy).await;
    let mut second = Keeping::start(Arc::clone(&young));
    second.written(Health::Healthy).await;
    // Also what the earlier one has to say at its end is no longer said.
    first.condition.send_replace(Health::Draining);
    assert!(first.error().await.chain().contains("another process has registered"));
    let again = Keeping::start(Arc::clone(&old)).error().await;
    assert!(again.chain().contains("another process has registered"), "{}", again.chain());
    let mut runner = follow(config.clone());
    sees_health(&mut runner, Health::Healthy).await;
    // It takes nothing with it.
    assert!(!old.leave(&registration()).await.unwrap());
    second.condition.send_replace(Health::Warning);
    second.written(Health::Warning).await;
    sees_health(&mut runner, Health::Warning).await;
    // And takes the id again when it is free.
    assert!(young.leave(&registration()).await.unwrap());
    sees(&mut runner, &[]).await.unwrap();
    Keeping::start(old).written(Health::Healthy).await;
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_any_more_under_what_has_left() {
    let Some(etcd) = EtcdCluster::start(1).await.unwrap() else { return };
    let registrar: Arc<dyn Registrar> = Arc::new(registrar(Config::new(etcd.endpoints())).unwrap());
    let mut keeping = Keeping::start(Arc::clone(&registrar));
    keeping.written(Health::Healthy).await;
    let leases = etcd.etcdctl(&["lease", "list"]).await.unwrap();
    let lease = leases.lines().nth(1).unwrap().to_owned();
    drop(keeping);
    assert!(registrar.leave(&registration()).await.unwrap());
    // A write that was on its way comes after it.
    let late = etcd.etcdctl(&["put", &format!("--lease={lease}"), &key("one"), "{}"]).await.unwrap_err();
    assert!(format!("{late:#}").contains("requested lease not found"), "{late:#}");
    assert!(!registrar.leave(&registration()).await.unwrap());
    assert_eq!(etcd.etcdctl(&["get", &key("one")]).await.unwrap(), "");
}

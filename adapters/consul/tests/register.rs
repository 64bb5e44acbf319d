//! Registering with a real agent: what is written is what a registry reads.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{
    Endpoint, ErrorKind, Health, Locality, Port, Protocol, RegisteredPort, Registrar, Registration, Snapshot,
    State, Weight,
};
use pilot_registry_consul::{Config, registrar, registry};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::consul::{Consul, Options};
use tokio::sync::watch;
use tokio::task::JoinSet;

fn config(consul: &Consul) -> Config {
    Config { address: format!("http://{}", consul.address()), ..Config::default() }
}

fn registration() -> Registration {
    let port = RegisteredPort { number: Port::try_from(8080).unwrap(), protocol: Some(Protocol::Http) };
    Registration {
        id: "1".into(),
        service: "payments".into(),
        address: "10.0.0.1".parse().unwrap(),
        ports: [("web".to_owned(), port)].into(),
        labels: [("version".to_owned(), "v2".to_owned()), ("a.b/c".to_owned(), "d".to_owned())].into(),
        weight: Weight::try_from(7).unwrap(),
        locality: Locality { region: "eu".into(), zone: "eu-1".into(), sub_zone: String::new() },
        ttl: Duration::from_secs(30),
    }
}

fn follow(consul: &Consul) -> Runner {
    Runner::start(Arc::new(registry(config(consul)).unwrap()))
}

fn endpoint(state: &State<Snapshot>) -> Option<Endpoint> {
    let published = state.published.as_ref()?;
    published.value.get("payments.service.consul")?.endpoints.first().cloned()
}

/// Keeps a registration until it is dropped; the way it ends is sent.
fn keep(
    writer: Arc<dyn Registrar>,
    condition: watch::Receiver<Health>,
) -> (JoinSet<pilot_registry::RegistryError>, watch::Receiver<Option<Health>>) {
    let (written, confirmed) = watch::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let Err(error) = writer.keep(&registration(), condition, &written).await;
        error
    });
    (tasks, confirmed)
}

#[tokio::test]
async fn an_instance_is_written_kept_and_removed() {
    let Some(consul) = Consul::start(Options::default()).await.unwrap() else { return };
    let writer: Arc<dyn Registrar> = Arc::new(registrar(config(&consul)).unwrap());
    let mut runner = follow(&consul);
    let (conditions, condition) = watch::channel(Health::Healthy);
    let (kept, mut confirmed) = keep(Arc::clone(&writer), condition);
    let seen = runner.until("the instance", endpoint).await.unwrap();
    let expected = Endpoint {
        labels: registration().labels,
        weight: registration().weight,
        health: Health::Healthy,
        locality: registration().locality,
        ..Endpoint::new("10.0.0.1".parse().unwrap())
    };
    let port = Port::try_from(8080).unwrap();
    assert_eq!(seen, expected.serving(port, port));

    for health in [Health::Unhealthy, Health::Healthy, Health::Draining, Health::Healthy] {
        conditions.send_replace(health);
        confirmed.wait_for(|confirmed| *confirmed == Some(health)).await.unwrap();
        let same = |state: &_| endpoint(state).filter(|endpoint| endpoint.health == health);
        runner.until(&format!("{health:?}"), same).await.unwrap();
    }
    drop(kept);
    assert!(writer.remove("payments.service.consul", "1").await.unwrap());
    assert!(!writer.remove("payments", "1").await.unwrap(), "it is gone");
    runner.until("its end", |state| endpoint(state).is_none().then_some(())).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_has_forgotten_the_instance_ends_the_attempt() {
    let Some(consul) = Consul::start(Options::default()).await.unwrap() else { return };
    let writer: Arc<dyn Registrar> = Arc::new(registrar(config(&consul)).unwrap());
    let (conditions, condition) = watch::channel(Health::Healthy);
    let (mut kept, mut confirmed) = keep(writer, condition);
    confirmed.wait_for(|confirmed| confirmed.is_some()).await.unwrap();
    let path = "/v1/agent/service/deregister/payments:1";
    consul.admin().put(path, &serde_json::Value::Null).await.unwrap();
    conditions.send_replace(Health::Unhealthy);
    kept.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn an_instance_whose_keeper_died_is_unhealthy_after_its_ttl() {
    let Some(consul) = Consul::start(Options::default()).await.unwrap() else { return };
    let writer = registrar(config(&consul)).unwrap();
    let mut runner = follow(&consul);
    let (_conditions, condition) = watch::channel(Health::Healthy);
    let (written, _confirmed) = watch::channel(None);
    let short = Registration { ttl: Duration::from_secs(1), ..registration() };
    {
        let keeping = writer.keep(&short, condition, &written);
        let seen = runner.until("the instance", endpoint);
        tokio::select! {
            _ = keeping => panic!("it is kept"),
            seen = seen => assert_eq!(seen.unwrap().health, Health::Healthy),
        }
    }
    let dead = |state: &_| endpoint(state).filter(|endpoint| endpoint.health == Health::Unhealthy);
    runner.until("the ttl to pass", dead).await.unwrap();
}

#[tokio::test]
async fn an_instance_written_for_good_has_no_check() {
    let Some(consul) = Consul::start(Options::default()).await.unwrap() else { return };
    let writer = registrar(config(&consul)).unwrap();
    writer.write(&registration(), Health::Healthy).await.unwrap();
    let checks = consul.admin().get("/v1/health/checks/payments").await.unwrap();
    assert_eq!(checks, serde_json::json!([]));
    writer.write(&registration(), Health::Draining).await.unwrap();
    let draining = |state: &_| endpoint(state).filter(|endpoint| endpoint.health == Health::Draining);
    follow(&consul).until("maintenance", draining).await.unwrap();
}

#[tokio::test]
async fn errors_are_of_their_kind() {
    let Some(consul) = Consul::start(Options { acl: true, ..Options::default() }).await.unwrap() else {
        return;
    };
    let relay = Relay::to(consul.address()).await.unwrap();
    let address = format!("http://{}", relay.address());
    let writer = registrar(Config { address, ..Config::default() }).unwrap();
    let denied = writer.write(&registration(), Health::Healthy).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "{}", denied.chain());
    relay.refuse();
    let unreachable = writer.write(&registration(), Health::Healthy).await.unwrap_err();
    assert_eq!(unreachable.kind(), ErrorKind::Unavailable, "{}", unreachable.chain());
}

/// Consul removes whose heartbeat is critical. Who is unhealthy or draining keeps it.
#[tokio::test]
async fn an_unhealthy_instance_is_not_one_that_died() {
    let Some(consul) = Consul::start(Options::default()).await.unwrap() else { return };
    let writer: Arc<dyn Registrar> = Arc::new(registrar(config(&consul)).unwrap());
    let (conditions, condition) = watch::channel(Health::Unhealthy);
    let (_kept, mut confirmed) = keep(writer, condition);
    for health in [Health::Unhealthy, Health::Draining] {
        conditions.send_replace(health);
        confirmed.wait_for(|confirmed| *confirmed == Some(health)).await.unwrap();
        let checks = consul.admin().get("/v1/agent/checks").await.unwrap();
        assert_eq!(checks["ttl:payments:1"]["Status"], "passing", "{health:?}");
        assert_eq!(checks["health:payments:1"]["Status"], "critical", "{health:?}");
    }
}

/// An operator's maintenance is not ours to end, by registering anew or by draining no more.
#[tokio::test]
async fn an_operators_maintenance_stays() {
    let Some(consul) = Consul::start(Options::default()).await.unwrap() else { return };
    let writer: Arc<dyn Registrar> = Arc::new(registrar(config(&consul)).unwrap());
    let admin = consul.admin();
    let maintained = async || {
        let checks = admin.get("/v1/agent/checks").await.unwrap();
        checks["_service_maintenance:payments:1"]["Notes"].as_str().map(str::to_owned)
    };
    writer.write(&registration(), Health::Draining).await.unwrap();
    assert!(maintained().await.is_some());
    writer.write(&registration(), Health::Healthy).await.unwrap();
    assert_eq!(maintained().await, None, "ours ends");
    let path = "/v1/agent/service/maintenance/payments:1?enable=true&reason=disk";
    admin.put(path, &serde_json::Value::Null).await.unwrap();
    let (_conditions, condition) = watch::channel(Health::Healthy);
    let (_kept, mut confirmed) = keep(writer, condition);
    confirmed.wait_for(|confirmed| confirmed.is_some()).await.unwrap();
    assert_eq!(maintained().await.as_deref(), Some("disk"));
}

/// An agent that takes no updates is given up before the ttl is over, not after the usual patience.
#[tokio::test]
async fn an_update_that_is_not_taken_ends_the_attempt_within_the_ttl() {
    use wiremock::matchers::{method, path, path_regex};
    let server = wiremock::MockServer::start().await;
    let ok = || wiremock::ResponseTemplate::new(200);
    let nothing = ok().set_body_json(serde_json::json!({}));
    wiremock::Mock::given(path("/v1/agent/checks")).respond_with(nothing).mount(&server).await;
    let late = ok().set_delay(Duration::from_secs(9));
    let updates = wiremock::Mock::given(path_regex("^/v1/agent/check/update/"));
    updates.respond_with(late).with_priority(1).mount(&server).await;
    wiremock::Mock::given(method("PUT")).respond_with(ok()).with_priority(9).mount(&server).await;
    let writer = registrar(Config { address: server.uri(), ..Config::default() }).unwrap();
    let short = Registration { ttl: Duration::from_secs(1), ..registration() };
    let (_conditions, condition) = watch::channel(Health::Healthy);
    let (written, _confirmed) = watch::channel(None);
    let began = tokio::time::Instant::now();
    let Err(error) = writer.keep(&short, condition, &written).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
}

#[test]
fn what_consul_has_no_place_for_is_refused() {
    let writer = registrar(Config::default()).unwrap();
    let refusal = |change: fn(&mut Registration)| {
        let mut registration = registration();
        change(&mut registration);
        writer.check(&registration).unwrap_err()
    };
    let label = |one: &mut Registration| _ = one.labels.insert("protocol".into(), "x".into());
    let cases = [
        ("ports", refusal(|one| one.ports.clear())),
        ("service", refusal(|one| one.service = "payments.mesh".into())),
        ("id", refusal(|one| one.id.clear())),
        ("ttl", refusal(|one| one.ttl = Duration::ZERO)),
        ("labels.protocol", refusal(label)),
        ("weight", refusal(|one| one.weight = Weight::try_from(70_000).unwrap())),
    ];
    for (key, error) in cases {
        assert_eq!(error.key, key, "{error}");
    }
    assert_eq!(writer.check(&registration()), Ok(()));
}

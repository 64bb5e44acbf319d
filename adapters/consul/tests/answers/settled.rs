//! What clients call stays, whichever answer comes first, and whatever is restarted.

use std::time::Duration;

use pilot_registry::{Snapshot, State};
use pilot_registry_testkit::server::consul::FakeConsul;
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer};

use super::{NAMES, WEB, answer, follow, names, server, service};

/// So many instances of web at that port.
fn web(datacenter: &str, many: u8, port: u16) -> Value {
    let instance = |n: u8| {
        json!({
            "Node": { "Node": format!("n{n}"), "Address": format!("10.0.0.{n}"), "Datacenter": datacenter },
            "Service": { "ID": "web-1", "Service": "web", "Port": port },
            "Checks": [],
        })
    };
    (1..=many).map(instance).collect()
}

/// Answers for a datacenter, each so late.
async fn answers(server: &MockServer, datacenter: &str, web: &Value, late: Duration) {
    for (at, body) in [(NAMES, &names()), (WEB, web)] {
        let of = || Mock::given(path(at)).and(query_param("dc", datacenter));
        let at_once = of().and(query_param_is_missing("index"));
        at_once.respond_with(answer(7, body).set_delay(late)).mount(server).await;
        of().respond_with(answer(7, body).set_delay(Duration::from_secs(1)))
            .with_priority(9)
            .mount(server)
            .await;
    }
}

/// The number that clients call and how many instances there are.
fn called(state: &State<Snapshot>) -> Option<(u16, usize)> {
    let service = service(state)?;
    Some((service.ports[0].number.get(), service.endpoints.len()))
}

#[tokio::test]
async fn which_datacenter_answers_first_does_not_matter() {
    let (at_once, late) = (Duration::ZERO, Duration::from_millis(300));
    for (first, second) in [(at_once, late), (late, at_once)] {
        let server = server().await;
        answers(&server, "dc1", &web("dc1", 1, 8080), first).await;
        answers(&server, "dc2", &web("dc2", 5, 9090), second).await;
        let mut runner = follow(*server.address(), |config| {
            config.datacenters = vec!["dc1".into(), "dc2".into()];
            config.limits.wait_seconds = 1;
        });
        let seen = runner.until("the service", called).await.unwrap();
        assert_eq!(seen.0, 9090, "what most listen on");
    }
}

/// A service with one instance vanishes while that is restarted.
#[tokio::test]
async fn a_guessed_port_stays_where_the_only_instance_is_restarted_on_another() {
    let consul = FakeConsul::start(None).await.unwrap();
    consul.put("other", &[web("dc1", 1, 80)[0].clone()]);
    let mut runner = follow(consul.address(), |_| {});
    for own in [26_201, 26_202, 26_203] {
        consul.put("web", &[web("dc1", 1, own)[0].clone()]);
        assert_eq!(runner.until("the service", called).await.unwrap(), (26_201, 1));
        consul.remove("web");
        let gone = |state: &State<Snapshot>| service(state).is_none().then_some(());
        runner.until("no service", gone).await.unwrap();
    }
    consul.put("web", &[web("dc1", 1, 26_204)[0].clone()]);
    runner.until("the service", called).await.unwrap();
    let note = runner.feed().with_state(|state| state.notes.get("web.service.consul").cloned()).unwrap();
    assert!(note.contains("served at port 26201, which was guessed"), "{note}");
}

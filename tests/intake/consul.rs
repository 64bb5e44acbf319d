//! A real Consul that calls everything unhealthy at once.

use std::time::Duration;

use pilot::catalog::{GuardSettings, Policy};
use pilot_registry_testkit::server::consul::{Consul, Options};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::follow::East;
use crate::health::usable;

const INSTANCES: usize = 12;

/// An instance on a node of its own, whose check says so.
fn instance(number: usize, status: &str) -> Value {
    let (node, id) = (format!("node-{number}"), format!("web-{number}"));
    json!({
        "Node": node, "Address": format!("10.1.0.{number}"),
        "Service": { "ID": id, "Service": "web", "Port": 8080 },
        "Check": { "CheckID": id, "Name": "alive", "ServiceID": id, "Status": status },
    })
}

async fn say(consul: &Consul, count: usize, status: &str) {
    for number in 0..count {
        consul.admin().register(&instance(number, status)).await.unwrap();
    }
}

#[tokio::test]
async fn what_consul_calls_unhealthy_as_a_whole_is_served_until_a_second_read_confirms_it() {
    let Some(consul) = Consul::start(Options::default()).await.unwrap() else { return };
    say(&consul, INSTANCES, "passing").await;
    let config = toml::from_str(&format!("address = 'http://{}'", consul.address())).unwrap();
    let registry = pilot_registry_consul::registry(config).unwrap();
    let guard = GuardSettings { hold: Duration::from_secs(18), ..GuardSettings::default() };
    let east = East::follow(Box::new(registry), Policy { guard: Some(guard), ..Policy::default() });
    let serves = async |web: usize| {
        let is_so = |known: &pilot::catalog::Known| {
            usable(&known.snapshot).ends_with(&format!("web.service.consul={web}"))
        };
        let until = east.until("served", |state| state.known.as_ref().is_some_and(is_so));
        timeout(Duration::from_secs(60), until).await.unwrap_or_else(|_| panic!("web={web}"))
    };
    serves(INSTANCES).await;
    // A part is believed at once: half is not more than half.
    say(&consul, INSTANCES / 2, "critical").await;
    serves(INSTANCES / 2).await;
    say(&consul, INSTANCES / 2, "passing").await;
    serves(INSTANCES).await;
    say(&consul, INSTANCES, "critical").await;
    let began = timeout(Duration::from_secs(60), east.held(INSTANCES)).await.unwrap();
    serves(INSTANCES).await;
    let confirmed = serves(0).await;
    assert!((confirmed - began).as_secs() < 18, "a second read confirms, after a third of the hold time");
    say(&consul, INSTANCES, "passing").await;
    serves(INSTANCES).await;
    assert_eq!(east.intake().holds(), 1);
}
